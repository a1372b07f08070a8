"""Neighbours: two states, what waits for them, and who is forgotten when there are too many."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyslirp.engine.tables.neighbor import _Table

NEIGHBORS_MAX = 4096
SECOND = 1_000_000_000
MAC = bytes.fromhex("525400123456")


def address(number: int) -> bytes:
    return bytes(10) + b"\xff\xff" + number.to_bytes(4)


def reachable(table: _Table, number: int, now: int = 0) -> None:
    assert table.add(address(number), now)
    table.learn(address(number), now, MAC)


def test_a_new_one_is_incomplete_and_may_be_asked_for_at_once() -> None:
    table = _Table()
    assert table.add(address(1), 10 * SECOND)
    assert table.find(address(1), 11 * SECOND) == {
        "reachable": False,
        "state": 1,
        "confirmed": 0,
        "mac": bytes(6),
        "probes": 0,
        "flows": 0,
        "mtu": 1500,
        "used": 11 * SECOND,
        "asked": 9 * SECOND,
    }
    assert (table.count, table.incomplete) == (1, 1)
    assert table.find(address(2), 0) is None


def test_learned_lost_and_learned_again() -> None:
    table = _Table()
    reachable(table, 1)
    table.change(address(1), 0, 2, 7)
    for _ in range(2):
        table.learn(address(1), 0, MAC[::-1])
        found = table.find(address(1), 0)
        assert found is not None
        assert (found["reachable"], found["mac"], found["probes"], table.incomplete) == (True, MAC[::-1], 0, 0)
        for _ in range(2):
            table.lose(address(1), 0)
        found = table.find(address(1), 0)
        assert found is not None
        assert (found["reachable"], found["probes"], found["flows"], table.incomplete) == (False, 0, 7, 1)


@pytest.mark.parametrize("flows", [0, 3])
def test_given_up_it_is_gone_unless_flows_bear_its_name(flows: int) -> None:
    table = _Table()
    table.add(address(1), 0)
    table.change(address(1), 0, 3, flows)
    table.keep(address(1), 0, b"head", b"body")
    table.give_up(address(1), 0)
    found = table.find(address(1), 0)
    assert (found is not None) == (table.count == 1) == (table.incomplete == 1) == (flows > 0)
    if found is not None:
        assert (found["probes"], table.take_waiting(address(1), 0)) == (0, None)


def test_the_latest_packet_waits() -> None:
    """RFC 1122 section 2.3.2.2."""
    table = _Table()
    table.add(address(1), 0)
    assert table.take_waiting(address(1), 0) is None
    assert table.keep(address(1), 0, b"first", b"")
    assert table.keep(address(1), 0, b"head", bytes(65507))
    assert table.take_waiting(address(1), 0) == (17, 9, b"head" + bytes(65507))
    assert table.take_waiting(address(1), 0) is None
    table.keep(address(1), 0, b"never sent", b"")


def test_one_long_unused_makes_room() -> None:
    """The longest of those that are looked at, 64 at a time round the table."""
    table = _Table()
    for number in range(NEIGHBORS_MAX):
        reachable(table, number, number)
    table.find(address(0), NEIGHBORS_MAX)
    table.change(address(1), 1, 0, 1)
    assert table.add(address(NEIGHBORS_MAX), NEIGHBORS_MAX + 1)
    assert table.find(address(2), 0) is None
    assert all(table.find(address(number), 0) for number in (0, 1, 3, NEIGHBORS_MAX))
    assert table.count == NEIGHBORS_MAX
    assert table.add(address(NEIGHBORS_MAX + 1), NEIGHBORS_MAX + 2)
    assert table.find(address(64), 0) is None


def test_those_that_are_being_asked_for_do_not() -> None:
    table = _Table()
    for number in range(NEIGHBORS_MAX):
        assert table.add(address(number), number)
        table.change(address(number), number, 1, 0)
    assert not table.add(address(NEIGHBORS_MAX), 0)
    table.change(address(77), 77, 0, 0)
    assert table.add(address(NEIGHBORS_MAX), 0)
    assert table.find(address(77), 0) is None


class NeighborMachine(RuleBasedStateMachine):
    """Against a dictionary, far from the limit."""

    NUMBERS = st.integers(0, 40)

    @initialize(key=st.integers(0, 2**64 - 1))
    def begin(self, key: int) -> None:
        self.table = _Table(key, key)
        self.known: dict[int, bool] = {}

    @rule(number=NUMBERS, learn=st.booleans())
    def add(self, number: int, learn: bool) -> None:
        if number not in self.known:
            assert self.table.add(address(number), 0)
            self.known[number] = False
        if learn:
            self.table.learn(address(number), 0, MAC)
            self.known[number] = True

    @rule(number=NUMBERS, lose=st.booleans())
    def end(self, number: int, lose: bool) -> None:
        if number in self.known and lose:
            self.table.lose(address(number), 0)
            self.known[number] = False
        elif self.known.pop(number, None) is not None:
            self.table.remove(address(number), 0)

    @invariant()
    def the_same_is_known(self) -> None:
        if hasattr(self, "table"):
            found = {number: self.table.find(address(number), 0) for number in range(41)}
            assert {number: n["reachable"] for number, n in found.items() if n is not None} == self.known
            assert (self.table.count, self.table.incomplete) == (
                len(self.known),
                list(self.known.values()).count(False),
            )


TestNeighbors = NeighborMachine.TestCase
TestNeighbors.settings = settings(max_examples=30, stateful_step_count=40)
