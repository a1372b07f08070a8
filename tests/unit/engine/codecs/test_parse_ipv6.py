"""IPv6 headers, read by the engine, by dpkt and by the twin of tests/oracle."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyslirp.engine.codecs.parse import _parse, _parse_fragment_as_transport
from tests.oracle import headers
from tests.oracle.headers import ethernet
from tests.oracle.headers_ipv6 import (
    DESTINATION,
    FRAGMENT,
    GUEST6,
    HOP_BY_HOP,
    HOST6,
    ICMPV6,
    NONE,
    ROUTING,
    TCP,
    UDP,
    echo6,
    fragment,
    ipv6,
    options,
    routing,
    tcp6,
    udp6,
)
from tests.oracle.status import name_of

ports = st.integers(1, 65535)
payloads = st.binary(max_size=100)
globals_ = st.integers(0x2000 << 112, (0xFEFF << 112) - 1).map(lambda number: number.to_bytes(16))
skipped = st.integers(2, 63).filter(lambda kind: kind != 5)
option_lists = st.lists(st.tuples(skipped, st.binary(max_size=12)), max_size=3)
option_headers = option_lists.map(lambda kinds: options(*kinds))
extensions = st.one_of(
    st.tuples(st.just(DESTINATION), option_headers),
    st.tuples(st.just(ROUTING), st.integers(0, 255).map(lambda kind: routing(0, kind))),
)


def parse(frame: bytes, **given_options: bool) -> tuple[str, dict[str, Any]]:
    status, fields = _parse(frame, **given_options)
    return name_of(status), fields


def status_of(packet: bytes) -> str:
    """The engine's and the twin's."""
    frame = ethernet(packet, 0x86DD)
    status = parse(frame)[0]
    assert status == headers.verdict(frame)
    return status


def problem_of(packet: bytes) -> tuple[int, int] | None:
    problem: tuple[int, int] | None = parse(ethernet(packet, 0x86DD))[1].get("problem")
    return problem


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Good packets of every protocol, with extension headers."""
    payload = draw(payloads)
    protocol, transport = draw(
        st.sampled_from([
            (UDP, udp6(payload, draw(ports), draw(ports))),
            (TCP, tcp6(payload, draw(ports), draw(ports), draw(st.integers(0, 255)))),
            (ICMPV6, echo6(payload, draw(ports), draw(ports), draw(st.sampled_from([128, 129])))),
        ])
    )
    chain = draw(st.lists(extensions, max_size=3))
    if draw(st.booleans()):
        chain.insert(0, (HOP_BY_HOP, draw(option_headers)))
    if draw(st.booleans()):
        chain.append((FRAGMENT, fragment(0, more=False)))
    return ipv6(
        transport,
        protocol,
        source=draw(globals_),
        destination=draw(globals_),
        hop_limit=draw(st.integers(0, 255)),
        traffic_class=draw(st.integers(0, 255)),
        label=draw(st.integers(0, 2**20 - 1)),
        chain=tuple(chain),
    )


# -- against dpkt and the twin -----------------------------------------------------------------------------------------


@given(packets(), st.integers(0, 18))
def test_dpkt_reads_the_same_from_a_good_packet(packet: bytes, padding: int) -> None:
    assert status_of(packet) == "ok"
    _, fields = parse(ethernet(packet, 0x86DD) + bytes(padding))
    read = dpkt.ip6.IP6(packet)
    assert (fields["source"], fields["destination"]) == (read.src, read.dst)
    assert (fields["ttl"], fields["tos"]) == (read.hlim, read.fc)
    assert fields["l3"] == packet
    assert not fields["fragment"]
    transport = read.data
    assert fields["protocol"] == {dpkt.tcp.TCP: 6, dpkt.udp.UDP: 17, dpkt.icmp6.ICMP6: 58}[type(transport)]
    assert fields["l4"] == packet[fields["header_bytes"] :]
    if fields["protocol"] == ICMPV6:
        assert (fields["type"], fields["source_port"], fields["destination_port"]) == (
            transport.type,
            transport.data.id,
            transport.data.seq,
        )
    else:
        assert (fields["source_port"], fields["destination_port"]) == (transport.sport, transport.dport)
        assert fields["payload"] == transport.data


@given(packets(), st.integers(0, 200))
def test_every_truncation_is_judged_as_by_the_twin(packet: bytes, length: int) -> None:
    status_of(packet[:length])


@settings(max_examples=400)
@given(packets(), st.lists(st.tuples(st.integers(0, 120), st.integers(1, 255)), min_size=1, max_size=3))
def test_every_mutation_is_judged_as_by_the_twin(packet: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(packet)
    for at, flip in changes:
        damaged[at % len(packet)] ^= flip
    status_of(bytes(damaged))


@given(st.binary(max_size=200), st.sampled_from([HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, NONE, TCP, UDP, ICMPV6, 50]))
def test_noise_behind_a_header_is_judged_as_by_the_twin(noise: bytes, first: int) -> None:
    packet = bytes([0x60, 0, 0, 0]) + len(noise).to_bytes(2) + bytes([first, 64]) + GUEST6 + HOST6 + noise
    status_of(packet)


# -- one rule at a time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("::", "ok"),  # duplicate address detection; what else may send from it, core/input knows
        ("::1", "ipv6.bad_source"),
        ("::10.0.2.15", "ipv6.bad_source"),
        ("::ffff:10.0.2.15", "ipv6.bad_source"),  # an IPv4 address to the engine's tables
        ("::fffe:10.0.2.15", "ok"),
        ("ff02::1", "ipv6.bad_source"),
        ("fe80::15", "ok"),
        ("fec0::15", "ok"),
    ],
)
def test_sources(source: str, status: str) -> None:
    assert status_of(ipv6(udp6(b"x"), UDP, source=IPv6Address(source).packed)) == status


@pytest.mark.parametrize(
    ("destination", "status"),
    [
        ("::", "ipv6.bad_destination"),
        ("::1", "ipv6.bad_destination"),
        ("::127.0.0.1", "ipv6.bad_destination"),
        ("::ffff:127.0.0.1", "ipv6.bad_destination"),
        ("64:ff9b::127.0.0.1", "ok"),
        ("ff02::1", "ok"),
        ("fec0::2", "ok"),
    ],
)
def test_destinations(destination: str, status: str) -> None:
    assert status_of(ipv6(udp6(b"x"), UDP, destination=IPv6Address(destination).packed)) == status


def chained(*chain: tuple[int, bytes], protocol: int = UDP) -> bytes:
    return ipv6(udp6(b"x"), protocol, chain=chain)


PADS = options((1, bytes(4)))
MANY = tuple((DESTINATION, PADS) for _ in range(8))


@pytest.mark.parametrize(
    ("packet", "status", "problem"),
    [
        (chained((HOP_BY_HOP, PADS), (DESTINATION, PADS), (ROUTING, routing(0)), (DESTINATION, PADS)), "ok", None),
        (chained((DESTINATION, PADS), (HOP_BY_HOP, PADS)), "ipv6.bad_extension", (1, 40)),
        (chained((ROUTING, routing(1))), "ipv6.source_route", (0, 42)),
        (chained((ROUTING, routing(1, kind=4))), "ipv6.source_route", (0, 42)),
        (chained((FRAGMENT, fragment(0, more=False)), (FRAGMENT, fragment(0, more=False))), "ipv6.bad_extension", None),
        (chained(*MANY), "ok", None),
        (chained(*MANY, (DESTINATION, PADS)), "ipv6.bad_extension", None),
        (chained((DESTINATION, options((1, bytes(250)), (1, bytes(200))))), "ok", None),
        (chained((DESTINATION, options((1, bytes(250)), (1, bytes(250))))), "ipv6.bad_extension", None),
        (chained((HOP_BY_HOP, options((5, b"\0\0")))), "ok", None),  # router alert
        (chained((HOP_BY_HOP, options((0x1E, b"x")))), "ok", None),
        (chained((HOP_BY_HOP, options((0x5E, b"x")))), "ipv6.bad_option", None),
        (chained((HOP_BY_HOP, options((0x9E, b"x")))), "ipv6.bad_option", (2, 42)),
        (chained((HOP_BY_HOP, options((0xDE, b"x")))), "ipv6.bad_option", (2, 42)),
        (chained((HOP_BY_HOP, options((0xC2, b"\0\1\0\0")))), "ipv6.bad_option", (2, 42)),  # a jumbogram
        (chained((DESTINATION, b"\0\1\7" + bytes(4))), "ipv6.bad_extension", None),  # an option past its header
        (chained((DESTINATION, b"\0" + bytes(5) + b"\1")), "ipv6.bad_extension", None),
        (chained(protocol=NONE), "ipv6.unknown_header", None),
        (chained(protocol=1), "ipv6.unknown_header", (1, 6)),  # ICMP is IPv4's
        (chained(protocol=50), "ipv6.unknown_header", (1, 6)),
        (chained((HOP_BY_HOP, PADS), (DESTINATION, PADS), protocol=47), "ipv6.unknown_header", (1, 48)),
    ],
)
def test_chains(packet: bytes, status: str, problem: tuple[int, int] | None) -> None:
    assert (status_of(packet), problem_of(packet)) == (status, problem)


def test_an_option_is_not_reported_to_a_group_unless_it_says_so() -> None:
    group = IPv6Address("ff02::1").packed
    for kind, problem in ((0x9E, (2, 42)), (0xDE, None)):
        packet = ipv6(udp6(b"x"), UDP, destination=group, chain=((HOP_BY_HOP, options((kind, b"x"))),))
        assert (status_of(packet), problem_of(packet)) == ("ipv6.bad_option", problem)


def test_a_udp_checksum_is_not_optional() -> None:
    """RFC 8200 section 8.1."""
    packet = bytearray(ipv6(udp6(b"x"), UDP))
    packet[46:48] = b"\0\0"
    assert status_of(bytes(packet)) == "udp.bad_checksum"
    assert parse(ethernet(bytes(packet), 0x86DD), checksum_good=True)[0] == "ok"


def test_an_icmp_message_has_a_pseudo_header_and_eight_bytes() -> None:
    """CVE-2020-10756: libslirp answered an echo shorter than its header with what lay behind it."""
    assert status_of(ipv6(echo6(b"")[:7], ICMPV6)) == "icmp.short"
    moved = ipv6(echo6(b"x"), ICMPV6)
    assert status_of(moved[:39] + bytes([moved[39] ^ 1]) + moved[40:]) == "icmp.bad_checksum"


def test_what_is_behind_the_payload_length_is_padding() -> None:
    packet = ipv6(udp6(b"ok"), UDP)
    status, fields = parse(ethernet(packet + b"secret", 0x86DD))
    assert (status, fields["payload"], fields["l3"]) == ("ok", b"ok", packet)


# -- fragments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "more", "fragmented"), [(0, False, False), (0, True, True), (8, False, True), (65528, True, True)]
)
def test_fragments(offset: int, more: bool, fragmented: bool) -> None:
    packet = ipv6(udp6(bytes(16)), UDP, chain=((HOP_BY_HOP, PADS), (FRAGMENT, fragment(offset, more, 0xDEADBEEF))))
    status, fields = parse(packet, from_ip=True)
    assert status == "ok" == status_of(packet)
    assert fields["fragment"] == fragmented
    assert (fields["fragment_offset"], fields["more_fragments"]) == (offset, more)
    assert (fields["identification"], fields["header_bytes"], fields["protocol"]) == (0xDEADBEEF, 56, UDP)
    if fragmented:
        assert name_of(_parse_fragment_as_transport(packet)) == "fragment.malformed"


@pytest.mark.parametrize(
    ("protocol", "length", "status"),
    [(UDP, 8, "ok"), (UDP, 7, "ipv6.bad_extension"), (TCP, 20, "ok"), (TCP, 19, "ipv6.bad_extension"),
     (ICMPV6, 7, "ipv6.bad_extension"), (NONE, 0, "ok")],
)  # fmt: skip
def test_the_first_fragment_has_the_whole_chain(protocol: int, length: int, status: str) -> None:
    """RFC 7112: filters that look at first fragments must see what the datagram is."""
    packet = ipv6(bytes(length), protocol, chain=((FRAGMENT, fragment(0, more=True)),))
    assert status_of(packet) == status
    assert problem_of(packet) == (None if status == "ok" else (3, 0))


def test_a_chain_that_goes_on_in_the_second_fragment_is_refused() -> None:
    packet = ipv6(b"", UDP, chain=((FRAGMENT, fragment(0, more=True)), (DESTINATION, PADS[:6])))
    assert (status_of(packet), problem_of(packet)) == ("ipv6.bad_extension", (3, 0))


def test_a_whole_datagram_with_a_fragment_header_is_read_on() -> None:
    """RFC 6946: an atomic fragment."""
    status, fields = parse(ipv6(udp6(b"x"), UDP, chain=((FRAGMENT, fragment(0, more=False)),)), from_ip=True)
    assert (status, fields["payload"], fields["header_bytes"]) == ("ok", b"x", 48)
