"""Joining and making namespaces: what is said where that is refused.  The rest is in tests/interop/test_namespace.py."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyslirp.errors import LinkError
from pyslirp.host import namespaces
from pyslirp.host.errand import Errand
from pyslirp.host.namespaces import create, enter_user, join
from pyslirp.host.syscalls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER

OURS = "/proc/self/ns/net"


class Calls:
    """Stands for the kernel: takes calls down, and refuses some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[Any] = []
        self.refused: dict[Any, list[int]] = {}
        monkeypatch.setattr(namespaces, "setns", lambda _, kind: self.call(("setns", kind)))
        monkeypatch.setattr(namespaces, "unshare", lambda kinds: self.call(("unshare", kinds)))
        monkeypatch.setattr(namespaces, "mount", lambda *_: self.call("mount"))
        monkeypatch.setattr(fcntl, "ioctl", lambda *_: self.call("owner") or 99)

    def call(self, name: Any) -> int:
        self.made.append(name)
        if self.refused.get(name):
            number = self.refused[name].pop(0)
            if number:
                raise OSError(number, os.strerror(number))
        return 0


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def test_root_joins_at_once(calls: Calls) -> None:
    join(OURS)
    assert calls.made == [("setns", CLONE_NEWNET)]


def test_where_that_is_refused_the_owner_is_joined_first(calls: Calls) -> None:
    calls.refused[("setns", CLONE_NEWNET)] = [errno.EPERM]
    join(OURS)
    assert calls.made == [("setns", CLONE_NEWNET), "owner", ("setns", CLONE_NEWUSER), ("setns", CLONE_NEWNET)]


def test_a_user_namespace_that_is_named_is_joined_unless_we_are_in_it(calls: Calls) -> None:
    join(OURS, "/proc/self/ns/user")
    join(OURS, OURS)  # anything else will do for this
    assert calls.made == [("setns", CLONE_NEWNET), ("setns", CLONE_NEWUSER), ("setns", CLONE_NEWNET)]


@pytest.mark.parametrize(
    ("refused", "text"),
    [
        ({("setns", CLONE_NEWNET): [errno.EINVAL]}, f"{OURS}: this is not a network namespace"),
        (
            {("setns", CLONE_NEWNET): [errno.EPERM], "owner": [errno.EPERM]},
            (
                f"{OURS}: cannot join: Operation not permitted; you have no rights there: become root, or the user who has"
                " made it"
            ),
        ),
        ({("setns", CLONE_NEWNET): [errno.ENOMEM]}, f"{OURS}: cannot join: Cannot allocate memory"),
    ],
    ids=["no namespace", "no rights", "else"],
)
def test_why_a_namespace_cannot_be_joined(calls: Calls, refused: dict[Any, list[int]], text: str) -> None:
    calls.refused = refused
    with pytest.raises(LinkError) as caught:
        join(OURS)
    assert caught.value.args[1] == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/proc/4194304/ns/net", "No such file or directory; is the process still there?"),
        ("/run/netns/no-such-name", "No such file or directory; `ip netns add NAME` makes /run/netns/NAME"),
    ],
)
def test_a_namespace_that_is_not_there(path: str, text: str) -> None:
    with pytest.raises(LinkError) as caught:
        join(path)
    assert caught.value.args[1] == f"{path}: {text}"
    with pytest.raises(LinkError):
        enter_user(path)


def test_a_process_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LinkError, match="the process is another user's, or has rights that you have not"):
        join("/proc/1/ns/net")


# -- new ones -------------------------------------------------------------------------------------------------------------


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
    assert calls.made == [("unshare", CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS), "mount"]
    assert written == {
        "/proc/self/setgroups": "deny",
        "/proc/self/uid_map": f"{inside[0]} 1000 1",
        "/proc/self/gid_map": f"{inside[1]} 100 1",
    }


def test_root_needs_none(monkeypatch: pytest.MonkeyPatch, calls: Calls, written: dict[str, str]) -> None:
    be(monkeypatch, 0, 0)
    create(as_root=False)
    assert calls.made == [("unshare", CLONE_NEWNET | CLONE_NEWNS), "mount"]
    assert written == {}


def test_unless_it_is_root_in_name_only(monkeypatch: pytest.MonkeyPatch, calls: Calls, written: dict[str, str]) -> None:
    be(monkeypatch, 0, 0)
    calls.refused[("unshare", CLONE_NEWNET | CLONE_NEWNS)] = [errno.EPERM]
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
    calls.refused[("unshare", CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)] = [errno.EPERM]
    with pytest.raises(LinkError) as caught:
        create(as_root=False)
    assert caught.value.args[1].startswith("no new namespace: Operation not permitted; ")
    assert remedy in caught.value.args[1]


def test_root_keeps_its_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    be(monkeypatch, 0)
    monkeypatch.setattr(namespaces, "set_capabilities", refuse)
    namespaces.keep_net_capabilities()


def in_new_namespaces(act: Callable[[], str]) -> str:
    """What `act` returns, in a child that has made namespaces; skipped where that is forbidden."""

    def make() -> int:
        create(as_root=False)
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
        namespaces.overlay_file(str(link), "inside")
        return file.read_text()

    assert in_new_namespaces(act) == "inside"
    assert file.read_text() == "outside"
