"""Runs a function of this package in a network namespace of its own, with a tun device whose far end is ours.

The function runs in a child process, so that the tests' own process stays in the host's namespace.  It is named by
module and name, asserts what it has to, and is handed the `Wire`.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import select
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PATIENCE_SECONDS = 20


class Wire:
    """Everything beyond the namespace's only interface: packets that leave by it, and packets made up in return."""

    def __init__(self) -> None:
        self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(self._tun, TUNSETIFF, struct.pack("16sH22x", b"wire", IFF_TUN | IFF_NO_PI))
        for arguments in (
            "link set lo up",
            "address add 192.0.2.1/24 dev wire",
            "link set wire up",
            "route add default dev wire",
        ):
            subprocess.run(["ip", *arguments.split()], check=True, env={"PATH": PATH})

    def fileno(self) -> int:
        return self._tun

    def take(self) -> bytes | None:
        """The next IPv4 packet that has left, if there is one."""
        while True:
            try:
                packet = os.read(self._tun, 65536)
            except BlockingIOError:
                return None
            if packet[0] >> 4 == 4:
                return packet

    def put(self, packet: bytes) -> None:
        """A packet arrives."""
        os.write(self._tun, packet)

    def wait(self) -> bytes:
        """The next IPv4 packet that leaves."""
        packet = self.take()
        while packet is None:
            assert select.select([self._tun], [], [], PATIENCE_SECONDS)[0], "nothing leaves"
            packet = self.take()
        return packet


def run(function: Callable[[Wire], None]) -> None:
    """Run `function` in a new namespace; fails as it fails, skips where there can be no namespace."""
    unshare = shutil.which("unshare", path=PATH)
    if unshare is None or shutil.which("ip", path=PATH) is None:
        pytest.skip("unshare or ip is missing: apt-get install util-linux iproute2")
    argv = [unshare, "-Urn", sys.executable, "-m", __name__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    probe = subprocess.run([*argv, "probe"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if probe.returncode:
        reason = probe.stderr.strip().splitlines()[-1:] or ["?"]
        pytest.skip(f"no network namespace with a tun device here ({reason[0]}): run as root, or allow them")
    done = subprocess.run(
        [*argv, function.__module__, function.__name__],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def main(arguments: list[str]) -> None:
    """Inside the namespace."""
    wire = Wire()
    if arguments != ["probe"]:
        module, name = arguments
        getattr(importlib.import_module(module), name)(wire)


if __name__ == "__main__":
    main(sys.argv[1:])
