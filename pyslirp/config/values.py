"""The kinds of value that several options share, and how a wrong one is refused.

A *parser* reads an option's text, a *check* judges the value; both know their option's name, so that each raises a
ConfigError that is complete.  The words of the refusals are QEMU's (include/qapi/qmp/qerror.h, util/qemu-option.c).
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any, TypeVar

from pyslirp.config.libc import inet_aton, strtol
from pyslirp.errors import ConfigError, ConfigErrors

T = TypeVar("T")

Parser = Callable[[str], T]  #: text of an option -> its value; raises ConfigError
Check = Callable[[T], None]  #: raises ConfigError for a value that cannot work

TRUE = frozenset({"on", "yes", "true", "y"})
FALSE = frozenset({"off", "no", "false", "n"})


def validate(*checks: tuple[Check[Any], object]) -> None:
    """Run every check on its value; raises ConfigErrors with all that were refused."""
    errors = []
    for check, value in checks:
        try:
            check(value)
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise ConfigErrors(errors)


def expects(option: str, value: object, what: str, hint: str = "") -> ConfigError:
    """QEMU's QERR_INVALID_PARAMETER_VALUE: ``Parameter 'restrict' expects 'on' or 'off'``."""
    shown = {True: "on", False: "off"}[value] if isinstance(value, bool) else value
    return ConfigError(option, shown, f"Parameter '{option}' expects {what}", hint)


def anything(value: object) -> None:
    """The check of an option whose every value can work."""


def boolean(option: str) -> Parser[bool]:
    """Parser of a switch: on, yes, true, y or off, no, false, n, as QEMU's qapi_bool_parse."""

    def parse(text: str) -> bool:
        if text in TRUE:
            return True
        if text in FALSE:
            return False
        raise expects(option, text, "'on' or 'off'")

    return parse


def on_off(value: bool) -> str:
    """How a switch is printed."""
    return "on" if value else "off"


def number(option: str) -> Parser[int]:
    """Parser of a whole number in C's notation (decimal, 0x hexadecimal, leading 0 octal)."""

    def parse(text: str) -> int:
        value, rest = strtol(text, 0)
        if rest or not text:
            raise expects(option, text, "a number")
        return value

    return parse


def within(option: str, first: int, last: int, hint: str = "") -> Check[int]:
    """Check of a number that may be `first` to `last`, both included."""

    def check(value: int) -> None:
        if not first <= value <= last:
            raise expects(option, value, f"a number from {first} to {last}", hint)

    return check


def ipv4_address(option: str, reason: str) -> Parser[IPv4Address]:
    """Parser of an IPv4 address as inet_aton reads it; `reason` is QEMU's for what is none."""

    def parse(text: str) -> IPv4Address:
        try:
            return inet_aton(text)
        except ValueError:
            raise ConfigError(option, text, reason) from None

    return parse


def text_bytes(text: str) -> bytes:
    """The bytes of a name as the user gave them; what was not UTF-8 on the command line comes back as it was."""
    return text.encode("utf-8", "surrogateescape")


def choice_hint(name: str, known: list[str]) -> str:
    """``did you mean 'hostfwd'?`` where a known name resembles `name`, else nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 (only who mistypes pays for it)

    close = get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else ""
