"""The commands that look: of a network with a guest that has a lease, a neighbour entry, flows and counters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.config.stack import Config
from pyslirp.control import inspection
from pyslirp.control.command import Nothing, to_json
from pyslirp.control.inspection import Flow, FlowsRequest, Lease, Neighbor
from pyslirp.engine.edge.clock import now
from pyslirp.sim.apps import Transfer
from tests.unit.loops.wired_guest import Rig, answer

GATEWAY = IPv4Address("10.0.2.2")


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(Config.build(id="n0")) as rig:
        yield rig


def flows(rig: Rig, limit: int = 10) -> tuple[Flow, ...]:
    return inspection.flows(rig.stack, FlowsRequest(limit=limit)).flows


def test_the_network_in_a_line(rig: Rig) -> None:
    text = inspection.info_network(rig.stack, Nothing()).text
    assert text == "n0: index=0,type=user,net=10.0.2.0,restrict=off\n"
    rig.stack.set_restrict(True)
    assert inspection.info_network(rig.stack, Nothing()).text.endswith(",restrict=on\n")


def test_the_table_is_headed_by_the_network(rig: Rig) -> None:
    text = inspection.info_usernet(rig.stack, Nothing()).text
    assert text.startswith("Hub -1 (n0):\n  Protocol[State]    FD  Source Address")


def test_a_guest_is_a_neighbor_with_a_lease(rig: Rig) -> None:
    guest = rig.join()
    (neighbor,) = inspection.neighbors(rig.stack, Nothing()).neighbors
    assert neighbor == Neighbor("10.0.2.15", str(guest.mac), True, neighbor.mtu, 0)
    assert neighbor.mtu >= 1500
    (lease,) = inspection.leases(rig.stack, Nothing()).leases
    assert lease == Lease("10.0.2.15", str(guest.mac), "bound", lease.hostname, lease.client_id, lease.expires_in)
    assert lease.expires_in is not None
    assert 86_000 < lease.expires_in <= 86_400


def test_a_lease_without_end() -> None:
    with Rig(Config.build(lease_time=2**32 - 1)) as rig:
        rig.join()
        (lease,) = inspection.leases(rig.stack, Nothing()).leases
        assert lease.expires_in is None


def test_flows_of_each_kind(rig: Rig) -> None:
    guest = rig.join()
    with answer() as server, answer(udp=True) as other:
        data = Transfer(b"up" * 1000)
        guest.connect(GATEWAY, server.getsockname()[1], now(), data)
        rig.answered(GATEWAY)
        guest.send_udp(40000, Endpoint(GATEWAY, other.getsockname()[1]), b"hello", now())
        rig.until(lambda: len(flows(rig)) == 2 and sum(flow.bytes_to_host for flow in flows(rig)) == 2005)
        tcp, udp = sorted(flows(rig), key=lambda flow: flow.protocol)
        assert (tcp.inbound, tcp.served, tcp.far) == (False, False, f"10.0.2.2:{server.getsockname()[1]}")
        assert tcp.state in {"ESTABLISHED", "CLOSE_WAIT"}, "the guest has finished, the server has not"
        assert tcp.details.keys() >= {"srtt", "cwnd", "receive_queue", "send_queue"}
        assert (udp.guest, udp.bytes_to_host, udp.state) == ("10.0.2.15:40000", 5, "open")
        assert udp.details == {
            "host": f"127.0.0.1:{other.getsockname()[1]}",
            "datagrams_to_host": 1,
            "datagrams_to_guest": 0,
        }
        assert 0 <= udp.age < 60


@pytest.mark.parametrize(("limit", "shown", "more"), [(0, 0, True), (1, 1, True), (2, 2, True), (3, 3, False)])
def test_not_more_flows_than_are_asked_for(rig: Rig, limit: int, shown: int, *, more: bool) -> None:
    guest = rig.join()
    with answer(udp=True) as server:
        rig.answered(GATEWAY)
        for port in (1001, 1002, 1003):
            guest.send_udp(port, Endpoint(GATEWAY, server.getsockname()[1]), b"x", now())
        rig.until(lambda: len(flows(rig)) == 3)
        found = inspection.flows(rig.stack, FlowsRequest(limit=limit))
        assert (len(found.flows), found.more) == (shown, more)


def test_counters_of_the_engine_and_of_services(rig: Rig) -> None:
    rig.join()
    counters = inspection.counters(rig.stack, Nothing()).counters
    assert counters["dhcp.received.discover"] == 1
    assert counters["arp.malformed"] == 0
    assert counters["claimed.datagram"] >= 2


def test_every_response_is_json(rig: Rig) -> None:
    rig.join()
    for look in (inspection.neighbors, inspection.leases, inspection.counters, inspection.info_usernet):
        json.dumps(to_json(look(rig.stack, Nothing())))
    json.dumps(to_json(inspection.flows(rig.stack, FlowsRequest())))
