"""The table of options."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from pyslirp.addresses import Endpoint, Mac, Network
from pyslirp.config.boot import ClientBootfile
from pyslirp.config.dhcp import StaticLease
from pyslirp.config.fields import BY_NAME, DEFAULTS, FIELDS, Field, Source
from pyslirp.config.forward import HostForward
from pyslirp.config.guestfwd import GuestForward, Target
from pyslirp.errors import ConfigError

NETDEV_USER = (
    *("id", "ipv4", "net", "ip", "ipv6", "ipv6-net", "ipv6-prefix", "ipv6-prefixlen", "ipv6-host", "ipv6-dns"),
    *("restrict", "host", "hostname", "tftp", "tftp-server-name", "bootfile", "dhcpstart", "dns", "dnssearch"),
    *("domainname", "smb", "smbserver", "hostfwd", "guestfwd"),
)


def test_every_option_of_qemu_is_known() -> None:
    ours = {field.name for field in FIELDS if field.source is Source.OURS}
    assert BY_NAME.keys() - ours == set(NETDEV_USER)


def test_no_name_is_twice_in_the_table() -> None:
    assert len(BY_NAME) == len(FIELDS)
    assert len({field.keyword for field in FIELDS}) == len(FIELDS)


def test_every_attribute_of_every_section_has_one_option() -> None:
    rows = [(field.section, field.attribute) for field in FIELDS if not field.legacy]
    slots = [(name, slot) for name, section in DEFAULTS.items() for slot in type(section).__slots__]
    assert sorted(rows) == sorted(slots)


#: option -> text, value, how the value prints
EXAMPLES: dict[str, tuple[str, Any, str]] = {
    "id": ("vm1", "vm1", "vm1"),
    "ipv4": ("yes", True, "on"),
    "ipv6": ("off", False, "off"),
    "net": ("192.168.76.9/24", IPv4Network("192.168.76.0/24"), "192.168.76.0/24"),
    "ip": ("192.168.76.9", IPv4Network("192.168.76.0/24"), "192.168.76.0/24"),
    "host": ("10.0.2.9", IPv4Address("10.0.2.9"), "10.0.2.9"),
    "ipv6-net": ("fd00::9/56", IPv6Network("fd00::/56"), "fd00::/56"),
    "ipv6-prefix": ("FD00:0::", IPv6Address("fd00::"), "fd00::"),
    "ipv6-prefixlen": ("0x38", 56, "56"),
    "ipv6-host": ("fec0:0::9", IPv6Address("fec0::9"), "fec0::9"),
    "host-loopback": ("off", False, "off"),
    "outbound-addr": ("192.0.2.1", IPv4Address("192.0.2.1"), "192.0.2.1"),
    "outbound-addr6": ("2001:db8::1", IPv6Address("2001:db8::1"), "2001:db8::1"),
    "restrict": ("on", True, "on"),
    "mtu": ("0x5dc", 1500, "1500"),
    "congestion": ("cubic", "cubic", "cubic"),
    "dhcpstart": ("10.522", IPv4Address("10.0.2.10"), "10.0.2.10"),
    "ipv6-dhcpstart": ("fec0::0100", IPv6Address("fec0::100"), "fec0::100"),
    "dhcp-host": (
        "52-54-00-12-34-56=10.0.2.50",
        StaticLease(Mac("525400123456"), IPv4Address("10.0.2.50")),
        "52:54:00:12:34:56=10.0.2.50",
    ),
    "lease-time": ("600", 600, "600"),
    "hostname": ("vm", "vm", "vm"),
    "domainname": ("example.org", "example.org", "example.org"),
    "dns": ("10.0.2.4", IPv4Address("10.0.2.4"), "10.0.2.4"),
    "ipv6-dns": ("fec0:0::9", IPv6Address("fec0::9"), "fec0::9"),
    "dns-forward": ("no", False, "off"),
    "dnssearch": ("example.org", "example.org", "example.org"),
    "dns-upstream": ("9.9.9.9", Endpoint(IPv4Address("9.9.9.9"), 53), "9.9.9.9:53"),
    "hostfwd": ("::0x50-:80", HostForward("tcp", IPv4Address(0), 80, IPv4Address(0), 80), "tcp::80-:80"),
    "tftp": ("/srv/tftp", "/srv/tftp", "/srv/tftp"),
    "bootfile": ("/pxelinux.0", "/pxelinux.0", "/pxelinux.0"),
    "bootfile-for": ("efi64=ipxe.efi", ClientBootfile("efi64", "ipxe.efi"), "efi64=ipxe.efi"),
    "tftp-server-name": ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
    "smb": ("/srv/share", "/srv/share", "/srv/share"),
    "smbserver": ("10.522", IPv4Address("10.0.2.10"), "10.0.2.10"),
    "guestfwd": ("::80-cmd:cat", GuestForward("tcp", IPv4Address(0), 80, Target("cmd", "cat")), "tcp::80-cmd:cat"),
}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_option_reads_text_and_its_value_and_prints(field: Field) -> None:
    text, value, printed = EXAMPLES[field.name]
    assert field.read(text) == value
    assert field.read(value) == value
    assert field.render(value) == printed
    if field.name != "ip":
        assert field.read(printed) == value


#: option -> a text that is refused, and the error
REFUSED = {
    "id": ("1n", "Parameter 'id' expects an identifier (Identifiers consist of letters,"),
    "ipv4": ("x", "Parameter 'ipv4' expects 'on' or 'off'"),
    "ipv6": ("x", "Parameter 'ipv6' expects 'on' or 'off'"),
    "net": ("x", "Failed to parse netmask"),
    "ip": ("x", "Failed to parse netmask"),
    "host": ("x", "Failed to parse host"),
    "ipv6-net": ("x", "Failed to parse IPv6 prefix"),
    "ipv6-prefix": ("x", "Failed to parse IPv6 prefix"),
    "ipv6-prefixlen": ("x", "Parameter 'ipv6-prefixlen' expects a number"),
    "ipv6-host": ("x", "Failed to parse IPv6 host"),
    "host-loopback": ("x", "Parameter 'host-loopback' expects 'on' or 'off'"),
    "outbound-addr": ("x", "Failed to parse outbound address"),
    "outbound-addr6": ("x", "Failed to parse IPv6 outbound address"),
    "restrict": ("x", "Parameter 'restrict' expects 'on' or 'off'"),
    "mtu": ("x", "Parameter 'mtu' expects a number"),
    "congestion": ("x", "Parameter 'congestion' expects one of reno, cubic, bbr"),
    "dhcpstart": ("x", "Failed to parse DHCP start address"),
    "ipv6-dhcpstart": ("x", "Failed to parse DHCPv6 start address"),
    "dhcp-host": ("x", "no address is given"),
    "lease-time": ("x", "Parameter 'lease-time' expects a number"),
    "hostname": ("x" * 256, "'vhostname' parameter cannot exceed 255 bytes"),
    "domainname": ("", "'domainname' parameter cannot be empty"),
    "dns": ("x", "Failed to parse DNS"),
    "ipv6-dns": ("x", "Failed to parse IPv6 DNS"),
    "dns-forward": ("x", "Parameter 'dns-forward' expects 'on' or 'off'"),
    "dnssearch": ("", "failed to parse domain name ''"),
    "dns-upstream": ("x", "'x' is not an IP address"),
    "hostfwd": ("x", "Invalid host forwarding rule 'x' (No : separators)"),
    "tftp": ("\0", "this is no folder's name"),
    "bootfile": ("x" * 1025, "'bootfile' parameter cannot exceed 1024 bytes"),
    "bootfile-for": ("x", "no file is named"),
    "tftp-server-name": ("x" * 256, "'tftp-server-name' parameter cannot exceed 255 bytes"),
    "smb": ("a\nb", "Error accessing shared directory 'a\nb'"),
    "smbserver": ("x", "Failed to parse SMB address"),
    "guestfwd": ("x", "Invalid guest forwarding rule 'x'"),
}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_option_names_itself_and_the_value_in_its_refusal(field: Field) -> None:
    text, reason = REFUSED[field.name]
    with pytest.raises(ConfigError) as caught:
        field.read(text)
    assert str(caught.value).startswith(f"{field.name}={text}: {reason}")
    assert caught.value.option == field.name


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
@pytest.mark.parametrize("value", [1.5, b"10.0.2.9", object()], ids=["float", "bytes", "object"])
def test_every_option_refuses_a_value_of_another_type(field: Field, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        field.read(value)
    assert caught.value.reason == f"Parameter '{field.name}' expects {field.metavar}"


def test_a_switch_is_no_number_and_a_number_no_switch() -> None:
    for name, value in (("mtu", True), ("restrict", 1)):
        with pytest.raises(ConfigError, match=f"Parameter '{name}' expects "):
            BY_NAME[name].read(value)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("host", "10.9.2.2"),
        ("dns", "10.9.2.3"),
        ("dhcpstart", "10.9.2.15"),
        ("net", "10.0.2.0/24"),
        ("ipv6-host", "fd00::2"),
        ("ipv6-dns", "fd00::3"),
        ("ipv6-dhcpstart", "fd00::15"),
        ("ipv6-net", "fec0::/64"),
    ],
)
def test_defaults_follow_the_nets(name: str, default: str) -> None:
    nets: dict[str, Network] = {"net": IPv4Network("10.9.0.0/16"), "ipv6-net": IPv6Network("fd00::/64")}
    assert str(BY_NAME[name].default(nets)) == default


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_default_that_depends_on_a_net_agrees_with_its_section(field: Field) -> None:
    assert field.default() == getattr(DEFAULTS[field.section], field.attribute)
