"""TCP segments as values, and as Ethernet frames built and read by dpkt: an independent witness of the engine's codecs.

Options are kept by meaning; NOP and end-of-list only fill and are left out.  Numbers are those of the wire: 32-bit
sequence numbers, windows not scaled.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import dpkt

from pyslirp.addresses import Endpoint, Mac

FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "W": 128}  #: packetdrill's letters

END, NOP, MSS, SCALE, SACK_PERMITTED, SACK, TIMESTAMPS = 0, 1, 2, 3, 4, 5, 8


class BadFrameError(ValueError):
    """Bytes that are no good TCP segment in IP in Ethernet."""


@dataclass
class Options:
    """TCP options; None or empty where one is absent."""

    mss: int | None = None
    scale: int | None = None
    sack_permitted: bool = False
    timestamps: tuple[int, int] | None = None  #: value, echo
    sack: list[tuple[int, int]] = field(default_factory=list)
    raw: bytes = b""  #: written in front of the rest as it is, to say what is malformed or unknown

    def pack(self) -> bytes:
        """Bytes, filled up with NOPs in front to a multiple of four."""
        data = self.raw
        if self.mss is not None:
            data += struct.pack("!BBH", MSS, 4, self.mss)
        if self.sack_permitted:
            data += bytes([SACK_PERMITTED, 2])
        if self.timestamps is not None:
            data += struct.pack("!BBII", TIMESTAMPS, 10, *self.timestamps)
        if self.scale is not None:
            data += bytes([SCALE, 3, self.scale])
        if self.sack:
            data += bytes([SACK, 2 + 8 * len(self.sack)])
            data += b"".join(struct.pack("!II", *block) for block in self.sack)
        return bytes([NOP]) * (-len(data) % 4) + data

    @classmethod
    def read(cls, data: bytes) -> Options:
        """From the bytes behind the header.  Raises BadFrameError for a length that cannot be."""
        options, at = cls(), 0
        while at < len(data) and data[at] != END:
            kind = data[at]
            if kind == NOP:
                at += 1
                continue
            length = data[at + 1] if at + 1 < len(data) else 0
            if length < 2 or at + length > len(data):
                raise BadFrameError(f"option {kind} has length {length}: {data.hex()}")
            options._take(kind, data[at + 2 : at + length])
            at += length
        return options

    def _take(self, kind: int, body: bytes) -> None:
        if kind == MSS and len(body) == 2:
            self.mss = int.from_bytes(body, "big")
        elif kind == SCALE and len(body) == 1:
            self.scale = body[0]
        elif kind == SACK_PERMITTED and not body:
            self.sack_permitted = True
        elif kind == TIMESTAMPS and len(body) == 8:
            self.timestamps = struct.unpack("!II", body)
        elif kind == SACK and body and len(body) % 8 == 0:
            numbers = struct.unpack(f"!{len(body) // 4}I", body)
            self.sack = list(zip(numbers[::2], numbers[1::2], strict=True))
        else:
            self.raw += bytes([kind, 2 + len(body)]) + body


@dataclass
class Segment:
    """One TCP segment."""

    flags: str  #: letters of FLAGS in that order
    seq: int
    ack: int = 0
    window: int = 0
    payload: bytes = field(default=b"", repr=False)
    urgent: int = 0
    options: Options = field(default_factory=Options)
    mark: int = 0  #: ECN field of the IP header

    @property
    def length(self) -> int:
        """Sequence numbers that it takes: payload, SYN and FIN."""
        return len(self.payload) + ("S" in self.flags) + ("F" in self.flags)


@dataclass(frozen=True, slots=True)
class Way:
    """Where a frame goes from and to."""

    source_mac: Mac
    source: Endpoint
    destination_mac: Mac
    destination: Endpoint

    @property
    def back(self) -> Way:
        """The other way round."""
        return Way(self.destination_mac, self.destination, self.source_mac, self.source)


def build_frame(segment: Segment, way: Way) -> bytes:
    """The Ethernet frame of a segment, with both checksums."""
    options = segment.options.pack()
    tcp: Any = dpkt.tcp.TCP(
        sport=way.source.port,
        dport=way.destination.port,
        seq=segment.seq & 0xFFFFFFFF,
        ack=segment.ack & 0xFFFFFFFF,
        flags=sum(FLAGS[letter] for letter in segment.flags if letter in FLAGS),
        win=segment.window,
        urp=segment.urgent,
        opts=options,
        data=segment.payload,
    )
    tcp.off = (20 + len(options)) // 4
    if way.source.address.version == 6:
        return _frame_of_ipv6(tcp, segment.mark, way)
    ip: Any = dpkt.ip.IP(
        src=way.source.address.packed,
        dst=way.destination.address.packed,
        p=dpkt.ip.IP_PROTO_TCP,
        ttl=64,
        tos=segment.mark,
        data=tcp,
    )
    ip.len = len(ip)
    return bytes(dpkt.ethernet.Ethernet(dst=bytes(way.destination_mac), src=bytes(way.source_mac), data=ip))


def _frame_of_ipv6(tcp: Any, mark: int, way: Way) -> bytes:
    ends = way.source.address.packed, way.destination.address.packed
    body = bytes(tcp)
    tcp.sum = dpkt.in_cksum(_pseudo_header6(*ends, len(body)) + body)
    ip: Any = dpkt.ip6.IP6(src=ends[0], dst=ends[1], nxt=dpkt.ip.IP_PROTO_TCP, hlim=64, plen=len(body))
    ip.fc = mark
    packet = bytes(ip)[:40] + bytes(tcp)
    return bytes(way.destination_mac) + bytes(way.source_mac) + b"\x86\xdd" + packet


def _pseudo_header6(source: bytes, destination: bytes, length: int) -> bytes:
    """RFC 8200 section 8.1."""
    return source + destination + struct.pack("!II", length, dpkt.ip.IP_PROTO_TCP)


def read_frame(frame: bytes) -> tuple[Segment, Way] | None:
    """The segment in a frame; None for what is not TCP.  Raises BadFrameError for wrong sums and lengths."""
    ethernet: Any = dpkt.ethernet.Ethernet(frame)
    ip = ethernet.data
    if isinstance(ip, dpkt.ip6.IP6) and ip.nxt == dpkt.ip.IP_PROTO_TCP:
        return _read_ipv6(ethernet, ip, frame[54 : 54 + ip.plen])
    if not isinstance(ip, dpkt.ip.IP) or ip.p != dpkt.ip.IP_PROTO_TCP:
        return None
    whole = frame[14 : 14 + ip.len]
    if len(whole) != ip.len:
        raise BadFrameError(f"the IP header says {ip.len} bytes, there are {len(whole)}")
    if dpkt.in_cksum(whole[: ip.hl * 4]):
        raise BadFrameError("bad IP header checksum")
    body = whole[ip.hl * 4 :]
    if dpkt.in_cksum(ip.src + ip.dst + struct.pack("!BBH", 0, ip.p, len(body)) + body):
        raise BadFrameError("bad TCP checksum")
    return _read_tcp(ethernet, ip, body, ip.tos)


def _read_ipv6(ethernet: Any, ip: Any, body: bytes) -> tuple[Segment, Way]:
    if len(body) != ip.plen:
        raise BadFrameError(f"the IPv6 header says {ip.plen} bytes, there are {len(body)}")
    if dpkt.in_cksum(_pseudo_header6(ip.src, ip.dst, len(body)) + body):
        raise BadFrameError("bad TCP checksum")
    return _read_tcp(ethernet, ip, body, ip.fc)


def _read_tcp(ethernet: Any, ip: Any, body: bytes, mark: int) -> tuple[Segment, Way]:
    tcp: Any = dpkt.tcp.TCP(body)
    letters = "".join(letter for letter, bit in FLAGS.items() if tcp.flags & bit)
    segment = Segment(
        letters, tcp.seq, tcp.ack, tcp.win, bytes(tcp.data), tcp.urp, Options.read(bytes(tcp.opts)), mark & 3
    )
    way = Way(
        Mac(ethernet.src),
        Endpoint(ip_address(ip.src), tcp.sport),
        Mac(ethernet.dst),
        Endpoint(ip_address(ip.dst), tcp.dport),
    )
    return segment, way
