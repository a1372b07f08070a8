"""BBR against a path with a rate and a round trip, of which it learns by samples alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyslirp.engine.protocols.tcp.bbr import _Bbr

MSS = 1000
MS = 1_000_000
SECOND = 1000 * MS
MEBIBYTE = 1 << 20


class Path:
    """A pipe of `rate` bytes a second and `rtt` ms, and a sender that always has something to send."""

    def __init__(self, rate: int = 10_000_000, rtt: int = 20) -> None:
        self.rate, self.rtt = rate, rtt
        self.bbr = _Bbr(MSS)
        self.now = self.total = 0
        self.modes: list[str] = []

    @property
    def pipe(self) -> int:
        return self.rate * self.rtt // 1000

    def round(self, *, lost: int = 0, recovering: bool = False, limited: bool = False) -> None:
        """One round trip, as one batch of ACKs."""
        flight = self.bbr.cwnd
        delivered = min(flight, self.pipe)
        queue = max(flight - self.pipe, 0)
        self.now += self.rtt * MS
        prior, self.total = self.total, self.total + delivered
        self.bbr.delivered(
            delivered,
            self.now,
            total=self.total,
            prior=prior,
            rate=delivered * 1000 // self.rtt,
            rtt=self.rtt * MS + queue * SECOND // self.rate,
            flight=min(flight, self.pipe),
            lost=lost,
            recovering=recovering,
            limited=limited,
        )
        if not self.modes or self.modes[-1] != self.bbr.mode:
            self.modes.append(self.bbr.mode)

    def steady(self) -> Path:
        for _ in range(40):
            self.round()
        assert self.bbr.mode == "probe_bw"
        return self


def test_it_finds_the_rate_and_stops_doubling() -> None:
    path = Path().steady()
    assert path.modes in (["startup", "drain", "probe_bw"], ["startup", "probe_bw"])
    assert path.bbr.rate == path.rate
    assert path.bbr.rtt == 20 * MS


def test_startup_doubles_the_window_each_round() -> None:
    path = Path(rate=1_000_000_000)
    before = path.bbr.cwnd
    for _ in range(4):
        path.round()
        assert path.bbr.cwnd >= 2 * before
        before = path.bbr.cwnd


def test_twice_the_pipe_may_be_in_flight() -> None:
    path = Path().steady()
    assert 2 * path.pipe <= path.bbr.cwnd <= 3 * path.pipe + 100_000


def test_the_pace_probes_around_the_rate() -> None:
    path, paces = Path().steady(), set[int]()
    for _ in range(16):
        path.round()
        paces.add(path.bbr.pace * 100 // path.rate)
    assert {min(paces), max(paces)} == {74, 123}, "three quarters and five quarters, less a hundredth"


def test_a_short_sample_of_a_limited_flow_lowers_nothing() -> None:
    path = Path().steady()
    for _ in range(100):
        path.round(limited=True)
    assert path.bbr.rate == path.rate


def test_a_slower_path_is_noticed() -> None:
    path = Path().steady()
    path.rate //= 4
    for _ in range(20):
        path.round()
    assert path.bbr.rate == path.rate


def test_loss_changes_nothing_after_the_first_round() -> None:
    path = Path().steady()
    cwnd, pace = path.bbr.cwnd, path.bbr.pace
    path.bbr.lost()
    for _ in range(10):
        path.round(lost=5 * MSS, recovering=True)
    path.round()
    assert path.bbr.cwnd >= cwnd * 9 // 10
    assert path.bbr.pace >= pace // 2
    assert path.bbr.rate == path.rate


def test_a_recovery_begins_with_what_is_in_flight() -> None:
    path = Path().steady()
    path.bbr.lost()
    path.now += MS
    path.bbr.delivered(
        MSS, path.now, total=path.total + MSS, prior=path.total, flight=50 * MSS, lost=MSS, recovering=True
    )
    assert path.bbr.cwnd == 51 * MSS


def test_a_timeout_leaves_little_and_the_window_comes_back() -> None:
    path = Path().steady()
    cwnd = path.bbr.cwnd
    path.bbr.timed_out()
    assert path.bbr.cwnd == MSS
    path.round()
    assert path.bbr.cwnd >= cwnd * 9 // 10


def test_what_was_for_nothing_is_undone() -> None:
    path = Path().steady()
    cwnd = path.bbr.cwnd
    path.bbr.timed_out()
    path.bbr.undo()
    assert path.bbr.cwnd == cwnd


def test_every_ten_seconds_it_looks_for_a_shorter_round_trip() -> None:
    path = Path().steady()
    path.rtt = 25
    path.modes.clear()
    low = path.bbr.cwnd
    for _ in range(600):
        path.round()
        if path.bbr.mode == "probe_rtt":
            low = min(low, path.bbr.cwnd)
    assert "probe_rtt" in path.modes
    assert path.modes[-1] == "probe_bw"
    assert low <= path.pipe * 6 // 10, "half the pipe"
    assert path.bbr.rtt == 25 * MS


def test_a_near_path_is_not_paced_and_holds_a_mebibyte() -> None:
    bbr, total = _Bbr(MSS), 0
    for turn in range(1, 400):
        total += 50_000
        bbr.delivered(50_000, turn * MS // 2, total=total, prior=total - 50_000, rate=100_000_000, rtt=MS // 2)
    assert bbr.pace == 0
    assert bbr.cwnd >= MEBIBYTE


def test_a_near_path_that_loses_much_is_like_any_other() -> None:
    bbr, total = _Bbr(MSS), 0
    for turn in range(1, 400):
        total += 50_000
        bbr.delivered(
            50_000, turn * MS // 2, total=total, prior=total - 50_000, rate=100_000_000, rtt=MS // 2, lost=10_000
        )
    assert bbr.pace > 0
    assert bbr.cwnd < MEBIBYTE


@given(st.lists(st.tuples(st.sampled_from(["round", "loss", "timeout", "undo", "idle"]), st.integers(0, 2000))))
def test_whatever_happens_the_window_stays_in_bounds(events: list[tuple[str, int]]) -> None:
    path = Path()
    for what, later in events:
        path.now += later * MS
        if what == "round":
            path.round()
        elif what == "loss":
            path.bbr.lost()
            path.round(lost=later, recovering=True)
        elif what == "timeout":
            path.bbr.timed_out()
        elif what == "undo":
            path.bbr.undo()
        else:
            path.bbr.restarted(path.now)
        assert MSS <= path.bbr.cwnd <= 64 << 20
