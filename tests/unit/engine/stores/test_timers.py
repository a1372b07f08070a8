from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyslirp.engine.stores.timers import _Heap

NEVER = 2**63 - 1
SIZE = 40


def drain(heap: _Heap, now: int = NEVER) -> list[tuple[int, int]]:
    popped = []
    while (entry := heap.pop(now)) is not None:
        popped.append(entry)
    return popped


@given(st.lists(st.integers(-(2**63), NEVER), max_size=300))
def test_deadlines_come_out_in_order(deadlines: list[int]) -> None:
    heap = _Heap(len(deadlines))
    for index, when in enumerate(deadlines):
        assert heap.set(index, when)
    assert heap.next() == min(deadlines, default=NEVER)
    popped = drain(heap)
    assert [when for _, when in popped] == sorted(deadlines)
    assert sorted(index for index, _ in popped) == list(range(len(deadlines)))


def test_nothing_is_due_before_its_time() -> None:
    heap = _Heap(2)
    heap.set(0, 100)
    heap.set(1, 50)
    assert heap.pop(49) is None
    assert heap.pop(50) == (1, 50)
    assert heap.pop(99) is None
    assert heap.is_set(0)
    assert heap.pop(1000) == (0, 100)
    assert not heap.is_set(0)
    assert heap.next() == NEVER


def test_a_timer_moves_both_ways() -> None:
    heap = _Heap(SIZE)
    for index in range(SIZE):
        heap.set(index, 100 + index)
    heap.set(SIZE - 1, 1)
    assert heap.next() == 1
    heap.set(SIZE - 1, 10_000)
    assert heap.next() == 100
    heap.set(0, 5_000)
    assert [index for index, _ in drain(heap)] == [*range(1, SIZE - 1), 0, SIZE - 1]


def test_cancelling_what_is_not_set_does_nothing() -> None:
    heap = _Heap(3)
    heap.set(1, 5)
    heap.cancel(0)
    heap.cancel(1)
    heap.cancel(1)
    assert heap.count == 0
    heap.set(1, 7)
    assert heap.pop(7) == (1, 7)


@pytest.mark.parametrize("index", range(21))
def test_any_entry_can_be_taken_out_of_the_middle(index: int) -> None:
    heap = _Heap(21)
    for entry in range(21):
        heap.set(entry, (entry * 8) % 21)
    heap.cancel(index)
    assert heap.slots_agree()
    assert [when for _, when in drain(heap)] == sorted(set(range(21)) - {(index * 8) % 21})


class TimersMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.heap = _Heap(SIZE)
        self.deadlines: dict[int, int] = {}

    @rule(index=st.integers(0, SIZE - 1), when=st.integers(0, 60))
    def set(self, index: int, when: int) -> None:
        assert self.heap.set(index, when)
        self.deadlines[index] = when

    @rule(index=st.integers(0, SIZE - 1))
    def cancel(self, index: int) -> None:
        self.heap.cancel(index)
        self.deadlines.pop(index, None)

    @rule(now=st.integers(0, 60))
    def pop(self, now: int) -> None:
        popped = self.heap.pop(now)
        if popped is None:
            assert min(self.deadlines.values(), default=NEVER) > now
        else:
            index, when = popped
            assert self.deadlines.pop(index) == when <= now
            assert when <= min(self.deadlines.values(), default=NEVER)

    @invariant()
    def same(self) -> None:
        assert self.heap.count == len(self.deadlines)
        assert self.heap.next() == min(self.deadlines.values(), default=NEVER)
        assert self.heap.slots_agree()
        assert {index for index in range(SIZE) if self.heap.is_set(index)} == set(self.deadlines)


TestTimers = TimersMachine.TestCase
TestTimers.settings = settings(max_examples=60, stateful_step_count=50)
