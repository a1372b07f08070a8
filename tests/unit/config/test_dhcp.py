"""What DHCP gives out, by itself."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from pyslirp.addresses import Mac
from pyslirp.config.dhcp import DhcpConfig, StaticLease, check_domainname, check_hostname, default_start, parse_hostname
from pyslirp.errors import ConfigError, ConfigErrors

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
        ("52:54:00:12:34:56=", "'' is not an IPv4 address"),
        ("52:54:00:12:34:56=x", "'x' is not an IPv4 address"),
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
    assert DhcpConfig(static=(LEASE,)).leases == {LEASE.mac: LEASE.address}


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
