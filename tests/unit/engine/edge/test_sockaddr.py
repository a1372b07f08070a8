from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import pack
from pyslirp.engine.edge.sockaddr import _get, _put

V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
PORT = st.integers(0, 65535)


def v4(address: IPv4Address, port: int) -> bytes:
    """struct sockaddr_in (ip(7))."""
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, address.packed)


def v6(raw: bytes, port: int) -> bytes:
    """struct sockaddr_in6 (ipv6(7))."""
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", port, 0, raw, 0)


@given(V4, PORT)
def test_ipv4_there_and_back(address: IPv4Address, port: int) -> None:
    raw = _put(pack(address), port, False)
    assert raw == v4(address, port)
    assert _get(raw) == (pack(address), port)


@given(V6, PORT)
def test_ipv6_there_and_back(address: IPv6Address, port: int) -> None:
    raw = _put(pack(address), port, True)
    assert raw == v6(address.packed, port)
    assert _get(raw) == (pack(address), port)


@given(V4, PORT)
def test_an_ipv6_socket_takes_ipv4_in_its_mapped_form(address: IPv4Address, port: int) -> None:
    raw = _put(pack(address), port, True)
    assert raw == v6(pack(address), port)
    assert _get(raw) == (pack(address), port)


@given(st.binary(max_size=28))
def test_other_families_have_no_address(raw: bytes) -> None:
    family = struct.unpack("=H", raw[:2].ljust(2, b"\0"))[0]
    if family not in (socket.AF_INET, socket.AF_INET6):
        assert _get(raw) is None
