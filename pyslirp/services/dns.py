"""The DNS server at the DNS alias, UDP and TCP port 53: a forwarder to the host's resolvers (RFC 1035, 5625, 7766).

Goal: whatever the host can resolve, the guest can, as the resolver said it: messages pass as bytes, every record type
and flag untouched.  The forwarder changes the id, and over UDP the size, where the guest takes less than there is: then
TC is set and the guest asks again over TCP, where the resolver is asked over TCP too.

    guest -- query --> DnsService --> Exchanges (dns_exchange.py) -- AskResolver --> host/upstream.py --> resolver
    guest <- answer -- DnsService <-- Exchanges <----- answer(key, message) ----------- host/upstream.py <--

A query that cannot be read gets FORMERR.  One that no resolver answers gets SERVFAIL.  A response gets nothing.  What a
guest sends again while the first is on its way is the same query.  Zone transfers are REFUSED over TCP: their answers
are many messages, and a forwarder's resolver is not where zones come from.

Streams: messages are taken one after the other and answered as answers come (RFC 7766 section 6.2.1.1).  A guest that
has ended its side gets its answers first; then the stream ends.

Limits: MAX_IN_FLIGHT queries, MAX_IN_FLIGHT_PER_GUEST of them from one guest (UDP: from one link, as source addresses
are cheap); MAX_STREAMS streams and MAX_STREAMS_PER_GUEST; on a stream MAX_PIPELINED queries with MAX_PIPELINED_BYTES on
their way, MAX_BUFFER_BYTES (dns_stream.py) behind them, IDLE_NS of idleness.  UDP over a limit: no answer, the guest
will ask again.  TCP over it: SERVFAIL, or a reset when it is the stream that is too much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pyslirp.addresses import Address, Endpoint
from pyslirp.events import NameFailed, NameResolved
from pyslirp.records import dataclass, field
from pyslirp.services import dns_message
from pyslirp.services.base import Action, Claim, Datagram, SendDatagram, StreamClose, StreamSend
from pyslirp.services.deadlines import Deadlines
from pyslirp.services.dns_exchange import Exchanges, Outcome, ResolverSet, Step
from pyslirp.services.dns_message import FormatError, NotQueryError, Query, Rcode
from pyslirp.services.dns_stream import DnsStream, frame
from pyslirp.services.failover import SECOND_NS

PORT = 53
MAX_UDP_QUERY_BYTES = 4096  #: a query is a question, EDNS and perhaps a signature
MAX_IN_FLIGHT = 512
MAX_IN_FLIGHT_PER_GUEST = 128
MAX_STREAMS = 128
MAX_STREAMS_PER_GUEST = 16
MAX_PIPELINED = 64
MAX_PIPELINED_BYTES = 65_536
IDLE_NS = 10 * SECOND_NS  #: RFC 7766 section 6.2.3: "of the order of a few seconds"

COUNTERS = (
    "queries.udp",
    "queries.tcp",
    "queries.repeated",  # sent again while on their way
    "answers",  # of a resolver, passed on
    "truncated",  # of these, cut to what the guest takes
    "formerr",  # queries that cannot be read
    "servfail",  # queries that no resolver answered
    "refused",  # zone transfers
    "streams",  # opened
    "streams.idle",  # ended after IDLE_NS
    "drop.not_query",
    "drop.long",  # over MAX_UDP_QUERY_BYTES
    "drop.no_port",  # nowhere to send the answer
    "drop.guest_limit",
    "drop.network_limit",
    "drop.stream_limit",
    "drop.stream_buffer",
)


@dataclass(slots=True)
class _Waiting:
    """Who waits for an exchange."""

    guest: Endpoint
    alias: Endpoint | None  # None: on a stream
    owner: int | Address  # whose limit it counts against
    message: bytes
    query: Query
    stream: int | None = None


@dataclass(slots=True)
class _Stream:
    guest: Endpoint
    received: DnsStream = field(default_factory=DnsStream)
    waiting: set[int] = field(default_factory=set)  # numbers of exchanges
    waiting_bytes: int = 0
    ended: bool = False  # the guest will send no more


class DnsService:
    """Forwards what guests ask at `addresses` to the host's resolvers."""

    name = "dns"

    def __init__(
        self,
        addresses: Sequence[Address],
        resolvers: Callable[[int], ResolverSet],
        next_id: Callable[[], int],
    ) -> None:
        """`resolvers(now)` gives the host's resolvers; `next_id()` an unpredictable number (16 bits are used)."""
        self._addresses = tuple(addresses)
        self._exchanges = Exchanges(resolvers, next_id)
        self._next_number = 1
        self._waiting: dict[int, _Waiting] = {}
        self._on_the_way: dict[tuple[Endpoint, Endpoint, bytes], int] = {}  # UDP queries, to know them again
        self._owned: Counter[int | Address] = Counter()
        self._streams: dict[int, _Stream] = {}
        self._streams_of: Counter[Address] = Counter()
        self._idle: Deadlines[int] = Deadlines()
        self._counters = dict.fromkeys(COUNTERS, 0)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Port 53 of each alias."""
        return tuple(Claim(protocol, address, PORT) for address in self._addresses for protocol in ("udp", "tcp"))

    # ------------------------------------------------------------------------------------------------------------ UDP

    def handle(self, datagram: Datagram, now: int) -> list[Action]:
        """Forward one UDP query."""
        guest, alias, message = datagram.source, datagram.destination, datagram.payload
        if guest.port == 0:
            return self._drop("no_port")
        if len(message) > MAX_UDP_QUERY_BYTES:
            return self._drop("long")
        if (guest, alias, message) in self._on_the_way:
            self._counters["queries.repeated"] += 1
            return []
        try:
            query = dns_message.read_query(message)
        except NotQueryError:
            return self._drop("not_query")
        except FormatError:
            self._counters["formerr"] += 1
            return [SendDatagram(alias, guest, dns_message.refusal(message, Rcode.FORMERR, None))]
        self._counters["queries.udp"] += 1
        if reason := self._over_limit(datagram.link):
            return self._drop(reason)
        number = self._await(_Waiting(guest, alias, datagram.link, message, query))
        self._on_the_way[guest, alias, message] = number
        return self._perform(self._exchanges.begin(number, message, query, tcp=False, now=now), now)

    # -------------------------------------------------------------------------------------------------------- streams

    def stream_opened(self, stream: int, guest: Endpoint, now: int) -> list[Action]:
        """A guest has connected."""
        if len(self._streams) >= MAX_STREAMS or self._streams_of[guest.address] >= MAX_STREAMS_PER_GUEST:
            self._counters["drop.stream_limit"] += 1
            return [StreamClose(stream, abort=True)]
        self._counters["streams"] += 1
        self._streams[stream] = _Stream(guest)
        self._streams_of[guest.address] += 1
        self._idle.set(stream, now + IDLE_NS)
        return []

    def stream_received(self, stream: int, data: bytes, now: int) -> list[Action]:
        """Bytes of the stream; b"" says that the guest will send no more."""
        state = self._streams.get(stream)
        if state is None:
            return []
        if not data:
            state.ended = True
        elif not state.received.feed(data):
            self._counters["drop.stream_buffer"] += 1
            return self._end_stream(stream, now, abort=True)
        return self._pump(stream, now)

    def stream_closed(self, stream: int, now: int) -> list[Action]:
        """The stream is gone; nobody waits for its queries any more."""
        return self._leave_stream(stream, now)

    def _pump(self, stream: int, now: int) -> list[Action]:
        """Take queries while there is room for them; end the stream when all is answered and the guest is done.

        To be called after anything that changes what the stream waits for.
        """
        actions: list[Action] = []
        while (state := self._streams.get(stream)) is not None:
            room = len(state.waiting) < MAX_PIPELINED and state.waiting_bytes < MAX_PIPELINED_BYTES
            message = state.received.take() if room else None
            if message is not None:
                actions += self._stream_query(stream, state, message, now)
                continue
            if state.waiting:
                self._idle.cancel(stream)
            elif state.ended:
                actions += self._end_stream(stream, now, abort=False)
            else:
                self._idle.set(stream, now + IDLE_NS)
            break
        return actions

    def _stream_query(self, stream: int, state: _Stream, message: bytes, now: int) -> list[Action]:
        try:
            query = dns_message.read_query(message)
        except NotQueryError:
            self._counters["drop.not_query"] += 1
            return self._end_stream(stream, now, abort=True)
        except FormatError:
            self._counters["formerr"] += 1
            return [StreamSend(stream, frame(dns_message.refusal(message, Rcode.FORMERR, None)))]
        self._counters["queries.tcp"] += 1
        if query.question.rdtype in (dns_message.AXFR, dns_message.IXFR):
            self._counters["refused"] += 1
            return [StreamSend(stream, frame(dns_message.refusal(message, Rcode.REFUSED, query)))]
        if reason := self._over_limit(state.guest.address):
            self._counters[f"drop.{reason}"] += 1
            return [StreamSend(stream, frame(dns_message.refusal(message, Rcode.SERVFAIL, query)))]
        number = self._await(_Waiting(state.guest, None, state.guest.address, message, query, stream))
        state.waiting.add(number)
        state.waiting_bytes += len(message)
        return self._perform(self._exchanges.begin(number, message, query, tcp=True, now=now), now)

    def _end_stream(self, stream: int, now: int, *, abort: bool) -> list[Action]:
        return [*self._leave_stream(stream, now), StreamClose(stream, abort)]

    def _leave_stream(self, stream: int, now: int) -> list[Action]:
        """Forget the stream and cancel what it waits for."""
        state = self._streams.pop(stream, None)
        if state is None:
            return []
        self._idle.cancel(stream)
        _count_down(self._streams_of, state.guest.address)
        actions: list[Action] = []
        for number in state.waiting:
            self._release(number)
            actions += self._exchanges.cancel(number, now).actions
        return actions

    # ------------------------------------------------------------------------------------------------------ resolvers

    def answer(self, key: int, message: bytes | None, reason: str, now: int) -> list[Action]:
        """What came back for `AskResolver.key`: a message, or None and why ("refused", "unreachable", "busy" ...).

        A failure ends the ask.  A message does not, for it may be forged: a ForgetAsk does.
        """
        return self._perform_and_pump(self._exchanges.answer(key, message, reason, now), now)

    def deadline(self) -> int | None:
        """When the next resolver has had its time, or a stream has been idle for long enough."""
        return min(
            (when for when in (self._exchanges.deadline(), self._idle.earliest()) if when is not None), default=None
        )

    def expire(self, now: int) -> list[Action]:
        """Ask the next resolvers; end idle streams."""
        actions = self._perform_and_pump(self._exchanges.expire(now), now)
        for stream in self._idle.due(now):
            self._counters["streams.idle"] += 1
            actions += self._end_stream(stream, now, abort=False)
        return actions

    def snapshot(self) -> dict[str, Any]:
        """What is under way, resolvers that have failed since their last answer, and counters."""
        return {
            "in_flight": len(self._waiting),
            "streams": len(self._streams),
            "failing": self._exchanges.failing(),
            "counters": {**self._counters, **self._exchanges.counters},
        }

    def _perform_and_pump(self, step: Step, now: int) -> list[Action]:
        """As `_perform`; streams that got an answer have room for another query."""
        waiting = (self._waiting[outcome.number] for outcome in step.done)
        streams = {waiter.stream for waiter in waiting if waiter.stream is not None}
        actions = self._perform(step, now)
        for stream in sorted(streams):
            actions += self._pump(stream, now)
        return actions

    def _perform(self, step: Step, now: int) -> list[Action]:
        actions: list[Action] = list(step.actions)
        for outcome in step.done:
            actions += self._deliver(outcome, now)
        return actions

    def _deliver(self, outcome: Outcome, now: int) -> list[Action]:
        """Give the guest its answer."""
        waiting = self._release(outcome.number)
        question = waiting.query.question
        name, rdtype = dns_message.name_text(question), dns_message.type_text(question.rdtype)
        message = outcome.message
        if message is None:
            self._counters["servfail"] += 1
            message = dns_message.refusal(waiting.message, Rcode.SERVFAIL, waiting.query)
            event: Action = NameFailed(now, waiting.guest, name, rdtype, outcome.reason)
        else:
            self._counters["answers"] += 1
            rcode = dns_message.rcode_text(dns_message.rcode(message))
            event = NameResolved(now, waiting.guest, name, rdtype, rcode, str(outcome.server))
        if waiting.stream is not None:
            state = self._streams[waiting.stream]
            state.waiting.discard(outcome.number)
            state.waiting_bytes -= len(waiting.message)
            return [StreamSend(waiting.stream, frame(message)), event]
        if len(message) > waiting.query.udp_bytes:
            self._counters["truncated"] += 1
            message = dns_message.truncated(message, question, waiting.query.udp_bytes)
        assert waiting.alias is not None
        return [SendDatagram(waiting.alias, waiting.guest, message), event]

    # --------------------------------------------------------------------------------------------------------- limits

    def _over_limit(self, owner: int | Address) -> str:
        """The limit that stands against one more query, or ""."""
        if len(self._waiting) >= MAX_IN_FLIGHT:
            return "network_limit"
        return "guest_limit" if self._owned[owner] >= MAX_IN_FLIGHT_PER_GUEST else ""

    def _await(self, waiting: _Waiting) -> int:
        number, self._next_number = self._next_number, self._next_number + 1
        self._waiting[number] = waiting
        self._owned[waiting.owner] += 1
        return number

    def _release(self, number: int) -> _Waiting:
        waiting = self._waiting.pop(number)
        _count_down(self._owned, waiting.owner)
        if waiting.alias is not None:
            del self._on_the_way[waiting.guest, waiting.alias, waiting.message]
        return waiting

    def _drop(self, reason: str) -> list[Action]:
        self._counters[f"drop.{reason}"] += 1
        return []


def _count_down(counter: Counter[Any], key: Any) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
