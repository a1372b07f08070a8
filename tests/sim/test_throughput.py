"""One stream over loss x RTT and queue x RTT, for each congestion control, as snapshots (see tables.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyslirp.config.network import CONGESTION
from tests.sim import tables
from tests.sim.tables import AMOUNT, QUEUE, SEEDS, compare, link, mean, table

LOSSES = (0.0, 0.001, 0.01, 0.03)
RTTS_MS = (1, 10, 50, 200)
QUEUES_KIB = (16, 64, 256, 1024)
MILLIONS = AMOUNT // 1_000_000


def loss_and_rtt(congestion: str, way: str, mtu: int) -> None:
    text = table(
        f"Mbit/s {way} over 100 Mbit/s by {congestion}, MTU {mtu}, {QUEUE >> 10} KiB of queue, {MILLIONS} MB, {len(SEEDS)} seeds",
        "loss / RTT",
        [f"{100 * loss:g} %" for loss in LOSSES],
        [f"{rtt} ms" for rtt in RTTS_MS],
        lambda row, column: mean(mtu, link(RTTS_MS[column], LOSSES[row]), congestion, up=way == "up"),
    )
    compare(f"{congestion}/loss_rtt_{way}_{mtu}", text)


@pytest.mark.bulk
@pytest.mark.parametrize("congestion", CONGESTION)
def test_loss_and_rtt(congestion: str) -> None:
    loss_and_rtt(congestion, "down", 1500)


@pytest.mark.bulk
@pytest.mark.parametrize(("way", "mtu"), [("up", 1500), ("down", 65520), ("up", 65520)])
def test_loss_and_rtt_otherwise(way: str, mtu: int) -> None:
    loss_and_rtt("bbr", way, mtu)


@pytest.mark.parametrize("congestion", CONGESTION)
@pytest.mark.parametrize("queue_kib", [128, 256, 512])
def test_a_queue_of_a_few_segments_costs_no_timeout(queue_kib: int, congestion: str) -> None:
    """Segments of 64 KiB, of which the queue takes two, four, eight: each burst loses some, and their repetitions too.

    What shows that (RFC 8985) is what is sent behind them: a writer must be asked for more while a hole is open.
    """
    assert mean(65520, link(1, queue=queue_kib << 10), congestion) > 70


@pytest.mark.long
@pytest.mark.parametrize(("way", "mtu"), [("up", 1500), ("down", 65520), ("up", 65520)])
@pytest.mark.parametrize("congestion", [name for name in CONGESTION if name != "bbr"])
def test_loss_and_rtt_otherwise_by_others(congestion: str, way: str, mtu: int) -> None:
    loss_and_rtt(congestion, way, mtu)


@pytest.mark.bulk
@pytest.mark.parametrize("congestion", CONGESTION)
def test_queue_and_rtt(congestion: str) -> None:
    text = table(
        f"Mbit/s down over 100 Mbit/s by {congestion}, MTU 1500, no loss but of full queues, {MILLIONS} MB",
        "KiB / RTT",
        [f"{queue}" for queue in QUEUES_KIB],
        [f"{rtt} ms" for rtt in RTTS_MS],
        lambda row, column: mean(1500, link(RTTS_MS[column], queue=QUEUES_KIB[row] << 10), congestion),
    )
    compare(f"{congestion}/queue_rtt", text)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("congestion", CONGESTION)
@pytest.mark.parametrize("rtt_ms", [10, 50])
def test_loss_and_queue(rtt_ms: int, congestion: str) -> None:
    text = table(
        f"Mbit/s down over 100 Mbit/s by {congestion}, MTU 1500, RTT {rtt_ms} ms, {MILLIONS} MB, mean of {len(SEEDS)}",
        "loss / KiB",
        [f"{100 * loss:g} %" for loss in LOSSES],
        [f"{queue}" for queue in QUEUES_KIB],
        lambda row, column: mean(1500, link(rtt_ms, LOSSES[row], QUEUES_KIB[column] << 10), congestion),
    )
    compare(f"{congestion}/loss_queue_{rtt_ms}ms", text)


def test_a_snapshot_that_differs_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    monkeypatch.setattr(tables, "UPDATE", False)
    (tmp_path / "kept.txt").write_text("1\n")
    compare("kept", "1\n")
    with pytest.raises(AssertionError, match="has changed"):
        compare("kept", "2\n")
    with pytest.raises(AssertionError, match="no snapshot"):
        compare("missing", "2\n")
