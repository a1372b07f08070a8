"""QEMU's stream framing, read from a whole stream at leisure."""

from __future__ import annotations

from typing import NamedTuple

FRAME_MIN = 14
FRAME_MAX = 4096 + 65536  # NET_BUFSIZE of QEMU's include/net/net.h


class Split(NamedTuple):
    """What a stream holds."""

    frames: list[bytes]
    rest: bytes  #: an unfinished frame, or from the bad prefix on
    bad_length: int | None  #: the length that ended it


def join(frames: list[bytes]) -> bytes:
    return b"".join(len(frame).to_bytes(4) + frame for frame in frames)


def split(stream: bytes) -> Split:
    frames: list[bytes] = []
    while len(stream) >= 4:
        length = int.from_bytes(stream[:4])
        if length < FRAME_MIN or length > FRAME_MAX:
            return Split(frames, stream, length)
        if len(stream) < 4 + length:
            break
        frames.append(stream[4 : 4 + length])
        stream = stream[4 + length :]
    return Split(frames, stream, None)
