"""The little of a DNS message that a forwarder must read and write: header, question, OPT (RFC 1035 section 4, 6891).

Everything else passes as bytes, so every record type does.  Names are compared and never followed: the only pointers
met are skipped, hence no loop and no expansion.  A query costs one pass over its question and its (few) records.

`read_query` raises `FormatError` for a query whose header is sound and the rest is not (the guest gets FORMERR), and
`NotQueryError` for what deserves no answer at all; nothing else leaves it, whatever the bytes.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from typing import NamedTuple

HEADER_BYTES = 12
MAX_NAME_BYTES = 255
MAX_LABEL_BYTES = 63
PLAIN_UDP_BYTES = 512  #: what a client without EDNS takes (RFC 1035 section 4.2.1)
MAX_RECORDS_READ = 32  #: how far to look for the OPT record; an ordinary query has at most OPT and TSIG

QR, TC, RD, RA = 0x8000, 0x0200, 0x0100, 0x0080
OPCODE_MASK, RCODE_MASK = 0x7800, 0x000F
POINTER = 0xC0

OPT, IXFR, AXFR = 41, 251, 252

_PLAIN_LABEL = re.compile(rb"[0-9a-z_-]+")
_HEADER = struct.Struct("!6H")  # id, flags, counts of question, answer, authority, additional
_RECORD = struct.Struct("!HHIH")  # type, class, TTL, length of data


class Rcode(IntEnum):
    """Response codes (RFC 1035 section 4.1.1, RFC 2136 section 2.2)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5


RCODES = {code.value: code.name for code in Rcode}
HEADER_ONLY = frozenset({Rcode.FORMERR, Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED})  #: may come without the question

RDTYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 17: "RP",
    18: "AFSDB", 24: "SIG", 25: "KEY", 28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 36: "KX", 37: "CERT",
    39: "DNAME", 42: "APL",
    43: "DS", 44: "SSHFP", 45: "IPSECKEY", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 49: "DHCID", 50: "NSEC3",
    51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 55: "HIP", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY", 62: "CSYNC",
    63: "ZONEMD", 64: "SVCB", 65: "HTTPS", 99: "SPF", 108: "EUI48", 109: "EUI64", 249: "TKEY", 250: "TSIG", 251: "IXFR",
    252: "AXFR", 255: "ANY", 256: "URI", 257: "CAA",
}  # fmt: skip


class NotQueryError(ValueError):
    """Too short for a header, or a response: no answer, since answering responses makes loops."""


class FormatError(ValueError):
    """A query that cannot be read; the answer is FORMERR."""


class Question(NamedTuple):
    """The question of a message: `key` tells two of them apart without regard to case; `end` is where it ends."""

    key: bytes
    rdtype: int
    end: int


class Query(NamedTuple):
    """A guest's query."""

    id: int
    question: Question
    edns: bool
    udp_bytes: int  #: largest UDP answer that the guest takes


def read_query(message: bytes) -> Query:
    """Read a guest's query; raises NotQueryError or FormatError."""
    if len(message) < HEADER_BYTES:
        raise NotQueryError("short")
    ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(message)
    if flags & QR:
        raise NotQueryError("response")
    if questions != 1:
        raise FormatError("not one question")
    question = _read_question(message)
    count = answers + authorities + additionals
    opt = find_opt(message, question.end, count) if count <= MAX_RECORDS_READ else None
    udp_bytes = PLAIN_UDP_BYTES if opt is None else max(PLAIN_UDP_BYTES, opt.udp_bytes)  # RFC 6891 section 6.2.3
    return Query(ident, question, opt is not None, udp_bytes)


class Opt(NamedTuple):
    """The OPT record of a message: its bytes lie from `start` to `end`."""

    start: int
    end: int
    udp_bytes: int


def find_opt(message: bytes, at: int, count: int) -> Opt | None:
    """The OPT record among the `count` records from `at`; raises FormatError for records past the end or two OPTs."""
    found: Opt | None = None
    for _ in range(count):
        start = at
        at = _skip_name(message, at)
        if at + _RECORD.size > len(message):
            raise FormatError("record past the end")
        rdtype, rdclass, _, length = _RECORD.unpack_from(message, at)
        at += _RECORD.size + length
        if at > len(message):
            raise FormatError("record past the end")
        if rdtype == OPT:
            if found is not None:  # RFC 6891 section 6.1.1
                raise FormatError("two OPT records")
            found = Opt(start, at, rdclass)
    return found


def _read_question(message: bytes) -> Question:
    at = HEADER_BYTES
    while at < len(message) and (length := message[at]):
        if length > MAX_LABEL_BYTES:
            raise FormatError("not a label")  # a question has nothing before it that a pointer could mean
        at += 1 + length
    end = at + 5  # root label, type, class
    if end > len(message) or at + 1 - HEADER_BYTES > MAX_NAME_BYTES:
        raise FormatError("question past the end")
    # A length is never a letter (it is below 64), so lower-casing the wire format lower-cases the labels alone.
    key = message[HEADER_BYTES:at].lower() + message[at:end]
    return Question(key, int.from_bytes(message[at + 1 : at + 3], "big"), end)


def _skip_name(message: bytes, at: int) -> int:
    """Where the name at `at` ends."""
    while at < len(message):
        length = message[at]
        if length >= POINTER:
            return at + 2
        if length > MAX_LABEL_BYTES:
            raise FormatError("not a label")
        at += 1 + length
        if not length:
            return at
    raise FormatError("name past the end")


def with_id(message: bytes, ident: int) -> bytes:
    """The message under another id."""
    return ident.to_bytes(2, "big") + message[2:]


def rcode(message: bytes) -> int:
    """The response code in the header."""
    return message[3] & RCODE_MASK


def answers(message: bytes, ident: int, query: bytes, question: Question) -> bool:
    """True when `message` is a response to `query`, which was asked under `ident` (RFC 5452 section 9.1)."""
    if len(message) < HEADER_BYTES:
        return False
    got, flags, questions = struct.unpack_from("!3H", message)
    if got != ident or not flags & QR or (flags ^ int.from_bytes(query[2:4], "big")) & OPCODE_MASK:
        return False
    if questions == 0:  # some resolvers give errors so
        return flags & RCODE_MASK in HEADER_ONLY
    if questions != 1:
        return False
    try:
        return _read_question(message).key == question.key
    except FormatError:
        return False


def refusal(message: bytes, code: Rcode, query: Query | None) -> bytes:
    """An error answer of our own to `message`: with its question, and OPT where it had one, if it could be read."""
    ident, flags = struct.unpack_from("!2H", message)
    flags = QR | flags & (OPCODE_MASK | RD) | RA | code
    if query is None:
        return _HEADER.pack(ident, flags, 0, 0, 0, 0)
    question = message[HEADER_BYTES : query.question.end]
    return _HEADER.pack(ident, flags, 1, 0, 0, int(query.edns)) + question + (_plain_opt() if query.edns else b"")


def truncated(message: bytes, question: Question, limit: int) -> bytes:
    """`message` cut down to `limit` bytes: question and OPT, flagged TC, so that the guest asks again over TCP.

    Needs an answer that has passed `answers`.
    """
    ident, flags, questions, *counts = _HEADER.unpack_from(message)
    body = message[HEADER_BYTES : question.end] if questions else b""
    opt = _opt_of(message, HEADER_BYTES + len(body), sum(counts))
    if opt and HEADER_BYTES + len(body) + len(opt) > limit:
        opt = _plain_opt()
    return _HEADER.pack(ident, flags | TC, questions, 0, 0, int(bool(opt))) + body + opt


def _opt_of(message: bytes, at: int, count: int) -> bytes:
    try:
        opt = find_opt(message, at, count)
    except FormatError:
        return b""
    return b"" if opt is None else message[opt.start : opt.end]


def _plain_opt() -> bytes:
    """An OPT record that says only: EDNS version 0."""
    return b"\0" + _RECORD.pack(OPT, PLAIN_UDP_BYTES, 0, 0)


def name_text(question: Question) -> str:
    r"""The name as people write it, anything unprintable as \DDD (RFC 1035 section 5.1)."""
    labels, at = [], 0
    while length := question.key[at]:
        label = question.key[at + 1 : at + 1 + length]
        plain = _PLAIN_LABEL.fullmatch(label)
        labels.append(label.decode("ascii") if plain else "".join(map(_character, label)))
        at += 1 + length
    return ".".join(labels) or "."


def _character(byte: int) -> str:
    char = chr(byte)
    if char in '."();@$\\':
        return "\\" + char
    return char if 0x21 <= byte <= 0x7E else f"\\{byte:03d}"


def type_text(rdtype: int) -> str:
    """The name of a record type, else TYPE and its number (RFC 3597 section 5)."""
    return RDTYPES.get(rdtype, f"TYPE{rdtype}")


def rcode_text(code: int) -> str:
    """The name of a response code, else RCODE and its number."""
    return RCODES.get(code, f"RCODE{code}")
