"""What a DHCP reply holds and where it goes: the settings of the server, made into options for one client.

Lease times, message type, server identifier and the echoed client identifier are in every reply that may hold them.
The rest are parameters: what the client's parameter request list names and the settings have, in the list's order
(RFC 2132 section 9.8); all but the MTU for a client that gives no list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Network

from pyslirp.addresses import Endpoint, Mac
from pyslirp.config.dhcp import DEFAULT_LEASE_SECONDS, INFINITE_SECONDS
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass, field, replace
from pyslirp.services.base import Datagram, SendDatagram
from pyslirp.services.dhcp_boot import Boot, BootSettings, boot_for
from pyslirp.services.dhcp_message import Kind, Option, Request, build_reply, pack_addresses
from pyslirp.services.dns_names import pack_compressed
from pyslirp.services.leases import MAX_LEASES_PER_LINK

SERVER_PORT, CLIENT_PORT = 67, 68
LIMITED_BROADCAST = IPv4Address("255.255.255.255")
BROADCAST_MAC = Mac(b"\xff" * 6)
NOWHERE = IPv4Address(0)

MIN_LEASE_SECONDS = 120  #: a client may ask for less than the default, but not so little that it renews all the time

NAK_TEXT = b"requested address not available"  # libslirp's words


@dataclass(frozen=True, slots=True)
class DhcpSettings:
    """What the server gives out.  Addresses belong to `net`; whether they do is checked where they were configured."""

    net: IPv4Network
    host: IPv4Address  #: server identifier and router
    dns: IPv4Address  #: the DNS alias
    start: IPv4Address  #: first address of the pool, which reaches to the end of the net
    static: Mapping[Mac, IPv4Address] = field(default_factory=dict)  #: always this address for this MAC
    reserved: AbstractSet[IPv4Address] = frozenset()  #: never given out, beyond host and dns (guestfwd ...)
    lease_seconds: int = DEFAULT_LEASE_SECONDS  #: longest lease; INFINITE_SECONDS: no end
    leases_per_link: int = MAX_LEASES_PER_LINK  #: how many of the pool the guests behind one link may hold
    match_client_id: bool = True  #: False: know clients by MAC alone, for clones of one image that share an identifier
    hostname: str | None = None  #: option 12; None: not sent
    domainname: str | None = None  #: option 15; None: not sent
    search: Sequence[str] = ()  #: option 119
    mtu: int | Callable[[], int] = 1500  #: option 26, bytes: only for a client that asks
    restrict: bool = False  #: no router, no DNS server: options 3 and 6 are left out, as by libslirp
    dns_enabled: bool = True  #: False: option 6 is left out
    boot: BootSettings = field(default_factory=BootSettings)  #: what clients boot from

    def is_guest(self, address: IPv4Address) -> bool:
        """The address may be a guest's: in the net and none of ours."""
        ours = (self.host, self.dns, self.net.network_address, self.net.broadcast_address)
        return address in self.net and address not in ours


class DhcpReplies:
    """Makes replies.  `omitted` counts the options that did not fit into one."""

    def __init__(self, settings: DhcpSettings) -> None:
        """Raises ConfigError for a search list that DNS cannot express."""
        self.omitted = 0
        self._use(settings)

    def set_restrict(self, restrict: bool) -> None:
        """Leave out router and DNS server from now on, or no longer."""
        self._use(replace(self._settings, restrict=restrict))

    def _use(self, settings: DhcpSettings) -> None:
        self._parameters = _fixed_parameters(settings)
        self._settings = settings

    def lease_seconds(self, request: Request) -> int:
        """How long the client may have its address: what it asks for (option 51) within the server's limits."""
        longest = self._settings.lease_seconds
        return min(max(request.lease_seconds or longest, MIN_LEASE_SECONDS), longest)

    def offer(self, request: Request, datagram: Datagram, address: IPv4Address) -> SendDatagram:
        """DHCPOFFER of `address`."""
        options = self._head(Kind.OFFER) + self._lease_times(request)
        return self._build(request, datagram, options, yiaddr=address, to=request.ciaddr)

    def ack(self, request: Request, datagram: Datagram, address: IPv4Address) -> SendDatagram:
        """DHCPACK of a lease on `address`; to a DISCOVER that asks for rapid commit (RFC 4039 section 3.1), too."""
        options = self._head(Kind.ACK) + self._lease_times(request)
        if request.kind is Kind.DISCOVER:
            options.append((Option.RAPID_COMMIT, b""))
        return self._build(request, datagram, options, yiaddr=address, ciaddr=request.ciaddr, to=request.ciaddr)

    def inform(self, request: Request, datagram: Datagram, address: IPv4Address) -> SendDatagram:
        """DHCPACK of an INFORM from `address`: parameters without a lease (RFC 2131 section 4.3.5)."""
        return self._build(request, datagram, self._head(Kind.ACK), ciaddr=request.ciaddr, to=address)

    def bootp(self, request: Request, datagram: Datagram, address: IPv4Address | None) -> SendDatagram:
        """BOOTREPLY; `address` None: to a client that knows its own."""
        return self._build(request, datagram, [], yiaddr=address, ciaddr=request.ciaddr, to=request.ciaddr)

    def nak(self, request: Request, datagram: Datagram) -> SendDatagram:
        """DHCPNAK: broadcast, and flagged so to a relay: the client's address is in doubt (RFC 2131 section 4.3.2)."""
        options = [*self._head(Kind.NAK), (Option.MESSAGE, NAK_TEXT), *_echoed(request)]
        payload, _ = build_reply(request, options, broadcast=request.giaddr != NOWHERE)
        return self._address(request, datagram, payload, None, NOWHERE)

    def _build(
        self,
        request: Request,
        datagram: Datagram,
        head: list[tuple[int, bytes]],
        *,
        to: IPv4Address,
        yiaddr: IPv4Address | None = None,
        ciaddr: IPv4Address | None = None,
    ) -> SendDatagram:
        tail = _echoed(request) if request.kind is not None else []
        boot = boot_for(self._settings.boot, request)
        payload, omitted = build_reply(
            request,
            [*head, *self._asked_for(request, boot), *boot.options, *tail],
            yiaddr=yiaddr,
            ciaddr=ciaddr,
            siaddr=self._settings.boot.server or self._settings.host,
            bootfile=boot.file,
        )
        self.omitted += omitted
        return self._address(request, datagram, payload, yiaddr, to)

    def _address(
        self, request: Request, datagram: Datagram, payload: bytes, yiaddr: IPv4Address | None, to: IPv4Address
    ) -> SendDatagram:
        """Send a reply where RFC 2131 section 4.1 says, out of the link by which the request came in.

        `to` is the address that the client has (ciaddr), which only counts when it can be a guest's.
        """
        port, mac = CLIENT_PORT, request.chaddr
        if request.giaddr != NOWHERE:
            address, port, mac = request.giaddr, SERVER_PORT, datagram.mac
        elif self._settings.is_guest(to):
            address = to
        elif yiaddr is not None and not request.broadcast:
            address = yiaddr
        else:
            address, mac = LIMITED_BROADCAST, BROADCAST_MAC
        source = Endpoint(self._settings.host, SERVER_PORT)
        return SendDatagram(source, Endpoint(address, port), payload, mac, datagram.link)

    def _head(self, kind: Kind) -> list[tuple[int, bytes]]:
        return [(Option.MESSAGE_TYPE, bytes([kind])), (Option.SERVER_ID, self._settings.host.packed)]

    def _lease_times(self, request: Request) -> list[tuple[int, bytes]]:
        """Options 51, 58 and 59: T1 at a half, T2 at seven eighths of the lease (RFC 2131 section 4.4.5)."""
        seconds = self.lease_seconds(request)
        times: list[tuple[int, int]] = [(Option.LEASE_TIME, seconds)]
        if seconds != INFINITE_SECONDS:
            times += [(Option.RENEWAL_TIME, seconds // 2), (Option.REBINDING_TIME, seconds * 7 // 8)]
        return [(code, time.to_bytes(4, "big")) for code, time in times]

    def _asked_for(self, request: Request, boot: Boot) -> list[tuple[int, bytes]]:
        """The parameters that this client gets, in its order, but the mask before the router (RFC 2132 section 3.3)."""
        asked = list(dict.fromkeys(request.options.get(Option.PARAMETER_LIST, b"")))
        if not asked:
            return list((self._parameters | boot.asked).items())
        if Option.SUBNET_MASK in asked and Option.ROUTER in asked:
            router = asked.index(Option.ROUTER)
            if router < asked.index(Option.SUBNET_MASK):
                asked.remove(Option.SUBNET_MASK)
                asked.insert(router, Option.SUBNET_MASK)
        known = self._parameters | boot.asked | {Option.INTERFACE_MTU: self._mtu()}
        return [(code, known[code]) for code in asked if code in known]

    def _mtu(self) -> bytes:
        mtu = self._settings.mtu
        return min(mtu if isinstance(mtu, int) else mtu(), 0xFFFF).to_bytes(2, "big")


def _fixed_parameters(settings: DhcpSettings) -> dict[int, bytes]:
    """What is the same for every client, in the order for one that gives no list."""
    options: dict[int, bytes] = {Option.SUBNET_MASK: settings.net.netmask.packed}
    if not settings.restrict:
        options[Option.ROUTER] = pack_addresses(settings.host)
        if settings.dns_enabled:
            options[Option.DOMAIN_NAME_SERVER] = pack_addresses(settings.dns)
    options[Option.BROADCAST_ADDRESS] = settings.net.broadcast_address.packed
    for code, text in ((Option.HOST_NAME, settings.hostname), (Option.DOMAIN_NAME, settings.domainname)):
        if text:
            options[code] = text.encode("utf-8", "surrogateescape")  # a command line may hold any bytes
    if settings.search:
        try:
            options[Option.DOMAIN_SEARCH] = pack_compressed(settings.search)
        except ValueError as error:
            raise ConfigError("dnssearch", ",".join(settings.search), str(error)) from error
    return options


def _echoed(request: Request) -> list[tuple[int, bytes]]:
    """The client identifier, as it came, in every answer to a client that sent one (RFC 6842 section 3)."""
    identifier = request.options.get(Option.CLIENT_ID)
    return [] if identifier is None else [(Option.CLIENT_ID, identifier)]
