"""The stub resolver of the simulator's guest: one question by UDP to each server in turn (RFC 1035 section 7.2).

No clock and no socket: queries go out by a callable, answers and deadlines come in.  It asks for one type and believes the
first answer that has its identifier and its question; a truncated one fails as "truncated".  dpkt reads and writes.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from random import Random
from typing import Any

import dpkt

from pyslirp.addresses import Endpoint
from pyslirp.sim.clock import SECOND_NS

PORT = 53
TYPE_A = 1
TRY_NS = 2 * SECOND_NS  #: patience with one server
ROUNDS = 2  #: how often all servers are asked


class Lookup:
    """One question, and in time its answer."""

    def __init__(self, name: str, asked_at: int) -> None:
        self.name = name
        self.asked_at = asked_at
        self.done = False
        self.addresses: list[IPv4Address] = []
        self.server: IPv4Address | None = None  #: who has answered
        self.error: str | None = None  #: once it is done: None, "timed out", "truncated", or the RCODE as RCODE 3
        self.ended_at = 0
        self.tries = 0


class Resolver:
    """The lookups under way.  `send(server, payload)` puts a datagram on the way from the resolver's own port."""

    def __init__(self, seed: int, send: Callable[[IPv4Address, bytes], None]) -> None:
        self._random = Random(seed)
        self._send = send
        self._open: dict[int, tuple[Lookup, tuple[IPv4Address, ...], int]] = {}  # id: lookup, servers, deadline

    def resolve(self, name: str, servers: tuple[IPv4Address, ...], now: int) -> Lookup:
        """Ask for the IPv4 addresses of `name`.  Raises ValueError without a server."""
        if not servers:
            raise ValueError(f"no DNS server to ask for {name}")
        lookup = Lookup(name, now)
        self._ask(lookup, servers, now)
        return lookup

    def _ask(self, lookup: Lookup, servers: tuple[IPv4Address, ...], now: int) -> None:
        ident = self._random.randrange(1 << 16)
        while ident in self._open:
            ident = (ident + 1) & 0xFFFF
        server = servers[lookup.tries % len(servers)]
        lookup.tries += 1
        self._open[ident] = (lookup, servers, now + TRY_NS)
        query: Any = dpkt.dns.DNS(id=ident, qd=[dpkt.dns.DNS.Q(name=lookup.name, type=TYPE_A)])
        self._send(server, bytes(query))

    def handle(self, source: Endpoint, payload: bytes, now: int) -> None:
        """A datagram to the resolver's port."""
        try:
            answer: Any = dpkt.dns.DNS(payload)
        except (dpkt.Error, IndexError, ValueError, UnicodeError):
            return
        found = self._open.get(answer.id)
        if found is None or answer.qr != 1 or source.port != PORT or source.address not in found[1]:
            return
        lookup = found[0]
        if len(answer.qd) != 1 or answer.qd[0].name.lower() != lookup.name.lower().rstrip("."):
            return
        del self._open[answer.id]
        lookup.server = IPv4Address(source.address.packed)
        if answer.tc:
            lookup.error = "truncated"
        elif answer.rcode:
            lookup.error = f"RCODE {answer.rcode}"
        else:
            lookup.addresses = [IPv4Address(record.rdata) for record in answer.an if record.type == TYPE_A]
        lookup.done, lookup.ended_at = True, now

    def deadline(self) -> int | None:
        """When `expire` is next wanted."""
        return min((deadline for _, _, deadline in self._open.values()), default=None)

    def expire(self, now: int) -> None:
        """Ask the next server, or give up."""
        for ident, (lookup, servers, deadline) in list(self._open.items()):
            if deadline > now:
                continue
            del self._open[ident]
            if lookup.tries < ROUNDS * len(servers):
                self._ask(lookup, servers, now)
            else:
                lookup.done, lookup.error, lookup.ended_at = True, "timed out", now
