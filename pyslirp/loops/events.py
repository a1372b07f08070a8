"""The events of a network as an async iterator."""

from __future__ import annotations

import asyncio
from typing import Self

from pyslirp.events import Event
from pyslirp.observe.bus import Bus


class EventStream:
    """What happens in a network from the moment this was made: an async iterator that ends with the network.

    A reader that is too slow loses the oldest events, and `dropped` counts them.  For one task at a time.
    """

    def __init__(self, bus: Bus) -> None:
        """Raises ClosedError when the network has ended, SlirpError when there are too many readers."""
        self._wake = asyncio.Event()
        self._subscription = bus.subscribe(wake=self._wake.set)

    @property
    def dropped(self) -> int:
        """Events lost so far."""
        return self._subscription.dropped

    def close(self) -> None:
        """Ask for no more; what is queued can still be had."""
        self._subscription.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while (event := self._subscription.pop()) is None:
            if self._subscription.closed:
                raise StopAsyncIteration
            await self._wake.wait()
            self._wake.clear()
        return event

    def __del__(self) -> None:
        if hasattr(self, "_subscription"):
            self._subscription.close()
