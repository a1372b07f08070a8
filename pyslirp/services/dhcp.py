"""The DHCP and BOOTP server of the guests' network (RFC 2131, 2132, 3396, 3397, 4039, 951, 1534, 1542, 6842).

Goal: what libslirp's guests get (the first is given `start`, .15), from a server that keeps the whole of RFC 2131:
leases that end, client identifiers, NAK, decline, release, inform, relays, and what the client asks for rather than all
that there is.

It is the only server on its network and says so by answering for addresses that it has no record of (as ISC's
`authoritative` and libslirp do): a guest that outlived us keeps a free address and is refused a taken one at once,
where RFC 2131 section 4.3.2 would stay silent.  A request that names another server withdraws our offer.

How the four kinds of REQUEST are told apart (RFC 2131 section 4.3.2, table 4):

    SELECTING    server id is ours     address in option 50
    INIT-REBOOT  no server id          address in option 50
    RENEWING     no server id          address in ciaddr, unicast to us
    REBINDING    no server id          address in ciaddr, broadcast

BOOTP clients get a dynamic address (RFC 1534) that never expires, since BOOTP has no way to say that it would.

Who holds what, and every limit on it, is in leases.py; what a reply holds and where it goes, in dhcp_replies.py; bytes
are in dhcp_message.py.  A guest's mistakes are counted by name (`COUNTERS`) and get no answer, unless the RFC has a NAK
for them.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

from pyslirp.services.base import Action, Claim, Datagram, LearnNeighbor
from pyslirp.services.dhcp_message import Kind, MalformedError, Option, Request, read_request
from pyslirp.services.dhcp_replies import (
    LIMITED_BROADCAST,
    NOWHERE,
    SERVER_PORT,
    DhcpReplies,
    DhcpSettings,
)
from pyslirp.services.lease_service import LeaseService, expiry
from pyslirp.services.leases import Client, Lease, Leases

__all__ = ["COUNTERS", "DhcpService", "DhcpSettings"]

COUNTERS = (
    *(f"received.{word}" for word in ("discover", "request", "decline", "release", "inform", "bootp")),
    *(f"sent.{word}" for word in ("offer", "ack", "nak", "bootp")),
    *(f"drop.{reason}" for reason in MalformedError.REASONS),
    "drop.unexpected_type",  # a message that only servers send
    "drop.exhausted",  # no address left
    "drop.lease_limit",  # the link has all the leases that it may have
    "drop.other_server",  # the client means another server
    "drop.no_address",  # a message that must name an address of the net and does not
    "drop.unknown_lease",  # release or decline of what the client does not hold
    "drop.foreign_relay",  # giaddr outside the net
    "options_omitted",  # options that did not fit into a reply
)


class DhcpService(LeaseService[IPv4Address, DhcpReplies]):
    """DHCP and BOOTP on UDP port 67 of the gateway and of the limited broadcast address."""

    name = "dhcp"

    def __init__(self, settings: DhcpSettings) -> None:
        """Raises ConfigError for a search list that DNS cannot express."""
        leases = Leases(
            settings.net,
            settings.start,
            reserved={settings.host, settings.dns, *settings.reserved},
            static=settings.static,
            per_link=settings.leases_per_link,
        )
        super().__init__(leases, DhcpReplies(settings), COUNTERS)
        self._settings = settings
        self._answers: dict[Kind | None, Callable[[Request, Datagram, int], list[Action]]] = {
            Kind.DISCOVER: self._discover,
            Kind.REQUEST: self._request,
            Kind.DECLINE: self._decline,
            Kind.RELEASE: self._release,
            Kind.INFORM: self._inform,
            None: self._bootp,
        }

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Port 67 of the gateway, for renewals, and of 255.255.255.255."""
        return tuple(Claim("udp", address, SERVER_PORT) for address in (self._settings.host, LIMITED_BROADCAST))

    def handle(self, datagram: Datagram, now: int) -> list[Action]:
        """Answer one message to port 67."""
        try:
            request = read_request(datagram.payload)
        except MalformedError as error:
            return self._drop(error.reason)
        if request.kind not in self._answers:
            return self._drop("unexpected_type")
        self._counters[f"received.{request.kind.name.lower() if request.kind is not None else 'bootp'}"] += 1
        if request.giaddr != NOWHERE and not self._settings.is_guest(request.giaddr):
            return self._drop("foreign_relay")
        return self._answers[request.kind](request, datagram, now)

    # -------------------------------------------------------------------------------------------- one method a message

    def _discover(self, request: Request, datagram: Datagram, now: int) -> list[Action]:
        """RFC 2131 section 4.3.1, and 4039 for a client that takes a lease at once."""
        client = self._client(request, datagram)
        if self._leases.at_limit(client):
            return self._drop("lease_limit")
        lease = self._leases.offer(client, request.requested, now)
        if lease is None:
            return self._drop("exhausted")
        if Option.RAPID_COMMIT in request.options:
            return self._commit(client, lease.address, request, datagram, now)
        self._counters["sent.offer"] += 1
        return [self._replies.offer(request, datagram, lease.address)]

    def _request(self, request: Request, datagram: Datagram, now: int) -> list[Action]:
        """RFC 2131 section 4.3.2; the head of this file tells the four cases apart."""
        client = self._client(request, datagram)
        if not self._is_ours(request):
            self._leases.withdraw(client)
            return self._drop("other_server")
        address = request.requested or request.ciaddr
        if address == NOWHERE:
            return self._drop("no_address")
        if self._leases.at_limit(client):
            return self._drop("lease_limit")
        return self._commit(client, address, request, datagram, now)

    def _commit(
        self, client: Client, address: IPv4Address, request: Request, datagram: Datagram, now: int
    ) -> list[Action]:
        """Lease `address`, or refuse it."""
        expires = expiry(self._replies.lease_seconds(request), now)
        lease = self._leases.bind(client, address, expires, request.hostname)
        if lease is None:
            self._counters["sent.nak"] += 1
            return [self._replies.nak(request, datagram)]
        self._counters["sent.ack"] += 1
        return [*self._learned(lease, request, now), self._replies.ack(request, datagram, lease.address)]

    def _decline(self, request: Request, datagram: Datagram, now: int) -> list[Action]:
        """RFC 2131 section 4.3.3: somebody else uses the address; nobody gets it for a while."""
        if not self._is_ours(request):
            return self._drop("other_server")
        lease = self._leases.decline(self._client(request, datagram), request.requested or NOWHERE, now)
        if lease is None:
            return self._drop("unknown_lease")
        return [self._ended(lease, "declined", now)]

    def _release(self, request: Request, datagram: Datagram, now: int) -> list[Action]:
        """RFC 2131 section 4.3.4: the address is free, but remembered for the client."""
        if not self._is_ours(request):
            return self._drop("other_server")
        lease = self._leases.release(self._client(request, datagram), request.ciaddr)
        if lease is None:
            return self._drop("unknown_lease")
        return [self._ended(lease, "released", now)]

    def _inform(self, request: Request, datagram: Datagram, _now: int) -> list[Action]:
        """RFC 2131 section 4.3.5: parameters for a client that has an address; no lease is looked for or made."""
        source = datagram.source.address
        address = request.ciaddr if request.ciaddr != NOWHERE else source  # some clients leave ciaddr empty
        if address.version != 4 or not self._settings.is_guest(address):
            return self._drop("no_address")
        self._counters["sent.ack"] += 1
        return [self._replies.inform(request, datagram, address)]

    def _bootp(self, request: Request, datagram: Datagram, now: int) -> list[Action]:
        """RFC 951 section 7.3, RFC 1534: a client that knows its address gets none."""
        if request.ciaddr != NOWHERE:
            if not self._settings.is_guest(request.ciaddr):
                return self._drop("no_address")
            self._counters["sent.bootp"] += 1
            return [self._replies.bootp(request, datagram, None)]
        client = self._client(request, datagram)
        if self._leases.at_limit(client):
            return self._drop("lease_limit")
        offered = self._leases.offer(client, None, now)
        lease = self._leases.bind(client, offered.address, None) if offered is not None else None
        if lease is None:
            return self._drop("exhausted")
        self._counters["sent.bootp"] += 1
        return [*self._learned(lease, request, now), self._replies.bootp(request, datagram, lease.address)]

    # ----------------------------------------------------------------------------------------------------- small print

    def _client(self, request: Request, datagram: Datagram) -> Client:
        """The lease key (RFC 2131 section 4.2); an identifier that only repeats the MAC says no more than the MAC."""
        identifier = request.options.get(Option.CLIENT_ID, b"") if self._settings.match_client_id else b""
        if len(identifier) < 2 or identifier == b"\x01" + request.chaddr:  # RFC 2132 section 9.14: at least 2 bytes
            identifier = b""
        return Client(request.chaddr, identifier, datagram.link)

    def _is_ours(self, request: Request) -> bool:
        """The message names no server, or this one."""
        return request.server_id in (None, self._settings.host)

    def _learned(self, lease: Lease[IPv4Address], request: Request, now: int) -> list[Action]:
        """Tell the world of a lease, and the engine where its address is (behind a relay it finds out by itself)."""
        learned: list[Action] = [self._granted(lease, now)]
        if request.giaddr == NOWHERE:
            learned.append(LearnNeighbor(lease.address, lease.mac, lease.link))
        return learned
