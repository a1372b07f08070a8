"""DHCPv6 messages: bytes to a checked request, and a reply to bytes (RFC 8415 sections 8, 16 and 21).

No library is used: dpkt has no DHCPv6, scapy's is slow, lets through options that run past their end, and is GPL.

A request that cannot be used raises `MalformedError`, whose `reason` is the name of the counter; no other exception
leaves `read_request`, whatever the bytes.  What section 16 has discarded of messages that are well made (no client
identifier, one for another server ...) is part of that, but for what depends on where a message was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from ipaddress import IPv6Address
from typing import NamedTuple

from pyslirp.records import dataclass

HEADER_BYTES = 4  #: message type and transaction id (RFC 8415 section 8)
MAX_REQUEST_BYTES = 1452  #: one Ethernet frame of 1500; no client sends more, and it bounds the work on one message
MAX_REPLY_BYTES = 1232  #: what every link that carries IPv6 takes in one packet (RFC 8200 section 5: 1280)
MIN_DUID_BYTES, MAX_DUID_BYTES = 3, 130  #: with its type (RFC 8415 section 11.1)
MAX_ASSOCIATIONS = 6  #: of a message, of any kind: what is beyond makes it malformed
MAX_ADDRESSES = 16  #: of all of them, in the same way; with these two every answer fits into MAX_REPLY_BYTES


class Kind(IntEnum):
    """Message types (RFC 8415 section 7.3)."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    CONFIRM = 4
    RENEW = 5
    REBIND = 6
    REPLY = 7
    RELEASE = 8
    DECLINE = 9
    RECONFIGURE = 10
    INFORMATION_REQUEST = 11
    RELAY_FORWARD = 12
    RELAY_REPLY = 13


class Option(IntEnum):
    """The options that this server reads or writes (RFC 8415 section 21, RFC 3646, 4704, 5970)."""

    CLIENT_ID = 1
    SERVER_ID = 2
    IA_NA = 3
    IA_TA = 4
    IA_ADDRESS = 5
    OPTION_REQUEST = 6
    PREFERENCE = 7
    STATUS_CODE = 13
    RAPID_COMMIT = 14
    DNS_SERVERS = 23
    DOMAIN_LIST = 24
    IA_PD = 25
    REFRESH_TIME = 32
    CLIENT_FQDN = 39
    BOOTFILE_URL = 59
    CLIENT_ARCH_TYPE = 61


class Status(IntEnum):
    """Status codes (RFC 8415 section 21.13)."""

    SUCCESS = 0
    UNSPEC_FAIL = 1
    NO_ADDRS_AVAIL = 2
    NO_BINDING = 3
    NOT_ON_LINK = 4
    USE_MULTICAST = 5
    NO_PREFIX_AVAIL = 6


ASSOCIATIONS = {Option.IA_NA: 12, Option.IA_TA: 4, Option.IA_PD: 12}  # bytes before their options: IAID, T1 and T2

_NEEDS_CLIENT = frozenset(set(Kind) - {Kind.INFORMATION_REQUEST})
_NEEDS_SERVER = frozenset({Kind.REQUEST, Kind.RENEW, Kind.RELEASE, Kind.DECLINE})
_MAY_NAME_SERVER = _NEEDS_SERVER | {Kind.INFORMATION_REQUEST}
_FROM_CLIENTS = _NEEDS_SERVER | {Kind.SOLICIT, Kind.CONFIRM, Kind.REBIND, Kind.INFORMATION_REQUEST}


class MalformedError(ValueError):
    """A message that cannot be used; `reason` names the counter for it."""

    REASONS = (
        "short",
        "long",
        "message_type",  # unknown
        "unexpected_type",  # one that only servers and relays send
        "option_truncated",
        "option_length",
        "option_repeated",
        "too_many",  # associations, or addresses in them
        "no_client_id",
        "no_server_id",
        "unexpected_server_id",
        "unexpected_association",  # in an INFORMATION-REQUEST
    )

    def __init__(self, reason: str) -> None:
        assert reason in self.REASONS
        super().__init__(reason)
        self.reason = reason


class Association(NamedTuple):
    """An identity association: what a client wants addresses for."""

    code: Option  #: IA_NA, IA_TA or IA_PD
    iaid: bytes  #: four bytes, chosen by the client
    addresses: tuple[IPv6Address, ...]  #: that it has or would like; of an IA_NA only


@dataclass(frozen=True, slots=True)
class Request:
    """What a client has sent, checked."""

    kind: Kind
    transaction: bytes  #: three bytes
    options: dict[int, bytes]  #: each once; associations apart
    associations: tuple[Association, ...]  #: in their order

    @property
    def client_id(self) -> bytes:
        """The client's DUID; empty in an INFORMATION-REQUEST that has none."""
        return self.options.get(Option.CLIENT_ID, b"")

    @property
    def server_id(self) -> bytes | None:
        """The DUID of the server that is meant."""
        return self.options.get(Option.SERVER_ID)

    @property
    def asked(self) -> tuple[int, ...] | None:
        """What the client wants to know (option 6), each once; None: it does not say."""
        raw = self.options.get(Option.OPTION_REQUEST)
        return None if raw is None else _numbers(raw)

    @property
    def architectures(self) -> tuple[int, ...]:
        """What the client is (option 61, RFC 5970 section 3.3), the most fitting first; empty: it does not say."""
        return _numbers(self.options.get(Option.CLIENT_ARCH_TYPE, b""))

    @property
    def rapid(self) -> bool:
        """A SOLICIT may be answered with a REPLY at once (RFC 8415 section 18.2.1)."""
        return Option.RAPID_COMMIT in self.options

    @property
    def fqdn(self) -> tuple[int, bytes] | None:
        """Flags and name, in labels, of the client's FQDN option (RFC 4704 section 4)."""
        raw = self.options.get(Option.CLIENT_FQDN)
        return (raw[0], raw[1:]) if raw else None

    @property
    def hostname(self) -> str | None:
        """The client's name, when it is one that is safe to print: letters, digits, hyphens, underscores and dots."""
        fqdn = self.fqdn
        return _printable(fqdn[1]) if fqdn is not None else None


def read_request(payload: bytes) -> Request:
    """The request in a datagram to port 547; raises MalformedError for what no client may send."""
    if len(payload) < HEADER_BYTES:
        raise MalformedError("short")
    if len(payload) > MAX_REQUEST_BYTES:
        raise MalformedError("long")
    try:
        kind = Kind(payload[0])
    except ValueError:
        raise MalformedError("message_type") from None
    if kind not in _FROM_CLIENTS:
        raise MalformedError("unexpected_type")
    options: dict[int, bytes] = {}
    associations: list[Association] = []
    for code, data in _walk(payload[HEADER_BYTES:]):
        if code in ASSOCIATIONS:
            associations.append(_association(Option(code), data))
        elif code in options:
            raise MalformedError("option_repeated")  # of those that may be repeated (vendor ...) none concerns us
        elif code in _LENGTHS:
            _check_length(code, data)
            options[code] = data
    addresses = sum(len(association.addresses) for association in associations)
    if len(associations) > MAX_ASSOCIATIONS or addresses > MAX_ADDRESSES:
        raise MalformedError("too_many")
    request = Request(kind, payload[1:HEADER_BYTES], options, tuple(associations))
    _check(request)
    return request


_LENGTHS = {  # of the options that are read: least, most, and what the length is a multiple of
    Option.CLIENT_ID: (MIN_DUID_BYTES, MAX_DUID_BYTES, 1),
    Option.SERVER_ID: (MIN_DUID_BYTES, MAX_DUID_BYTES, 1),
    Option.OPTION_REQUEST: (0, MAX_REQUEST_BYTES, 2),
    Option.RAPID_COMMIT: (0, 0, 1),
    Option.CLIENT_FQDN: (1, 256, 1),
    Option.CLIENT_ARCH_TYPE: (2, MAX_REQUEST_BYTES, 2),
}


def _check_length(code: int, data: bytes) -> None:
    least, most, multiple = _LENGTHS[Option(code)]
    if not least <= len(data) <= most or len(data) % multiple:
        raise MalformedError("option_length")


def _check(request: Request) -> None:
    """RFC 8415 section 16: what a message of a kind must and must not have."""
    if request.kind in _NEEDS_CLIENT and not request.client_id:
        raise MalformedError("no_client_id")
    if request.kind in _NEEDS_SERVER and request.server_id is None:
        raise MalformedError("no_server_id")
    if request.kind not in _MAY_NAME_SERVER and request.server_id is not None:
        raise MalformedError("unexpected_server_id")
    if request.kind is Kind.INFORMATION_REQUEST and request.associations:
        raise MalformedError("unexpected_association")


def _walk(area: bytes) -> list[tuple[int, bytes]]:
    """The options of one area: code, length, data, two bytes each of the former (RFC 8415 section 21.1)."""
    options = []
    at = 0
    while at < len(area):
        start = at + 4
        end = start + int.from_bytes(area[at + 2 : start], "big")
        if start > len(area) or end > len(area):
            raise MalformedError("option_truncated")
        options.append((int.from_bytes(area[at : at + 2], "big"), area[start:end]))
        at = end
    return options


def _association(code: Option, data: bytes) -> Association:
    head = ASSOCIATIONS[code]
    if len(data) < head:
        raise MalformedError("option_length")
    addresses = []
    for inner, value in _walk(data[head:]):
        if inner == Option.IA_ADDRESS:
            if len(value) < 24:  # address, preferred and valid lifetime (RFC 8415 section 21.6)
                raise MalformedError("option_length")
            addresses.append(IPv6Address(value[:16]))
    return Association(code, data[:4], tuple(addresses))


def _numbers(raw: bytes) -> tuple[int, ...]:
    """A list of 16-bit numbers, each once."""
    return tuple(dict.fromkeys(int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)))


def _printable(labels: bytes) -> str | None:
    parts = []
    at = 0
    while at < len(labels) and labels[at]:
        part = labels[at + 1 : at + 1 + labels[at]].decode("latin-1")
        if labels[at] > 63 or at + 1 + labels[at] > len(labels) or not _is_fine(part):
            return None
        parts.append(part)
        at += 1 + labels[at]
    return ".".join(parts) or None


def _is_fine(label: str) -> bool:
    return label.isascii() and all(char.isalnum() or char in "-_" for char in label)


# -------------------------------------------------------------------------------------------------------------- writing


class Packed(NamedTuple):
    """A message, and how many of its options had no room."""

    payload: bytes
    omitted: int


def build_reply(
    kind: Kind, transaction: bytes, needed: Sequence[tuple[int, bytes]], wanted: Sequence[tuple[int, bytes]] = ()
) -> Packed:
    """A message with the options `needed`, and those of `wanted` for which there is room."""
    payload = bytes([kind]) + transaction + b"".join(pack_option(*option) for option in needed)
    assert len(payload) <= MAX_REPLY_BYTES, "what a request may hold is bounded so that its answer fits"
    omitted = 0
    for code, data in wanted:
        option = pack_option(code, data)
        if len(payload) + len(option) > MAX_REPLY_BYTES:
            omitted += 1
        else:
            payload += option
    return Packed(payload, omitted)


def pack_option(code: int, data: bytes) -> bytes:
    """One option."""
    return code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def pack_status(status: Status, text: str = "") -> tuple[int, bytes]:
    """A status code with what it means, for people."""
    return Option.STATUS_CODE, status.to_bytes(2, "big") + text.encode()


def pack_address(address: IPv6Address, preferred: int, valid: int) -> tuple[int, bytes]:
    """An address with its lifetimes in seconds (RFC 8415 section 21.6)."""
    return Option.IA_ADDRESS, address.packed + preferred.to_bytes(4, "big") + valid.to_bytes(4, "big")


def pack_association(
    association: Association, options: Sequence[tuple[int, bytes]], times: tuple[int, int] = (0, 0)
) -> tuple[int, bytes]:
    """An association with its options; `times` are T1 and T2 in seconds, 0: as the client likes."""
    head = association.iaid
    if ASSOCIATIONS[association.code] > len(head):
        head += b"".join(time.to_bytes(4, "big") for time in times)
    return association.code, head + b"".join(pack_option(*option) for option in options)
