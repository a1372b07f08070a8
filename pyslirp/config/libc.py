"""The two functions of the C library whose reading of numbers is part of QEMU's option syntax: strtol and inet_aton.

``hostfwd=tcp:127.1:0x1f90-:22`` is a rule that QEMU takes, so that it must mean the same here.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address

LONG_MAX = 2**63 - 1

# More digits than these saturate: 2**63 has 21 of them in base eight.  Python refuses to read thousands of them.
_MAX_DIGITS = 64

_STRTOL = {
    0: re.compile(r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)"),
    10: re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)"),
}


def strtol(text: str, base: int) -> tuple[int, str]:
    """The number at the start of `text` and the text behind it; (0, text) where there is no number.

    `base` is 10, or 0 for C's notation (0x is hexadecimal, a leading 0 octal).  A number that does not fit into a long
    saturates (C11 section 7.22.1.4).
    """
    match = _STRTOL[base].match(text)
    if match is None:
        return 0, text
    sign, digits = match.groups()
    value = LONG_MAX if len(digits) > _MAX_DIGITS else min(_c_integer(digits, base), LONG_MAX)
    return (-value if sign == "-" else value), text[match.end() :]


def _c_integer(digits: str, base: int) -> int:
    if base == 10:
        return int(digits)
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16)
    return int(digits, 8 if digits.startswith("0") else 10)


def inet_aton(text: str) -> IPv4Address:
    """An IPv4 address in any of the forms a.b.c.d, a.b.c, a.b and a, each part decimal, octal or hexadecimal.

    Raises ValueError for anything else.  Deviation: glibc stops reading at white space, here that is an error.
    """
    *bytes_, last = text.split(".")
    if len(bytes_) > 3:
        raise ValueError(f"not an IPv4 address: {text!r}")
    value = 0
    for part in bytes_:
        value = value << 8 | _aton_part(part, limit=1 << 8)
    rest_bits = 32 - 8 * len(bytes_)
    return IPv4Address(value << rest_bits | _aton_part(last, limit=1 << rest_bits))


def _aton_part(part: str, limit: int) -> int:
    value, rest = strtol(part, 0)
    # strtol takes white space and a sign in front, inet_aton does not.
    if rest or not "0" <= part[:1] <= "9" or value >= limit:
        raise ValueError(f"not a part of an IPv4 address: {part!r}")
    return value
