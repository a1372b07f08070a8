"""Every kind of client, and what a guest sees of it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import pack
from pyslirp.nat.clients import Clients

NET, GATEWAY = IPv4Network("10.0.2.0/24"), IPv4Address("10.0.2.2")


def shown(client: str) -> bytes:
    return Clients(NET, GATEWAY).shown_as(pack(ip_address(client)))


@pytest.mark.parametrize("client", ["192.0.2.1", "10.0.3.1", "10.0.1.255", "8.8.8.8", "169.254.1.1", "172.16.0.9"])
def test_a_client_from_elsewhere_is_itself(client: str) -> None:
    assert shown(client) == pack(ip_address(client))


@pytest.mark.parametrize(
    "client",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.2.0", "10.0.2.15", "10.0.2.255", "::1", "2001:db8::1", "fe80::1", "::"],
)
def test_a_client_that_the_guest_could_not_answer_is_the_gateway(client: str) -> None:
    assert shown(client) == pack(GATEWAY)


@given(st.ip_addresses(v=4), st.integers(4, 32), st.ip_addresses(v=4))
def test_no_client_is_shown_inside_the_net(network: IPv4Address, prefix: int, client: IPv4Address) -> None:
    net = IPv4Network((network, prefix), strict=False)
    gateway = net.network_address
    expected = gateway if client in net or client.is_loopback or client.packed[0] == 0 else client
    assert Clients(net, gateway).shown_as(pack(client)) == pack(expected)
