"""Datagrams on their way to the host: gathered by flow, sent with the batch, in order, and each with its own fate."""

from __future__ import annotations

from typing import Any

import dpkt
import pytest

from pyslirp.addresses import unpack
from pyslirp.engine.core import core
from tests.unit.engine.core.guest import FAR, GATEWAY, Guest, Net, described, ip

ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EPERM, EMSGSIZE, ENOBUFS = 111, 113, 101, 1, 90, 105
BURST, BURSTS = 64, 8


def opened(net: Net, guest: Guest, **fields: Any) -> int:
    """A conversation that has been let through; its mapping."""
    guest.udp(b"first", **fields)
    punt = net.punt()
    mapping = net.host.allow(punt[1], punt[2][3], punt[2][4], net.now)
    net.host.take()
    return mapping


def sent(net: Net) -> list[tuple[str, int, bytes]]:
    return [(str(unpack(call[2])), call[3], call[6]) for call in net.host.take() if call[0] == "send_to"]


@pytest.mark.parametrize("number", [1, BURST - 1, BURST, BURST + 1, 3 * BURST])
def test_a_batch_of_one_flow_goes_in_order(net: Net, guest: Guest, number: int) -> None:
    opened(net, guest)
    net.counted()
    datagrams = [index.to_bytes(2) * (1 + index % 5) for index in range(number)]
    guest.send(*map(guest.udp_frame, datagrams))
    assert [data for _, _, data in sent(net)] == datagrams
    assert net.counted() == {"udp.to_host": number}
    (flow,) = net.core.flows()
    assert flow["bytes_to_host"] == len(b"first") + sum(map(len, datagrams))


def test_each_flow_keeps_its_order(net: Net, guest: Guest) -> None:
    """More flows than are gathered at a time, a datagram of each in turn."""
    ports = range(1000, 1000 + BURSTS + 3)
    for port in ports:
        opened(net, guest, port=port)
    guest.send(*[guest.udp_frame(bytes([turn]), port=port) for turn in range(4) for port in ports])
    found = sent(net)
    for port in ports:
        assert [data for _, to, data in found if to == port] == [bytes([turn]) for turn in range(4)]


def test_ttl_and_tos_are_each_datagrams_own(net: Net, guest: Guest) -> None:
    opened(net, guest)
    guest.send(*[guest.udp_frame(bytes([ttl]), ttl=ttl) for ttl in (9, 9, 7, 9)])
    assert [(call[4], call[6][0]) for call in net.host.take()] == [(9, 9), (9, 9), (7, 7), (9, 9)]


def test_an_error_is_told_for_each(net: Net, guest: Guest) -> None:
    opened(net, guest)
    net.counted()
    net.host.errors["send_to"] = ENETUNREACH
    guest.send(*[guest.udp_frame(bytes(length)) for length in (10, 20)])
    assert net.counted()["udp.host_error"] == 2
    assert [described(packet)[:3] for packet in guest.packets()] == [("10.0.2.2", 3, 0)] * 2


def test_what_has_come_before_the_end_goes_out(net: Net, guest: Guest) -> None:
    """A question, and its answer by which the flow ends, in one turn."""
    mapping = opened(net, guest, port=53)
    guest.send(guest.udp_frame(b"question", port=53))
    net.host.arrive(mapping, ip(FAR), 53, b"answer", net.now)
    net.host.arrive(mapping, ip(FAR), 53, b"answer", net.now)
    net.run()
    assert sent(net) == [(FAR, 53, b"question")]
    assert [punt[0] for punt in net.punts()] == [core.KIND_CLOSED]


def test_a_reassembled_datagram_is_not_overwritten_by_the_next(net: Net, guest: Guest) -> None:
    """Both lie in the table's one buffer, one after the other."""
    opened(net, guest)
    one, other = bytes(2000), b"\xff" * 2000
    for_each = [
        guest.fragments(dpkt.udp.UDP(sport=5000, dport=9, ulen=2008, data=data), 17, 1000, ident=ident)
        for ident, data in ((1, one), (2, other))
    ]
    guest.send(*for_each[0], *for_each[1])
    assert [data for _, _, data in sent(net)] == [one, other]


@pytest.mark.parametrize(
    ("error", "code"),
    [(ECONNREFUSED, 3), (EHOSTUNREACH, 1), (ENETUNREACH, 0), (EPERM, 13), (EMSGSIZE, 4), (ENOBUFS, 0)],
)
def test_what_a_socket_refuses_is_told(net: Net, guest: Guest, error: int, code: int) -> None:
    opened(net, guest, source_port=77, port=78)
    net.host.errors["send_to"] = error
    guest.udp(b"hello", source_port=77, port=78, ttl=3)
    source, kind, said, quoted = described(guest.packet())
    assert (source, kind, said, quoted.ttl) == (GATEWAY, 3, code, 3)
    assert (quoted.raw[20:26], quoted.raw[28:]) == (b"\0\x4d\0\x4e\0\x0d", b"hello")
    assert net.counted()["udp.host_error"] == 1
    (flow,) = net.core.flows()
    assert flow["datagrams_to_host"] == 1, "the first"
