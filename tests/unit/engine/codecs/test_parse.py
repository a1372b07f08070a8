from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyslirp import addresses
from pyslirp.engine.codecs.parse import _parse, _parse_fragment_as_transport
from tests.oracle import headers
from tests.oracle.headers import HOST, echo, ethernet, ipv4, tcp, udp, with_checksum
from tests.oracle.headers_ipv6 import ipv6, udp6
from tests.oracle.status import name_of

ports = st.integers(1, 65535)
words = st.integers(0, 2**32 - 1)
option_bytes = st.integers(0, 10).flatmap(lambda count: st.binary(min_size=4 * count, max_size=4 * count))
# Without length and without the kinds that are refused: NOPs, then the end, then anything.
ip_options = option_bytes.map(lambda raw: (b"\x01\x01\x01\x00" + raw)[: len(raw)])
payloads = st.binary(max_size=100)
sources = st.integers(1 << 24, (127 << 24) - 1).map(lambda number: IPv4Address(number).packed)
shorts = st.integers(0, 65535)
octets = st.integers(0, 255)
ip_fields = st.fixed_dictionaries({"id": shorts, "ttl": octets, "tos": octets, "df": st.integers(0, 1)})
tcp_fields = st.fixed_dictionaries({"seq": words, "ack": words, "flags": octets, "win": shorts, "urp": shorts})


def parse(frame: bytes, **options: bool) -> tuple[str, dict[str, Any]]:
    status, fields = _parse(frame, **options)
    return name_of(status), fields


def status_of(frame: bytes) -> str:
    return parse(frame)[0]


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Good frames of every protocol, with options, and padding behind."""
    payload = draw(payloads)
    protocol, transport = draw(st.sampled_from([
        (17, udp(payload, draw(ports), draw(ports))),
        (6, tcp(payload, draw(ports), draw(ports), draw(option_bytes), **draw(tcp_fields))),
        (1, echo(payload, draw(ports), draw(ports), draw(st.sampled_from([0, 8])))),
    ]))
    packet = ipv4(transport, protocol, source=draw(sources), destination=draw(sources), options=draw(ip_options),
                  **draw(ip_fields))
    return ethernet(packet) + bytes(draw(st.integers(0, 18)))


# -- against dpkt and the twin -----------------------------------------------------------------------------------------

@given(frames())
def test_dpkt_reads_the_same_from_a_good_frame(frame: bytes) -> None:
    status, fields = parse(frame)
    assert status == "ok" == headers.verdict(frame)
    read = dpkt.ethernet.Ethernet(frame)
    packet = read.data
    assert (fields["destination_mac"], fields["source_mac"], fields["ethertype"]) == (read.dst, read.src, read.type)
    assert fields["source"] == addresses.pack(IPv4Address(packet.src))
    assert fields["destination"] == addresses.pack(IPv4Address(packet.dst))
    assert (fields["ttl"], fields["tos"], fields["protocol"], fields["identification"]) == (
        packet.ttl, packet.tos, packet.p, packet.id)
    assert (fields["header_bytes"], fields["dont_fragment"]) == (packet.hl * 4, bool(packet.df))
    assert not fields["fragment"]
    assert fields["l3"] == frame[14 : 14 + packet.len]
    assert fields["l4"] == frame[14 + packet.hl * 4 : 14 + packet.len]
    check_transport(fields, packet.data)


def check_transport(fields: dict[str, Any], transport: dpkt.Packet) -> None:
    if isinstance(transport, dpkt.icmp.ICMP):
        assert (fields["type"], fields["code"]) == (transport.type, transport.code)
        assert (fields["source_port"], fields["destination_port"]) == (transport.data.id, transport.data.seq)
        assert fields["payload"] == transport.data.data
        return
    assert (fields["source_port"], fields["destination_port"]) == (transport.sport, transport.dport)
    assert fields["payload"] == transport.data
    if isinstance(transport, dpkt.tcp.TCP):
        assert (fields["seq"], fields["ack"], fields["flags"]) == (transport.seq, transport.ack, transport.flags % 256)
        assert (fields["window"], fields["urgent"]) == (transport.win, transport.urp)
        assert fields["options"] == transport.opts


@given(frames(), st.integers(0, 200))
def test_every_truncation_is_judged_as_by_the_twin(frame: bytes, length: int) -> None:
    assert status_of(frame[:length]) == headers.verdict(frame[:length])


@settings(max_examples=400)
@given(frames(), st.lists(st.tuples(st.integers(0, 90), st.integers(1, 255)), min_size=1, max_size=3), st.booleans())
def test_every_mutation_is_judged_as_by_the_twin(frame: bytes, changes: list[tuple[int, int]], mend: bool) -> None:
    """With `mend` the IPv4 checksum is made good again, so that the mutation reaches what lies behind it."""
    damaged = bytearray(frame)
    for at, flip in changes:
        damaged[at % len(frame)] ^= flip
    header_bytes = damaged[14] % 16 * 4
    if mend and 20 <= header_bytes <= len(frame) - 14:
        damaged[14 : 14 + header_bytes] = with_checksum(bytes(damaged[14 : 14 + header_bytes]))
    assert status_of(bytes(damaged)) == headers.verdict(bytes(damaged))


@given(st.binary(max_size=120), st.sampled_from([0x0800, 0x0806, 0x86DD, 0x9000]))
def test_noise_is_judged_as_by_the_twin(noise: bytes, ethertype: int) -> None:
    for frame in (noise, ethernet(noise, ethertype), ethernet(b"\x45" + noise)):
        assert status_of(frame) == headers.verdict(frame)


@given(st.binary(min_size=4, max_size=40).map(lambda raw: raw[: len(raw) // 4 * 4]))
def test_any_options_are_judged_as_by_the_twin(options: bytes) -> None:
    frame = ethernet(ipv4(udp(b"x"), 17, options=options))
    assert status_of(frame) == headers.verdict(frame)


# -- one rule at a time ------------------------------------------------------------------------------------------------

def with_byte(frame: bytes, at: int, value: int) -> bytes:
    return frame[:at] + bytes([value]) + frame[at + 1 :]


def ip_with(at: int, value: bytes, **fields: Any) -> bytes:
    """A frame whose IPv4 header has `value` at `at`, and a checksum that fits."""
    packet = ipv4(udp(b"payload"), 17, **fields)
    header = with_checksum(packet[:at] + value + packet[at + len(value) : 20])
    return ethernet(header + packet[20:])


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (b"", "eth.short"),
        (bytes(13), "eth.short"),
        (bytes(14), "eth.unknown_type"),
        (ethernet(bytes(40), 0x0806), "eth.unknown_type"),
        (ethernet(bytes(40), 0x86DD), "ipv6.bad_version"),
        (ethernet(ipv4(udp(b"x"), 17) + bytes(40), 0x86DD), "ipv6.bad_version"),
        (ethernet(ipv6(udp6(b"x"), 17)), "ipv4.bad_version"),
        (ethernet(b""), "ipv4.short"),
        (ethernet(bytes(19)), "ipv4.short"),
        (ip_with(0, b"\x65"), "ipv4.bad_version"),
        (ip_with(0, b"\x44"), "ipv4.bad_header_length"),
        (ip_with(0, b"\x4f"), "ipv4.bad_header_length"),
        (ip_with(2, b"\x00\x13"), "ipv4.bad_total_length"),
        (ip_with(2, b"\x00\x00"), "ipv4.bad_total_length"),
        (ip_with(2, b"\xff\xff"), "ipv4.bad_total_length"),
        (with_byte(ip_with(8, b"\x40"), 14 + 8, 0x41), "ipv4.bad_checksum"),
        (ip_with(9, b"\x02"), "ipv4.unknown_protocol"),
        (ip_with(9, b"\x3a"), "ipv4.unknown_protocol"),
        (ip_with(2, b"\x00\x1b"), "udp.short"),
        (ip_with(2, b"\x00\x14"), "udp.short"),
        (ip_with(2, b"\x00\x1c"), "udp.bad_length"),
        (ip_with(6, b"\x20\x00"), "ok"),
        (ip_with(6, b"\x00\x01"), "ok"),
        (ip_with(6, b"\x80\x00"), "ok"),  # the reserved bit is ignored
    ],
)
def test_refusals_up_to_ip(frame: bytes, status: str) -> None:
    assert status_of(frame) == status == headers.verdict(frame)


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("0.0.0.0", "ok"),  # a guest without a lease
        ("0.0.0.1", "ipv4.bad_source"),  # libslirp 76738578: crash on packets from 0/8
        ("0.255.255.255", "ipv4.bad_source"),
        ("1.0.0.0", "ok"),
        ("126.255.255.255", "ok"),
        ("127.0.0.1", "ipv4.bad_source"),
        ("127.255.255.255", "ipv4.bad_source"),
        ("128.0.0.0", "ok"),
        ("223.255.255.255", "ok"),
        ("224.0.0.0", "ipv4.bad_source"),
        ("239.255.255.255", "ipv4.bad_source"),
        ("240.0.0.1", "ok"),
        ("255.255.255.254", "ok"),
        ("255.255.255.255", "ipv4.bad_source"),
    ],
)
def test_sources(source: str, status: str) -> None:
    assert status_of(ethernet(ipv4(udp(b"x"), 17, source=IPv4Address(source).packed))) == status


@pytest.mark.parametrize(
    ("destination", "status"),
    [
        ("0.0.0.0", "ipv4.bad_destination"),
        ("0.1.2.3", "ipv4.bad_destination"),
        ("127.0.0.1", "ipv4.bad_destination"),
        ("10.0.2.2", "ok"),
        ("224.0.0.251", "ok"),
        ("255.255.255.255", "ok"),
    ],
)
def test_destinations(destination: str, status: str) -> None:
    assert status_of(ethernet(ipv4(udp(b"x"), 17, destination=IPv4Address(destination).packed))) == status


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ("01010101", "ok"),
        ("00ffffff", "ok"),
        ("94040000", "ok"),  # router alert
        ("07070400000000 00".replace(" ", ""), "ok"),  # record route
        ("83070400000000 00".replace(" ", ""), "ipv4.source_route"),
        ("89070400000000 00".replace(" ", ""), "ipv4.source_route"),
        ("01018303", "ipv4.source_route"),
        ("94000000", "ipv4.bad_header_length"),
        ("94010000", "ipv4.bad_header_length"),
        ("94050000", "ipv4.bad_header_length"),
        ("01010194", "ipv4.bad_header_length"),
        ("01010183", "ipv4.bad_header_length"),
        ("00830404", "ok"),  # behind the end of the options is padding
    ],
)
def test_ip_options(options: str, status: str) -> None:
    assert status_of(ethernet(ipv4(udp(b"x"), 17, options=bytes.fromhex(options)))) == status


def transport_frame(transport: bytes, protocol: int) -> bytes:
    return ethernet(ipv4(transport, protocol))


@pytest.mark.parametrize(
    ("transport", "protocol", "status"),
    [
        (bytes(7), 17, "udp.short"),
        (bytes(7), 1, "icmp.short"),
        (bytes(19), 6, "tcp.short"),
        (bytes.fromhex("1388003500070000"), 17, "udp.bad_length"),
        (bytes.fromhex("1388003500000000"), 17, "udp.bad_length"),
        (bytes.fromhex("1388003500090000"), 17, "udp.bad_length"),
        (bytes.fromhex("1388003500080000"), 17, "ok"),  # no checksum was made
        (bytes.fromhex("1388003500080001"), 17, "udp.bad_checksum"),
        (bytes.fromhex("0000003500080000"), 17, "udp.port_zero"),  # CVE-2014-3640: UDP from port 0, a NULL dereference
        (bytes.fromhex("1388000000080000"), 17, "udp.port_zero"),
        (bytes(12) + b"\x40" + bytes(7), 6, "tcp.bad_offset"),
        (bytes(12) + b"\x60" + bytes(7), 6, "tcp.bad_offset"),
        (bytes(12) + b"\x50" + bytes(7), 6, "tcp.port_zero"),
        (b"\x00\x01" + bytes(10) + b"\x50" + bytes(7), 6, "tcp.port_zero"),
        (b"\x00\x01\x00\x01" + bytes(8) + b"\x50" + bytes(7), 6, "tcp.bad_checksum"),
        (b"\x08\x00" + bytes(6), 1, "icmp.bad_checksum"),
        (b"\x08\x00\xf7\xff" + bytes(4), 1, "ok"),
    ],
)
def test_refusals_of_transport(transport: bytes, protocol: int, status: str) -> None:
    frame = transport_frame(transport, protocol)
    assert status_of(frame) == status == headers.verdict(frame)


@pytest.mark.parametrize("claimed", [9, 20, 1000, 65535])
def test_a_udp_length_beyond_the_packet_reads_nothing_behind_it(claimed: int) -> None:
    """CVE-2021-3592 to 3595: bootp, tftp and udp of libslirp read past the mbuf on the word of a length field."""
    datagram = b"\x00\x44\x00\x43" + claimed.to_bytes(2) + b"\0\0"
    assert status_of(ethernet(ipv4(datagram, 17)) + b"secret" * 200) == "udp.bad_length"


def test_padding_behind_the_datagram_is_not_payload() -> None:
    datagram = b"\x13\x88\x00\x35\x00\x0a\x00\x00" + b"ok" + b"behind the UDP length"
    status, fields = parse(ethernet(ipv4(datagram, 17)) + b"behind the IP length")
    assert status == "ok"
    assert (fields["payload"], fields["l4"]) == (b"ok", datagram[:10])


def test_a_super_frame_is_as_good_as_any() -> None:
    """CVE-2007-5729: a frame longer than the buffer that somebody had in mind."""
    payload = bytes(range(256)) * 255
    status, fields = parse(ethernet(ipv4(tcp(payload), 6)))
    assert status == "ok"
    assert fields["payload"] == payload


def test_a_link_may_vouch_for_the_transport_but_not_for_ip() -> None:
    frame = ethernet(ipv4(bytes(tcp(b"x", 1, 2)), 6))  # raw bytes: dpkt leaves the checksum zero
    assert parse(frame)[0] == "tcp.bad_checksum"
    assert parse(frame, checksum_good=True)[0] == "ok"
    assert parse(with_byte(frame, 14 + 8, 1), checksum_good=True)[0] == "ipv4.bad_checksum"


def test_only_an_echo_has_identifier_and_sequence() -> None:
    unreachable = dpkt.icmp.ICMP(type=3, code=1, data=dpkt.icmp.ICMP.Unreach(data=bytes(28)))
    status, fields = parse(ethernet(ipv4(unreachable, 1)))
    assert status == "ok"
    assert (fields["type"], fields["code"], fields["source_port"], fields["destination_port"]) == (3, 1, 0, 0)


@pytest.mark.parametrize("fields", [{"mf": 1}, {"offset": 3}, {"mf": 1, "offset": 8191}])
def test_nobody_reads_a_transport_header_in_a_fragment(fields: dict[str, Any]) -> None:
    datagram = ipv4(udp(b"x" * 16), 17, **fields)
    status, parsed = parse(datagram, from_ip=True)
    assert (status, parsed["stage"]) == ("ok", "ip")
    assert parsed["fragment"]
    assert parsed["more_fragments"] == bool(fields.get("mf"))
    assert parsed["fragment_offset"] == 8 * fields.get("offset", 0)
    assert name_of(_parse_fragment_as_transport(datagram)) == "fragment.malformed"


def test_a_datagram_is_parsed_as_a_frame_is() -> None:
    datagram = ipv4(udp(b"x"), 17, destination=HOST)
    status, fields = parse(datagram, from_ip=True)
    assert (status, fields["payload"]) == ("ok", b"x")
    assert fields["destination"] == addresses.pack(IPv4Address(HOST))
