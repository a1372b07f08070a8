"""A guest on a link with virtio-net headers: it leaves checksums and segmentation undone, and gets frames so."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import dpkt

from pyslirp.engine.codecs.offload import _finish_sum
from tests.oracle.checksum import folded_sum, pseudo_header
from tests.unit.engine.core.guest import MTU, Guest, Net

HEADER = struct.Struct("=BBHHHH")  # flags, gso type, header length, gso size, checksum from, its offset
NEEDS_CSUM, DATA_VALID = 1, 2
TCP4, UDP_L4 = 1, 5
L4, CHECKSUM = 34, 16  # of a TCP segment in IPv4 without options
BURST = 65_455


@dataclass
class Head:
    """The header of a frame that came."""

    flags: int
    gso: int
    header_bytes: int
    gso_bytes: int
    sum_from: int
    sum_offset: int


class OffloadGuest(Guest):
    """As any guest, but for its link."""

    def __init__(
        self, net: Net, number: int = 15, mtu: int = MTU, burst: int = BURST, *, known: bool = True, uso: bool = False
    ) -> None:
        super().__init__(net, number, net.core.add_port(mtu, burst, offload=True, uso=uso))
        self.heads: list[Head] = []  #: of the frames that came last
        if known:
            self.introduce()

    def send(self, *frames: bytes) -> None:
        """With nothing left undone."""
        self.send_with(HEADER.pack(0, 0, 0, 0, 0, 0), *frames)

    def send_with(self, head: bytes, *frames: bytes) -> None:
        super().send(*(head + frame for frame in frames))

    def send_partial(self, *frames: bytes, gso_bytes: int = 0, flags: int = NEEDS_CSUM) -> None:
        """TCP in IPv4, its checksum left to the link; with `gso_bytes` super-frames."""
        head = HEADER.pack(flags, TCP4 if gso_bytes else 0, 54, gso_bytes, L4, CHECKSUM)
        self.send_with(head, *map(with_partial_sum, frames))

    def frames(self) -> list[bytes]:
        """Without their headers, which are in `heads`; where a checksum was left to the guest it has been made."""
        found = []
        self.heads = []
        for raw in super().frames():
            head, frame = Head(*HEADER.unpack(raw[: HEADER.size])), raw[HEADER.size :]
            self.heads.append(head)
            if head.flags & NEEDS_CSUM:
                assert frame[L4 + CHECKSUM : L4 + CHECKSUM + 2] == partial_sum(frame)
                frame = _finish_sum(frame, head.sum_from, head.sum_from + head.sum_offset)
            found.append(frame)
        return found


def partial_sum(frame: bytes) -> bytes:
    """What the checksum field of TCP in IPv4 has while the sum is not yet made."""
    packet = dpkt.ip.IP(frame[14:])
    length = int.from_bytes(frame[16:18]) - 20
    return folded_sum(pseudo_header(packet.src, packet.dst, 6, length)).to_bytes(2)


def with_partial_sum(frame: bytes) -> bytes:
    return frame[: L4 + CHECKSUM] + partial_sum(frame) + frame[L4 + CHECKSUM + 2 :]
