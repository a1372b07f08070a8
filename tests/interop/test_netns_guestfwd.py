"""guestfwd and TFTP for a real guest over IPv4 and IPv6, in a network that is closed but for them (``restrict=on``)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.rig.backend import Pyslirp
from tests.interop.rig.conversation import noise
from tests.interop.rig.deadline import wait_for
from tests.interop.rig.guest import take_lease
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.require import require
from tests.interop.rig.topology import Topology

pytestmark = pytest.mark.pyslirp

SERVERS = ["10.0.2.100", "fec0::100"]
GATEWAYS = {"10.0.2.100": "10.0.2.2", "fec0::100": "[fec0::2]"}
SECONDS = 60.0

TALK = """
import socket, sys
with socket.create_connection((sys.argv[1], 7), 20) as connection:
    connection.sendall(open(sys.argv[2], "rb").read())
    connection.shutdown(socket.SHUT_WR)
    with open(sys.argv[3], "wb") as back:
        while data := connection.recv(65536):
            back.write(data)
"""


@pytest.fixture
def guest(topology: Topology, tmp_path: Path) -> Iterator[NetnsGuest]:
    """A guest with addresses of both families."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file").write_bytes(noise(100_001))
    rules = [f"guestfwd=tcp:{server}:7-cmd:cat" for server in ("10.0.2.100", "[fec0::100]")]
    options = f"ipv4=on,ipv6=on,restrict=on,tftp={tmp_path}/served,{','.join(rules)}"
    server = Pyslirp(topology.host, tmp_path, extra=[options, "-v"])
    made = NetnsGuest("guest", topology.lab, tmp_path)
    server.attach(made)
    take_lease(made)
    made.run(f"ip -6 addr add fec0::15/64 dev {made.interface} nodad").check()
    yield made
    made.close()
    server.close()


@pytest.mark.parametrize("server", SERVERS)
def test_a_command_answers(guest: NetnsGuest, server: str) -> None:
    """What goes in comes back, a megabyte of it, and the end of one is the end of the other."""
    sent, back = guest.folder / "sent", guest.folder / "back"
    sent.write_bytes(noise(1_000_000))
    words = [sys.executable, "-c", TALK, server, str(sent), str(back)]
    wait_for("a route to it", lambda: guest.run(shlex.join(words), SECONDS).status == 0, SECONDS)
    assert back.read_bytes() == sent.read_bytes()


@pytest.mark.parametrize("server", SERVERS)
def test_files_are_served_where_all_else_is_closed(guest: NetnsGuest, server: str) -> None:
    """libslirp drops TFTP over IPv6 there."""
    require("curl", "curl")
    target = guest.folder / "arrived"
    command = f"curl -gsS --tftp-blksize 1400 -o {target} tftp://{GATEWAYS[server]}/file"
    wait_for("a route to it", lambda: guest.run(command, SECONDS).status == 0, SECONDS)
    assert target.read_bytes() == noise(100_001)
