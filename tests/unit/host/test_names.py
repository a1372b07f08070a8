"""Names of hosts."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from pyslirp.host.names import ipv4_of


def test_names() -> None:
    assert ipv4_of("192.0.2.1") == IPv4Address("192.0.2.1")
    assert ipv4_of("localhost") == IPv4Address("127.0.0.1")


@pytest.mark.parametrize("name", ["no.such.host.invalid", "::1", "a" * 70 + ".example", "\udcff"])
def test_what_has_no_ipv4_address(name: str) -> None:
    assert ipv4_of(name) is None
