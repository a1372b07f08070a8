"""The sandbox, from inside and from outside."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pyslirp.errors import LinkError, SlirpError
from pyslirp.host import sandbox
from pyslirp.host.errand import Errand
from pyslirp.host.syscalls import CAP_NET_BIND_SERVICE


def look_around() -> dict[str, object]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    before = os.open("/proc/self/status", os.O_RDONLY)
    sandbox.enter()
    after = os.pread(before, 65536, 0).decode()
    inside = dict(line.split(":\t", 1) for line in after.splitlines() if ":\t" in line)
    writable = []
    for path in ("/x", "/etc/x", "/run/x"):
        try:
            Path(path).touch()
            writable.append(path)
        except OSError:
            continue
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))  # the network is as it was
    return {
        "root": sorted(entry.name for entry in Path("/").iterdir()),
        "writable": writable,
        "had": int(status["CapEff"], 16),
        "has": [int(inside[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")],
        "no_new_privs": inside["NoNewPrivs"],
        "uid": os.geteuid(),
    }


def in_child(act: Callable[[], object]) -> dict[str, object]:
    def make() -> int:
        reading, writing = os.pipe()
        os.write(writing, json.dumps(act()).encode())
        os.close(writing)
        return reading

    errand = Errand(make)
    with os.fdopen(errand.fetch(), "rb") as answer:
        errand.finish()
        found: dict[str, object] = json.loads(answer.read())
        return found


@pytest.fixture(scope="module")
def inside() -> dict[str, object]:
    """What a process in the sandbox finds; skipped where the system lets nobody make one."""
    try:
        return in_child(look_around)
    except LinkError as error:
        if "cannot make a mount namespace" in str(error.args[1]):
            pytest.skip(str(error.args[1]))
        raise


def test_the_root_holds_what_names_need(inside: dict[str, object]) -> None:
    root = inside["root"]
    assert isinstance(root, list)
    assert {"etc", "run"} <= set(root)
    assert {"home", "root", "var", "usr", "tmp", "old", "proc", "dev"}.isdisjoint(root)


def test_nothing_can_be_written(inside: dict[str, object]) -> None:
    assert inside["writable"] == []


def test_one_capability_is_left(inside: dict[str, object]) -> None:
    bit = 1 << CAP_NET_BIND_SERVICE
    assert inside["has"] == [bit, bit, bit, bit, 0]
    assert inside["no_new_privs"] == "1"
    assert inside["uid"] == os.geteuid()


def test_outside_nothing_has_changed() -> None:
    assert Path("/proc").is_dir()
    assert not Path("/tmp/old").is_mount()


@pytest.mark.parametrize(
    ("real", "kept"),
    [
        ("/etc/resolv.conf", []),
        ("/run/systemd/resolve/stub-resolv.conf", []),
        ("/usr/lib/systemd/resolv.conf", ["/usr/lib/systemd"]),
        ("/nowhere/at/all/resolv.conf", []),
        ("/resolv.conf", []),
    ],
)
def test_where_resolv_conf_may_really_be(monkeypatch: pytest.MonkeyPatch, real: str, kept: list[str]) -> None:
    monkeypatch.setattr(os.path, "realpath", lambda _: real)
    monkeypatch.setattr(Path, "is_dir", lambda path: not str(path).startswith("/nowhere"))
    assert sandbox._target_of_resolv_conf() == kept


def test_the_step_that_failed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(sandbox, "unshare", refuse)
    with pytest.raises(SlirpError, match="sandbox: cannot make a mount namespace: Operation not permitted"):
        sandbox.enter()
