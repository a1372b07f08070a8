"""A program that a test runs: its output in a file that can be read at any time, an end that is always reached."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.rig import journal
from tests.interop.rig.deadline import wait_for

STOP_SECONDS = 10.0  # the most that a clean end may take


@dataclass(frozen=True)
class Result:
    """How a command ended: its exit status, and what it wrote (standard error included)."""

    command: str
    status: int
    output: str

    def check(self) -> str:
        """What it wrote, if it ended with 0; else ``AssertionError``."""
        assert self.status == 0, f"{self.command!r} ended with {self.status}:\n{self.output}"
        return self.output


class Process:
    """A running program, its standard output and error in one file; killed at the latest by `stop`.

    It dies with the test run, however that ends: ``argv`` should begin with `Namespace.enter`, which sees to it.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.name = name
        self._log = folder / f"{name.replace(' ', '-').replace('/', '-')}.{os.urandom(3).hex()}.log"
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                argv, stdin=stdin, stdout=log, stderr=subprocess.STDOUT, pass_fds=pass_fds, env=env
            )
        self.pid = self._popen.pid
        journal.keep(f"{name} (pid {self.pid})", self.text)

    def text(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def expect(self, text: str, seconds: float = 10.0) -> None:
        """Wait until it has written ``text``; it must not end before."""

        def seen() -> bool:
            if text in self.text():
                return True
            assert self.alive(), f"{self.name} ended with {self._popen.returncode} before {text!r}:\n{self.text()}"
            return False

        wait_for(f"{self.name} to write {text!r}", seen, seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.alive():
            self._popen.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit status (negative: the signal that killed it); ``AssertionError`` if it does not end in time."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {seconds:g} s:\n{self.text()}") from None

    def stop(self) -> None:
        """Kill it if it still runs, and forget it."""
        self.signal(signal.SIGKILL)
        self._popen.wait()
        journal.drop(f"{self.name} (pid {self.pid})")

    def rss_bytes(self) -> int:
        """Its resident memory and that of its children."""
        return sum(_rss_bytes(pid) for pid in [self.pid, *_descendants(self.pid)])

    def cpu_seconds(self) -> float:
        """The processor time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wakeups(self) -> int:
        """How often it has gone to sleep so far, all of its threads together: each time something has woken it."""
        status = [path.read_text() for path in Path("/proc", str(self.pid), "task").glob("*/status")]
        return sum(int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0]) for text in status)

    def open_fds(self) -> int:
        """How many file descriptors it holds."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())


def _rss_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in map(int, task.read_text().split()):
                found += [child, *_descendants(child)]
        except OSError:  # it has just ended
            continue
    return found
