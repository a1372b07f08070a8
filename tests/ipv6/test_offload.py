"""Checksums left to the link and super-frames, in IPv6 as in IPv4 (virtio-net, NEEDS_CSUM and GSO_TCPV6)."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pyslirp.engine.codecs.offload import _finish_sum
from tests.oracle.checksum import folded_sum, pseudo_header
from tests.oracle.headers_ipv6 import TCP
from tests.unit.engine.core.guest6 import FAR6, Guest6, Net6, checked6, six

HEADER = struct.Struct("=BBHHHH")  # flags, gso type, header length, gso size, checksum from, its offset
NEEDS_CSUM, TCP6 = 1, 4
L4, CHECKSUM = 54, 16
SYN, ACK, PSH = 2, 16, 8
BURST = 65_000


class OffloadGuest6(Guest6):
    """As any guest, but for its link."""

    def __init__(self, net: Net6) -> None:
        super().__init__(net, 0x15, net.core.add_port(1500, BURST, offload=True))
        self.heads: list[tuple[Any, ...]] = []
        self.introduce6()

    def send(self, *frames: bytes) -> None:
        super().send(*(bytes(HEADER.size) + frame for frame in frames))

    def send_partial(self, frame: bytes, gso_bytes: int = 0) -> None:
        """TCP with its checksum left undone, and cut into no segments."""
        length = len(frame) - L4
        partial = folded_sum(pseudo_header(frame[22:38], frame[38:54], TCP, length)).to_bytes(2)
        head = HEADER.pack(NEEDS_CSUM, TCP6 if gso_bytes else 0, L4 + 20, gso_bytes, L4, CHECKSUM)
        super(Guest6, self).send(head + frame[: L4 + CHECKSUM] + partial + frame[L4 + CHECKSUM + 2 :])

    def frames(self) -> list[bytes]:
        found = []
        self.heads = []
        for raw in super().frames():
            head, frame = HEADER.unpack(raw[: HEADER.size]), raw[HEADER.size :]
            self.heads.append(head)
            found.append(_finish_sum(frame, head[4], head[4] + head[5]) if head[0] & NEEDS_CSUM else frame)
        return found


def connected(net: Net6, guest: OffloadGuest6) -> tuple[int, int, int]:
    guest.send_partial(guest.tcp6_frame(SYN, options=b"\x02\x04\x05\xa0\x01\x03\x03\x08"))
    flow = net.flow()
    socket = net.host.attach(flow, net.now)
    net.host.connected(flow, net.now)
    net.run()
    seq = guest.packet6().data.seq + 1
    guest.send_partial(guest.tcp6_frame(ACK, seq=1001, ack=seq))
    return flow, socket, seq


def test_a_super_frame_to_the_guest() -> None:
    net = Net6()
    guest = OffloadGuest6(net)
    flow, socket, _ = connected(net, guest)
    data = bytes(range(250)) * 40
    net.host.feed(flow, socket, data, net.now)
    net.run()
    packets = guest.packets6()
    assert b"".join(bytes(packet.data.data) for packet in packets) == data
    assert len(packets) == 1
    assert guest.heads == [(NEEDS_CSUM, TCP6, L4 + 20, 1440, L4, CHECKSUM)]


@pytest.mark.parametrize("size", [1, 1440, 5000, 60_000])
def test_a_super_frame_of_the_guest(size: int) -> None:
    net = Net6()
    guest = OffloadGuest6(net)
    _, _, seq = connected(net, guest)
    net.host.take()
    data = (bytes(range(250)) * 240)[:size]
    guest.send_partial(guest.tcp6_frame(PSH | ACK, data, seq=1001, ack=seq), gso_bytes=1440)
    assert b"".join(call[2] for call in net.host.take() if call[0] == "send") == data
    assert net.counted().get("tcp.bad_checksum", 0) == 0


def test_a_super_frame_between_guests_is_cut_for_a_link_without() -> None:
    net = Net6()
    guest, plain = OffloadGuest6(net), net.guest6(0x16)
    plain.frames()
    data = bytes(range(200)) * 20
    guest.send_partial(plain.mac + guest.tcp6_frame(ACK, data, to=plain.ip6)[6:], gso_bytes=1000)
    packets = [checked6(frame) for frame in plain.frames()]
    assert [len(packet.data.data) for packet in packets] == [1000] * 4
    assert b"".join(bytes(packet.data.data) for packet in packets) == data
    assert {packet.dst for packet in packets} == {six(plain.ip6)}


def test_datagrams_to_a_guest_with_offload() -> None:
    """Whole or in fragments: a checksum is left to the link only where the link can make it."""
    net = Net6()
    guest = OffloadGuest6(net)
    for size in (100, 3000):
        assert net.core.send_udp(six(FAR6), 9, six(guest.ip6), 5000, bytes(size), net.now)
        assert guest.datagram6() == (FAR6, 9, 5000, bytes(size))
