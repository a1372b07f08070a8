"""``pyslirp ctl`` beside a network in another process."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.program import COMMAND, ROOT, Program, run


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The control socket of a network that runs."""
    folder = tmp_path_factory.mktemp("ctl")
    path = folder / "control"
    with Program("--listen", f"unix:{folder}/guests", "--control", f"unix:{path}", "id=n0"):
        yield path


def test_a_port_is_forwarded_listed_and_let_go(path: Path) -> None:
    added = run("ctl", str(path), "hostfwd_add", "n0", "tcp:127.0.0.1:0-:22")
    assert (added.status, added.err) == (0, "")
    rule = added.out.removeprefix("forwarding ").partition("-")[0]
    assert added.out == f"forwarding {rule}-10.0.2.15:22\n"
    with socket.create_connection(("127.0.0.1", int(rule.rpartition(":")[2]))):
        pass
    listed = run("ctl", f"unix:{path}", "info", "usernet")
    assert listed.out.startswith("Hub -1 (n0):\n  Protocol[State]    FD  Source Address")
    assert listed.out.count("TCP[HOST_FORWARD]") == 1
    removed = run("ctl", str(path), "hostfwd_remove", rule)
    assert (removed.status, removed.out) == (0, f"host forwarding rule for {rule} removed\n")
    again = run("ctl", str(path), "hostfwd_remove", rule)
    assert (again.status, again.complaints) == (1, [f"host forwarding rule for {rule} not found"])


@pytest.mark.parametrize("words", [("--json", "PATH", "counters"), ("PATH", "counters", "--json")])
def test_json(path: Path, words: tuple[str, ...]) -> None:
    outcome = run("ctl", *(str(path) if word == "PATH" else word for word in words))
    assert outcome.status == 0
    assert json.loads(outcome.out)["counters"]["tcp.rto"] == 0


def test_restrict(path: Path) -> None:
    assert run("ctl", str(path), "set", "restrict", "on").out == "restrict=on\n"
    assert run("ctl", str(path), "info", "network").out == "n0: index=0,type=user,net=10.0.2.0,restrict=on\n"
    assert run("ctl", str(path), "set", "restrict", "off").out == "restrict=off\n"


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        ((), 2, "ctl: no command; 'pyslirp ctl --help' lists them"),
        (("flow",), 2, "unknown command: 'flow' (did you mean 'flows'?)"),
        (("set", "restrict"), 2, "set restrict: boolean expected (set restrict takes on|off)"),
        (("hostfwd_add", "tcp::0"), 2, "Invalid host forwarding rule 'tcp::0' (Bad host port separator)"),
        (("hostfwd_add", "n9", "tcp::0-:22"), 1, "unrecognized netdev id 'n9' (this network is 'n0')"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(path: Path, words: tuple[str, ...], status: int, complaint: str) -> None:
    outcome = run("ctl", str(path), *words)
    assert (outcome.status, outcome.complaints, outcome.out) == (status, [complaint], "")


def test_nobody_is_there(tmp_path: Path) -> None:
    outcome = run("ctl", f"{tmp_path}/none", "help")
    reason = "no such socket; is pyslirp running, with --control unix:PATH?"
    assert (outcome.status, outcome.complaints) == (1, [f"{tmp_path}/none: {reason}"])


def test_without_a_path() -> None:
    outcome = run("ctl")
    assert outcome.status == 2
    assert "PATH" in outcome.err


def test_help_lists_the_commands() -> None:
    outcome = run("ctl", "--help")
    assert outcome.status == 0
    for line in ("  hostfwd_add [NETDEV_ID] RULE ", "  set restrict on|off ", "  events "):
        assert line in outcome.out


def test_events_until_ctrl_c(path: Path) -> None:
    # A shell starts what it puts in the background with SIGINT ignored, and that is inherited.
    with subprocess.Popen(
        ["env", "--default-signal=INT", *COMMAND, "ctl", str(path), "events"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        while not select.select([process.stdout], [], [], 0.1)[0]:  # it may ask for events after the first of these
            assert run("ctl", str(path), "hostfwd_add", "tcp:127.0.0.1:0-:22").status == 0
        assert process.stdout.readline().startswith("forward_added rule=tcp:127.0.0.1:")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")


def test_who_reads_our_output_may_go(path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "ctl", str(path), "help"], stdout=writing, stderr=subprocess.PIPE, check=False, cwd=ROOT
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
