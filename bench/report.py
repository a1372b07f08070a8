"""The results: a table for people, JSON for programs, and a plot where matplotlib is there (extra `bench`)."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.loads import LOADS

#: (mtu, load) -> peer -> figure -> what each round has found
Found = dict[tuple[int, str], dict[str, dict[str, list[float]]]]


@dataclass
class Results:
    """All rounds of one call."""

    versions: dict[str, str]  #: by peer, in the order of the columns
    rounds: int
    seconds: float
    found: Found = field(default_factory=dict)

    def add(self, mtu: int, load: str, peer: str, figures: dict[str, float]) -> None:
        """What one round has found."""
        cell = self.found.setdefault((mtu, load), {}).setdefault(peer, {})
        for name, value in figures.items():
            cell.setdefault(name, []).append(value)

    def median(self, row: tuple[int, str], peer: str, figure: str) -> float | None:
        """Of all rounds; None where there is nothing."""
        values = self.found[row].get(peer, {}).get(figure)
        return statistics.median(values) if values else None

    def spread(self, row: tuple[int, str], peer: str, figure: str) -> float:
        """From the least to the most, in percent of the median."""
        values = self.found[row].get(peer, {}).get(figure) or [0.0]
        middle = statistics.median(values)
        return (max(values) - min(values)) / middle * 100 if middle else 0.0

    def machine(self) -> dict[str, Any]:
        """Where it was measured."""
        return {"kernel": platform.release(), "machine": platform.machine(), "cpus": os.cpu_count(), "processor": _processor()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "?"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


def table(results: Results) -> str:
    """Medians, another figure in parentheses, the spread of the rounds behind +-."""
    head = ["MTU load", *results.versions]
    rows = [head, ["---", *["---:"] * len(results.versions)]]
    for row in results.found:
        mtu, name = row
        load = LOADS[name]
        cells = [f"{mtu} {name}, {load.unit} ({load.more})"]
        for peer in results.versions:
            middle, more = results.median(row, peer, load.figure), results.median(row, peer, load.more)
            text = "-" if middle is None else f"{middle:.0f}"
            text += "" if more is None else f" ({more:.3g})"
            text += f" +-{results.spread(row, peer, load.figure):.0f}%" if results.rounds > 1 and middle else ""
            cells.append(text)
        rows.append(cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    where = results.machine()
    lines.append("")
    how = f"{results.rounds} rounds of {results.seconds:g} s, medians"
    lines.append(f"{how}; {where['cpus']} x {where['processor']}, Linux {where['kernel']}")
    lines += [f"{peer}: {version}" for peer, version in results.versions.items()]
    return "\n".join(lines)


def write_json(results: Results, path: Path) -> None:
    """Every figure of every round."""
    found = [
        {"mtu": mtu, "load": name, "unit": LOADS[name].unit, "figure": LOADS[name].figure, "peers": peers}
        for (mtu, name), peers in results.found.items()
    ]
    whole = {
        "machine": results.machine(),
        "versions": results.versions,
        "rounds": results.rounds,
        "seconds": results.seconds,
        "found": found,
    }
    path.write_text(json.dumps(whole, indent=1) + "\n")


def plot(results: Results, path: Path) -> bool:
    """A picture with a panel for each row; False where there is no matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = list(results.found)
    columns = min(3, len(rows))
    height = -(-len(rows) // columns)
    figure, panels = plt.subplots(height, columns, figsize=(5 * columns, 2.6 * height), squeeze=False)
    for panel in panels.flat[len(rows) :]:
        panel.axis("off")
    for panel, row in zip(panels.flat, rows, strict=False):
        load = LOADS[row[1]]
        values = [(peer, results.median(row, peer, load.figure)) for peer in results.versions]
        shown = [(peer, value) for peer, value in values if value is not None][::-1]
        colours = ["tab:blue" if peer.startswith("pyslirp") else "tab:gray" for peer, _ in shown]
        panel.barh([peer for peer, _ in shown], [value for _, value in shown], color=colours)
        panel.set_title(f"MTU {row[0]}: {row[1]}, {load.unit}" + (" (less is better)" if load.less_is_better else ""))
    where = results.machine()
    figure.suptitle(f"{results.rounds} rounds of {results.seconds:g} s, medians; {where['cpus']} CPUs, Linux {where['kernel']}")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    return True
