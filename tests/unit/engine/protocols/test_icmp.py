"""Errors to the guest: what an errno is, what is quoted, how many are sent."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import pack
from pyslirp.engine.protocols.icmp import _code_of_errno, _Limit, _quote
from tests.oracle.checksum import is_good

SECOND = 1_000_000_000
RATE = 200
GUEST, FAR = IPv4Address("10.0.2.15"), IPv4Address("93.184.216.34")
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
    st.integers(0, 2**32 - 1),
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
    raw = _quote((1, pack(GUEST), 7, pack(FAR), 0), 64, 64, 0x00070002)
    message = dpkt.icmp.ICMP(raw[20:])
    assert (message.type, message.code, message.data.id, message.data.seq) == (8, 0, 7, 2)


@pytest.mark.parametrize("start", [0, 1, SECOND - 1, 10**18])
def test_so_many_a_second(start: int) -> None:
    limit = _Limit()
    assert [limit.allowed(start) for _ in range(RATE + 5)] == [True] * RATE + [False] * 5
    begun = start if start >= SECOND else 0
    assert not limit.allowed(begun + SECOND - 1)
    assert [limit.allowed(begun + SECOND) for _ in range(RATE + 5)] == [True] * RATE + [False] * 5
    assert limit.allowed(begun + 100 * SECOND)
