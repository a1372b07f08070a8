from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.protocols.tcp.rack import _Rack, probe_timeout

MS = 1_000_000


def seen(rtt_ms: int = 40) -> _Rack:
    """One segment, ending at 1000, was sent at 1 ms and delivered."""
    rack = _Rack()
    rack.delivered(MS, 1000, (1 + rtt_ms) * MS)
    return rack


def test_what_was_sent_before_is_older() -> None:
    rack = seen()
    assert rack.older(0, 5000)
    assert rack.older(MS, 999), "at the same time, and below"
    assert not rack.older(MS, 1001)
    assert not rack.older(2 * MS, 500)


def test_a_retransmission_that_came_too_soon_teaches_nothing() -> None:
    """RFC 8985 6.2.2: the ACK is that of what was sent first."""
    rack = seen(40)
    rack.delivered(50 * MS, 500, 60 * MS, again=True)
    assert not rack.older(49 * MS, 100)
    rack.delivered(50 * MS, 500, 95 * MS, again=True)
    assert rack.older(49 * MS, 100)
    assert rack.rtt == 45 * MS


def test_no_window_before_any_reordering_was_seen() -> None:
    rack = seen(40)
    assert rack.window(srtt=40 * MS) == 10 * MS
    assert rack.window(srtt=40 * MS, certain=True) == 0


def test_reordering_is_seen_and_remembered() -> None:
    rack = seen(40)
    rack.delivered(2 * MS, 3000, 42 * MS)
    rack.delivered(2 * MS, 2000, 43 * MS, again=True)  # a retransmission is late by its nature
    before = rack.reordered
    assert not before
    rack.delivered(2 * MS, 2500, 43 * MS)
    assert rack.reordered
    assert rack.window(srtt=40 * MS, certain=True) == 10 * MS


@pytest.mark.parametrize("base", [0, (1 << 32) - 1500, 5 << 32])
def test_what_was_sent_again_is_remembered_in_runs(base: int) -> None:
    rack = _Rack()
    assert not rack.was_repeated(base + 1000, base + 2000)
    for seq in (1000, 2000, 5000):
        rack.repeated(base + seq, base + seq + 1000)
    asked = [(0, 1000), (500, 1001), (1000, 3000), (2999, 4000), (3000, 5000), (5500, 5600), (6000, 7000)]
    told = [rack.was_repeated(base + start, base + end) for start, end in asked]
    assert told == [False, True, True, True, False, True, False]


def test_only_the_last_runs_are_remembered() -> None:
    rack = _Rack()
    for number in range(17):
        rack.repeated(10_000 * (1 + number), 10_000 * (1 + number) + 1000)
    assert [rack.was_repeated(10_000 * n, 10_000 * n + 1) for n in (1, 2, 17)] == [False, True, True]


def test_each_round_trip_with_a_needless_retransmission_widens_the_window() -> None:
    rack = seen(40)
    rack.delivered(2 * MS, 500, 42 * MS)
    rack.spurious(10_000)
    rack.spurious(11_000)
    assert rack.window(srtt=100 * MS) == 20 * MS, "one step a round trip"
    rack.round(9_999)
    rack.spurious(12_000)
    assert rack.window(srtt=100 * MS) == 20 * MS
    rack.round(10_000)
    rack.spurious(13_000)
    assert rack.window(srtt=100 * MS) == 30 * MS
    assert rack.window(srtt=25 * MS) == 25 * MS, "SRTT at the most"


def test_after_sixteen_recoveries_it_is_narrow_again() -> None:
    rack = seen(40)
    rack.spurious(10_000)
    for _ in range(15):
        rack.recovered()
    assert rack.window(srtt=100 * MS) == 20 * MS
    rack.recovered()
    assert rack.window(srtt=100 * MS) == 10 * MS


def test_when_the_tail_is_probed() -> None:
    assert probe_timeout(0, True) == 1000 * MS
    assert probe_timeout(40 * MS, False) == 80 * MS
    assert probe_timeout(40 * MS, True) == 280 * MS, "a lone segment's ACK may be delayed"
    assert probe_timeout(10_000, False) == 20 * MS


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 1000), st.booleans())))
def test_the_youngest_delivered_is_kept(events: list[tuple[int, int, int, bool]]) -> None:
    rack = _Rack()
    youngest = 0
    for sent, end, took, again in events:
        rack.delivered(sent, end, sent + took, again)
        if not again:
            youngest = max(youngest, sent)
        assert youngest == 0 or rack.older(youngest - 1, 0)
