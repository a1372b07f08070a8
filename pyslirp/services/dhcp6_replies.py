"""What a DHCPv6 reply holds and where it goes: the settings of the server, made into options for one client.

Identifiers, status and associations are in every reply that has them.  The rest are parameters: what the client's option
request names and the settings have, in its order; name server and search list for a client that names nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from ipaddress import IPv6Address, IPv6Network

from pyslirp.addresses import Endpoint, Mac
from pyslirp.config.dhcp import DEFAULT_LEASE_SECONDS, INFINITE_SECONDS
from pyslirp.config.ipv6 import LINK_LOCAL, ROUTER_LINK_LOCAL
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass, field, replace
from pyslirp.services.base import Datagram, SendDatagram
from pyslirp.services.dhcp6_message import (
    Association,
    Kind,
    Option,
    Request,
    Status,
    build_reply,
    pack_address,
    pack_association,
    pack_status,
)
from pyslirp.services.dns_names import labels_of, pack_labels, pack_names
from pyslirp.services.leases import MAX_LEASES_PER_LINK

SERVER_PORT, CLIENT_PORT = 547, 546
ALL_SERVERS = IPv6Address("ff02::1:2")  #: All_DHCP_Relay_Agents_and_Servers (RFC 8415 section 7.1)

DUID_LL, ETHERNET = 3, 1  #: DUID type and its hardware type (RFC 8415 section 11.4)
PREFERENCE = 255  #: "ask no further": there is no other server on the link (RFC 8415 section 18.2.1)
REFRESH_SECONDS = 86_400  #: IRT_DEFAULT (RFC 8415 section 7.6)
FQDN_S, FQDN_O, FQDN_N = 1, 2, 4  #: flags of option 39: server updates, overridden, no updates (RFC 4704 section 4.1)

NO_ADDRESSES = "no addresses are left"
NO_BINDING = "no such lease"
NOT_ON_LINK = "not an address of this link"
NO_PREFIXES = "no prefixes are delegated"
USE_MULTICAST = "send to ff02::1:2"


@dataclass(frozen=True, slots=True)
class Dhcp6Settings:
    """What the server gives out.  Addresses belong to `prefix`; whether they do is checked where they were configured."""

    prefix: IPv6Network
    host: IPv6Address  #: the gateway
    mac: Mac  #: its MAC, which makes the server's DUID: the same each time that the network starts
    start: IPv6Address  #: first address of the pool, which reaches to the end of the prefix
    dns: IPv6Address | None  #: option 23; None: there is no name server
    static: Mapping[Mac, IPv6Address] = field(default_factory=dict)  #: always this address for this MAC
    reserved: AbstractSet[IPv6Address] = frozenset()  #: never given out, beyond host and dns
    lease_seconds: int = DEFAULT_LEASE_SECONDS  #: valid and preferred lifetime; INFINITE_SECONDS: no end
    leases_per_link: int = MAX_LEASES_PER_LINK  #: how many of the pool the guests behind one link may hold
    hostname: str | None = None  #: for a client that sends its FQDN (option 39); None: it keeps its own
    domainname: str | None = None  #: behind `hostname`
    search: Sequence[str] = ()  #: option 24
    bootfile_url: str | None = None  #: option 59
    bootfile_urls: Mapping[int, str] = field(default_factory=dict)  #: the same for one architecture of IANA's list
    restrict: bool = False  #: no name server


class Dhcp6Replies:
    """Makes replies.  `omitted` counts the options that did not fit into one."""

    def __init__(self, settings: Dhcp6Settings) -> None:
        """Raises ConfigError for a search list or a name that DNS cannot express."""
        self.duid = bytes([0, DUID_LL, 0, ETHERNET]) + settings.mac
        self.omitted = 0
        self._use(settings)

    def set_restrict(self, restrict: bool) -> None:
        """Leave out the name server from now on, or no longer."""
        self._use(replace(self._settings, restrict=restrict))

    def _use(self, settings: Dhcp6Settings) -> None:
        self._parameters = _parameters(settings)
        self._name = _name(settings)
        self._settings = settings

    def advertise(self, request: Request, datagram: Datagram, answers: Sequence[tuple[int, bytes]]) -> SendDatagram:
        """ADVERTISE of what `answers` offer."""
        answers = [(Option.PREFERENCE, bytes([PREFERENCE])), *answers]
        return self._build(Kind.ADVERTISE, request, datagram, answers, self._asked_for(request))

    def reply(
        self, request: Request, datagram: Datagram, answers: Sequence[tuple[int, bytes]], *, parameters: bool = True
    ) -> SendDatagram:
        """REPLY with `answers`, and (with `parameters`) what the client wants to know."""
        if request.kind is Kind.SOLICIT:
            answers = [(Option.RAPID_COMMIT, b""), *answers]
        return self._build(Kind.REPLY, request, datagram, answers, self._asked_for(request) if parameters else ())

    def status(self, request: Request, datagram: Datagram, status: Status, text: str = "") -> SendDatagram:
        """REPLY that says no more than a status."""
        return self.reply(request, datagram, [pack_status(status, text)], parameters=False)

    def granted(
        self, association: Association, address: IPv6Address, ended: Sequence[IPv6Address] = ()
    ) -> tuple[int, bytes]:
        """The answer to an association: it has `address`, and those of `ended` no more.

        T1 and T2 are half and four fifths of the preferred lifetime (RFC 8415 section 21.4).
        """
        seconds = self._settings.lease_seconds
        times = (seconds, seconds) if seconds == INFINITE_SECONDS else (seconds // 2, seconds * 4 // 5)
        options = [pack_address(address, seconds, seconds), *(pack_address(old, 0, 0) for old in ended)]
        return pack_association(association, options, times)

    def _build(
        self,
        kind: Kind,
        request: Request,
        datagram: Datagram,
        answers: Sequence[tuple[int, bytes]],
        parameters: Sequence[tuple[int, bytes]],
    ) -> SendDatagram:
        needed: list[tuple[int, bytes]] = [(Option.SERVER_ID, self.duid)]
        if request.client_id:
            needed.append((Option.CLIENT_ID, request.client_id))
        packed = build_reply(kind, request.transaction, [*needed, *answers], parameters)
        self.omitted += packed.omitted
        to = Endpoint(datagram.source.address, CLIENT_PORT)
        return SendDatagram(Endpoint(ROUTER_LINK_LOCAL, SERVER_PORT), to, packed.payload, datagram.mac, datagram.link)

    def _asked_for(self, request: Request) -> list[tuple[int, bytes]]:
        known = self._parameters
        urls = self._settings.bootfile_urls
        url = next((urls[number] for number in request.architectures if number in urls), self._settings.bootfile_url)
        if url is not None:
            known = known | {Option.BOOTFILE_URL: url.encode("utf-8", "surrogateescape")}
        if request.kind is Kind.INFORMATION_REQUEST:
            known = known | {Option.REFRESH_TIME: REFRESH_SECONDS.to_bytes(4, "big")}
        asked = request.asked
        codes = (Option.DNS_SERVERS, Option.DOMAIN_LIST) if asked is None else asked
        found = [(int(code), known[code]) for code in codes if code in known]
        return found if request.fqdn is None else [*found, self._fqdn(*request.fqdn)]

    def _fqdn(self, flags: int, name: bytes) -> tuple[int, bytes]:
        """RFC 4704 section 6: nobody updates any DNS here, and the client is told so."""
        overridden = FQDN_O if flags & FQDN_S else 0
        return Option.CLIENT_FQDN, bytes([FQDN_N | overridden]) + (self._name or name)

    def is_client(self, address: IPv6Address) -> bool:
        """May a reply be sent to `address`?  Clients ask from their link-local address (RFC 8415 section 13.1)."""
        return address in LINK_LOCAL or (address in self._settings.prefix and address != self._settings.host)


def refused(association: Association, status: Status, text: str) -> tuple[int, bytes]:
    """The answer to an association that gets nothing."""
    return pack_association(association, [pack_status(status, text)])


def ended(association: Association, addresses: Sequence[IPv6Address]) -> tuple[int, bytes]:
    """The answer to an association whose addresses are not to be used any more: lifetimes of zero."""
    return pack_association(association, [pack_address(address, 0, 0) for address in addresses])


def _parameters(settings: Dhcp6Settings) -> dict[int, bytes]:
    """What is the same for every client."""
    options: dict[int, bytes] = {}
    if settings.dns is not None and not settings.restrict:
        options[Option.DNS_SERVERS] = settings.dns.packed
    if settings.search:
        try:
            options[Option.DOMAIN_LIST] = pack_names(settings.search)
        except ValueError as error:
            raise ConfigError("dnssearch", ",".join(settings.search), str(error)) from error
    return options


def _name(settings: Dhcp6Settings) -> bytes | None:
    """The guests' name as option 39 has it: whole where there is a domain, else without the root; None: it has none.

    A name that DNS cannot express is one that DHCP may still give out (as any bytes); here it is none.
    """
    if not settings.hostname:
        return None
    try:
        if settings.domainname:
            return pack_names([f"{settings.hostname}.{settings.domainname}"])
        return pack_labels(labels_of(settings.hostname))
    except ValueError:
        return None
