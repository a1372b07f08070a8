from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import MAPPED_PREFIX, Address, Endpoint, Mac, pack, unpack

MAC = "52:54:00:12:34:56"


@given(st.ip_addresses(v=4))
def test_ipv4_is_packed_as_mapped(address: IPv4Address) -> None:
    assert pack(address) == IPv6Address(f"::ffff:{address}").packed
    assert unpack(pack(address)) == address


@given(st.ip_addresses(v=6))
def test_ipv6_is_packed_as_it_is(address: IPv6Address) -> None:
    assert pack(address) == address.packed
    assert unpack(address.packed) == (address.ipv4_mapped or address)


@pytest.mark.parametrize("raw", [b"", bytes(4), MAPPED_PREFIX, bytes(17)])
def test_an_engine_address_has_sixteen_bytes(raw: bytes) -> None:
    with pytest.raises(ValueError, match=f"not {len(raw)}"):
        unpack(raw)


@pytest.mark.parametrize(
    ("address", "port", "text"),
    [("10.0.2.15", 80, "10.0.2.15:80"), ("fec0::2", 53, "[fec0::2]:53"), (IPv4Address("0.0.0.0"), 0, "0.0.0.0:0")],
)
def test_an_endpoint_prints_as_people_write_it(address: str | Address, port: int, text: str) -> None:
    assert str(Endpoint.of(address, port)) == text


def test_an_endpoint_of_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="localhost"):
        Endpoint.of("localhost", 80)


@pytest.mark.parametrize("text", [MAC, MAC.replace(":", "-"), MAC.replace(":", "")])
def test_a_mac_is_read_in_every_spelling(text: str) -> None:
    assert Mac(text) == bytes.fromhex("525400123456")


@given(st.binary(min_size=6, max_size=6))
def test_a_mac_prints_and_reads_back(raw: bytes) -> None:
    assert Mac(str(Mac(raw))) == raw
    assert eval(repr(Mac(raw)), {"Mac": Mac}) == raw
    assert hash(Mac(raw)) == hash(raw)


@pytest.mark.parametrize("value", [b"", bytes(5), bytes(7), "52:54:00:12:34", "52:54:00:12:34:5x", "no mac"])
def test_what_is_no_mac_is_refused(value: bytes | str) -> None:
    with pytest.raises(ValueError, match=r"MAC|hexadecimal"):
        Mac(value)
