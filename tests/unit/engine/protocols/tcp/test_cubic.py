"""CUBIC against the formulas of RFC 9438, in floating point."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.protocols.tcp.cubic import _Cubic, cube_root

MSS = 1000
SECOND = 1_000_000_000
C, BETA = 0.4, 0.7
MAX = 64 << 20


def curve(seconds: float, top: float, plateau: float) -> float:
    """W_cubic(t) in segments."""
    return C * (seconds - plateau) ** 3 + top


def grown(cubic: _Cubic, seconds: float, rtt: float, begin: float = 0.0) -> None:
    """A window acknowledged each round trip."""
    now = begin
    while now < begin + seconds:
        cubic.delivered(cubic.cwnd, round(now * SECOND) + 1, round(rtt * SECOND))
        now += rtt


@given(st.integers(0, (1 << 60) - 1))
def test_cube_root(x: int) -> None:
    root = cube_root(x)
    assert root**3 <= x < (root + 1) ** 3


def test_slow_start_is_renos() -> None:
    cubic = _Cubic(MSS, 10 * MSS)
    cubic.delivered(5 * MSS, 1)
    assert cubic.cwnd == 15 * MSS
    cubic.delivered(5 * MSS, 1, limited=False)
    assert cubic.cwnd == 15 * MSS


def test_a_loss_leaves_seven_tenths() -> None:
    cubic = _Cubic(MSS, 1000 * MSS)
    cubic.lost(1000 * MSS)
    assert cubic.ssthresh == 700 * MSS
    cubic.lost(MSS)
    assert cubic.ssthresh == 2 * MSS


@pytest.mark.parametrize("seconds", [2.0, 5.0, 8.0, 12.0])
def test_it_grows_along_the_curve(seconds: float) -> None:
    cubic = _Cubic(MSS, 1000 * MSS)
    cubic.lost(1000 * MSS)
    cubic.delivered(MSS, 1, SECOND // 10)
    plateau = (1000 * (1 - BETA) / C) ** (1 / 3)
    assert cubic.plateau == pytest.approx(plateau * SECOND, rel=1e-3)
    grown(cubic, seconds, 0.1)
    assert cubic.cwnd / MSS == pytest.approx(curve(seconds, 1000, plateau), rel=0.03)


def test_fast_convergence() -> None:
    """A second loss below the last top: the flow gives more way than its loss (4.7)."""
    cubic = _Cubic(MSS, 1000 * MSS)
    cubic.lost(1000 * MSS)
    cubic.lost(700 * MSS)
    cubic.delivered(MSS, 1)
    plateau = ((700 * (1 + BETA) / 2 - 490) / C) ** (1 / 3)
    assert cubic.plateau == pytest.approx(plateau * SECOND, rel=1e-3)


def test_where_reno_is_faster_it_grows_as_reno() -> None:
    """A millisecond of round trip: 0.53 segments a window until the old one is reached, then one."""
    cubic = _Cubic(MSS, 20 * MSS)
    cubic.lost(20 * MSS)
    rounds = 0
    while cubic.cwnd < 20 * MSS:
        cubic.delivered(cubic.cwnd, 1 + rounds * SECOND // 1000, SECOND // 1000)
        rounds += 1
    assert rounds == pytest.approx(6 / 0.53, abs=2)


def test_time_without_need_does_not_count() -> None:
    one, other = _Cubic(MSS, 1000 * MSS), _Cubic(MSS, 1000 * MSS)
    for cubic in (one, other):
        cubic.lost(1000 * MSS)
        grown(cubic, 2, 0.1)
    other.delivered(MSS, 2 * SECOND, limited=False)
    grown(one, 3, 0.1, 2)
    grown(other, 3, 0.1, 102)
    assert other.cwnd == pytest.approx(one.cwnd, rel=0.02)


@given(st.lists(st.tuples(st.integers(1, 10_000_000), st.integers(0, 100 * SECOND), st.booleans(), st.integers(0, 20))))
def test_whatever_happens_the_window_stays_in_bounds(events: list[tuple[int, int, bool, int]]) -> None:
    cubic, now = _Cubic(MSS, 10 * MSS), 1
    for amount, later, limited, lose in events:
        now += later
        before = cubic.cwnd
        cubic.delivered(amount, now, SECOND // 100, limited)
        assert before <= cubic.cwnd <= MAX
        if lose == 0:
            cubic.lost(cubic.cwnd)
            assert cubic.cwnd >= 2 * MSS
