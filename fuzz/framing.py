"""Invariant tested: any stream is cut into the same frames, and ends for the same reason, however it arrives.

Three readers must agree: one that has it all, one that gets it byte by byte, and the twin of tests/oracle.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyslirp.engine.codecs.framing import _deframe
from tests.oracle import framing

FRAME, MORE, BAD = 1, 0, -1
BYTE_BY_BYTE = 2048  #: longer streams arrive in larger steps: the time of a reader that starts over grows by the square


def fuzz(data: bytes) -> tuple[int, int]:
    """One input: a stream from a guest's link."""
    expected = framing.split(data)
    assert read([data]) == expected
    step = 1 + len(data) // BYTE_BY_BYTE
    assert read(data[at : at + step] for at in range(0, len(data), step)) == expected
    bad_bits = -1 if expected.bad_length is None else expected.bad_length.bit_length()
    return min(len(expected.frames), 20), bad_bits


def read(arrivals: Iterator[bytes] | list[bytes]) -> framing.Split:
    """What a reader makes of a stream that comes in these parts; it stops at a bad length."""
    frames: list[bytes] = []
    held, bad = b"", None
    for arrival in arrivals:
        held += arrival
        while bad is None:
            result, frame, length, used = _deframe(held)
            if result == BAD:
                bad = length
            if frame is None:
                break
            assert used == 4 + length == 4 + len(frame)
            frames.append(frame)
            held = held[used:]
    return framing.Split(frames, held, bad)
