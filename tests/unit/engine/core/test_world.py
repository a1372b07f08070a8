"""What belongs to the network and what is ours, by the addresses alone."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import pack
from tests.unit.engine.core.guest import GATEWAY, MAC, Net, ip, mac

ADDRESSES_MAX = 64
ADDRESSES = st.integers(1 << 24, 223 << 24).map(IPv4Address)


def is_learned(net: Net, address: IPv4Address) -> bool:
    net.core.learn(pack(address), mac(1), net.now)
    return pack(address) in [n["address"] for n in net.core.neighbors()]


@given(ADDRESSES, st.integers(0, 32), st.integers(0, 31), st.booleans())
def test_the_net_is_what_its_prefix_says(base: IPv4Address, prefix: int, bit: int, near: bool) -> None:
    """A neighbour is one whose first bits are the net's, unless all the others are the same."""
    network = IPv4Network((int(base), prefix), strict=False)
    address = IPv4Address(int(base) ^ (1 << bit if near else 0))
    net = Net(net=str(network.network_address), prefix=prefix)
    hosts = address in network
    if prefix < 31:
        hosts = hosts and address not in (network.network_address, network.broadcast_address)
    if 1 <= address.packed[0] < 224 and address.packed[0] != 127:
        assert is_learned(net, address) == hosts


@pytest.mark.parametrize("address", ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255"])
def test_groups_are_nobody_even_where_all_is_the_net(address: str) -> None:
    assert not is_learned(Net(net="0.0.0.0", prefix=0), IPv4Address(address))


def test_our_own_addresses_are_no_neighbours() -> None:
    net = Net()
    assert not is_learned(net, IPv4Address(GATEWAY))
    net.core.clear_addresses()
    assert is_learned(net, IPv4Address(GATEWAY))


def test_addresses_of_our_own_are_bounded() -> None:
    net = Net()
    guest = net.guest(200)
    for number in range(10, 10 + ADDRESSES_MAX - 2):
        net.core.add_address(ip(f"10.0.2.{number}"))
    net.core.add_address(ip(GATEWAY))
    with pytest.raises(ValueError, match="64"):
        net.core.add_address(ip("10.0.2.100"))
    guest.arp(f"10.0.2.{10 + ADDRESSES_MAX - 3}")
    guest.arp("10.0.2.100")
    assert [reply.sha for reply in guest.arps()] == [MAC]


def test_a_packet_off_the_net_goes_to_the_router_only_where_there_is_one() -> None:
    for router, asked in ((None, "8.8.8.8"), ("10.0.2.1", "10.0.2.1")):
        net = Net(forwarding=False)
        if router is not None:
            net.core.set_router(ip(router))
        net.core.send_udp(ip(GATEWAY), 9, ip("8.8.8.8"), 9, b"", net.now)
        assert [n["address"] for n in net.core.neighbors()] == [ip(asked)]
