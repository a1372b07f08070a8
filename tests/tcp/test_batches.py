"""The ACKs at the end of a batch with many holes (RFC 2018 section 4)."""

from __future__ import annotations

import pytest

from pyslirp.sim.apps import pattern
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


@pytest.mark.parametrize(
    ("count", "acks"),
    [
        (1, [[1]]),
        (2, [[1, 2], [2, 1]]),
        (5, [[1, 2, 3, 4], [2, 1, 3, 4], [3, 2, 1, 4], [4, 3, 2, 1], [5, 4, 3, 2]]),
        (
            20,
            [
                *([13, 1, 2, 3], [14, 13, 1, 2], [15, 14, 13, 1], [16, 15, 14, 13]),
                *([17, 16, 15, 14], [18, 17, 16, 15], [19, 18, 17, 16], [20, 19, 18, 17]),
            ],
        ),
    ],
)
def test_an_ack_for_each_of_the_last_eight_islands(count: int, acks: list[list[int]]) -> None:
    """As if they had come one by one, so that no lost ACK hides an island: a sender that learns of it only by the
    cumulative ACK has sent it again for nothing, and takes the path for one that reorders."""
    flow = Bench().established(options=PLAIN)
    assert told(islands(flow, count)) == acks
    assert flow.bench.core._unsound() == []


def test_the_next_batch_begins_anew() -> None:
    flow = Bench().established(options=PLAIN)
    islands(flow, 6)
    assert len(flow.send("P.", 2001, pattern(1, 100, 2000))) == 1
