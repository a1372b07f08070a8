"""A router that marks (RFC 3168), beside one that drops (see tables.py)."""

from __future__ import annotations

from dataclasses import replace

from pyslirp.sim.clock import MILLISECOND_NS
from pyslirp.sim.faults import Impairments
from pyslirp.sim.link import Pipe, Wire
from tests.sim.pair import Pair
from tests.sim.tables import AMOUNT, RATE, compare, megabits, table

RTTS_MS = (1, 10, 50)
SHORT = 64 << 10


def megabits_of_a_short_queue(congestion: str, rtt_ms: int, ecn: bool) -> float:
    """Down, where a queue of SHORT bytes drops what is more; or a router marks what waits behind so much, and drops nothing."""
    delay = Pipe(delay_ns=rtt_ms * MILLISECOND_NS // 2)
    drops = replace(delay, rate_bits=RATE, queue_bytes=SHORT)
    marks = replace(drops, queue_bytes=16 * SHORT, mark_bytes=SHORT)
    there, back = Impairments(marks if ecn else drops), Impairments(delay)
    pair = Pair(1, there=there, back=back, congestion=congestion, ecn=ecn)
    goodput = megabits(pair)
    wire = pair.link.to_b
    while not isinstance(wire, Wire):
        wire = wire.path  # type: ignore[attr-defined]
    counters = pair.gateway.core.counters()
    if ecn:
        assert wire.dropped == counters["tcp.retransmit"] == 0
        assert 0 < counters["tcp.ecn_reduced"] < wire.marked, "once a window, and not for every mark"
        assert wire.longest < 4 * SHORT, "slow start goes on for a round trip"
    else:
        assert wire.dropped == counters["tcp.retransmit"] > 0, "the same without marks loses"
        assert counters["tcp.ecn_reduced"] == wire.marked == 0
    return goodput


def test_marks() -> None:
    """RFC 3168: the window comes down without a loss, and the flow is hardly slower, if at all, than one that loses."""
    kinds = [(congestion, ecn) for congestion in ("reno", "cubic") for ecn in (False, True)]
    rates = [[megabits_of_a_short_queue(congestion, rtt, ecn) for rtt in RTTS_MS] for congestion, ecn in kinds]
    for dropped, marked in (rates[:2], rates[2:]):
        assert all(one >= 0.95 * other for one, other in zip(marked, dropped, strict=True))
    text = table(
        f"Mbit/s down over 100 Mbit/s, MTU 1500, what waits behind {SHORT >> 10} KiB dropped or marked, {AMOUNT // 1_000_000} MB",
        "kind / RTT",
        [f"{congestion} {'ECN' if ecn else ''}".rstrip() for congestion, ecn in kinds],
        [f"{rtt} ms" for rtt in RTTS_MS],
        lambda row, column: rates[row][column],
    )
    compare("marks", text)
