"""Throughput in the simulator, as tables that are kept: a changed algorithm shows as changed numbers, to be looked at.

Virtual time makes them exact: the same on every machine.  PYSLIRP_SNAPSHOTS=update writes them anew; review the
difference like code.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pyslirp.sim.apps import Transfer, pattern
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.faults import Impairments
from pyslirp.sim.link import Pipe, Wire
from tests.sim.pair import Pair

FOLDER = Path(__file__).with_name("snapshots")
UPDATE = os.environ.get("PYSLIRP_SNAPSHOTS") == "update"
RATE = 100_000_000  #: bits a second
QUEUE = 256 << 10  #: bytes in front of the rate
SHORT = 64 << 10
AMOUNT = 3_000_000
DATA = pattern(1, AMOUNT)
SEEDS = (1, 2, 3)
LOSSES = (0.0, 0.001, 0.01, 0.03)
RTTS_MS = (1, 10, 50, 200)


def megabits(pair: Pair, *, up: bool = False) -> float:
    """Goodput of AMOUNT bytes over the pair's link, from the SYN to the last byte read, in Mbit/s."""
    sender, receiver = Transfer(DATA), Transfer()
    pair.connect(sender if up else receiver, receiver if up else sender)
    began = pair.world.now
    assert pair.world.run_until(lambda: len(receiver.received) == AMOUNT, 3600 * SECOND_NS)
    assert bytes(receiver.received) == DATA
    return AMOUNT * 8e3 / (pair.world.now - began)


def link(rtt_ms: float, loss: float = 0.0, queue: int = QUEUE) -> Impairments:
    return Impairments(Pipe(delay_ns=round(rtt_ms * MILLISECOND_NS / 2), rate_bits=RATE, queue_bytes=queue), loss=loss)


def mean(mtu: int, there: Impairments, *, up: bool = False) -> float:
    """Over the seeds; loss is on the way of the data, and half as likely on the way back."""
    back = replace(there, loss=there.loss / 2)
    ways = (back, there) if up else (there, back)
    seeds = SEEDS if there.loss else SEEDS[:1]
    total = sum(megabits(Pair(seed, mtu=mtu, there=ways[0], back=ways[1], audit=False), up=up) for seed in seeds)
    return total / len(seeds)


def table(title: str, corner: str, rows: list[str], columns: list[str], cell: Callable[[int, int], float]) -> str:
    lines = [title, "", f"{corner:>10} |" + "".join(f"{name:>9}" for name in columns)]
    lines.append("-" * 11 + "+" + "-" * 9 * len(columns))
    for row, name in enumerate(rows):
        lines.append(f"{name:>10} |" + "".join(f"{cell(row, column):9.2f}" for column in range(len(columns))))
    return "\n".join(lines) + "\n"


def compare(name: str, text: str) -> None:
    path = FOLDER / f"{name}.txt"
    if UPDATE:
        path.write_text(text)
    assert path.is_file(), f"no snapshot {path.name}: PYSLIRP_SNAPSHOTS=update makes it"
    assert text == path.read_text(), f"{path.name} has changed; PYSLIRP_SNAPSHOTS=update accepts it"


@pytest.mark.parametrize("mtu", [1500, 65520])
@pytest.mark.parametrize("way", ["down", "up"])
def test_loss_and_rtt(way: str, mtu: int) -> None:
    text = table(
        f"Mbit/s {way} over 100 Mbit/s, MTU {mtu}, {QUEUE >> 10} KiB of queue, {AMOUNT // 1_000_000} MB, mean of {len(SEEDS)}",
        "loss / RTT",
        [f"{100 * loss:g} %" for loss in LOSSES],
        [f"{rtt} ms" for rtt in RTTS_MS],
        lambda row, column: mean(mtu, link(RTTS_MS[column], LOSSES[row]), up=way == "up"),
    )
    compare(f"loss_rtt_{way}_{mtu}", text)


def test_queue_and_rtt() -> None:
    queues = [16, 64, 256, 1024]
    text = table(
        f"Mbit/s down over 100 Mbit/s, MTU 1500, no loss but of full queues, {AMOUNT // 1_000_000} MB",
        "KiB / RTT",
        [f"{queue}" for queue in queues],
        [f"{rtt} ms" for rtt in RTTS_MS],
        lambda row, column: mean(1500, link(RTTS_MS[column], queue=queues[row] << 10)),
    )
    compare("queue_rtt", text)


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
        assert wire.longest < 3 * SHORT
    else:
        assert wire.dropped == counters["tcp.retransmit"] > 0, "the same without marks loses"
        assert counters["tcp.ecn_reduced"] == wire.marked == 0
    return goodput


def test_marks() -> None:
    """RFC 3168: the window comes down without a loss, and the flow is no slower than one that loses."""
    kinds = [(congestion, ecn) for congestion in ("reno", "cubic") for ecn in (False, True)]
    rtts = RTTS_MS[:3]
    rates = [[megabits_of_a_short_queue(congestion, rtt, ecn) for rtt in rtts] for congestion, ecn in kinds]
    for dropped, marked in (rates[:2], rates[2:]):
        assert all(one >= 0.98 * other for one, other in zip(marked, dropped, strict=True))
    text = table(
        f"Mbit/s down over 100 Mbit/s, MTU 1500, what waits behind {SHORT >> 10} KiB dropped or marked, {AMOUNT // 1_000_000} MB",
        "kind / RTT",
        [f"{congestion} {'ECN' if ecn else ''}".rstrip() for congestion, ecn in kinds],
        [f"{rtt} ms" for rtt in rtts],
        lambda row, column: rates[row][column],
    )
    compare("marks", text)


def fairness(flows: int, rtt_ms: float) -> float:
    """Jain's index of what `flows` streams that begin together have received after ten seconds: 1 is fair."""
    pair = Pair(1, there=link(rtt_ms), audit=False)
    readers = [Transfer(finish=False) for _ in range(flows)]
    data = pattern(2, 20_000_000)
    for number, reader in enumerate(readers):
        pair.connect(reader, Transfer(data), 8000 + number)
    pair.world.run_for(10 * SECOND_NS)
    got = [len(reader.received) for reader in readers]
    return sum(got) ** 2 / (flows * sum(amount * amount for amount in got))


@pytest.mark.timeout(600)  # ten flows, under a sanitizer
def test_fairness() -> None:
    counts, rtts = [2, 5, 10], [5, 20]
    text = table(
        "Jain's index of streams that share 100 Mbit/s for 10 s, MTU 1500",
        "flows / RTT",
        [str(count) for count in counts],
        [f"{rtt} ms" for rtt in rtts],
        lambda row, column: fairness(counts[row], rtts[column]),
    )
    compare("fairness", text)


def test_a_snapshot_that_differs_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.FOLDER", tmp_path)
    monkeypatch.setattr(f"{__name__}.UPDATE", False)
    (tmp_path / "kept.txt").write_text("1\n")
    compare("kept", "1\n")
    with pytest.raises(AssertionError, match="has changed"):
        compare("kept", "2\n")
    with pytest.raises(AssertionError, match="no snapshot"):
        compare("missing", "2\n")
