"""TFTP by real clients: each option, files of every shape, and a line that loses frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.rig.backend import Pyslirp
from tests.interop.rig.conversation import noise
from tests.interop.rig.guest import take_lease
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.require import require
from tests.interop.rig.topology import GATEWAY, Topology

pytestmark = pytest.mark.pyslirp

SIZES = {"empty": 0, "block": 512, "odd": 100_001, "large": 3_000_000}
URL = f"tftp://{GATEWAY}"
LOSS = 20  # one frame in so many, each way
SECONDS = 60.0
ATFTP_OPTIONS = "--option 'blksize 1428' --option 'windowsize 16' --option 'timeout 2' --option 'tsize 0'"

Fetch = Callable[[str], str]  #: a command of the guest that fetches a file


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served."""
    folder = tmp_path_factory.mktemp("tftp")
    for name, size in SIZES.items():
        (folder / name).write_bytes(noise(size) if size else b"")
    (folder / "text").write_text("one\ntwo\n" * 1000)
    (folder / "out").symlink_to("/etc/passwd")
    return folder


@pytest.fixture(scope="module")
def server(topology: Topology, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pyslirp]:
    """A pyslirp that serves them, and nothing else."""
    made = Pyslirp(topology.host, tmp_path_factory.mktemp("backend"), extra=[f"tftp={files},restrict=on"])
    yield made
    made.close()


def joined(server: Pyslirp, topology: Topology, folder: Path, loss: int) -> Iterator[NetnsGuest]:
    guest = NetnsGuest("tftp", topology.lab, folder)
    guest.attach(server.stream(), loss)
    take_lease(guest)
    yield guest
    guest.close()


@pytest.fixture
def guest(server: Pyslirp, topology: Topology, tmp_path: Path) -> Iterator[NetnsGuest]:
    """A guest with a lease."""
    yield from joined(server, topology, tmp_path, 0)


@pytest.fixture
def lossy_guest(server: Pyslirp, topology: Topology, tmp_path: Path) -> Iterator[NetnsGuest]:
    """One behind a line that loses frames."""
    yield from joined(server, topology, tmp_path, LOSS)


def fetched(guest: NetnsGuest, name: str, command: str, files: Path) -> None:
    """The file arrives as it is."""
    target = guest.folder / "arrived"
    guest.run(command.format(name=name, target=target), SECONDS).check()
    assert digest(target.read_bytes()) == digest((files / name).read_bytes())


CLIENTS = {
    "tftp-hpa": (("tftp", "tftp-hpa"), f"tftp -m binary {GATEWAY} -c get {{name}} {{target}}"),
    "busybox": (("busybox", "busybox-static"), f"busybox tftp -g -r {{name}} -l {{target}} {GATEWAY}"),
    "busybox blksize": (("busybox", "busybox-static"), f"busybox tftp -b 1400 -g -r {{name}} -l {{target}} {GATEWAY}"),
    "curl": (("curl", "curl"), f"curl -sS -o {{target}} {URL}/{{name}}"),
    "curl blksize": (("curl", "curl"), f"curl -sS --tftp-blksize 1468 -o {{target}} {URL}/{{name}}"),
    "curl large blksize": (("curl", "curl"), f"curl -sS --tftp-blksize 65464 -o {{target}} {URL}/{{name}}"),
    "curl without options": (("curl", "curl"), f"curl -sS --tftp-no-options -o {{target}} {URL}/{{name}}"),
    "atftp": (("atftp", "atftp"), f"atftp -g -r {{name}} -l {{target}} {GATEWAY}"),
    "atftp everything": (("atftp", "atftp"), f"atftp {ATFTP_OPTIONS} -g -r {{name}} -l {{target}} {GATEWAY}"),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", SIZES)
def test_a_client_gets_a_file(guest: NetnsGuest, files: Path, client: str, name: str) -> None:
    """Every client, with every option it has, and files of every shape."""
    tool, command = CLIENTS[client]
    require(*tool)
    if name == "empty" and client.startswith("curl"):
        name = "block"  # curl 7.88 fails by itself after an empty file
    fetched(guest, name, command, files)


@pytest.mark.parametrize("client", ["tftp-hpa", "busybox", "curl without options"])
def test_a_file_gets_through_losses(lossy_guest: NetnsGuest, files: Path, client: str) -> None:
    """Both sides send again; what arrives is the file.

    By clients without options: atftp gives up when an option acknowledgement comes twice, as it does when what answers it
    was lost.
    """
    tool, command = CLIENTS[client]
    require(*tool)
    fetched(lossy_guest, "odd", command, files)


def test_text_in_netascii(guest: NetnsGuest, files: Path) -> None:
    """The client makes of CR LF what it was."""
    require("tftp", "tftp-hpa")
    fetched(guest, "text", f"tftp -m ascii {GATEWAY} -c get {{name}} {{target}}", files)


@pytest.mark.parametrize(
    ("name", "says"),
    [("missing", "File not found"), ("../pyslirp-1.sock", "Access violation"), ("out", "Access violation")],
)
def test_what_is_not_given_out(guest: NetnsGuest, name: str, says: str) -> None:
    """The client is told why."""
    require("tftp", "tftp-hpa")
    assert says in guest.run(f"tftp {GATEWAY} -c get {name} /dev/null").output


def test_nothing_can_be_written(guest: NetnsGuest, files: Path) -> None:
    """The client is told, and the file stays as it was."""
    require("tftp", "tftp-hpa")
    assert "Access violation" in guest.run(f"tftp {GATEWAY} -c put /etc/hostname odd").output
    assert (files / "odd").stat().st_size == SIZES["odd"]


def test_many_clients_at_once(guest: NetnsGuest, files: Path) -> None:
    """Sixteen transfers of one guest, each with its own port."""
    require("curl", "curl")
    target = guest.folder
    fetch = f"curl -sS --tftp-blksize 1468 -o {target}/got$n {URL}/odd"
    guest.run(f"for n in $(seq 16); do {fetch} & done; wait", SECONDS).check()
    wanted = digest((files / "odd").read_bytes())
    assert [digest((target / f"got{n}").read_bytes()) for n in range(1, 17)] == [wanted] * 16
