"""DHCP and BOOTP messages: bytes to a checked request, and a reply to bytes (RFC 951, 1542, 2131 section 2, 2132).

dpkt reads the fixed part and writes whole messages.  The options are walked here, because dpkt takes an option that
runs past the end for a short one, copies the rest of the message for each option that it passes, and knows neither
option overload (RFC 2132 section 9.3) nor options in several pieces (RFC 3396).

A request that cannot be used raises `MalformedError`, whose `reason` is the name of the counter; no other exception
leaves `read_request`, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from ipaddress import IPv4Address
from typing import Any

from pyslirp.addresses import Mac
from pyslirp.records import dataclass

FIXED_BYTES = 236  #: op to file (RFC 2131 figure 1), before the magic cookie
OPTIONS_AT = 240  #: first option: fixed part and cookie
FILE_BYTES = 128  #: of the file field (RFC 951 section 3)
MIN_BYTES = 300  #: of a BOOTP message (RFC 951 section 3, RFC 1542 section 2.1): replies are padded to it
MAX_REQUEST_BYTES = 1472  #: one Ethernet frame of 1500; no client sends more, and it bounds the work on one message
IP_UDP_BYTES = 28  #: option 57 counts IP and UDP headers too (RFC 2131 section 2: at least 576, 312 of them options)
MIN_MAX_BYTES = 576  #: least legal value of option 57, and what holds without it (RFC 2132 section 9.10)
MAX_REPLY_BYTES = 1472  #: a reply is never fragmented, whatever option 57 allows
MAX_CLIENT_ID_BYTES = 255  #: one option's worth (RFC 2132 section 9.14); RFC 3396 could join more, nobody does
ETHERNET = 1  #: htype

MAGIC = 0x63825363
BROADCAST_FLAG = 0x8000
OP_REQUEST, OP_REPLY = 1, 2
OVERLOAD_FILE, OVERLOAD_SNAME = 1, 2  #: bits of option 52


class Kind(IntEnum):
    """DHCP message types (RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    """The options that this server reads or writes (RFC 2132, 3004, 3397, 4039, 4578)."""

    PAD = 0
    SUBNET_MASK = 1
    ROUTER = 3
    DOMAIN_NAME_SERVER = 6
    HOST_NAME = 12
    DOMAIN_NAME = 15
    INTERFACE_MTU = 26
    BROADCAST_ADDRESS = 28
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETER_LIST = 55
    MESSAGE = 56
    MAX_MESSAGE_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    TFTP_SERVER_NAME = 66
    BOOTFILE_NAME = 67
    USER_CLASS = 77
    RAPID_COMMIT = 80
    CLIENT_ARCHITECTURE = 93
    CLIENT_MACHINE_ID = 97
    DOMAIN_SEARCH = 119
    END = 255


_LENGTHS = {  # bytes of the options that are read as a value; any other length makes the message malformed
    Option.REQUESTED_ADDRESS: 4,
    Option.LEASE_TIME: 4,
    Option.OVERLOAD: 1,
    Option.MESSAGE_TYPE: 1,
    Option.SERVER_ID: 4,
    Option.MAX_MESSAGE_SIZE: 2,
    Option.RAPID_COMMIT: 0,
}


class MalformedError(ValueError):
    """A message that cannot be used; `reason` names the counter for it."""

    REASONS = ("short", "long", "not_request", "hardware", "option_truncated", "option_length", "message_type")

    def __init__(self, reason: str) -> None:
        assert reason in self.REASONS
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Request:
    """What a client has sent, checked."""

    kind: Kind | None  #: None: plain BOOTP, which has no option 53 (RFC 1534 section 2)
    xid: int
    flags: int
    ciaddr: IPv4Address
    giaddr: IPv4Address
    chaddr: Mac
    options: dict[int, bytes]  #: pieces joined (RFC 3396)

    @property
    def broadcast(self) -> bool:
        """The client cannot take unicast yet (RFC 2131 section 4.1)."""
        return bool(self.flags & BROADCAST_FLAG)

    @property
    def requested(self) -> IPv4Address | None:
        """Option 50."""
        return self._address(Option.REQUESTED_ADDRESS)

    @property
    def server_id(self) -> IPv4Address | None:
        """Option 54."""
        return self._address(Option.SERVER_ID)

    @property
    def lease_seconds(self) -> int | None:
        """Option 51: how long the client would like to have the address."""
        raw = self.options.get(Option.LEASE_TIME)
        return None if raw is None else int.from_bytes(raw, "big")

    @property
    def max_reply_bytes(self) -> int:
        """UDP payload that the client takes (option 57), one Ethernet frame at most."""
        datagram = int.from_bytes(self.options.get(Option.MAX_MESSAGE_SIZE, b""), "big")
        return min(max(datagram, MIN_MAX_BYTES) - IP_UDP_BYTES, MAX_REPLY_BYTES)

    @property
    def hostname(self) -> str | None:
        """Option 12, when it is a name that is safe to print: letters, digits, hyphens, underscores and dots."""
        text = self.options.get(Option.HOST_NAME, b"").rstrip(b"\0").decode("latin-1")[:255]
        fine = text.isascii() and all(char.isalnum() or char in "-_." for char in text)
        return text if text and fine else None

    def _address(self, code: Option) -> IPv4Address | None:
        raw = self.options.get(code)
        return None if raw is None else IPv4Address(raw)


@cache
def _dpkt_dhcp() -> Any:
    """The messages of dpkt, from the first one on: to import it takes a third of the start-up time, and 6 MB."""
    from dpkt.dhcp import DHCP  # noqa: PLC0415

    return DHCP


def read_request(payload: bytes) -> Request:
    """The request in a datagram to port 67; raises MalformedError for what no client may send."""
    if len(payload) < OPTIONS_AT:
        raise MalformedError("short")
    if len(payload) > MAX_REQUEST_BYTES:
        raise MalformedError("long")
    head = _dpkt_dhcp()(payload[:OPTIONS_AT])  # the fixed part alone, and all of it: nothing for dpkt to refuse
    if head.op != OP_REQUEST:
        raise MalformedError("not_request")
    if head.hrd != ETHERNET or head.hln != 6 or head.chaddr[0] & 1 or not any(head.chaddr):
        raise MalformedError("hardware")  # not one Ethernet station's address
    options = _read_options(payload, head) if head.magic == MAGIC else {}  # an old BOOTP vendor area has another cookie
    kind = _kind(options)
    if kind is None and len(payload) < MIN_BYTES:  # RFC 1542 section 2.1; DHCP clients are known to send less
        raise MalformedError("short")
    return Request(
        kind=kind,
        xid=head.xid,
        flags=head.flags,
        ciaddr=IPv4Address(head.ciaddr),
        giaddr=IPv4Address(head.giaddr),
        chaddr=Mac(head.chaddr),
        options=options,
    )


def _kind(options: dict[int, bytes]) -> Kind | None:
    raw = options.get(Option.MESSAGE_TYPE)
    if raw is None:
        return None
    try:
        return Kind(raw[0])
    except ValueError as error:
        raise MalformedError("message_type") from error


def _read_options(payload: bytes, head: Any) -> dict[int, bytes]:
    """Every option by code, joined in the order of RFC 3396 section 5: options field, then file, then sname."""
    options: dict[int, bytes] = {}
    _walk(payload[OPTIONS_AT:], options)
    overload = options.get(Option.OVERLOAD, b"\0")
    if len(overload) != 1:
        raise MalformedError("option_length")
    if overload[0] & OVERLOAD_FILE:
        _walk(head.file, options)
    if overload[0] & OVERLOAD_SNAME:
        _walk(head.sname, options)
    if any(len(options[code]) != length for code, length in _LENGTHS.items() if code in options):
        raise MalformedError("option_length")
    if len(options.get(Option.CLIENT_ID, b"")) > MAX_CLIENT_ID_BYTES:
        raise MalformedError("option_length")
    return options


def _walk(area: bytes, options: dict[int, bytes]) -> None:
    """Add the options of one area.  A missing END is forgiven, as BOOTP's vendor areas need not have one (RFC 1497)."""
    at = 0
    while at < len(area):
        code = area[at]
        if code == Option.END:
            return
        if code == Option.PAD:
            at += 1
            continue
        start = at + 2
        end = start + area[at + 1] if start <= len(area) else start
        if end > len(area):
            raise MalformedError("option_truncated")
        options[code] = options.get(code, b"") + area[start:end]
        at = end


def build_reply(
    request: Request,
    options: Sequence[tuple[int, bytes]],
    *,
    yiaddr: IPv4Address | None = None,
    ciaddr: IPv4Address | None = None,
    siaddr: IPv4Address | None = None,
    bootfile: bytes = b"",
    broadcast: bool = False,
) -> tuple[bytes, int]:
    """The reply to `request` with `options` in their order (for DHCP the message type first), padded to 300 bytes.

    Returns the message and the number of options left out: the reply never exceeds what the client takes (option 57 for
    DHCP, 300 bytes for BOOTP), for which a DHCP reply may use the file and sname fields (option overload); the file field
    only where there is no `bootfile`, of FILE_BYTES - 1 at most, to stand there.
    """
    areas = _lay_out(options, request, 0 if bootfile else FILE_BYTES - 1)
    reply = _dpkt_dhcp()(
        op=OP_REPLY,
        hrd=ETHERNET,
        hln=6,
        xid=request.xid,
        flags=request.flags | (BROADCAST_FLAG if broadcast else 0),
        ciaddr=int(ciaddr or 0),
        yiaddr=int(yiaddr or 0),
        siaddr=int(siaddr or 0),
        giaddr=int(request.giaddr),
        chaddr=bytes(request.chaddr),
        file=bootfile or areas.file,
        sname=areas.sname,
        opts=areas.options,
        data=b"" if areas.options else bytes([Option.END]),  # dpkt writes END only after options
    )
    return bytes(reply).ljust(MIN_BYTES, b"\0"), areas.omitted


@dataclass(slots=True)
class _Areas:
    """Options laid out: `options` as dpkt packs them (it adds END), `file` and `sname` as bytes."""

    options: list[tuple[int, bytes]]
    file: bytes = b""
    sname: bytes = b""
    omitted: int = 0


def _lay_out(options: Sequence[tuple[int, bytes]], request: Request, file_room: int) -> _Areas:
    pieces = [piece for code, data in options for piece in _pieces(code, data)]
    limit = (MIN_BYTES if request.kind is None else request.max_reply_bytes) - OPTIONS_AT - 1  # 1: END
    if sum(2 + len(data) for _, data in pieces) <= limit:
        return _Areas(pieces)
    if request.kind is None:  # overload is DHCP's; to BOOTP file and sname are names
        placed, omitted = _place(options, [limit])
        return _Areas(placed[0], omitted=omitted)
    message_type, *rest = options
    placed, omitted = _place(rest, [limit - 3 - 3, file_room, 63])  # 3: message type, 3: overload; 1 in file and sname: END
    overload = (OVERLOAD_FILE if placed[1] else 0) | (OVERLOAD_SNAME if placed[2] else 0)
    head = [message_type] + ([(int(Option.OVERLOAD), bytes([overload]))] if overload else [])
    return _Areas(head + placed[0], _pack(placed[1]), _pack(placed[2]), omitted)


def _pieces(code: int, data: bytes) -> list[tuple[int, bytes]]:
    """An option in pieces of 255 bytes at most (RFC 3396 section 5)."""
    return [(code, data[at : at + 255]) for at in range(0, max(len(data), 1), 255)]


def _place(options: Sequence[tuple[int, bytes]], rooms: list[int]) -> tuple[list[list[tuple[int, bytes]]], int]:
    """Each option whole into the first area with room, else in pieces over what is left, else counted as left out."""
    placed: list[list[tuple[int, bytes]]] = [[] for _ in rooms]
    omitted = 0
    for code, data in options:
        for area, room in enumerate(rooms):
            if len(data) <= 255 and 2 + len(data) <= room:
                placed[area].append((code, data))
                rooms[area] -= 2 + len(data)
                break
        else:
            if not _split(code, data, rooms, placed):
                omitted += 1
    return placed, omitted


def _split(code: int, data: bytes, rooms: list[int], placed: list[list[tuple[int, bytes]]]) -> bool:
    """Spread one option over the areas, in the order in which RFC 3396 joins them; False when there is no room."""
    rest = data
    taken: list[tuple[int, bytes]] = []
    left = list(rooms)
    for area in range(len(rooms)):
        while rest and left[area] > 2:
            piece, rest = rest[: min(left[area] - 2, 255)], rest[min(left[area] - 2, 255) :]
            taken.append((area, piece))
            left[area] -= 2 + len(piece)
    if rest:
        return False
    rooms[:] = left
    for area, piece in taken:
        placed[area].append((code, piece))
    return True


def _pack(options: list[tuple[int, bytes]]) -> bytes:
    """An overloaded field: options and END, or nothing; dpkt pads it with zeros (which are PAD)."""
    if not options:
        return b""
    return b"".join(bytes([code, len(data)]) + data for code, data in options) + bytes([Option.END])


def pack_addresses(*addresses: IPv4Address) -> bytes:
    """Addresses one after the other, as options 1, 3, 6, 28 and 54 have them."""
    return b"".join(address.packed for address in addresses)
