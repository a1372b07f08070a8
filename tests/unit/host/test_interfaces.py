"""Addresses of interfaces."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from pyslirp.host.interfaces import ipv4_of_interface, ipv6_of_interface

TABLE = """\
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
20010db8000000000000000000000001 04 40 00 40     eth0
20010db8000000000000000000000002 04 40 00 82     eth0
20010db8000000000000000000000003 04 40 00 82     eth1
fe8000000000000000fc00fffe000003 05 40 20 80     eth2
00000000000000000000000000000001 01 80 10 80       lo
"""


def test_the_loopback_interface_has_its_address() -> None:
    assert ipv4_of_interface("lo") == IPv4Address("127.0.0.1")


@pytest.mark.parametrize("name", ["no-such-if", "", "a name that is far too long for one", "l\0o"])
def test_no_interface_no_address(name: str) -> None:
    assert ipv4_of_interface(name) is None


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("eth0", "2001:db8::2"),  # past one of the link alone, and one that is tentative
        ("eth1", "2001:db8::3"),
        ("eth2", None),
        ("lo", "::1"),
        ("eth9", None),
    ],
)
def test_an_ipv6_address_that_is_good_for_more_than_its_link(tmp_path: Path, name: str, address: str | None) -> None:
    table = tmp_path / "if_inet6"
    table.write_text(TABLE)
    assert ipv6_of_interface(name, str(table)) == (None if address is None else IPv6Address(address))


def test_a_kernel_without_ipv6(tmp_path: Path) -> None:
    assert ipv6_of_interface("lo", str(tmp_path / "none")) is None
