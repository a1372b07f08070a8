"""The contract of a service, and the few values that pass between a service and the stack.

A service is pure: it reads no clock, opens no socket, draws no random number.  It is handed what its claims select and
`now` (monotonic nanoseconds), and returns what is to be done.  The stack does it.  So a service runs unchanged over real
sockets and in the simulator.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pyslirp.addresses import Address, Endpoint, Mac
from pyslirp.events import Event

ROUTER_SOLICITATION = 133  #: ICMPv6 type (RFC 4861 section 4.1)


class Claim(NamedTuple):
    """What a service answers: datagrams or streams to `port` of `address` (None: any address that reaches the gateway).

    Of ICMPv6, `port` is the type: ROUTER_SOLICITATION is the only one that can be claimed, with no address.
    """

    protocol: str  #: "udp", "tcp" or "icmp6"
    address: Address | None
    port: int


class Datagram(NamedTuple):
    """A UDP datagram from a guest that a service has claimed."""

    link: int  #: switch port that it came in by
    mac: Mac  #: source of the Ethernet frame
    source: Endpoint
    destination: Endpoint
    payload: bytes


class SendDatagram(NamedTuple):
    """Send a UDP datagram to a guest.

    `mac` and `link` say where, past the neighbour table, for a guest that has no address yet (DHCP); None: look up.
    """

    source: Endpoint
    destination: Endpoint
    payload: bytes
    mac: Mac | None = None
    link: int | None = None


class Solicitation(NamedTuple):
    """A guest looks for routers, in a message that RFC 4861 section 6.1.1 lets pass."""

    link: int  #: switch port that it came in by
    mac: Mac  #: source of the Ethernet frame
    source: IPv6Address  #: unspecified (``::``) where the guest has no address yet


class SendIcmp6(NamedTuple):
    """Send an ICMPv6 message to a guest, or to a group of them, with hop limit 255.

    `body` is what is behind type, code and checksum.  `mac` and `link` as in SendDatagram; to a group, `link` alone says
    which of the links (None: all of them).
    """

    source: IPv6Address
    destination: IPv6Address
    kind: int  #: ICMPv6 type
    code: int
    body: bytes
    mac: Mac | None = None
    link: int | None = None


class StreamSend(NamedTuple):
    """Send bytes on a TCP stream that the service serves."""

    stream: int
    data: bytes


class StreamClose(NamedTuple):
    """End a served stream: after what was sent has left (abort=False), or by a reset at once (abort=True)."""

    stream: int
    abort: bool = False


class AskResolver(NamedTuple):
    """Put a DNS message to one of the host's resolvers; the answer comes back to `DnsService.answer(key, ...)`."""

    key: int  #: chosen by the service, names the exchange
    server: Endpoint
    tcp: bool
    message: bytes


class ForgetAsk(NamedTuple):
    """Give up waiting for the answer to `key` and free what waits for it."""

    key: int


class OpenPort(NamedTuple):
    """What guests send to this UDP port goes to `service.handle` from now on (with link -1 and no MAC address)."""

    endpoint: Endpoint  #: of an address that the service has claims at
    service: Service


class ClosePort(NamedTuple):
    """What guests send to this UDP port is the service's no more."""

    endpoint: Endpoint


class LearnNeighbor(NamedTuple):
    """Tell the engine that `address` is at `mac` behind `link`, as DHCP knows before any ARP (link None: find out)."""

    address: Address
    mac: Mac
    link: int | None = None


Action = (
    SendDatagram
    | SendIcmp6
    | StreamSend
    | StreamClose
    | AskResolver
    | ForgetAsk
    | OpenPort
    | ClosePort
    | LearnNeighbor
    | Event
)


class Service(Protocol):
    """What the stack expects of a service."""

    name: str  #: the one word for it: "dhcp", "dns", "tftp" ...

    @property
    def claims(self) -> Iterable[Claim]:
        """What this service answers."""

    def handle(self, datagram: Datagram, now: int) -> Iterable[Action]:
        """Answer one claimed datagram.  Never raises for what a guest has sent: it counts and returns nothing."""

    def deadline(self) -> int | None:
        """When `expire` is next wanted (monotonic nanoseconds), or None.  It changes only while the service is called."""

    def expire(self, now: int) -> Iterable[Action]:
        """Do what is due at `now`."""

    def snapshot(self) -> dict[str, Any]:
        """State and counters as plain values for `Network.snapshot()`."""


class RouterDiscovery(Service, Protocol):
    """A service that also answers guests who look for routers."""

    def solicited(self, solicitation: Solicitation, now: int) -> Iterable[Action]:
        """A router solicitation has come."""


@runtime_checkable
class RestrictedService(Service, Protocol):
    """A service that behaves in another way in a network whose guests are isolated."""

    def set_restrict(self, restrict: bool, now: int) -> None:
        """``restrict=`` from now on."""


class StreamService(Service, Protocol):
    """A service that also serves TCP streams of its claims."""

    def stream_opened(self, stream: int, guest: Endpoint, now: int) -> Iterable[Action]:
        """A guest has connected."""

    def stream_received(self, stream: int, data: bytes, now: int) -> Iterable[Action]:
        """Bytes of the stream; b"" says that the guest will send no more."""

    def stream_closed(self, stream: int, now: int) -> Iterable[Action]:
        """The stream is gone; nothing more can be sent on it."""
