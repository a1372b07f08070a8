"""Host forwarding rules: which port of the host leads to which port of a guest.

Syntax and refusals are QEMU's (net/slirp.c, slirp_hostfwd), to which we add IPv6 addresses in brackets::

    [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT        tcp::2222-:22    tcp:[::1]:8080-[fec0::15]:80

An empty protocol is tcp, an empty HOSTADDR every IPv4 address of the host (``[::]`` every IPv6 address), an empty
GUESTADDR the first of the DHCP pool, or of DHCPv6's where the network has no IPv4.  The families of HOSTADDR and
GUESTADDR may differ: what is forwarded is the connection, not its packets.  HOSTPORT 0 (or none) lets the host choose a
free one.  Ports are in C's notation: 0x50 is 80, and 020 is 16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import NamedTuple

from pyslirp.addresses import Address, Endpoint
from pyslirp.config import ipv6
from pyslirp.config.libc import inet_aton, strtol
from pyslirp.errors import ConfigError

UNSPECIFIED = IPv4Address(0)
MAX_PORT = 65535

_PROTOCOLS = {"": "tcp", "tcp": "tcp", "udp": "udp"}


class ForwardKey(NamedTuple):
    """What a rule is known by once it listens, and removed by."""

    protocol: str  #: "tcp" or "udp"
    host: Address
    host_port: int

    def __str__(self) -> str:
        host = f":{self.host_port}" if self.host == UNSPECIFIED else Endpoint(self.host, self.host_port)
        return f"{self.protocol}:{host}"

    @classmethod
    def parse(cls, text: str) -> ForwardKey:
        """``[tcp|udp]:[HOSTADDR]:HOSTPORT``, the argument of QEMU's hostfwd_remove; its port is in base ten.

        Raises ConfigError with QEMU's ``invalid format``.
        """
        try:
            protocol_text, rest = _take(text, ":")
            host_text, port_text = _take(rest, ":")
            protocol, host, port = _PROTOCOLS[protocol_text], _host_address(host_text), _port(port_text, base=10)
        except (KeyError, ValueError):
            raise ConfigError("hostfwd_remove", text, "invalid format", "write tcp:[HOSTADDR]:HOSTPORT") from None
        return cls(protocol, host, port)


@dataclass(frozen=True, slots=True)
class HostForward:
    """One rule; ``str()`` of it is QEMU's syntax.  Raises ConfigError for a protocol or port that cannot be."""

    protocol: str  #: "tcp" or "udp"
    host: Address  #: where the host listens; unspecified: on every address of its family
    host_port: int  #: 0 to 65535; 0: the host chooses
    guest: Address  #: UNSPECIFIED: the start of the DHCP pool, see `towards`
    guest_port: int  #: 1 to 65535

    def __post_init__(self) -> None:
        """Refuse what could not have been parsed."""
        if self.protocol not in ("tcp", "udp"):
            raise _refusal(str(self), "Bad protocol name")
        if not 0 <= self.host_port <= MAX_PORT:
            raise _refusal(str(self), "Bad host port")
        if not 1 <= self.guest_port <= MAX_PORT:
            raise _refusal(str(self), "Bad guest port")

    def __str__(self) -> str:
        guest = f":{self.guest_port}" if self.guest == UNSPECIFIED else Endpoint(self.guest, self.guest_port)
        return f"{self.key}-{guest}"

    @property
    def key(self) -> ForwardKey:
        """Protocol and the host's end."""
        return ForwardKey(self.protocol, self.host, self.host_port)

    def towards(self, default_guest: Address) -> HostForward:
        """This rule, with `default_guest` for its guest where it names none (libslirp takes 0.0.0.0 for none too)."""
        return replace(self, guest=default_guest) if self.guest == UNSPECIFIED else self

    @classmethod
    def parse(cls, text: str, default_guest: Address = UNSPECIFIED) -> HostForward:
        """A rule in QEMU's syntax; raises ConfigError with QEMU's reason."""
        protocol_text, rest = _part(text, text, ":", "No : separators")
        protocol = _PROTOCOLS.get(protocol_text)
        if protocol is None:
            hint = "unix: is not supported yet" if protocol_text == "unix" else ""
            raise _refusal(text, "Bad protocol name", hint)
        host_text, rest = _part(text, rest, ":", "Missing : separator")
        host = _address(text, host_text, "Bad host address")
        port_text, rest = _part(text, rest, "-", "Bad host port separator")
        host_port = _checked_port(text, port_text or "0", "Bad host port")
        guest_text, guest_port_text = _part(text, rest, ":", "Missing guest address")
        guest = _address(text, guest_text, "Bad guest address")
        guest_port = _checked_port(text, guest_port_text, "Bad guest port")
        if guest_port == 0:
            raise _refusal(text, "Bad guest port")
        return cls(protocol, host, host_port, guest, guest_port).towards(default_guest)


@dataclass(frozen=True, slots=True)
class ForwardConfig:
    """The rules that a network starts with, in the order given.  (QEMU sets them up in the reverse order.)"""

    hostfwd: tuple[HostForward, ...] = ()


def _refusal(rule: str, reason: str, hint: str = "") -> ConfigError:
    return ConfigError("hostfwd", rule, f"Invalid host forwarding rule '{rule}' ({reason})", hint)


def _take(text: str, separator: str) -> tuple[str, str]:
    """What is before and behind the first `separator` that is not inside brackets; raises ValueError without one."""
    start = text.find("]") if text.startswith("[") else 0
    at = text.find(separator, max(start, 0))
    if at < 0:
        raise ValueError(f"no {separator!r} in {text!r}")
    return text[:at], text[at + 1 :]


def _part(rule: str, text: str, separator: str, reason: str) -> tuple[str, str]:
    try:
        return _take(text, separator)
    except ValueError:
        raise _refusal(rule, reason) from None


def _host_address(text: str) -> Address:
    """Empty, IPv4 as inet_aton reads it, or IPv6 in brackets; raises ValueError."""
    if text.startswith("[") and text.endswith("]"):
        return ipv6.parse_address(text[1:-1])
    return inet_aton(text) if text else UNSPECIFIED


def _address(rule: str, text: str, reason: str) -> Address:
    try:
        return _host_address(text)
    except ValueError:
        raise _refusal(rule, reason) from None


def _port(text: str, base: int) -> int:
    port, rest = strtol(text, base)
    if rest or not text or not 0 <= port <= MAX_PORT:
        raise ValueError(f"not a port: {text!r}")
    return port


def _checked_port(rule: str, text: str, reason: str) -> int:
    try:
        return _port(text, base=0)
    except ValueError:
        raise _refusal(rule, reason) from None
