"""The configuration of one network: its sections put together, checked against one another, built and printed.

Options come as *settings*, pairs of an option's name and its text or value, in the order in which they were written.
As in QEMU, of an option given twice the last is used (and only the last is read), and list options collect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, TypedDict, Unpack

from pyslirp.addresses import Endpoint
from pyslirp.config.conflicts import conflicts
from pyslirp.config.dhcp import DhcpConfig, StaticLease
from pyslirp.config.dns import DnsConfig
from pyslirp.config.fields import BY_NAME, FIELDS, NOT_YET, Field
from pyslirp.config.forward import ForwardConfig, HostForward
from pyslirp.config.network import DEFAULT_NET, NetworkConfig
from pyslirp.config.values import choice_hint
from pyslirp.errors import ConfigError, ConfigErrors

Setting = tuple[str, object]  #: an option's name, and its text or its value


class Options(TypedDict, total=False):
    """The keywords of `Config.build`: the options of fields.py.  A value may be its text; None means the default."""

    id: str | None
    ipv4: bool | str | None
    ipv6: bool | str | None
    net: str | IPv4Network | None
    ip: str | None
    host: str | IPv4Address | None
    host_loopback: bool | str | None
    outbound_addr: str | IPv4Address | None
    restrict: bool | str | None
    mtu: int | str | None
    dhcpstart: str | IPv4Address | None
    dhcp_host: Sequence[str | StaticLease] | None
    lease_time: int | str | None
    hostname: str | None
    domainname: str | None
    dns: str | IPv4Address | None
    dns_forward: bool | str | None
    dnssearch: Sequence[str] | None
    dns_upstream: Sequence[str | Endpoint] | None
    hostfwd: Sequence[str | HostForward] | None


@dataclass(frozen=True, slots=True)
class Config:
    """One network.  ``Config()`` is QEMU's default; raises ConfigErrors for options that cannot work together."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    dhcp: DhcpConfig = field(default_factory=DhcpConfig)
    dns: DnsConfig = field(default_factory=DnsConfig)
    forward: ForwardConfig = field(default_factory=ForwardConfig)

    def __post_init__(self) -> None:
        """Check the sections against one another."""
        found = [conflict.error for conflict in conflicts(self.network, self.dhcp, self.dns, self.forward)]
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
        rules: tuple[HostForward, ...] = reading.section("forward")["hostfwd"]
        forward = ForwardConfig(tuple(rule.towards(dhcp.start) for rule in rules))
        errors = [*found, *reading.errors]
        clashes = conflicts(network, dhcp, dns, forward)
        errors += [clash.error for clash in clashes if clash.reads.isdisjoint(reading.unreadable)]
        if errors:
            raise ConfigErrors(errors)
        return cls(network, dhcp, dns, forward)

    def settings(self) -> list[tuple[str, str]]:
        """Name and text of every option that is not at its default: what `assemble` makes this configuration from."""
        net = self.network.net
        printed = []
        for option in FIELDS:
            value = getattr(getattr(self, option.section), option.attribute)
            if not option.legacy and value != option.default(net):
                printed += [(option.name, option.render(item)) for item in (value if option.many else (value,))]
        return printed

    @property
    def dns_alias(self) -> IPv4Address | None:
        """Where this network answers DNS itself; None where guests are told of a server outside (see DnsConfig)."""
        return self.dns.address if self.dns.address in self.network.net else None


class _Reading:
    """Settings as values, and what was wrong with them one by one."""

    def __init__(self, settings: Iterable[Setting]) -> None:
        self.errors: list[ConfigError] = []
        self.unreadable: set[str] = set()  # names of options whose value is not known, because it was refused
        self.values: dict[str, Any] = {}
        for name, given in _given(settings).items():
            option = BY_NAME.get(name)
            if option is None:
                self.errors.append(_unknown(name, given[-1]))
            elif option.many:
                self.values[name] = tuple(self._read(option, given))
            elif values := self._read(option, given[-1:]):
                self.values[name] = values[0]
        self._settle_legacy()
        self._check_disabled()

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
        """``ip=ADDR`` counts where no ``net=`` is given."""
        if "ip" in self.values:
            self.values.setdefault("net", self.values["ip"])
        if "ip" in self.unreadable and "net" not in self.values:
            self.unreadable.add("net")

    def _check_disabled(self) -> None:
        """QEMU's one rule about what was given rather than what holds."""
        if self.values.get("ipv4") is False and not self.values.keys().isdisjoint(("net", "host", "dns")):
            self.errors.append(ConfigError("ipv4", "off", "IPv4 disabled but netmask/host/dns provided"))
            self.unreadable.add("ipv4")

    def section(self, name: str) -> dict[str, Any]:
        """The keywords of a section's dataclass."""
        net = self.values.get("net", DEFAULT_NET)
        options = [option for option in FIELDS if option.section == name and not option.legacy]
        return {option.attribute: self.values.get(option.name, option.default(net)) for option in options}


def _given(settings: Iterable[Setting]) -> dict[str, list[object]]:
    """Everything that was given for each name, in order."""
    given: dict[str, list[object]] = {}
    for name, value in settings:
        given.setdefault(name, []).append(value)
    return given


def _unknown(name: str, value: object) -> ConfigError:
    if name in NOT_YET:
        return ConfigError(name, value, f"Parameter '{name}' is not supported yet", "leave it out")
    return ConfigError(name, None, f"Invalid parameter '{name}'", choice_hint(name, list(BY_NAME)))
