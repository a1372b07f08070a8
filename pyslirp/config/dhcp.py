"""What DHCP and DHCPv6 give out: where a pool begins, addresses kept for one guest, how long a lease lasts, and names.

DHCP's pool runs from `start` to the end of the net, without the host's and the DNS address, the broadcast address and
those of static leases.  (libslirp's ends after 16 addresses.)  DHCPv6's runs from `start6` in the same way.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from pyslirp.addresses import Address, Mac
from pyslirp.config import ipv6
from pyslirp.config.libc import inet_aton
from pyslirp.config.network import DEFAULT_NET, NetworkConfig, address_in
from pyslirp.config.values import text_bytes, validate, within
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass

DEFAULT_LEASE_SECONDS = 86_400  #: libslirp's day
INFINITE_SECONDS = 0xFFFF_FFFF  #: RFC 2131 section 3.3: a lease for ever
MAX_NAME_BYTES = 255  #: what the length byte of a DHCP option can say (RFC 2132 section 2)

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(\1[0-9A-Fa-f]{2}){4}")


def default_start(net: IPv4Network) -> IPv4Address:
    """The first address of the pool where none is given: .15 in a /24.

    Deviation: in a /28 and a /29 QEMU's .15 is the broadcast address; there the pool begins after .2, .3 and .4, which
    are the defaults of host, DNS and SMB.
    """
    return address_in(net, 0x05 if net.prefixlen in (28, 29) else 0x020F)


DEFAULT_START = default_start(DEFAULT_NET)


def default_start6(prefix: IPv6Network) -> IPv6Address:
    """The first address of DHCPv6's pool where none is given: prefix::15, or what a long prefix has room for."""
    number = 0x15 if prefix.prefixlen <= 123 else 4 if prefix.prefixlen <= 125 else 1
    return ipv6.address_in(prefix, number)


DEFAULT_START6 = default_start6(ipv6.DEFAULT_PREFIX)


def parse_guest(text: str) -> Address:
    """IPv4 as inet_aton reads it, or IPv6 with or without brackets; raises ValueError."""
    if ":" not in text:
        return inet_aton(text)
    return ipv6.parse_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text)


@dataclass(frozen=True, slots=True)
class StaticLease:
    """An address that only the guest with this MAC gets."""

    mac: Mac  #: a unicast address, not all zero
    address: Address  #: given by DHCP, or by DHCPv6 where it is an IPv6 address

    def __post_init__(self) -> None:
        """Raises ConfigError for a MAC that no single guest can have."""
        if self.mac[0] & 1 or not any(self.mac):
            raise ConfigError("dhcp-host", self, "the MAC address is not that of one guest")

    def __str__(self) -> str:
        return f"{self.mac}={self.address}"

    @classmethod
    def parse(cls, text: str) -> StaticLease:
        """``52:54:00:12:34:56=10.0.2.50`` or ``52:54:00:12:34:56=fec0::50``; raises ConfigError."""
        mac_text, equals, address_text = text.partition("=")
        if not equals:
            raise ConfigError("dhcp-host", text, "no address is given", "write MAC=ADDR")
        if not _MAC.fullmatch(mac_text):
            raise ConfigError("dhcp-host", text, f"'{mac_text}' is not a MAC address", "write 52:54:00:12:34:56=ADDR")
        try:
            address = parse_guest(address_text)
        except ValueError:
            raise ConfigError("dhcp-host", text, f"'{address_text}' is not an IP address") from None
        return cls(Mac(mac_text), address)


def parse_hostname(text: str) -> str | None:
    """QEMU's ``hostname=`` with nothing behind it means that none is sent."""
    return text or None


def check_hostname(name: str | None) -> None:
    """QEMU's limit and words; `vhostname` is what it calls the option inside."""
    if name is not None:
        _check_name("hostname", "vhostname", name)


def check_domainname(name: str | None) -> None:
    """QEMU's limits and words."""
    if name == "":
        raise ConfigError("domainname", name, "'domainname' parameter cannot be empty")
    if name is not None:
        _check_name("domainname", "domainname", name)


def _check_name(option: str, called: str, name: str) -> None:
    if len(text_bytes(name)) > MAX_NAME_BYTES:
        raise ConfigError(option, name, f"'{called}' parameter cannot exceed {MAX_NAME_BYTES} bytes")
    if "\0" in name:
        raise ConfigError(option, name, "a name has no NUL in it")  # RFC 2132 section 2


check_lease_time = within("lease-time", 1, INFINITE_SECONDS, "seconds; 4294967295 is for ever")


@dataclass(frozen=True, slots=True)
class DhcpConfig:
    """The DHCP server.  Raises ConfigErrors for a field that cannot work by itself."""

    start: IPv4Address = DEFAULT_START  #: first address of the pool; hostfwd's guest where none is named
    start6: IPv6Address = DEFAULT_START6  #: the same of DHCPv6's pool, where there is no IPv4
    static: tuple[StaticLease, ...] = ()  #: addresses kept for one guest, anywhere in the net or prefix
    lease_seconds: int = DEFAULT_LEASE_SECONDS  #: seconds, 1 to INFINITE_SECONDS
    hostname: str | None = None  #: option 12, at most MAX_NAME_BYTES; None: not sent
    domainname: str | None = None  #: option 15, 1 to MAX_NAME_BYTES; None: not sent

    def __post_init__(self) -> None:
        """Refuse what one field alone has wrong."""
        validate(
            (check_lease_time, self.lease_seconds),
            (check_hostname, self.hostname),
            (check_domainname, self.domainname),
        )

    def default_guest(self, network: NetworkConfig) -> Address:
        """Where a hostfwd rule leads that names no guest: to the first of DHCP's or, without IPv4, of DHCPv6's pool."""
        return self.start if network.ipv4 else self.start6

    @property
    def leases(self) -> dict[Mac, IPv4Address]:
        """DHCP's static leases by MAC."""
        return {lease.mac: lease.address for lease in self.static if isinstance(lease.address, IPv4Address)}

    @property
    def leases6(self) -> dict[Mac, IPv6Address]:
        """DHCPv6's static leases by MAC."""
        return {lease.mac: lease.address for lease in self.static if isinstance(lease.address, IPv6Address)}
