"""Events for `async for`."""

from __future__ import annotations

import asyncio
import gc

import pytest

from pyslirp.errors import ClosedError
from pyslirp.events import Event
from pyslirp.loops.events import EventStream
from pyslirp.observe.bus import QUEUE_LIMIT, SUBSCRIBER_LIMIT, Bus


async def collect(events: EventStream) -> list[int]:
    return [event.at async for event in events]


def test_what_happens_from_now_on_until_the_end() -> None:
    async def main() -> list[int]:
        bus = Bus()
        bus.publish(Event(0))
        events = EventStream(bus)
        bus.publish(Event(1))
        reading = asyncio.ensure_future(collect(events))
        await asyncio.sleep(0)
        bus.publish(Event(2))
        bus.publish(Event(3))
        await asyncio.sleep(0)
        bus.publish(Event(4))
        bus.close()
        return await reading

    assert asyncio.run(main()) == [1, 2, 3, 4]


def test_who_is_too_slow_loses_the_oldest() -> None:
    async def main() -> None:
        bus = Bus()
        events = EventStream(bus)
        for number in range(QUEUE_LIMIT + 3):
            bus.publish(Event(number))
        assert events.dropped == 3
        bus.close()
        assert (await collect(events))[0] == 3

    asyncio.run(main())


def test_who_wants_no_more_still_has_what_is_there() -> None:
    async def main() -> None:
        bus = Bus()
        events = EventStream(bus)
        bus.publish(Event(1))
        events.close()
        events.close()
        bus.publish(Event(2))
        assert len(bus) == 0
        assert await collect(events) == [1]

    asyncio.run(main())


def test_nobody_is_kept_who_is_forgotten() -> None:
    async def main() -> None:
        bus = Bus()
        for number in range(2 * SUBSCRIBER_LIMIT):
            EventStream(bus)
            if number % 32 == 31:  # not each time: a whole test run's heap is slow to look through
                gc.collect()
        gc.collect()
        assert len(bus) == 0

    asyncio.run(main())


def test_there_is_none_after_the_end() -> None:
    async def main() -> None:
        bus = Bus()
        bus.close()
        with pytest.raises(ClosedError):
            EventStream(bus)

    asyncio.run(main())
