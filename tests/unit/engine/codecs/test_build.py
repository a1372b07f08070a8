from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp import addresses
from pyslirp.engine.codecs import build
from pyslirp.engine.codecs.parse import _parse
from tests.oracle.checksum import folded_sum, is_good, pseudo_header

Pair = tuple[addresses.Address, addresses.Address]

MAC = bytes.fromhex("525400123456")
GATEWAY_MAC = bytes.fromhex("525400000002")

bytes_8 = st.integers(0, 255)
shorts = st.integers(0, 65535)
ports = st.integers(1, 65535)
words = st.integers(0, 2**32 - 1)
v4 = st.integers(1 << 24, (127 << 24) - 1).map(IPv4Address)
v6 = st.integers(1 << 120, 2**128 - 1).map(IPv6Address)
payloads = st.one_of(st.binary(max_size=100), st.sampled_from([bytes(1472), b"\xff" * 1473]))
pairs = st.one_of(st.tuples(v4, v4), st.tuples(v6, v6))
options = st.integers(0, 10).flatmap(lambda count: st.binary(min_size=4 * count, max_size=4 * count))


def datagram(source: addresses.Address, destination: addresses.Address, protocol: int, transport: bytes) -> bytes:
    one, other = addresses.pack(source), addresses.pack(destination)
    return build._ip(one, other, protocol, 64, 0, 7, len(transport)) + transport


@given(st.binary(min_size=6, max_size=6), st.binary(min_size=6, max_size=6), shorts)
def test_ethernet(destination: bytes, source: bytes, ethertype: int) -> None:
    built = build._ethernet(destination, source, ethertype)
    assert built == destination + source + ethertype.to_bytes(2)


@given(source=v4, destination=v4, protocol=bytes_8, ttl=bytes_8, tos=bytes_8, ident=shorts, offset=st.integers(0, 8191),
       more=st.booleans(), dont_fragment=st.booleans())
def test_dpkt_reads_an_ipv4_header(*, source: IPv4Address, destination: IPv4Address, protocol: int, ttl: int, tos: int,
                                   ident: int, offset: int, more: bool, dont_fragment: bool) -> None:
    built = build._ipv4(addresses.pack(source), addresses.pack(destination), protocol, ttl, tos, ident, 8, offset * 8,
                        more, dont_fragment)
    assert is_good(built)
    read = dpkt.ip.IP(built + bytes(8))
    assert (read.v, read.hl, read.len, read.src, read.dst) == (4, 5, 28, source.packed, destination.packed)
    assert (read.p, read.ttl, read.tos, read.id) == (protocol, ttl, tos, ident)
    assert (read.offset, read.mf, read.df, read.rf) == (offset, more, dont_fragment, 0)
    assert bytes(read)[:20] == built


@given(source=v6, destination=v6, protocol=st.sampled_from([6, 17, 58]), ttl=bytes_8, tos=bytes_8, payload=payloads)
def test_dpkt_reads_an_ipv6_header(*, source: IPv6Address, destination: IPv6Address, protocol: int, ttl: int, tos: int,
                                   payload: bytes) -> None:
    built = build._ip(source.packed, destination.packed, protocol, ttl, tos, 0, len(payload))
    read = dpkt.ip6.IP6(built + payload)
    assert (len(built), read.v, read.fc, read.flow, read.plen) == (40, 6, tos, 0, len(payload))
    assert (read.nxt, read.hlim, read.src, read.dst) == (protocol, ttl, source.packed, destination.packed)


def test_ip_by_family_sets_dont_fragment() -> None:
    built = build._ip(addresses.pack(IPv4Address("10.0.2.2")), addresses.pack(IPv4Address("10.0.2.15")), 6, 64, 0, 1, 0)
    assert dpkt.ip.IP(built).df == 1


@given(pairs, ports, ports, payloads)
def test_udp_adds_up(pair: Pair, source_port: int, destination_port: int, payload: bytes) -> None:
    source, destination = pair
    built = build._udp(addresses.pack(source), addresses.pack(destination), source_port, destination_port, payload)
    read = dpkt.udp.UDP(built)
    assert (read.sport, read.dport, read.ulen, read.data) == (source_port, destination_port, 8 + len(payload), payload)
    assert is_good(pseudo_header(source.packed, destination.packed, 17, len(built)) + built)
    assert read.sum != 0


def test_the_largest_datagram() -> None:
    one, other = addresses.pack(IPv4Address("10.0.2.2")), addresses.pack(IPv4Address("10.0.2.15"))
    built = build._udp(one, other, 53, 5000, bytes(range(1, 256)) * 256 + bytes(227))
    status, fields = _parse(datagram(IPv4Address("10.0.2.2"), IPv4Address("10.0.2.15"), 17, built), from_ip=True)
    assert (status, len(fields["payload"]), len(fields["l3"])) == (0, 65507, 65535)


def test_a_udp_checksum_that_comes_to_zero_is_sent_as_all_ones() -> None:
    one, other = addresses.pack(IPv4Address("10.0.2.2")), addresses.pack(IPv4Address("10.0.2.15"))
    plain = dpkt.udp.UDP(build._udp(one, other, 53, 5000, b"\0\0")).sum
    built = build._udp(one, other, 53, 5000, plain.to_bytes(2))
    assert dpkt.udp.UDP(built).sum == 0xFFFF
    assert is_good(pseudo_header(one[12:], other[12:], 17, 10) + built)


@given(pair=pairs, sport=ports, dport=ports, seq=words, ack=words, flags=bytes_8, window=shorts, urgent=shorts,
       opts=options, payload=payloads)
def test_tcp_adds_up(*, pair: Pair, sport: int, dport: int, seq: int, ack: int, flags: int, window: int, urgent: int,
                     opts: bytes, payload: bytes) -> None:
    source, destination = pair
    built = build._tcp(addresses.pack(source), addresses.pack(destination), sport, dport, seq, ack, flags, window,
                       urgent, opts, payload)
    read = dpkt.tcp.TCP(built)
    assert (read.sport, read.dport, read.seq, read.ack) == (sport, dport, seq, ack)
    assert (read.flags, read.win, read.urp, read.off) == (flags, window, urgent, 5 + len(opts) // 4)
    assert (read.opts, read.data) == (opts, payload)
    assert is_good(pseudo_header(source.packed, destination.packed, 6, len(built)) + built)


@given(pair=pairs, protocol=bytes_8, length=shorts)
def test_a_sum_that_is_left_to_the_link_is_that_of_the_pseudo_header(pair: Pair, protocol: int, length: int) -> None:
    source, destination = pair
    built = build._partial_sum(addresses.pack(source), addresses.pack(destination), protocol, length)
    pseudo = pseudo_header(source.packed, destination.packed, protocol, length)
    assert int.from_bytes(built) % 0xFFFF == folded_sum(pseudo) % 0xFFFF


@given(st.sampled_from([0, 3, 8, 11]), bytes_8, words, payloads)
def test_icmp_adds_up(kind: int, code: int, rest: int, payload: bytes) -> None:
    built = build._icmp(kind, code, rest, payload)
    assert built[:2] + built[4:] == bytes([kind, code]) + rest.to_bytes(4) + payload
    assert is_good(built)


@given(st.sampled_from([1, 2]), v4, v4)
def test_dpkt_reads_arp(operation: int, sender: IPv4Address, target: IPv4Address) -> None:
    built = build._arp(operation, GATEWAY_MAC, addresses.pack(sender), MAC, addresses.pack(target))
    read = dpkt.arp.ARP(built)
    assert (read.hrd, read.pro, read.hln, read.pln, read.op) == (1, 0x0800, 6, 4, operation)
    assert (read.sha, read.spa, read.tha, read.tpa) == (GATEWAY_MAC, sender.packed, MAC, target.packed)
    assert bytes(read) == built


@pytest.mark.parametrize("length", [0, 14, 42, 59, 60, 61, 1514])
def test_short_frames_are_padded_with_zeros(length: int) -> None:
    frame = b"\xaa" * length
    assert build._padding(frame) == frame + bytes(max(0, 60 - length))


@given(v4, v4, ports, ports, st.binary(max_size=100))
def test_what_was_built_is_parsed(source: IPv4Address, target: IPv4Address, one: int, other: int,
                                  payload: bytes) -> None:
    here, there = addresses.pack(source), addresses.pack(target)
    transports = {
        17: build._udp(here, there, one, other, payload),
        6: build._tcp(here, there, one, other, 1, 2, 0x18, 3, 0, b"", payload),
        1: build._icmp(8, 0, one << 16 | other, payload),
    }
    ethernet = build._ethernet(MAC, GATEWAY_MAC, 0x0800)
    for protocol, transport in transports.items():
        status, fields = _parse(build._padding(ethernet + datagram(source, target, protocol, transport)))
        assert status == 0
        assert (fields["source_port"], fields["destination_port"], fields["payload"]) == (one, other, payload)


@given(v6, v6, bytes_8, bytes_8, payloads)
def test_icmpv6(source: IPv6Address, destination: IPv6Address, kind: int, code: int, body: bytes) -> None:
    built = build._icmpv6(source.packed, destination.packed, kind, code, body)
    assert built[:2] + built[4:] == bytes([kind, code]) + body
    assert is_good(pseudo_header(source.packed, destination.packed, 58, len(built)) + built)


@pytest.mark.parametrize(("kind", "flags", "option"), [(135, 0, 1), (136, 0xE0, 2)])
def test_neighbour_discovery(kind: int, flags: int, option: int) -> None:
    """RFC 4861 sections 4.3, 4.4 and 4.6.1."""
    source, target = IPv6Address("fe80::2"), IPv6Address("fec0::15")
    built = build._neighbor(source.packed, target.packed, kind, flags, target.packed, option, MAC)
    assert built[:2] == bytes([kind, 0])
    assert built[4:] == bytes([flags, 0, 0, 0]) + target.packed + bytes([option, 1]) + MAC
    assert is_good(pseudo_header(source.packed, target.packed, 58, len(built)) + built)


@given(bytes_8, st.integers(0, 8191).map(lambda units: units * 8), st.booleans(), words)
def test_a_fragment_header(protocol: int, offset: int, more: bool, identification: int) -> None:
    header = dpkt.ip6.IP6FragmentHeader(build._fragment6(protocol, offset, more, identification))
    assert (header.nxt, header.frag_off * 8, header.m_flag, header.id) == (protocol, offset, more, identification)
