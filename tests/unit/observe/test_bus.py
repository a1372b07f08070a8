from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.errors import ClosedError, SlirpError
from pyslirp.events import Event
from pyslirp.observe.bus import SUBSCRIBER_LIMIT, Bus


def events(count: int) -> list[Event]:
    return [Event(at) for at in range(count)]


def test_everyone_gets_every_event_from_then_on() -> None:
    bus = Bus()
    early = bus.subscribe()
    bus.publish(Event(1))
    late = bus.subscribe()
    bus.publish(Event(2))
    assert [early.pop(), early.pop(), early.pop()] == [Event(1), Event(2), None]
    assert [late.pop(), late.pop()] == [Event(2), None]


def test_it_is_told_whether_anybody_listens() -> None:
    class Source:
        observed: bool = True

    source = Source()
    bus = Bus(source)
    heard = [source.observed]
    one, two = bus.subscribe(), bus.subscribe()
    for reader in (one, two, two):
        heard.append(source.observed)
        reader.close()
    assert [*heard, source.observed] == [False, True, True, False, False]


def test_a_slow_reader_loses_its_oldest_and_nobody_elses() -> None:
    bus = Bus()
    slow, quick = bus.subscribe(limit=2), bus.subscribe(limit=10)
    for event in events(5):
        bus.publish(event)
    assert (slow.pop(), slow.pop(), slow.pop(), slow.dropped) == (Event(3), Event(4), None, 3)
    assert (len(quick), quick.dropped) == (5, 0)


def test_wake_comes_once_for_each_wait() -> None:
    bus, woken = Bus(), []
    reader = bus.subscribe(wake=lambda: woken.append(len(reader)))
    for event in events(3):
        bus.publish(event)
    assert woken == [1], "the event is there when wake is called"
    while reader.pop():
        pass
    bus.publish(Event(9))
    assert woken == [1, 1]
    bus.publish(Event(10))
    reader.pop()
    bus.publish(Event(11))
    assert woken == [1, 1], "a reader that has not seen the end of its queue is not waiting"


@given(st.lists(st.booleans()))
def test_a_reader_that_waits_is_never_left_asleep(steps: list[bool]) -> None:
    bus, awake = Bus(), [False]

    def wake() -> None:
        awake[0] = True

    reader = bus.subscribe(wake=wake, limit=4)
    for publish in steps:
        if publish:
            bus.publish(Event(0))
        elif reader.pop() is None:
            awake[0] = False
        assert awake[0] or not len(reader)


def test_the_end_wakes_and_leaves_what_is_queued() -> None:
    bus, woken = Bus(), []
    reader = bus.subscribe(wake=lambda: woken.append(reader.closed))
    bus.publish(Event(1))
    bus.close()
    bus.close()
    assert woken == [False, True]
    assert (reader.closed, reader.pop(), reader.pop(), len(bus)) == (True, Event(1), None, 0)
    with pytest.raises(ClosedError):
        bus.subscribe()


def test_a_reader_that_leaves_gets_no_more() -> None:
    bus = Bus()
    gone, other = bus.subscribe(), bus.subscribe()
    gone.close()
    gone.close()
    bus.publish(Event(1))
    assert (gone.pop(), other.pop()) == (None, Event(1))


def test_a_reader_may_leave_while_it_is_woken() -> None:
    bus = Bus()
    leaving = bus.subscribe(wake=lambda: leaving.close())  # noqa: PLW0108 - it has no name yet
    other = bus.subscribe()
    bus.publish(Event(1))
    assert (leaving.closed, other.pop()) == (True, Event(1))


def test_a_reader_that_cannot_be_woken_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise RuntimeError("Event loop is closed")

    bus = Bus()
    dead, other = bus.subscribe(wake=broken), bus.subscribe()
    bus.publish(Event(1))
    bus.publish(Event(2))
    assert (dead.closed, len(bus), len(other)) == (True, 1, 2)
    assert "RuntimeError: Event loop is closed" in caplog.text
    assert len(caplog.records) == 1


def test_limits_are_kept() -> None:
    bus = Bus()
    with pytest.raises(ValueError, match="limit=0"):
        bus.subscribe(limit=0)
    held = [bus.subscribe() for _ in range(SUBSCRIBER_LIMIT)]
    with pytest.raises(SlirpError, match="close one first"):
        bus.subscribe()
    held[0].close()
    bus.subscribe()
