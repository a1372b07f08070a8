"""The composition root: a Config becomes an engine with services, links and forwards, and every punt finds its answer.

No event loop is known here.  `fileno` is to be watched for reading, `process` to be called when it is readable (loops/);
everything else happens inside `process`: frames, host sockets, resolvers, timers of Python.  One thread owns a stack.

Life: made, `start` (forwards and links open; raises what the user must mend), `process` again and again, `close`.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyslirp.addresses import Address, Endpoint, Mac, pack, unpack
from pyslirp.config.link import ConnectAddress, ListenAddress
from pyslirp.config.stack import Config
from pyslirp.dispatch import Dispatcher, ServiceStream
from pyslirp.engine.core.core import Core
from pyslirp.engine.reactor import Engine
from pyslirp.errors import ClosedError, ForwardError, SlirpError
from pyslirp.events import Event, FlowDenied, FlowOpened, LinkDown, LinkUp
from pyslirp.flows import DatagramHandler, ServedDatagrams, ServedStream, StreamHandler
from pyslirp.forwards import Forwards, ports_to_try
from pyslirp.host.resolvers import Resolvers
from pyslirp.host.upstream import Upstream
from pyslirp.links.base import STREAM_MTU, Link, PortSpec
from pyslirp.links.connector import Connector
from pyslirp.links.listener import Listener
from pyslirp.nat.targets import Targets
from pyslirp.observe.bus import Bus
from pyslirp.observe.capture import Capture
from pyslirp.observe.log import RateLimited
from pyslirp.services.dhcp import DhcpService, DhcpSettings
from pyslirp.services.dns import DnsService
from pyslirp.snapshot import flows_of, neighbors_of
from pyslirp.verdicts import PROTOCOLS, TCP, UDP, Allow, Deny, FlowName, How, Verdict

ROUNDS = 4  #: times that `process` goes on at once because answering punts has made new ones
READ, WRITE = 1, 4  #: EPOLLIN and EPOLLOUT, of a watch

_log = RateLimited(logging.getLogger("pyslirp.stack"))

StreamFactory = Callable[[ServedStream], StreamHandler]
PROHIBITED = Deny(How.PROHIBITED, "ping sockets are not permitted")


@dataclass(slots=True)
class Timer:
    """A call that is to come; `cancel` takes it back."""

    at: int
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        """It will not be called."""
        self.callback = None


@dataclass(slots=True)
class _Port:
    name: str
    lost: Callable[[str], None]


class Stack:
    """One network."""

    def __init__(self, config: Config) -> None:
        """Everything but links and forwards, which `start` opens."""
        self.config = config
        network = config.network
        self.mtu = network.mtu or STREAM_MTU  #: of the network: announced, and the most that is used
        self.host = network.host
        mac = Mac(b"\x52\x55" + network.host.packed)  # libslirp slirp.c: 52:55 and the address
        self.engine = Engine(Core(os.urandom(16), bytes(mac), mtu=self.mtu))
        self.core = self.engine.core
        self.core.set_network(pack(network.net.network_address), 96 + network.net.prefixlen)
        self.core.add_address(pack(network.host))
        if config.dns_alias is not None:
            self.core.add_address(pack(config.dns_alias))
        self.bus = Bus()
        self.links: list[Link] = []
        self.targets = Targets(network.net, network.host, config.dns_alias, restrict=network.restrict)
        self._servers: dict[tuple[bytes, int], StreamFactory] = {}
        self._datagram_servers: dict[tuple[bytes, int], DatagramHandler] = {}
        self._ports: dict[int, _Port] = {}
        self._tokens = itertools.count(1)
        self._timers: list[tuple[int, int, Timer]] = []
        self._capture: Capture | None = None
        self._closed = False
        self._dispatcher = Dispatcher(self.core, self.engine.now, self._publish, self._new_flow, self._link_lost)
        self.forwards = Forwards(
            config, self.engine, self._dispatcher.inbound, self._publish, lambda: next(self._tokens)
        )
        self._upstream = Upstream(self, self._resolved)
        self._dispatcher.resolving = self._upstream
        self._dns: DnsService | None = None
        self._add_services()

    def _add_services(self) -> None:
        config = self.config
        self._dispatcher.add(
            DhcpService(
                DhcpSettings(
                    net=config.network.net,
                    host=config.network.host,
                    dns=config.dns.address,
                    start=config.dhcp.start,
                    static=config.dhcp.leases,
                    lease_seconds=config.dhcp.lease_seconds,
                    hostname=config.dhcp.hostname,
                    domainname=config.dhcp.domainname,
                    search=config.dns.search,
                    mtu=self.mtu,
                    restrict=config.network.restrict,
                )
            )
        )
        if config.dns_alias is not None and not config.network.restrict:
            resolvers = Resolvers(chosen=config.dns.upstream)
            numbers = os.urandom
            self._dns = DnsService((config.dns_alias,), resolvers.current, lambda: int.from_bytes(numbers(2)))
            self._dispatcher.add(self._dns)

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the forwards of the configuration.  Raises ForwardError for the first that cannot be; then none listens."""
        try:
            for rule in self.config.forward.hostfwd:
                self.forwards.add(rule)
        except ForwardError:
            self.close()
            raise

    def close(self) -> None:
        """End everything: guests are dropped, connections reset, descriptors closed.  May be called twice."""
        if self._closed:
            return
        self._closed = True
        for link in self.links:
            link.close()
        self._upstream.close()
        self.stop_capture()
        self.bus.close()
        self.engine.close()

    @property
    def closed(self) -> bool:
        """Has `close` been called?"""
        return self._closed

    def fileno(self) -> int:
        """The one descriptor to watch for reading."""
        return self.engine.fileno()

    def process(self, *, wait: bool = False) -> None:
        """Do what there is to do now.  Bounded: where more is left, `fileno` stays readable.

        wait: sleep in the engine until there is something for Python (or a signal), moving bytes meanwhile: the way of a
        thread that has nothing else to do.
        """
        if self._closed:
            return
        punts = self.engine.run() if wait else self.engine.process()
        for _ in range(ROUNDS):
            if punts:
                self._dispatcher.handle(punts)
            self._expire()
            if self.closed:  # a handler may have closed it
                return
            self.engine.flush()
            punts = self.core.punts()
            if not punts:
                break
        else:
            self._dispatcher.handle(punts)
            self.engine.flush()
        if self._capture is not None:
            self._write_capture()
        self._set_deadline()

    def kick(self) -> None:
        """Let what was asked of the stack from outside `process` take effect now."""
        if self._closed:
            raise ClosedError("the network has been closed")
        self.engine.flush()
        punts = self.core.punts()
        if punts:
            self._dispatcher.handle(punts)
            self.engine.flush()
        self._set_deadline()

    # -- time ---------------------------------------------------------------------------------------------------------

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> Timer:
        """Call back after `delay_ns` (LinkHost)."""
        timer = Timer(self.engine.now() + delay_ns, callback)
        heapq.heappush(self._timers, (timer.at, next(self._tokens), timer))
        self._set_deadline()
        return timer

    def _expire(self) -> None:
        now = self.engine.now()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                timer.callback()
        for service in self._dispatcher.services:
            due = service.deadline()
            if due is not None and due <= now:
                self._dispatcher.perform(service.expire(now))

    def _set_deadline(self) -> None:
        deadlines = [due for service in self._dispatcher.services if (due := service.deadline()) is not None]
        if self._timers:
            deadlines.append(self._timers[0][0])
        self.engine.set_deadline(min(deadlines) if deadlines else None)

    # -- descriptors of Python (LinkHost, host/upstream.py's Watcher) --------------------------------------------------

    def watch(self, fd: int, readable: Callable[[], None] | None, writable: Callable[[], None] | None = None) -> int:
        """Call back whenever `fd` is ready; the token is for `unwatch`."""
        token = next(self._tokens)

        def ready(events: int) -> None:
            if events & ~READ and writable is not None:
                writable()
            if events & ~WRITE and readable is not None and token in self._dispatcher.watches:
                readable()

        self.engine.watch(fd, (READ if readable else 0) | (WRITE if writable else 0), token)
        self._dispatcher.watches[token] = ready
        return token

    def unwatch(self, token: int) -> None:
        """End a watch, before its descriptor is closed."""
        if self._dispatcher.watches.pop(token, None) is not None:
            self.engine.unwatch(token)

    # -- links --------------------------------------------------------------------------------------------------------

    def listen(self, address: ListenAddress) -> Listener:
        """Accept guests at `address`.  Raises LinkError."""
        link = Listener(address, self.mtu)
        link.open(self)
        self.links.append(link)
        return link

    def connect(self, address: ConnectAddress) -> Connector:
        """Connect to a guest that listens at `address`, again and again.  Raises LinkError for a bad descriptor."""
        link = Connector(address, self.mtu)
        link.open(self)
        self.links.append(link)
        return link

    def attach(self, spec: PortSpec, lost: Callable[[str], None]) -> int:
        """A guest has come (LinkHost)."""
        try:
            port = self.engine.attach_link(spec.fd, spec.mtu, spec.framing)
        except OSError:
            os.close(spec.fd)
            raise
        self._ports[port] = _Port(spec.name, lost)
        if self._capture is not None:
            self._capture.add_port(port, spec.name)
        self._publish(LinkUp(self.engine.now(), port, spec.name))
        return port

    def detach(self, port: int, reason: str) -> None:
        """Take a guest's port away (LinkHost)."""
        gone = self._ports.pop(port, None)
        if gone is not None:
            self._write_capture()
            self.engine.detach_link(port)
            self._publish(LinkDown(self.engine.now(), port, gone.name, reason))

    def _link_lost(self, port: int, why: int, detail: int) -> None:
        gone = self._ports.get(port)
        if gone is None:
            return
        if why == 0:
            reason = "closed"
        elif why < 0:
            reason = f"a frame of {detail} bytes is announced; 14 to 69632 are possible: is this QEMU's stream framing?"
            _log.warning("%s: closed: %s", gone.name, reason)
        else:
            reason = os.strerror(why)
        self.detach(port, reason)
        gone.lost(reason)

    # -- verdicts -----------------------------------------------------------------------------------------------------

    def _new_flow(self, flow: int, name: FlowName, ttl: int) -> None:
        del ttl  # the engine remembers it with the flow
        if name.protocol == TCP:
            factory = self._servers.get((name.far, name.far_port))
            if factory is not None:
                self._serve_stream(flow, name, factory)
                return
            service = self._dispatcher.stream_service(name.far, name.far_port)
            if service is not None:
                handled = service
                self._serve_stream(
                    flow, name, lambda stream: ServiceStream(self._dispatcher, handled, stream, self.engine.now)
                )
                return
        elif name.protocol == UDP:
            handler = self._datagram_servers.get((name.far, name.far_port))
            if handler is not None:
                self._serve_datagrams(flow, name, handler)
                return
        self._carry_out(flow, name, self.targets.decide(name))

    def _carry_out(self, flow: int, name: FlowName, verdict: Verdict) -> None:
        if isinstance(verdict, Allow):
            verdict = self._connect(flow, name, verdict) or verdict
        if isinstance(verdict, Deny):
            self.core.deny(flow, verdict.how, self.engine.now())
            if len(self.bus):
                guest, far = _ends(name)
                self._publish(FlowDenied(self.engine.now(), PROTOCOLS[name.protocol], guest, far, verdict.reason))

    def _connect(self, flow: int, name: FlowName, verdict: Allow) -> Deny | None:
        """Open the host's side; a Deny where it cannot be."""
        if name.protocol == TCP:
            self.engine.connect_stream(flow, verdict.address, verdict.port, flow)
        elif name.protocol == UDP:
            self.engine.connect_datagram(flow, verdict.address, verdict.port, flow)
        else:
            try:
                self.engine.connect_echo(flow, verdict.address, flow)
            except PermissionError:
                _log.warning(
                    "a guest's ping is refused: this user may not open ping sockets; widen the range of the sysctl "
                    "net.ipv4.ping_group_range, e.g. to '0 2147483647'"
                )
                return PROHIBITED
        if len(self.bus):
            guest, far = _ends(name)
            target = str(Endpoint(unpack(verdict.address), verdict.port))
            self._publish(
                FlowOpened(self.engine.now(), flow, PROTOCOLS[name.protocol], guest, far, target, inbound=False)
            )
        return None

    def _serve_stream(self, flow: int, name: FlowName, factory: StreamFactory) -> None:
        guest, far = _ends(name)
        stream = ServedStream(self.core, self.engine.now, flow, guest, far)
        self._dispatcher.streams[flow] = stream
        stream.handler = factory(stream)
        self.core.serve(flow, flow, self.engine.now())
        if len(self.bus):
            self._publish(FlowOpened(self.engine.now(), flow, "tcp", guest, far, "handler", inbound=False))

    def _serve_datagrams(self, flow: int, name: FlowName, handler: DatagramHandler) -> None:
        guest, far = _ends(name)
        self._dispatcher.conversations[flow] = ServedDatagrams(self.core, self.engine.now, flow, guest, far, handler)
        self.core.serve(flow, flow, self.engine.now())

    # -- handlers of this process -------------------------------------------------------------------------------------

    def serve_stream(self, endpoint: Endpoint, factory: StreamFactory) -> None:
        """Answer guests' TCP connections to `endpoint` here; an address inside the net becomes one of our own.

        Raises SlirpError where something is served there already.
        """
        key = (pack(endpoint.address), endpoint.port)
        if key in self._servers or self._dispatcher.stream_service(*key) is not None:
            raise SlirpError(f"{endpoint} is served already")
        self._own(endpoint.address)
        self._servers[key] = factory

    def unserve_stream(self, endpoint: Endpoint) -> None:
        """Answer no more new connections to `endpoint`."""
        self._servers.pop((pack(endpoint.address), endpoint.port), None)

    def _own(self, address: Address) -> None:
        if address in self.config.network.net:
            self.core.add_address(pack(address))

    def open_stream(self, guest: Endpoint, factory: StreamFactory, source: Endpoint | None = None) -> ServedStream:
        """Connect to a guest's port from this process; `source` (default: the gateway, a free port) is whom it sees.

        The handler's `connected` or `closed` follows.  Raises SlirpError when no source port is free.
        """
        for port in ports_to_try(source.port if source is not None else 0):
            far = Endpoint(source.address if source is not None else self.host, port)
            flow = self.core.open(pack(guest.address), guest.port, pack(far.address), far.port, 0, self.engine.now())
            if flow:
                stream = ServedStream(self.core, self.engine.now, flow, guest, far)
                self._dispatcher.streams[flow] = stream
                stream.handler = factory(stream)
                return stream
        raise SlirpError(f"no source port is free for a connection to {guest}")

    # -- resolvers ----------------------------------------------------------------------------------------------------

    def _resolved(self, key: int, message: bytes | None, reason: str) -> None:
        if self._dns is not None:
            self._dispatcher.perform(self._dns.answer(key, message, reason, self.engine.now()))

    # -- observation --------------------------------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:
        if len(self.bus):
            self.bus.publish(event)

    def start_capture(self, path: str) -> None:
        """Write every frame of every port to a pcapng file.  Raises OSError where it cannot be made."""
        self._capture = Capture(path, self.engine.now(), self.core.captured)
        for number, port in self._ports.items():
            self._capture.add_port(number, port.name)
        self.core.capturing = True

    def stop_capture(self) -> None:
        """End the file."""
        if self._capture is not None:
            self.core.capturing = False
            self._capture.close()
            self._capture = None

    def _write_capture(self) -> None:
        if self._capture is None:
            return
        self._capture.write()
        if not self._capture.active:
            self.core.capturing = False
            self._capture = None

    def snapshot(self) -> dict[str, Any]:
        """Everything that there is to know, as plain values: links, leases, neighbours, flows, forwards, counters."""
        network = self.config.network
        return {
            "network": {
                "net": str(network.net),
                "host": str(network.host),
                "dns": str(self.config.dns.address),
                "mtu": self.mtu,
                "restrict": self.targets.restrict,
            },
            "links": [
                {**port, "name": self._ports[port["port"]].name}
                for port in self.core.ports()
                if port["port"] in self._ports
            ],
            "listening": [link.describe() for link in self.links],
            "forwards": [
                {"rule": str(forward.rule), "listen": str(forward.listen), "connections": forward.connections}
                for forward in self.forwards
            ],
            "neighbors": neighbors_of(self.core),
            "flows": flows_of(self.core),
            "services": {service.name: service.snapshot() for service in self._dispatcher.services},
            "counters": self.core.counters(),
            "memory": self.core.memory(),
        }


def _ends(name: FlowName) -> tuple[Endpoint, Endpoint]:
    return Endpoint(unpack(name.guest), name.guest_port), Endpoint(unpack(name.far), name.far_port)
