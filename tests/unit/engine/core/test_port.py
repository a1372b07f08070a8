"""What a port's link carries: checksums and segmentation left undone (head_bytes), super-frames (burst)."""

from __future__ import annotations

from typing import Any

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.codecs.offload import _finish_sum
from pyslirp.engine.core import core
from tests.oracle.checksum import folded_sum, pseudo_header
from tests.unit.engine.core.guest import EVERYBODY, FAR, MAC, Guest, Net, checked, ip, payload
from tests.unit.engine.core.offload_guest import (
    BURST,
    DATA_VALID,
    HEADER,
    L4,
    NEEDS_CSUM,
    TCP4,
    UDP_L4,
    Head,
    OffloadGuest,
    with_partial_sum,
)

SYN, ACK, PSH, FIN = dpkt.tcp.TH_SYN, dpkt.tcp.TH_ACK, dpkt.tcp.TH_PUSH, dpkt.tcp.TH_FIN
NOTHING = Head(0, 0, 0, 0, 0, 0)
PARTIAL = Head(NEEDS_CSUM, 0, 0, 0, L4, 16)
OTHER = "10.0.2.16"
MSS = 1460


def pair(net: Net, *, offload: bool) -> tuple[OffloadGuest, Guest]:
    """A guest whose link leaves work undone, and another, at a link of that kind or not."""
    one = OffloadGuest(net, 15)
    other = OffloadGuest(net, 16) if offload else net.guest(16)
    one.frames()
    return one, other


def segment(guest: Guest, to: Guest, payload: bytes, flags: int = ACK) -> bytes:
    return guest.tcp_frame(flags, payload, to=to.ip, mac_to=to.mac)


def texts(frames: list[bytes]) -> list[bytes]:
    """The payloads of TCP frames, whose every checksum is verified."""
    return [bytes(checked(frame[14:]).data.data) for frame in frames]


# -- from guest to guest -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offload", [False, True])
def test_a_frame_with_nothing_left_undone_passes_as_it_is(offload: bool) -> None:
    net = Net()
    one, other = pair(net, offload=offload)
    frame = segment(one, other, b"hello")
    one.send(frame)
    assert other.frames() == [frame]
    assert not isinstance(other, OffloadGuest) or other.heads == [NOTHING]


def test_a_frame_of_a_plain_link_says_nothing() -> None:
    net = Net()
    one, other = pair(net, offload=False)
    frame = segment(other, one, b"hello")
    other.send(frame)
    assert one.frames() == [frame]
    assert one.heads == [NOTHING]


def test_a_checksum_that_is_left_undone_stays_so_where_it_can() -> None:
    net = Net()
    one, other = pair(net, offload=True)
    assert isinstance(other, OffloadGuest)
    one.send_partial(segment(one, other, b"hello"))
    assert texts(other.frames()) == [b"hello"]
    assert other.heads == [PARTIAL]


@pytest.mark.parametrize("flags", [NEEDS_CSUM, NEEDS_CSUM | DATA_VALID])
def test_it_is_made_where_it_cannot(flags: int) -> None:
    net = Net()
    one, other = pair(net, offload=False)
    one.send_partial(segment(one, other, b"hello"), flags=flags)
    assert texts(other.frames()) == [b"hello"]


def test_a_super_frame_stays_one_where_it_can() -> None:
    net = Net()
    one, other = pair(net, offload=True)
    assert isinstance(other, OffloadGuest)
    one.send_partial(segment(one, other, bytes(60_000)), gso_bytes=MSS)
    assert texts(other.frames()) == [bytes(60_000)]
    assert other.heads == [Head(NEEDS_CSUM, TCP4, 54, MSS, L4, 16)]
    assert net.counted() == {"arp.answered": 2, "switch.flooded": 2, "switch.forwarded": 1}


def test_it_is_cut_where_it_cannot() -> None:
    net = Net()
    one, other = pair(net, offload=False)
    payload = bytes(range(256)) * 200
    one.send_partial(segment(one, other, payload, ACK | PSH | FIN), gso_bytes=MSS)
    frames = other.frames()
    assert b"".join(texts(frames)) == payload
    assert [len(frame) for frame in frames[:-1]] == [14 + 1500] * (len(payload) // MSS)
    assert [checked(frame[14:]).data.flags for frame in frames] == [ACK] * (len(frames) - 1) + [ACK | PSH | FIN]
    assert [port["tx_frames"] for port in net.core.ports()] == [2, len(frames) + 1]


def test_the_last_segment_is_as_long_as_a_frame_must_be() -> None:
    net = Net()
    one, other = pair(net, offload=False)
    one.send_partial(segment(one, other, bytes(MSS + 1)), gso_bytes=MSS)
    frames = other.frames()
    assert [len(frame) for frame in frames] == [1514, 60]
    assert texts(frames) == [bytes(MSS), bytes(1)]


def test_a_broadcast_reaches_each_link_in_its_way() -> None:
    net = Net()
    one, plain = pair(net, offload=False)
    other = OffloadGuest(net, 17)
    for guest in (one, plain, other):
        guest.frames()
    one.send_partial(one.tcp_frame(ACK, bytes(3000), to=OTHER, mac_to=EVERYBODY), gso_bytes=MSS)
    assert [len(text) for text in texts(plain.frames())] == [1460, 1460, 80]
    assert [len(text) for text in texts(other.frames())] == [3000]


def test_segments_longer_than_the_other_link_carries_are_dropped() -> None:
    net = Net(mtu=9000)
    one, other = OffloadGuest(net, 15, 9000), net.guest(16, mtu=1500)
    net.counted()
    one.send_partial(segment(one, other, bytes(60_000)), gso_bytes=8960)
    assert other.frames() == []
    assert net.counted() == {"port.too_big": 1, "switch.forwarded": 1}


@pytest.mark.parametrize("offload", [False, True])
def test_a_super_frame_that_is_none_is_dropped(offload: bool) -> None:
    net = Net()
    one, other = pair(net, offload=offload)
    other.frames()
    net.counted()
    head = HEADER.pack(NEEDS_CSUM, TCP4, 54, MSS, L4, 16)
    one.send_with(head, one.udp_frame(bytes(3000), to=other.ip, mac_to=other.mac))
    assert other.frames() == []
    assert net.counted() == {"link.bad_offload": 1, "switch.forwarded": 1}


def test_a_queue_that_fills_up_in_the_middle_of_it() -> None:
    net = Net()
    one, other = pair(net, offload=False)
    for _ in range(20):
        one.send_partial(segment(one, other, bytes(60_000)), gso_bytes=MSS)
    frames = other.frames()
    assert 500 < len(frames) < 20 * 42
    assert {len(text) for text in texts(frames)} <= {MSS, 60_000 % MSS}
    assert net.counted()["port.tx_full"] > 0


def test_a_capture_has_frames_alone() -> None:
    net = Net()
    one, other = pair(net, offload=True)
    net.core.capturing = True
    frame = segment(one, other, b"hello")
    one.send(frame)
    one.echo(to="10.0.2.2")
    (answer,) = one.frames()
    captured = [(port, inbound, data) for port, inbound, _, data in net.core.captured()[0]]
    assert captured[:2] == [(one.port, True, frame), (other.port, False, frame)]
    assert captured[2:] == [(one.port, True, one.echo_frame(to="10.0.2.2")), (one.port, False, answer)]


# -- to us -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw", [b"", bytes(9), HEADER.pack(NEEDS_CSUM, 0, 0, 0, 100, 16) + bytes(60), HEADER.pack(0, TCP4, 0, 0, 0, 0)]
)
def test_a_header_that_does_not_fit_is_counted(raw: bytes) -> None:
    net = Net()
    guest = OffloadGuest(net)
    net.counted()
    guest.core.deliver(guest.port, [raw], net.now)
    assert net.counted() == {"link.bad_offload": 1}


@pytest.mark.parametrize(("flags", "taken"), [(NEEDS_CSUM, True), (DATA_VALID, True), (0, False)])
def test_who_vouches_for_a_checksum(flags: int, taken: bool) -> None:
    net = Net()
    guest = OffloadGuest(net)
    frame = with_partial_sum(guest.tcp_frame(SYN))
    guest.send_with(HEADER.pack(flags, 0, 0, 0, L4, 16) if flags & NEEDS_CSUM else HEADER.pack(flags, *[0] * 5), frame)
    assert bool(net.punts()) == taken
    assert net.counted().get("tcp.bad_checksum", 0) == (not taken)


def test_what_is_said_of_a_fragment_is_not_said_of_the_whole() -> None:
    net = Net()
    guest = OffloadGuest(net)
    wrong = dpkt.udp.UDP(sport=5000, dport=9, ulen=2008, sum=0xBAD, data=bytes(2000))
    first, last = guest.fragments(wrong, 17, 1480)
    for frame in (first, last):
        guest.send_with(HEADER.pack(DATA_VALID, 0, 0, 0, 0, 0), frame)
    assert net.counted()["udp.bad_checksum"] == 1


class Client:
    """A guest's end of a served connection."""

    def __init__(self, net: Net, guest: Guest, mss: int = MSS) -> None:
        self.net, self.guest, self.seq = net, guest, 1000
        guest.tcp(SYN, seq=self.seq, window=65535, options=b"\x02\x04" + mss.to_bytes(2) + b"\x01\x03\x03\x0e")
        self.flow = net.flow()
        net.core.serve(self.flow, 1, net.now)
        net.run()
        self.ack = guest.packet().data.seq + 1
        self.seq += 1
        guest.tcp(ACK, seq=self.seq, ack=self.ack, window=1000)
        assert net.punt()[0] == core.KIND_CONNECTED

    def take(self) -> list[int]:
        """Acknowledge what comes until nothing does; the lengths of the frames' payloads."""
        lengths = []
        while new := [len(text) for text in texts(self.guest.frames())]:
            lengths += new
            self.ack += sum(new)
            self.guest.tcp(ACK, seq=self.seq, ack=self.ack, window=1000)
            self.net.run()
        return [length for length in lengths if length]


def test_a_super_frame_is_read_whole_and_acknowledged_once() -> None:
    net = Net()
    guest = OffloadGuest(net)
    client = Client(net, guest)
    payload = bytes(range(256)) * 100
    frame = guest.tcp_frame(ACK, payload, seq=client.seq, ack=client.ack)
    guest.send_partial(frame, gso_bytes=MSS)
    assert net.core.stream_read(client.flow, 100_000, net.now) == payload
    (answer,) = guest.packets()
    assert answer.data.ack == client.seq + len(payload)


def test_it_proves_nothing_about_the_mtu() -> None:
    """A frame of its length was never on a wire: what is sent back is cut as before."""
    net = Net(mtu=9000)
    guest = OffloadGuest(net, mtu=9000, burst=0)
    client = Client(net, guest)
    guest.send_partial(guest.tcp_frame(ACK, bytes(8000), seq=client.seq, ack=client.ack), gso_bytes=MSS)
    guest.frames()
    assert net.core.send_udp(ip(FAR), 9, ip(guest.ip), 5000, bytes(4000), net.now)
    assert max(len(frame) for frame in guest.frames()) == 1514


# -- from us -----------------------------------------------------------------------------------------------------------


def test_single_packets_are_whole() -> None:
    """ARP, ICMP and UDP: nothing is left undone, so nothing need be said."""
    net = Net()
    guest = OffloadGuest(net)
    guest.echo(to="10.0.2.2")
    net.core.send_udp(ip(FAR), 9, ip(guest.ip), 5000, b"hello", net.now)
    assert [packet.p for packet in guest.packets()] == [1, 17]
    assert guest.heads == [NOTHING, NOTHING]


def test_a_segment_leaves_its_checksum_undone() -> None:
    net = Net()
    guest = OffloadGuest(net)
    guest.tcp(SYN)
    net.core.serve(net.flow(), 1, net.now)
    net.run()
    assert guest.packet().data.flags == SYN | ACK
    assert guest.heads == [PARTIAL]


@pytest.mark.parametrize(("burst", "longest"), [(BURST, BURST // MSS * MSS), (10_000, 10_000 // MSS * MSS), (0, MSS)])
def test_super_frames_of_whole_segments(burst: int, longest: int) -> None:
    net = Net()
    guest = OffloadGuest(net, burst=burst)
    client = Client(net, guest)
    sent = bytes(range(256)) * 4000
    left = memoryview(sent)
    lengths: list[int] = []
    while left:
        left = left[net.core.stream_write(client.flow, bytes(left)) :]
        net.run()
        lengths += client.take()
    assert sum(lengths) == len(sent)
    assert max(lengths) == longest


def test_a_super_frame_says_how_it_is_to_be_cut() -> None:
    net = Net()
    guest = OffloadGuest(net)
    client = Client(net, guest, mss=1000)
    net.core.stream_write(client.flow, bytes(10_000))
    net.run()
    (frame,) = guest.frames()
    assert len(frame) == 54 + 10_000
    assert guest.heads == [Head(NEEDS_CSUM, TCP4, 54, 1000, L4, 16)]


def test_what_was_lost_is_sent_again_in_segments() -> None:
    net = Net()
    guest = OffloadGuest(net)
    client = Client(net, guest)
    net.core.stream_write(client.flow, bytes(8000))
    net.run()
    assert [len(text) for text in texts(guest.frames())] == [8000]
    net.wait(1)
    assert {len(text) for text in texts(guest.frames())} == {MSS}


# -- datagrams in one frame ----------------------------------------------------------------------------------------------

UDP_HEAD = HEADER.pack(NEEDS_CSUM, UDP_L4, 42, 1000, L4, 6)


def super_datagram(guest: Guest, data: bytes, **fields: Any) -> bytes:
    """Datagrams of 1000 bytes, with their header; the checksum is left undone."""
    frame = guest.udp_frame(data, **fields)
    packet = dpkt.ip.IP(frame[14:])
    pseudo = folded_sum(pseudo_header(packet.src, packet.dst, 17, 8 + len(data)))
    return UDP_HEAD + frame[:40] + pseudo.to_bytes(2) + frame[42:]


def relayed(net: Net, guest: Guest) -> int:
    """A conversation that has been let through; its mapping."""
    guest.udp(b"first")
    punt = net.punt()
    mapping = net.host.allow(punt[1], punt[2][3], punt[2][4], net.now)
    net.host.take()
    return mapping


@pytest.mark.parametrize("how", ["plain", "offload"])
def test_a_link_without_them_gets_each_by_itself(how: str) -> None:
    net = Net()
    one, other = pair(net, offload=how == "offload")
    data = bytes(range(250)) * 10
    Guest.send(one, super_datagram(one, data, to=other.ip, mac_to=other.mac))
    frames = other.frames()
    assert [bytes(checked(frame[14:]).data.data) for frame in frames] == [data[:1000], data[1000:2000], data[2000:]]
    assert not isinstance(other, OffloadGuest) or other.heads == [NOTHING] * 3


def test_a_link_with_them_gets_the_frame_as_it_is() -> None:
    net = Net()
    one = OffloadGuest(net, 15)
    other = OffloadGuest(net, 16, uso=True)
    one.frames()
    raw = super_datagram(one, bytes(2500), to=other.ip, mac_to=other.mac)
    Guest.send(one, raw)
    assert net.core.collect(other.port) == [raw]


def test_the_host_gets_each() -> None:
    net = Net()
    guest = OffloadGuest(net, uso=True)
    relayed(net, guest)
    data = bytes(range(250)) * 10
    Guest.send(guest, super_datagram(guest, data))
    assert [call[6] for call in net.host.take()] == [data[:1000], data[1000:2000], data[2000:]]


def test_a_service_gets_each() -> None:
    net = Net()
    net.core.claim_udp(None, 9)
    guest = OffloadGuest(net, uso=True)
    Guest.send(guest, super_datagram(guest, bytes(2500)))
    assert [len(punt[4]) for punt in net.punts()] == [1000, 1000, 500]


def test_more_than_a_kernel_sends_are_dropped() -> None:
    net = Net()
    guest = OffloadGuest(net, uso=True)
    relayed(net, guest)
    net.counted()
    tiny = HEADER.pack(NEEDS_CSUM, UDP_L4, 42, 10, L4, 6)
    Guest.send(guest, tiny + super_datagram(guest, bytes(1280))[10:])
    assert len(net.host.take()) == 128
    Guest.send(guest, tiny + super_datagram(guest, bytes(1281))[10:])
    assert net.host.take() == []
    assert net.counted()["link.bad_offload"] == 1


@pytest.mark.parametrize(
    ("lengths", "frames"),
    [
        ([1000] * 5, [5000]),
        ([1000] * 4 + [7], [4007]),
        ([1472] * 44, [1472 * 44]),
        ([1000, 1001], [1000, 1001]),
        ([1000, 7, 1000], [1000, 7, 1000]),
        ([1000, 0], [1000, 0]),
        ([1472] * 45, [1472] * 45),  # more than an IP packet carries
    ],
)
def test_the_guest_gets_what_is_alike_in_one_frame(lengths: list[int], frames: list[int]) -> None:
    net = Net()
    guest = OffloadGuest(net, uso=True)
    mapping = relayed(net, guest)
    net.counted()
    datagrams = [bytes([number]) * length for number, length in enumerate(lengths)]
    net.host.arrive_together(mapping, ip(FAR), 9, datagrams, net.now)
    assert net.counted()["udp.to_guest"] == len(lengths)
    got = net.core.collect(guest.port)
    assert [len(raw[10 + 42 :]) if length > 18 else length for raw, length in zip(got, frames, strict=True)] == frames
    assert b"".join(raw[52:][:length] for raw, length in zip(got, frames, strict=True)) == b"".join(datagrams)
    for raw, length in zip(got, frames, strict=True):
        head, frame = Head(*HEADER.unpack(raw[:10])), raw[10:]
        gso = (UDP_L4, 42, lengths[0]) if length > lengths[0] + 1 else (0, 0, 0)
        assert head == Head(NEEDS_CSUM, *gso, L4, 6)
        finished = _finish_sum(frame, L4, L4 + 6)
        assert checked(finished[14:]).data.ulen == 8 + length
    (flow,) = net.core.flows()
    assert (flow["datagrams_to_guest"], flow["bytes_to_guest"]) == (len(lengths), sum(lengths))


def test_a_guest_of_a_plain_link_gets_each_by_itself() -> None:
    net = Net()
    guest = net.guest()
    mapping = relayed(net, guest)
    net.host.arrive_together(mapping, ip(FAR), 9, [b"a" * 100] * 3, net.now)
    assert [payload(packet)[8:] for packet in guest.packets()] == [b"a" * 100] * 3


def test_what_a_full_link_does_not_take_is_counted() -> None:
    net = Net()
    guest = OffloadGuest(net, uso=True)
    mapping = relayed(net, guest)
    net.counted()
    for _ in range(20):
        net.host.arrive_together(mapping, ip(FAR), 9, [bytes(1400)] * 46, net.now)
    got = net.core.collect(guest.port)
    found = net.counted()
    assert found["udp.to_guest"] + found["port.tx_full"] == 20 * 46
    assert sum(len(raw) - 52 for raw in got) == found["udp.to_guest"] * 1400


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_anything_from_such_a_link_is_survived(frames: list[bytes]) -> None:
    net = Net()
    guest, other = pair(net, offload=False)
    net.core.deliver(guest.port, [frame[:10] + MAC + guest.mac + frame[10:] for frame in frames], net.now)
    net.core.deliver(guest.port, [frame[:10] + other.mac + guest.mac + frame[10:] for frame in frames], net.now)
    net.run()
    assert len(other.frames()) <= 200 * len(frames)
