"""Where guests are met: the addresses of ``--listen`` and ``--connect``.

::

    [HOST]:PORT      TCP; an empty HOST is 127.0.0.1, because a listening socket is a door into the host's network
    [V6]:PORT        TCP; the brackets are part of it
    unix:PATH        a Unix stream socket
    fd:N             an open descriptor: a bound, listening socket, or with --connect a connected one
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import ClassVar, Literal, Self

from pyslirp.config.libc import inet_aton
from pyslirp.config.values import text_bytes
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass

LOOPBACK = "127.0.0.1"
MAX_UNIX_PATH_BYTES = 107  #: sizeof sun_path is 108, of which one is for the NUL (unix(7))
MAX_DESCRIPTOR = 2**31 - 1
MAX_PORT = 65535

_HOSTNAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_DIGITS = re.compile(r"[0-9]{1,10}")
_FORMS = "write [HOST]:PORT, [V6]:PORT, unix:PATH or fd:N"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address to listen at; ``str()`` of it can be parsed again.  Raises ConfigError for what cannot be one."""

    option: ClassVar[str] = "listen"
    min_port: ClassVar[int] = 0  #: 0: the host chooses

    kind: Literal["inet", "unix", "fd"]
    host: str = LOOPBACK  #: inet: an IPv4 or IPv6 address, or a name to be looked up
    port: int = 0  #: inet
    path: str = ""  #: unix: 1 to MAX_UNIX_PATH_BYTES
    fd: int = -1  #: fd

    def __post_init__(self) -> None:
        """Refuse what the kind of address cannot have."""
        if self.kind == "inet":
            self._check_inet()
        elif self.kind == "unix":
            self._check_path()
        elif not 0 <= self.fd <= MAX_DESCRIPTOR:
            raise self._refusal(str(self), f"'{self.fd}' is not a descriptor")

    def _check_inet(self) -> None:
        if not self.min_port <= self.port <= MAX_PORT:
            raise self._refusal(str(self), f"a port is a number from {self.min_port} to {MAX_PORT}")
        if not _is_host(self.host):
            raise self._refusal(str(self), f"'{self.host}' is neither an address nor a name", _FORMS)

    def _check_path(self) -> None:
        if not self.path or "\0" in self.path:
            raise self._refusal(str(self), "Missing unix socket path")
        if len(text_bytes(self.path)) > MAX_UNIX_PATH_BYTES:
            raise self._refusal(str(self), "Unix socket path is too long", f"at most {MAX_UNIX_PATH_BYTES} bytes")

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind == "fd":
            return f"fd:{self.fd}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """An address in one of the forms above; raises ConfigError."""
        if text.startswith("unix:"):
            return cls("unix", path=text.removeprefix("unix:"))
        if text.startswith("fd:"):
            return cls("fd", fd=cls._number(text, text.removeprefix("fd:"), "descriptor"))
        host, colon, port_text = text.rpartition(":")
        if not colon:
            raise cls._refusal(text, "no port is given", _remedy(text))
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if ":" not in host:
                raise cls._refusal(text, f"'{host}' is not an IPv6 address", _FORMS)
        elif ":" in host:
            raise cls._refusal(text, f"'{host}' has a ':' too many", "write an IPv6 address as [V6]:PORT")
        return cls("inet", host=host or LOOPBACK, port=cls._number(text, port_text, "port"))

    @classmethod
    def _number(cls, text: str, digits: str, what: str) -> int:
        if not _DIGITS.fullmatch(digits):
            raise cls._refusal(text, f"'{digits}' is not a {what}", _FORMS)
        return int(digits)

    @classmethod
    def _refusal(cls, text: str, reason: str, hint: str = "") -> ConfigError:
        return ConfigError(cls.option, text, reason, hint)


@dataclass(frozen=True, slots=True)
class ConnectAddress(ListenAddress):
    """An address to connect to, where QEMU listens."""

    option: ClassVar[str] = "connect"
    min_port: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class ControlAddress(ListenAddress):
    """Where run-time commands are taken: ``unix:PATH``, because only its file keeps others out."""

    option: ClassVar[str] = "control"

    def __post_init__(self) -> None:
        """Refuse every other kind."""
        if self.kind != "unix":
            raise self._refusal(str(self), "not a Unix socket", "write unix:PATH")
        self._check_path()

    @classmethod
    def parse(cls, text: str) -> Self:
        """An address of the one form; raises ConfigError."""
        if not text.startswith("unix:"):
            raise cls._refusal(text, "not a Unix socket", f"write unix:{text}" if "/" in text else "write unix:PATH")
        return cls("unix", path=text.removeprefix("unix:"))


def _is_host(host: str) -> bool:
    try:
        if ":" in host:
            return IPv6Address(host) is not None
        if host.replace(".", "").isdigit():
            return inet_aton(host) is not None
    except ValueError:
        return False
    return len(host) <= 253 and _HOSTNAME.fullmatch(host) is not None


def _remedy(text: str) -> str:
    """What the user meant who has left the colon out."""
    if _DIGITS.fullmatch(text):
        return f"write :{text}"
    if "/" in text:
        return f"write unix:{text}"
    return f"write {text}:PORT" if _is_host(text) else _FORMS
