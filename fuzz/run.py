"""Run the fuzz targets: python -m fuzz.run [--seconds N] [--smoke] [TARGET...]

A target is a module fuzz/NAME.py whose docstring opens with "Invariant tested: ..." and that has

    def fuzz(data: bytes) -> Hashable | None: ...

It returns normally for every input; an exception, a crash or a hang breaks the invariant.  What it returns, if not
None, tells inputs apart (a status, a state, the counters that moved): one that shows a new value is mutated further.
Seeds are the files of fuzz/corpus/NAME/, words of the format stand in fuzz/dict/NAME.dict (optional).

An input that breaks a target is cut down and kept as fuzz/corpus/NAME/crash-...; it is a seed of every later run, and

    python -m fuzz.run --replay fuzz/corpus/NAME/crash-... NAME

runs it alone.  A run is repeated by the seed that it prints (`--seed N --runs M`).  Exit status: 0, 1 after a crash or
hang, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.engine import coverage_guided
from fuzz.engine.session import Limits, Session
from fuzz.engine.target import FOLDER, PACKAGE, Target, targets

SMOKE_SECONDS = 5.0
SMOKE_SEED = 1  # a verdict belongs to its commit


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m fuzz.run", description="Run the fuzz targets.")
    made.add_argument("targets", nargs="*", metavar="TARGET", help="those to run (default: all)")
    made.add_argument("--list", action="store_true", help="name the targets and end")
    made.add_argument("--seconds", type=float, default=60.0, help="for each target (default 60); 0: its seeds alone")
    made.add_argument("--smoke", action="store_true", help=f"{SMOKE_SECONDS:g} seconds each, from a fixed seed")
    made.add_argument("--runs", type=int, help="end after that many inputs, too")
    made.add_argument("--seed", type=int, help="repeat the run that printed this seed")
    made.add_argument(
        "--input-seconds", type=float, default=10.0, help="an input that takes longer is a hang (default 10)"
    )
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at a time (default: one a core)")
    made.add_argument("--replay", type=Path, metavar="FILE", help="run this one input through the target named")
    made.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True, help="put crashes into the corpus")
    made.add_argument("--engine", choices=("own", "atheris"), default="own", help="who makes the inputs")
    made.add_argument("--folder", type=Path, default=FOLDER, help=argparse.SUPPRESS)  # for the tests of the runner
    made.add_argument("--package", default=PACKAGE, help=argparse.SUPPRESS)
    return made


def run_one(target: Target, seed: int, limits: Limits, *, keep: bool) -> int:
    """Fuzz one target here; the exit status."""
    outcome = Session(target, seed, limits, keep=keep).run()
    rate = outcome.inputs / outcome.seconds if outcome.seconds else 0.0
    print(f"{target.name}: {outcome.inputs} inputs in {outcome.seconds:.1f} s ({rate:.0f}/s), ", end="")
    print(f"{outcome.kept} kept; seed {seed}")
    if outcome.crash is None:
        return 0
    crash = outcome.crash
    print(f"{target.name}: {crash.what}")
    print(f"  {len(crash.data)} bytes: {crash.data[:64]!r}{'...' if len(crash.data) > 64 else ''}")
    if crash.path is not None:
        print(f"  python -m fuzz.run --replay {crash.path} {target.name}")
    return 1


def run_all(names: Sequence[str], options: Sequence[str], jobs: int) -> int:
    """Fuzz each target in a process of its own, `jobs` at a time; the worst exit status."""

    def run(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fuzz.run", *options, name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )

    worst = 0
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        for done in pool.map(run, names):
            print(done.stdout, end="", flush=True)
            worst = max(worst, 1 if done.returncode else 0)
    return worst


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    made = parser()
    given = made.parse_args(arguments)
    known = targets(given.folder, given.package)
    names = given.targets or list(known)
    for name in names:
        if name not in known:
            made.error(f"no target {name}; there are: {', '.join(known) or 'none'}")
    if given.list:
        print(*known, sep="\n")
        return 0
    if given.replay is not None:
        if len(names) != 1:
            made.error("--replay wants the one target to run it through")
        what = Session(known[names[0]], 0, Limits(input_seconds=given.input_seconds)).replay(given.replay.read_bytes())
        print(f"{names[0]}: {what or 'the invariant holds'}")
        return 1 if what else 0
    seed = given.seed if given.seed is not None else SMOKE_SEED if given.smoke else secrets.randbits(32)
    seconds = SMOKE_SECONDS if given.smoke else given.seconds
    limits = Limits(seconds, given.runs, given.input_seconds)
    if len(names) == 1:
        if given.engine == "atheris":
            coverage_guided.run(known[names[0]], seed, limits)
        return run_one(known[names[0]], seed, limits, keep=given.keep)
    options = [
        f"--seed={seed}",
        f"--seconds={seconds}",
        f"--input-seconds={given.input_seconds}",
        f"--engine={given.engine}",
        f"--folder={given.folder}",
        f"--package={given.package}",
        "--keep" if given.keep else "--no-keep",
    ]
    return run_all(names, options + ([f"--runs={given.runs}"] if given.runs is not None else []), given.jobs)


if __name__ == "__main__":
    sys.exit(main())
