"""The forwarder as guests meet it: UDP sizes, streams, limits; the resolver is the test."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import Endpoint, Mac
from pyslirp.events import NameFailed, NameResolved
from pyslirp.services import dns as module
from pyslirp.services.base import (
    Action,
    AskResolver,
    Claim,
    Datagram,
    ForgetAsk,
    SendDatagram,
    StreamClose,
    StreamSend,
)
from pyslirp.services.dns import COUNTERS, IDLE_NS, MAX_PIPELINED, MAX_UDP_QUERY_BYTES, DnsService
from pyslirp.services.dns_stream import MAX_BUFFER_BYTES, frame
from tests.unit.services.dns_guest import QUERY_ID, query, reply

SECOND = 1_000_000_000
ALIAS = Endpoint.of("10.0.2.3", 53)
GUEST = Endpoint.of("10.0.2.15", 40000)
RESOLVER = Endpoint.of("fd00::53", 53)  # of another family than the guest: it is the host that asks
SERVFAIL = dns.rcode.SERVFAIL


@dataclass
class Hosts:
    servers: tuple[Endpoint, ...] = (RESOLVER,)
    timeout_ns: int = SECOND
    attempts: int = 2


@dataclass
class Scene:
    """A service, its guest and its resolver."""

    hosts: Hosts = field(default_factory=Hosts)
    now: int = 0
    asks: dict[int, AskResolver] = field(default_factory=dict)  #: open ones

    def __post_init__(self) -> None:
        idents = itertools.count(1)
        self.service = DnsService((ALIAS.address,), lambda _now: self.hosts, lambda: next(idents) * 0x9E37)

    def note(self, actions: list[Action]) -> list[Action]:
        for action in actions:
            if isinstance(action, AskResolver):
                self.asks[action.key] = action
            elif isinstance(action, ForgetAsk):
                del self.asks[action.key]
        return [action for action in actions if not isinstance(action, AskResolver | ForgetAsk)]

    def udp(self, message: bytes, guest: Endpoint = GUEST, link: int = 1) -> list[Action]:
        """A guest's datagram; gives what is done besides asking."""
        return self.note(self.service.handle(Datagram(link, Mac(b"\x52" * 6), guest, ALIAS, message), self.now))

    def tcp(self, data: bytes, stream: int = 1) -> list[Action]:
        return self.note(self.service.stream_received(stream, data, self.now))

    def opened(self, stream: int = 1, guest: Endpoint = GUEST) -> list[Action]:
        return self.note(self.service.stream_opened(stream, guest, self.now))

    def answered(self, *records: str, **options: Any) -> list[Action]:
        """The resolver answers the oldest ask."""
        ask = next(iter(self.asks.values()))
        return self.raw_answer(reply(ask.message, *records, **options))

    def raw_answer(self, message: bytes) -> list[Action]:
        return self.note(self.service.answer(next(iter(self.asks)), message, "answered", self.now))

    def failed(self, reason: str = "refused") -> list[Action]:
        key = next(iter(self.asks))
        del self.asks[key]
        return self.note(self.service.answer(key, None, reason, self.now))

    def at(self, now: int) -> list[Action]:
        done: list[Action] = []
        while (deadline := self.service.deadline()) is not None and deadline <= now:
            self.now = deadline
            done += self.note(self.service.expire(deadline))
        self.now = now
        return done

    def counted(self) -> dict[str, int]:
        return {name: count for name, count in self.service.snapshot()["counters"].items() if count}


def sent(actions: list[Action]) -> bytes:
    """The one datagram or stream message among the actions, without framing."""
    (action,) = [action for action in actions if isinstance(action, SendDatagram | StreamSend)]
    return action.payload if isinstance(action, SendDatagram) else action.data[2:]


def sends(actions: list[Action]) -> list[dns.message.Message]:
    found = []
    for action in actions:
        if isinstance(action, StreamSend):
            assert int.from_bytes(action.data[:2], "big") == len(action.data) - 2
            found.append(dns.message.from_wire(action.data[2:]))
    return found


def test_claims_port_53_of_every_alias() -> None:
    service = DnsService((ALIAS.address, RESOLVER.address), lambda _now: Hosts(), lambda: 0)
    assert set(service.claims) == {
        Claim(protocol, address, 53) for protocol in ("udp", "tcp") for address in (ALIAS.address, RESOLVER.address)
    }


# --------------------------------------------------------------------------------------------------------------- UDP


def test_a_query_is_passed_on_and_its_answer_passed_back_byte_for_byte_but_the_id() -> None:
    scene = Scene()
    asked = query(use_edns=0, payload=1232, want_dnssec=True)
    assert scene.udp(asked) == []
    (ask,) = scene.asks.values()
    assert (ask.server, ask.tcp) == (RESOLVER, False)
    assert ask.message[2:] == asked[2:]
    assert ask.message[:2] != asked[:2]
    answer = reply(ask.message, "www.example.org. 60 IN A 192.0.2.7")
    assert scene.raw_answer(answer) == [
        SendDatagram(ALIAS, GUEST, asked[:2] + answer[2:]),
        NameResolved(0, GUEST, "www.example.org", "A", "NOERROR", "[fd00::53]:53"),
    ]
    assert scene.asks == {}


@pytest.mark.parametrize("rdtype", ["AAAA", "HTTPS", "TYPE65399", "ANY", "PTR"])
def test_any_type_passes(rdtype: str) -> None:
    scene = Scene()
    scene.udp(query(rdtype=rdtype))
    event = scene.answered(rcode=3)[-1]
    assert isinstance(event, NameResolved)
    assert (event.rdtype, event.rcode) == (rdtype, "NXDOMAIN")


def test_every_ask_has_an_id_of_its_own() -> None:
    scene = Scene()
    for port in range(50):
        scene.udp(query(), Endpoint(GUEST.address, 1000 + port))
    assert len({ask.message[:2] for ask in scene.asks.values()}) == 50


@pytest.mark.parametrize(("payload", "cut"), [(None, True), (512, True), (1232, False), (4096, False)])
def test_an_answer_is_never_longer_than_what_the_guest_takes(payload: int | None, cut: bool) -> None:
    scene = Scene()
    scene.udp(query(use_edns=payload is not None and 0, payload=payload or 0))
    message = sent(scene.answered(*(f"www.example.org. 60 IN TXT {number:0200}" for number in range(4))))
    made = dns.message.from_wire(message)
    assert bool(made.flags & dns.flags.TC) is cut
    assert (len(message) <= (payload or 512), bool(made.answer)) == (True, not cut)
    assert made.id == QUERY_ID
    assert scene.counted().get("truncated", 0) == cut


def test_a_resolvers_own_truncation_is_passed_on() -> None:
    scene = Scene()
    scene.udp(query())
    made = dns.message.from_wire(sent(scene.answered("www.example.org. 60 IN A 1.2.3.4", truncated=True)))
    assert made.flags & dns.flags.TC
    assert made.answer


def test_a_query_that_cannot_be_read_gets_formerr() -> None:
    scene = Scene()
    (action,) = scene.udp(query()[:-1])
    assert isinstance(action, SendDatagram)
    made = dns.message.from_wire(action.payload)
    assert (made.rcode(), made.id, action.source, action.destination) == (dns.rcode.FORMERR, QUERY_ID, ALIAS, GUEST)
    assert scene.counted() == {"formerr": 1}


@pytest.mark.parametrize(
    ("message", "counter"),
    [
        (b"", "drop.not_query"),
        (query()[:11], "drop.not_query"),
        (reply(query()), "drop.not_query"),
        (query() + bytes(MAX_UDP_QUERY_BYTES), "drop.long"),
    ],
)
def test_what_gets_no_answer_is_counted(message: bytes, counter: str) -> None:
    scene = Scene()
    assert scene.udp(message) == []
    assert (scene.counted(), scene.asks) == ({counter: 1}, {})


def test_a_query_from_port_0_is_dropped_cve_2014_3640() -> None:
    scene = Scene()
    assert scene.udp(query(), Endpoint(GUEST.address, 0)) == []
    assert scene.counted() == {"drop.no_port": 1}


def test_a_repeated_query_is_the_same_query_until_it_is_answered() -> None:
    scene = Scene()
    scene.udp(query())
    assert scene.udp(query()) == []
    assert len(scene.asks) == 1
    scene.udp(query(ident=9))
    scene.udp(query("other.example"))
    scene.udp(query(), Endpoint(GUEST.address, 40001))
    assert len(scene.asks) == 4
    assert scene.counted()["queries.repeated"] == 1
    scene.answered()
    scene.udp(query())
    assert len(scene.asks) == 4


def test_when_no_resolver_answers_the_guest_gets_servfail() -> None:
    scene = Scene()
    asked = query(use_edns=0, payload=1232)
    scene.udp(asked)
    actions = scene.at(3 * SECOND)
    made = dns.message.from_wire(sent(actions))
    assert dns.message.from_wire(asked).is_response(made)
    assert (made.rcode(), made.edns) == (SERVFAIL, 0)
    assert actions[-1] == NameFailed(3 * SECOND, GUEST, "www.example.org", "A", "timed out")
    assert (scene.asks, scene.service.deadline(), scene.service.snapshot()["in_flight"]) == ({}, None, 0)


def test_refused_by_the_only_resolver_is_servfail_at_once() -> None:
    scene = Scene()
    scene.udp(query())
    actions = scene.failed()
    assert dns.message.from_wire(sent(actions)).rcode() == SERVFAIL
    assert isinstance(actions[-1], NameFailed)
    assert actions[-1].reason == "refused"


def test_a_guest_exhausts_only_its_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_IN_FLIGHT_PER_GUEST", 3)
    scene = Scene()
    for port in range(10):  # one link, as many source addresses as it likes
        scene.udp(query(), Endpoint(IPv4Address(0x0A00020F + port), 4000), link=1)
    scene.udp(query(), link=2)
    assert len(scene.asks) == 4
    assert scene.counted()["drop.guest_limit"] == 7
    scene.answered()
    scene.udp(query(), Endpoint(GUEST.address, 7), link=1)
    assert len(scene.asks) == 4


def test_the_network_has_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_IN_FLIGHT", 2)
    scene = Scene()
    for link in range(4):
        scene.udp(query(), Endpoint(GUEST.address, 1000 + link), link=link)
    assert len(scene.asks) == 2
    assert scene.counted()["drop.network_limit"] == 2


# ------------------------------------------------------------------------------------------------------------ streams


def test_a_query_on_a_stream_is_asked_over_tcp() -> None:
    scene = Scene()
    scene.opened()
    assert scene.tcp(frame(query())) == []
    (ask,) = scene.asks.values()
    assert ask.tcp
    actions = scene.answered(*(f"www.example.org. 60 IN TXT {number:0200}" for number in range(40)))
    (made,) = sends(actions)
    assert (made.id, len(made.answer[0])) == (QUERY_ID, 40)
    assert isinstance(actions[-1], NameResolved)


def test_bytes_may_come_one_by_one() -> None:
    scene = Scene()
    scene.opened()
    for byte in frame(query()) * 2:
        assert scene.tcp(bytes([byte])) == []
    assert len(scene.asks) == 2


def test_many_queries_are_answered_in_any_order_on_one_stream() -> None:
    scene = Scene()
    scene.opened()
    scene.tcp(b"".join(frame(query(f"n{number}.example", ident=number)) for number in range(5)))
    for ask in reversed(list(scene.asks.values())):
        (made,) = sends(scene.note(scene.service.answer(ask.key, reply(ask.message), "answered", 0)))
        assert made.question[0].name.to_text() == f"n{made.id}.example."


def test_pipelined_queries_wait_their_turn() -> None:
    scene = Scene()
    scene.opened()
    scene.tcp(b"".join(frame(query(ident=number)) for number in range(MAX_PIPELINED + 10)))
    assert len(scene.asks) == MAX_PIPELINED
    scene.answered()
    assert len(scene.asks) == MAX_PIPELINED
    answers = 1
    while scene.asks:
        answers += len(sends(scene.answered()))
    assert answers == MAX_PIPELINED + 10


def test_large_queries_wait_for_bytes_too() -> None:
    scene = Scene()
    scene.opened()
    large = query(use_edns=0, payload=1232, pad=0)[:-2] + (60000).to_bytes(2, "big") + bytes(60000)
    scene.tcp(frame(large))
    scene.tcp(frame(large))
    scene.tcp(frame(query()))
    assert len(scene.asks) == 2
    scene.answered()
    assert len(scene.asks) == 2


def test_half_close_gets_its_answers_and_then_the_end() -> None:
    scene = Scene()
    scene.opened()
    scene.tcp(frame(query(ident=1)) + frame(query(ident=2)))
    assert scene.tcp(b"") == []
    assert not any(isinstance(action, StreamClose) for action in scene.answered())
    actions = scene.answered()
    assert len(sends(actions)) == 1
    assert actions[-1] == StreamClose(1)
    assert scene.service.snapshot()["streams"] == 0


def test_half_close_with_nothing_asked_ends_at_once() -> None:
    scene = Scene()
    scene.opened()
    assert scene.tcp(b"") == [StreamClose(1)]
    assert scene.tcp(frame(query())) == []


def test_half_close_inside_a_message_ends_the_stream() -> None:
    scene = Scene()
    scene.opened()
    scene.tcp(frame(query())[:-1])
    assert scene.tcp(b"") == [StreamClose(1)]


@pytest.mark.parametrize("message", [b"", b"\0" * 11, reply(query())])
def test_what_is_no_query_resets_the_stream_and_cancels_the_rest(message: bytes) -> None:
    scene = Scene()
    scene.opened()
    assert scene.tcp(frame(query()) + frame(message) + frame(query())) == [StreamClose(1, abort=True)]
    assert scene.asks == {}
    assert scene.counted()["drop.not_query"] == 1
    assert scene.service.deadline() is None


def test_formerr_on_a_stream_leaves_it_open() -> None:
    scene = Scene()
    scene.opened()
    (made,) = sends(scene.tcp(frame(query()[:-1])))
    assert made.rcode() == dns.rcode.FORMERR
    scene.tcp(frame(query()))
    assert len(scene.asks) == 1


@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR"])
def test_zone_transfers_are_refused(rdtype: str) -> None:
    scene = Scene()
    scene.opened()
    (made,) = sends(scene.tcp(frame(query(rdtype=rdtype))))
    assert (made.rcode(), scene.asks) == (dns.rcode.REFUSED, {})


def test_over_the_guests_limit_a_stream_gets_servfail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_IN_FLIGHT_PER_GUEST", 2)
    scene = Scene()
    scene.opened()
    (made,) = sends(scene.tcp(b"".join(frame(query(ident=number)) for number in range(3))))
    assert (made.id, made.rcode(), len(scene.asks)) == (2, SERVFAIL, 2)
    assert scene.counted()["drop.guest_limit"] == 1


def test_a_guest_that_sends_far_ahead_is_reset() -> None:
    scene = Scene()
    scene.opened()
    scene.tcp(b"\xff\xff")
    assert scene.tcp(bytes(MAX_BUFFER_BYTES)) == [StreamClose(1, abort=True)]
    assert scene.counted()["drop.stream_buffer"] == 1


def test_streams_are_limited_by_guest_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STREAMS_PER_GUEST", 2)
    monkeypatch.setattr(module, "MAX_STREAMS", 3)
    scene = Scene()
    other, third = (Endpoint.of(f"10.0.2.{last}", 4) for last in (16, 17))
    opened = [scene.opened(number, guest) for number, guest in enumerate([GUEST, GUEST, GUEST, other, third])]
    assert opened == [[], [], [StreamClose(2, abort=True)], [], [StreamClose(4, abort=True)]]
    scene.service.stream_closed(0, 0)
    assert scene.opened(5) == []


def test_an_idle_stream_ends() -> None:
    scene = Scene()
    scene.opened()
    scene.tcp(b"\0")
    assert scene.at(IDLE_NS) == [StreamClose(1)]
    assert (scene.counted()["streams.idle"], scene.service.deadline()) == (1, None)


def test_a_stream_that_waits_for_an_answer_is_not_idle() -> None:
    scene = Scene(Hosts(timeout_ns=9 * SECOND))
    scene.opened()
    scene.now = 8 * SECOND
    scene.tcp(frame(query()))
    scene.at(17 * SECOND - 1)
    assert len(sends(scene.answered())) == 1
    assert scene.at(17 * SECOND - 2 + IDLE_NS) == []
    assert scene.at(17 * SECOND - 1 + IDLE_NS) == [StreamClose(1)]


def test_a_stream_that_is_gone_is_not_answered() -> None:
    scene = Scene()
    scene.opened()
    scene.tcp(frame(query()))
    assert scene.note(scene.service.stream_closed(1, 0)) == []
    assert scene.asks == {}
    assert scene.note(scene.service.stream_closed(1, 0)) == []
    assert scene.service.snapshot()["in_flight"] == 0


def test_without_resolvers_a_full_stream_of_queries_is_answered_without_recursion() -> None:
    scene = Scene(Hosts(()))
    scene.opened()
    count = MAX_BUFFER_BYTES // len(frame(query()))
    made = sends(scene.tcp(frame(query()) * count))
    assert len(made) == count
    assert {message.rcode() for message in made} == {SERVFAIL}


# ----------------------------------------------------------------------------------------------------------- the rest


def test_snapshot_names_every_counter_and_the_failing_resolvers() -> None:
    scene = Scene()
    scene.udp(query())
    scene.failed()
    shown = scene.service.snapshot()
    assert set(COUNTERS) < set(shown["counters"])
    assert [row["server"] for row in shown["failing"]] == ["[fd00::53]:53"]


VERBS = st.sampled_from(["udp", "open", "tcp", "eof", "close", "answer", "fail", "raw", "expire"])
STEPS = st.lists(st.tuples(VERBS, st.integers(0, 3), st.binary(max_size=60)), max_size=40)


@given(STEPS)
def test_no_sequence_of_events_raises_or_leaks(steps: list[tuple[str, int, bytes]]) -> None:
    scene = Scene()
    for verb, number, data in steps:
        scene.now += SECOND // 3
        message = query(f"n{number}.example") if len(data) % 2 else data
        if verb == "udp":
            scene.udp(message, Endpoint(GUEST.address, number))
        elif verb == "open" and number not in scene.service._streams:
            scene.opened(number)
        elif verb == "tcp":
            scene.tcp(frame(message) if number else data, number)
        elif verb == "eof":
            scene.tcp(b"", number)
        elif verb == "close":
            scene.note(scene.service.stream_closed(number, scene.now))
        elif verb == "expire":
            scene.at(scene.now)
        elif scene.asks and verb == "answer":
            scene.answered(rcode=number)
        elif scene.asks and verb == "fail":
            scene.failed()
        elif scene.asks:
            scene.raw_answer(data)
    for number in range(4):
        scene.note(scene.service.stream_closed(number, scene.now))
    scene.at(scene.now + 60 * SECOND)
    assert scene.asks == {}
    assert scene.service.deadline() is None
    assert not scene.service._owned
    assert not scene.service._on_the_way
    assert not scene.service._streams_of
