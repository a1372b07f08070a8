"""Errors to the guest: what an errno is, what is quoted, how many are sent."""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv6Address

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import pack
from pyslirp.engine.protocols.icmp import _code_of_errno, _from_v6, _Limit, _quote, _to_v6
from tests.oracle.checksum import is_good

SECOND = 1_000_000_000
RATE = 200
GUEST, FAR = IPv4Address("10.0.2.15"), IPv4Address("93.184.216.34")
GUEST6, FAR6 = IPv6Address("fec0::15"), IPv6Address("2001:db8::1")
NET, HOST, PROTOCOL, PORT, TOO_BIG, PROHIBITED = 0, 1, 2, 3, 4, 13


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errno.ECONNREFUSED, PORT),
        (errno.EHOSTUNREACH, HOST),
        (errno.EHOSTDOWN, HOST),
        (errno.ENETUNREACH, NET),
        (errno.ENETDOWN, NET),
        (errno.EACCES, PROHIBITED),
        (errno.EPERM, PROHIBITED),
        (errno.ENOPROTOOPT, PROTOCOL),
        (errno.EMSGSIZE, TOO_BIG),
        (errno.EINVAL, NET),
        (0, NET),
        (-1, NET),
    ],
)
def test_every_errno_is_something_to_a_guest(error: int, code: int) -> None:
    assert _code_of_errno(error) == code


@given(
    st.sampled_from([6, 17]),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(0, 255),
    st.integers(8, 65515),
    st.integers(1, 2**32 - 1),
)
def test_a_quote_is_the_packet_as_the_guest_knows_it(
    protocol: int, source: int, port: int, ttl: int, length: int, word: int
) -> None:
    raw = _quote((protocol, pack(GUEST), source, pack(FAR), port), ttl, length, word)
    packet = dpkt.ip.IP(raw)
    assert (packet.src, packet.dst, packet.p, packet.ttl, packet.len) == (
        GUEST.packed,
        FAR.packed,
        protocol,
        ttl,
        20 + length,
    )
    assert is_good(raw[:20])
    assert raw[20:] == source.to_bytes(2) + port.to_bytes(2) + word.to_bytes(4)


def test_a_quoted_echo_request_is_one() -> None:
    raw = _quote((1, pack(GUEST), 7, pack(FAR), 0), 64, 64, 0x00070002, b"as it was", 100)
    message = dpkt.icmp.ICMP(raw[20:])
    assert (message.type, message.code, message.data.id, message.data.seq) == (8, 0, 7, 2)
    assert message.data.data == b"as it was"


@given(st.sampled_from([GUEST, GUEST6]), st.sampled_from([1, 6, 17]), st.binary(max_size=600), st.integers(48, 700))
def test_as_much_is_quoted_as_there_is_and_as_fits(
    guest: IPv4Address | IPv6Address, protocol: int, rest: bytes, room: int
) -> None:
    """RFC 1812 4.3.2.3, RFC 4443 section 2.4."""
    header = 20 if guest.version == 4 else 40
    far = FAR if guest.version == 4 else FAR6
    raw = _quote((protocol, pack(guest), 5000, pack(far), 53), 3, 8 + len(rest), 7, rest, room)
    assert len(raw) == min(header + 8 + len(rest), room)
    assert raw[header + 8 :] == rest[: len(raw) - header - 8]


@given(st.sampled_from([GUEST, GUEST6]), st.binary(max_size=600))
def test_a_quoted_datagram_is_as_the_guest_has_sent_it(guest: IPv4Address | IPv6Address, data: bytes) -> None:
    """Length and checksum are made again, from all of it, before it is cut."""
    far = FAR if guest.version == 4 else FAR6
    raw = _quote((17, pack(guest), 5000, pack(far), 53), 3, 8 + len(data), 0, data, 2048)
    header = 20 if guest.version == 4 else 40
    assert raw[header : header + 6] == struct.pack("!HHH", 5000, 53, 8 + len(data))
    pseudo = guest.packed + far.packed + struct.pack("!II", 8 + len(data), 17)
    assert is_good(pseudo + raw[header:])
    for room in (48, header + 8 + len(data) // 2):
        if room >= 48:
            assert _quote((17, pack(guest), 5000, pack(far), 53), 3, 8 + len(data), 0, data, room) == raw[:room]


@pytest.mark.parametrize(
    ("v4", "v6"),
    [
        ((3, 0), (1, 0)),  # no route to destination
        ((3, 13), (1, 1)),  # administratively prohibited
        ((3, 8), (1, 2)),  # beyond the scope of the source address
        ((3, 1), (1, 3)),  # address unreachable
        ((3, 3), (1, 4)),  # port unreachable
        ((3, 10), (1, 5)),  # failed ingress or egress policy
        ((3, 9), (1, 6)),  # reject route
        ((3, 4), (2, 0)),  # packet too big
        ((11, 0), (3, 0)),  # time exceeded on the way
        ((11, 1), (3, 1)),  # in reassembly
        ((3, 2), (4, 1)),  # unrecognized next header
    ],
)
def test_errors_in_the_words_of_the_other_family(v4: tuple[int, int], v6: tuple[int, int]) -> None:
    """RFC 4443 section 3; there and back nothing is lost (libslirp's ICMPv6 errors bore ICMP's types)."""
    assert _to_v6(*v4) == v6
    assert _from_v6(*v6) == v4


@given(st.integers(0, 255), st.integers(0, 255))
def test_what_is_no_error_there_is_none_here(kind: int, code: int) -> None:
    assert (_to_v6(kind, code) is None) == (kind not in (3, 11))
    assert (_from_v6(kind, code) is None) == (kind not in (1, 2, 3) and (kind, code) != (4, 1))


@pytest.mark.parametrize(("protocol", "number"), [(6, 6), (17, 17), (1, 58)])
def test_a_quote_of_ipv6(protocol: int, number: int) -> None:
    guest, far = IPv6Address("fec0::15"), IPv6Address("2001:db8::1")
    raw = _quote((protocol, pack(guest), 5000, pack(far), 53), 3, 1000, 0x00070002)
    packet = dpkt.ip6.IP6(raw)
    assert (packet.src, packet.dst, packet.nxt, packet.hlim, packet.plen) == (guest.packed, far.packed, number, 3, 1000)
    assert len(raw) == 48
    ports = b"\x13\x88\x00\x35" if protocol != 1 else b"\x80\0\0\0"
    assert raw[40:] == ports + b"\x00\x07\x00\x02"


@pytest.mark.parametrize("start", [0, 1, SECOND - 1, 10**18])
def test_so_many_a_second(start: int) -> None:
    limit = _Limit()
    assert [limit.allowed(start) for _ in range(RATE + 5)] == [True] * RATE + [False] * 5
    begun = start if start >= SECOND else 0
    assert not limit.allowed(begun + SECOND - 1)
    assert [limit.allowed(begun + SECOND) for _ in range(RATE + 5)] == [True] * RATE + [False] * 5
    assert limit.allowed(begun + 100 * SECOND)
