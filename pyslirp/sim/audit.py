"""Watches the segments of one link and holds each side to what TCP promises, whatever the network does to them.

An `Auditor` sees every segment as it is sent, before any loss.  For each direction of each connection:

    a frame is no longer than the MTU, its checksums are right
    payload is no longer than the MSS that the other side has announced
    an acknowledgment never goes back, and never covers what the other side has not sent
    the right edge of the window never moves left, by more than the step of its scale (RFC 7323 section 2.4)
    nothing is sent beyond the furthest edge that the other side has ever offered (but for a probe of old numbers)
    a byte that is sent again is the same byte
    nothing follows a FIN; it stays where it was
    a packet is ECN-capable, or has CWR, only with data that are new, and only where both SYNs have agreed to it (RFC 3168)
    SACK blocks lie above the acknowledgment, at most four, disjoint, inside what the other side has sent; but the first
    may tell of a duplicate (RFC 2883)

A connection is known by its ends, and forgotten by its next SYN.  Raises AuditError, which names the segment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pyslirp.addresses import Endpoint
from pyslirp.sim.faults import Tap
from pyslirp.sim.link import ETH_HEADER_BYTES, Link
from pyslirp.sim.segment import Segment, read_frame

HALF, WHOLE = 1 << 31, 1 << 32


class AuditError(AssertionError):
    """A side has broken a promise of TCP."""


def _wide(near: int, seq: int) -> int:
    """The unbounded number nearest to `near` with the low 32 bits `seq`."""
    return near + ((seq - near + HALF) % WHOLE) - HALF


def _without_duplicate(ack: int, blocks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """SACK blocks in order of numbers, without a first one that tells of a duplicate (RFC 2883 section 4)."""
    if blocks and (
        blocks[0][1] <= ack or any(start <= blocks[0][0] and blocks[0][1] <= end for start, end in blocks[1:])
    ):
        blocks = blocks[1:]
    return sorted(blocks)


@dataclass
class _Side:
    """What one end of a connection has said so far; numbers are unbounded."""

    isn: int
    sent: int  #: one past the highest number sent
    acked: int | None = None  #: highest acknowledgment given
    edge: int | None = None  #: furthest right edge ever offered
    last_edge: int | None = None  #: that of the last segment
    mss: int = 536
    scale: int | None = None  #: as offered in its SYN
    fin: int | None = None
    ecn: bool = True  #: every SYN of this side was for ECN
    stream: bytearray = field(default_factory=bytearray)  #: all that was ever sent, from isn + 1 on


class Auditor:
    """Both directions of every connection over one link.

    mtu: of the link, bytes; keep: compare payload that is sent again (costs its memory).
    """

    def __init__(self, mtu: int, *, keep: bool = True) -> None:
        self.segments = 0  #: looked at
        self.resets = 0
        self._mtu = mtu
        self._keep = keep
        self._sides: dict[tuple[Endpoint, Endpoint], _Side] = {}

    def watch(self, link: Link) -> Link:
        """The same link, watched: both ends' frames pass here first."""
        return Link(Tap(link.to_b, self.see), Tap(link.to_a, self.see))

    def see(self, frame: bytes, now: int) -> None:
        """One frame as it is sent.  Raises AuditError, or BadFrameError for a frame that is not well made."""
        if len(frame) > self._mtu + ETH_HEADER_BYTES:
            raise AuditError(f"a frame of {len(frame)} bytes for an MTU of {self._mtu}")
        found = read_frame(frame)
        if found is None:
            return
        segment, way = found
        self.segments += 1
        if "R" in segment.flags:
            self.resets += 1
            return
        self._sent(segment, (way.source, way.destination), self._failing(segment, now))

    def _failing(self, segment: Segment, now: int) -> Callable[[str], AuditError]:
        return lambda reason: AuditError(f"at {now} ns: {reason}: {segment} with {len(segment.payload)} bytes")

    def _sent(self, segment: Segment, ends: tuple[Endpoint, Endpoint], wrong: Callable[[str], AuditError]) -> None:
        side = self._sides.get(ends)
        if "S" in segment.flags and (side is None or segment.seq != side.isn % WHOLE):
            side = self._sides[ends] = _Side(WHOLE + segment.seq, WHOLE + segment.seq)
            if "." not in segment.flags:
                self._sides.pop(ends[::-1], None)
        if side is None:
            return  # the middle of something older than this auditor
        if "S" in segment.flags:
            side.mss = segment.options.mss or (536 if ends[0].address.version == 4 else 1220)  # RFC 9293 MUST-15
            side.scale = segment.options.scale
            side.ecn = side.ecn and "E" in segment.flags
        other = self._sides.get(ends[::-1])
        seq = _wide(side.sent, segment.seq)
        self._mark(segment, seq, side, other, wrong)
        self._numbers(segment, seq, side, other, wrong)
        if "." in segment.flags and other is not None:
            self._acknowledgment(segment, side, other, wrong)

    @staticmethod
    def _mark(segment: Segment, seq: int, side: _Side, other: _Side | None, wrong: Callable[[str], AuditError]) -> None:
        """What it says of ECN, before its numbers count."""
        if "S" in segment.flags:
            if segment.mark:
                raise wrong("a SYN is capable")
        elif segment.mark or "W" in segment.flags:
            if not segment.payload or seq < side.sent:
                raise wrong("capable, but not new data")
            if not side.ecn or other is None or not other.ecn:
                raise wrong("capable without agreement")

    def _numbers(
        self, segment: Segment, seq: int, side: _Side, other: _Side | None, wrong: Callable[[str], AuditError]
    ) -> None:
        """What it sends: length, window of the other side, repetition, FIN."""
        end = seq + segment.length
        if other is not None and len(segment.payload) > other.mss:
            raise wrong(f"{len(segment.payload)} bytes for an MSS of {other.mss}")
        if seq > side.sent:
            raise wrong(f"a gap: {side.sent - side.isn} was next, not {seq - side.isn}")
        if (
            segment.payload
            and other is not None
            and other.edge is not None
            and end - ("F" in segment.flags) > other.edge
        ):
            raise wrong(f"{end - other.edge} numbers beyond the window")
        if side.fin is not None and end > side.fin + 1:
            raise wrong("more behind the FIN")
        if "F" in segment.flags:
            if side.fin not in {None, end - 1}:
                raise wrong("the FIN has moved")
            side.fin = end - 1
        if self._keep and segment.payload:
            at = seq - side.isn - 1
            overlap = side.stream[at : at + len(segment.payload)]
            if segment.payload[: len(overlap)] != overlap:
                raise wrong("other bytes than before")
            side.stream += segment.payload[len(overlap) :]
        side.sent = max(side.sent, end)

    def _acknowledgment(self, segment: Segment, side: _Side, other: _Side, wrong: Callable[[str], AuditError]) -> None:
        """What it acknowledges and offers."""
        ack = _wide(other.sent if side.acked is None else side.acked, segment.ack)
        if side.acked is not None and ack < side.acked:
            raise wrong(f"the acknowledgment goes back by {side.acked - ack}")
        if ack > other.sent:
            raise wrong(f"{ack - other.sent} numbers acknowledged that were never sent")
        scaled = "S" not in segment.flags and side.scale is not None and other.scale is not None
        shift = min(side.scale or 0, 14) if scaled else 0
        edge = ack + (segment.window << shift)
        if side.last_edge is not None and "S" in segment.flags and segment.window == 65535:
            edge = max(edge, side.last_edge)  # a SYN-ACK that comes again: without scale it cannot offer what an ACK did
        if side.last_edge is not None and edge + (1 << shift) - 1 < side.last_edge:
            raise wrong(f"the window is taken back by {side.last_edge - edge}")
        side.acked, side.last_edge = ack, edge
        side.edge = edge if side.edge is None else max(side.edge, edge)
        blocks = _without_duplicate(
            ack, [(_wide(ack, start), _wide(ack, last)) for start, last in segment.options.sack]
        )
        limits = [ack, *(number for block in blocks for number in block), other.sent]
        if len(blocks) > 4 or any(first >= last for first, last in blocks) or limits != sorted(limits):
            raise wrong("SACK blocks make no sense")
