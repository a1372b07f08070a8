"""A guest in Python: DHCP, DNS, ping, UDP, and the engine's own TCP in the client's role.

`Guest` wraps a Core that is a single host (forwarding=False).  It has no clock, no socket and no thread: whoever owns it
moves frames and time.

    guest.deliver(frames, now)      frames that its link has brought
    guest.run(now)                  what is due
    guest.collect() -> frames       to be put on its link
    guest.next_deadline()           when `run` is next wanted

The simulator's World does that with virtual time; `pyslirp demo` with the real one, over an in-memory link.  Everything
else returns at once with an object whose state changes as frames come and go: a Lease, a Lookup, a Ping, a Stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from pyslirp.addresses import Address, Endpoint, Mac, pack
from pyslirp.engine.core import core as engine
from pyslirp.engine.core.core import Core
from pyslirp.services.base import Datagram
from pyslirp.sim.dhcp import CLIENT_PORT, SERVER_PORT, DhcpClient, Lease, Message
from pyslirp.sim.dns import PORT as DNS_PORT
from pyslirp.sim.dns import Lookup, Resolver
from pyslirp.sim.node import ICMP, TCP, UDP, Accept, CoreNode, network_of
from pyslirp.sim.stream import App, Stream

FIRST_EPHEMERAL, LAST_EPHEMERAL = 49152, 65535  #: RFC 6335 section 6
RESOLVER_PORT = 49151
BROADCAST = IPv4Address("255.255.255.255")
NOWHERE, NOWHERE6 = IPv4Address(0), IPv6Address(0)
LINK_LOCAL = IPv6Address("fe80::").packed[:8]
BROADCAST_MAC = b"\xff" * 6
ICMP_ECHO, ICMPV6_ECHO = 8, 128
PING_IDENTIFIER = 0x5051
DEFAULT_MAC = Mac("52:54:00:12:34:56")


class Ping:
    """One echo request."""

    def __init__(self, to: Address, sent_at: int, payload: bytes) -> None:
        self.to = to
        self.sent_at = sent_at
        self.payload = payload
        self.answered_at: int | None = None
        self.answered_by: Address | None = None

    @property
    def rtt_ns(self) -> int | None:
        """Round-trip time, or None before the answer."""
        return None if self.answered_at is None else self.answered_at - self.sent_at


class UdpSocket:
    """A UDP port of the guest."""

    def __init__(self, guest: Guest, port: int, on_datagram: Callable[[Endpoint, bytes], None] | None) -> None:
        self.port = port
        self.received: deque[tuple[Endpoint, bytes]] = deque()  #: what has come, where there is no callback
        self._guest = guest
        self._on_datagram = on_datagram

    def send(self, to: Endpoint, payload: bytes, now: int) -> bool:
        """Send; False where the link is full or ARP has yet to find the next hop (as on a real Ethernet: send again)."""
        return self._guest.send_udp(self.port, to, payload, now)

    def take(self, source: Endpoint, payload: bytes) -> None:
        """A datagram has come."""
        if self._on_datagram is not None:
            self._on_datagram(source, payload)
        else:
            self.received.append((source, payload))


class Guest(CoreNode):
    """A host with one Ethernet interface.

    seed: any number, from which its sequence numbers, ports and identifiers are drawn.  mtu: of its interface, bytes.
    congestion, ecn: of its TCP, as Core.set_congestion and Core.set_ecn.
    With `address` and `net` it is configured by hand, else by DHCP (`start_dhcp`).  `configure6` gives it IPv6, too.
    """

    def __init__(
        self,
        seed: int = 1,
        mac: Mac = DEFAULT_MAC,
        *,
        mtu: int = 1500,
        address: IPv4Address | None = None,
        net: IPv4Network | None = None,
        router: IPv4Address | None = None,
        dns: tuple[IPv4Address, ...] = (),
        hostname: str | None = None,
        congestion: str = "bbr",
        ecn: bool = False,
    ) -> None:
        super().__init__(Core(seed.to_bytes(16, "big"), bytes(mac), mtu=mtu, forwarding=False))
        self.core.set_congestion(congestion)
        self.core.set_ecn(ecn)
        self.mac = mac
        self.mtu = mtu
        self.address: IPv4Address | None = None
        self.address6: IPv6Address | None = None
        self.dns = dns
        self.dhcp = DhcpClient(mac, seed, hostname)
        self.on_lease: Callable[[Lease | None], None] | None = None  #: told of every lease, and of its end
        self._port = self.core.add_port(mtu)
        self._resolver = Resolver(seed, self._ask_dns)
        self._servers: dict[int, Accept | None] = {}
        self._sockets: dict[int, UdpSocket] = {}
        self._claimed = {CLIENT_PORT, RESOLVER_PORT}
        self._pings: dict[int, Ping] = {}
        self._sequence = 0
        self._own6: tuple[IPv6Address, ...] = ()
        self._next_port = FIRST_EPHEMERAL + seed % (LAST_EPHEMERAL - FIRST_EPHEMERAL)
        for port in self._claimed:
            self.core.claim_udp(None, port)
        if address is not None:
            self._configure(address, net or IPv4Network((address, 24), strict=False), router, None)

    # -- frames and time ----------------------------------------------------------------------------------------------

    def deliver(self, frames: list[bytes], now: int) -> None:
        """Frames that the link has brought."""
        self.accept_frames(self._port, frames, now)

    def collect(self) -> list[bytes]:
        """Take the frames that are to be sent."""
        return self.core.collect(self._port)

    def run(self, now: int) -> None:
        """Do what is due."""
        super().run(now)
        due = self.dhcp.deadline()
        if due is not None and due <= now:
            self._send_dhcp(self.dhcp.expire(now), now)
            self._follow_lease()
        due = self._resolver.deadline()
        if due is not None and due <= now:
            self._resolver.expire(now)

    def next_deadline(self) -> int | None:
        """When `run` is next wanted, or None."""
        deadlines = (super().next_deadline(), self.dhcp.deadline(), self._resolver.deadline())
        return min((due for due in deadlines if due is not None), default=None)

    # -- address ------------------------------------------------------------------------------------------------------

    def start_dhcp(self, now: int) -> None:
        """Ask for a lease; `lease` has it in time."""
        self._send_dhcp(self.dhcp.start(now), now)

    def renew(self, now: int) -> None:
        """Renew the lease now rather than at T1."""
        self._send_dhcp(self.dhcp.renew(now), now)

    def release(self, now: int) -> None:
        """Give the lease back and forget the address."""
        self._send_dhcp(self.dhcp.release(), now)
        self._follow_lease()

    @property
    def lease(self) -> Lease | None:
        """What DHCP has given, or None."""
        return self.dhcp.lease

    def _send_dhcp(self, messages: list[Message], now: int) -> None:
        for to, payload in messages:
            source = pack(NOWHERE if to is None else self.address or NOWHERE)
            mac, port = (BROADCAST_MAC, self._port) if to is None else (None, -1)
            self.core.send_udp(source, CLIENT_PORT, pack(to or BROADCAST), SERVER_PORT, payload, now, mac, port)

    def _follow_lease(self) -> None:
        """Take on the address of the lease, or drop one that is over."""
        lease = self.lease
        if (lease and lease.address) == self.address:
            return
        self.core.clear_addresses()
        self.address = None
        for address in self._own6:
            self.core.add_address(pack(address))
        if lease is not None:
            self.dns = lease.dns
            self._configure(lease.address, lease.net, lease.router, lease.mtu)
        if self.on_lease is not None:
            self.on_lease(lease)

    def _configure(self, address: IPv4Address, net: IPv4Network, router: IPv4Address | None, mtu: int | None) -> None:
        self.address = address
        network_of(self.core, net.network_address, net.prefixlen)
        self.core.add_address(pack(address))
        if router is not None:
            self.core.set_router(pack(router))
        if mtu is not None:
            self.core.set_mtu(min(mtu, self.mtu))

    def configure6(self, address: IPv6Address, net: IPv6Network, router: IPv6Address | None = None) -> None:
        """Speak IPv6, too, with `address` and a link-local one made from it."""
        self.address6 = address
        self._own6 = (address, IPv6Address(LINK_LOCAL + address.packed[8:]))
        self.core.set_families(True, True)
        network_of(self.core, net.network_address, net.prefixlen)
        for own in self._own6:
            self.core.add_address(pack(own))
        if router is not None:
            self.core.set_router(pack(router))

    def _source(self, to: Address) -> Address | None:
        """Our address that speaks to `to`; None before there is one of its family."""
        return self.address if to.version == 4 else self.address6

    # -- TCP ----------------------------------------------------------------------------------------------------------

    def connect(self, address: Address, port: int, now: int, app: App | None = None, *, local_port: int = 0) -> Stream:
        """Open a connection; local_port 0 takes the next free one.

        Raises OSError without an address of our own, or when the pair of ends is in use.
        """
        source = self._source(address)
        if source is None:
            raise OSError("the guest has no address yet")
        return self.open_stream(Endpoint(source, local_port or self._ephemeral()), Endpoint(address, port), app, now)

    def _ephemeral(self) -> int:
        port = self._next_port
        self._next_port = port + 1 if port < LAST_EPHEMERAL else FIRST_EPHEMERAL
        return port

    def listen(self, port: int, make: Accept | None = None) -> None:
        """Accept connections to `port`: each is served by an application that `make` makes, or is found in `accepted`."""
        self._servers[port] = make

    def unlisten(self, port: int) -> None:
        """Refuse connections to `port` again."""
        del self._servers[port]

    def _new_flow(self, flow: int, key: engine._Key) -> None:
        if key[0] == TCP and key[4] in self._servers:
            self.accept(flow, key, self._servers[key[4]])
        else:
            self.core.deny(flow, engine.REFUSE_RESET if key[0] == TCP else engine.REFUSE_PORT, self.now)

    # -- UDP, DNS, ping -----------------------------------------------------------------------------------------------

    def udp(self, port: int = 0, on_datagram: Callable[[Endpoint, bytes], None] | None = None) -> UdpSocket:
        """A UDP port; 0 takes the next free one.  Raises OSError where it is in use."""
        port = port or self._ephemeral()
        if port in self._sockets or port in {CLIENT_PORT, RESOLVER_PORT}:
            raise OSError(f"UDP port {port} is in use")
        if port not in self._claimed:
            self.core.claim_udp(None, port)
            self._claimed.add(port)
        self._sockets[port] = socket = UdpSocket(self, port, on_datagram)
        return socket

    def send_udp(self, port: int, to: Endpoint, payload: bytes, now: int) -> bool:
        """A datagram from `port`; False where it was not sent."""
        source = pack(self._source(to.address) or (NOWHERE if to.address.version == 4 else NOWHERE6))
        return self.core.send_udp(source, port, pack(to.address), to.port, payload, now)

    def resolve(self, name: str, now: int) -> Lookup:
        """Ask the lease's DNS servers for the addresses of `name`.  Raises ValueError where there is none."""
        self.now = now
        return self._resolver.resolve(name, self.dns, now)

    def _ask_dns(self, server: IPv4Address, payload: bytes) -> None:
        self.send_udp(RESOLVER_PORT, Endpoint(server, DNS_PORT), payload, self.now)

    def ping(self, to: Address, now: int, payload: bytes = b"pyslirp") -> Ping:
        """Send one echo request."""
        self._sequence = self._sequence + 1 & 0xFFFF
        ping = self._pings[self._sequence] = Ping(to, now, payload)
        rest = PING_IDENTIFIER << 16 | self._sequence
        nowhere, kind = (NOWHERE, ICMP_ECHO) if to.version == 4 else (NOWHERE6, ICMPV6_ECHO)
        self.core.send_icmp(pack(self._source(to) or nowhere), pack(to), kind, 0, rest, payload, now)
        return ping

    def _datagram(self, protocol: int, datagram: Datagram) -> None:
        if protocol == ICMP:
            self._pong(datagram)
        elif datagram.destination.port == CLIENT_PORT:
            self._send_dhcp(self.dhcp.handle(datagram.payload, self.now), self.now)
            self._follow_lease()
        elif datagram.destination.port == RESOLVER_PORT:
            self._resolver.handle(datagram.source, datagram.payload, self.now)
        elif protocol == UDP and datagram.destination.port in self._sockets:
            self._sockets[datagram.destination.port].take(datagram.source, datagram.payload)

    def _pong(self, datagram: Datagram) -> None:
        ping = self._pings.get(datagram.destination.port) if datagram.source.port == PING_IDENTIFIER else None
        if ping is not None and datagram.payload == ping.payload:
            del self._pings[datagram.destination.port]
            ping.answered_at = self.now
            ping.answered_by = datagram.source.address
