"""Guests that speak IPv6 too (see guest.py): fec0::15 and fe80::15 where IPv4's is 10.0.2.15.

net = Net6()                         a gateway fec0::2 and fe80::2, a DNS alias fec0::3 and fe80::3, on fec0::/64
guest = net.guest6(0x15)             on a port of its own, known by a neighbour solicitation
guest.udp6(b"hello", to="2001:db8::1")
guest.packets6()                     as dpkt.ip6.IP6 with every checksum verified
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import Any

import dpkt

from tests.oracle import headers_ipv6
from tests.oracle.headers_ipv6 import FRAGMENT, ICMPV6, TCP, UDP, echo6, fragment, icmp6, udp6
from tests.unit.engine.core.guest import MAC, Guest, Net, check, datagram_of, dotted, ip, tcp_segment

GATEWAY6, ALIAS6, FAR6 = "fec0::2", "fec0::3", "2001:db8::34"
ROUTER, ALIAS_LINK = "fe80::2", "fe80::3"
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
SOLICITATION, ADVERTISEMENT, ROUTERS = 135, 136, 133


def six(text: str) -> bytes:
    """The wire's sixteen bytes."""
    return IPv6Address(text).packed


def solicited_node(text: str) -> str:
    """RFC 4291 section 2.7.1."""
    return str(IPv6Address(six("ff02::1:ff00:0")[:13] + six(text)[13:]))


def group_mac(text: str) -> bytes:
    """RFC 2464 section 7."""
    return b"\x33\x33" + six(text)[12:]


def link_option(kind: int, mac: bytes) -> bytes:
    return bytes([kind, 1]) + mac


class Net6(Net):
    """A core with both families."""

    def __init__(self, mtu: int = 1500, **fields: Any) -> None:
        super().__init__(mtu, **fields)
        self.core.set_families(True, True)
        self.core.set_network(ip("fec0::"), 64)
        for address in (GATEWAY6, ALIAS6, ROUTER, ALIAS_LINK):
            self.core.add_address(ip(address))

    def guest6(self, number: int = 0x15, *, mtu: int = 1500, burst: int = 0, known: bool = True) -> Guest6:
        """A new port with a guest fec0::NUMBER."""
        made = Guest6(self, number, self.core.add_port(mtu, burst))
        if known:
            made.introduce6()
        return made


class Guest6(Guest):
    """One guest."""

    def __init__(self, net: Net, number: int, port: int) -> None:
        super().__init__(net, number, port)
        self.ip6 = f"fec0::{number:x}"
        self.link = f"fe80::{number:x}"

    # -- writing ------------------------------------------------------------------------------------------------------

    def ipv6(
        self, payload: bytes, protocol: int, *, to: str = FAR6, source: str | None = None, mac_to: bytes = MAC, **fields: Any
    ) -> bytes:
        """A frame; `fields` are those of headers_ipv6.ipv6."""
        packet = headers_ipv6.ipv6(
            payload, protocol, source=six(source or self.ip6), destination=six(to), **fields
        )
        return self.frame(packet, 0x86DD, to=mac_to)

    def udp6_frame(self, payload: bytes, *, port: int = 9, source_port: int = 5000, **fields: Any) -> bytes:
        return self.ipv6(udp6(payload, source_port, port), UDP, **fields)

    def udp6(self, payload: bytes, **fields: Any) -> None:
        self.send(self.udp6_frame(payload, **fields))

    def echo6(self, payload: bytes = b"ping", *, identifier: int = 77, sequence: int = 1, **fields: Any) -> None:
        self.send(self.ipv6(echo6(payload, identifier, sequence), ICMPV6, **fields))

    def icmp6(self, kind: int, body: bytes = bytes(4), *, code: int = 0, **fields: Any) -> None:
        self.send(self.ipv6(icmp6(kind, body, code), ICMPV6, **fields))

    def tcp6_frame(self, flags: int, payload: bytes = b"", **fields: Any) -> bytes:
        """`fields` are those of tcp_segment and of ipv6."""
        segment, fields = tcp_segment(flags, payload, **fields)
        return self.ipv6(bytes(segment), TCP, **fields)

    def tcp6(self, flags: int, payload: bytes = b"", **fields: Any) -> None:
        self.send(self.tcp6_frame(flags, payload, **fields))

    def solicit(
        self,
        target: str,
        *,
        to: str | None = None,
        source: str | None = None,
        link: bytes | None = b"",
        hop_limit: int = 255,
        code: int = 0,
        more: bytes = b"",
    ) -> None:
        """A neighbour solicitation; link: in its option (None: without one, b"": the guest's)."""
        group = solicited_node(target) if to is None else to
        option = b"" if link is None else link_option(1, link or self.mac)
        mac_to = group_mac(group) if six(group)[0] == 0xFF else MAC
        self.icmp6(
            SOLICITATION,
            bytes(4) + six(target) + option + more,
            to=group,
            source=source,
            hop_limit=hop_limit,
            code=code,
            mac_to=mac_to,
        )

    def advertise(
        self,
        target: str | None = None,
        *,
        flags: int = 0x60,
        to: str = ROUTER,
        source: str | None = None,
        link: bytes | None = b"",
        hop_limit: int = 255,
    ) -> None:
        """A neighbour advertisement; by default the answer to a solicitation of ours, S and O set."""
        target = target or self.ip6
        option = b"" if link is None else link_option(2, link or self.mac)
        mac_to = group_mac(to) if six(to)[0] == 0xFF else MAC
        body = bytes([flags, 0, 0, 0]) + six(target) + option
        self.icmp6(ADVERTISEMENT, body, to=to, source=source or target, hop_limit=hop_limit, mac_to=mac_to)

    def look_for_routers(self, *, source: str | None = None, more: bytes = b"", hop_limit: int = 255) -> None:
        """A router solicitation, from the link-local address."""
        self.icmp6(
            ROUTERS,
            bytes(4) + more,
            to=ALL_ROUTERS,
            source=source or self.link,
            mac_to=group_mac(ALL_ROUTERS),
            hop_limit=hop_limit,
        )

    def introduce6(self) -> None:
        """Ask for the gateway from both addresses, as any guest does first; answer when we ask."""
        self.solicit(GATEWAY6)
        self.solicit(ROUTER, source=self.link)
        assert [packet.data.type for packet in self.packets6()] == [ADVERTISEMENT] * 2
        self.advertise()
        self.advertise(self.link)

    def fragments6(self, data: bytes, protocol: int, size: int, *, ident: int = 1, **fields: Any) -> list[bytes]:
        """Frames with `data` in pieces of `size` bytes (a multiple of eight); the checksum is of the whole."""
        ends = six(fields.get("source") or self.ip6), six(fields.get("to", FAR6))
        data = headers_ipv6.with_transport_checksum(data, protocol, *ends)
        return [
            self.frame(
                headers_ipv6.headers(
                    len(data[at : at + size]), protocol, *ends,
                    chain=((FRAGMENT, fragment(at, at + size < len(data), ident)),),
                ) + data[at : at + size],
                0x86DD,
            )
            for at in range(0, len(data), size)
        ]  # fmt: skip

    # -- reading ------------------------------------------------------------------------------------------------------

    def packets6(self) -> list[Any]:
        """What came, which must be IPv6 from our MAC address to this guest's or a group's, as dpkt.ip6.IP6."""
        found = []
        for frame in self.frames():
            packet = checked6(frame)
            destination = dotted(packet.dst)
            assert frame[:6] == (group_mac(destination) if packet.dst[0] == 0xFF else self.mac)
            assert frame[6:12] == MAC
            found.append(packet)
        return found

    def packet6(self) -> Any:
        """The only packet that came."""
        (only,) = self.packets6()
        return only

    def datagram6(self) -> tuple[str, int, int, bytes]:
        """The one UDP datagram that came, from fragments where it was cut: source, its port, our port, payload."""
        return datagram_of(*whole6(self.packets6()))


def checked6(frame: bytes) -> Any:
    """An IPv6 packet as dpkt reads it, with what is behind its header as `raw`; its checksum, where it is whole, is good."""
    assert frame[12:14] == b"\x86\xdd"
    packet = dpkt.ip6.IP6(frame[14:])
    packet.raw = frame[54 : 54 + packet.plen]
    assert len(packet.raw) == packet.plen
    if packet.nxt != FRAGMENT:
        check(packet.src, packet.dst, packet.nxt, packet.raw)
    return packet


def whole6(packets: list[Any]) -> tuple[str, bytes]:
    """Source and transport of the datagram of which these are all fragments, in order."""
    first = packets[0]
    source = dotted(first.src)
    if first.nxt != FRAGMENT:
        assert len(packets) == 1
        return source, first.raw
    data = b""
    heads = [struct.unpack("!BBHI", packet.raw[:8]) for packet in packets]
    assert {(head[0], head[1], head[3]) for head in heads} == {(heads[0][0], 0, heads[0][3])}
    for packet, head in zip(packets, heads, strict=True):
        assert head[2] & 0xFFF8 == len(data)
        assert bool(head[2] & 1) == (packet is not packets[-1])
        data += packet.raw[8:]
    check(first.src, first.dst, heads[0][0], data)
    return source, data


def error6(packet: Any) -> tuple[str, int, int, int, bytes]:
    """An ICMPv6 error: source, type, code, the word behind the checksum, and what it quotes."""
    assert packet.nxt == ICMPV6
    assert len(packet.raw) <= 1240
    kind, code, _, word = struct.unpack("!BBHI", packet.raw[:8])
    return dotted(packet.src), kind, code, word, packet.raw[8:]
