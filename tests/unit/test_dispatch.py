"""Every kind of punt and every kind of action, with a core that only remembers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any, cast

import pytest

from pyslirp.addresses import Address, Endpoint, Mac, pack
from pyslirp.dispatch import WAITING_BYTES, Dispatcher, ServiceStream
from pyslirp.engine.core import core as engine
from pyslirp.events import FlowClosed, FlowOpened, LeaseEnded
from pyslirp.flows import ServedDatagrams, ServedStream
from pyslirp.observe.bus import Bus
from pyslirp.services.base import (
    ROUTER_SOLICITATION,
    Action,
    AskResolver,
    Claim,
    Datagram,
    ForgetAsk,
    LearnNeighbor,
    SendDatagram,
    SendIcmp6,
    Solicitation,
    StreamClose,
    StreamSend,
)
from pyslirp.verdicts import TCP, UDP, FlowName, How

NOW = 42
GUEST, FAR = Endpoint(IPv4Address("10.0.2.15"), 40000), Endpoint(IPv4Address("10.0.2.3"), 53)
ROUTER, ALL_NODES = IPv6Address("fe80::2"), IPv6Address("ff02::1")
MAC = Mac("52:54:00:12:34:56")
KEY = (TCP, pack(GUEST.address), GUEST.port, pack(FAR.address), FAR.port)
UDP_KEY = (UDP, *KEY[1:])
FLOW = 7
CLOSED = engine.REASONS.index("closed")
RESET = engine.REASONS.index("reset by guest")


class FakeCore:
    """Remembers what it was told.  A stream takes `room` bytes and has `unread` to read."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.room = 1 << 30
        self.unread: list[bytes] = []
        self.written = bytearray()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.told.append((name, *arguments))

    def stream_read(self, _flow: int, _most: int, _now: int) -> bytes:
        return self.unread.pop(0) if self.unread else b""

    def stream_write(self, _flow: int, data: bytes, _urgent: bool = False) -> int:
        taken = min(len(data), self.room)
        self.room -= taken
        self.written += data[:taken]
        return taken


@dataclass
class Recorder:
    """A handler of a stream, and of a conversation."""

    calls: list[Any] = field(default_factory=list)

    def connected(self) -> None:
        self.calls.append("connected")

    def readable(self) -> None:
        self.calls.append("readable")

    def writable(self) -> None:
        self.calls.append("writable")

    def finished(self) -> None:
        self.calls.append("finished")

    def closed(self, reason: str) -> None:
        self.calls.append(f"closed: {reason}")

    def received(self, _flow: ServedDatagrams, data: bytes) -> None:
        self.calls.append(data)

    def ended(self, _flow: ServedDatagrams) -> None:
        self.calls.append("ended")


class FakeService:
    """A service at UDP and TCP port 53 that returns what it is told to."""

    name = "fake"

    def __init__(self, address: Address | None = FAR.address) -> None:
        self.claims: tuple[Claim, ...] = (Claim("udp", address, 53), Claim("tcp", address, 53))
        self.calls: list[Any] = []
        self.actions: list[Action] = []
        self.due: int | None = None
        self.fails = False
        self.answers = b""  #: to everything that is received

    def _answer(self, *call: object) -> Iterable[Action]:
        self.calls.append(call)
        actions, self.actions = self.actions, []
        return actions

    def handle(self, datagram: Datagram, now: int) -> Iterable[Action]:
        return self._answer(datagram, now)

    def deadline(self) -> int | None:
        return self.due

    def expire(self, now: int) -> Iterable[Action]:
        if self.fails:
            fail()
        return self._answer("expire", now)

    def snapshot(self) -> dict[str, Any]:
        return {}

    def stream_opened(self, stream: int, guest: Endpoint, _now: int) -> Iterable[Action]:
        return self._answer("opened", stream, guest)

    def stream_received(self, _stream: int, data: bytes, _now: int) -> Iterable[Action]:
        self.calls.append(("received", data))
        return [StreamSend(FLOW, self.answers)] if self.answers else []

    def stream_closed(self, stream: int, _now: int) -> Iterable[Action]:
        return self._answer("closed", stream)


class House:
    """A dispatcher, and everything that it calls."""

    def __init__(self) -> None:
        self.core = FakeCore()
        self.bus = Bus()
        self.new_flows: list[tuple[Any, ...]] = []
        self.lost_links: list[tuple[Any, ...]] = []
        self.on_flow: Callable[..., None] = lambda *flow: self.new_flows.append(flow)
        self.on_lost: Callable[..., None] = lambda *link: self.lost_links.append(link)
        self.dispatcher = Dispatcher(
            cast("engine.Core", self.core),
            lambda: NOW,
            self.bus,
            self._flow,
            self._lost,
        )

    def _flow(self, *flow: object) -> None:
        self.on_flow(*flow)

    def _lost(self, *link: object) -> None:
        self.on_lost(*link)

    def stream(self, flow: int = FLOW) -> ServedStream:
        stream = ServedStream(cast("engine.Core", self.core), lambda: NOW, flow, GUEST, FAR)
        self.dispatcher.streams[flow] = stream
        return stream

    def recorded(self, flow: int = FLOW) -> Recorder:
        stream = self.stream(flow)
        stream.handler = recorder = Recorder()
        return recorder

    def service_stream(self, service: FakeService) -> ServiceStream:
        stream = self.stream()
        stream.handler = made = ServiceStream(self.dispatcher, service, stream, lambda: NOW)
        return made

    def conversation(self) -> Recorder:
        recorder = Recorder()
        made = ServedDatagrams(cast("engine.Core", self.core), lambda: NOW, FLOW, GUEST, FAR, recorder)
        self.dispatcher.conversations[FLOW] = made
        return recorder


def fail(*_: object) -> Any:
    raise RuntimeError("on purpose")


@pytest.fixture
def house() -> House:
    return House()


# -- punts -------------------------------------------------------------------------------------------------------------


def test_every_kind_that_the_engine_hands_up_has_its_method(house: House) -> None:
    kinds = {value for name, value in vars(engine).items() if name.startswith("KIND_")}
    assert set(house.dispatcher._by_kind) == kinds - {engine.KIND_CONNECT}  # which nothing in the engine makes


def test_a_new_flow_goes_to_the_stack(house: House) -> None:
    house.dispatcher.handle([(engine.KIND_FLOW, FLOW, KEY, 64, 0)])
    assert house.new_flows == [(FLOW, FlowName(*KEY), 64)]


def test_a_flow_whose_verdict_fails_is_refused(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.on_flow = fail
    house.dispatcher.handle([(engine.KIND_FLOW, FLOW, KEY, 64, 0), (engine.KIND_FLOW, 8, KEY, 64, 0)])
    assert house.core.told == [("deny", FLOW, How.RESET, NOW), ("deny", 8, How.RESET, NOW)]
    assert [record.message for record in caplog.records] == ["a handler has failed"] * 2


def test_failures_do_not_flood_the_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.on_flow = fail
    house.dispatcher.handle([(engine.KIND_FLOW, FLOW, KEY, 64, 0)] * 100)
    assert len(caplog.records) < 10


def test_a_claimed_datagram_goes_to_its_service(house: House) -> None:
    service = FakeService()
    house.dispatcher.add(service)
    assert house.core.told == [("claim_udp", pack(FAR.address), 53)]
    house.dispatcher.handle([(engine.KIND_DATAGRAM, 3, bytes(MAC), UDP_KEY, b"query")])
    assert service.calls == [(Datagram(3, MAC, GUEST, FAR, b"query"), NOW)]


def test_a_service_may_claim_a_port_of_any_address(house: House) -> None:
    service = FakeService(None)
    house.dispatcher.add(service)
    assert house.core.told == [("claim_udp", None, 53)]
    house.dispatcher.handle([(engine.KIND_DATAGRAM, 3, bytes(MAC), UDP_KEY, b"query")])
    assert len(service.calls) == 1
    assert house.dispatcher.stream_service(pack(FAR.address), 53) is service
    assert house.dispatcher.stream_service(pack(FAR.address), 54) is None


def test_a_disabled_service_answers_nothing_until_it_is_enabled(house: House) -> None:
    service, other = FakeService(), FakeService(GUEST.address)
    house.dispatcher.add(service)
    house.dispatcher.add(other)
    house.service_stream(service)
    house.core.told.clear()
    assert house.dispatcher.disable(other) == 0
    assert house.dispatcher.disable(service) == 1
    assert house.core.told == [("close_flow", FLOW, NOW)]
    house.dispatcher.streams.clear()
    assert house.dispatcher.disable(service) == 0
    service.calls.clear()
    house.dispatcher.handle([(engine.KIND_DATAGRAM, 3, bytes(MAC), UDP_KEY, b"query")])
    assert (service.calls, house.dispatcher.stream_service(pack(FAR.address), 53)) == ([], None)
    house.dispatcher.enable(service)
    house.dispatcher.enable(service)
    house.dispatcher.handle([(engine.KIND_DATAGRAM, 3, bytes(MAC), UDP_KEY, b"query")])
    assert len(service.calls) == 1
    assert house.dispatcher.stream_service(pack(FAR.address), 53) is service


def test_a_datagram_that_nobody_claims_is_nobodys(house: House) -> None:
    house.dispatcher.handle([(engine.KIND_DATAGRAM, 3, bytes(MAC), UDP_KEY, b"query")])
    assert house.core.told == []


@pytest.mark.parametrize("event", ["connected", "readable", "writable", "finished"])
def test_what_happens_to_a_stream_is_told_to_its_handler(house: House, event: str) -> None:
    recorder = house.recorded()
    kind = getattr(engine, f"KIND_{event.upper()}")
    house.dispatcher.handle([(kind, FLOW, 0), (kind, 8, 0)])
    assert recorder.calls == [event]


def test_the_end_of_a_stream(house: House) -> None:
    subscription = house.bus.subscribe()
    recorder = house.recorded()
    stream = house.dispatcher.streams[FLOW]
    house.dispatcher.handle([(engine.KIND_CLOSED, FLOW, 0, KEY, RESET, 10, 20, False)])
    assert recorder.calls == ["closed: reset by guest"]
    assert stream.over
    assert not house.dispatcher.streams
    assert subscription.pop() == FlowClosed(NOW, FLOW, "tcp", GUEST, FAR, "reset by guest", 10, 20)


def test_the_end_of_a_conversation(house: House) -> None:
    recorder = house.conversation()
    house.dispatcher.handle([(engine.KIND_MESSAGE, FLOW, 0, b"one"), (engine.KIND_MESSAGE, 8, 0, b"not ours")])
    house.dispatcher.handle([(engine.KIND_CLOSED, FLOW, 0, UDP_KEY, CLOSED, 10, 20, False)])
    assert recorder.calls == [b"one", "ended"]
    assert not house.dispatcher.conversations


def test_a_flow_of_the_engine_alone_may_end_too(house: House) -> None:
    house.dispatcher.handle([(engine.KIND_CLOSED, 99, 0, KEY, CLOSED, 10, 20, False)])


def test_the_end_of_a_flow_is_told_once_to_who_waits_for_it(house: House) -> None:
    told: list[str] = []
    house.dispatcher.endings[99] = told.append
    house.dispatcher.handle([(engine.KIND_CLOSED, 99, 0, KEY, RESET, 10, 20, False)] * 2)
    assert told == ["reset by guest"]


def test_a_remote_that_begins_a_flow_is_told_of(house: House) -> None:
    punt = (engine.KIND_STRANGER, FLOW, UDP_KEY, pack(IPv4Address("127.0.0.1")), 4000)
    house.dispatcher.handle([punt])  # nobody listens
    subscription = house.bus.subscribe()
    house.dispatcher.handle([punt])
    assert subscription.pop() == FlowOpened(NOW, FLOW, "udp", GUEST, FAR, "127.0.0.1:4000", inbound=True)


def test_a_watched_descriptor(house: House) -> None:
    events: list[int] = []
    house.dispatcher.watches[5] = events.append
    house.dispatcher.handle([(engine.KIND_WATCH, 5, 1), (engine.KIND_WATCH, 6, 1)])
    assert events == [1]


def test_a_client_of_a_forward(house: House) -> None:
    clients: list[tuple[int, bytes, int]] = []
    house.dispatcher.inbound[5] = lambda *client: clients.append(client)
    house.dispatcher.handle([(engine.KIND_INBOUND, 5, 33, pack(FAR.address), 4000)])
    assert clients == [(33, pack(FAR.address), 4000)]


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_client_of_a_forward_that_is_gone_is_closed(house: House) -> None:
    read, write = os.pipe()
    house.dispatcher.handle([(engine.KIND_INBOUND, 5, write, pack(FAR.address), 4000)])
    assert not is_open(write)
    os.close(read)


def test_lost_links_come_first(house: House) -> None:
    """The port of a lost link may be given away by what else is in the batch."""
    order: list[str] = []
    house.on_lost = lambda *_: order.append("lost")
    house.dispatcher.watches[5] = lambda _: order.append("accepted")
    house.dispatcher.handle([(engine.KIND_WATCH, 5, 1), (engine.KIND_LINK, 3, 0, 0), (engine.KIND_WATCH, 5, 1)])
    assert order == ["lost", "accepted", "accepted"]


def test_a_lost_link_goes_to_the_stack(house: House) -> None:
    house.dispatcher.handle([(engine.KIND_LINK, 3, -1, 7)])
    assert house.lost_links == [(3, -1, 7)]


def test_what_raises_does_not_stop_the_others(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.dispatcher.watches[5] = fail
    recorder = house.recorded()
    house.dispatcher.handle([(engine.KIND_WATCH, 5, 1), (engine.KIND_READABLE, FLOW, 0)])
    assert recorder.calls == ["readable"]
    assert "on purpose" in caplog.text


# -- the end -----------------------------------------------------------------------------------------------------------


def test_whoever_is_called_may_close_everything(house: House) -> None:
    """What comes behind in the batch is let go: a client's descriptor is closed, nobody is called."""
    recorder = house.recorded()
    read, write = os.pipe()
    house.dispatcher.watches[5] = lambda _: house.dispatcher.close()
    house.dispatcher.inbound[6] = fail
    house.dispatcher.handle(
        [
            (engine.KIND_WATCH, 5, 1),
            (engine.KIND_READABLE, FLOW, 0),
            (engine.KIND_INBOUND, 6, write, pack(FAR.address), 4000),
            (engine.KIND_FLOW, 8, KEY, 64, 0),
        ]
    )
    assert recorder.calls == []
    assert house.new_flows == []
    assert not is_open(write)
    assert house.core.told == [("close_flow", FLOW, NOW)]
    os.close(read)


def test_at_the_end_every_handler_is_told(house: House) -> None:
    stream, conversation = house.recorded(1), house.conversation()
    read, write = os.pipe()
    house.dispatcher.close()
    house.dispatcher.end([(engine.KIND_INBOUND, 6, write, pack(FAR.address), 4000), (engine.KIND_READABLE, 1, 0)])
    assert stream.calls == ["closed: shut down"]
    assert conversation.calls == ["ended"]
    assert not is_open(write)
    os.close(read)


# -- time --------------------------------------------------------------------------------------------------------------


def test_the_earliest_deadline_counts(house: House) -> None:
    early, late, never = FakeService(), FakeService(), FakeService()
    early.due, late.due = NOW, NOW + 1
    assert house.dispatcher.deadline() is None
    for service in (never, late, early):
        house.dispatcher.add(service)
    assert house.dispatcher.deadline() == NOW
    house.dispatcher.expire()
    assert (early.calls, late.calls, never.calls) == ([("expire", NOW)], [], [])


def test_services_are_asked_when_they_are_due_only_after_a_call(house: House) -> None:
    service = FakeService()
    house.dispatcher.add(service)
    assert house.dispatcher.deadline() is None
    service.due = NOW + 5  # it has not been called: it may not have changed its mind
    assert house.dispatcher.deadline() is None
    house.dispatcher.perform([])
    assert house.dispatcher.deadline() == NOW + 5
    service.due = NOW + 3
    house.dispatcher.set_restrict(True)
    assert house.dispatcher.deadline() == NOW + 3
    service.due = NOW + 1
    house.dispatcher.attempt(fail)
    assert house.dispatcher.deadline() == NOW + 1


def test_a_service_that_fails_does_not_stop_the_others(house: House, caplog: pytest.LogCaptureFixture) -> None:
    failing, other = FakeService(), FakeService()
    failing.due = other.due = NOW
    house.dispatcher.add(failing)
    house.dispatcher.add(other)
    failing.fails = True
    house.dispatcher.expire()
    assert other.calls == [("expire", NOW)]
    assert "on purpose" in caplog.text


# -- actions -----------------------------------------------------------------------------------------------------------


def test_a_datagram_is_sent(house: House) -> None:
    house.dispatcher.perform([SendDatagram(FAR, GUEST, b"answer")])
    assert house.core.told == [
        ("send_udp", pack(FAR.address), 53, pack(GUEST.address), 40000, b"answer", NOW, None, -1)
    ]


def test_a_datagram_may_go_past_the_neighbour_table(house: House) -> None:
    house.dispatcher.perform([SendDatagram(FAR, GUEST, b"offer", MAC, 3)])
    assert house.core.told[0][-2:] == (bytes(MAC), 3)
    assert type(house.core.told[0][-2]) is bytes


class Resolving:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def ask(self, ask: AskResolver) -> None:
        self.calls.append(ask)

    def forget(self, key: int) -> None:
        self.calls.append(key)


def test_resolvers_are_asked_and_forgotten(house: House) -> None:
    ask = AskResolver(1, FAR, tcp=False, message=b"query")
    house.dispatcher.perform([ask, ForgetAsk(1)])  # nobody resolves: nothing happens
    house.dispatcher.resolving = resolving = Resolving()
    house.dispatcher.perform([ask, ForgetAsk(1)])
    assert resolving.calls == [ask, 1]


def test_a_neighbour_is_learned(house: House) -> None:
    house.dispatcher.perform([LearnNeighbor(GUEST.address, MAC)])
    assert house.core.told == [("learn", pack(GUEST.address), bytes(MAC), NOW)]


class FakeRouter(FakeService):
    """Answers those who look for routers."""

    def __init__(self) -> None:
        super().__init__()
        self.claims = (Claim("icmp6", None, ROUTER_SOLICITATION),)

    def solicited(self, solicitation: Solicitation, now: int) -> Iterable[Action]:
        return self._answer(solicitation, now)


def test_a_router_solicitation_is_answered_by_whoever_claims_it(house: House) -> None:
    punt = (engine.KIND_SOLICITATION, 3, bytes(MAC), ROUTER.packed)
    house.dispatcher.handle([punt])  # nobody does yet
    router = FakeRouter()
    house.dispatcher.add(router)
    router.actions = [SendIcmp6(ROUTER, ALL_NODES, 134, 0, b"body", MAC, 3)]
    house.dispatcher.handle([punt])
    assert router.calls == [(Solicitation(3, MAC, ROUTER), NOW)]
    assert house.core.told == [
        ("send_icmp6", ROUTER.packed, ALL_NODES.packed, 134, 0, b"body", NOW, bytes(MAC), 3)
    ]


def test_an_icmpv6_message_to_all_links(house: House) -> None:
    house.dispatcher.perform([SendIcmp6(ROUTER, ALL_NODES, 134, 0, b"body")])
    assert house.core.told == [("send_icmp6", ROUTER.packed, ALL_NODES.packed, 134, 0, b"body", NOW, None, -1)]


def test_an_event_is_published(house: House) -> None:
    subscription = house.bus.subscribe()
    event = LeaseEnded(NOW, GUEST.address, MAC, "released")
    house.dispatcher.perform([event])
    assert subscription.pop() is event


def test_actions_for_streams_that_are_gone_do_nothing(house: House) -> None:
    house.dispatcher.perform([StreamSend(99, b"x"), StreamClose(99), StreamClose(99, abort=True)])
    assert house.core.told == []


def test_a_stream_of_no_service_is_closed_by_a_reset(house: House) -> None:
    house.recorded()
    house.dispatcher.perform([StreamSend(FLOW, b"x"), StreamClose(FLOW)])
    assert house.core.told == [("close_flow", FLOW, NOW)]


# -- a service's stream ------------------------------------------------------------------------------------------------


def test_a_service_is_told_of_its_stream(house: House) -> None:
    service = FakeService()
    stream = house.service_stream(service)
    house.core.unread = [b"one", b"two"]
    for call in (stream.connected, stream.readable, stream.finished):
        call()
    stream.closed("closed")
    assert service.calls == [
        ("opened", FLOW, GUEST),
        ("received", b"one"),
        ("received", b"two"),
        ("received", b""),
        ("closed", FLOW),
    ]


def test_what_does_not_fit_waits(house: House) -> None:
    service = FakeService()
    stream = house.service_stream(service)
    house.core.room = 4
    house.dispatcher.perform([StreamSend(FLOW, b"abcdef"), StreamSend(FLOW, b"gh"), StreamClose(FLOW)])
    assert (bytes(house.core.written), house.core.told) == (b"abcd", [])
    house.core.room = 100
    stream.writable()
    assert bytes(house.core.written) == b"abcdefgh"
    assert house.core.told == [("stream_finish", FLOW)]


def test_a_service_may_reset_its_stream(house: House) -> None:
    house.service_stream(FakeService())
    house.dispatcher.perform([StreamClose(FLOW, abort=True)])
    assert house.core.told == [("close_flow", FLOW, NOW)]


def test_nothing_is_sent_behind_the_end(house: House) -> None:
    house.service_stream(FakeService())
    house.dispatcher.perform([StreamClose(FLOW), StreamSend(FLOW, b"late")])
    assert house.core.written == b""


def test_a_guest_that_does_not_listen_is_not_read(house: House) -> None:
    """A guest that asks on and on and never reads an answer fills its own window, and nothing here."""
    service = FakeService()
    stream = house.service_stream(service)
    house.core.room = 0
    house.core.unread = [b"query"] * 100
    service.answers = bytes(WAITING_BYTES // 4)
    stream.readable()
    assert len(service.calls) == 5
    assert len(stream._waiting) <= WAITING_BYTES * 2
    house.core.room = WAITING_BYTES
    stream.writable()  # there is room again: as many more are read
    assert 5 < len(service.calls) < 12
    house.core.room = 1 << 30
    stream.writable()
    assert len(service.calls) == 100
    assert len(house.core.written) == 100 * (WAITING_BYTES // 4)
