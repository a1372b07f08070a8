"""TFTP packets (RFC 1350 section 5) and the options of a request (RFC 2347, 2348, 2349, 7440) as values.

Nothing here knows of transfers.  What cannot be read raises MalformedError with the error code and the text that the
client is told.
"""

from __future__ import annotations

from enum import IntEnum

from pyslirp.records import dataclass, field

MAX_REQUEST_BYTES = 1500  #: RFC 2347 section 2 has 512; what fits into a packet is taken
MAX_NAME_BYTES = 512
MAX_OPTIONS = 16
MAX_TEXT_BYTES = 128  #: of an error that is sent

MIN_BLOCK_BYTES, MAX_BLOCK_BYTES = 8, 65464  #: RFC 2348 section 3
DEFAULT_BLOCK_BYTES = 512  #: RFC 1350 section 2
MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS = 1, 255  #: RFC 2349 section 2
MAX_WINDOW_BLOCKS = 65535  #: RFC 7440 section 3
BLOCKS = 1 << 16  #: block numbers that there are; after the last comes 0

_MAX_DIGITS = 20  #: of an option's value


class Opcode(IntEnum):
    """RFC 1350 section 5, RFC 2347 section 3."""

    RRQ = 1
    WRQ = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class Code(IntEnum):
    """Error codes: RFC 1350 appendix, RFC 2347 section 4."""

    UNDEFINED = 0
    NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    ILLEGAL_OPERATION = 4
    UNKNOWN_TRANSFER = 5
    BAD_OPTIONS = 8


class MalformedError(Exception):
    """A packet that cannot be read; what its sender is told."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Request:
    """A read or write request."""

    write: bool
    name: bytes  #: of the file, as it came
    netascii: bool  #: lines end in CR LF on the wire; else octets
    options: dict[str, int] = field(default_factory=dict)  #: those known here that have a value in range, in order


def read_request(payload: bytes) -> Request:
    """A packet to port 69; raises MalformedError for what is no request."""
    opcode = int.from_bytes(payload[:2], "big")
    if len(payload) > MAX_REQUEST_BYTES or opcode not in (Opcode.RRQ, Opcode.WRQ):
        raise MalformedError(Code.ILLEGAL_OPERATION, "Illegal TFTP operation")
    *words, rest = payload[2:].split(b"\0")
    if rest or len(words) < 2:
        raise MalformedError(Code.ILLEGAL_OPERATION, "Illegal TFTP operation")
    name, mode, *pairs = words
    if not name or len(name) > MAX_NAME_BYTES:
        raise MalformedError(Code.ACCESS_VIOLATION, "Access violation")
    kind = mode.lower()
    if kind not in (b"octet", b"netascii"):
        raise MalformedError(Code.ILLEGAL_OPERATION, "Unsupported transfer mode")
    return Request(opcode == Opcode.WRQ, name, kind == b"netascii", _options(pairs))


def _options(pairs: list[bytes]) -> dict[str, int]:
    """What is out of range, unknown or not a number is not acknowledged, which refuses it (RFC 2347 section 3)."""
    ranges = {
        "blksize": (MIN_BLOCK_BYTES, MAX_BLOCK_BYTES),
        "timeout": (MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS),
        "tsize": (0, 10**_MAX_DIGITS),
        "windowsize": (1, MAX_WINDOW_BLOCKS),
    }
    options: dict[str, int] = {}
    for name_bytes, value in list(zip(pairs[::2], pairs[1::2], strict=False))[:MAX_OPTIONS]:
        name = name_bytes.decode("latin-1").lower()
        if name not in ranges or name in options or not value.isdigit() or len(value) > _MAX_DIGITS:
            continue
        first, last = ranges[name]
        if first <= int(value) <= last:
            options[name] = int(value)
    return options


def read_ack(payload: bytes) -> int | None:
    """The block number of an acknowledgement; None for another packet."""
    if len(payload) < 4 or int.from_bytes(payload[:2], "big") != Opcode.ACK:
        return None
    return int.from_bytes(payload[2:4], "big")


def is_error(payload: bytes) -> bool:
    """Does the other side give up?"""
    return int.from_bytes(payload[:2], "big") == Opcode.ERROR and len(payload) >= 2


def build_data(block: int, data: bytes) -> bytes:
    """A block of the file; of `block` the lower 16 bits count."""
    return Opcode.DATA.to_bytes(2, "big") + (block % BLOCKS).to_bytes(2, "big") + data


def build_oack(options: dict[str, int]) -> bytes:
    """The options that hold for this transfer."""
    words = [word for name, value in options.items() for word in (name.encode(), str(value).encode())]
    return Opcode.OACK.to_bytes(2, "big") + b"".join(word + b"\0" for word in words)


def build_error(code: Code, text: str) -> bytes:
    """An error, which ends a transfer and is never answered (RFC 1350 section 7)."""
    shown = text.encode("ascii", "replace").replace(b"\0", b"?")[:MAX_TEXT_BYTES]
    return Opcode.ERROR.to_bytes(2, "big") + code.to_bytes(2, "big") + shown + b"\0"


def to_netascii(data: bytes) -> bytes:
    """Text of this host, whose lines end in LF, as the Telnet NVT has it (RFC 764 page 11, RFC 1350 section 1)."""
    return data.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")
