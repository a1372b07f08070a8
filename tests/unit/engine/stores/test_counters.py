from __future__ import annotations

import pytest

from pyslirp.engine.stores.counters import _counted, describe, names


def test_every_status_is_counted_under_its_own_name() -> None:
    for status, name in enumerate(names()):
        counted = _counted(status, status)
        assert counted[name] == 2
        assert sum(counted.values()) == 2
        assert tuple(counted) == names()


def test_counters_start_at_nothing() -> None:
    assert set(_counted().values()) == {0}


def test_what_is_no_status_is_not_counted() -> None:
    with pytest.raises(ValueError, match="no such status: -1"):
        _counted(-1)
    with pytest.raises(ValueError, match="no such status"):
        _counted(len(names()))


def test_every_counter_has_a_sentence() -> None:
    assert tuple(describe()) == names()
    for name, sentence in describe().items():
        assert sentence[0].isupper(), name
        assert sentence.endswith("."), name
        assert len(sentence) <= 120, name
    assert len(set(describe().values())) == len(names())
