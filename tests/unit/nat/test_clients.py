"""Every kind of client, and what a guest sees of it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import pack
from pyslirp.config.network import NetworkConfig
from pyslirp.nat.clients import Clients

NETWORK = NetworkConfig(ipv6=True)
GATEWAY, GATEWAY6 = pack(NETWORK.host), pack(NETWORK.host6)
GUEST, GUEST6 = pack(IPv4Address("10.0.2.15")), pack(IPv6Address("fec0::15"))


def shown(client: str, guest: bytes = GUEST) -> bytes:
    return Clients(NETWORK).shown_as(pack(ip_address(client)), guest)


@pytest.mark.parametrize("client", ["192.0.2.1", "10.0.3.1", "10.0.1.255", "8.8.8.8", "169.254.1.1", "172.16.0.9"])
def test_a_client_from_elsewhere_is_itself(client: str) -> None:
    assert shown(client) == pack(ip_address(client))


@pytest.mark.parametrize("client", ["2001:db8::1", "fec0:0:0:1::15", "fd00::1", "64:ff9b::1"])
def test_a_client_from_elsewhere_is_itself_in_ipv6(client: str) -> None:
    assert shown(client, GUEST6) == pack(ip_address(client))


@pytest.mark.parametrize(
    "client",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.2.0", "10.0.2.15", "10.0.2.255", "::1", "2001:db8::1", "fe80::1", "::"],
)
def test_a_client_that_the_guest_could_not_answer_is_the_gateway(client: str) -> None:
    assert shown(client) == GATEWAY


@pytest.mark.parametrize(
    "client", ["::1", "::", "fe80::1", "febf::1", "fec0::15", "fec0::2", "127.0.0.1", "192.0.2.1", "10.0.2.15"]
)
def test_a_client_that_the_guest_could_not_answer_is_the_gateway_in_ipv6(client: str) -> None:
    assert shown(client, GUEST6) == GATEWAY6


@given(
    st.integers(1, 223).filter(lambda first: first != 127),
    st.integers(0, 2**24 - 1),
    st.integers(8, 30),
    st.ip_addresses(v=4),
)
def test_no_client_is_shown_inside_the_net(first: int, rest: int, length: int, client: IPv4Address) -> None:
    net = IPv4Network((first << 24 | rest, length), strict=False)
    network = NetworkConfig(net=net, host=net.network_address)
    expected = network.host if client in net or client.is_loopback or client.packed[0] == 0 else client
    assert Clients(network).shown_as(pack(client), GUEST) == pack(expected)


@given(st.integers(1, 2**126 - 1), st.integers(8, 126), st.ip_addresses(v=6))
def test_no_client_is_shown_inside_the_prefix(rest: int, length: int, client: IPv6Address) -> None:
    prefix = IPv6Network((0b001 << 125 | rest >> 1, length), strict=False)
    network = NetworkConfig(ipv6=True, prefix6=prefix, host6=prefix.network_address)
    shown = Clients(network).shown_as(pack(client), GUEST6)
    near = client in prefix or client.is_link_local or int(client) < 2**32 or client.ipv4_mapped is not None
    assert shown == pack(network.host6 if near else client)
