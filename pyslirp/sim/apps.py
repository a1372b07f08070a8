"""Applications for streams: small objects that a stream calls after everything that happens to it."""

from __future__ import annotations

import zlib

from pyslirp.sim.stream import Stream

WRITE_BYTES = 65536


def pattern(seed: int, length: int, start: int = 0) -> bytes:
    """`length` bytes of an endless stream, from offset `start`: no two places of it look alike, so what is lost, doubled
    or moved shows.  Each block of 64 bytes is its number and a digest of seed and number.
    """
    first, last = start // 64, (start + length + 63) // 64
    blocks = bytearray()
    for number in range(first, last):
        head = b"%016x%08x" % (number, zlib.crc32(b"%d/%d" % (seed, number)))
        blocks += head * 2 + head[:16]
    return bytes(blocks[start - first * 64 : start - first * 64 + length])


class Transfer:
    """Sends `data`, finishes, and keeps what it receives.

    finish: send a FIN behind the last byte; after_end: but not before the other side's.  `stall` stops reading until
    `resume`, so that the window closes.
    """

    def __init__(
        self, data: bytes = b"", *, finish: bool = True, after_end: bool = False, stalled: bool = False
    ) -> None:
        self.data = data
        self.sent = 0
        self.received = bytearray()
        self.finished = False
        self.stalled = stalled
        self.stream: Stream | None = None
        self._finish = finish
        self._after_end = after_end

    def __call__(self, stream: Stream) -> None:
        """Something has happened to the stream."""
        self.stream = stream
        self.pump()

    @property
    def closed(self) -> str | None:
        """Why the stream is over."""
        return self.stream.closed if self.stream else None

    def resume(self) -> None:
        """Read again."""
        self.stalled = False
        self.pump()

    def pump(self) -> None:
        """Read and write what can be."""
        if self.stream is None:
            return
        while not self.stalled and (piece := self.stream.read()):
            self.received += piece
        while self.sent < len(self.data):
            taken = self.stream.write(self.data[self.sent : self.sent + WRITE_BYTES])
            if not taken:
                return
            self.sent += taken
        if self._finish and not self.finished and (self.stream.ended or not self._after_end):
            self.finished = True
            self.stream.finish()


class Echo:
    """Sends back what it receives, and a FIN for a FIN."""

    def __init__(self) -> None:
        self._waiting = b""

    def __call__(self, stream: Stream) -> None:
        """Something has happened to the stream."""
        while True:
            self._waiting = self._waiting or stream.read(WRITE_BYTES)
            taken = stream.write(self._waiting) if self._waiting else 0
            self._waiting = self._waiting[taken:]
            if not taken:
                break
        if stream.ended and not self._waiting:
            stream.finish()
