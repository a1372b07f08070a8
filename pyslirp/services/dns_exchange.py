"""Putting queries to the host's resolvers: whom to ask, for how long, and which answer to believe.

Goal: a guest's query is answered as soon as any resolver answers it, a dead resolver costs a moment now and then, and
nothing that comes back is believed unless it answers what was asked.

An exchange is one query on its way.  Its schedule is every resolver in order (failover.py says which), once a round,
with `timeout_ns` each in the first round and twice as long in each further one, until GIVE_UP_NS have passed in all.
An ask that has had its time is not forgotten at once: a slow answer is as good as any, so the last MAX_ASKS stay open
together.

    ask answered                          finish with the answer
    ask answered SERVFAIL or REFUSED      keep it, ask the next resolver, never this one again; the last such answer
                                          is the result when no resolver has a better one
    ask failed at once (refused ...)      ask the next resolver, never this one again
    no answer in time                     ask the next resolver
    nobody left to ask, none still open   finish with what there is, or with nothing

Every ask has a fresh random id, and goes out from a fresh random port (host/upstream.py sees to that).  What does not
match id, opcode and question (RFC 5452 section 9) is counted, and over UDP the wait goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pyslirp.addresses import Endpoint
from pyslirp.records import dataclass, field
from pyslirp.services import dns_message
from pyslirp.services.base import AskResolver, ForgetAsk
from pyslirp.services.deadlines import Deadlines
from pyslirp.services.dns_message import Query, Rcode
from pyslirp.services.failover import SECOND_NS, Failover

GIVE_UP_NS = 10 * SECOND_NS  #: longest that a query may take, whatever resolv.conf says
MAX_ASKS = 2  #: asks of one query that are open together

LOCAL_FAILURE = "busy"  #: the host would not let us ask; not the resolver's fault
UNREACHABLE = frozenset({"refused", "unreachable"})  #: failures that say: it is no use asking this resolver

COUNTERS = (
    "asks",  # messages sent to resolvers
    "silences",  # asks that had no answer in time
    "failures",  # asks that failed at once
    "failovers",  # answers SERVFAIL or REFUSED, another resolver to be asked
    "mismatches",  # answers to something that was not asked
    "strays",  # answers to an ask that is over
)


class ResolverSet(Protocol):
    """The host's resolvers as they are now (host/resolvers.py has one)."""

    @property
    def servers(self) -> Sequence[Endpoint]:
        """In order of preference."""

    @property
    def timeout_ns(self) -> int:
        """How long the first ask of a resolver waits."""

    @property
    def attempts(self) -> int:
        """How many rounds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an exchange ended; `message` None: no resolver answered, for `reason`."""

    number: int
    message: bytes | None  #: under the guest's id
    server: Endpoint | None
    reason: str


@dataclass(slots=True)
class Step:
    """What came of one call at `now`: what to do, and the exchanges that ended."""

    now: int
    actions: list[AskResolver | ForgetAsk] = field(default_factory=list)
    done: list[Outcome] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Ask:
    key: int
    exchange: _Exchange
    server: Endpoint
    ident: int
    due: int  # when it has had its time


@dataclass(slots=True, eq=False)
class _Exchange:
    number: int
    message: bytes
    query: Query
    tcp: bool
    give_up: int
    schedule: deque[tuple[Endpoint, int]]
    asks: list[_Ask] = field(default_factory=list)  # open ones, oldest first
    latest: _Ask | None = None  # the one that is waited for, open or not
    spare: tuple[bytes, Endpoint] | None = None  # a SERVFAIL or REFUSED, should nothing better come
    reason: str = "no resolver"


class Exchanges:
    """All queries on their way.  The caller bounds their number and gives each one its own."""

    def __init__(self, resolvers: Callable[[int], ResolverSet], next_id: Callable[[], int]) -> None:
        """`resolvers(now)` gives the host's resolvers, `next_id()` an unpredictable number."""
        self._resolvers = resolvers
        self._next_id = next_id
        self._next_key = 1
        self._failover = Failover()
        self._exchanges: dict[int, _Exchange] = {}
        self._asks: dict[int, _Ask] = {}
        self._deadlines: Deadlines[int] = Deadlines()
        self.counters = dict.fromkeys(COUNTERS, 0)

    def __len__(self) -> int:
        return len(self._exchanges)

    def begin(self, number: int, message: bytes, query: Query, *, tcp: bool, now: int) -> Step:
        """Ask the first resolver."""
        resolvers = self._resolvers(now)
        servers = self._failover.order(resolvers.servers, tcp, now)
        rounds = range(resolvers.attempts)
        schedule = deque((server, resolvers.timeout_ns << turn) for turn in rounds for server in servers)
        exchange = _Exchange(number, message, query, tcp, now + GIVE_UP_NS, schedule)
        self._exchanges[number] = exchange
        step = Step(now)
        self._ask_next(exchange, step)
        return step

    def cancel(self, number: int, now: int) -> Step:
        """Forget an exchange: whoever wanted it has gone."""
        step = Step(now)
        if (exchange := self._exchanges.get(number)) is not None:
            self._close(exchange, step)
        return step

    def answer(self, key: int, message: bytes | None, reason: str, now: int) -> Step:
        """What came back for `key`: a message, or None and why there is none."""
        step = Step(now)
        ask = self._asks.get(key)
        if ask is None:
            self.counters["strays"] += 1
        elif message is None:
            self._failed(ask, reason, step)
        elif dns_message.answers(message, ask.ident, ask.exchange.message, ask.exchange.query.question):
            self._answered(ask, message, step)
        else:
            self.counters["mismatches"] += 1
            if ask.exchange.tcp:  # one question, one answer, one connection: there is nothing more to come
                step.actions.append(ForgetAsk(key))
                self._failed(ask, "mismatched answer", step)
        return step

    def deadline(self) -> int | None:
        """When the next ask has had its time."""
        return self._deadlines.earliest()

    def expire(self, now: int) -> Step:
        """Ask others where an ask has had its time."""
        step = Step(now)
        for number in self._deadlines.due(now):
            exchange = self._exchanges[number]
            ask = exchange.latest
            if ask is not None and ask in exchange.asks and ask.due <= now:
                self.counters["silences"] += 1
                self._failover.silent(ask.server, exchange.tcp, now)
            exchange.reason = "timed out"
            if now >= exchange.give_up or not exchange.schedule:
                self._finish(exchange, step)
            else:
                self._ask_next(exchange, step)
        return step

    def failing(self) -> list[dict[str, Any]]:
        """The resolvers that have failed since their last answer, as plain values."""
        return self._failover.snapshot()

    def _ask_next(self, exchange: _Exchange, step: Step) -> None:
        """Ask the next resolver of the schedule; with none left and no ask open, that was it."""
        if not exchange.schedule:
            if not exchange.asks:
                self._finish(exchange, step)
            return
        server, wait = exchange.schedule.popleft()
        if len(exchange.asks) >= MAX_ASKS:
            self._forget(exchange.asks[0], step)
        ask = _Ask(self._next_key, exchange, server, self._next_id() & 0xFFFF, step.now + wait)
        self._next_key += 1
        self._asks[ask.key] = exchange.latest = ask
        exchange.asks.append(ask)
        self._deadlines.set(exchange.number, min(ask.due, exchange.give_up))
        self.counters["asks"] += 1
        message = dns_message.with_id(exchange.message, ask.ident)
        step.actions.append(AskResolver(ask.key, server, exchange.tcp, message))

    def _answered(self, ask: _Ask, message: bytes, step: Step) -> None:
        exchange = ask.exchange
        self._failover.answered(ask.server, exchange.tcp)
        exchange.spare = (message, ask.server)
        if dns_message.rcode(message) in (Rcode.SERVFAIL, Rcode.REFUSED):
            self.counters["failovers"] += 1
            self._forget(ask, step)
            self._ask_another(ask, step)
        else:
            self._finish(exchange, step)

    def _failed(self, ask: _Ask, reason: str, step: Step) -> None:
        """The ask is over without an answer, and no longer carried by anybody."""
        exchange = ask.exchange
        self.counters["failures"] += 1
        if reason in UNREACHABLE:
            self._failover.unreachable(ask.server, exchange.tcp, step.now)
        elif reason != LOCAL_FAILURE:
            self._failover.silent(ask.server, exchange.tcp, step.now)
        exchange.reason = reason
        exchange.asks.remove(ask)
        del self._asks[ask.key]
        self._ask_another(ask, step)

    def _ask_another(self, ask: _Ask, step: Step) -> None:
        """Leave the resolver of `ask` alone from now on; if it was the ask that is waited for, go on to the next."""
        exchange = ask.exchange
        exchange.schedule = deque(entry for entry in exchange.schedule if entry[0] != ask.server)
        if ask is exchange.latest or not exchange.asks:
            self._ask_next(exchange, step)

    def _finish(self, exchange: _Exchange, step: Step) -> None:
        self._close(exchange, step)
        message, server = exchange.spare or (None, None)
        if message is not None:
            message = dns_message.with_id(message, exchange.query.id)
        step.done.append(Outcome(exchange.number, message, server, exchange.reason))

    def _close(self, exchange: _Exchange, step: Step) -> None:
        for ask in list(exchange.asks):
            self._forget(ask, step)
        self._deadlines.cancel(exchange.number)
        del self._exchanges[exchange.number]

    def _forget(self, ask: _Ask, step: Step) -> None:
        ask.exchange.asks.remove(ask)
        del self._asks[ask.key]
        step.actions.append(ForgetAsk(ask.key))
