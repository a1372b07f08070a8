from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.codecs.framing import _deframe
from tests.oracle import framing

FRAME, MORE, BAD = 1, 0, -1

lengths = st.one_of(st.integers(0, 80), st.sampled_from([13, 14, 1514, framing.FRAME_MAX, framing.FRAME_MAX + 1]))
streams = st.lists(lengths.map(lambda length: framing.join([bytes(length)])), max_size=6).map(b"".join)


def deframe_all(stream: bytes) -> framing.Split:
    """As a reader does it: one frame after the other from what there is."""
    frames: list[bytes] = []
    while True:
        result, frame, length, used = _deframe(stream)
        if result != FRAME:
            assert (frame, used) == (None, 0)
            return framing.Split(frames, stream, length if result == BAD else None)
        assert frame is not None
        assert used == 4 + length == 4 + len(frame)
        frames.append(frame)
        stream = stream[used:]


@given(streams, st.binary(max_size=8), st.integers(0, 20))
def test_a_stream_is_cut_as_the_twin_cuts_it(stream: bytes, noise: bytes, lost: int) -> None:
    for damaged in (stream, stream + noise, stream[: max(0, len(stream) - lost)], noise + stream):
        assert deframe_all(damaged) == framing.split(damaged)


@given(st.lists(st.binary(min_size=14, max_size=40), max_size=5), st.data())
def test_it_does_not_matter_how_the_stream_arrives(frames: list[bytes], data: st.DataObject) -> None:
    stream, held, got = framing.join(frames), b"", []
    while stream:
        count = data.draw(st.integers(1, len(stream)))
        held, stream = held + stream[:count], stream[count:]
        split = deframe_all(held)
        got += split.frames
        held = split.rest
    assert (got, held) == (frames, b"")


@pytest.mark.parametrize("length", [0, 1, 13, 69_633, 2**31, 2**32 - 1])
def test_a_bad_length_is_told_from_its_prefix_alone(length: int) -> None:
    """CVE-2007-5730: QEMU's net/socket read as many bytes as the peer said into a buffer of 4 KiB."""
    assert _deframe(length.to_bytes(4)) == (BAD, None, length, 0)
    assert _deframe(length.to_bytes(4) + bytes(100)) == (BAD, None, length, 0)


@pytest.mark.parametrize("length", [14, 15, 1514, 69_631, 69_632])
def test_the_extremes_of_a_good_length(length: int) -> None:
    frame = bytes(range(256)) * 273
    stream = length.to_bytes(4) + frame[:length]
    assert _deframe(stream) == (FRAME, frame[:length], length, 4 + length)
    assert _deframe(stream[:-1]) == (MORE, None, length, 0)


@pytest.mark.parametrize("have", range(4))
def test_an_unfinished_prefix_says_nothing(have: int) -> None:
    assert _deframe(b"\xff" * have) == (MORE, None, 0, 0)
