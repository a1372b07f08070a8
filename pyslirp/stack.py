"""The composition root: a Config becomes an engine with services, links and forwards, and every punt finds its answer.

No event loop is known here.  `fileno` is to be watched for reading, `process` to be called when it is readable; `kick`
makes what was asked from outside take effect (loops/ does all that).  Everything else happens inside those two: frames,
host sockets, resolvers, timers of Python.  One thread owns a stack.

Life: made, `start` (opens the forwards; raises what the user must mend), `process` again and again, `close`.
Whatever is called inside `process` may close the stack.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pyslirp.addresses import Address, Endpoint, Mac, pack
from pyslirp.config.guestfwd import default_server
from pyslirp.config.link import ConnectAddress, ListenAddress
from pyslirp.config.smb import PORTS as SMB_PORTS
from pyslirp.config.stack import Config
from pyslirp.dispatch import Dispatcher, Punt
from pyslirp.engine.core.core import Core
from pyslirp.engine.reactor import Engine
from pyslirp.errors import ClosedError, ForwardError
from pyslirp.events import Event, LinkDown, LinkUp
from pyslirp.flows import ServedStream
from pyslirp.forwards import Forwards
from pyslirp.guestfwd import GuestForwards
from pyslirp.host.command import Commands
from pyslirp.links.base import STREAM_MTU, Link, PortSpec
from pyslirp.links.connector import Connector
from pyslirp.links.listener import Listener
from pyslirp.nat.targets import Targets
from pyslirp.observe.bus import Bus
from pyslirp.observe.capture import Capture
from pyslirp.observe.log import RateLimited
from pyslirp.outbound import Outbound
from pyslirp.readiness import StreamFactory, Watch
from pyslirp.records import dataclass
from pyslirp.servers import Servers
from pyslirp.service_set import ServiceSet
from pyslirp.snapshot import flows_of, neighbors_of
from pyslirp.verdicts import FlowName, Verdict

if TYPE_CHECKING:
    from pyslirp.host.smb import Smb

ROUNDS = 4  #: times that `process` goes on at once because answering punts has made new ones
READ, WRITE = 1, 4  #: EPOLLIN and EPOLLOUT, of a watch
PROBE = "probe"  #: what events call our end of a question to a guest's port
SHUT_DOWN = "the network is shut down"
BAD_LENGTH = "a frame of {} bytes is announced; 14 to 69632 are possible: is this QEMU's stream framing?"

_log = RateLimited(logging.getLogger("pyslirp.stack"))

AnyLink = TypeVar("AnyLink", bound=Link)


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
    lost: Callable[[str], None] | None


class Stack:
    """One network."""

    def __init__(self, config: Config) -> None:
        """Everything but links and forwards, which `start` opens."""
        self.config = config
        network = config.network
        self.mtu = network.mtu or STREAM_MTU  #: of the network: announced, and the most that is used
        self.host = network.host
        self.mac = Mac(b"\x52\x55" + network.host.packed)  # libslirp slirp.c: 52:55 and the address
        self.engine = Engine(Core(os.urandom(16), bytes(self.mac), mtu=self.mtu))
        self.core = self.engine.core
        self.core.set_families(network.ipv4, network.ipv6)
        if network.ipv4:
            self.core.set_network(pack(network.net.network_address), 96 + network.net.prefixlen)
        if network.ipv6:
            self.core.set_network(pack(network.prefix6.network_address), network.prefix6.prefixlen)
        self.core.set_congestion(network.congestion)
        for address in config.own_addresses:
            self.core.add_address(pack(address))
        self.bus = Bus(self.core)
        self.links: list[Link] = []
        self.targets = Targets(network, config.dns_aliases, dns_forward=config.dns.forward)
        for source in (network.outbound, network.outbound6):
            if source is not None:
                self.engine.set_outbound(pack(source))
        self._ports: dict[int, _Port] = {}
        self._tokens = itertools.count(1)
        self._timers: list[tuple[int, int, Timer]] = []
        self._capture: Capture | None = None
        self._backlog: list[Punt] = []
        self._working = False
        self._closed = False
        self._dispatcher = Dispatcher(self.core, self.engine.now, self.bus, self._new_flow, self._link_lost)
        self.forwards = Forwards(
            config,
            self.engine,
            self._dispatcher.inbound,
            self._dispatcher.endings,
            self.bus,
            lambda: next(self._tokens),
            self._watch_port,
        )
        own = set(config.own_addresses)
        self.servers = Servers(network, own, self.core, self.engine.now, self._dispatcher, self.targets, self.bus)
        self.guestfwd = GuestForwards(
            default_server(network.net),
            self.servers.take,
            Commands(self, self.call_later, RateLimited(logging.getLogger("pyslirp.guestfwd"))),
            self._dispatcher.endings,
        )
        self._outbound = Outbound(self.engine, self.bus, self._decide)
        self._smb: Smb | None = None
        self._dispatcher.ports = self.servers
        self._at_close: list[Callable[[], None]] = []
        self._services = ServiceSet(config, self.mac, self.mtu, self._dispatcher, self, self.engine.now)

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self, addresses: Sequence[Address | None] = ()) -> None:
        """Open the forwards of the configuration.  Raises ForwardError for the first that cannot be, and is closed.

        addresses: those of the targets of guestfwd, in order; of one that is None or not there, a name is looked up.
        """
        try:
            for rule in self.config.forward.hostfwd:
                self.forwards.add(rule)
            for answer, address in itertools.zip_longest(self.config.forward.guestfwd, addresses):
                self.guestfwd.add(answer, address)
            self._share_folder()
        except ForwardError:
            self.close()
            raise

    def _share_folder(self) -> None:
        """Answer guests' SMB, where that is asked for.  Raises ForwardError."""
        smb = self.config.smb
        if smb.folder is None:
            return
        from pyslirp.host.smb import Smb  # noqa: PLC0415 - as with TFTP

        self._smb = Smb(smb.folder)
        for port in SMB_PORTS:
            self.guestfwd.add_command(
                Endpoint(smb.server, port), self._smb.arguments, "smbd", "Conflicting/invalid smbserver address"
            )

    def close(self) -> None:
        """End everything: connections are reset, descriptors closed, handlers told.  May be called twice."""
        if self._closed:
            return
        self._closed = True
        for callback in self._at_close:
            self._dispatcher.attempt(callback)
        self._dispatcher.close()
        self._services.close()
        self.forwards.close()
        self.guestfwd.close()
        if self._smb is not None:
            self._smb.close()
        for link in self.links:
            self._dispatcher.attempt(link.close)
        for port in tuple(self._ports):
            self._drop(port, SHUT_DOWN)
        pending = self._backlog + self.core.punts()
        self.engine.close()  # writes the last resets, then closes the links
        self._dispatcher.end(pending)
        self._dispatcher.watches.clear()
        self._timers.clear()
        self.stop_capture()
        self.bus.close()

    def at_close(self, callback: Callable[[], None]) -> None:
        """Call back first of all when the stack is closed."""
        self._check()
        self._at_close.append(callback)

    @property
    def closed(self) -> bool:
        """Has `close` been called?"""
        return self._closed

    @property
    def working(self) -> bool:
        """Are we inside `process` or `kick`, which make everything take effect before they return?"""
        return self._working

    def _check(self) -> None:
        if self._closed:
            raise ClosedError("the network has been closed")

    def fileno(self) -> int:
        """The one descriptor to watch for reading; -1 once closed."""
        return self.engine.fileno()

    def process(self, *, wait: bool = False) -> None:
        """Do what there is to do now.  Bounded: where more is left, `fileno` stays readable.

        wait: sleep in the engine until there is something for Python (or a signal), moving bytes meanwhile: the way of
        a thread that has nothing else to do.  Does nothing once closed.
        """
        if self._closed or self._working:
            return
        punts = self.engine.run() if wait and not self._backlog else self.engine.process()
        self._answer(punts)

    def kick(self) -> None:
        """Let what was asked of the stack from outside `process` take effect now.  Raises ClosedError."""
        self._check()
        if not self._working:
            self._answer([])

    def _answer(self, punts: list[Punt]) -> None:
        """Handle `punts`, and what comes of that, until nothing does or it is the turn of others."""
        punts = self._backlog + punts
        self._backlog = []
        self._working = True
        try:
            for _ in range(ROUNDS):
                self._dispatcher.handle(punts)
                self._expire()
                if self._closed:
                    return
                self.engine.flush()
                punts = self.core.punts()
                if not punts:
                    break
            self._backlog = self._dispatcher.links_first(punts)  # with punts left, flush has made `fileno` readable
        finally:
            self._working = False
        if not self._closed:
            self._write_capture()
            self._set_deadline()

    # -- time ---------------------------------------------------------------------------------------------------------

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> Timer:
        """Call back after `delay_ns` (LinkHost)."""
        self._check()
        timer = Timer(self.engine.now() + delay_ns, callback)
        heapq.heappush(self._timers, (timer.at, next(self._tokens), timer))
        self._set_deadline()
        return timer

    def _expire(self) -> None:
        now = self.engine.now()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                self._dispatcher.attempt(timer.callback)
        if not self._closed:
            self._dispatcher.expire()

    def _set_deadline(self) -> None:
        due = self._dispatcher.deadline()
        if self._timers and (due is None or self._timers[0][0] < due):
            due = self._timers[0][0]
        self.engine.set_deadline(due)

    # -- descriptors of Python (LinkHost, host/upstream.py's Watcher) --------------------------------------------------

    def watch(
        self,
        fd: int,
        readable: Callable[[], None] | None,
        writable: Callable[[], None] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> int:
        """Call back whenever `fd` is ready; the token is for `unwatch`.

        ended: called when the other side has gone, or the descriptor has failed; without it the others are.
        """
        token = next(self._tokens)

        def ready(events: int) -> None:
            if events & ~(READ | WRITE) and ended is not None:
                ended()
                return
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
        return self.open_link(Listener(address, self.mtu))

    def connect(self, address: ConnectAddress) -> Connector:
        """Connect to a guest that listens at `address`, again and again.  Raises LinkError for what will never work."""
        return self.open_link(Connector(address, self.mtu))

    def open_link(self, link: AnyLink) -> AnyLink:
        """Open any link; it is closed with the stack.  Raises LinkError."""
        self._check()
        link.open(self)
        self.links.append(link)
        return link

    def attach(self, spec: PortSpec, lost: Callable[[str], None] | None = None) -> int:
        """A guest has come (LinkHost)."""
        try:
            self._check()
            port = self.engine.attach_link(spec.fd, spec.mtu, spec.framing)
        except BaseException:
            os.close(spec.fd)
            raise
        self._ports[port] = _Port(spec.name, lost)
        if self._capture is not None:
            self._capture.add_port(port, spec.name)
        self._publish(LinkUp(self.engine.now(), port, spec.name))
        return port

    def detach(self, port: int, reason: str) -> None:
        """Take a guest's port away (LinkHost)."""
        if self._drop(port, reason) is not None and not self._closed:
            self.engine.detach_link(port)

    def _drop(self, port: int, reason: str) -> _Port | None:
        """Forget a port; None where there is none of that number."""
        gone = self._ports.pop(port, None)
        if gone is not None:
            self._write_capture()  # before another has this number
            self._publish(LinkDown(self.engine.now(), port, gone.name, reason))
        return gone

    def _link_lost(self, port: int, why: int, detail: int) -> None:
        """The engine has lost a link, and has closed its port already."""
        reason = "closed" if why == 0 else os.strerror(why) if why > 0 else BAD_LENGTH.format(detail)
        gone = self._drop(port, reason)
        if gone is None:
            return
        if why < 0:
            _log.warning("%s: closed: %s", gone.name, reason)
        if gone.lost is not None:
            gone.lost(reason)

    # -- verdicts -----------------------------------------------------------------------------------------------------

    def _new_flow(self, flow: int, name: FlowName, ttl: int) -> None:
        del ttl  # the engine remembers it with the flow
        if not self.servers.answer(flow, name):
            self._outbound.open(flow, name)

    def _decide(self, name: FlowName) -> Verdict:
        return self.guestfwd.decide(name) or self.targets.decide(name)

    def set_restrict(self, restrict: bool) -> int:
        """Isolate the guests, or no longer: ``restrict=`` while the network runs.  How many flows were cut.

        Flows that guests have opened and could not open any more are ended, TCP by a reset both ways; forwarded ones
        and those to servers in this process stay.  DHCP leaves router and DNS server out from a client's next message.
        """
        self._check()
        self.targets.restrict = restrict
        cut = self._services.set_restrict(restrict)
        return cut + self._outbound.cut() if restrict else cut

    def _watch_port(self, guest: Endpoint, changed: Callable[[bool], None]) -> Watch:
        """Ask a guest's port whether it accepts connections (for forwards marked ready)."""

        def connect(guest: Endpoint, factory: StreamFactory) -> ServedStream:
            return self.servers.connect(guest, factory, target=PROBE)

        return Watch(guest, connect, self.call_later, changed)

    # -- observation --------------------------------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:
        self.bus.publish(event)

    def start_capture(self, path: str) -> None:
        """Write every frame of every port to a pcapng file, in place of one that is written now.

        Raises OSError where it cannot be made.
        """
        self._check()
        self.stop_capture()
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
            self.stop_capture()

    def services(self) -> dict[str, dict[str, Any]]:
        """What each service has to tell, by its name."""
        return self._services.snapshot()

    def snapshot(self) -> dict[str, Any]:
        """Everything that there is to know, as plain values: links, leases, neighbours, flows, forwards, counters."""
        network = self.config.network
        return {
            "network": {
                "net": str(network.net),
                "host": str(network.host),
                "dns": str(self.config.dns.address),
                "ipv4": network.ipv4,
                "ipv6": network.ipv6,
                "prefix6": str(network.prefix6),
                "host6": str(network.host6),
                "dns6": str(self.config.dns.address6),
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
                {
                    "rule": str(forward.rule),
                    "listen": str(forward.listen),
                    "open": forward.open,
                    "connections": forward.connections,
                }
                for forward in self.forwards
            ],
            "guestfwd": [str(rule) for rule in self.guestfwd],
            "commands": self.guestfwd.commands,
            "neighbors": neighbors_of(self.core),
            "flows": flows_of(self.core),
            "services": self.services(),
            "counters": self.core.counters(),
            "memory": self.core.memory(),
            "engine": self.engine.snapshot(),
        }
