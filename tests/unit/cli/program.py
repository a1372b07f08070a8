"""pyslirp as its users start it: a process of its own, waited for by descriptors and never by the clock alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[3]  #: where scripts that import tests are started
PATIENCE_SECONDS = 30.0  #: far more than anything here takes
COMMAND = (sys.executable, "-m", "pyslirp")


@dataclass(frozen=True)
class Outcome:
    """What a program that has ended leaves."""

    status: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """The lines of standard error, without our name in front of each."""
        assert all(line.startswith("pyslirp: ") for line in self.err.splitlines()), self.err
        return [line.removeprefix("pyslirp: ") for line in self.err.splitlines()]


def run(*arguments: str, **options: Any) -> Outcome:
    """Run it to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        cwd=ROOT,
        **options,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


class Program:
    """A network that runs, from its word on --ready-fd to the end of the `with` block."""

    def __init__(self, *arguments: str, pass_fds: Sequence[int] = (), **options: Any) -> None:
        ready, tell = os.pipe()
        with os.fdopen(ready, "rb") as waiting:
            self.process = subprocess.Popen(
                [*COMMAND, "--ready-fd", str(tell), *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=[tell, *pass_fds],
                cwd=ROOT,
                **options,
            )
            os.close(tell)
            self.ready = waiting.read()

    def __enter__(self) -> Self:
        assert self.ready == b"1", self.end()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE_SECONDS)

    def end(self, signal: int | None = None) -> Outcome:
        """Send `signal` and wait for the end."""
        if signal is not None:
            self.process.send_signal(signal)
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        return Outcome(self.process.returncode, out, err)
