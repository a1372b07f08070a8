"""A DHCPv6 client for tests: it writes what RFC 8415's client would send, and reads replies with nothing of ours.

guest = Guest(service)
guest.solicit() -> Reply      guest.bound() -> Reply (the REPLY)      guest.send(CONFIRM, ...) -> actions
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from pyslirp.addresses import Endpoint, Mac
from pyslirp.services.base import Action, Datagram, SendDatagram
from pyslirp.services.dhcp6 import Dhcp6Service, Dhcp6Settings

SECOND = 1_000_000_000
PREFIX = IPv6Network("fec0::/64")
HOST, DNS, START = (IPv6Address(f"fec0::{last}") for last in (2, 3, 15))
ALL_SERVERS, ROUTER = IPv6Address("ff02::1:2"), IPv6Address("fe80::2")
LINK_LOCAL = IPv6Address("fe80::5054:ff:fe12:3456")
SERVER_MAC = Mac("52:56:00:00:00:02")
SERVER_DUID = bytes.fromhex("00030001") + SERVER_MAC

SOLICIT, ADVERTISE, REQUEST, CONFIRM, RENEW, REBIND, REPLY, RELEASE, DECLINE, RECONFIGURE, INFORM = range(1, 12)
CLIENT_ID, SERVER_ID, IA_NA, IA_TA, IA_ADDRESS, ORO, PREFERENCE = range(1, 8)
STATUS, RAPID, DNS_SERVERS, DOMAINS, IA_PD, REFRESH, FQDN, BOOTFILE = 13, 14, 23, 24, 25, 32, 39, 59
OK, NO_ADDRS, NO_BINDING, NOT_ON_LINK, USE_MULTICAST, NO_PREFIX = 0, 2, 3, 4, 5, 6

Options = list[tuple[int, bytes]]


def settings(**changes: Any) -> Dhcp6Settings:
    known = {"prefix": PREFIX, "host": HOST, "mac": SERVER_MAC, "start": START, "dns": DNS}
    return Dhcp6Settings(**{**known, **changes})


def address(last: int) -> IPv6Address:
    return PREFIX.network_address + last


def mac(number: int) -> Mac:
    return Mac(b"\x52\x54\x00" + number.to_bytes(3, "big"))


def dropped(service: Dhcp6Service) -> dict[str, int]:
    """Every drop counter that is not zero, by reason."""
    counters = service.snapshot()["counters"]
    return {name.removeprefix("drop."): count for name, count in counters.items() if count and name.startswith("drop.")}


def pack(options: Options) -> bytes:
    return b"".join(struct.pack("!HH", code, len(data)) + data for code, data in options)


def unpack(area: bytes) -> Options:
    options = []
    while area:
        code, length = struct.unpack_from("!HH", area)
        assert len(area) >= 4 + length
        options.append((code, area[4 : 4 + length]))
        area = area[4 + length :]
    return options


def requested(*codes: int) -> tuple[int, bytes]:
    return ORO, b"".join(code.to_bytes(2, "big") for code in codes)


def association(*addresses: IPv6Address, iaid: int = 1, code: int = IA_NA, lifetimes: int = 0) -> tuple[int, bytes]:
    times = b"" if code == IA_TA else bytes(8)
    held = [(IA_ADDRESS, struct.pack("!16sII", wanted.packed, lifetimes, lifetimes)) for wanted in addresses]
    return code, struct.pack("!I", iaid) + times + pack(held)


@dataclass
class Answer:
    """An association in a reply."""

    iaid: int
    t1: int
    t2: int
    addresses: dict[IPv6Address, tuple[int, int]]  #: preferred and valid lifetime
    status: int | None


@dataclass
class Reply:
    """A reply as the guest sees it."""

    sent: SendDatagram
    actions: list[Action]
    options: Options = field(init=False)

    def __post_init__(self) -> None:
        assert len(self.sent.payload) <= 1232
        self.options = unpack(self.sent.payload[4:])

    @property
    def kind(self) -> int:
        return self.sent.payload[0]

    @property
    def transaction(self) -> bytes:
        return self.sent.payload[1:4]

    @property
    def codes(self) -> list[int]:
        return [code for code, _ in self.options]

    def __getitem__(self, code: int) -> bytes:
        (data,) = [data for found, data in self.options if found == code]
        return data

    @property
    def status(self) -> int | None:
        return _status(self.options)

    @property
    def answers(self) -> list[Answer]:
        return [_answer(code, data) for code, data in self.options if code in (IA_NA, IA_TA, IA_PD)]

    @property
    def address(self) -> IPv6Address:
        """Of the only association: the address that it has."""
        (answer,) = self.answers
        (held,) = [address for address, (_, valid) in answer.addresses.items() if valid]
        return held

    def only(self, kind: type[Any]) -> Any:
        (action,) = [action for action in self.actions if isinstance(action, kind)]
        return action


def _status(options: Options) -> int | None:
    found = [int.from_bytes(data[:2], "big") for code, data in options if code == STATUS]
    return found[0] if found else None


def _answer(code: int, data: bytes) -> Answer:
    head = 4 if code == IA_TA else 12
    t1, t2 = (0, 0) if code == IA_TA else struct.unpack_from("!II", data, 4)
    options = unpack(data[head:])
    addresses = {}
    for inner, value in options:
        if inner == IA_ADDRESS:
            raw, preferred, valid = struct.unpack_from("!16sII", value)
            addresses[IPv6Address(raw)] = (preferred, valid)
    return Answer(int.from_bytes(data[:4], "big"), t1, t2, addresses, _status(options))


@dataclass
class Guest:
    """A client on `link`."""

    service: Dhcp6Service
    mac: Mac = field(default_factory=lambda: mac(0x123456))
    link: int = 1
    duid: bytes | None = None  #: None: DUID-LL of its MAC
    now: int = 0
    source: IPv6Address = LINK_LOCAL

    @property
    def client_id(self) -> tuple[int, bytes]:
        return CLIENT_ID, b"\x00\x03\x00\x01" + self.mac if self.duid is None else self.duid

    def raw(self, payload: bytes, to: IPv6Address = ALL_SERVERS, port: int = 546) -> list[Action]:
        """Deliver bytes to the service."""
        datagram = Datagram(self.link, self.mac, Endpoint(self.source, port), Endpoint(to, 547), payload)
        return self.service.handle(datagram, self.now)

    def send(self, kind: int, *options: tuple[int, bytes], to: IPv6Address = ALL_SERVERS) -> list[Action]:
        """Deliver one message with the client's identifier."""
        return self.raw(bytes([kind]) + b"\x12\x34\x56" + pack([self.client_id, *options]), to)

    def ask(self, kind: int, *options: tuple[int, bytes], to: IPv6Address = ALL_SERVERS) -> Reply:
        """Send, and expect exactly one reply, where it belongs."""
        actions = self.send(kind, *options, to=to)
        (sent,) = [action for action in actions if isinstance(action, SendDatagram)]
        assert (sent.source, sent.destination) == (Endpoint(ROUTER, 547), Endpoint(self.source, 546))
        assert (sent.mac, sent.link) == (self.mac, self.link)
        reply = Reply(sent, actions)
        assert reply.transaction == b"\x12\x34\x56"
        assert (reply[SERVER_ID], reply[CLIENT_ID]) == (SERVER_DUID, self.client_id[1])
        return reply

    def solicit(self, *options: tuple[int, bytes]) -> Reply:
        """SOLICIT, by default for one address."""
        return self.ask(SOLICIT, *(options or (association(),)))

    def request(self, *options: tuple[int, bytes]) -> Reply:
        return self.ask(REQUEST, (SERVER_ID, SERVER_DUID), *options)

    def bound(self, iaid: int = 1) -> Reply:
        """SOLICIT and REQUEST: a lease."""
        offer = self.solicit(association(iaid=iaid))
        reply = self.request(association(offer.address, iaid=iaid))
        assert (offer.kind, reply.kind) == (ADVERTISE, REPLY)
        return reply

    def to_server(self, kind: int, *options: tuple[int, bytes]) -> Reply:
        """RENEW, RELEASE or DECLINE."""
        return self.ask(kind, (SERVER_ID, SERVER_DUID), *options)
