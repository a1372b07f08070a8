from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyslirp.engine.protocols.tcp.congestion import _Congestion

MSS = 1000
MAX = 64 << 20


def test_it_begins_with_ten_segments() -> None:
    window = _Congestion(MSS)
    assert window.cwnd == 10 * MSS  # RFC 6928
    assert window.ssthresh >= MAX  # RFC 5681 3.1: arbitrarily high


def test_slow_start_adds_what_was_acknowledged() -> None:
    window = _Congestion(MSS)
    window.acked(3 * MSS)
    assert window.cwnd == 13 * MSS


def test_congestion_avoidance_adds_a_segment_a_window() -> None:
    window = _Congestion(MSS)
    window.lost(20 * MSS)
    assert (window.cwnd, window.ssthresh) == (10 * MSS, 10 * MSS)
    for _ in range(9):
        window.acked(MSS)
    assert window.cwnd == 10 * MSS
    window.acked(MSS)
    assert window.cwnd == 11 * MSS


def test_slow_start_ends_at_ssthresh() -> None:
    window = _Congestion(MSS)
    window.timed_out(40 * MSS)
    assert (window.cwnd, window.ssthresh) == (MSS, 20 * MSS)  # RFC 5681 3.1
    window.acked(100 * MSS)
    assert window.cwnd == 20 * MSS


def test_a_window_that_was_not_used_does_not_grow() -> None:
    window = _Congestion(MSS)
    window.acked(50 * MSS, limited=False)
    assert window.cwnd == 10 * MSS


@given(st.integers(0, 100 * MSS))
def test_loss_halves_the_flight_but_leaves_two_segments(flight: int) -> None:
    window = _Congestion(MSS)
    window.lost(flight)
    assert window.ssthresh == max(flight // 2, 2 * MSS)  # RFC 5681 equation 4


def test_a_repeated_timeout_keeps_ssthresh() -> None:
    window = _Congestion(MSS)
    window.timed_out(40 * MSS)
    window.timed_out(MSS, first=False)
    assert window.ssthresh == 20 * MSS


def test_recovery_ends_at_ssthresh() -> None:
    window = _Congestion(MSS)
    window.lost(40 * MSS)
    window.recovered()
    assert window.cwnd == 20 * MSS


def test_an_idle_connection_starts_anew() -> None:
    window = _Congestion(MSS)
    window.acked(90 * MSS)
    window.restarted()
    assert window.cwnd == 10 * MSS  # RFC 5681 4.1, with RFC 6928's window
    assert window.ssthresh == 100 * MSS  # and quickly back to where it was


class Machine(RuleBasedStateMachine):
    """Whatever happens, the window is at least a segment and at most CWND_MAX."""

    def __init__(self) -> None:
        super().__init__()
        self.window = _Congestion(MSS)

    @rule(amount=st.integers(1, MAX), limited=st.booleans())
    def acked(self, amount: int, limited: bool) -> None:
        before = self.window.cwnd
        self.window.acked(amount, limited)
        assert self.window.cwnd >= before

    @rule(flight=st.integers(0, MAX))
    def lost(self, flight: int) -> None:
        self.window.lost(flight)

    @rule(flight=st.integers(0, MAX), first=st.booleans())
    def timed_out(self, flight: int, first: bool) -> None:
        self.window.timed_out(flight, first)

    @rule()
    def recovered(self) -> None:
        self.window.recovered()

    @rule()
    def restarted(self) -> None:
        self.window.restarted()

    @invariant()
    def stays_in_bounds(self) -> None:
        assert MSS <= self.window.cwnd <= MAX
        assert self.window.ssthresh >= 2 * MSS


TestMachine = Machine.TestCase
