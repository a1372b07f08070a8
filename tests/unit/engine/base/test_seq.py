from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyslirp.engine.stores.leaves import _seq_ge, _seq_gt, _seq_le, _seq_lt, _seq_max, _seq_wide
from tests.oracle import seq

numbers = st.integers(0, 2**32 - 1)


@given(numbers, numbers)
@example(0, 2**31)
@example(2**31, 0)
@example(2**32 - 1, 0)
@example(0, 2**31 - 1)
@example(0, 2**31 + 1)
def test_order_is_that_of_the_circle(a: int, b: int) -> None:
    assert _seq_lt(a, b) == seq.lt(a, b)
    assert _seq_le(a, b) == seq.le(a, b)
    assert _seq_gt(a, b) == seq.gt(a, b)
    assert _seq_ge(a, b) == seq.ge(a, b)
    assert _seq_max(a, b) == (a if seq.gt(a, b) else b)


@given(numbers, st.integers(1, 2**31 - 1))
def test_what_was_sent_later_is_greater_across_the_wrap(start: int, sent: int) -> None:
    later = (start + sent) % 2**32
    assert _seq_lt(start, later)
    assert not _seq_lt(later, start)
    assert _seq_max(start, later) == _seq_max(later, start) == later


@pytest.mark.parametrize("number", [0, 1, 2**31, 2**32 - 1])
def test_a_number_is_not_before_itself(number: int) -> None:
    assert not _seq_lt(number, number)
    assert _seq_le(number, number)
    assert not _seq_gt(number, number)
    assert _seq_ge(number, number)


@given(st.integers(2**32, 2**63), st.integers(-(2**31), 2**31 - 1))
def test_the_wide_number_is_the_nearest(near: int, distance: int) -> None:
    wide = near + distance
    assert _seq_wide(near, wide % seq.CIRCLE) == wide == seq.wide(near, wide % seq.CIRCLE)


@given(st.integers(2**32, 2**63), numbers)
def test_any_number_widens_to_its_own_low_half(near: int, number: int) -> None:
    assert _seq_wide(near, number) == seq.wide(near, number)
    assert _seq_wide(near, number) % seq.CIRCLE == number
