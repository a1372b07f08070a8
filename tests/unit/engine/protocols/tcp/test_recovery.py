"""What ACKs and the timer do to a sender, by figures; what it sends, and when, is in the scripts."""

from __future__ import annotations

import pytest

from pyslirp.sim.clock import MILLISECOND_NS
from pyslirp.sim.segment import Options
from tests.tcp.bench import Bench, Conversation

MSS = 1460
SEGMENTS = 10


@pytest.fixture
def flow() -> Conversation:
    """Ten segments in flight to a guest without SACK."""
    made = Bench().established(options=Options(mss=MSS, scale=8))
    made.bench.core.stream_write(made.handle, bytes(SEGMENTS * MSS))
    made.bench.core.run(made.bench.now)
    assert len(made.bench.taken()) == SEGMENTS
    made.bench.now += 10 * MILLISECOND_NS
    return made


def counter(flow: Conversation, name: str) -> int:
    return int(flow.bench.core.counters()[name])


def test_an_ack_gives_a_sample(flow: Conversation) -> None:
    before = flow.bench.core.flow(flow.handle)["srtt"]
    flow.send(".", 1, ack=1 + MSS)
    assert flow.bench.core.flow(flow.handle)["srtt"] > before


def test_the_third_duplicate_begins_one_recovery(flow: Conversation) -> None:
    for duplicate in range(6):
        sent = flow.send(".", 1)
        assert len([segment for segment in sent if segment.payload]) == (duplicate == 2)
    assert counter(flow, "tcp.fast_retransmit") == 1


def test_the_timer_leaves_one_segment(flow: Conversation) -> None:
    sent = [segment for segment in flow.bench.wait(1200 * MILLISECOND_NS) if segment.payload]
    assert counter(flow, "tcp.rto") >= 1
    assert len(sent[0].payload) == MSS
    assert flow.bench.core.flow(flow.handle)["cwnd"] == MSS
