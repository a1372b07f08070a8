"""A DHCP client for tests: it writes what the RFC's client would send, and reads replies with dpkt and nothing of ours.

One verb a message, one state of RFC 2131 figure 5 a builder:

    guest = Guest(service)
    guest.discover() -> Reply        guest.bound() -> Reply (the ACK)        guest.silence(guest.inform) ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import dpkt

from pyslirp.addresses import Endpoint, Mac
from pyslirp.services.base import Action, Datagram, LearnNeighbor, SendDatagram
from pyslirp.services.dhcp import DhcpService, DhcpSettings

SECOND = 1_000_000_000
NET = IPv4Network("10.0.2.0/24")
HOST, DNS, START = (IPv4Address(f"10.0.2.{last}") for last in (2, 3, 15))
ANY, BROADCAST = IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255")
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)


def settings(**changes: Any) -> DhcpSettings:
    return DhcpSettings(**{"net": NET, "host": HOST, "dns": DNS, "start": START, **changes})


def address(last: int) -> IPv4Address:
    return NET.network_address + last


def mac(number: int) -> Mac:
    return Mac(b"\x52\x54\x00" + number.to_bytes(3, "big"))


def dropped(service: DhcpService) -> dict[str, int]:
    """Every drop counter that is not zero, by reason."""
    counters = service.snapshot()["counters"]
    return {name.removeprefix("drop."): count for name, count in counters.items() if count and name.startswith("drop.")}


def join(options: list[tuple[int, bytes]]) -> dict[int, bytes]:
    """Options by code, pieces joined (RFC 3396)."""
    joined: dict[int, bytes] = {}
    for code, data in options:
        joined[code] = joined.get(code, b"") + data
    return joined


@dataclass
class Reply:
    """A reply as the guest sees it."""

    sent: SendDatagram
    actions: list[Action]
    message: Any = field(init=False)  #: dpkt.dhcp.DHCP
    options: dict[int, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.message = dpkt.dhcp.DHCP(self.sent.payload)
        self.options = join(self.message.opts)

    @property
    def kind(self) -> int:
        return self.options[53][0]

    @property
    def codes(self) -> list[int]:
        return [code for code, _ in self.message.opts]

    @property
    def yiaddr(self) -> IPv4Address:
        return IPv4Address(self.message.yiaddr)

    @property
    def siaddr(self) -> IPv4Address:
        return IPv4Address(self.message.siaddr)

    @property
    def file(self) -> bytes:
        """The name in the file field, where that holds no options."""
        return self.message.file.rstrip(b"\0")  # type: ignore[no-any-return]

    def seconds(self, code: int) -> int:
        return int.from_bytes(self.options[code], "big")

    def only(self, kind: type[Any]) -> Any:
        (action,) = [action for action in self.actions if isinstance(action, kind)]
        return action

    @property
    def learnt(self) -> list[LearnNeighbor]:
        return [action for action in self.actions if isinstance(action, LearnNeighbor)]


@dataclass
class Guest:
    """A client on `link`; `client_id` and `flags` go into every message."""

    service: DhcpService
    mac: Mac = field(default_factory=lambda: mac(0x123456))
    link: int = 1
    client_id: bytes | None = None
    flags: int = 0
    now: int = 0
    source: IPv4Address = ANY

    def send(
        self,
        kind: int | None,
        *options: tuple[int, bytes],
        to: IPv4Address = BROADCAST,
        size: int = 300,
        **fields: int | bytes,
    ) -> list[Action]:
        """Deliver one message to the service; `kind` None: BOOTP."""
        chosen = [] if kind is None else [(53, bytes([kind]))]
        if self.client_id is not None:
            chosen.append((61, self.client_id))
        header = {"xid": 0x1234, "flags": self.flags, "chaddr": bytes(self.mac), **fields}
        message = dpkt.dhcp.DHCP(opts=[*chosen, *options], **header)
        payload = bytes(message).ljust(size, b"\0")
        source, destination = Endpoint(self.source, 68), Endpoint(to, 67)
        return self.service.handle(Datagram(self.link, self.mac, source, destination, payload), self.now)

    def ask(self, kind: int | None, *options: tuple[int, bytes], **fields: Any) -> Reply:
        """Send, and expect exactly one reply."""
        actions = self.send(kind, *options, **fields)
        (sent,) = [action for action in actions if isinstance(action, SendDatagram)]
        return Reply(sent, actions)

    def discover(self, *options: tuple[int, bytes], **fields: Any) -> Reply:
        reply = self.ask(DISCOVER, *options, **fields)
        assert reply.kind == OFFER
        return reply

    def select(self, wanted: IPv4Address, *options: tuple[int, bytes], **fields: Any) -> Reply:
        return self.ask(REQUEST, (54, HOST.packed), (50, wanted.packed), *options, **fields)

    def reboot(self, wanted: IPv4Address, *options: tuple[int, bytes]) -> Reply:
        return self.ask(REQUEST, (50, wanted.packed), *options)

    def renew(self, held: IPv4Address, *options: tuple[int, bytes]) -> Reply:
        return self.ask(REQUEST, *options, ciaddr=int(held), to=HOST)

    def rebind(self, held: IPv4Address) -> Reply:
        return self.ask(REQUEST, ciaddr=int(held))

    def release(self, held: IPv4Address) -> list[Action]:
        return self.send(RELEASE, (54, HOST.packed), ciaddr=int(held), to=HOST)

    def decline(self, held: IPv4Address) -> list[Action]:
        return self.send(DECLINE, (54, HOST.packed), (50, held.packed))

    def inform(self, held: IPv4Address, *options: tuple[int, bytes]) -> Reply:
        return self.ask(INFORM, *options, ciaddr=int(held), to=HOST)

    def bound(self, *options: tuple[int, bytes]) -> Reply:
        """DISCOVER, REQUEST: the guest in state BOUND."""
        reply = self.select(self.discover(*options).yiaddr, *options)
        assert reply.kind == ACK
        return reply


def silence(send: Callable[[], Any]) -> bool:
    """True when the service answered nothing at all."""
    try:
        return not send()
    except ValueError:  # Guest.ask unpacks exactly one reply
        return True
