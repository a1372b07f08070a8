"""Files for guests through a whole stack: TFTP, and smbd in the place of which a program says how it was started."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.config.stack import Config
from pyslirp.engine.edge.clock import now
from pyslirp.errors import ForwardError
from pyslirp.events import TransferEnded
from pyslirp.sim.apps import Transfer
from pyslirp.stack import Stack
from tests.unit.loops.handlers import Events
from tests.unit.loops.wired_guest import Rig, WiredGuest, descriptors

GATEWAY = IPv4Address("10.0.2.2")


def tftp_read(rig: Rig, guest: WiredGuest, name: bytes) -> bytes:
    """A file, or the error, by RFC 1350's lock-step."""
    port = guest.udp()
    port.send(Endpoint(GATEWAY, 69), b"\0\1" + name + b"\0octet\0", now())
    content = b""
    while True:
        rig.until(lambda: port.received)
        source, packet = port.received.popleft()
        if packet[:2] != b"\0\3":
            return packet
        assert source.port != 69, "a transfer has a port of its own"
        content += packet[4:]
        port.send(source, b"\0\4" + packet[2:4], now())
        if len(packet) < 516:
            return content


@pytest.mark.parametrize("restrict", [False, True])
def test_files_are_served_by_tftp(tmp_path: Path, restrict: bool) -> None:
    (tmp_path / "boot").write_bytes(bytes(range(256)) * 5)
    with Rig(Config.build(tftp=str(tmp_path), bootfile="boot", restrict=restrict)) as rig:
        events = Events(rig.stack)
        guest = rig.join()
        assert tftp_read(rig, guest, b"/boot") == bytes(range(256)) * 5
        rig.until(lambda: events.of(TransferEnded))
        (ended,) = events.of(TransferEnded)
        assert (ended.name, ended.sent, ended.reason) == ("/boot", 1280, "done")
        assert tftp_read(rig, guest, b"missing") == b"\0\5\0\1File not found\0"
        assert tftp_read(rig, guest, b"../secret") == b"\0\5\0\2Access violation\0"
        assert rig.stack.snapshot()["services"]["tftp"]["counters"]["ended.done"] == 1


def test_files_that_are_under_way_are_closed_with_the_network(tmp_path: Path) -> None:
    (tmp_path / "boot").write_bytes(bytes(5000))
    before = descriptors()
    with Rig(Config.build(tftp=str(tmp_path))) as rig:
        port = rig.join().udp()
        port.send(Endpoint(GATEWAY, 69), b"\0\1boot\0octet\0", now())
        rig.until(lambda: port.received)
        rig.until(lambda: rig.stack.snapshot()["services"]["tftp"]["transfers"])
    assert descriptors() == before


def test_a_file_server_that_is_not_there_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("pyslirp.host.smb.USUAL_FOLDERS", ())
    with pytest.raises(ForwardError, match="Could not find '/usr/sbin/smbd', please install it"):
        Stack(Config.build(smb=str(tmp_path))).start()


def test_a_file_server_answers_guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a program in smbd's place that says what it was started with."""
    program = tmp_path / "bin" / "smbd"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"; cat "$4"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with Rig(Config.build(smb=str(tmp_path), restrict=True)) as rig:
        guest = rig.join()
        said = [all_from(rig, guest, IPv4Address("10.0.2.4"), port).decode() for port in (139, 445)]
        assert said[0] == said[1]
        option, folder, other, _ = said[0].splitlines()[0].split()
        assert f"path = {folder}/shared" in said[0].splitlines()
        assert (Path(folder) / "shared").samefile(tmp_path)
        assert (option, other) == ("-l", "-s")
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def all_from(rig: Rig, guest: WiredGuest, address: IPv4Address, port: int) -> bytes:
    """What a server says to who says nothing."""
    data = Transfer(after_end=True)  # who ends first waits for TIME_WAIT's ten seconds
    guest.connect(address, port, now(), data)
    rig.until(lambda: data.closed)
    return bytes(data.received)
