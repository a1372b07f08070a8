"""The configuration of one network: its sections put together, checked against one another, built and printed.

Options come as *settings*, pairs of an option's name and its text or value, in the order in which they were written.
As in QEMU, of an option given twice the last is used (and only the last is read), and list options collect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypedDict, Unpack

from pyslirp.addresses import Address, Endpoint, Network
from pyslirp.config import ipv6
from pyslirp.config.boot import BootConfig, ClientBootfile
from pyslirp.config.conflicts import IPV4_DISABLED, IPV6_DISABLED, conflicts
from pyslirp.config.dhcp import DhcpConfig, StaticLease
from pyslirp.config.dns import DnsConfig
from pyslirp.config.fields import BY_NAME, DEFAULT_NETS, DEFAULTS, FIELDS, Field
from pyslirp.config.forward import ForwardConfig, HostForward
from pyslirp.config.guestfwd import GuestForward, default_server
from pyslirp.config.network import NetworkConfig
from pyslirp.config.smb import SmbConfig
from pyslirp.config.values import choice_hint
from pyslirp.errors import ConfigError, ConfigErrors
from pyslirp.records import dataclass, field

_ADDRESSES4 = ("net", "ip", "host", "dns")  # what QEMU refuses where the family is off
_ADDRESSES6 = ("ipv6-net", "ipv6-prefix", "ipv6-host", "ipv6-dns")

Setting = tuple[str, object]  #: an option's name, and its text or its value


class Options(TypedDict, total=False):
    """The keywords of `Config.build`: the options of fields.py.  A value may be its text; None means the default."""

    id: str | None
    ipv4: bool | str | None
    ipv6: bool | str | None
    net: str | IPv4Network | None
    ip: str | None
    host: str | IPv4Address | None
    ipv6_net: str | IPv6Network | None
    ipv6_prefix: str | IPv6Address | None
    ipv6_prefixlen: int | str | None
    ipv6_host: str | IPv6Address | None
    host_loopback: bool | str | None
    outbound_addr: str | IPv4Address | None
    outbound_addr6: str | IPv6Address | None
    restrict: bool | str | None
    mtu: int | str | None
    congestion: str | None
    dhcpstart: str | IPv4Address | None
    ipv6_dhcpstart: str | IPv6Address | None
    dhcp_host: Sequence[str | StaticLease] | None
    lease_time: int | str | None
    hostname: str | None
    domainname: str | None
    dns: str | IPv4Address | None
    ipv6_dns: str | IPv6Address | None
    dns_forward: bool | str | None
    dnssearch: Sequence[str] | None
    dns_upstream: Sequence[str | Endpoint] | None
    hostfwd: Sequence[str | HostForward] | None
    guestfwd: Sequence[str | GuestForward] | None
    tftp: str | None
    bootfile: str | None
    bootfile_for: Sequence[str | ClientBootfile] | None
    tftp_server_name: str | None
    smb: str | None
    smbserver: str | IPv4Address | None


@dataclass(frozen=True, slots=True)
class Config:
    """One network.  ``Config()`` is QEMU's default; raises ConfigErrors for options that cannot work together."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    dhcp: DhcpConfig = field(default_factory=DhcpConfig)
    dns: DnsConfig = field(default_factory=DnsConfig)
    forward: ForwardConfig = field(default_factory=ForwardConfig)
    boot: BootConfig = field(default_factory=BootConfig)
    smb: SmbConfig = field(default_factory=SmbConfig)

    def __post_init__(self) -> None:
        """Check the sections against one another."""
        clashes = conflicts(self.network, self.dhcp, self.dns, self.forward, self.smb)
        found = [conflict.error for conflict in clashes]
        if found:
            raise ConfigErrors(found)

    @classmethod
    def build(cls, **options: Unpack[Options]) -> Config:
        """From keywords, e.g. ``Config.build(net="10.0.9.0/24", hostfwd=["tcp::2222-:22"])``.

        Raises ConfigErrors with everything that is wrong.
        """
        settings: list[Setting] = []
        for keyword, value in options.items():
            name = keyword.replace("_", "-")
            option = BY_NAME.get(name)
            if option is not None and option.many and not isinstance(value, str) and isinstance(value, Iterable):
                settings += [(name, item) for item in value]
            elif value is not None:
                settings.append((name, value))
        return cls.assemble(settings)

    @classmethod
    def assemble(cls, settings: Iterable[Setting], found: Iterable[ConfigError] = ()) -> Config:
        """From settings; raises ConfigErrors with `found` (what was wrong before) and everything that is wrong here."""
        reading = _Reading(settings)
        network = NetworkConfig(**reading.section("network"))
        dhcp = DhcpConfig(**reading.section("dhcp"))
        dns = DnsConfig(**reading.section("dns"))
        rules = reading.section("forward")
        hostfwd: tuple[HostForward, ...] = rules["hostfwd"]
        guestfwd: tuple[GuestForward, ...] = rules["guestfwd"]
        forward = ForwardConfig(
            tuple(rule.towards(dhcp.default_guest(network)) for rule in hostfwd),
            tuple(rule.towards(default_server(network.net)) for rule in guestfwd),
        )
        boot = BootConfig(**reading.section("boot"))
        smb = SmbConfig(**reading.section("smb"))
        errors = [*found, *reading.errors]
        clashes = conflicts(network, dhcp, dns, forward, smb)
        errors += [clash.error for clash in clashes if clash.reads.isdisjoint(reading.unreadable)]
        if errors:
            raise ConfigErrors(errors)
        return cls(network, dhcp, dns, forward, boot, smb)

    def settings(self) -> list[tuple[str, str]]:
        """Name and text of every option that is not at its default: what `assemble` makes this configuration from."""
        nets: dict[str, Network] = {"net": self.network.net, "ipv6-net": self.network.prefix6}
        printed = []
        for option in FIELDS:
            value = getattr(getattr(self, option.section), option.attribute)
            if not option.legacy and (value != option.default(nets) or option.name in self._families_given):
                printed += [(option.name, option.render(item)) for item in (value if option.many else (value,))]
        return printed

    @property
    def _families_given(self) -> tuple[str, ...]:
        """``ipv4`` and ``ipv6`` where one of them must be given: one alone that is on would switch the other off."""
        default = DEFAULTS["network"]
        assert isinstance(default, NetworkConfig)
        chosen = (self.network.ipv4, self.network.ipv6) != (default.ipv4, default.ipv6)
        return ("ipv4", "ipv6") if chosen else ()

    @property
    def dns_alias(self) -> IPv4Address | None:
        """Where this network answers DNS itself; None where guests are told of a server outside (see DnsConfig)."""
        return self.dns.address if self.dns.address in self.network.net else None

    @property
    def dns_alias6(self) -> IPv6Address | None:
        """The same in IPv6; it answers at ipv6.DNS_LINK_LOCAL too."""
        return self.dns.address6 if self.dns.address6 in self.network.prefix6 else None

    @property
    def dns_aliases(self) -> tuple[Address, ...]:
        """Every address at which this network answers DNS itself, of the families that are spoken."""
        aliases4 = (self.dns_alias,) if self.network.ipv4 else ()
        aliases6 = (self.dns_alias6, ipv6.DNS_LINK_LOCAL) if self.network.ipv6 and self.dns_alias6 is not None else ()
        return tuple(alias for alias in (*aliases4, *aliases6) if alias is not None)

    @property
    def own_addresses(self) -> tuple[Address, ...]:
        """The network's own: the gateway's, which are the first of their kind, and the DNS aliases."""
        gateway4 = (self.network.host,) if self.network.ipv4 else ()
        gateway6 = (self.network.host6, ipv6.ROUTER_LINK_LOCAL) if self.network.ipv6 else ()
        return (*gateway4, *gateway6, *self.dns_aliases)


class _Reading:
    """Settings as values, and what was wrong with them one by one."""

    def __init__(self, settings: Iterable[Setting]) -> None:
        self.errors: list[ConfigError] = []
        self.unreadable: set[str] = set()  # names of options whose value is not known, because it was refused
        self.values: dict[str, Any] = {}
        for name, given in _given(settings).items():
            option = BY_NAME.get(name)
            if option is None:
                self.errors.append(_unknown(name))
            elif option.many:
                self.values[name] = tuple(self._read(option, given))
            elif values := self._read(option, given[-1:]):
                self.values[name] = values[0]
        self._settle_families()
        self._settle_legacy()

    def _read(self, option: Field, given: list[object]) -> list[Any]:
        """The values of those that can be read; for the others the default will stand in."""
        values = []
        for item in given:
            try:
                values.append(option.read(item))
            except ConfigError as error:
                self.errors.append(error)
                self.unreadable.add(option.name)
        return values

    def _settle_legacy(self) -> None:
        """``ip=ADDR`` counts where no ``net=`` is given, ``ipv6-prefix`` and ``ipv6-prefixlen`` where no ``ipv6-net``."""
        if "ip" in self.values:
            self.values.setdefault("net", self.values["ip"])
        if "ip" in self.unreadable and "net" not in self.values:
            self.unreadable.add("net")
        halves = ("ipv6-prefix", "ipv6-prefixlen")
        if "ipv6-net" in self.values:
            return
        if not self.unreadable.isdisjoint(halves):
            self.unreadable.add("ipv6-net")
        elif not self.values.keys().isdisjoint(halves) and self.values.get("ipv6") is not False:
            self._settle_prefix()

    def _settle_prefix(self) -> None:
        address = self.values.get("ipv6-prefix", ipv6.DEFAULT_PREFIX.network_address)
        prefix = ipv6.network(address, self.values.get("ipv6-prefixlen", ipv6.DEFAULT_LENGTH))
        try:
            ipv6.check_prefix(prefix)
            self.values["ipv6-net"] = prefix
        except ConfigError as error:
            self.errors.append(error)
            self.unreadable.add("ipv6-net")

    def _settle_families(self) -> None:
        """QEMU's rules about what was given: one family alone that is on is alone (net/slirp.c, net_init_slirp)."""
        for family, other in (("ipv6", "ipv4"), ("ipv4", "ipv6")):
            if self.values.get(family) is True and not {other} & (self.values.keys() | self.unreadable):
                self.values[other] = False
                break
        given = self.values.keys() | self.unreadable
        if given.isdisjoint(("ipv6", *_ADDRESSES6)) and self.values.get("mtu", ipv6.MIN_MTU) < ipv6.MIN_MTU:
            self.values["ipv6"] = False  # nobody has asked for it, and it could not work
        self._check_disabled("ipv4", _ADDRESSES4, IPV4_DISABLED)
        self._check_disabled("ipv6", _ADDRESSES6, IPV6_DISABLED)

    def _check_disabled(self, family: str, addresses: tuple[str, ...], reason: str) -> None:
        given = self.values.keys() | self.unreadable
        if self.values.get(family) is False and not given.isdisjoint(addresses):
            self.errors.append(ConfigError(family, "off", reason))
            self.unreadable.add(family)

    def section(self, name: str) -> dict[str, Any]:
        """The keywords of a section's dataclass."""
        nets = {net: self.values.get(net, default) for net, default in DEFAULT_NETS.items()}
        options = [option for option in FIELDS if option.section == name and not option.legacy]
        return {option.attribute: self.values.get(option.name, option.default(nets)) for option in options}


def _given(settings: Iterable[Setting]) -> dict[str, list[object]]:
    """Everything that was given for each name, in order."""
    given: dict[str, list[object]] = {}
    for name, value in settings:
        given.setdefault(name, []).append(value)
    return given


def _unknown(name: str) -> ConfigError:
    return ConfigError(name, None, f"Invalid parameter '{name}'", choice_hint(name, list(BY_NAME)))
