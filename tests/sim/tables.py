"""Throughput in the simulator, as tables that are kept: a changed algorithm shows as changed numbers, to be looked at.

Virtual time makes them exact: the same on every machine.  PYSLIRP_SNAPSHOTS=update writes them anew; review the
difference like code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

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
SEEDS = (1, 2)


def megabits(pair: Pair, *, up: bool = False) -> float:
    """Goodput of AMOUNT bytes over the pair's link, from the SYN to the last byte read, in Mbit/s."""
    sender, receiver = Transfer(DATA), Transfer()
    pair.connect(sender if up else receiver, receiver if up else sender)
    began = pair.world.now
    assert pair.world.run_until(lambda: len(receiver.received) == AMOUNT, 3600 * SECOND_NS)
    assert bytes(receiver.received) == DATA
    return AMOUNT * 8e3 / (pair.world.now - began)


def link(rtt_ms: float, loss: float = 0.0, queue: int = QUEUE, rate: int = RATE) -> Impairments:
    return Impairments(Pipe(delay_ns=round(rtt_ms * MILLISECOND_NS / 2), rate_bits=rate, queue_bytes=queue), loss=loss)


def mean(mtu: int, there: Impairments, congestion: str, *, up: bool = False) -> float:
    """Over the seeds; loss is on the way of the data, and half as likely on the way back."""
    back = replace(there, loss=there.loss / 2)
    ways = (back, there) if up else (there, back)
    total = 0.0
    seeds = SEEDS if there.loss else SEEDS[:1]
    for seed in seeds:
        pair = Pair(seed, mtu=mtu, there=ways[0], back=ways[1], audit=False, congestion=congestion)
        total += megabits(pair, up=up)
    return total / len(seeds)


def share(pair: Pair, congestions: Sequence[str], rate: int, seconds: int) -> list[int]:
    """What streams to the guest have received, each of a congestion control, that begin together and share the pair's link
    of that rate."""
    readers = [Transfer(finish=False) for _ in congestions]
    data = bytes(rate // 8 * (seconds + 10))
    for number, (reader, congestion) in enumerate(zip(readers, congestions, strict=True)):
        pair.gateway.core.set_congestion(congestion)
        pair.connect(reader, Transfer(data), 8000 + number)
        assert pair.world.run_until(lambda reader=reader: bool(reader.received), 10 * SECOND_NS)  # type: ignore[misc]
    before = [len(reader.received) for reader in readers]
    pair.world.run_for(seconds * SECOND_NS)
    return [len(reader.received) - count for reader, count in zip(readers, before, strict=True)]


def jain(amounts: Sequence[int]) -> float:
    """Jain's index of fairness: 1 where all have the same, 1/n where one has all."""
    return sum(amounts) ** 2 / (len(amounts) * sum(amount * amount for amount in amounts))


def table(title: str, corner: str, rows: list[str], columns: list[str], cell: Callable[[int, int], float]) -> str:
    lines = [title, "", f"{corner:>10} |" + "".join(f"{name:>9}" for name in columns)]
    lines.append("-" * 11 + "+" + "-" * 9 * len(columns))
    for row, name in enumerate(rows):
        lines.append(f"{name:>10} |" + "".join(f"{cell(row, column):9.2f}" for column in range(len(columns))))
    return "\n".join(lines) + "\n"


def compare(name: str, text: str) -> None:
    path = FOLDER / f"{name}.txt"
    if UPDATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.is_file(), f"no snapshot {name}.txt: PYSLIRP_SNAPSHOTS=update makes it"
    assert text == path.read_text(), f"{name}.txt has changed; PYSLIRP_SNAPSHOTS=update accepts it"
