"""Events to those who asked for them: a bounded queue for each subscriber, whose slowness is its own loss only.

No event loop is known here.  A reader takes what there is with `pop`; when that gives None it waits, in whatever way is
its own, until `wake` is called: once for the first event after an empty `pop`, and once at the end.

One thread publishes.  Each subscription may be read by one other thread: the reader says that it is about to wait
before it looks a last time, the publisher queues before it looks whether someone waits.  So no wake-up is lost.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pyslirp.errors import ClosedError, SlirpError
from pyslirp.events import Event

QUEUE_LIMIT = 1024  #: events kept for a subscriber that asks for no other number; beyond it the oldest goes
SUBSCRIBER_LIMIT = 64  #: subscriptions open at once

_log = logging.getLogger("pyslirp.observe")


class Subscription:
    """One reader's queue.  Made by `Bus.subscribe`."""

    def __init__(self, limit: int, wake: Callable[[], None] | None, leave: Callable[[Subscription], None]) -> None:
        self._queue: deque[Event] = deque()
        self._limit = limit
        self._wake = wake
        self._leave = leave
        self._waiting = True
        self.closed = False  #: no event comes any more; those in the queue can still be had
        self.dropped = 0  #: events lost because the queue was full

    def __len__(self) -> int:
        """Events waiting."""
        return len(self._queue)

    def pop(self) -> Event | None:
        """The oldest event, or None: then `wake` is called when there is one, or the end."""
        self._waiting = True
        try:
            event = self._queue.popleft()
        except IndexError:
            return None
        self._waiting = False
        return event

    def close(self) -> None:
        """Ask for no more.  May be called twice."""
        if not self.closed:
            self.closed = True
            self._leave(self)
            self._rouse()

    def _push(self, event: Event) -> None:
        if len(self._queue) >= self._limit:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(event)
        if self._waiting:
            self._waiting = False
            self._rouse()

    def _rouse(self) -> None:
        """Call `wake`; a subscriber that cannot be woken (its loop has ended) must not stop the network."""
        if self._wake is None:
            return
        try:
            self._wake()
        except Exception as error:  # noqa: BLE001 - it is the embedder's code
            self._wake = None
            _log.warning("a subscriber to events cannot be woken and is given up: %s: %s", type(error).__name__, error)
            self.close()


class Source(Protocol):
    """Whoever has less to say while nobody listens (the engine's core)."""

    observed: bool


class Bus:
    """Hands every published event to every subscription."""

    def __init__(self, source: Source | None = None) -> None:
        """`source` is told whether anybody listens, whenever that changes."""
        self._subscriptions: list[Subscription] = []
        self._source = source
        self._tell()
        self._closed = False

    def __len__(self) -> int:
        """Subscriptions open."""
        return len(self._subscriptions)

    def subscribe(self, *, limit: int = QUEUE_LIMIT, wake: Callable[[], None] | None = None) -> Subscription:
        """A new subscription to what is published from now on.

        `limit`: events kept, the oldest dropped and counted beyond it.  Raises ValueError for a limit below 1,
        ClosedError after `close`, SlirpError beyond SUBSCRIBER_LIMIT.
        """
        if limit < 1:
            raise ValueError(f"limit={limit}: a subscription keeps at least one event")
        if self._closed:
            raise ClosedError("the network has been closed")
        if len(self._subscriptions) >= SUBSCRIBER_LIMIT:
            raise SlirpError(f"{SUBSCRIBER_LIMIT} subscriptions to events are open; close one first")
        subscription = Subscription(limit, wake, self._leave)
        self._subscriptions.append(subscription)
        self._tell()
        return subscription

    def _leave(self, subscription: Subscription) -> None:
        self._subscriptions.remove(subscription)
        self._tell()

    def _tell(self) -> None:
        if self._source is not None:
            self._source.observed = bool(self._subscriptions)

    def publish(self, event: Event) -> None:
        """Queue `event` for everyone."""
        for subscription in tuple(self._subscriptions):
            subscription._push(event)  # noqa: SLF001 - one contract in two classes

    def close(self) -> None:
        """End every subscription.  May be called twice."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()
