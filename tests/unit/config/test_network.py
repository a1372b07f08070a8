"""The guest network by itself; what its options get wrong together is in test_conflicts.py."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.config.network import (
    NetworkConfig,
    check_id,
    check_mtu,
    check_net,
    default_host,
    guess_length,
    parse_ip,
    parse_net,
)
from pyslirp.errors import ConfigError, ConfigErrors


@pytest.mark.parametrize(
    ("text", "net"),
    [
        ("10.0.2.0/24", "10.0.2.0/24"),
        ("10.0.2.77/24", "10.0.2.0/24"),
        ("192.168.76.0/255.255.255.0", "192.168.76.0/24"),
        ("10.1.2.3/255.0.0.0", "10.0.0.0/8"),
        ("10.0.2.0/ 24", "10.0.2.0/24"),  # strtol skips white space
        ("10.0.2.0/+24", "10.0.2.0/24"),
        ("10.2/16", "10.0.0.0/16"),
        ("0x0a000200/24", "10.0.2.0/24"),
        ("16.0.0.0/4", "16.0.0.0/4"),
        ("10.0.2.5/32", "10.0.2.5/32"),
        # without a mask
        ("10.5.0.0", "10.0.0.0/8"),
        ("172.16.9.9", "172.16.0.0/12"),
        ("172.32.0.0", "172.32.0.0/16"),
        ("128.1.0.0", "128.1.0.0/16"),
        ("192.168.76.1", "192.168.0.0/16"),
        ("198.18.1.1", "198.18.0.0/15"),
        ("198.19.1.1", "198.19.1.0/28"),
        ("192.0.2.5", "192.0.2.0/28"),
        ("240.1.2.3", "240.1.2.0/24"),
    ],
)
def test_parse_net(text: str, net: str) -> None:
    assert parse_net(text) == IPv4Network(net)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Failed to parse netmask"),
        ("x", "Failed to parse netmask"),
        ("x/24", "Failed to parse netmask"),
        ("10.0.2.0.0/24", "Failed to parse netmask"),
        ("fec0::/64", "Failed to parse netmask"),
        ("10.0.2.0/", "Invalid netmask provided (must be in range 4-32)"),
        ("10.0.2.0/3", "Invalid netmask provided (must be in range 4-32)"),
        ("10.0.2.0/33", "Invalid netmask provided (must be in range 4-32)"),
        ("10.0.2.0/-1", "Invalid netmask provided (must be in range 4-32)"),
        ("10.0.2.0/0.0.0.0", "Invalid netmask provided (must be in range 4-32)"),
        ("10.0.2.0/24x", "Failed to parse netmask (trailing chars)"),
        ("10.0.2.0/24/24", "Failed to parse netmask (trailing chars)"),
        ("10.0.2.0/x", "Failed to parse netmask (trailing chars)"),
        ("10.0.2.0/255.0.255.0", "Failed to parse netmask (the ones of a mask must have no hole)"),
    ],
)
def test_parse_net_refuses_in_qemus_words(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_net(text)
    assert str(caught.value) == f"net={text}: {reason}"


@given(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(4, 32))
def test_parse_net_reads_back_what_a_network_prints(address: IPv4Address, length: int) -> None:
    net = IPv4Network((address, length), strict=False)
    assert parse_net(str(net)) == net
    assert parse_net(f"{address}/{net.netmask}") == net


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_every_address_has_a_guessed_mask_of_qemus(address: IPv4Address) -> None:
    assert guess_length(address) in {8, 12, 15, 16, 24, 28}


def test_parse_ip_is_a_24() -> None:
    assert parse_ip("192.168.5.9") == IPv4Network("192.168.5.0/24")
    with pytest.raises(ConfigError, match=r"^ip=x: Failed to parse netmask \(use net=ADDR/LENGTH\)$"):
        parse_ip("x")
    with pytest.raises(ConfigError, match=r"^ip=10\.0\.2\.0/24: Failed to parse netmask \(trailing chars\) \(use "):
        parse_ip("10.0.2.0/24")


@pytest.mark.parametrize(
    ("net", "host"),
    [
        ("10.0.2.0/24", "10.0.2.2"),
        ("10.0.0.0/16", "10.0.2.2"),
        ("10.0.0.0/8", "10.0.2.2"),
        ("10.0.9.16/28", "10.0.9.18"),
        ("10.0.2.0/31", "10.0.2.0"),
    ],
)
def test_default_host_follows_the_net(net: str, host: str) -> None:
    assert default_host(IPv4Network(net)) == IPv4Address(host)


@pytest.mark.parametrize(
    "net", ["0.0.0.0/8", "0.1.0.0/16", "127.0.0.0/8", "127.9.0.0/24", "224.0.0.0/4", "239.1.1.0/24"]
)
def test_no_guest_lives_in_reserved_nets(net: str) -> None:
    with pytest.raises(ConfigError, match=f"^net={net}: no guest can have an address of {net}$"):
        check_net(IPv4Network(net))


def test_check_net_bounds_what_was_not_text() -> None:
    with pytest.raises(ConfigError, match=r"must be in range 4-32"):
        check_net(IPv4Network("0.0.0.0/0"))


@pytest.mark.parametrize("name", ["n", "net0", "a-b.c_9"])
def test_identifiers(name: str) -> None:
    check_id(name)


@pytest.mark.parametrize("name", ["", "1n", "-n", "#net012", "a b", "a\n", "ä"])
def test_identifiers_refused_in_qemus_words(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_id(name)
    assert str(caught.value) == (
        f"id={name}: Parameter 'id' expects an identifier "
        "(Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.)"
    )


def test_mtu_range() -> None:
    for mtu in (None, 68, 1500, 65521):
        check_mtu(mtu)
    for mtu in (0, 67, 65522):
        with pytest.raises(ConfigError, match=rf"^mtu={mtu}: Parameter 'mtu' expects a number from 68 to 65521 \("):
            check_mtu(mtu)


def test_a_section_refuses_at_construction_everything_at_once() -> None:
    with pytest.raises(ConfigErrors) as caught:
        NetworkConfig(net=IPv4Network("0.0.0.0/0"), prefix6=IPv6Network("fec0::/127"), mtu=1, id="")
    assert [error.option for error in caught.value.errors] == ["net", "ipv6-net", "mtu", "id"]


def test_the_network_holds_addresses_of_the_families_that_are_spoken() -> None:
    both = NetworkConfig(ipv6=True)
    assert all(both.holds(ip_address(text)) for text in ("10.0.2.15", "fec0::15"))
    assert not any(both.holds(ip_address(text)) for text in ("10.0.3.15", "fec0:0:0:1::15"))
    assert not NetworkConfig(ipv6=False).holds(ip_address("fec0::15"))
    assert not NetworkConfig(ipv4=False, ipv6=True).holds(ip_address("10.0.2.15"))
    assert both.nets == "10.0.2.0/24 and fec0::/64"
    assert NetworkConfig(ipv4=False, ipv6=True).nets == "fec0::/64"


def test_each_family_has_its_gateway() -> None:
    assert [str(NetworkConfig().gateway(version)) for version in (4, 6)] == ["10.0.2.2", "fec0::2"]
