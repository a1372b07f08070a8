"""Joining namespaces: what is said where that is refused.  The rest is in tests/interop/test_namespace.py."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Any

import pytest

from pyslirp.errors import LinkError
from pyslirp.host import namespaces
from pyslirp.host.namespaces import enter_user, join
from pyslirp.host.syscalls import CLONE_NEWNET, CLONE_NEWUSER

OURS = "/proc/self/ns/net"


class Calls:
    """Stands for the kernel: takes calls down, and refuses some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[Any] = []
        self.refused: dict[Any, list[int]] = {}
        monkeypatch.setattr(namespaces, "setns", lambda _, kind: self.call(("setns", kind)))
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
