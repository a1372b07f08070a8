"""The rig itself, without any backend: what a failing test of another file must not be blamed on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.rig.conversation import MIB, exchange, noise
from tests.interop.rig.namespace import accept
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.topology import FAR, HOST, ROUTER, Topology

LEFT, RIGHT = "10.0.2.15", "10.0.2.16"


@pytest.fixture(params=[1500, 65520], ids=["mtu1500", "mtu65520"])
def cable(request: pytest.FixtureRequest, topology: Topology, folder: Path) -> Iterator[tuple[NetnsGuest, NetnsGuest]]:
    """Two guests whose bridges speak to one another: QEMU's framing, and no backend."""
    left = NetnsGuest("left", topology.lab, folder, mtu=request.param)
    right = NetnsGuest("right", topology.lab, folder, mac="52:54:00:12:34:57", mtu=request.param)
    ends = socket.socketpair()
    for guest, end, address in zip((left, right), ends, (LEFT, RIGHT), strict=True):
        guest.attach(end)
        guest.configure(address, gateway="10.0.2.2")
    yield left, right
    left.close()
    right.close()


def test_bridges_carry_everything(cable: tuple[NetnsGuest, NetnsGuest]) -> None:
    """TCP both ways at once and the largest datagram cross two bridges unharmed."""
    left, right = cable
    with right.net.listener(RIGHT) as listener:
        client = left.net.connect(RIGHT, listener.getsockname()[1])
        server, _ = accept(listener)
    exchange([(client, server, noise(32 * MIB, 1)), (server, client, noise(32 * MIB, 2))])
    here, there = left.net.udp(LEFT), right.net.udp(RIGHT)
    here.sendto(noise(65507), there.getsockname())
    assert there.recvfrom(65536) == (noise(65507), here.getsockname())


def test_connection_survives_a_new_bridge(cable: tuple[NetnsGuest, NetnsGuest]) -> None:
    """The tap is persistent: connections last when a bridge is killed and another takes its place."""
    left, right = cable
    with right.net.listener(RIGHT) as listener:
        client = left.net.connect(RIGHT, listener.getsockname()[1])
        server, _ = accept(listener)
    exchange([(client, server, b"before")], close=False)
    left.detach()
    right.wait_detached()
    for guest, end in zip(cable, socket.socketpair(), strict=True):
        guest.attach(end)
    exchange([(client, server, noise(MIB))], close=False)


def test_topology(topology: Topology) -> None:
    """The far machine is two hops away, and an ordinary user of the host may ping."""
    with topology.host.new_socket(kind=socket.SOCK_DGRAM, proto=socket.IPPROTO_ICMP) as ping:
        ping.sendto(b"\x08\0\0\0\0\0\0\1hello", (FAR, 0))
        assert ping.recv(64)[8:] == b"hello"
    assert ROUTER in topology.host.run(f"busybox traceroute -n -m 1 -q 1 -w 2 {FAR}").output
    with topology.host.listener(HOST) as listener:
        client = topology.far.connect(HOST, listener.getsockname()[1])
        _, seen = accept(listener)
    assert seen == client.getsockname()
