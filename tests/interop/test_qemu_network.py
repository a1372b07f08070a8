"""QEMU guests and the network as a whole: several on one listener, coming back, and the other ways to attach."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.guest.qemu import FIRST_MAC, SECOND_MAC, QemuGuest
from tests.interop.rig.backend import Pyslirp, PyslirpProcess
from tests.interop.rig.conversation import converse, noise
from tests.interop.rig.guest import take_lease
from tests.interop.rig.namespace import accept
from tests.interop.rig.require import require
from tests.interop.rig.topology import FIRST_LEASE, GATEWAY, Topology

pytestmark = pytest.mark.pyslirp

SECOND_LEASE = "10.0.2.16"
LISTEN_PORT = 1400
Boot = Callable[..., QemuGuest]


@pytest.fixture
def server(topology: Topology, tmp_path: Path) -> Iterator[Pyslirp]:
    """A pyslirp that writes what it sees to a file."""
    made = Pyslirp(topology.host, tmp_path, extra=["--pcap", str(tmp_path / "frames.pcapng")])
    yield made
    made.close()


def test_two_guests(server: Pyslirp, boot: Boot, tmp_path: Path) -> None:
    """Neighbours on one network: ping, and files by TCP; one is switched off, and finds its lease at its return.

    The capture of all this, an interface for each guest, is read by Wireshark without complaint.
    """
    first = boot("first", server.qemu_netdev("socket"), mac=FIRST_MAC)
    assert take_lease(first)["ip"] == FIRST_LEASE
    second = boot("second", server.qemu_netdev("stream-unix"), mac=SECOND_MAC, nic="e1000")
    assert take_lease(second)["ip"] == SECOND_LEASE
    first.run(f"ping -c 2 -i 0.2 -W 3 {SECOND_LEASE}").check()
    files_between(first, second)

    second.kill()
    first.run(f"ping -c 1 -W 3 {GATEWAY}").check()
    again = boot("second again", server.qemu_netdev("stream-inet"), mac=SECOND_MAC, nic="e1000")
    assert take_lease(again)["ip"] == SECOND_LEASE
    again.run(f"ping -c 2 -i 0.2 -W 3 {FIRST_LEASE}").check()

    server.server.stop()
    read_capture(tmp_path / "frames.pcapng")


def files_between(client: QemuGuest, server: QemuGuest) -> None:
    """A file each way over one connection from one guest to the other."""
    sums = {}
    for guest in (client, server):
        sums[guest.name] = guest.run("dd if=/dev/urandom of=mine bs=1M count=2 2>/dev/null; sha256sum <mine").check()
    listening = server.spawn("peer tcp both mine theirs - 7000", timeout=60.0)
    listening.expect("listening")
    client.run(f"peer tcp both mine theirs {SECOND_LEASE} 7000", timeout=60.0).check()
    assert f"from {FIRST_LEASE}:" in listening.wait().check()
    assert client.run("sha256sum <theirs").check() == sums[server.name]
    assert server.run("sha256sum <theirs").check() == sums[client.name]


def read_capture(path: Path) -> None:
    """Three interfaces, and the conversations that there were."""
    tshark = require("tshark", "tshark")

    def frames(condition: str) -> list[str]:
        fields = ["-T", "fields", "-e", "frame.interface_id", "-e", "ip.src"]
        argv = [tshark, "-n", "-r", str(path), "-Y", condition, *fields]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()

    # Noise in a TCP connection looks like the wrong kind of many a protocol to tshark.
    assert not frames("_ws.malformed && !(tcp.len > 0)"), "tshark calls these frames malformed"
    assert len({line.split("\t")[0] for line in frames("arp || ip")}) == 3
    for condition in ("dhcp.option.dhcp == 5", f"icmp.type == 0 && ip.src == {SECOND_LEASE}", "tcp.port == 7000"):
        assert frames(condition), condition


@pytest.mark.parametrize("netdev", ["socket,id=n,listen=127.0.0.1:{port}", "stream"])
def test_qemu_that_listens(topology: Topology, tmp_path: Path, boot: Boot, netdev: str) -> None:
    """--connect finds a QEMU that comes later, with either of its netdevs."""
    if netdev == "stream":
        netdev = "stream,id=n,server=on,addr.type=inet,addr.host=127.0.0.1,addr.port={port}"
    server = PyslirpProcess(topology.host, tmp_path, ["--connect", f"127.0.0.1:{LISTEN_PORT}"])
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.wait_ready()
        guest = boot("listener", netdev.format(port=LISTEN_PORT))
        assert take_lease(guest)["ip"] == FIRST_LEASE
        guest.run(f"ping -c 1 -W 3 {GATEWAY}").check()


def test_run(topology: Topology, boot: Boot) -> None:
    """`pyslirp run -- qemu ...` brings its own netdev and device, and ends with QEMU, whose status is its own."""
    guest = boot("run", None, launcher=[sys.executable, "-m", "pyslirp", "run", "--"])
    assert take_lease(guest)["ip"] == FIRST_LEASE
    sent = noise(1 << 20)
    guest.run("echo hello >mine")
    with topology.host.listener() as listener:
        job = guest.spawn(f"peer tcp both mine theirs {GATEWAY} {listener.getsockname()[1]}")
        connection, _ = accept(listener)
    assert converse(connection, sent, "both") == b"hello\n"
    job.wait().check()
    assert guest.run("sha256sum <theirs").check().split()[0] == hashlib.sha256(sent).hexdigest()
    guest.power_off()
    assert guest.wait() == 0
