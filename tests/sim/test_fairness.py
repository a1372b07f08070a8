"""Streams that share a link: of one congestion control, and BBR beside CUBIC; as snapshots with bounds (see tables.py)."""

from __future__ import annotations

from statistics import mean

import pytest

from pyslirp.config.network import CONGESTION
from tests.sim.pair import Pair
from tests.sim.tables import compare, jain, link, share, table

NARROW = 10_000_000  #: bits a second
SECONDS = 15
RTTS_MS = (10, 40)
QUEUES_BDP = (0.5, 1, 2, 8)
ABOUT = (0.95, 1.0, 1.05)  #: of the RTT, whose mean a cell is: where a pipe holds a segment or two for each, one run is chance
#: What Jain's index may fall to.  BBR's streams agree only while they look for the shortest RTT together, every ten seconds.
LEAST_FAIR = {"reno": 0.9, "cubic": 0.85, "bbr": 0.75}


def bdp(rate: int, rtt_ms: float) -> float:
    """Bytes that are under way when the link is full and its queue empty."""
    return rate / 8 * rtt_ms / 1000


def fairness(congestion: str, flows: int, rtt_ms: float, rate: int, queue_bdp: float = 1.0) -> float:
    queue = max(16_000, round(queue_bdp * bdp(rate, rtt_ms)))
    pair = Pair(1, there=link(rtt_ms, queue=queue, rate=rate), audit=False)
    return jain(share(pair, [congestion] * flows, rate, SECONDS))


def fairness_table(congestion: str, name: str, rate: int, counts: tuple[int, ...], least: float) -> None:
    """The snapshot, and the bound."""
    found: list[float] = []

    def cell(row: int, column: int) -> float:
        found.append(mean(fairness(congestion, counts[row], RTTS_MS[column] * about, rate) for about in ABOUT))
        return found[-1]

    text = table(
        f"Jain's index of {congestion} streams that share {rate // 1_000_000} Mbit/s for {SECONDS} s, a BDP of queue, MTU 1500",
        "flows / RTT",
        [str(count) for count in counts],
        [f"{rtt} ms" for rtt in RTTS_MS],
        cell,
    )
    compare(f"{congestion}/{name}", text)
    assert min(found) >= least


@pytest.mark.bulk
@pytest.mark.timeout(600)
@pytest.mark.parametrize("congestion", CONGESTION)
def test_fairness(congestion: str) -> None:
    fairness_table(congestion, "fairness", NARROW, (2, 5, 10), LEAST_FAIR[congestion])


def bbr_beside_cubic(rate: int, each: int, rtt_ms: float, queue_bdp: float) -> float:
    """The share of BBR, where half of the streams are of either."""
    pair = Pair(1, there=link(rtt_ms, queue=max(16_000, round(queue_bdp * bdp(rate, rtt_ms))), rate=rate), audit=False)
    got = share(pair, ["bbr"] * each + ["cubic"] * each, rate, SECONDS)
    return sum(got[:each]) / sum(got)


def beside_table(name: str, rate: int, each: int) -> list[list[float]]:
    """The snapshot; by queue and RTT, what BBR has."""
    found: list[list[float]] = [[0.0] * len(RTTS_MS) for _ in QUEUES_BDP]

    def cell(row: int, column: int) -> float:
        found[row][column] = bbr_beside_cubic(rate, each, RTTS_MS[column], QUEUES_BDP[row])
        return found[row][column]

    streams = "one stream" if each == 1 else f"{each} streams"
    text = table(
        f"BBR's share of {rate // 1_000_000} Mbit/s, {streams} of BBR and as many of CUBIC for {SECONDS} s, MTU 1500",
        "BDP / RTT",
        [f"{queue:g}" for queue in QUEUES_BDP],
        [f"{rtt} ms" for rtt in RTTS_MS],
        cell,
    )
    compare(name, text)
    return found


def check_beside(found: list[list[float]]) -> None:
    """What is known of the two (Hock, Bless, Zitterbart 2017), and neither starves.

    Where the queue is short BBR has more, since it does not take each loss for congestion; where it is long CUBIC fills it,
    and BBR holds to its two BDPs in flight.
    """
    shares = [one for row in found for one in row]
    assert min(shares) >= 0.04
    assert max(shares) <= 0.96
    for short, *_, long in zip(*found, strict=True):
        assert short > 0.5 > long


@pytest.mark.bulk
@pytest.mark.timeout(600)
def test_bbr_beside_cubic() -> None:
    check_beside(beside_table("bbr_beside_cubic", NARROW, 1))
