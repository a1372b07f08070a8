"""Virtual time: nanoseconds that pass only when the simulator says so."""

from __future__ import annotations

MICROSECOND_NS = 1_000
MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000

START_NS = SECOND_NS  #: where a clock begins: not at 0, which in many places of the engine means "never yet"


class Clock:
    """A clock that jumps."""

    def __init__(self, now: int = START_NS) -> None:
        self.now = now  #: nanoseconds

    def advance(self, to: int) -> None:
        """Jump to `to`.  Raises ValueError for a time that is past: a deadline was computed wrongly."""
        if to < self.now:
            raise ValueError(f"the clock shows {self.now} ns and cannot go back to {to} ns")
        self.now = to


def seconds(number: float) -> int:
    """Nanoseconds of `number` seconds."""
    return round(number * SECOND_NS)
