"""The generated files of docs/ say what the code says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from docs.generate import FILES, FOLDER
from docs.libslirp import OPTIONS
from pyslirp.config.fields import FIELDS, Source
from pyslirp.control.commands import COMMANDS
from pyslirp.engine.stores.counters import names
from tests.meta.tree import ROOT


@pytest.mark.parametrize(("name", "make"), FILES.items(), ids=list(FILES))
def test_what_is_committed_is_current(name: str, make: Callable[[], str]) -> None:
    assert (FOLDER / name).read_text() == make(), "run make docs"


def test_every_option_of_qemu_is_beside_libslirps() -> None:
    assert OPTIONS.keys() == {field.name for field in FIELDS if field.source is Source.QEMU}


@pytest.mark.parametrize("option", OPTIONS)
def test_the_tests_of_an_option_are_there(option: str) -> None:
    assert OPTIONS[option].tests
    for test in OPTIONS[option].tests:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(), test


def test_nothing_is_left_out() -> None:
    control, counters = (FILES[name]() for name in ("control.md", "counters.md"))
    assert [command.name for command in COMMANDS if f"### {command.name}" not in control] == []
    assert [name for name in names() if f"| `{name}` |" not in counters] == []
