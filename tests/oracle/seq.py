"""TCP sequence numbers as points on a circle of 2**32 (RFC 9293 section 3.4).

a is behind b if b lies ahead of it within half the circle.  Two numbers exactly half a circle apart are each behind the
other; no window is that large.
"""

from __future__ import annotations

CIRCLE = 2**32
HALF = 2**31


def ahead(a: int, b: int) -> int:
    """How far one walks from a, forwards, to reach b."""
    return (b - a) % CIRCLE


def lt(a: int, b: int) -> bool:
    return 0 < ahead(a, b) <= HALF


def le(a: int, b: int) -> bool:
    return a == b or lt(a, b)


def gt(a: int, b: int) -> bool:
    """Ahead, and not half a circle away: there it counts as behind."""
    return 0 < ahead(b, a) < HALF


def ge(a: int, b: int) -> bool:
    return a == b or gt(a, b)


def wide(near: int, number: int) -> int:
    """Of all whole numbers that are `number` on the circle the one nearest to `near`; of two, the lower."""
    below = near - ahead(number, near)
    return below if near - below <= HALF else below + CIRCLE
