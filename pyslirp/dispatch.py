"""From punts to whoever answers them, and from actions to the engine.

The engine hands up tuples (pyslirp/engine/core/core.pyi); each kind has one method here.  Services return actions
(services/base.py); each kind has one method here too.  Nothing is decided in this file.

Whoever is called may raise: that is logged (a guest may be the cause, so not without limit), what was asked is refused,
and the other punts go on.  Whoever is called may close the network: then the other punts are let go.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from typing import Any, Protocol, cast

from pyslirp.addresses import Endpoint, Mac, pack, unpack
from pyslirp.engine.core import core as engine
from pyslirp.events import FlowClosed, FlowOpened
from pyslirp.flows import DatagramHandler, ServedDatagrams, ServedStream, StreamHandler, ends_of
from pyslirp.observe.bus import Bus
from pyslirp.observe.log import RateLimited
from pyslirp.services.base import (
    Action,
    AskResolver,
    ClosePort,
    Datagram,
    ForgetAsk,
    LearnNeighbor,
    OpenPort,
    RestrictedService,
    RouterDiscovery,
    SendDatagram,
    SendIcmp6,
    Service,
    Solicitation,
    StreamClose,
    StreamSend,
    StreamService,
)
from pyslirp.verdicts import PROTOCOLS, FlowName, How

WAITING_BYTES = 65_536  #: of a service's stream, that the guest has not taken: beyond it no more is read from the guest
NO_LINK, NO_MAC = -1, Mac(bytes(6))  #: of a datagram to an opened port
PIECE_BYTES = 1_048_576  #: given to the engine at once

_log = RateLimited(logging.getLogger("pyslirp.dispatch"))

Punt = tuple[Any, ...]
Inbound = Callable[[int, bytes, int], None]  #: is told descriptor, address (16 engine bytes) and port of a client


class Resolving(Protocol):
    """Whoever puts DNS messages to the host's resolvers (host/upstream.py)."""

    def ask(self, ask: AskResolver) -> None:
        """Begin one exchange."""

    def forget(self, key: int) -> None:
        """Drop it."""


class Ports(Protocol):
    """Whoever serves UDP ports of the network's own addresses (servers.py)."""

    def serve_datagrams(self, endpoint: Endpoint, handler: DatagramHandler) -> None:
        """Begin."""

    def unserve_datagrams(self, endpoint: Endpoint) -> None:
        """End."""


class Dispatcher:
    """Routes between one engine core and the services and handlers of one network."""

    def __init__(
        self,
        core: engine.Core,
        clock: Callable[[], int],
        bus: Bus,
        new_flow: Callable[[int, FlowName, int], None],
        link_lost: Callable[[int, int, int], None],
    ) -> None:
        """`new_flow(flow, name, ttl)` and `link_lost(port, why, detail)` are the stack's."""
        self._core = core
        self._clock = clock
        self._bus = bus
        self.resolving: Resolving | None = None
        self.ports: Ports | None = None
        self.streams: dict[int, ServedStream] = {}  #: by flow
        self.conversations: dict[int, ServedDatagrams] = {}  #: by flow
        self.watches: dict[int, Callable[[int], None]] = {}  #: by token; told the epoll events
        self.inbound: dict[int, Inbound] = {}  #: by token of the forwarding rule
        self.endings: dict[int, Callable[[str], None]] = {}  #: by flow; told once how it has ended
        self.services: list[Service] = []
        self._disabled: list[Service] = []
        self._claims: dict[tuple[bytes | None, int], Service] = {}
        self._stream_claims: dict[tuple[bytes | None, int], StreamService] = {}
        self._router: RouterDiscovery | None = None
        self._new_flow = new_flow
        self._link_lost = link_lost
        self.over = False  #: `close` has been called
        self._due: int | None = None  # as the services have said when they were last called
        self._due_is_known = False
        self._by_kind: dict[int, Callable[[Punt], None]] = {
            engine.KIND_FLOW: self._flow,
            engine.KIND_DATAGRAM: self._datagram,
            engine.KIND_CONNECTED: lambda punt: self._tell(punt, lambda handler: handler.connected()),
            engine.KIND_READABLE: lambda punt: self._tell(punt, lambda handler: handler.readable()),
            engine.KIND_WRITABLE: lambda punt: self._tell(punt, lambda handler: handler.writable()),
            engine.KIND_FINISHED: lambda punt: self._tell(punt, lambda handler: handler.finished()),
            engine.KIND_CLOSED: self._closed,
            engine.KIND_MESSAGE: self._message,
            engine.KIND_LINK: self._link,
            engine.KIND_WATCH: self._watch,
            engine.KIND_INBOUND: self._inbound,
            engine.KIND_STRANGER: self._stranger,
            engine.KIND_SOLICITATION: self._solicitation,
        }

    def add(self, service: Service) -> None:
        """Register a service: its UDP claims in the engine, its others here."""
        self.services.append(service)
        self._due_is_known = False
        for claim in service.claims:
            raw = pack(claim.address) if claim.address is not None else None
            if claim.protocol == "udp":
                self._claims[raw, claim.port] = service
                self._core.claim_udp(raw, claim.port)
            elif claim.protocol == "icmp6":
                self._router = cast("RouterDiscovery", service)
            else:
                self._stream_claims[raw, claim.port] = cast("StreamService", service)

    def disable(self, service: Service) -> int:
        """Let a service answer nothing, until `enable`: its streams are reset (how many comes back)."""
        if service not in self._disabled:
            self._disabled.append(service)
        streams = [stream for stream in self.streams.values() if _is_of(stream, service)]
        for stream in streams:
            stream.abort()
        return len(streams)

    def enable(self, service: Service) -> None:
        """Take a `disable` back."""
        if service in self._disabled:
            self._disabled.remove(service)

    def stream_service(self, far: bytes, port: int) -> StreamService | None:
        """The service that has claimed TCP `port` of `far`, and is enabled."""
        service = self._stream_claims.get((far, port)) or self._stream_claims.get((None, port))
        return None if service in self._disabled else service

    def handle(self, punts: Iterable[Punt]) -> None:
        """Route each punt."""
        for punt in self.links_first(punts):
            if self.over:
                self._let_go(punt)
            else:
                self.attempt(self._by_kind[punt[0]], punt)

    def links_first(self, punts: Iterable[Punt]) -> list[Punt]:
        """Handle those that tell of lost links; the others come back.

        The engine gives the number of a lost link's port to the next link.  So whatever attaches a link must come
        after.
        """
        others = []
        for punt in punts:
            if punt[0] == engine.KIND_LINK and not self.over:
                self.attempt(self._link, punt)
            else:
                others.append(punt)
        return others

    def expire(self) -> None:
        """Let services do what is due."""
        due, now = self.deadline(), self._clock()
        if due is None or due > now:
            return
        for service in self.services:
            due = service.deadline()
            if due is not None and due <= now:
                self.attempt(self._expire, service, now)

    def deadline(self) -> int | None:
        """When `expire` is next wanted (engine clock), or None.

        Services are asked only after one of them has been called: this is wanted for every new flow.
        """
        if not self._due_is_known:
            self._due_is_known = True
            self._due = min((due for service in self.services if (due := service.deadline()) is not None), default=None)
        return self._due

    def set_restrict(self, restrict: bool) -> None:
        """Tell the services for which it makes a difference."""
        for service in self.services:
            if isinstance(service, RestrictedService):
                service.set_restrict(restrict, self._clock())
        self._due_is_known = False

    def close(self) -> None:
        """Reset every flow that is served here.  No punt is routed any more; `end` tells the handlers."""
        self.over = True
        for stream in self.streams.values():
            stream.abort()

    def end(self, punts: Iterable[Punt]) -> None:
        """Tell every handler that its flow is over, after `close`; `punts` are let go."""
        for punt in punts:
            self._let_go(punt)
        while self.streams:
            self.attempt(self._end_stream, self.streams.popitem()[1], "shut down")
        while self.conversations:
            self.attempt(self._end_conversation, self.conversations.popitem()[1])

    def attempt(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call what belongs to others, and log what it raises."""
        try:
            function(*arguments)
        except Exception:  # noqa: BLE001 - whatever it is, the network goes on
            self._due_is_known = False  # it may have been a service
            _log.exception("a handler has failed")

    def _let_go(self, punt: Punt) -> None:
        if punt[0] == engine.KIND_INBOUND:
            os.close(punt[2])

    # -- punts --------------------------------------------------------------------------------------------------------

    def _flow(self, punt: Punt) -> None:
        _, flow, name, ttl, _ = punt
        try:
            self._new_flow(flow, FlowName(*name), ttl)
        except BaseException:
            self._core.deny(flow, How.RESET, self._clock())
            raise

    def _datagram(self, punt: Punt) -> None:
        _, link, mac, (_, guest, guest_port, far, far_port), payload = punt
        service = self._claims.get((far, far_port)) or self._claims.get((None, far_port))
        if service is None or service in self._disabled:
            return
        datagram = Datagram(
            link, Mac(mac), Endpoint(unpack(guest), guest_port), Endpoint(unpack(far), far_port), payload
        )
        self.perform(service.handle(datagram, self._clock()))

    def _solicitation(self, punt: Punt) -> None:
        _, link, mac, source = punt
        if self._router is not None:
            solicitation = Solicitation(link, Mac(mac), IPv6Address(source))
            self.perform(self._router.solicited(solicitation, self._clock()))

    def _tell(self, punt: Punt, call: Callable[[StreamHandler], None]) -> None:
        stream = self.streams.get(punt[1])
        if stream is not None and stream.handler is not None:
            call(stream.handler)

    def _closed(self, punt: Punt) -> None:
        _, flow, _, (protocol, guest, guest_port, far, far_port), why, to_host, to_guest, _ = punt
        reason = engine.REASONS[why]
        if len(self._bus):
            ends = Endpoint(unpack(guest), guest_port), Endpoint(unpack(far), far_port)
            self._bus.publish(FlowClosed(self._clock(), flow, PROTOCOLS[protocol], *ends, reason, to_host, to_guest))
        if (ending := self.endings.pop(flow, None)) is not None:
            self.attempt(ending, reason)
        if (stream := self.streams.pop(flow, None)) is not None:
            self._end_stream(stream, reason)
        elif (conversation := self.conversations.pop(flow, None)) is not None:
            self._end_conversation(conversation)

    def _end_stream(self, stream: ServedStream, reason: str) -> None:
        stream.over = True
        if stream.handler is not None:
            stream.handler.closed(reason)

    def _end_conversation(self, conversation: ServedDatagrams) -> None:
        conversation.over = True
        conversation.handler.ended(conversation)

    def _message(self, punt: Punt) -> None:
        conversation = self.conversations.get(punt[1])
        if conversation is not None:
            conversation.handler.received(conversation, punt[3])

    def _link(self, punt: Punt) -> None:
        self._link_lost(punt[1], punt[2], punt[3])

    def _watch(self, punt: Punt) -> None:
        callback = self.watches.get(punt[1])
        if callback is not None:
            callback(punt[2])

    def _inbound(self, punt: Punt) -> None:
        _, token, descriptor, client, port = punt
        callback = self.inbound.get(token)
        if callback is None:  # the rule was removed meanwhile
            os.close(descriptor)
        else:
            callback(descriptor, client, port)

    def _stranger(self, punt: Punt) -> None:
        _, flow, key, source, port = punt
        if len(self._bus):
            name = FlowName(*key)
            target = str(Endpoint(unpack(source), port))
            opened = FlowOpened(self._clock(), flow, PROTOCOLS[name.protocol], *ends_of(name), target, inbound=True)
            self._bus.publish(opened)

    # -- actions ------------------------------------------------------------------------------------------------------

    def _expire(self, service: Service, now: int) -> None:
        self.perform(service.expire(now))

    def perform(self, actions: Iterable[Action]) -> None:
        """Do what a service that has been called wants done."""
        self._due_is_known = False
        for action in actions:
            if isinstance(action, SendDatagram):
                self._send(action)
            elif isinstance(action, SendIcmp6):
                self._send_icmp6(action)
            elif isinstance(action, StreamSend):
                self._stream_send(action)
            elif isinstance(action, StreamClose):
                self._stream_close(action)
            elif isinstance(action, AskResolver | ForgetAsk):
                self._resolve(action)
            elif isinstance(action, OpenPort | ClosePort):
                self._serve(action)
            elif isinstance(action, LearnNeighbor):
                self._core.learn(pack(action.address), bytes(action.mac), self._clock())
            else:
                self._bus.publish(action)

    def _send(self, action: SendDatagram) -> None:
        mac, link = (None, -1)
        if action.mac is not None and action.link is not None:
            mac, link = bytes(action.mac), action.link
        self._core.send_udp(
            pack(action.source.address),
            action.source.port,
            pack(action.destination.address),
            action.destination.port,
            action.payload,
            self._clock(),
            mac,
            link,
        )

    def _send_icmp6(self, action: SendIcmp6) -> None:
        self._core.send_icmp6(
            pack(action.source),
            pack(action.destination),
            action.kind,
            action.code,
            action.body,
            self._clock(),
            bytes(action.mac) if action.mac is not None else None,
            action.link if action.link is not None else -1,
        )

    def _resolve(self, action: AskResolver | ForgetAsk) -> None:
        if self.resolving is None:
            return
        if isinstance(action, AskResolver):
            self.resolving.ask(action)
        else:
            self.resolving.forget(action.key)

    def _serve(self, action: OpenPort | ClosePort) -> None:
        if self.ports is None:
            return
        if isinstance(action, OpenPort):
            self.ports.serve_datagrams(action.endpoint, ServicePort(self, action.service, self._clock))
        else:
            self.ports.unserve_datagrams(action.endpoint)

    def _stream_send(self, action: StreamSend) -> None:
        stream = self.streams.get(action.stream)
        if stream is not None and isinstance(stream.handler, ServiceStream):
            stream.handler.send(action.data)

    def _stream_close(self, action: StreamClose) -> None:
        stream = self.streams.get(action.stream)
        if stream is None:
            return
        if action.abort or not isinstance(stream.handler, ServiceStream):
            stream.abort()
        else:
            stream.handler.finish()


class ServicePort:
    """The handler of a UDP port that a service has opened (DatagramHandler)."""

    def __init__(self, dispatcher: Dispatcher, service: Service, clock: Callable[[], int]) -> None:
        self._dispatcher = dispatcher
        self._service = service
        self._clock = clock

    def received(self, flow: ServedDatagrams, data: bytes) -> None:
        """Hand it to the service."""
        datagram = Datagram(NO_LINK, NO_MAC, flow.guest, flow.far, data)
        self._dispatcher.perform(self._service.handle(datagram, self._clock()))

    def ended(self, flow: ServedDatagrams) -> None:
        """The service has its own idea of when it is over."""


def _is_of(stream: ServedStream, service: Service) -> bool:
    return isinstance(stream.handler, ServiceStream) and stream.handler.service is service


class ServiceStream:
    """The handler of a stream that a service answers: bytes become calls of the service, its actions bytes.

    What the send buffer does not take waits here.  While that is more than WAITING_BYTES the guest is not read, so that
    one which asks and does not listen stops itself; what is under way for it the service bounds.
    """

    def __init__(
        self, dispatcher: Dispatcher, service: StreamService, stream: ServedStream, clock: Callable[[], int]
    ) -> None:
        self._dispatcher = dispatcher
        self.service = service
        self._stream = stream
        self._clock = clock
        self._waiting = bytearray()
        self._unread = False  # the guest has sent something that was left in the engine
        self._ending = False

    def connected(self) -> None:
        """Tell the service."""
        self._act(self.service.stream_opened(self._stream.flow, self._stream.guest, self._clock()))

    def readable(self) -> None:
        """Hand to the service what is there."""
        while len(self._waiting) <= WAITING_BYTES:
            data = self._stream.read()
            if not data:
                self._unread = False
                return
            self._act(self.service.stream_received(self._stream.flow, data, self._clock()))
        self._unread = True

    def finished(self) -> None:
        """The service is told by b""."""
        self._act(self.service.stream_received(self._stream.flow, b"", self._clock()))

    def closed(self, reason: str) -> None:
        """Tell the service."""
        del reason
        self._act(self.service.stream_closed(self._stream.flow, self._clock()))

    def writable(self) -> None:
        """Send what had to wait, and then read what had to wait for that."""
        self._write()
        if self._unread:
            self.readable()

    def send(self, data: bytes) -> None:
        """Queue `data` for the guest; nothing after `finish`."""
        if not self._stream.over and not self._ending:
            self._waiting += data
            self._write()

    def finish(self) -> None:
        """End the stream after what is queued."""
        self._ending = True
        self._write()

    def _write(self) -> None:
        while self._waiting and not self._stream.over:
            piece = bytes(memoryview(self._waiting)[:PIECE_BYTES])
            taken = self._stream.write(piece)
            del self._waiting[:taken]
            if taken < len(piece):
                return
        if self._ending:
            self._stream.finish()

    def _act(self, actions: Iterable[Action]) -> None:
        self._dispatcher.perform(actions)
