"""Where a tap is: ``--tap NAME|fd:N``, ``--netns PID|PATH``."""

from __future__ import annotations

import re
from typing import Literal, Self

from pyslirp.config.values import text_bytes
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass

DEFAULT_TAP_NAME = "tap0"
MAX_INTERFACE_NAME_BYTES = 15  #: IFNAMSIZ is 16, of which one is for the NUL (netdevice(7))
MAX_DESCRIPTOR = 2**31 - 1
MAX_PID = 2**22  #: PID_MAX_LIMIT of Linux

_DIGITS = re.compile(r"[0-9]{1,10}")
_FORBIDDEN = re.compile(r"[\s/:]")  # net/core/dev.c, dev_valid_name


@dataclass(frozen=True, slots=True)
class TapAddress:
    """A tap by its interface's name, or an open descriptor of one.  Raises ConfigError for what cannot be either."""

    kind: Literal["name", "fd"]
    name: str = ""
    fd: int = -1

    def __post_init__(self) -> None:
        """Refuse a name that the kernel would refuse."""
        if self.kind == "name":
            check_interface_name("tap", self.name)
        elif not 0 <= self.fd <= MAX_DESCRIPTOR:
            raise ConfigError("tap", str(self), f"'{self.fd}' is not a descriptor", "write fd:N")

    def __str__(self) -> str:
        return self.name if self.kind == "name" else f"fd:{self.fd}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """``NAME`` or ``fd:N``; raises ConfigError."""
        digits = text.removeprefix("fd:")
        if digits == text:
            return cls("name", name=text)
        if not _DIGITS.fullmatch(digits):
            raise ConfigError("tap", text, f"'{digits}' is not a descriptor", "write fd:N")
        return cls("fd", fd=int(digits))


def check_interface_name(option: str, name: str) -> None:
    """The kernel's rules for the name of an interface; raises ConfigError."""
    if not 1 <= len(text_bytes(name)) <= MAX_INTERFACE_NAME_BYTES:
        raise ConfigError(option, name, "an interface's name has 1 to 15 bytes")
    if name in {".", ".."} or "\0" in name or _FORBIDDEN.search(name):
        raise ConfigError(option, name, "an interface's name has no '/', ':' or white space in it")
    if "%" in name:
        raise ConfigError(option, name, "a pattern names no interface", "write the name without '%'")


@dataclass(frozen=True, slots=True)
class NetnsAddress:
    """A network namespace: that of a process, or one that a file stands for."""

    kind: Literal["pid", "path"]
    pid: int = 0
    path: str = ""

    def __post_init__(self) -> None:
        """Refuse what names nothing."""
        if self.kind == "pid" and not 1 <= self.pid <= MAX_PID:
            raise ConfigError("netns", str(self), f"a process has a number from 1 to {MAX_PID}")
        if self.kind == "path" and (not self.path or "\0" in self.path):
            raise ConfigError("netns", str(self), "no path is given", "write PID or /run/netns/NAME")

    def __str__(self) -> str:
        return str(self.pid) if self.kind == "pid" else self.path

    @property
    def file(self) -> str:
        """The file that stands for it."""
        return f"/proc/{self.pid}/ns/net" if self.kind == "pid" else self.path

    @classmethod
    def parse(cls, text: str) -> Self:
        """``PID`` or ``PATH`` (which has a slash in it); raises ConfigError."""
        if _DIGITS.fullmatch(text):
            return cls("pid", pid=int(text))
        if "/" not in text:
            hint = f"write /run/netns/{text} for a namespace of that name" if text else "write PID or PATH"
            raise ConfigError("netns", text, "this is neither a process number nor a path", hint)
        return cls("path", path=text)
