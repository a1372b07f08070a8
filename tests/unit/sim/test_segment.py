"""Segments to frames and back, and what is refused on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.sim.segment import FLAGS, BadFrameError, Options, Segment, build_frame, read_frame
from tests.unit.sim.rig import UP, frame

numbers = st.integers(0, 0xFFFFFFFF)
options = st.builds(
    Options,
    mss=st.none() | st.integers(0, 65535),
    scale=st.none() | st.integers(0, 14),
    sack_permitted=st.booleans(),
    timestamps=st.none() | st.tuples(numbers, numbers),
    sack=st.lists(st.tuples(numbers, numbers), max_size=2),
)
segments = st.builds(
    Segment,
    flags=st.sets(st.sampled_from(sorted(FLAGS))).map(lambda some: "".join(flag for flag in FLAGS if flag in some)),
    seq=numbers,
    ack=numbers,
    window=st.integers(0, 65535),
    payload=st.binary(max_size=50),
    urgent=st.integers(0, 65535),
    options=options,
)


@given(segments)
def test_what_is_built_is_read(segment: Segment) -> None:
    assert read_frame(build_frame(segment, UP)) == (segment, UP)


def test_numbers_wrap_at_32_bits() -> None:
    found = read_frame(frame(".", (1 << 32) + 5, (1 << 32) + 6))
    assert found is not None
    assert (found[0].seq, found[0].ack) == (5, 6)


@pytest.mark.parametrize("at", [14 + 8, 14 + 20 + 4, -1])  # TTL, sequence number, payload
def test_a_wrong_byte_is_found_by_a_checksum(at: int) -> None:
    wrong = bytearray(frame(".", 1, 1, b"payload"))
    wrong[at] ^= 0x10
    with pytest.raises(BadFrameError, match="checksum"):
        read_frame(bytes(wrong))


def test_a_frame_shorter_than_its_ip_header_says_is_refused() -> None:
    with pytest.raises(BadFrameError, match="the IP header says 47 bytes, there are 46"):
        read_frame(frame(".", 1, 1, b"payload")[:-1])


def test_padding_behind_the_packet_is_not_payload() -> None:
    found = read_frame(frame(".", 1, 1, b"p") + bytes(10))
    assert found is not None
    assert found[0].payload == b"p"


def test_what_is_not_tcp_is_nobodys_segment() -> None:
    udp = bytearray(frame(".", 1, 1))
    udp[14 + 9] = 17
    assert read_frame(bytes(udp)) is None


@pytest.mark.parametrize("data", ["0204", "0200", "0201", "08"])
def test_an_option_whose_length_cannot_be_is_refused(data: str) -> None:
    with pytest.raises(BadFrameError, match="has length"):
        Options.read(bytes.fromhex(data))


def test_options_end_where_they_say() -> None:
    assert Options.read(bytes.fromhex("01 0204 05b4 00 0303 07")) == Options(mss=1460)


def test_an_unknown_option_is_kept_as_it_is() -> None:
    assert Options.read(bytes.fromhex("fe04abcd")).raw == bytes.fromhex("fe04abcd")


@pytest.mark.parametrize(("flags", "length"), [(".", 3), ("S", 4), ("F.", 4), ("SF", 5)])
def test_syn_and_fin_take_a_number_each(flags: str, length: int) -> None:
    assert Segment(flags, 0, payload=b"abc").length == length


def test_the_way_back_swaps_the_ends() -> None:
    assert UP.back.source == UP.destination
    assert UP.back.source_mac == UP.destination_mac
    assert UP.back.back == UP
