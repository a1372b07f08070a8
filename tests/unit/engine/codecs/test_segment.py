"""A super-frame and its segments: dpkt reads them, and puts them together again."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.codecs.segment import _segments
from tests.oracle import headers
from tests.oracle.checksum import is_good, pseudo_header

TCP4, TCP6, UDP = 1, 2, 3
FIN, SYN, PSH, ACK, CWR = 0x01, 0x02, 0x08, 0x10, 0x80
V6_GUEST, V6_FAR = bytes.fromhex("fd00" + "00" * 13 + "0f"), bytes.fromhex("20010db8" + "00" * 11 + "01")
TIMESTAMPS = bytes.fromhex("0101080a0000000100000002")


def super_frame(payload: bytes, flags: int = ACK, seq: int = 1000, *, v6: bool = False, options: bytes = b"") -> bytes:
    """As a guest's kernel hands it over: the TCP checksum is not there yet."""
    segment = struct.pack("!HHIIBBHHH", 5000, 80, seq, 7, (20 + len(options)) // 4 << 4, flags, 512, 0xBAD, 0) + options
    segment += payload
    if v6:
        head = struct.pack("!IHBB", 6 << 28, len(segment), 6, 64) + V6_GUEST + V6_FAR
        return headers.ethernet(head + segment, 0x86DD)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0xFFFF, 0x4000, 64, 6, 0) + headers.GUEST + headers.HOST
    return headers.ethernet(head + segment)


@dataclass
class Segment:
    """One segment, as dpkt has it, its checksums verified."""

    ident: int
    seq: int
    flags: int
    options: bytes
    data: bytes


def read(frame: bytes) -> Segment:
    ethernet = dpkt.ethernet.Ethernet(frame)
    packet = ethernet.data
    l4 = frame[34:] if ethernet.type == 0x0800 else frame[54:]
    assert is_good(pseudo_header(packet.src, packet.dst, 6, len(l4)) + l4)
    if ethernet.type == 0x0800:
        assert is_good(frame[14:34])
        assert packet.len == len(frame) - 14
    else:
        assert packet.plen == len(frame) - 54
    tcp = dpkt.tcp.TCP(l4)
    assert (tcp.sport, tcp.dport, tcp.ack, tcp.win) == (5000, 80, 7, 512)
    return Segment(getattr(packet, "id", 0), tcp.seq, l4[13], tcp.opts, bytes(tcp.data))


def cut(frame: bytes, gso_bytes: int, *, v6: bool = False) -> list[Segment]:
    found = _segments(frame, TCP6 if v6 else TCP4, gso_bytes, 54 if v6 else 34)
    assert found is not None
    return [read(segment) for segment in found]


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("options", [b"", TIMESTAMPS])
def test_segments_of_a_stream(v6: bool, options: bytes) -> None:
    payload = bytes(range(256)) * 100
    segments = cut(super_frame(payload, ACK | PSH, 0xFFFF_FF00, v6=v6, options=options), 1448, v6=v6)
    assert [len(segment.data) for segment in segments] == [1448] * 17 + [984]
    assert b"".join(segment.data for segment in segments) == payload
    assert [segment.seq for segment in segments] == [(0xFFFF_FF00 + 1448 * i) % 2**32 for i in range(18)]
    assert {segment.options for segment in segments} == {options}
    if not v6:
        assert [segment.ident for segment in segments] == [(0xFFFF + i) % 2**16 for i in range(18)]


def test_what_belongs_to_the_first_and_to_the_last() -> None:
    segments = cut(super_frame(bytes(3000), ACK | PSH | FIN | CWR), 1000)
    assert [segment.flags for segment in segments] == [ACK | CWR, ACK, ACK | PSH | FIN]


def test_one_segment_is_the_frame_with_its_checksum() -> None:
    (segment,) = cut(super_frame(b"little", ACK | FIN | CWR), 1448)
    assert (segment.data, segment.flags) == (b"little", ACK | FIN | CWR)


def test_padding_is_no_payload() -> None:
    (segment,) = cut(super_frame(b"x").ljust(60, b"\xee"), 1448)
    assert segment.data == b"x"


@given(st.binary(min_size=1, max_size=5000), st.integers(1, 6000), st.booleans(), st.booleans())
def test_put_together_it_is_the_same(payload: bytes, gso_bytes: int, v6: bool, with_options: bool) -> None:
    gso_bytes = max(gso_bytes, len(payload) // 200 + 1)
    options = TIMESTAMPS if with_options else b""
    segments = cut(super_frame(payload, v6=v6, options=options), gso_bytes, v6=v6)
    assert b"".join(segment.data for segment in segments) == payload
    assert all(len(segment.data) == gso_bytes for segment in segments[:-1])
    assert segments[-1].data


def changed(frame: bytes, at: int, value: bytes) -> bytes:
    return frame[:at] + value + frame[at + len(value) :]


GOOD = super_frame(bytes(3000))
GOOD6 = super_frame(bytes(3000), v6=True)


@pytest.mark.parametrize(
    ("frame", "gso", "gso_bytes", "l4"),
    [
        (GOOD, 0, 1448, 34),
        (GOOD, 3, 1448, 34),
        (GOOD, TCP4, 0, 34),
        (GOOD, TCP4, 1448, 30),
        (GOOD, TCP4, 1448, 38),
        (GOOD, TCP4, 1448, len(GOOD) - 19),
        (GOOD, TCP6, 1448, 34),
        (GOOD6, TCP6, 1448, 34),
        (GOOD6, TCP4, 1448, 54),
        (b"", TCP4, 1448, 0),
        (GOOD[:33], TCP4, 1448, 14),
        (changed(GOOD, 16, b"\xff\xff"), TCP4, 1448, 34),
        (changed(GOOD6, 18, b"\xff\xff"), TCP6, 1448, 54),
        (changed(GOOD, 23, b"\x11"), TCP4, 1448, 34),
        (changed(GOOD, 46, b"\x40"), TCP4, 1448, 34),
        (super_frame(b""), TCP4, 1448, 34),
        (changed(super_frame(b"x"), 46, b"\xf0"), TCP4, 1448, 34),
    ],
    ids=[
        *("no gso", "another gso", "no size", "inside IP", "past IP", "past the end", "not v6", "too early for v6"),
        *(
            "not v4",
            "nothing",
            "no IP",
            "length",
            "v6 length",
            "UDP",
            "offset under 20",
            "no payload",
            "offset past all",
        ),
    ],
)
def test_what_is_no_super_frame(frame: bytes, gso: int, gso_bytes: int, l4: int) -> None:
    assert _segments(frame, gso, gso_bytes, l4) is None


@given(st.binary(max_size=200), st.integers(0, 3), st.integers(1, 100), st.integers(0, 200))
def test_anything_is_cut_or_refused(frame: bytes, gso: int, gso_bytes: int, l4: int) -> None:
    segments = _segments(frame, gso, gso_bytes, l4)
    if segments is not None:
        assert sum(map(len, segments)) >= len(segments) * (l4 + 20)


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("length", [1400, 1401, 2800, 30_000])
def test_datagrams_in_one(v6: bool, length: int) -> None:
    """Each has its own length and checksum, and else what the super-frame has."""
    payload = (bytes(range(251)) * 200)[:length]
    frame = datagrams(payload, v6=v6)
    cut_off = _segments(frame + bytes(7), UDP, 1400, 54 if v6 else 34)
    assert cut_off is not None
    found = []
    for one in cut_off:
        packet = dpkt.ethernet.Ethernet(one).data
        l4 = one[54 if v6 else 34 :]
        assert is_good(pseudo_header(packet.src, packet.dst, 17, len(l4)) + l4)
        assert struct.unpack_from("!HHH", l4) == (5000, 53, len(l4))
        found.append(l4[8:])
    assert b"".join(found) == payload
    assert {len(one) for one in found[:-1]} <= {1400}


def test_a_checksum_of_nought_is_written_as_all_ones() -> None:
    """RFC 768: 0 says that there is none."""
    sums = set()
    for number in range(0x10000):
        found = _segments(datagrams(number.to_bytes(2) + bytes(2)), UDP, 2, 34)
        assert found is not None
        sums.add(found[0][40:42])
        if b"\xff\xff" in sums:
            break
    assert b"\xff\xff" in sums
    assert b"\0\0" not in sums


def test_what_is_no_udp_is_no_super_frame_of_datagrams() -> None:
    assert _segments(super_frame(bytes(3000)), UDP, 1000, 34) is None
    assert _segments(datagrams(bytes(3000)), TCP4, 1000, 34) is None
    assert _segments(datagrams(b""), UDP, 1000, 34) is None
    assert _segments(datagrams(b"")[:41], UDP, 1000, 34) is None


def datagrams(payload: bytes, *, v6: bool = False) -> bytes:
    """As a guest's kernel hands them over in one frame."""
    datagram = struct.pack("!HHHH", 5000, 53, 8 + len(payload), 0xBAD) + payload
    if v6:
        return headers.ethernet(struct.pack("!IHBB", 6 << 28, len(datagram), 17, 64) + V6_GUEST + V6_FAR + datagram, 0x86DD)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 7, 0, 64, 17, 0) + headers.GUEST + headers.HOST
    return headers.ethernet(head + datagram)
