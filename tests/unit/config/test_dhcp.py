"""What DHCP gives out, by itself."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from pyslirp.addresses import Mac
from pyslirp.config.dhcp import (
    DhcpConfig,
    StaticLease,
    check_domainname,
    check_hostname,
    default_start,
    default_start6,
    parse_hostname,
)
from pyslirp.config.network import NetworkConfig
from pyslirp.errors import ConfigError, ConfigErrors

LEASE6 = StaticLease(Mac("52:54:00:12:34:56"), IPv6Address("fec0::50"))
LEASE = StaticLease(Mac("52:54:00:12:34:56"), IPv4Address("10.0.2.50"))


@pytest.mark.parametrize(
    ("net", "start"),
    [
        ("10.0.2.0/24", "10.0.2.15"),
        ("10.0.0.0/8", "10.0.2.15"),
        ("10.0.2.32/27", "10.0.2.47"),
        ("10.0.2.0/28", "10.0.2.5"),  # QEMU: 10.0.2.15, the broadcast address
        ("10.0.2.8/29", "10.0.2.13"),  # QEMU: 10.0.2.15, the broadcast address
        ("10.0.2.0/30", "10.0.2.3"),
    ],
)
def test_default_start_follows_the_net(net: str, start: str) -> None:
    assert default_start(IPv4Network(net)) == IPv4Address(start)


@pytest.mark.parametrize(
    "text", ["52:54:00:12:34:56=10.0.2.50", "52-54-00-12-34-56=10.0.2.50", "52:54:00:12:34:56=10.0.562"]
)
def test_static_lease_reads(text: str) -> None:
    assert StaticLease.parse(text) == LEASE


@pytest.mark.parametrize("text", ["52:54:00:12:34:56=fec0::50", "52:54:00:12:34:56=[fec0:0::50]"])
def test_static_lease_of_ipv6_reads_and_prints(text: str) -> None:
    assert StaticLease.parse(text) == LEASE6
    assert str(LEASE6) == "52:54:00:12:34:56=fec0::50"


def test_static_lease_prints_what_it_reads() -> None:
    assert str(LEASE) == "52:54:00:12:34:56=10.0.2.50"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no address is given (write MAC=ADDR)"),
        ("52:54:00:12:34:56", "no address is given (write MAC=ADDR)"),
        ("=10.0.2.50", "'' is not a MAC address (write 52:54:00:12:34:56=ADDR)"),
        ("52:54:00:12:34=10.0.2.50", "'52:54:00:12:34' is not a MAC address (write 52:54:00:12:34:56=ADDR)"),
        ("52:54-00:12:34:56=10.0.2.50", "'52:54-00:12:34:56' is not a MAC address (write 52:54:00:12:34:56=ADDR)"),
        ("525400123456=10.0.2.50", "'525400123456' is not a MAC address (write 52:54:00:12:34:56=ADDR)"),
        ("52:54:00:12:34:56=", "'' is not an IP address"),
        ("52:54:00:12:34:56=fec0::x", "'fec0::x' is not an IP address"),
        ("52:54:00:12:34:56=[10.0.2.50]", "'[10.0.2.50]' is not an IP address"),
        ("52:54:00:12:34:56=fe80::1%eth0", "'fe80::1%eth0' is not an IP address"),
        ("52:54:00:12:34:56=x", "'x' is not an IP address"),
        ("53:54:00:12:34:56=10.0.2.50", "the MAC address is not that of one guest"),
        ("00:00:00:00:00:00=10.0.2.50", "the MAC address is not that of one guest"),
        ("ff:ff:ff:ff:ff:ff=10.0.2.50", "the MAC address is not that of one guest"),
    ],
)
def test_static_lease_refuses(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        StaticLease.parse(text)
    assert str(caught.value) == f"dhcp-host={text}: {reason}"


def test_leases_by_mac() -> None:
    config = DhcpConfig(static=(LEASE, LEASE6))
    assert config.leases == {LEASE.mac: LEASE.address}
    assert config.leases6 == {LEASE.mac: LEASE6.address}


@pytest.mark.parametrize(
    ("prefix", "start"),
    [
        ("fec0::/64", "fec0::15"),
        ("fd00::/48", "fd00::15"),
        ("fd00::20/123", "fd00::35"),
        ("fd00::10/124", "fd00::14"),
        ("fd00::8/125", "fd00::c"),
        ("fd00::4/126", "fd00::5"),
    ],
)
def test_default_start_of_dhcp6_follows_the_prefix(prefix: str, start: str) -> None:
    assert default_start6(IPv6Network(prefix)) == IPv6Address(start)


def test_a_rule_without_a_guest_leads_to_the_pool_of_a_family_that_is_on() -> None:
    assert DhcpConfig().default_guest(NetworkConfig()) == IPv4Address("10.0.2.15")
    assert DhcpConfig().default_guest(NetworkConfig(ipv4=False, ipv6=True)) == IPv6Address("fec0::15")


def test_an_empty_hostname_is_none() -> None:
    assert parse_hostname("") is None
    assert parse_hostname("vm") == "vm"


@pytest.mark.parametrize("name", [None, "vm", "v" * 255, "ä" * 127, "\udcff" * 255])
def test_names_up_to_255_bytes(name: str | None) -> None:
    check_hostname(name)
    check_domainname(name)


@pytest.mark.parametrize("name", ["v" * 256, "ä" * 128])
def test_longer_names_are_refused_in_qemus_words(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_hostname(name)
    assert str(caught.value) == f"hostname={name}: 'vhostname' parameter cannot exceed 255 bytes"
    with pytest.raises(ConfigError) as caught:
        check_domainname(name)
    assert str(caught.value) == f"domainname={name}: 'domainname' parameter cannot exceed 255 bytes"


def test_a_domainname_is_not_empty() -> None:
    with pytest.raises(ConfigError) as caught:
        check_domainname("")
    assert str(caught.value) == "domainname=: 'domainname' parameter cannot be empty"


def test_a_section_refuses_at_construction_everything_at_once() -> None:
    with pytest.raises(ConfigErrors) as caught:
        DhcpConfig(lease_seconds=0, hostname="a\0b", domainname="")
    assert [error.option for error in caught.value.errors] == ["lease-time", "hostname", "domainname"]


@pytest.mark.parametrize("seconds", [1, 86_400, 2**32 - 1])
def test_lease_time_range(seconds: int) -> None:
    assert DhcpConfig(lease_seconds=seconds).lease_seconds == seconds
