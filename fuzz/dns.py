"""Invariant tested: whatever guests and resolvers send, every query ends, no answer is too long, nothing is left over.

An input is a sequence of steps: a byte that says what happens (STEPS) and to whom, two bytes of length, data.  What a
resolver answers gets the id that it was asked under, or no answer would ever be believed.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from dataclasses import dataclass, field

from pyslirp.addresses import Endpoint, Mac
from pyslirp.events import NameFailed, NameResolved
from pyslirp.services.base import Action, AskResolver, Datagram, ForgetAsk, SendDatagram, StreamClose, StreamSend
from pyslirp.services.dns import DnsService
from pyslirp.services.dns_message import PLAIN_UDP_BYTES, read_query

ALIAS = Endpoint.of("10.0.2.3", 53)
SERVERS = tuple(Endpoint.of(f"192.0.2.{last}", 53) for last in (1, 2))
HALF_SECOND = 500_000_000
STEPS = ("udp", "open", "tcp", "end", "close", "answer", "forge", "fail", "wait")


@dataclass(frozen=True)
class Hosts:
    """The resolvers."""

    servers: tuple[Endpoint, ...] = SERVERS
    timeout_ns: int = HALF_SECOND
    attempts: int = 2


@dataclass
class World:
    """The service and what is open around it."""

    now: int = 0
    asks: dict[int, AskResolver] = field(default_factory=dict)
    streams: set[int] = field(default_factory=set)
    udp_queries: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        """A service with two resolvers and countable ids."""
        idents = itertools.count(1)
        self.service = DnsService((ALIAS.address,), lambda _now: Hosts(), lambda: next(idents))

    def note(self, actions: list[Action]) -> None:
        """Do what the service wants done, and check that it may."""
        for action in actions:
            if isinstance(action, AskResolver):
                assert action.key not in self.asks
                self.asks[action.key] = action
            elif isinstance(action, ForgetAsk):
                del self.asks[action.key]
            elif isinstance(action, StreamClose):
                self.streams.discard(action.stream)
                self.note(self.service.stream_closed(action.stream, self.now))
            elif isinstance(action, StreamSend):
                assert action.stream in self.streams
                assert int.from_bytes(action.data[:2], "big") == len(action.data) - 2
            elif isinstance(action, SendDatagram):
                assert action.payload[2] & 0x80, "a query sent to a guest"
                assert len(action.payload) <= self.takes(action.payload[:2])
            else:
                assert isinstance(action, NameResolved | NameFailed)

    def takes(self, ident: bytes) -> int:
        """The most that any guest takes for a query of this id."""
        sizes = [PLAIN_UDP_BYTES]
        for message in self.udp_queries:
            if message[:2] == ident:
                try:
                    sizes.append(read_query(message).udp_bytes)
                except ValueError:
                    continue
        return max(sizes)

    def step(self, what: str, whom: int, data: bytes) -> None:
        """One thing that happens."""
        service, guest = self.service, Endpoint.of("10.0.2.15", 1000 + whom)
        if what == "udp":
            self.udp_queries.append(data)
            self.note(service.handle(Datagram(whom, Mac(b"\x52" * 6), guest, ALIAS, data), self.now))
        elif what == "open" and whom not in self.streams:
            self.streams.add(whom)
            self.note(service.stream_opened(whom, guest, self.now))
        elif what == "tcp" and data:
            self.note(service.stream_received(whom, data, self.now))
        elif what == "end":
            self.note(service.stream_received(whom, b"", self.now))
        elif what == "close":
            self.streams.discard(whom)
            self.note(service.stream_closed(whom, self.now))
        elif what == "wait":
            self.wait(self.now + whom * HALF_SECOND)
        elif self.asks:
            self.resolve(what, list(self.asks.values())[whom % len(self.asks)], data)

    def resolve(self, what: str, ask: AskResolver, data: bytes) -> None:
        """A resolver answers, or somebody for it, or it cannot be asked."""
        if what == "fail":
            del self.asks[ask.key]
            self.note(self.service.answer(ask.key, None, ("refused", "busy", "closed")[len(data) % 3], self.now))
        elif what == "forge":
            self.note(self.service.answer(ask.key, data, "answered", self.now))
        else:
            self.note(self.service.answer(ask.key, ask.message[:2] + data, "answered", self.now))

    def wait(self, until: int) -> None:
        """Let time pass."""
        while (deadline := self.service.deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.note(self.service.expire(self.now))
        self.now = until


def fuzz(data: bytes) -> Hashable:
    """One input: a sequence of steps; what it gives are the counters that moved."""
    world = World()
    while len(data) >= 3:
        end = 3 + int.from_bytes(data[1:3], "big")
        world.step(STEPS[(data[0] >> 2) % len(STEPS)], data[0] & 3, data[3:end])
        data = data[end:]
    world.wait(world.now + 120 * HALF_SECOND)
    shown = world.service.snapshot()
    assert (shown["in_flight"], shown["streams"], world.asks, world.service.deadline()) == (0, 0, {}, None)
    return frozenset(name for name, count in shown["counters"].items() if count)
