from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp import addresses
from pyslirp.engine.stores.leaves import _addr_eq, _addr_from4, _addr_from6, _addr_is4, _mac_is_group, _ns_never

packed = st.one_of(st.ip_addresses(v=4).map(addresses.pack), st.binary(min_size=16, max_size=16))


@given(st.ip_addresses(v=4))
def test_the_engine_and_python_pack_ipv4_alike(address: IPv4Address) -> None:
    assert _addr_from4(address.packed) == addresses.pack(address)
    assert _addr_is4(addresses.pack(address))


@given(st.ip_addresses(v=6))
def test_ipv6_stays_as_it_is(address: IPv6Address) -> None:
    assert _addr_from6(address.packed) == address.packed
    assert _addr_is4(address.packed) == (address.ipv4_mapped is not None)


@given(packed, packed)
def test_equality_is_that_of_all_bytes(one: bytes, other: bytes) -> None:
    assert _addr_eq(one, one)
    assert _addr_eq(one, other) == (one == other)


@pytest.mark.parametrize("at", range(16))
def test_one_bit_makes_another_address(at: int) -> None:
    one = bytes(16)
    assert not _addr_eq(one, one[:at] + b"\x01" + one[at + 1 :])


@pytest.mark.parametrize(
    ("mac", "group"),
    [
        ("ffffffffffff", True),
        ("01005e000001", True),
        ("333300000001", True),
        ("525400123456", False),
        ("000000000000", False),
    ],
)
def test_group_addresses(mac: str, group: bool) -> None:
    assert _mac_is_group(bytes.fromhex(mac)) == group


def test_never_is_later_than_any_time() -> None:
    assert _ns_never() == 2**63 - 1
