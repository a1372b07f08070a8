"""From punts to whoever answers them, and from actions to the engine.

The engine hands up tuples (pyslirp/engine/core/core.pyi); each kind has one method here.  Services return actions
(services/base.py); each kind has one method here too.  Nothing is decided in this file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

from pyslirp.addresses import Endpoint, Mac, pack, unpack
from pyslirp.engine.core import core as engine
from pyslirp.events import Event, FlowClosed
from pyslirp.flows import ServedDatagrams, ServedStream
from pyslirp.services.base import (
    Action,
    AskResolver,
    Datagram,
    ForgetAsk,
    LearnNeighbor,
    SendDatagram,
    Service,
    StreamClose,
    StreamSend,
    StreamService,
)
from pyslirp.verdicts import PROTOCOLS, FlowName

_log = logging.getLogger("pyslirp.dispatch")

Punt = tuple[Any, ...]


class Resolving(Protocol):
    """Whoever puts DNS messages to the host's resolvers (host/upstream.py)."""

    def ask(self, ask: AskResolver) -> None:
        """Begin one exchange."""

    def forget(self, key: int) -> None:
        """Drop it."""


class Dispatcher:
    """Routes between one engine core and the services and handlers of one network."""

    def __init__(
        self,
        core: engine.Core,
        clock: Callable[[], int],
        publish: Callable[[Event], None],
        new_flow: Callable[[int, FlowName, int], None],
        link_lost: Callable[[int, int, int], None],
    ) -> None:
        """`new_flow(flow, name, ttl)` and `link_lost(port, why, detail)` are the stack's."""
        self._core = core
        self._clock = clock
        self._publish = publish
        self.resolving: Resolving | None = None
        self.streams: dict[int, ServedStream] = {}
        self.conversations: dict[int, ServedDatagrams] = {}
        self.watches: dict[int, Callable[[int], None]] = {}
        self.inbound: dict[int, Callable[[int, Endpoint], None]] = {}
        self.closing: Callable[[int], None] | None = None  #: told the handle of every flow that ends
        self.services: list[Service] = []
        self._claims: dict[tuple[bytes | None, int], Service] = {}
        self._stream_claims: dict[tuple[bytes | None, int], StreamService] = {}
        self._new_flow = new_flow
        self._link_lost = link_lost
        self._by_kind: dict[int, Callable[[Punt], None]] = {
            engine.KIND_FLOW: self._flow,
            engine.KIND_DATAGRAM: self._datagram,
            engine.KIND_CONNECTED: self._connected,
            engine.KIND_READABLE: self._readable,
            engine.KIND_WRITABLE: self._writable,
            engine.KIND_FINISHED: self._finished,
            engine.KIND_CLOSED: self._closed,
            engine.KIND_MESSAGE: self._message,
            engine.KIND_LINK: self._link,
            engine.KIND_WATCH: self._watch,
            engine.KIND_INBOUND: self._inbound,
        }

    def add(self, service: Service) -> None:
        """Register a service: its UDP claims in the engine, its TCP claims here."""
        self.services.append(service)
        for claim in service.claims:
            raw = pack(claim.address) if claim.address is not None else None
            if claim.protocol == "udp":
                self._claims[raw, claim.port] = service
                self._core.claim_udp(raw, claim.port)
            else:
                self._stream_claims[raw, claim.port] = cast("StreamService", service)

    def stream_service(self, far: bytes, port: int) -> StreamService | None:
        """The service that has claimed TCP `port` of `far`."""
        return self._stream_claims.get((far, port)) or self._stream_claims.get((None, port))

    def handle(self, punts: Iterable[Punt]) -> None:
        """Route each punt.  A handler that raises is logged; the others go on."""
        for punt in punts:
            try:
                self._by_kind[punt[0]](punt)
            except Exception:
                _log.exception("a handler has failed")

    # -- punts --------------------------------------------------------------------------------------------------------

    def _flow(self, punt: Punt) -> None:
        _, flow, name, ttl, _ = punt
        self._new_flow(flow, FlowName(*name), ttl)

    def _datagram(self, punt: Punt) -> None:
        _, link, mac, (_, guest, guest_port, far, far_port), payload = punt
        service = self._claims.get((far, far_port)) or self._claims.get((None, far_port))
        if service is None:
            return
        datagram = Datagram(
            link, Mac(mac), Endpoint(unpack(guest), guest_port), Endpoint(unpack(far), far_port), payload
        )
        self.perform(service.handle(datagram, self._clock()))

    def _connected(self, punt: Punt) -> None:
        stream = self.streams.get(punt[1])
        if stream is not None and stream.handler is not None:
            stream.handler.connected()

    def _readable(self, punt: Punt) -> None:
        stream = self.streams.get(punt[1])
        if stream is not None and stream.handler is not None:
            stream.handler.readable()

    def _writable(self, punt: Punt) -> None:
        stream = self.streams.get(punt[1])
        if stream is not None and stream.handler is not None:
            stream.handler.writable()

    def _finished(self, punt: Punt) -> None:
        stream = self.streams.get(punt[1])
        if stream is not None and stream.handler is not None:
            stream.handler.finished()

    def _closed(self, punt: Punt) -> None:
        _, flow, _, (protocol, guest, guest_port, far, far_port), why, to_host, to_guest, _ = punt
        reason = engine.REASONS[why]
        if self.closing is not None:
            self.closing(flow)
        self._publish(
            FlowClosed(
                self._clock(),
                flow,
                PROTOCOLS[protocol],
                Endpoint(unpack(guest), guest_port),
                Endpoint(unpack(far), far_port),
                reason,
                to_host,
                to_guest,
            )
        )
        stream = self.streams.pop(flow, None)
        if stream is not None:
            stream.over = True
            if stream.handler is not None:
                stream.handler.closed(reason)
        conversation = self.conversations.pop(flow, None)
        if conversation is not None:
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
        callback = self.inbound.get(punt[1])
        client = Endpoint(unpack(punt[3]), punt[4])
        if callback is not None:
            callback(punt[2], client)

    # -- actions ------------------------------------------------------------------------------------------------------

    def perform(self, actions: Iterable[Action]) -> None:
        """Do what a service wants done."""
        for action in actions:
            if isinstance(action, SendDatagram):
                self._send(action)
            elif isinstance(action, StreamSend):
                self._stream_send(action)
            elif isinstance(action, StreamClose):
                self._stream_close(action)
            elif isinstance(action, AskResolver):
                if self.resolving is not None:
                    self.resolving.ask(action)
            elif isinstance(action, ForgetAsk):
                if self.resolving is not None:
                    self.resolving.forget(action.key)
            elif isinstance(action, LearnNeighbor):
                self._core.learn(pack(action.address), bytes(action.mac), self._clock())
            else:
                self._publish(action)

    def _send(self, action: SendDatagram) -> None:
        past_table = action.mac is not None and action.link is not None
        self._core.send_udp(
            pack(action.source.address),
            action.source.port,
            pack(action.destination.address),
            action.destination.port,
            action.payload,
            self._clock(),
            bytes(action.mac) if past_table and action.mac is not None else None,
            action.link if past_table and action.link is not None else -1,
        )

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


class ServiceStream:
    """The handler of a stream that a service answers: bytes become calls of the service, its actions bytes.

    What the send buffer does not take waits in `_waiting`; the service bounds what it sends by what it is asked.
    """

    def __init__(
        self, dispatcher: Dispatcher, service: StreamService, stream: ServedStream, clock: Callable[[], int]
    ) -> None:
        self._dispatcher = dispatcher
        self._service = service
        self._stream = stream
        self._clock = clock
        self._waiting = bytearray()
        self._ending = False

    def connected(self) -> None:
        """Tell the service."""
        self._act(self._service.stream_opened(self._stream.flow, self._stream.guest, self._clock()))

    def readable(self) -> None:
        """Hand everything that is there to the service."""
        while data := self._stream.read():
            self._act(self._service.stream_received(self._stream.flow, data, self._clock()))

    def finished(self) -> None:
        """The service is told by b""."""
        self._act(self._service.stream_received(self._stream.flow, b"", self._clock()))

    def closed(self, reason: str) -> None:
        """Tell the service."""
        del reason
        self._act(self._service.stream_closed(self._stream.flow, self._clock()))

    def writable(self) -> None:
        """Send what had to wait."""
        if self._waiting and not self._stream.over:
            del self._waiting[: self._stream.write(bytes(self._waiting))]
        if self._ending and not self._waiting:
            self._stream.finish()

    def send(self, data: bytes) -> None:
        """Queue `data` for the guest."""
        if not self._stream.over:
            self._waiting += data
            self.writable()

    def finish(self) -> None:
        """End the stream after what is queued."""
        self._ending = True
        self.writable()

    def _act(self, actions: Iterable[Action]) -> None:
        self._dispatcher.perform(actions)
