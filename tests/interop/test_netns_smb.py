"""A shared folder: smbclient in the guest, the host's Samba behind the file server's address."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.interop.rig.backend import PyslirpProcess
from tests.interop.rig.guest import take_lease
from tests.interop.rig.namespace import Namespace
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.require import require
from tests.interop.rig.topology import Topology

pytestmark = pytest.mark.pyslirp

SERVER = "10.0.2.4"
SECONDS = 60.0


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """What is shared, by a name that smb.conf would not take as it is: %h is the host's there."""
    folder = tmp_path / "share 100%hot"
    folder.mkdir()
    (folder / "hello.txt").write_text("hello from the host\n")
    return folder


class Outside:
    """In a Namespace's place: the machine that the tests run on."""

    def enter(self, capabilities: bool = True) -> list[str]:
        """Nothing to enter; it ends with the test run."""
        del capabilities
        return [require("setpriv", "util-linux"), "--pdeathsig=KILL", "--"]


@pytest.fixture
def guest(topology: Topology, share: Path, tmp_path: Path) -> Iterator[NetnsGuest]:
    """A guest with a lease, whose network is closed but for the file server.

    pyslirp runs outside of the lab, whose only user is root without its rights: what smbd does for root, fails there.
    """
    require("smbd", "samba")
    path = tmp_path / "guests.sock"
    arguments = ["--listen", f"unix:{path}", f"smb={share},restrict=on", "-v"]
    server = PyslirpProcess(cast("Namespace", Outside()), tmp_path, arguments)
    server.wait_ready()
    made = NetnsGuest("smb", topology.lab, tmp_path)
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(str(path))
    made.attach(stream)
    take_lease(made)
    yield made
    made.close()
    server.stop()


def test_a_guest_reads_and_writes_the_share(guest: NetnsGuest, share: Path) -> None:
    """Without a password, as QEMU's share is."""
    client = require("smbclient", "smbclient")
    own = guest.folder / "from-the-guest"
    own.write_text("hello from the guest\n")
    commands = f"ls; get hello.txt {guest.folder}/got; put {own} new.txt; mkdir made"
    said = guest.run(f"{client} -N //{SERVER}/qemu -c '{commands}'", SECONDS).check()
    assert "hello.txt" in said
    assert (guest.folder / "got").read_text() == "hello from the host\n"
    assert (share / "new.txt").read_text() == "hello from the guest\n"
    assert (share / "made").is_dir()
