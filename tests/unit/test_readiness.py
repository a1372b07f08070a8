"""What is known of a guest's port, with a network in which every answer is the test's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.errors import ClosedError, SlirpError
from pyslirp.flows import ServedStream, StreamHandler
from pyslirp.readiness import AGAIN_NS, FIRST_PAUSE_NS, LONGEST_PAUSE_NS, PATIENCE_NS, StreamFactory, Watch

GUEST = Endpoint.of("10.0.2.15", 80)


@dataclass
class FakeTimer:
    delay_ns: int
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeStream:
    def __init__(self) -> None:
        self.aborted = 0

    def abort(self) -> None:
        self.aborted += 1


class House:
    def __init__(self) -> None:
        self.timers: list[FakeTimer] = []
        self.streams: list[FakeStream] = []
        self.handlers: list[StreamHandler] = []
        self.changes: list[bool] = []
        self.refusal: Exception | None = None
        self.watch = Watch(GUEST, self.connect, self.call_later, self.changes.append)

    def connect(self, guest: Endpoint, factory: StreamFactory) -> ServedStream:
        assert guest == GUEST
        if self.refusal is not None:
            raise self.refusal
        self.streams.append(FakeStream())
        stream = cast("ServedStream", self.streams[-1])
        self.handlers.append(factory(stream))
        return stream

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(delay_ns, callback))
        return self.timers[-1]

    def waiting(self) -> FakeTimer:
        """The one call that is to come."""
        (timer,) = [timer for timer in self.timers if not timer.cancelled]
        return timer

    def pass_time(self) -> int:
        timer = self.waiting()
        self.timers.remove(timer)
        timer.callback()
        return timer.delay_ns


@pytest.fixture
def house() -> House:
    return House()


def test_a_port_that_accepts_is_ready_and_the_question_is_reset(house: House) -> None:
    house.watch.ask()
    house.handlers[0].connected()
    assert house.changes == [True]
    assert house.watch.ready
    assert house.streams[0].aborted == 1
    house.handlers[0].closed("reset")  # what the abort leads to
    assert house.changes == [True]
    assert house.waiting().delay_ns == AGAIN_NS


def test_a_port_that_refuses_is_asked_again_with_growing_pauses(house: House) -> None:
    house.watch.ask()
    pauses = []
    for number in range(10):
        house.handlers[number].closed("refused")
        pauses.append(house.pass_time())
    assert pauses[:3] == [FIRST_PAUSE_NS, 2 * FIRST_PAUSE_NS, 4 * FIRST_PAUSE_NS]
    assert pauses[-1] == LONGEST_PAUSE_NS
    assert house.changes == []
    house.handlers[10].connected()
    assert house.changes == [True]
    house.pass_time()
    house.handlers[11].closed("refused")
    assert house.changes == [True, False]
    assert house.waiting().delay_ns == FIRST_PAUSE_NS  # it has worked before, so it may soon again


def test_no_answer_is_no(house: House) -> None:
    house.watch.ask()
    assert house.pass_time() == PATIENCE_NS
    assert house.streams[0].aborted == 1
    assert house.waiting().delay_ns == FIRST_PAUSE_NS
    house.handlers[0].connected()  # too late
    assert house.changes == []


def test_what_stays_as_it_is_is_not_told(house: House) -> None:
    house.watch.ask()
    house.handlers[0].connected()
    house.pass_time()
    house.handlers[1].connected()
    assert house.changes == [True]


def test_one_question_at_a_time(house: House) -> None:
    house.watch.ask()
    house.watch.ask()
    assert len(house.streams) == 1
    house.handlers[0].connected()
    house.watch.ask()  # before its time: the other call is taken back
    assert len(house.streams) == 2
    assert house.waiting().delay_ns == PATIENCE_NS


def test_without_room_for_a_flow_it_is_tried_later(house: House) -> None:
    house.refusal = SlirpError("no source port is free")
    house.watch.ask()
    assert house.waiting().delay_ns == FIRST_PAUSE_NS
    house.refusal = ClosedError("the network has been closed")
    house.pass_time()
    assert not house.timers


def test_a_closed_watch_tells_nothing(house: House) -> None:
    house.watch.ask()
    house.watch.close()
    assert house.streams[0].aborted == 1
    assert all(timer.cancelled for timer in house.timers)
    house.handlers[0].connected()
    house.watch.close()
    assert house.changes == []


def test_what_a_server_says_is_not_looked_at(house: House) -> None:
    house.watch.ask()
    house.handlers[0].readable()
    house.handlers[0].writable()
    house.handlers[0].finished()
    assert house.changes == []
    assert house.streams[0].aborted == 0
