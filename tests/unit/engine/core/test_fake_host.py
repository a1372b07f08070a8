"""The host that the other tests believe in."""

from __future__ import annotations

import dpkt
import pytest

from pyslirp.engine.core.fake_host import FakeHost
from tests.unit.engine.core.guest import FAR, GATEWAY, Net, ip

SYN = dpkt.tcp.TH_SYN
EIO, EPIPE = 5, 32


def test_a_verdict_is_only_for_a_new_flow() -> None:
    net = Net()
    guest = net.guest()
    guest.tcp(SYN)
    flow = net.flow()
    net.host.attach(flow, net.now)
    with pytest.raises(KeyError):
        net.host.attach(flow, net.now)
    guest.udp(b"x")
    flow = net.flow()
    mapping = net.host.allow(flow, ip(FAR), 9, net.now)
    with pytest.raises(KeyError):
        net.host.allow(flow, ip(FAR), 9, net.now)
    for call in (
        lambda: net.host.peers(flow),
        lambda: net.host.attach(flow, net.now),
        lambda: net.host.connected(flow, net.now),
        lambda: net.host.failed(flow, EIO, net.now),
        lambda: net.host.feed(flow, 1, b"", net.now),
        lambda: net.host.arrive(flow, ip(FAR), 1, b"", net.now),
    ):
        with pytest.raises(KeyError):
            call()
    assert net.host.peers(mapping) == 1
    assert net.host.socket_of(flow) == 0


def test_handles_and_addresses_are_checked() -> None:
    net = Net()
    for call in (
        lambda: net.host.connected(0, net.now),
        lambda: net.host.failed(0, EIO, net.now),
        lambda: net.host.writable(0, net.now),
        lambda: net.host.arrive(0, ip(FAR), 1, b"", net.now),
        lambda: net.host.error(0, ip(FAR), 1, None, 3, 3, net.now),
        lambda: net.host.peers(0),
    ):
        with pytest.raises(KeyError):
            call()
    with pytest.raises(ValueError, match="16 bytes"):
        net.host.listen(b"four", 1)


def test_one_that_is_refused_leaves_no_socket() -> None:
    net = Net()
    guest = net.guest()
    assert net.host.open(ip(guest.ip), 1, ip(GATEWAY), 2, net.now)[0]
    assert net.host.open(ip(guest.ip), 1, ip(GATEWAY), 2, net.now) == (0, 0)
    assert len(net.host.sockets) == 1


def test_a_host_that_is_gone_refuses_everything() -> None:
    net = Net()
    guest = net.guest()
    guest.udp(b"x")
    flow = net.flow()
    net.host.allow(flow, ip(FAR), 9, net.now)
    net.host = FakeHost(Net().core)
    guest.udp(b"to nobody")
    assert guest.packet().data.code == 0
    assert net.counted()["udp.host_error"] == 1
    net.wait(30)
    assert net.core.memory()["flows"] == 0


def test_what_is_sent_is_bounded_by_its_room_and_errors() -> None:
    net = Net()
    guest = net.guest()
    guest.tcp(SYN, seq=0)
    flow = net.flow()
    socket = net.host.attach(flow, net.now)
    net.host.connected(flow, net.now)
    net.run()
    answer = guest.packet().data
    net.host.room = 3
    guest.tcp(dpkt.tcp.TH_ACK, b"abcdef", seq=1, ack=answer.seq + 1)
    assert net.host.take() == [("send", socket, b"abc")]
    assert net.core.flow(flow)["receive_queue"] == 3
    net.host.errors["send"] = EPIPE
    net.host.writable(flow, net.now)
    net.run()
    assert net.host.take() == [("close", socket, True)]
    assert net.core.flows() == []
