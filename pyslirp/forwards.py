"""Host forwarding at work: the rules that listen, and the clients that they bring.

A client's connection is taken from the kernel at once, but nothing is read from it before the guest has answered:
what the client sends early waits in its socket.  A guest that refuses has the client reset.

A rule marked ready holds its port (another socket is bound to it) and listens only while the guest's port accepts
connections (readiness.py); else the host's kernel refuses its clients.  A range of ports is as many rules, of which
all come or none.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator

from pyslirp.addresses import Endpoint, UnixAddress, pack, unpack
from pyslirp.config.forward import ForwardKey, HostForward
from pyslirp.config.stack import Config
from pyslirp.engine.reactor import Engine
from pyslirp.errors import ForwardError
from pyslirp.events import FlowOpened, ForwardAdded, ForwardReady, ForwardRemoved
from pyslirp.host.forward import bound_endpoint, open_forward, open_unix_forward, remove_unix_forward
from pyslirp.nat.clients import Clients
from pyslirp.observe.bus import Bus
from pyslirp.observe.log import RateLimited
from pyslirp.readiness import Watch
from pyslirp.records import dataclass, replace

PORT_TRIES = 64  #: source ports tried where a client's own is in use towards that guest
DYNAMIC_PORTS = 49152, 16384  #: first and how many (RFC 6335 section 6)
PORT_STEP = 251  #: odd, so that it leads to every one of them
UNIX_CLIENT = "unix"  #: what events call a client that came by a unix socket
NO_DESCRIPTOR = -1
REFUSED = "refused"  #: how the flow of a client ends whom the guest did not let in (engine's REASONS)

_log = RateLimited(logging.getLogger("pyslirp.forwards"))

WatchPort = Callable[[Endpoint, Callable[[bool], None]], Watch]  #: of a guest; and who is told of changes


@dataclass(slots=True)
class Forward:
    """A rule that is in force."""

    rule: HostForward  #: with the port that was really chosen
    listen: Endpoint | UnixAddress
    token: int
    descriptor: int = NO_DESCRIPTOR  #: the engine's, which closes it; NO_DESCRIPTOR while no client is let in
    connections: int = 0  #: TCP clients so far
    open: bool = False  #: clients are let in
    keeper: socket.socket | None = None  #: of a rule marked ready: what keeps its port
    watch: Watch | None = None  #: of a rule marked ready


class Forwards:
    """The host forwarding rules of one network."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        inbound: dict[int, Callable[[int, bytes, int], None]],
        endings: dict[int, Callable[[str], None]],
        bus: Bus,
        next_token: Callable[[], int],
        watch_port: WatchPort,
    ) -> None:
        """`inbound` and `endings` are where the dispatcher looks up who is told of an accepted descriptor, by token,
        and of the end of a flow.
        """
        self._network = config.network
        self._default_guest = config.dhcp.default_guest(config.network)
        self._clients = Clients(config.network)
        self._engine = engine
        self._inbound = inbound
        self._endings = endings
        self._bus = bus
        self._next_token = next_token
        self._watch_port = watch_port
        self._rules: dict[ForwardKey, Forward] = {}

    def __iter__(self) -> Iterator[Forward]:
        return iter(tuple(self._rules.values()))

    def __len__(self) -> int:
        return len(self._rules)

    # -- rules --------------------------------------------------------------------------------------------------------

    def add(self, rule: HostForward) -> Endpoint | UnixAddress:
        """Put a rule in force; where it listens, with the port that the host has chosen for port 0 (of a range: the first).

        Raises ForwardError in QEMU's words and with a remedy; then none of its ports listens.
        """
        rule = rule.towards(self._default_guest)
        why = self._network.why_no_guest(rule.guest, group=rule.protocol == "udp")  # no stream to all (RFC 9293 MUST-46)
        if why:
            raise ForwardError(None, f"Could not set up host forwarding rule '{rule}': {why}")
        made: list[Forward] = []
        try:
            for single in rule.each():
                made.append(self._add(single))  # noqa: PERF401 - what is there already must be known when one fails
        except BaseException:
            for forward in made:
                self._end(forward)
            raise
        for forward in made:
            self._rules[forward.rule.key] = forward
            self._bus.publish(ForwardAdded(self._engine.now(), str(forward.rule), forward.listen))
        for forward in made:
            if forward.watch is not None:
                forward.watch.ask()
        return made[0].listen

    def remove(self, key: ForwardKey) -> bool:
        """Stop listening; established connections stay, UDP conversations end.  False: there is no such rule.

        Of a range, those of its ports that have a rule.
        """
        found = [forward for single in key.each() if (forward := self._rules.pop(single, None)) is not None]
        for forward in found:
            self._end(forward)
            self._bus.publish(ForwardRemoved(self._engine.now(), str(forward.rule)))
        return bool(found)

    def close(self) -> None:
        """End every rule.  Nothing is told."""
        for forward in self:
            self._end(forward)
        self._rules.clear()

    def _add(self, rule: HostForward) -> Forward:
        if rule.path:
            if rule.key in self._rules:  # whose socket would be taken away
                raise ForwardError(None, f"Could not set up host forwarding rule '{rule}': there is one for {rule.key}")
            listen: Endpoint | UnixAddress = UnixAddress(rule.path)
            opened = open_unix_forward(str(rule), rule.path)
        else:
            opened = open_forward(str(rule), rule.protocol, rule.host, rule.host_port, listen=not rule.ready)
            listen = bound_endpoint(opened)
            rule = replace(rule, host_port=listen.port)
        forward = Forward(rule, listen, self._next_token())
        if not rule.ready:
            self._listen(forward, opened)
            return forward
        if rule.path:
            self._close_socket(forward, opened)  # there is nothing to keep; it was only to see whether it can be made
        else:
            forward.keeper = opened
        guest = Endpoint(rule.guest, rule.guest_port)
        forward.watch = self._watch_port(guest, lambda ready: self._ready(forward, ready))
        return forward

    def _listen(self, forward: Forward, opened: socket.socket) -> None:
        """Let clients in.  Raises ForwardError, with the socket closed."""
        try:
            self._attach(forward, opened.fileno())
        except OSError as error:
            self._close_socket(forward, opened)
            text = f"Could not set up host forwarding rule '{forward.rule}': {error.strerror}"
            raise ForwardError(error.errno, text) from None
        except BaseException:
            self._close_socket(forward, opened)
            raise
        forward.descriptor = opened.detach()
        forward.open = True

    def _attach(self, forward: Forward, descriptor: int) -> None:
        rule = forward.rule
        if rule.protocol == "udp":
            self._engine.add_datagram_listener(descriptor, pack(rule.guest), rule.guest_port, forward.token)
            return
        self._engine.add_listener(descriptor, forward.token)
        self._inbound[forward.token] = lambda fd, client, port: self._accepted(forward, fd, client, port)

    def _close_socket(self, forward: Forward, opened: socket.socket) -> None:
        opened.close()
        if forward.rule.path:
            remove_unix_forward(forward.rule.path)

    def _close_listener(self, forward: Forward) -> None:
        if forward.open:
            forward.open = False
            forward.descriptor = NO_DESCRIPTOR
            self._inbound.pop(forward.token, None)
            self._engine.remove_listener(forward.token)
            if forward.rule.path:
                remove_unix_forward(forward.rule.path)

    def _end(self, forward: Forward) -> None:
        if forward.watch is not None:
            forward.watch.close()
        if forward.keeper is not None:
            forward.keeper.close()
        self._close_listener(forward)

    def _ready(self, forward: Forward, ready: bool) -> None:
        """The guest's port has begun or ceased to accept."""
        rule = forward.rule
        if ready:
            try:
                if rule.path:
                    self._listen(forward, open_unix_forward(str(rule), rule.path))
                else:
                    self._listen(forward, open_forward(str(rule), rule.protocol, rule.host, rule.host_port))
            except ForwardError as error:
                _log.warning("%s; the guest is ready for it", error)
                return
        else:
            self._close_listener(forward)
        self._bus.publish(ForwardReady(self._engine.now(), str(rule), ready))

    # -- clients ------------------------------------------------------------------------------------------------------

    def _accepted(self, forward: Forward, fd: int, client: bytes, client_port: int) -> None:
        """A client of a rule: the guest is connected to from its address."""
        rule = forward.rule
        guest = pack(rule.guest)
        far = pack(self._network.gateway(rule.guest.version)) if rule.path else self._clients.shown_as(client, guest)
        try:
            flow, port = self._open(rule, fd, far, client_port)
        except BaseException:
            os.close(fd)
            raise
        if not flow:
            os.close(fd)
            return
        forward.connections += 1
        watch = forward.watch
        if watch is not None:
            self._endings[flow] = lambda reason: watch.ask() if forward.open and reason == REFUSED else None
        if len(self._bus):
            ends = Endpoint(rule.guest, rule.guest_port), Endpoint(unpack(far), port)
            target = UNIX_CLIENT if rule.path else str(Endpoint(unpack(client), client_port))
            self._bus.publish(FlowOpened(self._engine.now(), flow, "tcp", *ends, target, inbound=True))

    def _open(self, rule: HostForward, fd: int, far: bytes, client_port: int) -> tuple[int, int]:
        """The flow, 0 where there is no room for one (counted in the engine), and the port that the guest sees."""
        for port in ports_to_try(client_port):
            flow = self._engine.open_inbound(fd, pack(rule.guest), rule.guest_port, far, port, 0)
            if flow:
                return flow, port
        return 0, 0


def ports_to_try(wanted: int = 0) -> Iterator[int]:
    """`wanted` (0: none), then some of the dynamic ports in no particular order."""
    if wanted:
        yield wanted
    first, count = DYNAMIC_PORTS
    start = int.from_bytes(os.urandom(2))
    for step in range(PORT_TRIES):
        yield first + (start + step * PORT_STEP) % count
