"""Guest forwarding rules: an address and port of the guests' network behind which something of the host answers.

Syntax and refusals are QEMU's (net/slirp.c, slirp_guestfwd); UDP, IPv6 servers and ``unix:`` by itself are ours::

    [tcp]:[SERVER]:PORT-cmd:COMMAND          tcp:10.0.2.100:7-cmd:cat
    [tcp]:[SERVER]:PORT-tcp:HOST:PORT        tcp::80-tcp:127.0.0.1:8080
    [tcp]:[SERVER]:PORT-unix:PATH            tcp:[fec0::4]:80-unix:/run/web.sock
    udp:[SERVER]:PORT-udp:HOST:PORT          udp::514-udp:127.0.0.1:5514

An empty SERVER is x.x.2.4.  COMMAND is split as a shell splits words, but no shell runs it: what it reads and writes is
the connection.  Each connection of a guest gets a target of its own.

What stands behind the dash is a character device to QEMU, which opens it once and shares it between all connections.
Of those devices tcp: and unix: sockets that connect have a meaning for each connection; the others (``chardev:ID``,
``file:``, ``pty`` ...) are refused in QEMU's words.  Options of a device follow it after commas, and a comma that
belongs to a path is doubled.
"""

from __future__ import annotations

import re
import shlex
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import NamedTuple

from pyslirp.addresses import Address, Endpoint
from pyslirp.config import ipv6
from pyslirp.config.libc import inet_aton, strtol
from pyslirp.config.network import address_in
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass, replace

UNSPECIFIED = IPv4Address(0)
MAX_PORT = 65535

_PROTOCOLS = {"": "tcp", "tcp": "tcp", "udp": "udp"}
_COMMA = re.compile(r"(?<!,),(?!,)")

# Options of QEMU's socket devices that leave our meaning as it is, with the values for which they do (None: any).
_HARMLESS = {
    "server": ("off", "no"),
    "wait": ("off", "no"),
    "nowait": ("",),
    "nodelay": None,
    "delay": None,
    "ipv4": None,
    "ipv6": None,
    "reconnect": None,
    "reconnect-ms": None,
}


def default_server(net: IPv4Network) -> IPv4Address:
    """The server's address where a rule names none: .4 in a /24."""
    return address_in(net, 0x0204)


class GuestForwardKey(NamedTuple):
    """What a rule is known by, and removed by."""

    protocol: str  #: "tcp" or "udp"
    server: Address
    port: int

    def __str__(self) -> str:
        shown = f":{self.port}" if self.server == UNSPECIFIED else Endpoint(self.server, self.port)
        return f"{self.protocol}:{shown}"

    @classmethod
    def parse(cls, text: str) -> GuestForwardKey:
        """``[tcp|udp]:[SERVER]:PORT``; raises ConfigError."""
        try:
            protocol, server, port_text = _split(text)
            return cls(protocol, server, _port(port_text))
        except ValueError:
            raise ConfigError("guestfwd_remove", text, "invalid format", "write tcp:[SERVER]:PORT") from None


@dataclass(frozen=True, slots=True)
class Target:
    """What answers.  ``str()`` of it is what stands behind the dash."""

    kind: str  #: "cmd", "unix", "tcp" or "udp"
    text: str  #: the command, the path, or the host
    port: int = 0  #: of a host

    def __str__(self) -> str:
        if self.kind == "cmd":
            return f"cmd:{self.text}"
        text = self.text.replace(",", ",,")
        if self.kind == "unix":
            return f"unix:{text}"
        return f"{self.kind}:[{text}]:{self.port}" if ":" in text else f"{self.kind}:{text}:{self.port}"

    @property
    def named(self) -> bool:
        """Is it a host by name, which has to be looked up?"""
        if self.kind not in ("tcp", "udp"):
            return False
        try:
            ip_address(self.text)
        except ValueError:
            return True
        return False

    @property
    def arguments(self) -> list[str]:
        """The words of a command; raises ValueError for what cannot be split into any."""
        words = shlex.split(self.text)
        if not words:
            raise ValueError("there is no command")
        return words


@dataclass(frozen=True, slots=True)
class GuestForward:
    """One rule; ``str()`` of it is the syntax above.  Raises ConfigError for what could not have been parsed."""

    protocol: str  #: "tcp" or "udp"
    server: Address  #: UNSPECIFIED: the default, see `towards`
    port: int  #: 1 to 65535
    target: Target

    def __post_init__(self) -> None:
        """Refuse what could not have been parsed."""
        if self.protocol not in ("tcp", "udp") or not 1 <= self.port <= MAX_PORT:
            raise _invalid(str(self))
        if (self.target.kind == "udp") != (self.protocol == "udp"):
            raise _invalid(str(self), f"{self.target.kind}: does not go with {self.protocol}")

    def __str__(self) -> str:
        return f"{self.key}-{self.target}"

    @property
    def key(self) -> GuestForwardKey:
        """Protocol and the end that guests see."""
        return GuestForwardKey(self.protocol, self.server, self.port)

    def towards(self, server: Address) -> GuestForward:
        """This rule, at `server` where it names none."""
        return replace(self, server=server) if self.server == UNSPECIFIED else self

    @classmethod
    def parse(cls, text: str) -> GuestForward:
        """A rule in the syntax above; raises ConfigError in QEMU's words."""
        head, dash, device = text.partition("-")
        if not dash:
            raise _invalid(text)
        try:
            protocol, server, port_text = _split(head)
            port = _port(port_text)
        except ValueError:
            raise _invalid(text) from None
        return cls(protocol, server, port, _parse_target(text, f"guestfwd.{protocol}.{port}", device))


def _parse_target(rule: str, label: str, device: str) -> Target:
    kind, colon, rest = device.partition(":")
    if kind == "cmd" and colon:
        target = Target("cmd", rest)
        try:
            target.arguments  # noqa: B018 - is it one?
        except ValueError as error:
            raise _invalid(rule, f"the command cannot be read: {error}") from None
        return target
    if kind not in ("tcp", "udp", "unix") or not colon:
        raise _no_device(rule, label, "cmd:COMMAND, tcp:HOST:PORT and unix:PATH are served, and udp:HOST:PORT for UDP")
    where, *options = _COMMA.split(rest)
    for option in options:
        name, _, value = option.partition("=")
        if name not in _HARMLESS or value not in (_HARMLESS[name] or (value,)):
            raise _no_device(rule, label, f"{option} is not served: connections are made, one for each of a guest's")
    where = where.replace(",,", ",")
    if kind == "unix":
        if not where or "\0" in where:
            raise _no_device(rule, label, "write unix:PATH")
        return Target("unix", where)
    host, _, port_text = where.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return Target(kind, host or "127.0.0.1", _port(port_text))
    except ValueError:
        raise _no_device(rule, label, f"write {kind}:HOST:PORT") from None


def _split(head: str) -> tuple[str, Address, str]:
    """Protocol, server, and the port's text; raises ValueError."""
    protocol_text, colon, rest = head.partition(":")
    server_text, middle, port_text = rest.rpartition(":")
    if not colon or not middle or protocol_text not in _PROTOCOLS:
        raise ValueError(head)
    return _PROTOCOLS[protocol_text], _server(server_text), port_text


def _server(text: str) -> Address:
    if text.startswith("[") and text.endswith("]"):
        return ipv6.parse_address(text[1:-1])
    return inet_aton(text) if text else UNSPECIFIED


def _port(text: str) -> int:
    """A port in base ten, as QEMU reads it; raises ValueError."""
    port, rest = strtol(text, 10)
    if rest or not text or not 1 <= port <= MAX_PORT:
        raise ValueError(f"not a port: {text!r}")
    return port


def _invalid(rule: str, hint: str = "") -> ConfigError:
    return ConfigError("guestfwd", rule, f"Invalid guest forwarding rule '{rule}'", hint)


def _no_device(rule: str, label: str, hint: str) -> ConfigError:
    return ConfigError("guestfwd", rule, f"Could not open guest forwarding device '{label}'", hint)
