from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyslirp.engine.stores.ranges import _Set
from tests.oracle.ranges import Ranges

RANGES_MAX = 512
HUGE = 2**64 - 1


@pytest.mark.parametrize(
    ("start", "end", "new", "items"),
    [
        (10, 20, 0, [(10, 20), (30, 40)]),
        (12, 18, 0, [(10, 20), (30, 40)]),
        (5, 10, 1, [(5, 20), (30, 40)]),
        (20, 30, 1, [(10, 40)]),
        (20, 25, 1, [(10, 25), (30, 40)]),
        (25, 30, 1, [(10, 20), (25, 40)]),
        (22, 28, 1, [(10, 20), (22, 28), (30, 40)]),
        (0, 50, 1, [(0, 50)]),
        (0, 9, 1, [(0, 9), (10, 20), (30, 40)]),
        (41, 42, 1, [(10, 20), (30, 40), (41, 42)]),
        (25, 25, 0, [(10, 20), (30, 40)]),
        (26, 25, 0, [(10, 20), (30, 40)]),
    ],
)
def test_what_touches_is_merged(start: int, end: int, new: int, items: list[tuple[int, int]]) -> None:
    ranges = _Set()
    ranges.add(30, 40)
    ranges.add(10, 20)
    assert ranges.add(start, end) == new
    assert ranges.items() == items


def test_offset_zero_and_the_last_offset() -> None:
    ranges = _Set()
    assert ranges.add(0, 1) == 1
    assert ranges.add(HUGE - 1, HUGE) == 1
    assert ranges.find(0) == 0
    assert ranges.find(HUGE - 1) == 1
    assert ranges.find(HUGE) == -1
    assert ranges.after(HUGE) == 2
    assert ranges.add(0, HUGE) == 1
    assert ranges.covered() == HUGE


def test_more_islands_than_allowed_are_refused_and_merging_is_not() -> None:
    ranges = _Set()
    for index in range(RANGES_MAX):
        assert ranges.add(index * 10, index * 10 + 1) == 1
    before = ranges.items()
    assert ranges.add(5, 6) == -1
    assert ranges.add(RANGES_MAX * 10, RANGES_MAX * 10 + 1) == -1
    assert ranges.items() == before
    assert ranges.add(3, 4) == -1
    assert ranges.add(1, 2) == 1
    assert ranges.add(2, 10) == 1
    assert len(ranges.items()) == RANGES_MAX - 1
    assert ranges.add(25, 26) == 1


def test_an_empty_set_holds_no_memory() -> None:
    ranges = _Set()
    assert ranges.room == 0
    for index in range(20):
        ranges.add(index * 2, index * 2 + 1)
    assert ranges.room >= 20
    ranges.drop_below(39)
    assert ranges.items() == []
    assert ranges.room == 0
    ranges.add(1, 2)
    ranges.clear()
    assert (ranges.items(), ranges.room) == ([], 0)


class RangesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ranges, self.twin = _Set(), Ranges()

    @rule(start=st.integers(0, 120), length=st.integers(0, 30))
    def add(self, start: int, length: int) -> None:
        assert self.ranges.add(start, start + length) == self.twin.add(start, start + length)

    @rule(offset=st.integers(0, 150))
    def drop_below(self, offset: int) -> None:
        self.ranges.drop_below(offset)
        self.twin.drop_below(offset)

    @rule(offset=st.integers(0, 160))
    def look(self, offset: int) -> None:
        assert self.ranges.find(offset) == self.twin.find(offset)
        assert self.ranges.after(offset) == self.twin.after(offset)

    @invariant()
    def same(self) -> None:
        assert self.ranges.items() == self.twin.items()
        assert self.ranges.covered() == self.twin.covered()


TestRanges = RangesMachine.TestCase
TestRanges.settings = settings(max_examples=80, stateful_step_count=40)
