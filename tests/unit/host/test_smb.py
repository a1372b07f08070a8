"""smbd as QEMU runs it: its words, its configuration, and what is left behind (nothing)."""

from __future__ import annotations

import configparser
import stat
import tempfile
from pathlib import Path

import pytest

from pyslirp.errors import ForwardError
from pyslirp.host import smb
from pyslirp.host.smb import Smb


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary folders are made here, and PATH has an smbd."""
    program = tmp_path / "bin" / "smbd"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "share").mkdir()
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def test_the_command_and_its_configuration(home: Path) -> None:
    server = Smb(str(home / "share"))
    program, option, folder, other, configuration = server.arguments()
    assert (program, option, other) == (str(home / "bin" / "smbd"), "-l", "-s")
    assert Path(configuration).parent == Path(folder)
    assert Path(folder).parent == home / "tmp"
    assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(configuration)
    assert parser.sections() == ["global", "qemu"]
    share = parser["qemu"]
    assert (share["path"], share["read only"], share["guest ok"]) == (f"{folder}/shared", "no", "yes")
    assert Path(share["path"]).readlink() == home / "share"
    assert share["force user"]
    everywhere = parser["global"]
    assert everywhere["map to guest"] == "Bad User"
    assert everywhere["interfaces"] == "127.0.0.1"
    for key in ("private dir", "pid directory", "lock directory", "state directory", "cache directory"):
        assert everywhere[key] == folder
    for key in ("ncalrpc dir", "log file", "smb passwd file"):
        assert everywhere[key].startswith(folder)
    server.close()
    assert list((home / "tmp").iterdir()) == []
    server.close()


@pytest.mark.parametrize("name", ["100%", "a%hb%U", "a%$(HOME)", "back\\", " blanks ", "#;[global]", "\udcff"])
def test_the_folders_name_does_not_stand_in_the_configuration(home: Path, name: str) -> None:
    """smb.conf has no way to write such a name: %h is the host's, and `%%h` is no other."""
    (home / name).mkdir()
    (home / name / "kept").touch()
    server = Smb(str(home / name))
    configuration = Path(server.arguments()[-1])
    shared = [line for line in configuration.read_text().splitlines() if line.startswith("path = ")]
    assert shared == [f"path = {configuration.parent}/shared"]
    assert (configuration.parent / "shared" / "kept").exists()
    server.close()
    assert (home / name / "kept").exists()


def test_without_samba(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent:relative:")
    monkeypatch.setattr(smb, "USUAL_FOLDERS", ("/nonexistent/sbin",))
    with pytest.raises(ForwardError, match=r"Could not find '/usr/sbin/smbd', please install it \(package samba\)"):
        Smb(str(home / "share"))


def test_users_have_no_sbin_in_their_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(smb, "USUAL_FOLDERS", (str(home / "bin"),))
    server = Smb(str(home / "share"))
    assert server.arguments()[0] == str(home / "bin" / "smbd")
    server.close()


@pytest.mark.parametrize("name", ["missing", "bin/smbd"])
def test_what_cannot_be_shared(home: Path, name: str) -> None:
    with pytest.raises(ForwardError, match=f"Error accessing shared directory '{home}/{name}'"):
        Smb(str(home / name))


def test_no_place_for_its_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(home / "missing"))
    with pytest.raises(ForwardError, match="Could not create samba server dir: No such file or directory"):
        Smb(str(home / "share"))


def test_a_user_without_a_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 2**31 - 7)
    with pytest.raises(ForwardError, match="Failed to retrieve user name"):
        Smb(str(home / "share"))
