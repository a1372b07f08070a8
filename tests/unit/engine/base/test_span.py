from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.stores.leaves import _span_at, _span_cut

HUGE = 2**64 - 1
sizes = st.one_of(st.integers(0, 40), st.integers(HUGE - 40, HUGE))


@given(st.binary(max_size=32), sizes, sizes)
def test_only_what_is_wholly_inside_is_handed_out(data: bytes, offset: int, length: int) -> None:
    inside = data[offset : offset + length] if offset + length <= len(data) else None
    assert _span_at(data, offset, length) == inside
    assert _span_cut(data, offset, length) == inside


@pytest.mark.parametrize(("offset", "length"), [(1, HUGE), (HUGE, 1), (HUGE, HUGE), (4, 1), (5, 0), (0, 5)])
def test_no_sum_of_offset_and_length_wraps(offset: int, length: int) -> None:
    assert _span_at(b"abcd", offset, length) is None


def test_nothing_at_the_very_end_is_inside() -> None:
    assert _span_at(b"abcd", 4, 0) == b""
    assert _span_at(b"", 0, 0) == b""
