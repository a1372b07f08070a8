"""The promises of HostOps, as the core keeps them towards any host (protocols/target.pxd)."""

from __future__ import annotations

import dpkt
import pytest

from pyslirp.engine.core import core
from tests.unit.engine.core.guest import FAR, GATEWAY, Guest, Net, ip

SYN, ACK, FIN, RST = dpkt.tcp.TH_SYN, dpkt.tcp.TH_ACK, dpkt.tcp.TH_FIN, dpkt.tcp.TH_RST
EAGAIN, EPIPE, ECONNRESET, EIO = 11, 32, 104, 5


def connected(net: Net, guest: Guest) -> tuple[int, int, int]:
    """A guest's connection with a host socket: flow, socket, and the number that the guest has to acknowledge."""
    guest.tcp(SYN, seq=0, options=b"\x02\x04\x05\xb4")
    flow = net.flow()
    socket = net.host.attach(flow, net.now)
    net.host.connected(flow, net.now)
    net.run()
    number: int = guest.packet().data.seq + 1
    guest.tcp(ACK, seq=1, ack=number)
    return flow, socket, number


@pytest.mark.parametrize("room", [0, 1, 999, 1000])
def test_what_send_does_not_take_is_offered_again_when_there_is_room(room: int) -> None:
    net = Net()
    guest = net.guest()
    flow, socket, number = connected(net, guest)
    data = bytes(range(250)) * 4
    net.host.room = room
    guest.tcp(ACK, data, seq=1, ack=number)
    assert b"".join(call[2] for call in net.host.take()) == data[:room]
    net.host.room = None
    net.host.writable(flow, net.now)
    net.run()
    assert b"".join(call[2] for call in net.host.take() if call[:2] == ("send", socket)) == data[room:]


@pytest.mark.parametrize("operation", ["send", "recv"])
@pytest.mark.parametrize("error", [EPIPE, ECONNRESET, EIO])
def test_a_socket_that_fails_is_closed_and_resets_the_guest(operation: str, error: int) -> None:
    net = Net()
    guest = net.guest()
    flow, socket, number = connected(net, guest)
    guest.packets()
    net.host.errors[operation] = error
    net.host.feed(flow, socket, b"x", net.now)
    guest.tcp(ACK, b"data", seq=1, ack=number)
    net.run()
    assert [call for call in net.host.take() if call[0] != "send"] == [("close", socket, True)]
    assert guest.packets()[-1].data.flags & RST
    assert net.punt()[4] == core.REASONS.index("reset by host")


@pytest.mark.parametrize("operation", ["send", "recv"])
def test_eagain_is_no_failure(operation: str) -> None:
    net = Net()
    guest = net.guest()
    flow, socket, number = connected(net, guest)
    net.host.errors[operation] = EAGAIN
    net.host.feed(flow, socket, b"down", net.now)
    guest.tcp(ACK, b"up", seq=1, ack=number)
    guest.packets()
    del net.host.errors[operation]
    net.host.feed(flow, socket, b"", net.now)
    net.host.writable(flow, net.now)
    net.run()
    assert ("send", socket, b"up") in net.host.calls
    assert net.host.sockets[socket] == bytearray()


def test_a_large_read_is_cut_into_segments_and_nothing_is_read_that_cannot_wait() -> None:
    net = Net()
    guest = net.guest()
    flow, socket, _ = connected(net, guest)
    guest.packets()
    net.host.feed(flow, socket, bytes(10**7), net.now)
    net.run()
    sizes = [len(packet.data.data) for packet in guest.packets()]
    assert set(sizes) == {1460}
    left = len(net.host.sockets[socket])
    assert 10**7 - left <= 2**20
    net.wait(0.1)
    assert len(net.host.sockets[socket]) == left


def test_finish_comes_behind_the_last_byte_and_close_behind_both_ends() -> None:
    net = Net()
    guest = net.guest()
    flow, socket, number = connected(net, guest)
    net.host.room = 0
    guest.tcp(ACK | FIN, b"last", seq=1, ack=number)
    assert net.host.take() == []
    net.host.room = None
    net.host.writable(flow, net.now)
    net.run()
    assert net.host.take() == [("send", socket, b"last"), ("finish", socket)]
    net.host.feed(flow, socket, b"", net.now, end=True)
    net.run()
    assert net.host.take() == [("close", socket, False)]


def test_every_socket_is_closed_once() -> None:
    """A FakeHost raises where one is closed that is not open."""
    net = Net()
    guest = net.guest()
    connected(net, guest)
    guest.udp(b"x")
    net.host.allow(net.punts()[-1][1], ip(FAR), 9, net.now)
    net.host.listen(ip(guest.ip), 53)
    net.host.open(ip(guest.ip), 22, ip(GATEWAY), 9, net.now)
    assert len(net.host.sockets) == 4
    closed = [call[1] for call in net.host.take() if call[0] == "close"]
    for flow in net.core.flows():
        net.core.close_flow(flow["flow"], net.now)
    closed += [call[1] for call in net.host.take() if call[0] == "close"]
    assert len(closed) == len(set(closed)) == 3
    assert len(net.host.sockets) == 1
