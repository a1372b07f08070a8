"""What a Config means to the services that announce it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from pyslirp import settings
from pyslirp.addresses import Mac
from pyslirp.config.stack import Config
from pyslirp.services.dhcp import DhcpService
from pyslirp.services.dhcp_boot import BootSettings
from pyslirp.settings import dhcp6_settings, dhcp_settings, router_settings
from tests.unit.services.dhcp_guest import Guest

MAC = Mac("52:55:0a:00:02:02")
STATIC = "52:54:00:00:00:01"


def config(**options: Any) -> Config:
    return Config.build(ipv4=True, ipv6=True, **options)


def test_each_service_has_its_own_part_of_what_is_given() -> None:
    made = config(
        dhcp_host=[f"{STATIC}=10.0.2.50", f"{STATIC}=fec0::50"],
        lease_time=600,
        hostname="vm",
        domainname="example.org",
        dnssearch=["example.org"],
        restrict=True,
    )
    four, six, router = dhcp_settings(made, 9000), dhcp6_settings(made, MAC), router_settings(made, MAC, 9000)
    assert [str(address) for address in (*four.static.values(), *six.static.values())] == ["10.0.2.50", "fec0::50"]
    assert (four.lease_seconds, six.lease_seconds) == (600, 600)
    assert (four.hostname, six.hostname) == ("vm", "vm")
    assert (four.domainname, six.domainname) == ("example.org", "example.org")
    assert four.search == six.search == router.search == ("example.org",)
    assert (four.restrict, six.restrict, router.restrict) == (True, True, True)
    assert (four.mtu, router.mtu) == (9000, 9000)
    assert (six.mac, router.mac) == (MAC, MAC)


def test_addresses_are_those_of_their_family() -> None:
    made = config(net="10.9.0.0/16", ipv6_net="fd00::/64")
    four, six, router = dhcp_settings(made, 1500), dhcp6_settings(made, MAC), router_settings(made, MAC, 1500)
    assert [str(item) for item in (four.net, four.host, four.start)] == ["10.9.0.0/16", "10.9.2.2", "10.9.2.15"]
    assert [str(item) for item in (six.prefix, six.host, six.start)] == ["fd00::/64", "fd00::2", "fd00::15"]
    assert str(router.prefix) == "fd00::/64"
    assert [str(item) for item in (four.dns, six.dns, router.dns)] == ["10.9.2.3", "fd00::3", "fd00::3"]


def test_guestfwds_addresses_are_no_guests() -> None:
    made = config(guestfwd=["tcp:10.0.2.100:80-tcp:127.0.0.1:80", "tcp:[fec0::100]:80-tcp:127.0.0.1:80"])
    assert dhcp_settings(made, 1500).reserved == {IPv4Address("10.0.2.100")}
    assert IPv6Address("fec0::100") in dhcp6_settings(made, MAC).reserved


@pytest.mark.parametrize(
    ("options", "announced"),
    [
        ({}, IPv6Address("fec0::3")),
        ({"dns_forward": False}, None),
        ({"ipv6_dns": "2001:db8::53"}, IPv6Address("2001:db8::53")),
        ({"ipv6_dns": "2001:db8::53", "dns_forward": False}, IPv6Address("2001:db8::53")),  # not ours to be silent
    ],
)
def test_a_name_server_that_is_silent_is_not_announced(options: dict[str, Any], announced: IPv6Address | None) -> None:
    assert dhcp6_settings(config(**options), MAC).dns == announced
    assert router_settings(config(**options), MAC, 1500).dns == announced


def test_what_is_booted() -> None:
    files = ["efi64=a.efi", "9=b.efi", "ipxe=boot.ipxe", "ipxe=other"]
    made = config(bootfile="/pxelinux.0", bootfile_for=files, tftp_server_name="192.0.2.1", smb="/srv")
    four, six = dhcp_settings(made, 1500), dhcp6_settings(made, MAC)
    assert four.boot == BootSettings(
        "/pxelinux.0", {7: "a.efi", 9: "a.efi"}, "boot.ipxe", IPv4Address("192.0.2.1"), "192.0.2.1"
    )
    assert four.reserved == {IPv4Address("10.0.2.4")}
    assert six.bootfile_url == "tftp://192.0.2.1/pxelinux.0"


def test_the_tftp_servers_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """libslirp does it for each reply, and nobody is served meanwhile."""
    asked: list[str] = []

    def look_up(name: str) -> IPv4Address:
        asked.append(name)
        return IPv4Address("192.0.2.7")

    monkeypatch.setattr(settings, "ipv4_of", look_up)
    service = DhcpService(dhcp_settings(config(bootfile="x", tftp_server_name="boot.example"), 1500))
    guest = Guest(service)
    for reply in (guest.discover(), guest.discover(), guest.bound()):
        assert (reply.siaddr, reply.options[66]) == (IPv4Address("192.0.2.7"), b"boot.example")
    assert asked == ["boot.example"]


@pytest.mark.parametrize(
    ("bootfile", "url"),
    [(None, None), ("x", "tftp://[fec0::2]/x"), ("/x", "tftp://[fec0::2]/x"), ("http://h/x", "http://h/x")],
)
def test_over_ipv6_a_boot_file_is_a_url(bootfile: str | None, url: str | None) -> None:
    assert dhcp6_settings(config(bootfile=bootfile), MAC).bootfile_url == url


def test_over_ipv6_an_architecture_has_its_own_boot_file() -> None:
    made = config(bootfile_for=["efi64=ipxe.efi", "http-efi64=http://192.0.2.1/boot.efi", "7=other.efi", "ipxe=script"])
    assert dhcp6_settings(made, MAC).bootfile_urls == {
        7: "tftp://[fec0::2]/ipxe.efi",
        9: "tftp://[fec0::2]/ipxe.efi",
        16: "http://192.0.2.1/boot.efi",
    }
    assert dhcp6_settings(made, MAC).bootfile_url is None
