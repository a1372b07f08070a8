from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyslirp.engine.protocols.tcp.congestion import _Congestion

MSS = 1000
MAX = 64 << 20
SECOND = 1_000_000_000


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


# -- proportional rate reduction (RFC 6937) ---------------------------------------------------------------------------


def recovery(window: _Congestion, flight: int, *steps: tuple[int, int]) -> list[int]:
    """What may be sent after each step (delivered, newly lost), in segments; it is sent.  The first loss has been found."""
    may = []
    for delivered, lost in steps:
        flight -= delivered + lost
        window.acked(delivered * MSS, flight=flight * MSS, lost=lost * MSS, recovering=True)
        room = (window.cwnd - flight * MSS) // MSS
        window.sent(room * MSS)
        flight += room
        may.append(room)
    return may


def test_half_of_what_is_delivered_is_sent_until_the_flight_is_half() -> None:
    window = _Congestion(MSS)
    window.lost(20 * MSS)
    assert window.ssthresh == 10 * MSS
    steps = recovery(window, 20, (1, 1), *[(1, 0)] * 18)
    assert steps[:14] == [0, 1] * 7, "a segment for every two that are delivered: the flight falls from 18 to 12"
    assert steps[14:] == [0, 0, 1, 1, 1], "11, 10, and there it stays"


def test_cubic_sends_seven_tenths() -> None:
    window = _Congestion(MSS, "cubic")
    window.lost(20 * MSS)
    assert window.ssthresh == 14 * MSS
    assert sum(recovery(window, 20, (1, 1), *[(1, 0)] * 9)) == 7


def test_a_flight_that_losses_have_made_small_grows_as_in_slow_start_while_nothing_more_is_lost() -> None:
    window = _Congestion(MSS)
    window.lost(20 * MSS)
    assert recovery(window, 20, (1, 12), (2, 0), (2, 0), (2, 0)) == [1, 3, 3, 2], (
        "conservation while something is lost; then a segment more than is delivered, as far as ssthresh"
    )


def test_the_window_ends_where_it_was_to_end() -> None:
    window = _Congestion(MSS)
    window.lost(20 * MSS)
    recovery(window, 20, (1, 1), (18, 0))
    window.recovered()
    assert window.cwnd == window.ssthresh == 10 * MSS
    window.acked(10 * MSS)
    assert window.cwnd == 11 * MSS, "congestion avoidance: what was delivered in the recovery does not count"


# -- what was for nothing (RFC 4015, RFC 9438 4.9) --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reno", "cubic"])
def test_an_undone_recovery_leaves_the_windows_as_they_were(kind: str) -> None:
    window = _Congestion(MSS, kind)
    window.acked(20 * MSS)
    window.lost(30 * MSS)
    window.acked(5 * MSS, flight=20 * MSS, recovering=True)
    assert window.cwnd < 30 * MSS
    window.undo()
    assert (window.cwnd, window.ssthresh) == (30 * MSS, MAX)
    window.undo()
    assert window.cwnd == 30 * MSS, "there is nothing more to take back"


@pytest.mark.parametrize("kind", ["reno", "cubic"])
def test_an_undone_timeout_too_after_any_number_of_them(kind: str) -> None:
    window = _Congestion(MSS, kind)
    window.acked(20 * MSS)
    window.timed_out(30 * MSS)
    window.timed_out(MSS, first=False)
    window.undo()
    assert (window.cwnd, window.ssthresh) == (30 * MSS, MAX)


def test_an_undo_does_not_shrink_what_has_grown_meanwhile() -> None:
    window = _Congestion(MSS)
    window.timed_out(30 * MSS)
    window.acked(14 * MSS)
    assert window.cwnd == 15 * MSS
    window.undo()
    assert window.cwnd == 15 * MSS


def test_an_undone_loss_leaves_cubic_on_its_curve() -> None:
    """The same flow with and without a needless recovery has the same window ten seconds later."""
    windows = [_Congestion(MSS, "cubic") for _ in range(2)]
    for number, window in enumerate(windows):
        window.acked(90 * MSS)
        window.lost(100 * MSS)
        window.recovered()
        for tenth in range(1, 100):
            window.acked(window.cwnd, now=tenth * SECOND // 10, srtt=SECOND // 10)
            if number and tenth == 20:
                window.lost(window.cwnd)
                window.undo()
    assert windows[0].cwnd == windows[1].cwnd > 100 * MSS


# -- CUBIC behind the door --------------------------------------------------------------------------------------------


def test_cubic_comes_back_to_its_top_and_passes_it() -> None:
    window = _Congestion(MSS, "cubic")
    window.acked(990 * MSS)
    window.lost(1000 * MSS)
    window.recovered()
    assert window.cwnd == 700 * MSS
    plateau = (300 / 0.4) ** (1 / 3)  # RFC 9438 figure 2
    sizes = {}
    for tenth in range(1, 200):
        window.acked(window.cwnd, now=tenth * SECOND // 10, srtt=SECOND // 10)
        sizes[tenth] = window.cwnd
    assert sizes[round(plateau * 5)] > 950 * MSS, "half of the time: an eighth of the way is left"
    assert sizes[round(plateau * 10)] == pytest.approx(1000 * MSS, rel=0.01)
    assert sizes[199] > 1300 * MSS


def test_cubic_does_not_grow_where_the_window_is_not_used() -> None:
    window = _Congestion(MSS, "cubic")
    window.lost(100 * MSS)
    window.recovered()
    for tenth in range(1, 100):
        window.acked(window.cwnd, False, tenth * SECOND // 10, srtt=SECOND // 10)
    assert window.cwnd == 70 * MSS


# -- marks (RFC 3168) -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "left"), [("reno", 10), ("cubic", 14)])
def test_a_mark_reduces_as_a_loss_does(kind: str, left: int) -> None:
    window = _Congestion(MSS, kind)
    window.acked(10 * MSS)
    window.marked(20 * MSS)
    assert window.ssthresh == left * MSS
    assert sum(recovery(window, 20, *[(1, 0)] * 10)) == left // 2
    window.recovered()
    assert window.cwnd == left * MSS


def test_bbr_does_not_heed_marks() -> None:
    window = _Congestion(MSS, "bbr")
    window.marked(20 * MSS)
    assert (window.cwnd, window.ssthresh) == (10 * MSS, MAX)


@pytest.mark.parametrize("kind", ["reno", "cubic"])
def test_a_loss_among_what_was_marked_reduces_no_further(kind: str) -> None:
    window = _Congestion(MSS, kind)
    window.acked(10 * MSS)
    window.marked(20 * MSS)
    ssthresh = window.ssthresh
    window.lost(16 * MSS, reduce=False)
    assert (window.cwnd, window.ssthresh) == (ssthresh, ssthresh)
    window.undo()
    assert (window.cwnd, window.ssthresh) == (ssthresh, ssthresh), "the loss was none, but the mark was one"


class Machine(RuleBasedStateMachine):
    """Whatever happens, the window is at least a segment and at most CWND_MAX."""

    def __init__(self) -> None:
        super().__init__()
        self.window = _Congestion(MSS)

    @initialize(kind=st.sampled_from(["reno", "cubic"]))
    def begin(self, kind: str) -> None:
        self.window = _Congestion(MSS, kind)

    @rule(amount=st.integers(1, MAX), limited=st.booleans())
    def acked(self, amount: int, limited: bool) -> None:
        before = self.window.cwnd
        self.window.acked(amount, limited)
        assert self.window.cwnd >= before

    @rule(flight=st.integers(0, MAX), reduce=st.booleans())
    def lost(self, flight: int, reduce: bool) -> None:
        self.window.lost(flight, reduce=reduce)

    @rule(flight=st.integers(0, MAX))
    def marked(self, flight: int) -> None:
        self.window.marked(flight)

    @rule()
    def undo(self) -> None:
        self.window.undo()

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
