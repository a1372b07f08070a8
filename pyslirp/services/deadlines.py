"""Deadlines by key: what a service that reads no clock keeps instead of timers.

A key has one deadline or none.  Setting, cancelling and popping cost O(log n); a cancelled entry stays in the heap
until it surfaces or until stale entries outnumber the live ones, so memory is bounded by a small multiple of the live
keys however often a guest makes a service change its mind.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

COMPACT_SLACK = 64  #: stale heap entries that are tolerated beyond the number of live ones


class Deadlines(Generic[Key]):
    """When each key is due, in the service's clock (monotonic nanoseconds)."""

    def __init__(self) -> None:
        self._when: dict[Key, int] = {}
        self._heap: list[tuple[int, int, Key]] = []
        self._serial = 0  # orders equal times first come first served, and spares keys from having an order

    def __len__(self) -> int:
        return len(self._when)

    def __contains__(self, key: Key) -> bool:
        return key in self._when

    def set(self, key: Key, when: int) -> None:
        """Make `key` due at `when`, in place of any deadline it had."""
        if self._when.get(key) == when:
            return
        self._when[key] = when
        self._push(key, when)
        if len(self._heap) > 2 * len(self._when) + COMPACT_SLACK:
            self._compact()

    def cancel(self, key: Key) -> None:
        """Forget the deadline of `key`, if it has one."""
        self._when.pop(key, None)

    def earliest(self) -> int | None:
        """The next deadline, or None when nothing is due ever."""
        while self._heap:
            when, _, key = self._heap[0]
            if self._when.get(key) == when:
                return when
            heapq.heappop(self._heap)
        return None

    def due(self, now: int) -> list[Key]:
        """Take out every key whose deadline is `now` or earlier, earliest first."""
        keys: list[Key] = []
        while (when := self.earliest()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._when[key]
            keys.append(key)
        return keys

    def _push(self, key: Key, when: int) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, key))

    def _compact(self) -> None:
        kept: set[Key] = set()
        entries: list[tuple[int, int, Key]] = []
        for when, serial, key in sorted(self._heap):
            if self._when.get(key) == when and key not in kept:
                kept.add(key)
                entries.append((when, serial, key))
        self._heap = entries  # sorted, hence a heap
