"""Invariant tested: a frame behind any virtio-net header is refused, or reaches a link without such headers as frames
that it carries: none longer than its MTU, and where the sender's own checksums were right, or left to us, all of them.

The input is a header of ten bytes and a frame; the MAC addresses are put in, so that it reaches the other guest.
"""

from __future__ import annotations

from pyslirp.engine.codecs.offload import _read
from pyslirp.engine.core.core import Core
from tests.oracle.checksum import is_good, pseudo_header

HEADER_BYTES, MTU, ETHERNET = 10, 1500, 18  #: with a VLAN tag
GSO_UDP = 3
ENGINE_MAC, SENDER, RECEIVER = (bytes.fromhex("5254000000" + end) for end in ("01", "02", "03"))
BROADCAST = b"\xff" * 6


class Rig:
    """A core between a link with headers and one without, made once: a run is many inputs."""

    def __init__(self) -> None:
        self.core = Core(bytes(16), ENGINE_MAC, mtu=65_520)
        self.sender, self.receiver = self.core.add_port(65_520, offload=True), self.core.add_port(MTU)
        self.core.deliver(self.receiver, [(BROADCAST + RECEIVER + b"\x88\xb5").ljust(60, b"\0")], 1)
        self.core.collect(self.sender)

    def passed(self, data: bytes) -> list[bytes]:
        """What the receiver gets."""
        self.core.deliver(self.sender, [data], 1)
        return self.core.collect(self.receiver)


RIG = Rig()


def fuzz(data: bytes) -> tuple[object, int]:
    """One input: a header and a frame."""
    head, frame = data[:HEADER_BYTES], data[HEADER_BYTES:]
    frame = RECEIVER + SENDER + frame[12:]
    got = RIG.passed(head + frame)
    read = _read(head, len(frame)) if len(head) == HEADER_BYTES else None
    if read is None:
        assert not got
        return "refused", 0
    partial, _, gso, gso_bytes, sum_from, _ = read
    assert all(len(one) <= MTU + ETHERNET for one in got)
    if not partial:
        assert got in ([], [frame])
    elif gso:
        check_segments(got, gso_bytes, sum_from, udp=gso == GSO_UDP)
    else:
        assert len(got) <= 1
    return (partial, gso), min(len(got), 4)


def check_segments(frames: list[bytes], gso_bytes: int, l4: int, *, udp: bool) -> None:
    """Each is TCP or UDP whose checksum is right, and no longer than the header has said."""
    for frame in frames:
        v4 = frame[12:14] == b"\x08\x00"
        end = 14 + int.from_bytes(frame[16:18]) if v4 else 54 + int.from_bytes(frame[18:20])
        source, destination = (frame[26:30], frame[30:34]) if v4 else (frame[22:38], frame[38:54])
        segment = frame[l4:end]
        assert len(segment) <= (8 if udp else (frame[l4 + 12] >> 4) * 4) + gso_bytes
        assert is_good(pseudo_header(source, destination, 17 if udp else 6, len(segment)) + segment)
