"""BBR's search for the path's rate, and what may not end it: a guest whose window is the limit tells nothing of the path."""

from __future__ import annotations

import pytest

from pyslirp.sim.clock import MILLISECOND_NS
from pyslirp.sim.segment import Options
from tests.tcp.bench import Bench

RTT_NS = 100 * MILLISECOND_NS
SCALE = 8
WIDE = 1 << 22
NARROW = 20 * 1460  #: bytes a round trip


class Reader:
    """A guest, a round trip away, to whom the host always has more to send."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.bench.core.set_congestion("bbr")
        self.flow = self.bench.established(options=Options(mss=1460, scale=SCALE), rtt_ns=RTT_NS)
        self.acked = self.came = 1

    def round(self, *, window: int = WIDE, most: int = WIDE) -> int:
        """Acknowledge what has come, `most` bytes of it, and let a round trip pass; the bytes that come in it."""
        self.acked += min(self.came - self.acked, most)
        self.bench.core.stream_write(self.flow.handle, bytes(1 << 22))
        sent = self.flow.send(".", 1, ack=self.acked, window=window >> SCALE) + self.bench.wait(RTT_NS)
        came = sum(len(segment.payload) for segment in sent)
        self.came += came
        return came


@pytest.mark.parametrize("rounds", [4, 8, 24])
def test_a_window_that_is_small_for_a_while_does_not_end_startup(rounds: int) -> None:
    reader = Reader()
    small = [reader.round(window=NARROW) for _ in range(rounds)]
    wide = [reader.round() for _ in range(8)]
    assert wide[-1] > 10 * small[-1]


def test_a_path_that_brings_no_more_ends_it() -> None:
    """As much a round trip as that window let through."""
    reader = Reader()
    for _ in range(12):
        reader.round(most=NARROW)
    rate = NARROW * 10
    assert 0.3 * rate < reader.bench.core.flow(reader.flow.handle)["pace"] <= 1.25 * rate
