"""The DHCPv6 server of the guests' network (RFC 8415, 3646, 4704, 5970): addresses (IA_NA), and all else that guests ask.

libslirp's answers INFORMATION-REQUEST alone; a guest that wants an address from it gets none.  This one keeps leases.

It is the only server on its link, and says so: its preference is 255, so that no client waits for another, and it answers
for addresses that it has no record of, as dhcp.py does.  A guest that outlived us keeps a free address; of one that is
taken, or not of this link, it is told by lifetimes of zero that it is over.

What a message leads to, for each association (IA_NA) in it, of which each has one address:

    SOLICIT        held for the client, and offered; with rapid commit it is leased at once
    REQUEST        leased: an address that the client names and may have, else another
    RENEW, REBIND  leased for longer; other addresses that the client names are over
    CONFIRM        nothing is changed: are the addresses of this link?
    RELEASE        free, but remembered for the client
    DECLINE        somebody else uses it; nobody gets it for a while
    INFORMATION-REQUEST has no associations

Temporary addresses (IA_TA) and prefixes (IA_PD) are not given out; a client that wants some is told so.

A client is its DUID, and each of its associations (IAID) is a client to leases.py.  A static address is its MAC's, which
is that of the frame (there are no relays on this network): one association has it, the first that asks; a client with a
new DUID (installer, then system) gets it too.

Who holds what, and every limit on it, is in leases.py; what a reply holds, in dhcp6_replies.py; bytes are in
dhcp6_message.py.  A guest's mistakes are counted by name (`COUNTERS`) and get no answer, unless the RFC has a status for
them.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any

from pyslirp.services.base import Action, Claim, Datagram
from pyslirp.services.dhcp6_message import (
    Association,
    Kind,
    MalformedError,
    Option,
    Request,
    Status,
    pack_status,
    read_request,
)
from pyslirp.services.dhcp6_replies import (
    ALL_SERVERS,
    NO_ADDRESSES,
    NO_BINDING,
    NO_PREFIXES,
    NOT_ON_LINK,
    SERVER_PORT,
    USE_MULTICAST,
    Dhcp6Replies,
    Dhcp6Settings,
    ended,
    refused,
)
from pyslirp.services.lease_service import LeaseService, expiry
from pyslirp.services.leases import Client, Lease, Leases, State

__all__ = ["COUNTERS", "Dhcp6Service", "Dhcp6Settings"]

IAID_BYTES = 4

KINDS = {  # as counters have them
    Kind.SOLICIT: "solicit",
    Kind.REQUEST: "request",
    Kind.CONFIRM: "confirm",
    Kind.RENEW: "renew",
    Kind.REBIND: "rebind",
    Kind.RELEASE: "release",
    Kind.DECLINE: "decline",
    Kind.INFORMATION_REQUEST: "information_request",
}

COUNTERS = (
    *(f"received.{word}" for word in KINDS.values()),
    *(f"sent.{word}" for word in ("advertise", "reply")),
    *(f"refused.{word}" for word in ("exhausted", "lease_limit", "no_binding", "not_on_link", "use_multicast")),
    *(f"drop.{reason}" for reason in MalformedError.REASONS),
    "drop.other_server",  # the client means another server
    "drop.unicast",  # a message that must be sent to all servers
    "drop.no_address",  # CONFIRM of nothing
    "drop.bad_source",  # from an address that nothing can be sent to
    "options_omitted",  # options that did not fit into a reply
)

_UNICAST_REFUSED = (Kind.REQUEST, Kind.RENEW, Kind.RELEASE, Kind.DECLINE)  # the others are dropped (section 16)


class Dhcp6Service(LeaseService[IPv6Address, Dhcp6Replies]):
    """DHCPv6 on UDP port 547 of ff02::1:2; at the gateway's own address it says where to ask."""

    name = "dhcp6"

    def __init__(self, settings: Dhcp6Settings) -> None:
        """Raises ConfigError for a search list that DNS cannot express."""
        dns = {settings.dns} if settings.dns is not None else set()
        leases = Leases(
            settings.prefix,
            settings.start,
            reserved={settings.host, *dns, *settings.reserved},
            static=settings.static,
            per_link=settings.leases_per_link,
        )
        super().__init__(leases, Dhcp6Replies(settings), COUNTERS)
        self._settings = settings
        self._answers: dict[Kind, Callable[[Request, Datagram, int], list[Action]]] = {
            Kind.SOLICIT: self._solicit,
            Kind.REQUEST: self._request,
            Kind.CONFIRM: self._confirm,
            Kind.RENEW: self._extend,
            Kind.REBIND: self._extend,
            Kind.RELEASE: self._release,
            Kind.DECLINE: self._decline,
            Kind.INFORMATION_REQUEST: self._inform,
        }

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Port 547 of all servers, and of the gateway."""
        return tuple(Claim("udp", address, SERVER_PORT) for address in (ALL_SERVERS, self._settings.host))

    def handle(self, datagram: Datagram, now: int) -> list[Action]:
        """Answer one message to port 547."""
        source = datagram.source.address
        if not isinstance(source, IPv6Address) or not self._replies.is_client(source):
            return self._drop("bad_source")
        try:
            request = read_request(datagram.payload)
        except MalformedError as error:
            return self._drop(error.reason)
        self._counters[f"received.{KINDS[request.kind]}"] += 1
        if request.server_id not in (None, self._replies.duid):
            for association in request.associations:
                self._leases.withdraw(self._client(request, association, datagram))
            return self._drop("other_server")
        if datagram.destination.address != ALL_SERVERS:
            return self._unicast(request, datagram)
        return self._answers[request.kind](request, datagram, now)

    # -------------------------------------------------------------------------------------------- one method a message

    def _solicit(self, request: Request, datagram: Datagram, now: int) -> list[Action]:
        """RFC 8415 sections 18.3.1 and 18.3.9."""
        if request.rapid:
            return self._request(request, datagram, now)
        answers = []
        for association in request.associations:
            answer = self._impossible(association)
            if answer is None:
                client = self._client(request, association, datagram)
                wanted = next(iter(association.addresses), None)
                lease = None if self._at_limit(client) else self._leases.offer(client, wanted, now)
                answer = self._exhausted(association) if lease is None else self._grant(association, lease)
            answers.append(answer)
        self._counters["sent.advertise"] += 1
        return [self._replies.advertise(request, datagram, answers)]

    def _request(self, request: Request, datagram: Datagram, now: int) -> list[Action]:
        """RFC 8415 section 18.3.2."""
        actions: list[Action] = []
        answers = []
        for association in request.associations:
            client = self._client(request, association, datagram)
            answer = self._impossible(association)
            if answer is None and request.kind is Kind.REQUEST and not self._on_link(association):
                answer = self._refuse(association, Status.NOT_ON_LINK, NOT_ON_LINK, "not_on_link")
            if answer is None:
                lease = self._assign(client, association, request.hostname, now)
                answer = self._exhausted(association) if lease is None else self._grant(association, lease)
                actions += [] if lease is None else [self._granted(lease, now)]
            answers.append(answer)
        return [*actions, self._reply(request, datagram, answers)]

    def _extend(self, request: Request, datagram: Datagram, now: int) -> list[Action]:
        """RENEW and REBIND (RFC 8415 sections 18.3.4 and 18.3.5)."""
        actions: list[Action] = []
        answers = []
        for association in request.associations:
            client = self._client(request, association, datagram)
            answer = self._impossible(association)
            if answer is None:
                held = self._leases.find(client)
                wanted = list(association.addresses)
                if held is not None and held.state is State.BOUND:
                    wanted = [held.address]
                lease = self._bind_first(client, wanted, request.hostname, now)
                answer = self._extended(request, association, lease)
                actions += [] if lease is None else [self._granted(lease, now)]
            answers.append(answer)
        return [*actions, self._reply(request, datagram, answers)]

    def _confirm(self, request: Request, datagram: Datagram, _now: int) -> list[Action]:
        """RFC 8415 section 18.3.3: a client that has been elsewhere asks whether its addresses are still of its link."""
        if not any(association.addresses for association in request.associations):
            return self._drop("no_address")
        self._counters["sent.reply"] += 1
        if all(self._on_link(association) for association in request.associations):
            return [self._replies.status(request, datagram, Status.SUCCESS)]
        self._counters["refused.not_on_link"] += 1
        return [self._replies.status(request, datagram, Status.NOT_ON_LINK, NOT_ON_LINK)]

    def _release(self, request: Request, datagram: Datagram, now: int) -> list[Action]:
        """RFC 8415 section 18.3.7."""
        return self._give_up(request, datagram, now, "released", self._leases.release)

    def _decline(self, request: Request, datagram: Datagram, now: int) -> list[Action]:
        """RFC 8415 section 18.3.8."""

        def decline(client: Client, address: IPv6Address) -> Lease[IPv6Address] | None:
            return self._leases.decline(client, address, now)

        return self._give_up(request, datagram, now, "declined", decline)

    def _give_up(
        self,
        request: Request,
        datagram: Datagram,
        now: int,
        reason: str,
        end: Callable[[Client, IPv6Address], Lease[IPv6Address] | None],
    ) -> list[Action]:
        """The client's addresses end by `end`; an association that has none is answered, the others are not."""
        actions: list[Action] = []
        answers = [pack_status(Status.SUCCESS)]
        for association in request.associations:
            client = self._client(request, association, datagram)
            gone = [lease for address in association.addresses if (lease := end(client, address)) is not None]
            actions += [self._ended(lease, reason, now) for lease in gone]
            if not gone:
                answers.append(self._refuse(association, Status.NO_BINDING, NO_BINDING, "no_binding"))
        return [*actions, self._reply(request, datagram, answers, parameters=False)]

    def _inform(self, request: Request, datagram: Datagram, _now: int) -> list[Action]:
        """RFC 8415 section 18.3.6: parameters for a client that has its addresses from elsewhere (SLAAC)."""
        return [self._reply(request, datagram, [])]

    def _unicast(self, request: Request, datagram: Datagram) -> list[Action]:
        """RFC 8415 section 18.4: no client has been told that it may."""
        if request.kind not in _UNICAST_REFUSED:
            return self._drop("unicast")
        self._counters["refused.use_multicast"] += 1
        self._counters["sent.reply"] += 1
        return [self._replies.status(request, datagram, Status.USE_MULTICAST, USE_MULTICAST)]

    # ----------------------------------------------------------------------------------------------------- small print

    def _client(self, request: Request, association: Association, datagram: Datagram) -> Client:
        """The lease key: the association, with the MAC's static address where no other of the client's has it."""
        identifier = request.client_id + association.iaid
        static = self._settings.static.get(datagram.mac)
        holder = self._leases.get(static) if static is not None else None
        another = holder is not None and holder.identifier != identifier
        free = not another or holder is None or holder.identifier[:-IAID_BYTES] != request.client_id
        return Client(datagram.mac, identifier, datagram.link, static=free)

    def _on_link(self, association: Association) -> bool:
        return all(address in self._settings.prefix for address in association.addresses)

    def _at_limit(self, client: Client) -> bool:
        limited = self._leases.at_limit(client)
        self._counters["refused.lease_limit"] += limited
        return limited

    def _assign(
        self, client: Client, association: Association, hostname: str | None, now: int
    ) -> Lease[IPv6Address] | None:
        """Lease an address to an association: one that it names, else what it would be offered."""
        lease = self._bind_first(client, list(association.addresses), hostname, now)
        if lease is not None or self._at_limit(client):
            return lease
        offered = self._leases.offer(client, None, now)
        return None if offered is None else self._bind_first(client, [offered.address], hostname, now)

    def _bind_first(
        self, client: Client, wanted: list[IPv6Address], hostname: str | None, now: int
    ) -> Lease[IPv6Address] | None:
        """Lease the first of `wanted` that the client may have."""
        if not wanted or self._leases.at_limit(client):
            return None
        expires = expiry(self._settings.lease_seconds, now)
        leases = (self._leases.bind(client, address, expires, hostname) for address in wanted)
        return next((lease for lease in leases if lease is not None), None)

    def _impossible(self, association: Association) -> tuple[int, bytes] | None:
        """The answer to what is never given out; None for an IA_NA."""
        if association.code is Option.IA_NA:
            return None
        if association.code is Option.IA_PD:
            return refused(association, Status.NO_PREFIX_AVAIL, NO_PREFIXES)
        return refused(association, Status.NO_ADDRS_AVAIL, NO_ADDRESSES)

    def _grant(self, association: Association, lease: Lease[IPv6Address]) -> tuple[int, bytes]:
        return self._replies.granted(association, lease.address)

    def _extended(
        self, request: Request, association: Association, lease: Lease[IPv6Address] | None
    ) -> tuple[int, bytes]:
        """The answer to RENEW or REBIND of an association, which now has `lease`."""
        if lease is not None:
            others = [address for address in association.addresses if address != lease.address]
            return self._replies.granted(association, lease.address, others)
        taken = self._on_link(association) and request.kind is Kind.RENEW
        if taken or not association.addresses:
            return self._refuse(association, Status.NO_BINDING, NO_BINDING, "no_binding")
        self._counters["refused.not_on_link"] += 1
        return ended(association, association.addresses)

    def _exhausted(self, association: Association) -> tuple[int, bytes]:
        return self._refuse(association, Status.NO_ADDRS_AVAIL, NO_ADDRESSES, "exhausted")

    def _refuse(self, association: Association, status: Status, text: str, word: str) -> tuple[int, bytes]:
        self._counters[f"refused.{word}"] += 1
        return refused(association, status, text)

    def _reply(
        self, request: Request, datagram: Datagram, answers: list[tuple[int, bytes]], *, parameters: bool = True
    ) -> Action:
        self._counters["sent.reply"] += 1
        return self._replies.reply(request, datagram, answers, parameters=parameters)

    def _told(self, lease: Lease[IPv6Address]) -> dict[str, Any]:
        """A client's identifier is its DUID; of which of its associations the lease is, is told apart from it."""
        duid, iaid = lease.identifier[:-IAID_BYTES], lease.identifier[-IAID_BYTES:]
        return super()._told(lease) | {"client_id": duid.hex(), "iaid": iaid.hex()}
