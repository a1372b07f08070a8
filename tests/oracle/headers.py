"""Frames written by dpkt, and the verdict on any frame, by the RFCs and without the engine's ideas of how to do it.

`verdict` names the first rule that a frame breaks, in the order in which the headers lie in it; the engine must name
the same.  Its fields, where there is nothing to complain of, are for dpkt to read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network

import dpkt

from tests.oracle.checksum import is_good, pseudo_header
from tests.oracle.headers_ipv6 import verdict_ipv6

Judge = Callable[[bytes], bool]

MAC_GUEST = bytes.fromhex("525400123456")
MAC_GATEWAY = bytes.fromhex("525400000002")
GUEST = IPv4Address("10.0.2.15").packed
HOST = IPv4Address("93.184.216.34").packed

NO_SOURCE = [IPv4Network(net) for net in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32")]
NO_DESTINATION = [IPv4Network(net) for net in ("0.0.0.0/8", "127.0.0.0/8")]
UNSPECIFIED = IPv4Address("0.0.0.0")


# -- writing -----------------------------------------------------------------------------------------------------------

def ethernet(payload: bytes, ethertype: int = 0x0800) -> bytes:
    return MAC_GATEWAY + MAC_GUEST + struct.pack("!H", ethertype) + payload


def ipv4(payload: bytes | dpkt.Packet, protocol: int, *, source: bytes = GUEST, destination: bytes = HOST,
         options: bytes = b"", **fields: int) -> bytes:
    """A datagram whose lengths and checksums are right, the transport's too; `fields` as dpkt names them."""
    packet = dpkt.ip.IP(src=source, dst=destination, p=protocol, hl=5 + len(options) // 4, data=payload, **fields)
    packet.opts = options
    return bytes(packet)


def udp(payload: bytes, source_port: int = 5000, destination_port: int = 53) -> dpkt.udp.UDP:
    return dpkt.udp.UDP(sport=source_port, dport=destination_port, ulen=8 + len(payload), data=payload)


def tcp(payload: bytes, source_port: int = 5000, destination_port: int = 80, options: bytes = b"",
        **fields: int) -> dpkt.tcp.TCP:
    packet = dpkt.tcp.TCP(sport=source_port, dport=destination_port, off=5 + len(options) // 4, data=payload, **fields)
    packet.opts = options
    return packet


def echo(payload: bytes, identifier: int = 1, sequence: int = 1, kind: int = 8) -> dpkt.icmp.ICMP:
    return dpkt.icmp.ICMP(type=kind, data=dpkt.icmp.ICMP.Echo(id=identifier, seq=sequence, data=payload))


def with_checksum(header: bytes, at: int = 10) -> bytes:
    """An IPv4 header that was tampered with, its checksum made good again."""
    zeroed = header[:at] + b"\0\0" + header[at + 2 :]
    checksum: int = dpkt.in_cksum(zeroed)
    return zeroed[:at] + checksum.to_bytes(2) + zeroed[at + 2 :]


# -- judging -----------------------------------------------------------------------------------------------------------

def verdict(frame: bytes, good: Judge = is_good) -> str:
    """The name of the status that parse_ethernet, parse_ip and parse_transport must come to.

    `good` judges checksums: in the fuzz build, where all of them pass, it is not `is_good`.
    """
    if len(frame) < 14:
        return "eth.short"
    (ethertype,) = struct.unpack("!H", frame[12:14])
    if ethertype == 0x86DD:
        return verdict_ipv6(frame[14:], good, verdict_transport)
    return verdict_ipv4(frame[14:], good) if ethertype == 0x0800 else "eth.unknown_type"


def verdict_ipv4(packet: bytes, good: Judge = is_good) -> str:
    """RFC 791 section 3.1, RFC 1122 section 3.2.1."""
    if len(packet) < 20:
        return "ipv4.short"
    if packet[0] >> 4 != 4:
        return "ipv4.bad_version"
    header_length = packet[0] % 16 * 4
    if not 20 <= header_length <= len(packet):
        return "ipv4.bad_header_length"
    total_length = int.from_bytes(packet[2:4])
    if not header_length <= total_length <= len(packet):
        return "ipv4.bad_total_length"
    header, payload = packet[:header_length], packet[header_length:total_length]
    if not good(header):
        return "ipv4.bad_checksum"
    source, destination = IPv4Address(header[12:16]), IPv4Address(header[16:20])
    if source != UNSPECIFIED and any(source in net for net in NO_SOURCE):
        return "ipv4.bad_source"
    if any(destination in net for net in NO_DESTINATION):
        return "ipv4.bad_destination"
    try:
        if {131, 137} & set(option_kinds(header[20:])):
            return "ipv4.source_route"
    except ValueError:
        return "ipv4.bad_header_length"
    if int.from_bytes(header[6:8]) & 0x3FFF:
        return "ok"  # a fragment goes to reassembly, whatever it holds
    return verdict_transport(header[9], header[12:16] + header[16:20], payload, good)


def option_kinds(options: bytes) -> Iterator[int]:
    """The options' kinds up to the end; raises ValueError where one does not fit, after those that come first."""
    while options and options[0] != 0:
        length = 1
        if options[0] != 1:
            if len(options) < 2:
                raise ValueError("an option ends before its length")
            if options[0] in (131, 137):
                yield options[0]
                return
            length = options[1]
        if not (1 if options[0] == 1 else 2) <= length <= len(options):
            raise ValueError("an option is longer than the header")
        yield options[0]
        options = options[length:]


def verdict_transport(protocol: int, addresses: bytes, payload: bytes, good: Judge) -> str:
    """RFC 768, RFC 9293 section 3.1, RFC 792."""
    if protocol == 17:
        return verdict_udp(addresses, payload, good)
    if protocol == 6:
        return verdict_tcp(addresses, payload, good)
    if protocol == 1:
        if len(payload) < 8:
            return "icmp.short"
        return "ok" if good(payload) else "icmp.bad_checksum"
    return "ipv4.unknown_protocol"


def verdict_udp(addresses: bytes, payload: bytes, good: Judge) -> str:
    if len(payload) < 8:
        return "udp.short"
    source_port, destination_port, length, checksum = struct.unpack("!HHHH", payload[:8])
    if not 8 <= length <= len(payload):
        return "udp.bad_length"
    if 0 in (source_port, destination_port):
        return "udp.port_zero"
    datagram = payload[:length]
    half = len(addresses) // 2
    if checksum == 0:
        return "ok" if half == 4 else "udp.bad_checksum"  # RFC 8200 section 8.1
    return "ok" if good(pseudo_header(addresses[:half], addresses[half:], 17, length) + datagram) else "udp.bad_checksum"


def verdict_tcp(addresses: bytes, payload: bytes, good: Judge) -> str:
    if len(payload) < 20:
        return "tcp.short"
    if not 20 <= payload[12] // 16 * 4 <= len(payload):
        return "tcp.bad_offset"
    if 0 in struct.unpack("!HH", payload[:4]):
        return "tcp.port_zero"
    half = len(addresses) // 2
    whole = pseudo_header(addresses[:half], addresses[half:], 6, len(payload)) + payload
    return "ok" if good(whole) else "tcp.bad_checksum"
