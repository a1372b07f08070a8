"""What a packet script (script.py) has to know of the IP version beneath its TCP: addresses, ICMP, and who is where.

A script says neither, so that each runs over both.  Its sizes are those of IPv4: over IPv6 the MTU of the link, and every
one that an ICMP message tells, is larger by what the header is longer, so that segments are as large as they are written.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, ClassVar

import dpkt

from pyslirp.addresses import Address, Endpoint, Mac, pack
from pyslirp.config.ipv6 import ROUTER_LINK_LOCAL
from pyslirp.engine.core.core import Core
from pyslirp.sim.link import ETH_HEADER_BYTES
from pyslirp.sim.node import network_of

GUEST_MAC, GATEWAY_MAC = Mac("52:54:00:12:34:56"), Mac("52:55:0a:00:02:02")
GUEST_PORT, FAR_PORT = 40000, 80
IPV4_HEADER_BYTES = 20
NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT, FIRST_INFORMATION = 135, 136, 128
SOLICITED_OVERRIDE = 0x60000000  #: flags of an advertisement (RFC 4861 section 4.4)
SOURCE_LINK_ADDRESS, TARGET_LINK_ADDRESS = b"\x01\x01", b"\x02\x01"  #: options of eight bytes (RFC 4861 section 4.6.1)


class Family(ABC):
    """One IP version: a guest, the gateway of its network, and a host far away."""

    version: int
    header_bytes: int  #: of IP
    gateway: Address
    guest: Endpoint
    far: Endpoint
    errors: ClassVar[Mapping[tuple[str, str], tuple[int, int]]]  #: type and code of an ICMP error, as scripts name it

    @property
    def extra_bytes(self) -> int:
        """How much longer the header is than IPv4's."""
        return self.header_bytes - IPV4_HEADER_BYTES

    @abstractmethod
    def configure(self, core: Core) -> None:
        """Make the gateway of this network out of a core."""

    @abstractmethod
    def icmp(self, frame: bytes) -> tuple[int, int] | None:
        """Type and code of the ICMP error in a frame; None for what is none."""

    @abstractmethod
    def icmp_error(self, kind: tuple[int, int], quoted: bytes, packet_bytes: int, mtu: int) -> bytes:
        """The frame of the guest's error about a packet of ours of so many bytes, of which `quoted` is the beginning.

        mtu: which it tells, bytes; 0: none.
        """

    @abstractmethod
    def hello(self) -> bytes:
        """The frame by which the gateway has heard of its guest."""

    @abstractmethod
    def asks(self, frame: bytes) -> bool:
        """Is it a question for somebody's MAC address?"""

    @abstractmethod
    def answer(self, frame: bytes) -> bytes | None:
        """The guest's answer to such a question; None where another is asked, or none is needed."""

    def error(self, kind: str, code: str) -> tuple[int, int]:
        """The numbers of an ICMP error.  Raises KeyError where this version has none of that name."""
        return self.errors[kind, code]

    def _frame(self, ethertype: int, packet: bytes) -> bytes:
        return bytes(GATEWAY_MAC) + bytes(GUEST_MAC) + struct.pack("!H", ethertype) + packet


class IPv4Family(Family):
    """10.0.2.15 behind 10.0.2.2."""

    version = 4
    header_bytes = IPV4_HEADER_BYTES
    gateway = IPv4Address("10.0.2.2")
    guest = Endpoint(IPv4Address("10.0.2.15"), GUEST_PORT)
    far = Endpoint(IPv4Address("192.0.2.1"), FAR_PORT)
    errors: ClassVar[Mapping[tuple[str, str], tuple[int, int]]] = {
        ("unreachable", "net"): (3, 0),
        ("unreachable", "host"): (3, 1),
        ("unreachable", "protocol"): (3, 2),
        ("unreachable", "port"): (3, 3),
        ("unreachable", "too_big"): (3, 4),
        ("unreachable", "prohibited"): (3, 13),
        ("exceeded", "0"): (11, 0),
    }

    def configure(self, core: Core) -> None:
        """10.0.2.0/24."""
        network_of(core, IPv4Address("10.0.2.0"), 24)
        core.add_address(pack(self.gateway))

    def hello(self) -> bytes:
        """An ARP reply."""
        ends = {"spa": self.guest.address.packed, "tpa": self.gateway.packed}
        return self._frame(0x0806, bytes(dpkt.arp.ARP(op=dpkt.arp.ARP_OP_REPLY, sha=bytes(GUEST_MAC), **ends)))

    def asks(self, frame: bytes) -> bool:
        """RFC 826."""
        return frame[12:14] == b"\x08\x06"

    def answer(self, frame: bytes) -> None:
        """None: the guest is known."""

    def icmp(self, frame: bytes) -> tuple[int, int] | None:
        """RFC 792."""
        packet: Any = dpkt.ethernet.Ethernet(frame).data
        if not isinstance(packet, dpkt.ip.IP) or packet.p != dpkt.ip.IP_PROTO_ICMP:
            return None
        return packet.data.type, packet.data.code

    def icmp_error(self, kind: tuple[int, int], quoted: bytes, packet_bytes: int, mtu: int) -> bytes:
        """RFC 792, with the MTU of RFC 1191."""
        quoted = quoted[:2] + packet_bytes.to_bytes(2, "big") + quoted[4 : IPV4_HEADER_BYTES + 8]
        body = dpkt.icmp.ICMP.Unreach(mtu=mtu, data=quoted)
        message: Any = dpkt.icmp.ICMP(type=kind[0], code=kind[1], data=body)
        ends = {"src": self.guest.address.packed, "dst": self.far.address.packed}
        packet: Any = dpkt.ip.IP(**ends, p=dpkt.ip.IP_PROTO_ICMP, ttl=64, data=message)
        packet.len = len(packet)
        return self._frame(0x0800, bytes(packet))


class IPv6Family(Family):
    """fec0::15 behind fec0::2; the guest answers when it is asked whether it is still there."""

    version = 6
    header_bytes = 40
    gateway = IPv6Address("fec0::2")
    guest = Endpoint(IPv6Address("fec0::15"), GUEST_PORT)
    far = Endpoint(IPv6Address("2001:db8::1"), FAR_PORT)
    errors: ClassVar[Mapping[tuple[str, str], tuple[int, int]]] = {
        ("unreachable", "net"): (1, 0),
        ("unreachable", "prohibited"): (1, 1),
        ("unreachable", "host"): (1, 3),
        ("unreachable", "port"): (1, 4),
        ("unreachable", "protocol"): (4, 1),  # parameter problem: unrecognized next header (RFC 4443 section 3.4)
        ("unreachable", "too_big"): (2, 0),
        ("exceeded", "0"): (3, 0),
    }

    def configure(self, core: Core) -> None:
        """fec0::/64."""
        core.set_families(True, True)
        network_of(core, IPv6Address("fec0::"), 64)
        for address in (self.gateway, ROUTER_LINK_LOCAL):
            core.add_address(pack(address))

    def icmp(self, frame: bytes) -> tuple[int, int] | None:
        """RFC 4443 section 2.1: errors have types below 128."""
        message = _icmpv6_of(frame)
        return None if message is None or message[0] >= FIRST_INFORMATION else (message[0], message[1])

    def icmp_error(self, kind: tuple[int, int], quoted: bytes, packet_bytes: int, mtu: int) -> bytes:
        """RFC 4443 section 3; what does not tell an MTU has zeros there."""
        payload_bytes = packet_bytes - self.header_bytes
        quoted = quoted[:4] + payload_bytes.to_bytes(2, "big") + quoted[6 : self.header_bytes + 8]
        return self._message(*kind, struct.pack("!I", mtu) + quoted, self.far.address)

    def hello(self) -> bytes:
        """A neighbour solicitation for the gateway."""
        body = bytes(4) + self.gateway.packed + SOURCE_LINK_ADDRESS + bytes(GUEST_MAC)
        return self._message(NEIGHBOR_SOLICITATION, 0, body, self.gateway, hop_limit=255)

    def asks(self, frame: bytes) -> bool:
        """RFC 4861 section 4.3."""
        message = _icmpv6_of(frame)
        return message is not None and message[0] == NEIGHBOR_SOLICITATION

    def answer(self, frame: bytes) -> bytes | None:
        """RFC 4861 section 7.2.4."""
        message = _icmpv6_of(frame)
        if message is None or message[8:24] != self.guest.address.packed:
            return None
        body = struct.pack("!I", SOLICITED_OVERRIDE) + self.guest.address.packed + TARGET_LINK_ADDRESS + bytes(GUEST_MAC)
        return self._message(NEIGHBOR_ADVERTISEMENT, 0, body, IPv6Address(frame[22:38]), hop_limit=255)

    def _message(self, kind: int, code: int, body: bytes, to: Address, hop_limit: int = 64) -> bytes:
        """The frame of an ICMPv6 message of the guest."""
        ends = self.guest.address.packed + to.packed
        message = struct.pack("!BBH", kind, code, 0) + body
        pseudo_header = ends + struct.pack("!II", len(message), dpkt.ip.IP_PROTO_ICMP6)
        message = message[:2] + struct.pack("!H", dpkt.in_cksum(pseudo_header + message)) + message[4:]
        head = struct.pack("!IHBB", 6 << 28, len(message), dpkt.ip.IP_PROTO_ICMP6, hop_limit)
        return self._frame(0x86DD, head + ends + message)


def _icmpv6_of(frame: bytes) -> bytes | None:
    """The ICMPv6 message in a frame without extension headers."""
    packet = frame[ETH_HEADER_BYTES:]
    return packet[40:] if frame[12:14] == b"\x86\xdd" and packet[6] == dpkt.ip.IP_PROTO_ICMP6 else None


FAMILIES: dict[int, Family] = {4: IPv4Family(), 6: IPv6Family()}
