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
from pyslirp.sim.link import Pipe
from tests.sim.pair import Pair

FOLDER = Path(__file__).with_name("snapshots")
UPDATE = os.environ.get("PYSLIRP_SNAPSHOTS") == "update"
RATE = 100_000_000  #: bits a second
QUEUE = 256 << 10  #: bytes in front of the rate
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
