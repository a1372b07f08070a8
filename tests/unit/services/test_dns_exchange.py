"""Whom a query is put to, when, and which answer ends it: two resolvers and a clock that the test holds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from pyslirp.addresses import Endpoint
from pyslirp.services import dns_message
from pyslirp.services.base import AskResolver, ForgetAsk
from pyslirp.services.dns_exchange import GIVE_UP_NS, MAX_ASKS, Exchanges, Outcome, Step
from pyslirp.services.dns_message import read_query
from tests.unit.services.dns_guest import query, reply

SECOND = 1_000_000_000
ONE, TWO, THREE = (Endpoint.of(f"192.0.2.{last}", 53) for last in (1, 2, 3))
ASKED = query()
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5


@dataclass
class Hosts:
    """A resolver set that the test may change."""

    servers: tuple[Endpoint, ...] = (ONE, TWO)
    timeout_ns: int = SECOND
    attempts: int = 2


@dataclass
class Scene:
    """One set of exchanges, all their asks, and how they ended."""

    hosts: Hosts = field(default_factory=Hosts)
    asks: list[AskResolver] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    done: list[Outcome] = field(default_factory=list)
    now: int = 0

    def __post_init__(self) -> None:
        idents = itertools.count(0x10000 + 7)  # more than 16 bits: only 16 may be used
        self.exchanges = Exchanges(lambda _now: self.hosts, lambda: next(idents))

    def note(self, step: Step) -> None:
        self.asks += [action for action in step.actions if isinstance(action, AskResolver)]
        self.forgotten += [action.key for action in step.actions if isinstance(action, ForgetAsk)]
        self.done += step.done

    def begin(self, number: int = 1, message: bytes = ASKED, tcp: bool = False) -> None:
        self.note(self.exchanges.begin(number, message, read_query(message), tcp=tcp, now=self.now))

    def answered(self, ask: AskResolver, rcode: int = 0) -> bytes:
        """The resolver's answer to `ask`; gives what it said."""
        message = reply(ask.message, rcode=rcode)
        self.note(self.exchanges.answer(ask.key, message, "answered", self.now))
        return message

    def failed(self, ask: AskResolver, reason: str) -> None:
        self.note(self.exchanges.answer(ask.key, None, reason, self.now))

    def at(self, now: int) -> None:
        """Let time pass, acting at every deadline on the way."""
        while (deadline := self.exchanges.deadline()) is not None and deadline <= now:
            self.now = deadline
            self.note(self.exchanges.expire(deadline))
        self.now = now

    @property
    def servers(self) -> list[Endpoint]:
        return [ask.server for ask in self.asks]

    @property
    def result(self) -> Outcome:
        (outcome,) = self.done
        assert len(self.exchanges) == 0
        assert self.exchanges.deadline() is None
        return outcome


def test_the_first_resolver_is_asked_under_a_fresh_id() -> None:
    scene = Scene()
    scene.begin()
    assert scene.asks == [AskResolver(1, ONE, False, dns_message.with_id(ASKED, 7))]
    assert scene.exchanges.deadline() == SECOND


def test_its_answer_ends_the_exchange_under_the_guests_id() -> None:
    scene = Scene()
    scene.begin()
    message = scene.answered(scene.asks[0])
    assert scene.result == Outcome(1, dns_message.with_id(message, 0x1234), ONE, "no resolver")
    assert scene.forgotten == [1]


def test_silence_asks_the_next_and_still_takes_a_late_answer() -> None:
    scene = Scene()
    scene.begin()
    scene.at(SECOND)
    assert scene.servers == [ONE, TWO]
    assert scene.forgotten == []
    scene.answered(scene.asks[0])
    assert scene.result.server == ONE
    assert scene.forgotten == [1, 2]


def test_rounds_wait_twice_as_long_each() -> None:
    scene = Scene()
    scene.begin()
    for at, asked in ((1, [ONE, TWO]), (2, [ONE, TWO, ONE]), (4, [ONE, TWO, ONE, TWO])):
        scene.at(at * SECOND - 1)
        assert len(scene.asks) == len(asked) - 1
        scene.at(at * SECOND)
        assert scene.servers == asked
    scene.at(6 * SECOND)
    assert scene.result == Outcome(1, None, None, "timed out")


def test_no_more_than_two_asks_are_open_together() -> None:
    scene = Scene()
    scene.begin()
    scene.at(4 * SECOND)
    assert len(scene.asks) - len(scene.forgotten) == MAX_ASKS
    assert scene.forgotten == [1, 2]


def test_a_query_is_given_up_after_ten_seconds_whatever_the_settings() -> None:
    scene = Scene(Hosts((ONE, TWO, THREE), timeout_ns=5 * SECOND, attempts=5))
    scene.begin()
    scene.at(GIVE_UP_NS - 1)
    assert scene.done == []
    scene.at(GIVE_UP_NS)
    assert scene.result.message is None


def test_refused_fails_over_at_once() -> None:
    scene = Scene()
    scene.begin()
    scene.failed(scene.asks[0], "refused")
    assert scene.servers == [ONE, TWO]
    scene.answered(scene.asks[1])
    assert scene.result.server == TWO


def test_all_refused_ends_at_once() -> None:
    scene = Scene()
    scene.begin()
    scene.failed(scene.asks[0], "refused")
    scene.failed(scene.asks[1], "unreachable")
    assert scene.result == Outcome(1, None, None, "unreachable")


def test_a_failure_of_an_ask_that_is_no_longer_waited_for_asks_nobody_new() -> None:
    scene = Scene(Hosts((ONE, TWO, THREE)))
    scene.begin()
    scene.at(SECOND)
    scene.failed(scene.asks[0], "refused")
    assert scene.servers == [ONE, TWO]
    scene.at(2 * SECOND)
    assert scene.servers == [ONE, TWO, THREE]
    scene.at(3 * SECOND)
    assert scene.servers == [ONE, TWO, THREE, TWO]  # ONE is left alone


def test_servfail_asks_the_next_whose_better_answer_is_taken() -> None:
    scene = Scene()
    scene.begin()
    scene.answered(scene.asks[0], SERVFAIL)
    assert scene.servers == [ONE, TWO]
    assert scene.forgotten == [1]
    scene.answered(scene.asks[1], NXDOMAIN)
    assert scene.result.server == TWO


def test_servfail_of_all_is_passed_on_at_once_and_nobody_is_asked_twice() -> None:
    scene = Scene()
    scene.begin()
    scene.answered(scene.asks[0], SERVFAIL)
    message = scene.answered(scene.asks[1], REFUSED)
    assert scene.result.message == dns_message.with_id(message, 0x1234)
    assert scene.servers == [ONE, TWO]


def test_servfail_of_one_is_passed_on_when_the_other_is_silent() -> None:
    scene = Scene()
    scene.begin()
    scene.answered(scene.asks[0], SERVFAIL)
    scene.at(SECOND)
    assert scene.servers == [ONE, TWO, TWO]
    scene.at(3 * SECOND)
    assert scene.result.message is not None
    assert scene.result.server == ONE


def test_an_answer_to_something_else_is_not_believed() -> None:
    scene = Scene()
    scene.begin()
    ask = scene.asks[0]
    for forged in (b"", reply(ASKED), reply(dns_message.with_id(query("evil.example"), 7))):
        scene.note(scene.exchanges.answer(ask.key, forged, "answered", 0))
    assert scene.done == []
    assert scene.exchanges.counters["mismatches"] == 3
    scene.answered(ask)
    assert scene.result.server == ONE


def test_over_tcp_an_answer_to_something_else_is_a_failure() -> None:
    scene = Scene()
    scene.begin(tcp=True)
    assert scene.asks[0].tcp
    scene.note(scene.exchanges.answer(scene.asks[0].key, reply(ASKED), "answered", 0))
    assert scene.servers == [ONE, TWO]
    assert scene.forgotten == [1]


def test_an_answer_after_the_end_is_a_stray() -> None:
    scene = Scene()
    scene.begin()
    scene.answered(scene.asks[0])
    scene.answered(scene.asks[0])
    assert len(scene.done) == 1
    assert scene.exchanges.counters["strays"] == 1


def test_a_cancelled_exchange_leaves_nothing() -> None:
    scene = Scene()
    scene.begin()
    scene.note(scene.exchanges.cancel(1, 0))
    scene.note(scene.exchanges.cancel(1, 0))
    assert scene.forgotten == [1]
    assert (len(scene.exchanges), scene.exchanges.deadline(), scene.done) == (0, None, [])


def test_a_dead_first_resolver_costs_two_queries_and_then_a_probe() -> None:
    scene = Scene()
    for number in range(2):
        scene.begin(number)
        scene.at(scene.now + SECOND)
        scene.answered(scene.asks[-1])
    scene.asks.clear()
    for number in range(10, 20):
        scene.begin(number)
        scene.answered(scene.asks[-1])
    assert scene.servers == [TWO] * 10
    scene.asks.clear()
    scene.at(scene.now + 10 * SECOND)
    scene.begin(20)
    scene.begin(21)
    assert scene.servers == [ONE, TWO]
    scene.answered(scene.asks[0])
    scene.begin(22)
    assert scene.asks[-1].server == ONE


def test_our_own_lack_of_sockets_is_not_held_against_a_resolver() -> None:
    scene = Scene()
    scene.begin()
    scene.failed(scene.asks[0], "busy")
    scene.failed(scene.asks[1], "busy")
    assert scene.result.reason == "busy"
    assert scene.exchanges.failing() == []


def test_a_slow_refusal_after_the_last_ask_ends_the_exchange() -> None:
    scene = Scene(Hosts((ONE,), attempts=2))
    scene.begin()
    scene.at(SECOND)
    assert scene.servers == [ONE, ONE]
    scene.failed(scene.asks[1], "refused")
    assert scene.done == []  # the first ask is still open
    scene.failed(scene.asks[0], "refused")
    assert scene.result.message is None


def test_no_resolver_at_all_is_an_end_at_once() -> None:
    scene = Scene(Hosts(()))
    scene.begin()
    assert scene.result == Outcome(1, None, None, "no resolver")
