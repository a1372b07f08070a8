"""`python -m bench.wan`: the goodput of one stream over bad links, as a share of plain Linux to plain Linux (`make wan`).

The guest is a network namespace, the link tests/interop/rig/wan.c, between the guest and pyslirp with each of its
congestion controls, passt where it is on PATH, or a second namespace: `linux` with this machine's own congestion control,
`linux-cubic` with CUBIC.  Every byte is compared.  Upwards the guest's Linux is the sender, and `congestion=` nothing.

Needs iproute2, util-linux, busybox-static, gcc, and the right to make network namespaces.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest  # by way of which the rig says that something is missing

from bench.__main__ import words
from bench.peers import Peer, present, version
from bench.report import Results
from pyslirp.config.network import CONGESTION
from tests.interop.rig.namespace import closing_sockets
from tests.interop.rig.topology import Topology
from tests.interop.rig.wan import (
    WAYS,
    Broken,
    Impairment,
    Road,
    carry,
    guest_of_linux,
    guest_of_pyslirp,
    guest_of_stream,
)

MTU = 1500
REFERENCE = "linux"
LINKS = (
    "loss=0 delay_ms=0",
    "loss=0 delay_ms=10",
    "loss=0.001 delay_ms=10",
    "loss=0.01 delay_ms=10",
    "loss=0.05 delay_ms=10",
    "loss=0 delay_ms=50",
    "loss=0.01 delay_ms=50",
    "loss=0 delay_ms=10 jitter_ms=5",
    "loss=0.01 delay_ms=10 jitter_ms=2 dup=0.01",
)
Column = Callable[[Topology, Path, Impairment], AbstractContextManager[Road]]


@contextmanager
def guest_of_passt(topology: Topology, folder: Path, impairment: Impairment, peer: Peer) -> Iterator[Road]:
    """A guest of passt."""
    path = folder / "passt.sock"
    path.unlink(missing_ok=True)
    process = topology.host.start(peer.name, peer.argv.format(mtu=MTU, socket=path).split(), folder)
    try:
        last = time.monotonic() + 10
        while not path.exists():
            if not process.alive() or time.monotonic() > last:
                raise Broken(f"passt does not start: {process.text()}")
            time.sleep(0.02)
        with guest_of_stream(topology, folder, impairment, path) as road:
            yield road
    finally:
        process.stop()


def columns() -> dict[str, Column]:
    """Who is compared."""
    made: dict[str, Column] = {REFERENCE: guest_of_linux, f"{REFERENCE}-cubic": guest_of_linux}
    made |= {f"pyslirp-{name}": partial(guest_of_pyslirp, options=[f"congestion={name}"]) for name in CONGESTION}
    return made | {peer.name: partial(guest_of_passt, peer=peer) for peer in present() if peer.name == "passt"}


def parse(known: list[str], argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.wan", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=1, help="each with a seed of its own")
    add("--seconds", type=float, default=4, help="of each stream, and what it then takes to arrive")
    add("--only", type=words, default=known, metavar="COLUMN,...", help=", ".join(known))
    add("--ways", type=words, default=list(WAYS), metavar="up,down")
    add("--links", type=lambda text: text.split(";"), default=list(LINKS), metavar="LINK;...", help="; ".join(LINKS))
    add("--out", type=Path, default=Path("build/bench"), metavar="FOLDER", help="where wan.json goes")
    options = parser.parse_args(argv)
    for name, given, possible in (("--only", options.only, known), ("--ways", options.ways, list(WAYS))):
        if unknown := [word for word in given if word not in possible]:
            parser.error(f"{name}={','.join(unknown)}: there are {', '.join(possible)}")
    try:
        options.links = [Impairment.parse(text) for text in options.links]
    except ValueError as error:
        parser.error(f"--links: {error}")
    return options


def goodput(column: Column, topology: Topology, link: Impairment, way: str, congestion: str, seconds: float) -> float:
    """One stream, in Mbit/s; 0 where it has not come through, which is told."""
    with tempfile.TemporaryDirectory(prefix="wan") as folder, closing_sockets():
        try:
            with column(topology, Path(folder), link) as road:
                return carry(*road.connect(way, congestion), seconds)
        except (AssertionError, OSError) as error:
            print(f"{link} {way}: {error}", file=sys.stderr)
            return 0.0


def line(results: Results, row: str) -> str:
    """A row of the table: medians, and their share of the reference; "broke" where a round has not come through."""
    reference = results.median((MTU, row), REFERENCE, "mbps")
    cells = [row.ljust(50)]
    for name in results.versions:
        rounds = results.found[MTU, row].get(name, {}).get("mbps", [])
        middle = results.median((MTU, row), name, "mbps") or 0.0
        share = f" ({middle / reference:.2f}x)" if reference else ""
        cells.append(f"{middle:.1f}{share}" if all(rounds) and rounds else "broke")
    return "".join([cells[0], *(cell.rjust(18) for cell in cells[1:])])


def write_json(results: Results, path: Path) -> None:
    """Every figure of every round."""
    found = [
        {"link": row, "mbps": {name: figures["mbps"] for name, figures in cell.items()}}
        for (_, row), cell in results.found.items()
    ]
    whole = {"machine": results.machine(), "versions": results.versions, "seconds": results.seconds, "found": found}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n")


def told(name: str) -> str:
    """What a column is, in a line."""
    if name == REFERENCE:
        return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    if name.startswith(REFERENCE):
        return name.partition("-")[2]
    return version(Peer(name, name))


def main() -> int:
    """Measure, and say what was found; 1 where a stream of pyslirp's has not come through."""
    known = columns()
    options = parse(list(known))
    results = Results({name: told(name) for name in options.only}, options.rounds, options.seconds)
    print("link".ljust(50) + "".join(name.rjust(18) for name in options.only), flush=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="wan") as folder,
            closing(Topology(Path(folder), may_ping=False)) as topology,
        ):
            for link in options.links:
                for way in options.ways:
                    for seed in range(1, options.rounds + 1):
                        for name in options.only:
                            seeded = Impairment.parse(f"{link} seed={seed}")
                            own = name.partition("-")[2] if name.startswith(REFERENCE) else ""
                            mbps = goodput(known[name], topology, seeded, way, own, options.seconds)
                            results.add(MTU, f"{link} {way}", name, {"mbps": mbps})
                    print(line(results, f"{link} {way}"), flush=True)
    except pytest.skip.Exception as missing:
        print(f"wan: {missing}", file=sys.stderr)
        return 1
    for name, what in results.versions.items():
        print(f"{name}: {what}")
    write_json(results, options.out / "wan.json")
    print(f"{options.out}/wan.json", file=sys.stderr)
    ours = [cell[name]["mbps"] for cell in results.found.values() for name in cell if name.startswith("pyslirp")]
    return 0 if all(all(rounds) for rounds in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
