"""What every segment carries, and what a guest cannot make us say too often.  (Exchanges with times are scripts.)"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.sim.clock import MILLISECOND_NS
from pyslirp.sim.segment import Options, Segment
from tests.tcp.bench import GUEST_ISN, Bench, Conversation

MSS = 1460
OPTION_SPACE = 40

offers = st.builds(
    Options,
    mss=st.just(MSS),
    scale=st.sampled_from([None, 0, 7, 14]),
    sack_permitted=st.booleans(),
    timestamps=st.sampled_from([None, (1000, 0)]),
)


def established(offer: Options) -> Conversation:
    flow = Bench().offered(options=offer)
    flow.bench.core.serve(flow.handle, 0, flow.bench.now)
    flow.bench.core.run(flow.bench.now)
    (syn_ack,) = flow.bench.taken()
    flow.engine_isn = syn_ack.seq
    assert (syn_ack.options.mss, syn_ack.options.sack_permitted) == (MSS, offer.sack_permitted)
    assert (syn_ack.options.scale is None) == (offer.scale is None)
    assert echoed(syn_ack) == (None if offer.timestamps is None else 1000)
    assert flow.send(".", 1) == []
    return flow


def echoed(segment: Segment) -> int | None:
    return None if segment.options.timestamps is None else segment.options.timestamps[1]


@given(offers)
def test_timestamps_are_on_every_segment_or_on_none(offer: Options) -> None:
    """RFC 7323 section 3.2; a full segment is the guest's MSS less what its options take (RFC 6691)."""
    flow = established(offer)
    flow.bench.core.stream_write(flow.handle, bytes(10 * MSS))
    flow.bench.core.run(flow.bench.now)
    sent = flow.bench.taken()
    sent += flow.send(".", 101, bytes(10))
    expected = None if offer.timestamps is None else 1001
    assert {echoed(segment) for segment in sent} == {expected}
    assert max(len(segment.payload) for segment in sent) == MSS - (0 if offer.timestamps is None else 12)


@given(offers, st.integers(1, 8))
def test_holes_are_told_as_far_as_there_is_room(offer: Options, holes: int) -> None:
    """RFC 2018 section 3: four blocks, or three beside timestamps; the latest first."""
    flow = established(offer)
    ack = [flow.send(".", 101 + 200 * n, bytes(100)) for n in range(holes)][-1][0]
    room = 4 if offer.timestamps is None else 3
    assert len(ack.options.sack) == (min(holes, room) if offer.sack_permitted else 0)
    assert len(ack.options.pack()) <= OPTION_SPACE
    if offer.sack_permitted:
        assert ack.options.sack[0][0] == (GUEST_ISN + 101 + 200 * (holes - 1)) % 2**32


def test_acks_that_find_the_link_full_come_later() -> None:
    bench = Bench()
    reader = bench.established(40001, Options(mss=MSS, scale=8))
    writers = [bench.established(port) for port in range(41000, 41100)]
    acked = 0
    for _ in range(8):  # until less than a segment fits, and not a hundred bare ACKs
        bench.core.stream_write(reader.handle, bytes(4_000_000))
        bench.core.run(bench.now)
        acked += sum(len(segment.payload) for segment in bench.taken())
        bench.raw(reader.frame(".", 1, ack=1 + acked))
        bench.core.run(bench.now)
    bench.raw(*[flow.frame("P.", 1, bytes(2 * MSS)) for flow in writers])
    bench.core.run(bench.now)
    at_once = [segment for segment in bench.taken() if not segment.payload]
    later = [segment for segment in bench.taken() if not segment.payload]
    assert at_once
    assert later
    assert [segment.ack for segment in at_once + later] == [(GUEST_ISN + 1 + 2 * MSS) % 2**32] * len(writers)


# -- what anybody may provoke: RFC 5961 section 7 ----------------------------------------------------------------------


@pytest.mark.parametrize(("flags", "seq"), [("S", 1), ("R", 1000), (".", -100)], ids=["syn", "reset", "old ack"])
def test_an_answer_without_data_is_given_once_in_half_a_second(flags: str, seq: int) -> None:
    flow = Bench().established()
    for _ in range(3):
        answers = []
        for _ in range(50):
            answers += flow.send(flags, seq)
            flow.bench.wait(10 * MILLISECOND_NS)
        assert [segment.flags for segment in answers] == ["."]


def test_old_data_is_answered_every_time() -> None:
    """It may be a repetition because our acknowledgment was lost."""
    flow = Bench().established()
    flow.send("P.", 1, bytes(100))
    answers = [segment for _ in range(5) for segment in flow.send("P.", 1, bytes(100))]
    assert [segment.ack for segment in answers] == [(GUEST_ISN + 101) % 2**32] * 5


@given(offers)
def test_a_reset_says_where_we_are(offer: Options) -> None:
    """It is believed only with the very number that is awaited (RFC 5961 section 3.2)."""
    flow = established(offer)
    flow.bench.core.stream_write(flow.handle, bytes(100))
    flow.bench.core.run(flow.bench.now)
    flow.send(".", 1, bytes(50))
    flow.bench.taken()
    flow.bench.core.close_flow(flow.handle, flow.bench.now)
    (reset,) = flow.bench.taken()
    assert (reset.flags, reset.seq, reset.ack) == ("R.", flow.engine_isn + 101, (GUEST_ISN + 51) % 2**32)
    assert echoed(reset) == (None if offer.timestamps is None else 1001)
