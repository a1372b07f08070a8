"""What one ACK at the end of a batch has no room for: the islands of a batch with many holes (RFC 2018 section 4)."""

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
    ("count", "expected"),
    [
        (1, [[1]]),
        (4, [[4, 3, 2, 1]]),
        (5, [[4, 3, 2, 1], [5, 4, 3, 2]]),
        (8, [[4, 3, 2, 1], [8, 7, 6, 5]]),
        (20, [[16, 15, 14, 13], [20, 19, 18, 17]]),
    ],
)
def test_as_many_acks_as_tell_of_the_last_eight_islands(count: int, expected: list[list[int]]) -> None:
    flow = Bench().established(options=PLAIN)
    assert told(islands(flow, count)) == expected
    assert flow.bench.core._unsound() == []


def test_the_next_batch_begins_anew() -> None:
    flow = Bench().established(options=PLAIN)
    islands(flow, 6)
    assert len(flow.send("P.", 2001, pattern(1, 100, 2000))) == 1
