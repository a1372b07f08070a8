"""The DHCP client of the simulator's guest (RFC 2131 section 4.4, figure 5), written with dpkt alone.

It has no clock and no socket: each entry takes `now` and returns the messages to send.  States are the RFC's:

    INIT - start() - SELECTING - offer - REQUESTING - ack - BOUND - T1 - RENEWING - T2 - REBINDING - expiry - INIT

Deviations.  The first offer is taken.  Retransmissions follow 4.1 (4 s, doubled up to 64 s) without the random second,
which a lone client on a private link has no use for.  An address is not probed by ARP (RFC 5227) before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

import dpkt

from pyslirp.addresses import Mac
from pyslirp.sim.clock import SECOND_NS

SERVER_PORT, CLIENT_PORT = 67, 68
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
OPTION_MASK, OPTION_ROUTER, OPTION_DNS, OPTION_HOSTNAME, OPTION_DOMAIN, OPTION_MTU = 1, 3, 6, 12, 15, 26
OPTION_ADDRESS, OPTION_LEASE, OPTION_KIND, OPTION_SERVER, OPTION_WANTED, OPTION_T1, OPTION_T2 = (
    50,
    51,
    53,
    54,
    55,
    58,
    59,
)
WANTED = bytes([OPTION_MASK, OPTION_ROUTER, OPTION_DNS, OPTION_DOMAIN, OPTION_MTU, OPTION_LEASE, OPTION_T1, OPTION_T2])

FIRST_RETRY_NS, LAST_RETRY_NS = 4 * SECOND_NS, 64 * SECOND_NS
LEAST_RENEW_NS = 60 * SECOND_NS  #: RFC 2131 section 4.4.5: not more often than once a minute while renewing


class State(Enum):
    """Figure 5 of RFC 2131."""

    INIT = "init"
    SELECTING = "selecting"
    REQUESTING = "requesting"
    BOUND = "bound"
    RENEWING = "renewing"
    REBINDING = "rebinding"


@dataclass(frozen=True, slots=True)
class Lease:
    """What an ACK gave."""

    address: IPv4Address
    net: IPv4Network
    router: IPv4Address | None
    dns: tuple[IPv4Address, ...]
    mtu: int | None  #: option 26
    domain: str | None
    server: IPv4Address
    renew_at: int  #: T1, nanoseconds
    rebind_at: int  #: T2
    expires_at: int


class Message(NamedTuple):
    """A message to send to port 67; `to` None: broadcast from 0.0.0.0."""

    to: IPv4Address | None
    payload: bytes


class DhcpClient:
    """One client.  `lease` is None while there is none."""

    def __init__(self, mac: Mac, seed: int, hostname: str | None = None) -> None:
        self.state = State.INIT
        self.lease: Lease | None = None
        self.refused = 0  #: NAKs received
        self._mac = mac
        self._hostname = hostname
        self._xid = seed & 0xFFFFFFFF
        self._offer: tuple[IPv4Address, IPv4Address] | None = None  # address, server
        self._retry_ns = FIRST_RETRY_NS
        self._retry_at: int | None = None
        self._asked_at = 0  # a lease counts from when it was asked for (4.4.1)

    # -- from outside -------------------------------------------------------------------------------------------------

    def start(self, now: int) -> list[Message]:
        """Look for a server."""
        self._xid = (self._xid + 1) & 0xFFFFFFFF
        self.lease = None
        self._enter(State.SELECTING, now)
        return [self._ask(now)]

    def renew(self, now: int) -> list[Message]:
        """Ask the server that gave the lease to prolong it, without waiting for T1."""
        if self.lease is None:
            return self.start(now)
        self._xid = (self._xid + 1) & 0xFFFFFFFF
        self._enter(State.RENEWING, now)
        return [self._ask(now)]

    def release(self) -> list[Message]:
        """Give the lease back."""
        lease, self.lease = self.lease, None
        self.state, self._retry_at = State.INIT, None
        if lease is None:
            return []
        self._xid = (self._xid + 1) & 0xFFFFFFFF
        return [Message(lease.server, self._build(RELEASE, lease.address, [(OPTION_SERVER, lease.server.packed)]))]

    def handle(self, payload: bytes, now: int) -> list[Message]:
        """A message from a server; what is not meant for us, or makes no sense, changes nothing."""
        try:
            message = dpkt.dhcp.DHCP(payload)
        except dpkt.UnpackError:
            return []
        options: dict[int, bytes] = {}
        for code, data in message.opts:
            options[code] = options.get(code, b"") + data
        if message.op != 2 or message.xid != self._xid or bytes(message.chaddr[:6]) != self._mac:
            return []
        kind = options.get(OPTION_KIND, b"\0")[0]
        if kind == OFFER and self.state is State.SELECTING and len(options.get(OPTION_SERVER, b"")) == 4:
            self._offer = IPv4Address(message.yiaddr), IPv4Address(options[OPTION_SERVER])
            self._enter(State.REQUESTING, now)
            return [self._ask(now)]
        if self.state not in {State.REQUESTING, State.RENEWING, State.REBINDING}:
            return []
        if kind == NAK:
            self.refused += 1
            return self.start(now)
        if kind == ACK:
            self._bind(IPv4Address(message.yiaddr), options)
        return []

    def deadline(self) -> int | None:
        """When `expire` is next wanted."""
        due = [] if self._retry_at is None else [self._retry_at]
        if self.lease is not None:
            due += [self.lease.expires_at]
            due += [self.lease.renew_at] if self.state is State.BOUND else []
            due += [self.lease.rebind_at] if self.state is State.RENEWING else []
        return min(due, default=None)

    def expire(self, now: int) -> list[Message]:
        """Do what is due: ask again, renew, rebind, give up an address."""
        lease = self.lease
        if lease is not None and now >= lease.expires_at:
            return self.start(now)
        if lease is not None and self.state is State.BOUND and now >= lease.renew_at:
            return self.renew(now)
        if lease is not None and self.state is State.RENEWING and now >= lease.rebind_at:
            self._enter(State.REBINDING, now)
            return [self._ask(now)]
        if self._retry_at is None or now < self._retry_at:
            return []
        if self.state is State.REQUESTING and self._retry_ns >= LAST_RETRY_NS:
            return self.start(now)  # the server that offered is gone
        self._retry_ns = min(2 * self._retry_ns, LAST_RETRY_NS)
        return [self._ask(now)]

    # -- inside -------------------------------------------------------------------------------------------------------

    def _enter(self, state: State, now: int) -> None:
        self.state = state
        self._asked_at = now
        self._retry_ns = LEAST_RENEW_NS if state in {State.RENEWING, State.REBINDING} else FIRST_RETRY_NS

    def _ask(self, now: int) -> Message:
        """The message of this state, and when it is repeated."""
        self._retry_at = now + self._retry_ns
        wanted = (OPTION_WANTED, WANTED)
        if self.state is State.SELECTING:
            return Message(None, self._build(DISCOVER, None, [wanted]))
        if self.state is State.REQUESTING:
            assert self._offer is not None
            address, server = self._offer
            options = [(OPTION_ADDRESS, address.packed), (OPTION_SERVER, server.packed), wanted]
            return Message(None, self._build(REQUEST, None, options))
        assert self.lease is not None
        payload = self._build(REQUEST, self.lease.address, [wanted])
        return Message(self.lease.server if self.state is State.RENEWING else None, payload)

    def _build(self, kind: int, ciaddr: IPv4Address | None, options: Iterable[tuple[int, bytes]]) -> bytes:
        name = [(OPTION_HOSTNAME, self._hostname.encode())] if self._hostname and kind != RELEASE else []
        message: Any = dpkt.dhcp.DHCP(
            op=1,
            xid=self._xid,
            chaddr=bytes(self._mac) + bytes(10),
            ciaddr=int(ciaddr) if ciaddr else 0,
            opts=((OPTION_KIND, bytes([kind])), *options, *name),
        )
        return bytes(message)

    def _bind(self, address: IPv4Address, options: dict[int, bytes]) -> None:
        """Take the lease of an ACK."""

        def addresses(code: int) -> tuple[IPv4Address, ...]:
            data = options.get(code, b"")
            return tuple(IPv4Address(data[at : at + 4]) for at in range(0, len(data) - 3, 4))

        def number(code: int, otherwise: int) -> int:
            return int.from_bytes(options[code], "big") if code in options else otherwise

        seconds = number(OPTION_LEASE, 0)
        server = addresses(OPTION_SERVER) or ((self.lease.server,) if self.lease else ())
        if not seconds or not server:
            return  # no ACK of a DHCP server
        mask = (addresses(OPTION_MASK) or (IPv4Address("255.255.255.0"),))[0]
        router = addresses(OPTION_ROUTER)
        self.lease = Lease(
            address=address,
            net=IPv4Network((address, str(mask)), strict=False),
            router=router[0] if router else None,
            dns=addresses(OPTION_DNS),
            mtu=number(OPTION_MTU, 0) or None,
            domain=options[OPTION_DOMAIN].decode("ascii", "replace") if OPTION_DOMAIN in options else None,
            server=server[0],
            renew_at=self._asked_at + number(OPTION_T1, seconds // 2) * SECOND_NS,
            rebind_at=self._asked_at + number(OPTION_T2, seconds * 7 // 8) * SECOND_NS,
            expires_at=self._asked_at + seconds * SECOND_NS,
        )
        self.state, self._retry_at = State.BOUND, None
