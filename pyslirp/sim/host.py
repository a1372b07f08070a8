"""The gateway and the hosts behind it, for tests without sockets: every flow of a guest is served by a script of Python.

A `Gateway` is the engine's core with ports for guests.  What the policy and the sockets of the host do in the real stack
is here a table: `listen` says which address and port answers, and how; whatever is not in it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import cast

from pyslirp.addresses import Address, Endpoint, Mac, pack, unpack
from pyslirp.engine.core import core as engine
from pyslirp.engine.core.core import Core
from pyslirp.services.base import (
    Action,
    Datagram,
    LearnNeighbor,
    RouterDiscovery,
    SendDatagram,
    SendIcmp6,
    Service,
    Solicitation,
)
from pyslirp.sim.node import TCP, Accept, CoreNode, network_of
from pyslirp.sim.stream import App, Stream

DEFAULT_NET = IPv4Network("10.0.2.0/24")
DEFAULT_MAC = Mac("52:55:0a:00:02:02")
ROUTER_LINK_LOCAL = IPv6Address("fe80::2")

Responder = Callable[[bytes], bytes | None]  #: what a UDP server answers, None: nothing


class Port:
    """One port of the gateway: an end for a link to a guest."""

    def __init__(self, gateway: Gateway, number: int) -> None:
        self.number = number
        self._gateway = gateway

    def deliver(self, frames: list[bytes], now: int) -> None:
        """Frames that the guest has sent."""
        self._gateway.accept_frames(self.number, frames, now)

    def collect(self) -> list[bytes]:
        """Take the frames for the guest."""
        return self._gateway.core.collect(self.number)


class Gateway(CoreNode):
    """A network of guests at its usual addresses: .2 the gateway, .3 the DNS alias; in IPv6 ::2, ::3 and fe80::2.

    seed: any number.  mtu: of the network, bytes.  services: those of pyslirp.services that are to run on it.  net6: its
    IPv6 prefix; without one IPv6 is off.  congestion, ecn: of its TCP, as Core.set_congestion and Core.set_ecn.
    """

    def __init__(
        self,
        seed: int = 2,
        *,
        mtu: int = 1500,
        net: IPv4Network = DEFAULT_NET,
        mac: Mac = DEFAULT_MAC,
        services: Iterable[Service] = (),
        net6: IPv6Network | None = None,
        congestion: str = "bbr",
        ecn: bool = False,
    ) -> None:
        super().__init__(Core(seed.to_bytes(16, "big"), bytes(mac), mtu=mtu))
        self.core.set_congestion(congestion)
        self.core.set_ecn(ecn)
        self.net = net
        self.mtu = mtu
        self.host = net.network_address + 2
        self.dns = net.network_address + 3
        self._services = list(services)
        self._claims = [
            (claim, service) for service in self._services for claim in service.claims if claim.protocol == "udp"
        ]
        self._servers: dict[tuple[Address | None, int], Accept | None] = {}
        self._refusals: dict[tuple[Address | None, int], int] = {}
        self._responders: dict[int, Responder] = {}
        self._conversations: dict[int, Responder] = {}
        network_of(self.core, net.network_address, net.prefixlen)
        self.host6 = None if net6 is None else net6[2]
        own: list[Address] = [self.host, self.dns]
        if net6 is not None:
            self.core.set_families(True, True)
            network_of(self.core, net6.network_address, net6.prefixlen)
            own += [net6[2], net6[3], ROUTER_LINK_LOCAL]
        for address in own:
            self.core.add_address(pack(address))
        for claim, _ in self._claims:
            self.core.claim_udp(None if claim.address is None else pack(claim.address), claim.port)

    def attach(self, mtu: int | None = None) -> Port:
        """A new port; mtu: of its link, as the network's where None."""
        return Port(self, self.core.add_port(mtu or self.mtu))

    # -- hosts --------------------------------------------------------------------------------------------------------

    def listen(self, port: int, make: Accept | None = None, address: Address | None = None) -> None:
        """Connections to `port` of `address` (None: any) succeed; `make` and `accepted` as in `Guest.listen`."""
        self._servers[address, port] = make

    def refuse(self, port: int, how: int, address: Address | None = None) -> None:
        """Connections to `port` are refused as the engine's REFUSE_... says, instead of by a reset."""
        self._refusals[address, port] = how

    def answer_udp(self, port: int, responder: Responder) -> None:
        """Datagrams to `port` of any host are answered."""
        self._responders[port] = responder

    def connect(self, guest: Endpoint, source: Endpoint, now: int, app: App | None = None) -> Stream:
        """Open a connection towards a guest, as a forwarding rule does for a client.  Raises OSError as `open_stream`."""
        return self.open_stream(source, guest, app, now)

    def _new_flow(self, flow: int, key: engine._Key) -> None:
        protocol, _, _, far, port = key
        names = [(address, port) for address in (unpack(far), None)]
        if protocol == TCP:
            for name in names:
                if name in self._servers:
                    self.accept(flow, key, self._servers[name])
                    return
            self.core.deny(
                flow,
                next((self._refusals[name] for name in names if name in self._refusals), engine.REFUSE_RESET),
                self.now,
            )
        elif port in self._responders:
            self._conversations[flow] = self._responders[port]
            self.core.serve(flow, 0, self.now)
        else:
            self.core.deny(flow, engine.REFUSE_PORT, self.now)

    def _message(self, flow: int, payload: bytes) -> None:
        answer = self._conversations[flow](payload)
        if answer is not None:
            self.core.datagram_reply(flow, answer, self.now)

    # -- services -----------------------------------------------------------------------------------------------------

    def run(self, now: int) -> None:
        """Do what is due, here and in the services."""
        super().run(now)
        for service in self._services:
            due = service.deadline()
            if due is not None and due <= now:
                self._perform(service.expire(now))

    def next_deadline(self) -> int | None:
        """When `run` is next wanted."""
        deadlines = [super().next_deadline(), *(service.deadline() for service in self._services)]
        return min((due for due in deadlines if due is not None), default=None)

    def _datagram(self, protocol: int, datagram: Datagram) -> None:
        del protocol  # a gateway hears of pings as flows
        for claim, service in self._claims:
            if claim.port == datagram.destination.port and claim.address in {None, datagram.destination.address}:
                self._perform(service.handle(datagram, self.now))
                return

    def _solicitation(self, solicitation: Solicitation) -> None:
        for service in self._services:
            if any(claim.protocol == "icmp6" for claim in service.claims):
                self._perform(cast("RouterDiscovery", service).solicited(solicitation, self.now))

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, LearnNeighbor):
                self.core.learn(pack(action.address), bytes(action.mac), self.now)
            elif isinstance(action, SendIcmp6):
                self.core.send_icmp6(
                    pack(action.source),
                    pack(action.destination),
                    action.kind,
                    action.code,
                    action.body,
                    self.now,
                    None if action.mac is None else bytes(action.mac),
                    -1 if action.link is None else action.link,
                )
            elif isinstance(action, SendDatagram):
                source, to = action.source, action.destination
                past_table: tuple[bytes | None, int] = (None, -1)
                if action.mac is not None and action.link is not None:
                    past_table = (bytes(action.mac), action.link)
                self.core.send_udp(
                    pack(source.address), source.port, pack(to.address), to.port, action.payload, self.now, *past_table
                )
