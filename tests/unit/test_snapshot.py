"""A core's state as values that JSON can hold."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

from pyslirp.addresses import Endpoint
from pyslirp.sim.apps import Echo
from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.faults import Impairments, impaired
from pyslirp.sim.guest import Guest
from pyslirp.sim.host import Gateway
from pyslirp.sim.world import World
from pyslirp.snapshot import flows_of, neighbors_of

GATEWAY, GUEST = IPv4Address("10.0.2.2"), IPv4Address("10.0.2.15")


def small_world() -> tuple[World, Gateway, Guest]:
    world, gateway = World(), Gateway()
    guest = Guest(address=GUEST, router=GATEWAY)
    world.add(gateway, guest)
    world.connect(guest, gateway.attach(), impaired(Impairments(), "snapshot"))
    return world, gateway, guest


def flow_of(gateway: Gateway) -> dict[str, Any]:
    (flow,) = flows_of(gateway.core)
    json.dumps(flow)
    return flow


def test_a_stream() -> None:
    world, gateway, guest = small_world()
    gateway.listen(80, Echo)
    stream = guest.connect(GATEWAY, 80, world.now, local_port=40000)
    assert world.run_until(lambda: stream.connected, SECOND_NS)
    flow = flow_of(gateway)
    assert (flow["protocol"], flow["guest"], flow["far"]) == ("tcp", "10.0.2.15:40000", "10.0.2.2:80")
    assert (flow["state"], flow["served"], flow["inbound"], flow["waiting"]) == ("ESTABLISHED", True, False, False)
    assert not {"guest_port", "far_port", "host", "host_port"} & set(flow)


def test_a_conversation() -> None:
    world, gateway, guest = small_world()
    gateway.answer_udp(5353, lambda payload: payload)
    port = guest.udp(40000)
    port.send(Endpoint(GATEWAY, 5353), b"x", world.now)
    assert world.run_until(lambda: bool(port.received), SECOND_NS)
    flow = flow_of(gateway)
    assert (flow["protocol"], flow["guest"], flow["far"]) == ("udp", "10.0.2.15:40000", "10.0.2.2:5353")
    assert flow["state"] == "open"
    assert flow["host"].endswith(":0"), "the host has no part in it"


def test_a_neighbour() -> None:
    world, gateway, guest = small_world()
    ping = guest.ping(GATEWAY, world.now)
    assert world.run_until(lambda: ping.rtt_ns is not None, SECOND_NS)
    (neighbor,) = neighbors_of(gateway.core)
    json.dumps(neighbor)
    assert (neighbor["address"], neighbor["mac"], neighbor["reachable"]) == ("10.0.2.15", str(guest.mac), True)


def test_nothing() -> None:
    _, gateway, _ = small_world()
    assert (flows_of(gateway.core), neighbors_of(gateway.core)) == ([], [])
