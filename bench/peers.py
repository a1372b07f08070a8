"""Who is compared: pyslirp, and those of slirp4netns, pasta, passt and gvproxy that are on PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.namespace import Namespace, end, until

SETTLING_SECONDS = 1.0  #: a tap may be there before all else is
TICKS = os.sysconf("SC_CLK_TCK")
#: Options of passt and pasta; the gateway is the host's loopback, by default in older ones, in newer ones by --map-host-loopback.
_PASST = "--runas 0:0 -f -a 10.0.2.15 -n 24 -g 10.0.2.2 -t none -u none -m {mtu}"
_MAPPED = "--map-host-loopback 10.0.2.2"


@dataclass(frozen=True)
class Peer:
    """One user-mode network.  `gateway` reaches the host's loopback."""

    name: str
    argv: str  #: with {pid} of the namespace, {mtu}, {socket}
    stream: bool = False  #: a unix socket with QEMU's framing; else a tap in the namespace, which it sets up
    gateway: str = "10.0.2.2"
    address: str = "10.0.2.15/24"
    route: str = "10.0.2.2"
    version: str = ""


class Running:
    """A peer at work for a namespace."""

    def __init__(self, peer: Peer, namespace: Namespace, mtu: int, folder: Path) -> None:
        self.peer = peer
        socket = folder / f"{peer.name}.sock"
        socket.unlink(missing_ok=True)
        argv = peer.argv.format(pid=namespace.pid, mtu=mtu, socket=socket).split()
        with (folder / f"{peer.name}.log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            if peer.stream:
                until(socket.exists, f"{peer.name}'s socket")
                namespace.attach_stream(str(socket), peer.address, peer.route, mtu)
            else:
                until(namespace.has_address, f"{peer.name}'s tap")
            time.sleep(SETTLING_SECONDS)
        except BaseException:
            end(self._process)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)

    def cpu_seconds(self) -> float:
        """Of the peer and its children so far."""
        total = 0
        for pid in _family(self._process.pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def rss_mb(self) -> float:
        """Resident memory of the peer and its children."""
        total = 0
        for pid in _family(self._process.pid):
            try:
                found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
            except OSError:
                continue
            total += int(found[1]) if found else 0
        return total / 1024


def _family(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        for task in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def present() -> list[Peer]:
    """Those that are there: pyslirp of this interpreter's environment first."""
    passt = _PASST
    if shutil.which("passt") and "map-host-loopback" in _said("passt", "--help"):
        passt = f"{_PASST} {_MAPPED}"
    here = Path(sys.executable).parent
    peers = [
        Peer("pyslirp", f"{here}/pyslirp-slirp4netns --configure --mtu={{mtu}} {{pid}} tap0", address="10.0.2.100/24"),
        Peer("pyslirp-stream", f"{sys.executable} -m pyslirp --listen unix:{{socket}} --mtu {{mtu}}", stream=True),
        Peer("slirp4netns", "slirp4netns --configure --mtu={mtu} {pid} tap0"),
        Peer("pasta", f"pasta {passt} -T none -U none --config-net -I tap0 {{pid}}"),
        Peer("passt", f"passt {passt} -s {{socket}}", stream=True),
        Peer(
            "gvproxy",
            "gvproxy -mtu {mtu} -ssh-port 22999 -listen-qemu unix://{socket}",
            stream=True,
            gateway="192.168.127.254",
            address="192.168.127.2/24",
            route="192.168.127.1",
        ),
    ]
    return [peer for peer in peers if shutil.which(peer.argv.split()[0])]


def version(peer: Peer) -> str:
    """What it says that it is, in a line."""
    command = peer.argv.split()[0]
    words = [sys.executable, "-m", "pyslirp", "--version"] if peer.name.startswith("pyslirp") else [command, "--version"]
    return next(iter(_said(*words).strip().splitlines()), "?")


def _said(*argv: str) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    return done.stdout + done.stderr
