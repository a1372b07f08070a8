from __future__ import annotations

import select

from pyslirp.engine.edge.clock import now

MILLISECOND = 1_000_000


def test_it_never_goes_back() -> None:
    times = [now() for _ in range(1000)]
    assert times == sorted(times)


def test_it_counts_nanoseconds() -> None:
    before = now()
    select.select([], [], [], 0.02)
    assert 20 * MILLISECOND <= now() - before < 10_000 * MILLISECOND
