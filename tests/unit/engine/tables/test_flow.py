"""Flows by either of their names: a dictionary of lists knows as well."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyslirp.engine.stores.siphash import _siphash
from pyslirp.engine.tables.flow import _Table

GUEST_SIDE, HOST_SIDE = 0, 1
FIRST_SIZE = 64

Name = tuple[int, bytes, int, bytes, int]


def name(number: int, protocol: int = 17) -> Name:
    return (
        protocol,
        bytes(10) + b"\xff\xff\x0a\0\2\x0f",
        number % 65536,
        bytes(12) + number.to_bytes(4),
        number // 65536,
    )


def named(table: _Table, *names: Name, side: int = GUEST_SIDE) -> list[int]:
    flows = []
    for each in names:
        flows.append(table.new())
        assert table.link(flows[-1], side, each)
    return flows


def test_a_flow_is_found_by_either_name() -> None:
    table = _Table()
    (flow,) = named(table, name(1))
    assert table.link(flow, HOST_SIDE, name(2))
    assert [table.find(GUEST_SIDE, name(n)) for n in (1, 2)] == [flow, 0]
    assert [table.find(HOST_SIDE, name(n)) for n in (1, 2)] == [0, flow]
    table.unlink(flow, GUEST_SIDE)
    table.unlink(flow, GUEST_SIDE)
    assert (table.find(GUEST_SIDE, name(1)), table.find(HOST_SIDE, name(2))) == (0, flow)
    assert (table.count(GUEST_SIDE), table.count(HOST_SIDE)) == (0, 1)


@pytest.mark.parametrize("at", range(5))
def test_every_part_of_a_name_counts(at: int) -> None:
    table = _Table()
    (flow,) = named(table, name(7))
    protocol, guest, guest_port, far, far_port = name(7)
    other = [
        (1, guest, guest_port, far, far_port),
        (protocol, far, guest_port, far, far_port),
        (protocol, guest, 1, far, far_port),
        (protocol, guest, guest_port, guest, far_port),
        (protocol, guest, guest_port, far, 1),
    ]
    assert table.find(GUEST_SIDE, name(7)) == flow
    assert table.find(GUEST_SIDE, other[at]) == 0


def test_of_two_with_one_name_the_younger_is_found_first() -> None:
    table = _Table()
    old, young = named(table, name(1), name(1))
    assert table.find(GUEST_SIDE, name(1)) == young
    named(table, *[name(number) for number in range(2, 300)])
    assert table.find(GUEST_SIDE, name(1)) == young
    table.unlink(young, GUEST_SIDE)
    assert table.find(GUEST_SIDE, name(1)) == old


@pytest.mark.parametrize("side", [GUEST_SIDE, HOST_SIDE])
def test_chains_stay_short_as_it_grows(side: int) -> None:
    table = _Table(1, 2)
    flows = named(table, *[name(n) for n in range(5000)], side=side)
    buckets = table.buckets(side)
    assert len(buckets) == 8192
    assert sum(buckets) == table.count(side) == 5000
    assert max(buckets) < 12
    assert [table.find(side, name(n)) for n in range(5000)] == flows
    assert len(table.buckets(1 - side)) == FIRST_SIZE


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_the_key_decides_on_the_bucket(key0: int, key1: int) -> None:
    """And all 40 bytes of the name go into it: protocol, ports and both addresses, the unused ones as zeros."""
    table = _Table(key0, key1)
    protocol, guest, guest_port, far, far_port = name(0x12345)
    named(table, name(0x12345))
    raw = guest + far + guest_port.to_bytes(2, "little") + far_port.to_bytes(2, "little") + bytes([protocol, 0, 0, 0])
    assert table.buckets(GUEST_SIDE)[_siphash(raw, key0, key1) % FIRST_SIZE] == 1


def test_a_timer_leads_to_its_flow() -> None:
    table = _Table()
    assert all(table.of_timer(table.new()) for _ in range(100))


class FlowMachine(RuleBasedStateMachine):
    """Names that are taken and given up in any order."""

    @initialize(key=st.integers(0, 2**64 - 1))
    def begin(self, key: int) -> None:
        self.table = _Table(key, key)
        self.linked: dict[tuple[int, Name], list[int]] = {}
        self.names: dict[int, dict[int, Name]] = {}

    @rule(numbers=st.lists(st.integers(0, 300), max_size=40), side=st.integers(0, 1))
    def link(self, numbers: list[int], side: int) -> None:
        for number in numbers:
            flow = self.table.new()
            self.table.link(flow, side, name(number))
            self.linked.setdefault((side, name(number)), []).append(flow)
            self.names[flow] = {side: name(number)}

    @rule(number=st.integers(0, 300), side=st.integers(0, 1))
    def unlink(self, number: int, side: int) -> None:
        flows = self.linked.get((side, name(number)))
        if flows:
            flow = flows.pop()
            self.table.unlink(flow, side)
            self.table.give(flow)

    @rule(number=st.integers(0, 300), side=st.integers(0, 1))
    def find(self, number: int, side: int) -> None:
        flows = self.linked.get((side, name(number)))
        assert self.table.find(side, name(number)) == (flows[-1] if flows else 0)

    @invariant()
    def counted(self) -> None:
        if hasattr(self, "table"):
            for side in (GUEST_SIDE, HOST_SIDE):
                assert self.table.count(side) == sum(len(flows) for (at, _), flows in self.linked.items() if at == side)


TestFlows = FlowMachine.TestCase
TestFlows.settings = settings(max_examples=30, stateful_step_count=40)
