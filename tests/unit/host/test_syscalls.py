"""System calls by the C library: what succeeds, and that errno becomes an OSError.  Those that change the process are
made in children that nobody misses."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyslirp.errors import LinkError
from pyslirp.host import syscalls
from pyslirp.host.errand import Errand

NO_DESCRIPTOR, NO_CALL = -1, 0xFFFF
PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS = 3, 39


def in_child(call: Callable[[], object]) -> bytes:
    """The repr of what `call` returns in a child.  Raises LinkError with what it raises."""

    def make() -> int:
        reading, writing = os.pipe()
        os.write(writing, repr(call()).encode())
        os.close(writing)
        return reading

    errand = Errand(make)
    with os.fdopen(errand.fetch(), "rb") as answer:
        errand.finish()
        return answer.read()


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (lambda: syscalls.setns(NO_DESCRIPTOR, 0), errno.EBADF),
        (lambda: syscalls.unshare(1), errno.EINVAL),
        (lambda: syscalls.prctl(NO_CALL), errno.EINVAL),
        (lambda: syscalls.unmount("/no/such/place", 0), errno.ENOENT),
        (lambda: syscalls.mount("none", "/no/such/place", "tmpfs", 0), errno.ENOENT),
        (lambda: syscalls.pivot_root("/no/such/place", "/no/such/place"), errno.ENOENT),
    ],
    ids=["setns", "unshare", "prctl", "umount", "mount", "pivot_root"],
)
def test_errno_becomes_an_error(call: Callable[[], object], number: int) -> None:
    with pytest.raises(LinkError) as caught:
        in_child(call)
    assert caught.value.errno in {number, errno.EPERM}  # who may not mount is told so first


def test_the_path_is_part_of_the_error() -> None:
    with pytest.raises(OSError, match="/no/such/place"):
        syscalls.unmount("/no/such/place", 0)


def test_prctl_answers() -> None:
    assert syscalls.prctl(PR_GET_DUMPABLE) in (0, 1, 2)

    def forbid() -> int:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        return syscalls.prctl(PR_GET_NO_NEW_PRIVS)

    assert in_child(forbid) == b"1"


def capabilities(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name)), 16)


def test_capabilities_can_be_given_up() -> None:
    def give_up() -> tuple[int, int]:
        syscalls.set_capabilities(0)
        return capabilities("CapPrm"), capabilities("CapEff")

    assert in_child(give_up) == b"(0, 0)"


def test_those_that_one_has_not_cannot_be_taken() -> None:
    def take_back() -> None:
        syscalls.set_capabilities(0)
        syscalls.set_capabilities(1 << 40 | 1)

    with pytest.raises(LinkError) as caught:
        in_child(take_back)
    assert caught.value.errno == errno.EPERM


def test_a_machine_whose_pivot_root_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", "", "", "vax")))
    with pytest.raises(OSError, match="pivot_root on vax is not known here"):
        syscalls.pivot_root("/", "/")
