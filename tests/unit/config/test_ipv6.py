"""The guests' IPv6 prefix: the words are what QEMU 7.2 was seen to say."""

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.config.ipv6 import (
    DNS_LINK_LOCAL,
    LINK_LOCAL,
    ROUTER_LINK_LOCAL,
    check_length,
    check_prefix,
    default_dns,
    default_host,
    ipv6_address,
    network,
    parse_address,
    parse_prefix,
)
from pyslirp.errors import ConfigError

WRONG_LENGTH = "Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and 126)"


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("fec0::/64", "fec0::/64"),
        ("fd00::", "fd00::/64"),
        ("fd00::/0", "fd00::/64"),
        ("fd00::5/48", "fd00::/48"),
        ("fd00::/126", "fd00::/126"),
        ("fd00::/ +56", "fd00::/56"),  # strtol skips white space
        ("2001:DB8:0:1::/64", "2001:db8:0:1::/64"),
    ],
)
def test_parse_prefix(text: str, prefix: str) -> None:
    assert parse_prefix(text) == IPv6Network(prefix)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Parameter 'ipv6-net' expects a valid IPv6 prefix"),
        ("x", "Failed to parse IPv6 prefix"),
        ("/64", "Failed to parse IPv6 prefix"),
        ("10.0.2.0/24", "Failed to parse IPv6 prefix"),
        ("fe80::1%eth0/64", "Failed to parse IPv6 prefix"),
        ("fd00::/", "Parameter 'ipv6-prefixlen' expects a number"),
        ("fd00::/x", "Parameter 'ipv6-prefixlen' expects a number"),
        ("fd00::/0x40", "Parameter 'ipv6-prefixlen' expects a number"),
        ("fd00::/64/7", "Parameter 'ipv6-prefixlen' expects a number"),
        ("fd00::/99999999999999999999", "Parameter 'ipv6-prefixlen' expects a number"),
        ("fd00::/127", WRONG_LENGTH),
        ("fd00::/-1", WRONG_LENGTH),
    ],
)
def test_parse_prefix_refuses_in_qemus_words(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_prefix(text)
    assert str(caught.value) == f"ipv6-net={text}: {reason}"


@given(st.integers(0, 2**128 - 1).map(IPv6Address), st.integers(1, 126))
def test_parse_prefix_reads_back_what_a_network_prints(address: IPv6Address, length: int) -> None:
    prefix = network(address, length)
    assert parse_prefix(str(prefix)) == prefix
    assert parse_prefix(f"{address}/{length}") == prefix


def test_addresses_have_no_zone() -> None:
    assert parse_address("fec0::9") == IPv6Address("fec0::9")
    for text in ("", "x", "fe80::1%eth0", "10.0.2.2", "[fec0::9]"):
        with pytest.raises(ConfigError) as caught:
            ipv6_address("ipv6-host", "Failed to parse IPv6 host")(text)
        assert str(caught.value) == f"ipv6-host={text}: Failed to parse IPv6 host"


def test_length_range() -> None:
    for length in (0, 64, 126):
        check_length(length)
    for length in (-1, 127):
        with pytest.raises(ConfigError) as caught:
            check_length(length)
        assert str(caught.value) == f"ipv6-prefixlen={length}: {WRONG_LENGTH}"


@pytest.mark.parametrize(
    ("prefix", "reserved"),
    [
        ("::/1", "::/96"),
        ("::/64", "::/96"),
        ("::ffff:a00:200/120", "::ffff:0:0/96"),
        ("fe80::/64", "fe80::/10"),
        ("ff02::/64", "ff00::/8"),
    ],
)
def test_no_guest_lives_in_reserved_prefixes(prefix: str, reserved: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_prefix(IPv6Network(prefix))
    assert str(caught.value) == f"ipv6-net={prefix}: no guest can have an address of {reserved}"


def test_check_prefix_bounds_what_was_not_text() -> None:
    check_prefix(IPv6Network("fec0::/64"))
    with pytest.raises(ConfigError, match="must be between 0 and 126"):
        check_prefix(IPv6Network("fec0::/128"))


@pytest.mark.parametrize("prefix", ["fec0::/64", "fd00::/48", "fd00::4/126"])
def test_defaults_follow_the_prefix(prefix: str) -> None:
    net = IPv6Network(prefix)
    assert default_host(net) == net.network_address + 2
    assert default_dns(net) == net.network_address + 3


def test_the_link_local_addresses_are_libslirps() -> None:
    assert [str(ROUTER_LINK_LOCAL), str(DNS_LINK_LOCAL)] == ["fe80::2", "fe80::3"]
    assert ROUTER_LINK_LOCAL in LINK_LOCAL
