"""One way to wait: until something is so, for a bounded time, with words for when it never is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Deadline:
    """A point in time that several steps share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left, never below zero."""
        return max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left() == 0.0


def wait_for(what: str, probe: Callable[[], T | None], seconds: float = 10.0, every: float = 0.02) -> T:
    """The first true value of ``probe()``, asked every ``every`` seconds.

    Raises ``AssertionError`` saying what was waited for when ``seconds`` have passed without one.
    """
    deadline = Deadline(seconds)
    while True:
        value = probe()
        if value:
            return value
        if deadline.passed():
            raise AssertionError(f"waited {seconds:g} s in vain for {what} (last seen: {value!r})")
        time.sleep(every)
