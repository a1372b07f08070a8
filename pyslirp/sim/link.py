"""Links of the simulator: what happens to a frame between two ends.

A `Path` is one direction.  Frames are pushed in at one time and are due at another.  `Wire` is the path that ends every
chain: it has a rate with a queue in front of it, which may mark (RFC 3168), a delay, and jitter.  What may befall a frame before
(loss, duplication, corruption, an outage) are stages of `faults.py`, each a path around the next one.

Everything is drawn from a seed: the same frames at the same times meet the same fate.

Units: frames are whole Ethernet frames without FCS; rates bits a second; delays nanoseconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from pyslirp.sim.clock import SECOND_NS

ETH_HEADER_BYTES = 14


class Path(Protocol):
    """One direction of a link."""

    def push(self, frames: Sequence[bytes], now: int) -> None:
        """Frames enter at `now`."""

    def due(self, now: int) -> list[bytes]:
        """Take the frames that have arrived by `now`."""

    def next_deadline(self) -> int | None:
        """When the next frame arrives, or None while nothing is under way."""


def mark(frame: bytes) -> bytes | None:
    """The frame as a router marks it that is congested (CE of RFC 3168 section 5); None where its sender does not take part."""
    if frame[12:14] == b"\x08\x00" and frame[15] & 3:
        old, new = int.from_bytes(frame[14:16], "big"), int.from_bytes(frame[14:16], "big") | 3
        total = (~int.from_bytes(frame[24:26], "big") & 0xFFFF) + (~old & 0xFFFF) + new  # RFC 1624
        checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        return frame[:14] + new.to_bytes(2, "big") + frame[16:24] + checksum.to_bytes(2, "big") + frame[26:]
    if frame[12:14] == b"\x86\xdd" and frame[15] & 0x30:
        return frame[:15] + bytes([frame[15] | 0x30]) + frame[16:]
    return None


class OversizeError(AssertionError):
    """A frame was sent that the link cannot carry: a fault of the sender, not of the network."""


@dataclass(frozen=True, slots=True)
class Pipe:
    """What a wire is made of."""

    delay_ns: int = 0  #: one way, of every frame
    jitter_ns: int = 0  #: up to this much more, evenly spread
    reorder: bool = False  #: may jitter put a frame before an earlier one?
    rate_bits: int | None = None  #: bits a second; None: no limit
    queue_bytes: int | None = None  #: what may wait in front of the rate, drop-tail; None: no limit
    mark_bytes: int | None = (
        None  #: what waits behind so much is marked, where its sender takes part in ECN; None: nothing
    )
    mtu: int = 1500  #: largest IP packet


class Wire:
    """The end of every chain of stages: rate, queue, delay, jitter."""

    def __init__(self, pipe: Pipe, seed: str | int = 0) -> None:
        self.pipe = pipe
        self.dropped = 0  #: frames that found the queue full
        self.marked = 0  #: frames that found it longer than `mark_bytes`, and are marked
        self.longest = 0  #: bytes that have waited in it at most
        self.carried = 0  #: frames that went in
        self._random = Random(f"{seed}/wire")
        self._heap: list[tuple[int, int, bytes]] = []
        self._idle_at = 0  # when the last bit so far has left
        self._last_arrival = 0

    def push(self, frames: Sequence[bytes], now: int) -> None:
        """Raises OversizeError for a frame longer than the MTU allows."""
        for frame in frames:
            if len(frame) > self.pipe.mtu + ETH_HEADER_BYTES:
                raise OversizeError(f"a frame of {len(frame)} bytes on a link with an MTU of {self.pipe.mtu}")
            waiting = self._waiting(now)
            left = self._leave(len(frame), waiting, now)
            if left is None:
                self.dropped += 1
                continue
            self.longest = max(self.longest, waiting + len(frame))
            carried = mark(frame) if self.pipe.mark_bytes is not None and waiting > self.pipe.mark_bytes else None
            self.marked += carried is not None
            arrival = left + self.pipe.delay_ns
            if self.pipe.jitter_ns:
                arrival += self._random.randrange(self.pipe.jitter_ns + 1)
            if not self.pipe.reorder:
                arrival = max(arrival, self._last_arrival)
                self._last_arrival = arrival
            self.carried += 1
            heapq.heappush(self._heap, (arrival, self.carried, carried or frame))

    def _waiting(self, now: int) -> int:
        """Bytes in front of the rate."""
        return max(self._idle_at - now, 0) * (self.pipe.rate_bits or 0) // (8 * SECOND_NS)

    def _leave(self, length: int, waiting: int, now: int) -> int | None:
        """When the last bit of a frame leaves, or None where the queue is full."""
        rate = self.pipe.rate_bits
        if rate is None:
            return now
        if self.pipe.queue_bytes is not None and waiting + length > self.pipe.queue_bytes:
            return None
        self._idle_at = max(now, self._idle_at) + length * 8 * SECOND_NS // rate
        return self._idle_at

    def due(self, now: int) -> list[bytes]:
        """Take the frames that have arrived by `now`, in order of arrival."""
        arrived = []
        while self._heap and self._heap[0][0] <= now:
            arrived.append(heapq.heappop(self._heap)[2])
        return arrived

    def next_deadline(self) -> int | None:
        """When the next frame arrives."""
        return self._heap[0][0] if self._heap else None


@dataclass
class Link:
    """Both directions between two ends, `a` and `b`."""

    to_b: Path
    to_a: Path

    @classmethod
    def plain(cls, mtu: int = 1500, delay_ns: int = 0) -> Link:
        """A link that loses nothing."""
        pipe = Pipe(delay_ns=delay_ns, mtu=mtu)
        return cls(Wire(pipe), Wire(pipe))
