"""What a guest's interface is to have, and what it sees of the host's resolv.conf."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path

import pytest

from pyslirp import provision
from pyslirp.addresses import Mac
from pyslirp.config.stack import Config
from pyslirp.provision import first_guest, random_mac, resolv_conf

MAC = "52:54:00:12:34:56"


def test_the_first_guest_has_the_first_address_and_keeps_it() -> None:
    config, settings = first_guest(Config.build(ipv4=True, net="10.9.0.0/16", mtu=1400, dhcp_host=[f"{MAC}=10.9.2.77"]))
    assert settings.families == ((IPv4Interface("10.9.2.15/16"), IPv4Address("10.9.2.2")),)
    assert settings.mtu == 1400
    assert settings.mac is not None
    assert config.dhcp.leases == {Mac(MAC): IPv4Address("10.9.2.77"), settings.mac: IPv4Address("10.9.2.15")}


@pytest.mark.parametrize("ipv4", [True, False])
def test_it_has_one_of_each_family_that_is_spoken(ipv4: bool) -> None:
    config, settings = first_guest(Config.build(ipv4=ipv4, ipv6=True))
    ours = (IPv4Interface("10.0.2.15/24"), IPv4Address("10.0.2.2"))
    assert settings.families == (*([ours] if ipv4 else []), (IPv6Interface("fec0::15/64"), IPv6Address("fe80::2")))
    assert settings.mac is not None
    assert config.dhcp.leases6 == {settings.mac: IPv6Address("fec0::15")}
    assert config.dhcp.leases == ({settings.mac: IPv4Address("10.0.2.15")} if ipv4 else {})


def test_a_mac_address_that_has_it_already_is_used() -> None:
    before = Config.build(dhcp_host=[f"{MAC}=10.0.2.15"])
    config, settings = first_guest(before)
    assert settings.mac == Mac(MAC)
    assert config.dhcp.leases == before.dhcp.leases


def test_without_ipv4_it_is_an_address_of_ipv6() -> None:
    config, settings = first_guest(Config.build(ipv6=True, ipv6_net="fd00::/56"))
    assert settings.families == ((IPv6Interface("fd00::15/56"), IPv6Address("fe80::2")),)
    assert settings.mac is not None
    assert config.dhcp.leases6 == {settings.mac: IPv6Address("fd00::15")}
    assert resolv_conf(config).splitlines()[0] == "nameserver fd00::3"


def test_without_an_mtu_it_is_the_largest() -> None:
    assert first_guest(Config())[1].mtu == 65_520


@pytest.mark.parametrize("first", [0x00, 0x01, 0xFF, 0x53])
def test_a_random_mac_is_unicast_and_locally_administered(first: int) -> None:
    mac = random_mac(lambda count: bytes([first]) + b"\xab" * (count - 1))
    assert mac[0] & 3 == 2
    assert mac[1:] == b"\xab" * 5


@pytest.fixture
def hosts_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(provision, "RESOLV_CONF", file)
    return file


def test_names_are_asked_of_the_network_and_searched_as_on_the_host(hosts_file: Path) -> None:
    hosts_file.write_text("# ours\nnameserver 127.0.0.53\nnameserver ::1\n\noptions edns0\nsearch example.org\n")
    assert resolv_conf(Config.build(ipv4=True)) == "nameserver 10.0.2.3\n# ours\noptions edns0\nsearch example.org\n"
    config = Config.build(ipv4=True, dns="10.0.2.9", dnssearch=["a.example", "b.example"])
    assert resolv_conf(config) == "nameserver 10.0.2.9\nsearch a.example b.example\n# ours\noptions edns0\n"


def test_names_are_asked_over_each_family_that_is_spoken(hosts_file: Path) -> None:
    hosts_file.write_text("nameserver 127.0.0.53\n")
    assert resolv_conf(Config.build(ipv4=True, ipv6=True)) == "nameserver 10.0.2.3\nnameserver fec0::3\n"
    assert resolv_conf(Config.build(ipv4=False, ipv6=True)) == "nameserver fec0::3\n"


def test_a_host_without_resolv_conf(hosts_file: Path) -> None:
    assert resolv_conf(Config.build(ipv4=True)) == "nameserver 10.0.2.3\n"
