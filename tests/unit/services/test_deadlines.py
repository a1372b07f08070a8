from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyslirp.services.deadlines import COMPACT_SLACK, Deadlines


def test_nothing_is_due_when_nothing_is_set() -> None:
    deadlines: Deadlines[str] = Deadlines()
    assert deadlines.earliest() is None
    assert deadlines.due(10**18) == []


def test_due_is_inclusive_and_in_order_of_time_then_of_setting() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("late", 30)
    deadlines.set("b", 10)
    deadlines.set("a", 10)
    assert deadlines.earliest() == 10
    assert deadlines.due(9) == []
    assert deadlines.due(10) == ["b", "a"]
    assert deadlines.earliest() == 30
    assert "late" in deadlines
    assert len(deadlines) == 1


def test_a_deadline_can_be_moved_both_ways_and_cancelled() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("x", 50)
    deadlines.set("x", 20)
    assert deadlines.earliest() == 20
    deadlines.set("x", 70)
    assert deadlines.due(60) == []
    deadlines.cancel("x")
    deadlines.cancel("never set")
    assert deadlines.earliest() is None


def test_memory_is_bounded_however_often_a_deadline_moves() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for turn in range(10_000):
        deadlines.set(turn % 3, turn)
    assert len(deadlines._heap) <= 2 * 3 + COMPACT_SLACK + 1
    assert deadlines.due(10_000) == [0, 1, 2] or len(deadlines) == 0


@given(
    st.lists(st.tuples(st.sampled_from(["set", "cancel", "due"]), st.integers(0, 5), st.integers(0, 50)), max_size=300)
)
def test_agrees_with_a_plain_dictionary(steps: list[tuple[str, int, int]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    twin: dict[int, int] = {}
    for verb, key, when in steps:
        if verb == "set":
            deadlines.set(key, when)
            twin[key] = when
        elif verb == "cancel":
            deadlines.cancel(key)
            twin.pop(key, None)
        else:
            due = sorted(key for key, at in twin.items() if at <= when)
            assert sorted(deadlines.due(when)) == due
            twin = {key: at for key, at in twin.items() if at > when}
        assert deadlines.earliest() == min(twin.values(), default=None)
        assert len(deadlines) == len(twin)
