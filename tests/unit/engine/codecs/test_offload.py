"""struct virtio_net_hdr: both ways, and what is refused."""

from __future__ import annotations

import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.codecs.offload import _finish_sum, _read, _write
from tests.oracle import headers
from tests.oracle.checksum import folded_sum, is_good, pseudo_header

NEEDS_CSUM, DATA_VALID, RSC_INFO = 1, 2, 4
NONE, TCP4, UDP, TCP6, UDP_L4, ECN = 0, 1, 3, 4, 5, 0x80
GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP = 0, 1, 2, 3
FRAME = 1514
L4 = 34
CHECKSUM = 16


def header(flags: int = 0, gso: int = NONE, hdr: int = 0, size: int = 0, start: int = 0, offset: int = 0) -> bytes:
    return struct.pack("=BBHHHH", flags, gso, hdr, size, start, offset)


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        (header(), (False, False, GSO_NONE, 0, 0, 0)),
        (header(DATA_VALID), (False, True, GSO_NONE, 0, 0, 0)),
        (header(RSC_INFO), (False, False, GSO_NONE, 0, 0, 0)),
        (header(NEEDS_CSUM, start=L4, offset=CHECKSUM), (True, True, GSO_NONE, 0, L4, L4 + CHECKSUM)),
        (header(NEEDS_CSUM, TCP4, 54, 1448, L4, CHECKSUM), (True, True, GSO_TCP4, 1448, L4, L4 + CHECKSUM)),
        (header(NEEDS_CSUM, TCP4 | ECN, 54, 1448, L4, CHECKSUM), (True, True, GSO_TCP4, 1448, L4, L4 + CHECKSUM)),
        (header(NEEDS_CSUM, TCP6, 74, 1428, 54, CHECKSUM), (True, True, GSO_TCP6, 1428, 54, 54 + CHECKSUM)),
        (header(NEEDS_CSUM, UDP_L4, 42, 1400, L4, 6), (True, True, GSO_UDP, 1400, L4, L4 + 6)),
        (header(NEEDS_CSUM, start=14, offset=FRAME - 16), (True, True, GSO_NONE, 0, 14, FRAME - 2)),
    ],
)
def test_what_a_header_says(given_: bytes, read: tuple[object, ...]) -> None:
    assert _read(given_, FRAME) == read


@pytest.mark.parametrize(
    "given_",
    [
        header(NEEDS_CSUM, start=13, offset=CHECKSUM),
        header(NEEDS_CSUM, start=14, offset=FRAME - 15),
        header(NEEDS_CSUM, start=0xFFFF, offset=0xFFFF),
        header(NEEDS_CSUM, TCP4, 54, 0, L4, CHECKSUM),
        header(DATA_VALID, TCP4, 54, 1448, L4, CHECKSUM),
        header(NEEDS_CSUM, UDP, 54, 1448, L4, CHECKSUM),
        header(DATA_VALID, UDP_L4, 42, 1400, L4, 6),
        header(NEEDS_CSUM, 0x7F, 54, 1448, L4, CHECKSUM),
    ],
    ids=["from the Ethernet header", "past the end", "far past", "no size", "no sum", "UFO", "USO without a sum", "unknown"],
)
def test_what_does_not_fit_is_refused(given_: bytes) -> None:
    assert _read(given_, FRAME) is None


def test_a_header_of_another_length_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="10 bytes"):
        _read(bytes(12), FRAME)


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ((False, GSO_NONE, 0, 0, 0, 0), header()),
        ((True, GSO_NONE, 0, L4, L4 + CHECKSUM, 54), header(NEEDS_CSUM, start=L4, offset=CHECKSUM)),
        ((True, GSO_TCP4, 1448, L4, L4 + CHECKSUM, 66), header(NEEDS_CSUM, TCP4, 66, 1448, L4, CHECKSUM)),
        ((True, GSO_TCP6, 1428, 54, 54 + CHECKSUM, 86), header(NEEDS_CSUM, TCP6, 86, 1428, 54, CHECKSUM)),
        ((True, GSO_UDP, 1400, L4, L4 + 6, 42), header(NEEDS_CSUM, UDP_L4, 42, 1400, L4, 6)),
    ],
)
def test_a_header_as_it_is_written(arguments: tuple[bool, int, int, int, int, int], written: bytes) -> None:
    assert _write(*arguments) == written


@given(st.binary(min_size=10, max_size=10), st.integers(0, 70_000))
def test_what_is_read_can_be_written_and_read_again(raw: bytes, frame_bytes: int) -> None:
    read = _read(raw, frame_bytes)
    if read is not None and read[0]:
        partial, _, gso, gso_bytes, sum_from, sum_at = read
        assert sum_at + 2 <= frame_bytes
        assert _read(_write(partial, gso, gso_bytes, sum_from, sum_at, 0), frame_bytes) == read


@given(st.binary(max_size=2000))
def test_a_partial_checksum_is_finished(payload: bytes) -> None:
    """The field holds the sum of the pseudo-header; afterwards the whole adds up, for dpkt and for RFC 1071."""
    packet = dpkt.ip.IP(headers.ipv4(headers.tcp(payload), 6))
    tcp = bytearray(bytes(packet.data))
    pseudo = pseudo_header(packet.src, packet.dst, 6, len(tcp))
    tcp[CHECKSUM : CHECKSUM + 2] = folded_sum(pseudo).to_bytes(2)
    frame = headers.ethernet(bytes(packet)[:20] + bytes(tcp))
    finished = _finish_sum(frame, L4, L4 + CHECKSUM)
    assert finished[:50] + finished[52:] == frame[:50] + frame[52:]
    assert is_good(pseudo + finished[L4:])


def test_a_sum_outside_the_frame_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="outside"):
        _finish_sum(bytes(60), 34, 59)
