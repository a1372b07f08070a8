"""Host forwarding rules: which port of the host leads to which port of a guest.

Syntax and refusals are QEMU's (net/slirp.c, slirp_hostfwd); whatever QEMU reads means the same here.  We add IPv6
addresses in brackets, ranges of ports, and the mark ``@ready``::

    [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT        tcp::2222-:22    tcp:[::1]:8080-[fec0::15]:80
    [tcp|udp]:[HOSTADDR]:FIRST-LAST-[GUESTADDR]:FIRST-LAST     tcp::8000-8010-:9000-9010
    unix:PATH-[GUESTADDR]:GUESTPORT                            unix:/run/user/1000/web.sock-:80
    ...@ready                                                  tcp::8080-:80@ready

An empty protocol is tcp, an empty HOSTADDR every IPv4 address of the host (``[::]`` every IPv6 address), an empty
GUESTADDR the first of the DHCP pool, or of DHCPv6's where the network has no IPv4.  The families of HOSTADDR and
GUESTADDR may differ: what is forwarded is the connection, not its packets.  HOSTPORT 0 (or none) lets the host choose a
free one.  Ports are in C's notation: 0x50 is 80, and 020 is 16.
Ranges are equally long on both sides.  A rule marked ready is open to clients only while the guest's port accepts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

from pyslirp.addresses import Address
from pyslirp.config import ipv6
from pyslirp.config.guestfwd import GuestForward
from pyslirp.config.libc import inet_aton, strtol
from pyslirp.config.values import text_bytes
from pyslirp.errors import ConfigError
from pyslirp.records import InitVar, dataclass, replace

UNSPECIFIED = IPv4Address(0)
MAX_PORT = 65535
MAX_PORTS = 1024  #: of one range; each of its ports is a listening socket
MAX_PATH_BYTES = 107  #: of a unix socket: sun_path without its NUL (unix(7))
READY = "@ready"

_PROTOCOLS = {"": "tcp", "tcp": "tcp", "udp": "udp"}

# What follows the host's port where that is the first of a range.  An address has no dash, so it cannot be mistaken.
_RANGE_END = re.compile(r"([0-9A-Fa-fxX]+)-")


class ForwardKey(NamedTuple):
    """What a rule is known by once it listens, and removed by."""

    protocol: str  #: "tcp", "udp" or "unix"
    host: Address
    host_port: int
    path: str = ""  #: of a unix socket, which has neither address nor port
    ports: int = 1  #: ports in a row, `host_port` the first of them

    def __str__(self) -> str:
        if self.path:
            return f"{self.protocol}:{self.path}"
        return f"{self.protocol}:{_shown(self.host)}:{_ports(self.host_port, self.ports)}"

    def each(self) -> Iterator[ForwardKey]:
        """The keys of its single ports."""
        return (self._replace(host_port=self.host_port + step, ports=1) for step in range(self.ports))

    @classmethod
    def parse(cls, text: str) -> ForwardKey:
        """``[tcp|udp]:[HOSTADDR]:HOSTPORT[-LAST]``, the argument of QEMU's hostfwd_remove, or ``unix:PATH``.

        Ports are in base ten.  Raises ConfigError with QEMU's ``invalid format``.
        """
        try:
            protocol_text, rest = _take(text, ":")
            if protocol_text == "unix" and rest.startswith("/"):
                return cls("unix", UNSPECIFIED, 0, rest)
            host_text, port_text = _take(rest, ":")
            first_text, _, last_text = port_text.partition("-")
            protocol, host, port = _PROTOCOLS[protocol_text], _host_address(host_text), _port(first_text, base=10)
            last = _port(last_text, base=10) if last_text else port
        except (KeyError, ValueError):
            raise ConfigError("hostfwd_remove", text, "invalid format", "write tcp:[HOSTADDR]:HOSTPORT") from None
        if last < port or (last > port and not port):
            raise ConfigError("hostfwd_remove", text, "invalid format", "a range goes upwards, from 1 at least")
        return cls(protocol, host, port, ports=last - port + 1)


@dataclass(frozen=True, slots=True)
class HostForward:
    """One rule; ``str()`` of it is the syntax above.  Raises ConfigError for what could not have been parsed."""

    protocol: str  #: "tcp", "udp" or "unix"
    host: Address  #: where the host listens; unspecified: on every address of its family
    host_port: int  #: 0 to 65535; 0: the host chooses
    guest: Address  #: UNSPECIFIED: the start of the DHCP pool, see `towards`
    guest_port: int  #: 1 to 65535
    path: str = ""  #: of the unix socket that stands in for `host` and `host_port`
    ports: int = 1  #: ports in a row on both sides, 1 to MAX_PORTS
    ready: bool = False  #: clients are let in only while the guest's port accepts connections
    written: InitVar[str] = ""  #: how an error calls it; by default str()

    def __post_init__(self, written: str) -> None:
        """Refuse what could not have been parsed."""
        text = written or str(self)
        if self.protocol not in ("tcp", "udp", "unix"):
            raise _refusal(text, "Bad protocol name")
        if self.protocol == "unix":
            self._check_path(text)
        if not 0 <= self.host_port <= MAX_PORT:
            raise _refusal(text, "Bad host port")
        if not 1 <= self.guest_port <= MAX_PORT:
            raise _refusal(text, "Bad guest port")
        if self.ports != 1:
            self._check_range(text)
        if self.ready and self.protocol == "udp":
            raise _refusal(text, "Bad guest port", "UDP does not say whether a port is open; leave @ready out")

    def _check_path(self, text: str) -> None:
        if not self.path:
            raise _refusal(text, "Missing unix socket path")
        if not self.path.startswith("/"):
            raise _refusal(text, "unix socket path must be absolute")
        if len(text_bytes(self.path)) > MAX_PATH_BYTES or "\0" in self.path:
            raise _refusal(text, "Unix socket path is too long", f"{MAX_PATH_BYTES} bytes at most")

    def _check_range(self, text: str) -> None:
        if self.protocol == "unix" or not 1 <= self.ports <= MAX_PORTS:
            raise _refusal(text, "Bad host port", f"a range of ports has 1 to {MAX_PORTS}")
        if not self.host_port or self.host_port + self.ports - 1 > MAX_PORT:
            raise _refusal(text, "Bad host port", f"a range lies between 1 and {MAX_PORT}")
        if self.guest_port + self.ports - 1 > MAX_PORT:
            raise _refusal(text, "Bad guest port", f"a range lies between 1 and {MAX_PORT}")

    def __str__(self) -> str:
        return f"{self.key}-{_shown(self.guest)}:{_ports(self.guest_port, self.ports)}{READY if self.ready else ''}"

    @property
    def key(self) -> ForwardKey:
        """Protocol and the host's end."""
        return ForwardKey(self.protocol, self.host, self.host_port, self.path, self.ports)

    def towards(self, default_guest: Address) -> HostForward:
        """This rule, with `default_guest` for its guest where it names none (libslirp takes 0.0.0.0 for none too)."""
        return replace(self, guest=default_guest) if self.guest == UNSPECIFIED else self

    def each(self) -> Iterator[HostForward]:
        """The rules of its single ports."""
        if self.ports == 1:
            yield self
            return
        for step in range(self.ports):
            yield replace(self, host_port=self.host_port + step, guest_port=self.guest_port + step, ports=1)

    @classmethod
    def parse(cls, text: str, default_guest: Address = UNSPECIFIED) -> HostForward:
        """A rule in the syntax above; raises ConfigError with QEMU's reason."""
        protocol_text, rest = _part(text, text, ":", "No : separators")
        if protocol_text == "unix":
            return _parse_unix(text, rest).towards(default_guest)
        protocol = _PROTOCOLS.get(protocol_text)
        if protocol is None:
            raise _refusal(text, "Bad protocol name")
        host_text, rest = _part(text, rest, ":", "Missing : separator")
        host = _address(text, host_text, "Bad host address", _NO_HOST if "-" in host_text else "")
        port_text, rest = _part(text, rest, "-", "Bad host port separator")
        host_port = _checked_port(text, port_text or "0", "Bad host port")
        last = host_port
        if port_text and (end := _RANGE_END.match(rest)):
            last = _checked_port(text, end.group(1), "Bad host port")
            rest = rest[end.end() :]
        if last < host_port:
            raise _refusal(text, "Bad host port", "a range goes upwards")
        guest, guest_port, count, ready = _parse_guest(text, rest)
        if count != last - host_port + 1:
            raise _refusal(text, "Bad guest port", "write as many ports of the guest as of the host: FIRST-LAST")
        rule = cls(protocol, host, host_port, guest, guest_port, "", count, ready, written=text)
        return rule.towards(default_guest)


def _parse_unix(text: str, rest: str) -> HostForward:
    """``PATH-[GUESTADDR]:GUESTPORT``: the last dash ends the path, for none is behind it."""
    path, dash, guest_text = rest.rpartition("-")
    if not dash:
        raise _refusal(text, "Missing - separator")
    guest, guest_port, count, ready = _parse_guest(text, guest_text)
    if count != 1:
        raise _refusal(text, "Bad guest port")
    return HostForward("unix", UNSPECIFIED, 0, guest, guest_port, path, 1, ready, written=text)


def _parse_guest(rule: str, text: str) -> tuple[Address, int, int, bool]:
    """``[GUESTADDR]:GUESTPORT[-LAST][@ready]``: address, first port, how many, and the mark."""
    guest_text, ports_text = _part(rule, text, ":", "Missing guest address")
    guest = _address(rule, guest_text, "Bad guest address")
    ready = ports_text.endswith(READY)
    first_text, _, last_text = ports_text.removesuffix(READY).partition("-")
    first = _checked_port(rule, first_text, "Bad guest port")
    last = _checked_port(rule, last_text, "Bad guest port") if last_text else first
    if not 0 < first <= last:
        raise _refusal(rule, "Bad guest port")
    return guest, first, last - first + 1, ready


@dataclass(frozen=True, slots=True)
class ForwardConfig:
    """The rules that a network starts with, in the order given.  (QEMU sets them up in the reverse order.)"""

    hostfwd: tuple[HostForward, ...] = ()
    guestfwd: tuple[GuestForward, ...] = ()


def _shown(address: Address) -> str:
    return "" if address == UNSPECIFIED else f"[{address}]" if address.version == 6 else str(address)


def _ports(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


_NO_HOST = "write [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, with the ':' of an empty HOSTADDR"


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


def _address(rule: str, text: str, reason: str, hint: str = "") -> Address:
    try:
        return _host_address(text)
    except ValueError:
        raise _refusal(rule, reason, hint) from None


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
