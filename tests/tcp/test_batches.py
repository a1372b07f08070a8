"""The ACKs of a batch in order (RFC 9293 3.10.7.4), with many holes, with duplicates (RFC 2018 section 4, RFC 2883, RFC 8985)."""

from __future__ import annotations

import pytest

from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.segment import Options, Segment
from tests.tcp.bench import GUEST_ISN, Bench, Conversation

PLAIN = Options(mss=1460, sack_permitted=True)


def islands(flow: Conversation, count: int) -> list[Segment]:
    """One batch of segments of 100 bytes, `count` of them, with a hole before each; what answers it."""
    frames = [flow.frame("P.", 1 + 200 * number, pattern(1, 100, 200 * number)) for number in range(1, count + 1)]
    return flow.bench.deliver(*frames)


def told(acks: list[Segment]) -> list[list[int]]:
    """Which islands the blocks of each ACK are."""
    return [[((start - GUEST_ISN - 1) % 2**32) // 200 for start, _ in ack.options.sack] for ack in acks]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 40])
def test_one_ack_for_a_batch_in_order(count: int) -> None:
    """MUST-58, MUST-59: all that has come is looked at before anything is acknowledged, though every second full segment is to be
    acknowledged at once, and here, at the beginning, each one."""
    flow = Bench().established(options=PLAIN)
    frames = [flow.frame(".", 1 + 1460 * number, pattern(1, 1460, 1460 * number)) for number in range(count)]
    acks = flow.bench.deliver(*frames)
    assert [(ack.ack - GUEST_ISN) % 2**32 for ack in acks] == [1 + 1460 * count]
    assert flow.bench.wait(SECOND_NS) == []


def test_one_ack_for_a_batch_in_any_order_that_leaves_no_hole() -> None:
    """Without SACK there is nothing to tell of on the way; with a hole in between an ACK would be a duplicate."""
    flow = Bench().established()
    later, first = flow.frame(".", 1461, pattern(1, 1460, 1460)), flow.frame(".", 1, pattern(1, 1460))
    acks = flow.bench.deliver(later, first)
    assert [(ack.ack - GUEST_ISN) % 2**32 for ack in acks] == [2921]


def test_data_carry_the_ack_of_a_batch() -> None:
    flow = Bench().established(options=PLAIN)
    flow.bench.core.stream_write(flow.handle, bytes(100))
    (only,) = flow.bench.deliver(*[flow.frame(".", 1 + 1460 * n, pattern(1, 1460, 1460 * n)) for n in range(6)])
    assert (len(only.payload), (only.ack - GUEST_ISN) % 2**32) == (100, 1 + 1460 * 6)


@pytest.mark.parametrize("count", [1, 2, 5, 20, 200])
def test_an_ack_for_each_island(count: int) -> None:
    """As if they had come one by one.  A sender that is told of one behind another first takes that for lost (RFC 8985), and one
    that it learns of by the cumulative ACK alone has come to it by a path that reorders."""
    flow = Bench().established(options=PLAIN)
    one_by_one = [list(range(newest, max(0, newest - 4), -1)) for newest in range(1, count + 1)]
    assert told(islands(flow, count)) == one_by_one
    assert flow.bench.core._unsound() == []


def test_an_ack_tells_of_nothing_that_came_later() -> None:
    """What fills the hole at the front was sent later than the last island, as a repetition is: an ACK that knew of it and not of
    that island would have the island lost."""
    flow = Bench().established(options=PLAIN)
    islands(flow, 2)
    behind = [flow.frame("P.", 1 + 200 * number, pattern(1, 100, 200 * number)) for number in (3, 4)]
    acks = flow.bench.deliver(*behind, flow.frame("P.", 1, pattern(1, 200)))
    assert [(ack.ack - GUEST_ISN) % 2**32 for ack in acks] == [1, 301]
    assert told(acks) == [[3, 2, 1], [4, 3, 2]]


def test_an_island_that_grows_again_is_told_of_twice() -> None:
    """New bytes, a repetition, and new bytes: the first are told of before the repetition, which was sent behind them."""
    flow = Bench().established(options=PLAIN)
    islands(flow, 3)
    pieces = [(701, 100), (301, 100), (801, 100)]
    acks = flow.bench.deliver(*[flow.frame("P.", seq, pattern(1, size, seq - 1)) for seq, size in pieces])
    ends = [[(end - GUEST_ISN) % 2**32 for _, end in ack.options.sack] for ack in acks]
    assert told(acks) == [[3, 2, 1], [1, 3], [3, 1]]
    assert ends == [[801, 501, 301], [501, 801], [901, 501]]


def test_islands_that_are_filled_are_told_of_each() -> None:
    """Repetitions that come in one batch with what is new: the newest island is told of, whatever comes behind it."""
    flow = Bench().established(options=PLAIN)
    islands(flow, 20)
    new = flow.frame("P.", 4201, pattern(1, 100, 4200))
    fills = [flow.frame("P.", 301 + 400 * number, pattern(1, 100, 300 + 400 * number)) for number in range(9)]
    acks = told(flow.bench.deliver(new, *fills))
    assert [ack[0] for ack in acks] == [21, *range(1, 18, 2)]


def test_an_ack_for_each_duplicate() -> None:
    """RFC 2883 section 4 is about the segment just received: of a batch of them each is told, below the ACK and above."""
    flow = Bench().established(options=PLAIN)
    flow.send("P.", 1, pattern(1, 300))
    islands(flow, 3)
    frames = [flow.frame("P.", start, pattern(1, 100, start - 1)) for start in (1, 101, 201, 401)]
    acks = flow.bench.deliver(*frames)
    blocks = [[tuple((edge - GUEST_ISN) % 2**32 for edge in block) for block in ack.options.sack] for ack in acks]
    assert [block[0] for block in blocks] == [(1, 101), (101, 201), (201, 301), (401, 501)]
    assert blocks[3][1] == (401, 501)
    assert flow.bench.core._unsound() == []


def test_islands_and_duplicates_are_told_of_before_data_carry_the_ack() -> None:
    flow = Bench().established(options=PLAIN)
    flow.bench.core.stream_write(flow.handle, bytes(100))
    acks = islands(flow, 3)
    assert [len(ack.payload) for ack in acks] == [0, 0, 100]
    assert [ack[0] for ack in told(acks)] == [1, 2, 3]


def test_the_next_batch_begins_anew() -> None:
    flow = Bench().established(options=PLAIN)
    islands(flow, 6)
    assert len(flow.send("P.", 2001, pattern(1, 100, 2000))) == 1
