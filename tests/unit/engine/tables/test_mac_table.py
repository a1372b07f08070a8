"""Which port a MAC address was last heard on; and that nobody forgets for another's sake."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyslirp.engine.tables.mac_table import _Table

MACS_MAX, PER_PORT, PORTS = 4096, 512, 256
NONE = -1


def mac(number: int) -> bytes:
    return b"\x52\x54" + number.to_bytes(4)


def test_learned_moved_and_forgotten() -> None:
    table = _Table(4)
    assert table.find(mac(1)) == table.heard(mac(1)) == NONE
    assert table.learn(mac(1), 0)
    assert table.find(mac(1)) == table.heard(mac(1)) == 0
    assert table.learn(mac(1), 3)
    assert (table.find(mac(1)), table.of_port(0), table.of_port(3), table.count) == (3, set(), {mac(1)}, 1)
    table.forget_port(0)
    assert table.find(mac(1)) == 3
    table.forget_port(3)
    assert (table.find(mac(1)), table.count) == (NONE, 0)


def test_a_port_that_has_too_many_forgets_one_of_its_own() -> None:
    table = _Table(2)
    table.learn(mac(10**6), 1)
    assert [table.learn(mac(number), 0) for number in range(PER_PORT + 100)] == [True] * PER_PORT + [False] * 100
    assert len(table.of_port(0)) == PER_PORT
    assert table.find(mac(PER_PORT + 99)) == 0
    assert table.find(mac(10**6)) == 1


def test_one_that_is_heard_again_and_again_stays() -> None:
    table = _Table(1)
    table.learn(mac(0), 0)
    for number in range(1, 5 * PER_PORT):
        assert table.heard(mac(0)) == 0
        table.learn(mac(number), 0)
        assert table.find(mac(number)) == 0


@pytest.mark.parametrize("again", [False, True])
def test_a_full_table_takes_from_the_port_that_has_most(again: bool) -> None:
    table = _Table(PORTS)
    for number in range(MACS_MAX):
        assert table.learn(mac(number), number % 8)
    before = {port: table.of_port(port) for port in range(8)}
    table.of_port(0)
    assert not table.learn(mac(10**6), 200)
    assert table.find(mac(10**6)) == 200
    assert table.count == MACS_MAX
    lost = {port for port in range(8) if table.of_port(port) != before[port]}
    assert lost == {0}
    if again:
        for number in range(300):
            table.learn(mac(2 * 10**6 + number), 201)
        assert len(table.of_port(201)) == 300
        assert len(table.of_port(200)) == 1
        assert all(len(table.of_port(port)) >= 400 for port in range(8))


def test_a_move_to_a_full_port_is_followed() -> None:
    table = _Table(2)
    for number in range(PER_PORT):
        table.learn(mac(number), 0)
    table.learn(mac(10**6), 1)
    assert not table.learn(mac(10**6), 0)
    assert table.find(mac(10**6)) == 0
    assert (len(table.of_port(0)), table.of_port(1)) == (PER_PORT, set())


class MacMachine(RuleBasedStateMachine):
    """Against a dictionary; few places and one key, so that chains meet."""

    NUMBERS = st.integers(0, 60)

    @initialize(key=st.integers(0, 2**64 - 1))
    def begin(self, key: int) -> None:
        self.table = _Table(4, key, key)
        self.known: dict[int, int] = {}

    @rule(numbers=st.lists(NUMBERS, max_size=30), port=st.integers(0, 3))
    def learn(self, numbers: list[int], port: int) -> None:
        for number in numbers:
            assert self.table.learn(mac(number), port)
            self.known[number] = port

    @rule(port=st.integers(0, 3))
    def forget(self, port: int) -> None:
        self.table.forget_port(port)
        self.known = {number: at for number, at in self.known.items() if at != port}

    @invariant()
    def the_same_is_known(self) -> None:
        if hasattr(self, "table"):
            assert {n: self.table.find(mac(n)) for n in range(61)} == {n: self.known.get(n, NONE) for n in range(61)}
            assert sum(len(self.table.of_port(port)) for port in range(4)) == self.table.count == len(self.known)


TestMacs = MacMachine.TestCase
TestMacs.settings = settings(max_examples=30, stateful_step_count=40)
