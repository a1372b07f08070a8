"""One target, run until its time is up or an input breaks it.

Theory.  The target is imported once, in the keeper.  The keeper forks a child that makes inputs and runs them; before
each, the child writes the input to memory that both share.  So whatever ends the child - an exception, a signal, a
sanitizer's report, a hang in C that no Python code could interrupt - the keeper knows the input, cuts it down by trying
shorter ones in further forks, and keeps what is left in the corpus, where it is a seed from then on.

Hangs.  A timer of the kernel (SIGALRM) is set for each input.  faulthandler prints where the code is and then lets the
signal do what it does by default: end the process.  That works inside C, with or without the GIL.

Guidance.  There is no coverage to follow.  But a target may return any hashable value (a status, the set of counters
that moved, a state): an input that shows a value not seen before joins the pool from which later inputs are made.
"""

from __future__ import annotations

import faulthandler
import hashlib
import mmap
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import NoReturn

from fuzz.engine.mutate import MAX_BYTES, Mutator
from fuzz.engine.target import CRASH, Target

POOL_LIMIT = 4096  #: inputs in the pool; beyond it a new one takes a random one's place
FEATURE_LIMIT = 100_000  #: values remembered; beyond it none is new
GROWTH_LIMIT_BYTES = 1 << 30  #: the process may grow by this much; a target that leaks fails
GROWTH_EVERY = 512  #: inputs between two looks at the process's size
SHRINK_TRIES = 400  #: shorter inputs tried for one crash
RAISED = 70  #: exit status of a child whose target has raised

_INPUT_ROOM = MAX_BYTES + 65_536  #: a seed may be longer than what mutations make
_SIGNATURE_ROOM = 512


@dataclass(frozen=True)
class Limits:
    """When a session ends, and what one input may take."""

    seconds: float = 60.0  #: for the whole session; 0: the seeds alone
    runs: int | None = None  #: inputs after the seeds; None: as many as there is time for
    input_seconds: float = 10.0  #: for one input; longer is a hang


@dataclass(frozen=True)
class Crash:
    """An input that broke the target."""

    what: str  #: exception and place, signal, or exit status
    data: bytes
    path: Path | None  #: where it is kept


@dataclass(frozen=True)
class Outcome:
    """How a session ended."""

    inputs: int
    kept: int  #: inputs that joined the pool
    seconds: float
    crash: Crash | None = None


class Shared:
    """Memory between the keeper and its children: counts, the input being run, what an exception was."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 32 + _INPUT_ROOM + _SIGNATURE_ROOM)

    def _number(self, index: int) -> int:
        return int.from_bytes(self._map[8 * index : 8 * index + 8], "little")

    def _set_number(self, index: int, value: int) -> None:
        self._map[8 * index : 8 * index + 8] = value.to_bytes(8, "little")

    @property
    def inputs(self) -> int:
        """How many have been run."""
        return self._number(0)

    @property
    def kept(self) -> int:
        """How many have joined the pool."""
        return self._number(1)

    @kept.setter
    def kept(self, value: int) -> None:
        self._set_number(1, value)

    @property
    def data(self) -> bytes:
        """The input being run, or the last one."""
        return self._map[32 : 32 + self._number(2)]

    def next(self, data: bytes) -> None:
        """Note that `data` is run now."""
        self._set_number(2, len(data))
        self._map[32 : 32 + len(data)] = data
        self._set_number(0, self.inputs + 1)

    @property
    def signature(self) -> str:
        """What the child's exception was; empty where it raised none."""
        return self._map[32 + _INPUT_ROOM :].rstrip(b"\0").decode(errors="replace")

    @signature.setter
    def signature(self, text: str) -> None:
        self._map[32 + _INPUT_ROOM :] = text.encode()[:_SIGNATURE_ROOM].ljust(_SIGNATURE_ROOM, b"\0")


def resident_bytes() -> int:
    """Memory that this process holds now (not at its worst, which getrusage would tell)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def signature_of(error: BaseException) -> str:
    """The kind of an exception and where it was raised: what makes two crashes the same."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"


def become_child(work: Callable[[], object], shared: Shared, *, quiet: bool) -> NoReturn:
    """Do `work` and end the process, RAISED where it raises."""
    status = 0
    try:
        if quiet:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.register(signal.SIGALRM, file=2, chain=True)
        if "asan" not in os.environ.get("LD_PRELOAD", ""):  # it has better reports of its own
            faulthandler.enable(file=2)
        work()
    except BaseException as error:  # noqa: BLE001 - every end of a target is a finding
        signal.setitimer(signal.ITIMER_REAL, 0)
        shared.signature = signature_of(error)
        traceback.print_exception(error)
        status = RAISED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class Session:
    """The keeper of one target."""

    def __init__(self, target: Target, seed: int, limits: Limits, *, keep: bool = True) -> None:
        """`seed` makes the run repeatable; `keep`: put a crash into the corpus."""
        self._target = target
        self._keep_crashes = keep
        self._function = target.load()
        self._limits = limits
        self._rng = Random(f"{seed}/{target.name}")
        self._shared = Shared()

    def run(self) -> Outcome:
        """Fuzz within the limits; the crash, if there was one, is in the corpus already."""
        began = time.monotonic()
        what = self._fork(partial(self._work, began), quiet=False)
        inputs, kept = self._shared.inputs, self._shared.kept
        crash = self._crash(what, self._shared.data) if what else None
        return Outcome(inputs, kept, time.monotonic() - began, crash)

    def replay(self, data: bytes) -> str | None:
        """Run one input in a fork; what went wrong, or None."""
        return self._fork(partial(self._one, data), quiet=False)

    # -- in the child ------------------------------------------------------------------------------------------------

    def _work(self, began: float) -> None:
        pool = [data[:_INPUT_ROOM] for _, data in self._target.seeds()] or [b""]
        seen: set[Hashable] = set()
        ceiling = resident_bytes() + GROWTH_LIMIT_BYTES
        for number, data in enumerate(self._inputs(pool, began)):
            shown = self._one(data)
            if shown is not None and shown not in seen and len(seen) < FEATURE_LIMIT:
                seen.add(shown)
                self._shared.kept += 1
                if len(pool) < POOL_LIMIT:
                    pool.append(data)
                else:
                    pool[self._rng.randrange(len(pool))] = data
            if number % GROWTH_EVERY == 0 and resident_bytes() > ceiling:
                raise MemoryError(f"the process has grown by more than {GROWTH_LIMIT_BYTES} bytes")

    def _inputs(self, pool: list[bytes], began: float) -> Iterator[bytes]:
        """The seeds as they are, then mutations of the pool until the limits end it."""
        yield from list(pool)
        mutator = Mutator(self._rng, self._target.words())
        made = 0
        while time.monotonic() - began < self._limits.seconds and made != self._limits.runs:
            yield mutator.mutate(pool)
            made += 1

    def _one(self, data: bytes) -> Hashable | None:
        self._shared.next(data)
        signal.setitimer(signal.ITIMER_REAL, self._limits.input_seconds)
        shown = self._function(data)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return shown

    # -- in the keeper -----------------------------------------------------------------------------------------------

    def _fork(self, work: Callable[[], object], *, quiet: bool) -> str | None:
        """Do `work` in a child; what ended it, or None where it ended well."""
        self._shared.signature = ""
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            become_child(work, self._shared, quiet=quiet)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == RAISED and self._shared.signature:
            return self._shared.signature
        if code == -signal.SIGALRM:
            return f"hang (more than {self._limits.input_seconds} s)"
        return f"signal {-code}" if code < 0 else f"exit status {code}" if code else None

    def _crash(self, what: str, data: bytes) -> Crash:
        """Cut the input down and put it into the corpus."""
        if self._alone(data) == what:
            data = self._shrink(what, data)
        else:
            what += "; not with this input alone: something of the target outlives an input"
        path = self._target.corpus / f"{CRASH}{hashlib.sha256(data).hexdigest()[:12]}" if self._keep_crashes else None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return Crash(what, data, path)

    def _alone(self, data: bytes) -> str | None:
        return self._fork(partial(self._one, data), quiet=True)

    def _shrink(self, what: str, data: bytes) -> bytes:
        """Remove what is not needed for the same end, in pieces of falling size."""
        tries = 0 if what.startswith("hang") else SHRINK_TRIES
        size = max(1, len(data) // 2)
        while tries > 0 and data:
            at = 0
            while at < len(data) and tries > 0:
                shorter = data[:at] + data[at + size :]
                tries -= 1
                if self._alone(shorter) == what:
                    data = shorter
                else:
                    at += size
            if size == 1:
                break
            size = max(1, size // 2)
        return data
