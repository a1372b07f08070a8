"""The address pool of DHCP, or of DHCPv6, and who holds what in it.

Goal: a client finds its address again, one hostile guest costs the others nothing that they hold, and a /8 is as cheap
as a /24.  The pool is every address from `start` to the end of the net but the reserved ones; it is never materialised.

States of an address; one that is in none of them is free:

    OFFERED   held for a client until OFFER_NS have passed.  Leave: bind, expiry, withdrawal, recycling
    BOUND     leased until `expires` (None: for ever).  Never recycled.  Leave: release, decline, expiry
    ENDED     was leased, belongs to nobody now, kept for the client should it return.  Leave: bind, offer, recycling
    DECLINED  a client found it in use; kept from everybody for DECLINED_NS.  Leave: expiry, recycling

A new offer takes, in this order: the client's static address; the address that it holds or held; the one that it asks
for; the lowest free one.  With none free, or the table full, one is recycled: the address ended longest ago, else the
oldest offer of the link that has most of them, else the oldest declined address of the link that has most of them.

Limits: MAX_LEASES entries in all; on each link `per_link` BOUND, MAX_OFFERS_PER_LINK OFFERED and MAX_DECLINED_PER_LINK
DECLINED, where one more recycles the link's own oldest.  Static addresses come on top, as many as are configured.

Free addresses are all those above `_mark`, which only rises, and those in the heap `_freed` below it.  Both may name an
address that has since been taken by request; it is skipped when it comes up.

A client is known by its identifier (option 61), else by its MAC (RFC 2131 section 4.2).  Deviation: a request without
identifier finds the lease that the same MAC took with one, and the other way about, so that a guest whose initramfs
sends none and whose system sends one keeps one address.  Two different identifiers behind one MAC stay two clients.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, Protocol, TypeVar

from pyslirp.addresses import Mac
from pyslirp.records import dataclass
from pyslirp.services.deadlines import Deadlines

SECOND_NS = 1_000_000_000
OFFER_NS = 60 * SECOND_NS  #: a guest under emulation may take seconds from OFFER to REQUEST
DECLINED_NS = 600 * SECOND_NS

MAX_LEASES = 16_384  #: table entries, in any state: some 15 MB
MAX_LEASES_PER_LINK = 4_096
MAX_OFFERS_PER_LINK = 16
MAX_DECLINED_PER_LINK = 16

AnyAddress = TypeVar("AnyAddress", IPv4Address, IPv6Address)
_Address_co = TypeVar("_Address_co", IPv4Address, IPv6Address, covariant=True)


class Net(Protocol[_Address_co]):
    """An IPv4Network or an IPv6Network: what the pool is part of."""

    @property
    def network_address(self) -> _Address_co:
        """Its first address, which nobody gets (in IPv6 it is the routers')."""

    @property
    def broadcast_address(self) -> _Address_co:
        """Its last address, which nobody gets either."""


class State(Enum):
    """What an address in the table is (see the head of this file)."""

    OFFERED = "offered"
    BOUND = "bound"
    ENDED = "ended"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks."""

    mac: Mac
    identifier: bytes  #: b"": known by the MAC alone
    link: int
    static: bool = True  #: the static address of this MAC is for it


@dataclass(slots=True)
class Lease(Generic[AnyAddress]):
    """One address of the table.  Only `Leases` changes it."""

    address: AnyAddress
    state: State
    mac: Mac
    identifier: bytes
    link: int
    expires: int | None = None  #: when this state ends (monotonic nanoseconds); None: never
    hostname: str | None = None

    def belongs_to(self, client: Client) -> bool:
        """The client may use this lease as its own (nobody may use a DECLINED one; `Leases.find` never sees one)."""
        if self.identifier and client.identifier:
            return self.identifier == client.identifier
        return self.mac == client.mac


class Leases(Generic[AnyAddress]):
    """The table of leases over the pool from `start` to the last host address of `net`."""

    def __init__(
        self,
        net: Net[AnyAddress],
        start: AnyAddress,
        *,
        reserved: AbstractSet[AnyAddress] = frozenset(),
        static: Mapping[Mac, AnyAddress] | None = None,
        per_link: int = MAX_LEASES_PER_LINK,
    ) -> None:
        self._static: dict[Mac, AnyAddress] = dict(static or {})
        self._reserved: set[AnyAddress] = set(reserved)
        self._reserved.update(self._static.values(), [net.network_address])
        self._start: AnyAddress = start
        self._last: AnyAddress = net.broadcast_address - 1
        self._per_link = per_link
        self._mark: AnyAddress = start
        self._freed: list[AnyAddress] = []
        self._in_freed: set[AnyAddress] = set()
        self._table: dict[AnyAddress, Lease[AnyAddress]] = {}
        self._by_identifier: dict[bytes, Lease[AnyAddress]] = {}
        self._by_mac: dict[Mac, dict[AnyAddress, Lease[AnyAddress]]] = {}
        self._offered: dict[int, dict[AnyAddress, Lease[AnyAddress]]] = {}  # by link, oldest first
        self._declined: dict[int, dict[AnyAddress, Lease[AnyAddress]]] = {}  # by link, oldest first
        self._ended: dict[AnyAddress, Lease[AnyAddress]] = {}  # oldest first
        self._bound: Counter[int] = Counter()  # by link
        self._deadlines: Deadlines[AnyAddress] = Deadlines()

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Lease[AnyAddress]]:
        return iter(sorted(self._table.values(), key=lambda lease: lease.address))

    def _static_of(self, client: Client) -> AnyAddress | None:
        return self._static.get(client.mac) if client.static else None

    # --------------------------------------------------------------------------------------------- what a client asks

    def find(self, client: Client) -> Lease[AnyAddress] | None:
        """The lease that the client holds, is offered or held last."""
        static = self._static_of(client)
        lease = self._table.get(static) if static is not None else None
        if lease is not None and lease.mac == client.mac and lease.state is not State.DECLINED:
            return lease
        if client.identifier and (lease := self._by_identifier.get(client.identifier)) is not None:
            return lease
        newest_first = reversed(self._by_mac.get(client.mac, {}).values())
        return next((lease for lease in newest_first if lease.belongs_to(client)), None)

    def get(self, address: AnyAddress) -> Lease[AnyAddress] | None:
        """What is known of an address, in any state."""
        return self._table.get(address)

    def at_limit(self, client: Client) -> bool:
        """The client's link has as many leases as it may have, and none is the client's."""
        lease = self.find(client)
        if (lease is not None and lease.state is State.BOUND) or self._static_of(client) is not None:
            return False
        return self._bound[client.link] >= self._per_link

    def offer(self, client: Client, wanted: AnyAddress | None, now: int) -> Lease[AnyAddress] | None:
        """Hold an address for the client; None when the pool has none.  A BOUND lease is offered as it is."""
        lease = self.find(client)
        static = self._static_of(client)
        if static is not None and static not in self._table:
            address: AnyAddress | None = static
        elif lease is not None:
            address = lease.address
        elif wanted is not None and self._obtainable(wanted):
            address = wanted
        else:
            address = self._lowest_free()
        if address is None:
            return None
        if lease is None or lease.address != address:
            if lease is not None and lease.state is not State.BOUND:
                self._drop(lease)
            lease = self._enter(client, address)
        if lease is not None and lease.state is not State.BOUND:
            self._move(lease, State.OFFERED, now + OFFER_NS, client)
            self._trim(self._offered[lease.link], MAX_OFFERS_PER_LINK)
        return lease

    def bind(
        self, client: Client, address: AnyAddress, expires: int | None, hostname: str | None = None
    ) -> Lease[AnyAddress] | None:
        """Lease `address` to the client until `expires`; None when it is not the client's to have.

        An address that nobody holds may be had without an offer: a client that remembers it from before this server
        started, or whose offer has been recycled, keeps it.
        """
        lease = self.find(client)
        if lease is None or lease.address != address:
            if (lease is not None and lease.state is not State.ENDED) or not self._may_have(client, address):
                return None
            if lease is not None:
                self._drop(lease)
            lease = self._enter(client, address)
        if lease is not None:
            lease.hostname = hostname or lease.hostname
            self._move(lease, State.BOUND, expires, client)
        return lease

    def release(self, client: Client, address: AnyAddress) -> Lease[AnyAddress] | None:
        """The client gives its BOUND address back; None when it is not its own."""
        lease = self.find(client)
        if lease is None or lease.address != address or lease.state is not State.BOUND:
            return None
        self._move(lease, State.ENDED, None)
        return lease

    def decline(self, client: Client, address: AnyAddress, now: int) -> Lease[AnyAddress] | None:
        """The client found its BOUND address in use by another; None when it was not its own."""
        lease = self.find(client)
        if lease is None or lease.address != address or lease.state is not State.BOUND:
            return None
        self._detach(lease)
        self._move(lease, State.DECLINED, now + DECLINED_NS)
        self._trim(self._declined[lease.link], MAX_DECLINED_PER_LINK)
        return lease

    def withdraw(self, client: Client) -> None:
        """Free what is only offered to the client: it has chosen another server."""
        lease = self.find(client)
        if lease is not None and lease.state is State.OFFERED:
            self._drop(lease)

    # ----------------------------------------------------------------------------------------------------------- time

    def deadline(self) -> int | None:
        """When `expire` is next wanted, or None."""
        return self._deadlines.earliest()

    def expire(self, now: int) -> list[Lease[AnyAddress]]:
        """End what is due; returns the leases among it (offers and declined addresses are only freed)."""
        ended: list[Lease[AnyAddress]] = []
        for address in self._deadlines.due(now):
            lease = self._table[address]
            if lease.state is State.BOUND:
                self._move(lease, State.ENDED, None)
                ended.append(lease)
            else:
                self._drop(lease)
        return ended

    # ------------------------------------------------------------------------------------------------------- the pool

    def _in_pool(self, address: AnyAddress) -> bool:
        return self._start <= address <= self._last and address not in self._reserved

    def _obtainable(self, address: AnyAddress) -> bool:
        """In the pool, and free or remembered only."""
        lease = self._table.get(address)
        return self._in_pool(address) and (lease is None or lease.state is State.ENDED)

    def _may_have(self, client: Client, address: AnyAddress) -> bool:
        """May an address that is not the client's become it?  A free static one shuts out all others."""
        static = self._static_of(client)
        if static is not None and static not in self._table:
            return address == static
        return self._obtainable(address)

    def _lowest_free(self) -> AnyAddress | None:
        """The lowest address that is not in the table, else a recycled one, else None."""
        while self._freed:
            address = heapq.heappop(self._freed)
            self._in_freed.discard(address)
            if address not in self._table:
                return address
        while self._mark <= self._last:
            address = self._mark
            self._mark += 1
            if address not in self._table and address not in self._reserved:
                return address
        return self._lowest_free() if self._recycle() else None

    def _recycle(self) -> bool:
        """Free one dynamic address that nobody holds a lease on; False when there is none."""
        for lease in self._recyclable():
            if self._in_pool(lease.address):
                self._drop(lease)
                return True
        return False

    def _recyclable(self) -> Iterator[Lease[AnyAddress]]:
        yield from self._ended.values()
        for links in (self._offered, self._declined):
            for leases in sorted(links.values(), key=len, reverse=True):
                yield from leases.values()

    def _trim(self, leases: dict[AnyAddress, Lease[AnyAddress]], limit: int) -> None:
        """Keep a link's offered or declined addresses within their limit, at the cost of its oldest."""
        while len(leases) > limit:
            self._drop(next(iter(leases.values())))

    # ------------------------------------------------------------------------------------------------------ the table

    def _enter(self, client: Client, address: AnyAddress) -> Lease[AnyAddress] | None:
        """A new entry for the client, in state ENDED until it is moved on; None when the table is full of leases."""
        if (known := self._table.get(address)) is not None:
            self._drop(known)
        if len(self._table) >= MAX_LEASES + len(self._static) and not self._recycle():
            self._put_back(address)
            return None
        lease = Lease(address, State.ENDED, client.mac, b"", client.link)
        self._table[address] = self._ended[address] = lease
        self._by_mac.setdefault(client.mac, {})[address] = lease
        return lease

    def _move(self, lease: Lease[AnyAddress], state: State, expires: int | None, client: Client | None = None) -> None:
        """Change the state, when it ends, and (with `client`) whose it is, in every index."""
        self._leave(lease)
        if client is not None:
            self._assign(lease, client)
        lease.state, lease.expires = state, expires
        if state is State.BOUND:
            self._bound[lease.link] += 1
        elif state is State.ENDED:
            self._ended[lease.address] = lease
        else:
            links = self._offered if state is State.OFFERED else self._declined
            links.setdefault(lease.link, {})[lease.address] = lease
        if expires is None:
            self._deadlines.cancel(lease.address)
        else:
            self._deadlines.set(lease.address, expires)

    def _leave(self, lease: Lease[AnyAddress]) -> None:
        """Take the lease out of the index of its state."""
        if lease.state is State.BOUND:
            self._bound[lease.link] -= 1
            if not self._bound[lease.link]:
                del self._bound[lease.link]
        elif lease.state is State.ENDED:
            del self._ended[lease.address]
        else:
            links = self._offered if lease.state is State.OFFERED else self._declined
            of_link = links[lease.link]
            del of_link[lease.address]
            if not of_link:
                del links[lease.link]

    def _assign(self, lease: Lease[AnyAddress], client: Client) -> None:
        """Follow a guest to another link, an identifier to another card, a MAC to the identifier it now has."""
        if lease.mac != client.mac:
            self._forget_mac(lease)
            self._by_mac.setdefault(client.mac, {})[lease.address] = lease
        lease.mac, lease.link = client.mac, client.link
        if client.identifier:
            if self._by_identifier.get(lease.identifier) is lease:
                del self._by_identifier[lease.identifier]
            lease.identifier = client.identifier
            self._by_identifier[client.identifier] = lease

    def _forget_mac(self, lease: Lease[AnyAddress]) -> None:
        of_mac = self._by_mac.get(lease.mac, {})
        of_mac.pop(lease.address, None)
        if not of_mac:
            self._by_mac.pop(lease.mac, None)

    def _detach(self, lease: Lease[AnyAddress]) -> None:
        """Nobody's any more: the client will not find it again."""
        self._forget_mac(lease)
        if self._by_identifier.get(lease.identifier) is lease:
            del self._by_identifier[lease.identifier]

    def _drop(self, lease: Lease[AnyAddress]) -> None:
        """Out of the table: the address is free."""
        self._leave(lease)
        self._detach(lease)
        self._deadlines.cancel(lease.address)
        del self._table[lease.address]
        self._put_back(lease.address)

    def _put_back(self, address: AnyAddress) -> None:
        if self._in_pool(address) and address < self._mark and address not in self._in_freed:
            self._in_freed.add(address)
            heapq.heappush(self._freed, address)
