"""New namespaces: what is made, and what is said where that is forbidden.  The rest is in tests/interop/test_exec_user.py."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyslirp.errors import LinkError
from pyslirp.host import unsharing
from pyslirp.host.errand import Errand
from pyslirp.host.syscalls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWUTS
from pyslirp.host.unsharing import create

NEW = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS


class Calls:
    """Stands for the kernel: takes calls down, and refuses some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[Any] = []
        self.refused: dict[Any, list[int]] = {}
        monkeypatch.setattr(unsharing, "unshare", lambda kinds: self.call(("unshare", kinds)))
        monkeypatch.setattr(unsharing, "mount", lambda *_: self.call("mount"))

    def call(self, name: Any) -> None:
        self.made.append(name)
        if self.refused.get(name):
            number = self.refused[name].pop(0)
            raise OSError(number, os.strerror(number))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is written to /proc."""
    found: dict[str, str] = {}
    monkeypatch.setattr(Path, "write_text", lambda path, text: found.__setitem__(str(path), text))
    return found


def be(monkeypatch: pytest.MonkeyPatch, uid: int, gid: int = 100) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os, "getegid", lambda: gid)


@pytest.mark.parametrize(("as_root", "inside"), [(False, ("1000", "100")), (True, ("0", "0"))])
def test_a_user_has_a_user_namespace_with_himself_in_it(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, written: dict[str, str], as_root: bool, inside: tuple[str, str]
) -> None:
    be(monkeypatch, 1000)
    create(as_root=as_root)
    assert calls.made == [("unshare", CLONE_NEWUSER | NEW), "mount"]
    assert written == {
        "/proc/self/setgroups": "deny",
        "/proc/self/uid_map": f"{inside[0]} 1000 1",
        "/proc/self/gid_map": f"{inside[1]} 100 1",
    }


def test_root_needs_none(monkeypatch: pytest.MonkeyPatch, calls: Calls, written: dict[str, str]) -> None:
    be(monkeypatch, 0, 0)
    create(as_root=False)
    assert calls.made == [("unshare", NEW), "mount"]
    assert written == {}


def test_unless_it_is_root_in_name_only(monkeypatch: pytest.MonkeyPatch, calls: Calls, written: dict[str, str]) -> None:
    be(monkeypatch, 0, 0)
    calls.refused[("unshare", NEW)] = [errno.EPERM]
    create(as_root=False)
    assert written["/proc/self/uid_map"] == "0 0 1"


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"user/max_user_namespaces": "0\n"}, "this system forbids them to ordinary users: sysctl -w user.max_user_na"),
        ({"kernel/unprivileged_userns_clone": "0"}, "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            {"kernel/apparmor_restrict_unprivileged_userns": "1"},
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns",
        ),
        ({"user/max_user_namespaces": "15000"}, "this system, or the container we are in, forbids user namespaces"),
    ],
)
def test_who_forbids_a_new_one(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, settings: dict[str, str], remedy: str
) -> None:
    def read(path: Path) -> str:
        name = str(path).removeprefix("/proc/sys/")
        if name not in settings:
            raise FileNotFoundError(path)
        return settings[name]

    be(monkeypatch, 1000)
    monkeypatch.setattr(Path, "read_text", read)
    calls.refused[("unshare", CLONE_NEWUSER | NEW)] = [errno.EPERM]
    with pytest.raises(LinkError) as caught:
        create(as_root=False)
    assert caught.value.args[1].startswith("no new namespace: Operation not permitted; ")
    assert remedy in caught.value.args[1]


def test_root_keeps_its_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    be(monkeypatch, 0)
    monkeypatch.setattr(unsharing, "set_capabilities", refuse)
    unsharing.keep_net_capabilities()


def in_new_namespaces(act: Callable[[], str], hostname: str | None = None) -> str:
    """What `act` returns, in a child that has made namespaces; skipped where that is forbidden."""

    def make() -> int:
        create(as_root=False, hostname=hostname)
        reading, writing = os.pipe()
        os.write(writing, act().encode())
        os.close(writing)
        return reading

    errand = Errand(make)
    try:
        descriptor = errand.fetch()
    except LinkError as error:
        pytest.skip(str(error.args[1]))
    with os.fdopen(descriptor) as answer:
        errand.finish()
        return answer.read()


def test_a_file_is_another_in_there_alone(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("outside")
    link.symlink_to(file)

    def act() -> str:
        unsharing.overlay_file(str(link), "inside")
        return file.read_text()

    assert in_new_namespaces(act) == "inside"
    assert file.read_text() == "outside"


def test_the_machine_has_another_name_in_there_alone() -> None:
    before = socket.gethostname()
    assert in_new_namespaces(socket.gethostname, "inner") == "inner"
    assert in_new_namespaces(socket.gethostname) == before
    assert socket.gethostname() == before


def test_a_name_that_is_too_long_for_a_machine() -> None:
    def make() -> int:
        create(as_root=False, hostname="x" * 65)
        return 0

    with pytest.raises(LinkError, match=r"--hostname x{65}: Invalid argument; a machine's name has at most 64 bytes"):
        Errand(make).fetch()
