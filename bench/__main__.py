"""`python -m bench`: measure in turn, round by round, so that ratios between columns hold on a noisy machine.

Needs iperf3, iproute2, util-linux and gcc, and the right to make network namespaces.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench.loads import LOADS, USUAL
from bench.namespace import Missing, Namespace
from bench.peers import Peer, Running, present, version
from bench.report import Results, plot, table, write_json


def words(text: str) -> list[str]:
    """A list with commas."""
    return [word for word in text.split(",") if word]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0] if __doc__ else "")
    add = parser.add_argument
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=3, help="of each measurement")
    add("--only", type=words, default=[], metavar="PEER,...")
    add("--mtu", type=lambda text: [int(word) for word in words(text)], default=[1500, 65520], metavar="N,...")
    add("--loads", type=words, default=list(USUAL), metavar="LOAD,...", help=", ".join(LOADS))
    add("--out", type=Path, default=Path("build/bench"), metavar="FOLDER", help="where results.json and results.png go")
    options = parser.parse_args(argv)
    unknown = [name for name in options.loads if name not in LOADS]
    if unknown:
        parser.error(f"--loads={','.join(unknown)}: there are {', '.join(LOADS)}")
    return options


def measure(results: Results, peer: Peer, mtu: int, loads: list[str], folder: Path) -> None:
    """One round of one peer: a namespace of its own, all loads in it."""
    try:
        with Namespace() as guest, Running(peer, guest, mtu, folder) as running:
            for name in loads:
                figures = LOADS[name].measure(running, guest, results.seconds)
                results.add(mtu, name, peer.name, figures)
                shown = ", ".join(f"{figure} {value:.4g}" for figure, value in figures.items())
                print(f"MTU {mtu} {peer.name} {name}: {shown}", file=sys.stderr, flush=True)
    except (OSError, RuntimeError) as error:
        print(f"MTU {mtu} {peer.name}: {error}", file=sys.stderr)


def main() -> int:
    """Measure, and say what was found."""
    options = parse()
    peers = [peer for peer in present() if not options.only or peer.name in options.only]
    results = Results({peer.name: version(peer) for peer in peers}, options.rounds, options.seconds)
    try:
        with tempfile.TemporaryDirectory(prefix="bench") as folder:
            for mtu in options.mtu:
                for _ in range(options.rounds):
                    for peer in peers:
                        measure(results, peer, mtu, options.loads, Path(folder))
    except Missing as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(results))
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(results, options.out / "results.json")
    if not plot(results, options.out / "results.png"):
        print("No plot: pip install 'pyslirp[bench]' brings matplotlib.", file=sys.stderr)
    print(f"{options.out}/results.json", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
