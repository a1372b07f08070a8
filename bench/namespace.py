"""The guest: a network namespace, so a real Linux TCP at native speed; and the programs of bench/c that load it."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
BRIDGE = HERE.parent / "tests/interop/rig/bridge.c"  #: QEMU's part on a stream link
PATIENCE = 10.0  #: seconds until something has started
TAP = "tap0"


class Missing(Exception):
    """A program that the comparison cannot do without, and the package that has it."""


def compiled(source: Path) -> str:
    """The program of a C file, in a folder of its own for each version of it."""
    folder = Path(tempfile.gettempdir(), f"pyslirp-bench-{os.getuid()}")
    program = folder / f"{source.stem}-{source.stat().st_mtime_ns}"
    if not program.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            subprocess.run(["gcc", "-O2", str(source), "-o", str(program)], check=True)
        except FileNotFoundError:
            raise Missing("gcc: apt-get install gcc libc6-dev") from None
    return str(program)


class Namespace:
    """A namespace with nobody in it but a process that keeps it."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(["unshare", "-Urn", "sleep", "infinity"])
        ours = Path("/proc/self/ns/net").readlink()
        self.pid = self._keeper.pid
        until(lambda: Path(f"/proc/{self.pid}/ns/net").readlink() != ours and self._may_be_entered(), "a namespace")
        self._bridge: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bridge is not None:
            end(self._bridge)
        end(self._keeper)

    def _inside(self, argv: list[str]) -> list[str]:
        return ["nsenter", "-U", "--preserve-credentials", "-n", "-t", str(self.pid), *argv]

    def _may_be_entered(self) -> bool:
        return subprocess.run(self._inside(["true"]), check=False, capture_output=True).returncode == 0

    def run(self, argv: list[str], seconds: float = 60) -> str:
        """Run a program inside; what it prints, or as much as it has when the time is over."""
        try:
            done = subprocess.run(self._inside(argv), check=False, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired as late:
            return late.stdout.decode() if isinstance(late.stdout, bytes) else ""
        return done.stdout

    def has_address(self) -> bool:
        """Has somebody set up the tap?"""
        return " inet " in self.run(["ip", "-4", "addr", "show", TAP])

    def attach_stream(self, path: str, address: str, gateway: str, mtu: int) -> None:
        """A tap whose other end is a stream socket with QEMU's framing: what QEMU would be."""
        for words in (
            f"tuntap add {TAP} mode tap",
            f"link set {TAP} up mtu {mtu}",
            f"addr add {address} dev {TAP}",
            f"route add default via {gateway}",
        ):
            subprocess.run(self._inside(["ip", *words.split()]), check=True)
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(path)
            argv = self._inside([compiled(BRIDGE), TAP, str(link.fileno())])
            self._bridge = subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=[link.fileno()])
        assert self._bridge.stdout is not None
        if self._bridge.stdout.readline() != b"ready\n":
            raise RuntimeError(f"no bridge to {path}")


def until(condition: object, what: str) -> None:
    """Wait until `condition` holds.  Raises TimeoutError with what was waited for."""
    assert callable(condition)
    last = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > last:
            raise TimeoutError(f"{what}: not there after {PATIENCE:.0f} s")
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, for good."""
    process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
