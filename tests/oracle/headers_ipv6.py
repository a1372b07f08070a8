"""IPv6 packets written by hand, and the verdict on any packet, by RFC 8200 and what amends it.

As headers.py: the first rule that a packet breaks, in the order in which its headers lie.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, IPv6Network

from tests.oracle.checksum import checksum, pseudo_header

GUEST6 = IPv6Address("fec0::15").packed
HOST6 = IPv6Address("2001:db8::34").packed

HOP_BY_HOP, TCP, UDP, ROUTING, FRAGMENT, ICMPV6, NONE, DESTINATION = 0, 6, 17, 43, 44, 58, 59, 60
CHECKSUM_AT = {TCP: 16, UDP: 6, ICMPV6: 2}
SHORTEST = {TCP: 20, UDP: 8, ICMPV6: 8}
MAX_EXTENSIONS, MAX_HEADER_BYTES = 8, 512
DISGUISES = [IPv6Network(net) for net in ("::/96", "::ffff:0:0/96")]
MULTICAST = IPv6Network("ff00::/8")

Judge = Callable[[bytes], bool]
Transport = Callable[[int, bytes, bytes, Judge], str]


# -- writing -----------------------------------------------------------------------------------------------------------


def ipv6(
    payload: bytes,
    protocol: int,
    *,
    source: bytes = GUEST6,
    destination: bytes = HOST6,
    hop_limit: int = 64,
    traffic_class: int = 0,
    label: int = 0,
    chain: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """A packet with the extension headers of `chain`, as (number, body without its first byte), and a good checksum."""
    payload = with_transport_checksum(bytes(payload), protocol, source, destination)
    return headers(len(payload), protocol, source, destination, hop_limit, traffic_class, label, chain) + payload


def headers(
    payload_bytes: int,
    protocol: int,
    source: bytes = GUEST6,
    destination: bytes = HOST6,
    hop_limit: int = 64,
    traffic_class: int = 0,
    label: int = 0,
    chain: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """All that is in front of the transport header."""
    numbers = [*(number for number, _ in chain), protocol]
    extensions = b"".join(bytes([after]) + body for after, (_, body) in zip(numbers[1:], chain, strict=True))
    word = 6 << 28 | traffic_class << 20 | label
    return struct.pack("!IHBB", word, len(extensions) + payload_bytes, numbers[0], hop_limit) + source + destination + extensions


def with_transport_checksum(payload: bytes, protocol: int, source: bytes, destination: bytes) -> bytes:
    at = CHECKSUM_AT.get(protocol)
    if at is None or len(payload) < at + 2:
        return payload
    blank = payload[:at] + b"\0\0" + payload[at + 2 :]
    value = checksum(pseudo_header(source, destination, protocol, len(blank)) + blank)
    return blank[:at] + (value or 0xFFFF).to_bytes(2) + blank[at + 2 :]


def options(*kinds: tuple[int, bytes]) -> bytes:
    """The body of a header of options, behind its first byte, padded to whole units."""
    body = b"".join(bytes([kind, len(value)]) + value for kind, value in kinds)
    missing = -(len(body) + 2) % 8
    padding = b"" if missing == 0 else b"\0" if missing == 1 else bytes([1, missing - 2]) + bytes(missing - 2)
    return bytes([(len(body) + 2 + missing) // 8 - 1]) + body + padding


def routing(segments_left: int, kind: int = 0) -> bytes:
    return bytes([0, kind, segments_left]) + bytes(4)


def fragment(offset: int, more: bool, identification: int = 1) -> bytes:
    """`offset` in bytes."""
    return struct.pack("!BHI", 0, offset | more, identification)


def udp6(payload: bytes, source_port: int = 5000, destination_port: int = 53) -> bytes:
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def tcp6(payload: bytes, source_port: int = 5000, destination_port: int = 80, flags: int = 0x10) -> bytes:
    return struct.pack("!HHIIBBHHH", source_port, destination_port, 1, 2, 5 << 4, flags, 1000, 0, 0) + payload


def icmp6(kind: int, body: bytes = bytes(4), code: int = 0) -> bytes:
    """`body` is what is behind the checksum."""
    return struct.pack("!BBH", kind, code, 0) + body


def echo6(payload: bytes, identifier: int = 1, sequence: int = 1, kind: int = 128) -> bytes:
    return icmp6(kind, struct.pack("!HH", identifier, sequence) + payload)


# -- judging -----------------------------------------------------------------------------------------------------------


class RefusedError(Exception):
    """A rule is broken; the status is its text."""


def verdict_ipv6(packet: bytes, good: Judge, transport: Transport) -> str:
    """The name of the status that parse_ip and parse_transport must come to; `transport` judges TCP and UDP."""
    if len(packet) < 40:
        return "ipv6.short"
    if packet[0] >> 4 != 6:
        return "ipv6.bad_version"
    end = 40 + int.from_bytes(packet[4:6])
    if end > len(packet):
        return "ipv6.bad_length"
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    if int(source) and (source in MULTICAST or any(source in net for net in DISGUISES)):
        return "ipv6.bad_source"
    if any(destination in net for net in DISGUISES):
        return "ipv6.bad_destination"
    try:
        kind, at, fragmented = follow(packet[:end])
    except RefusedError as error:
        return str(error)
    if fragmented:
        return "ok"  # goes to reassembly, whatever it holds
    return verdict_payload(kind, packet[8:40], packet[at:end], good, transport)


def follow(packet: bytes) -> tuple[int, int, bool]:
    """The number of the transport, where it begins, and whether this is a fragment."""
    kind, at, seen, fragmented = packet[6], 40, 0, None
    while kind in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION):
        seen += 1
        if (kind == HOP_BY_HOP and at != 40) or seen > MAX_EXTENSIONS or len(packet) < at + 8:
            raise RefusedError("ipv6.bad_extension")
        if kind == FRAGMENT:
            if fragmented is not None:
                raise RefusedError("ipv6.bad_extension")
            place = int.from_bytes(packet[at + 2 : at + 4])
            fragmented = bool(place & 0xFFF9)
            if place & 0xFFF8:
                return packet[at], at + 8, True
            kind, at = packet[at], at + 8
            continue
        length = (packet[at + 1] + 1) * 8
        if at + length > min(len(packet), MAX_HEADER_BYTES):
            raise RefusedError("ipv6.bad_extension")
        if kind == ROUTING and packet[at + 3]:
            raise RefusedError("ipv6.source_route")
        if kind != ROUTING and any(number >> 6 for number in option_numbers(packet[at + 2 : at + length])):
            raise RefusedError("ipv6.bad_option")
        kind, at = packet[at], at + length
    if fragmented and len(packet) < at + SHORTEST.get(kind, 0):
        raise RefusedError("ipv6.bad_extension")
    return kind, at, bool(fragmented)


def option_numbers(body: bytes) -> Iterator[int]:
    """Those that are not padding, up to and with the first that must not be skipped."""
    while body:
        if body[0] == 0:
            body = body[1:]
            continue
        if len(body) < 2 or body[1] > len(body) - 2:
            raise RefusedError("ipv6.bad_extension")
        yield body[0]
        body = body[2 + body[1] :]


def verdict_payload(kind: int, addresses: bytes, payload: bytes, good: Judge, transport: Transport) -> str:
    if kind in (TCP, UDP):
        return transport(kind, addresses, payload, good)
    if kind != ICMPV6:
        return "ipv6.unknown_header"
    if len(payload) < 8:
        return "icmp.short"
    whole = pseudo_header(addresses[:16], addresses[16:], ICMPV6, len(payload)) + payload
    return "ok" if good(whole) else "icmp.bad_checksum"
