"""``pyslirp run -- COMMAND``: the command's arguments, its guest's network, its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyslirp.cli.run import build_parser, device_of, qemu_arguments
from tests.unit.cli.program import COMMAND, PATIENCE_SECONDS, ROOT, run

#: Stands in for QEMU: asks for a lease on the descriptor that it was given, and says which address it got.
GUEST = """
import sys, socket
from pyslirp.engine.edge.clock import now
from tests.unit.loops.wired_guest import WiredGuest, until
netdev = sys.argv[sys.argv.index("-netdev") + 1]
options = dict(option.split("=") for option in netdev.split(",")[1:])
guest = WiredGuest(socket.socket(fileno=int(options["fd"])))
guest.start_dhcp(now())
until([guest], lambda: guest.lease is not None)
print(guest.address, options["id"], sys.argv[sys.argv.index("-device") + 1])
sys.exit(42)
"""


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_qemu_is_told_of_its_network() -> None:
    assert qemu_arguments(["qemu", "-m", "1G"], 7, "net0", "e1000") == [
        *("qemu", "-m", "1G"),
        *("-netdev", "socket,id=net0,fd=7"),
        *("-device", "e1000,netdev=net0"),
    ]


@pytest.mark.parametrize("device", ["e1000,netdev=net0,mac=52:54:00:00:00:01", "netdev=net0,driver=virtio-net-pci"])
def test_a_nic_of_the_users_own_is_the_only_one(device: str) -> None:
    arguments = qemu_arguments(["qemu", "-device", device], 7, "net0", "e1000")
    assert arguments.count("-device") == 1


def test_a_nic_of_another_network_is_not_ours() -> None:
    arguments = qemu_arguments(["qemu", "-device", "e1000,netdev=net01"], 7, "net0", "e1000")
    assert arguments.count("-device") == 2


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_has_a_network_and_its_status_is_ours() -> None:
    outcome = run("run", "net=10.0.9.0/24", "id=lan", "--model", "e1000", "--", sys.executable, "-c", GUEST)
    assert (outcome.status, outcome.out, outcome.err) == (42, "10.0.9.15 lan e1000,netdev=lan\n", "")


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["false"], 1),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], 128 + 9),
        (["sh", "-c", "kill -TERM $$"], 128 + 15),
    ],
)
def test_the_exit_status_is_passed_on(command: list[str], status: int) -> None:
    outcome = run("run", "--", *command)
    assert (outcome.status, outcome.err) == (status, "")


@pytest.mark.parametrize(
    ("command", "status", "complaint"),
    [
        ("no-such-qemu", 127, "no-such-qemu: not found; is it installed?"),
        ("/etc/passwd", 126, "/etc/passwd: Permission denied"),
        ("/", 126, "/: Permission denied"),
    ],
)
def test_a_command_that_cannot_be_started(command: str, status: int, complaint: str) -> None:
    outcome = run("run", "--", command)
    assert (outcome.status, outcome.complaints) == (status, [complaint])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["qemu-system-x86_64", "-m", "1G"], "run: no '--' in front of the command; write: pyslirp run"),
        ([], "run: no '--' in front of the command"),
        (["--"], "run: no command; write: pyslirp run [OPTIONS] -- qemu-system-x86_64 ..."),
        (["--", "qemu-system-x86_64", "-daemonize"], "run: -daemonize: QEMU would leave its network behind"),
        (["--modle", "e1000", "--", "true"], "unrecognized arguments: --modle; did you mean --model?"),
        (["--listen", ":0", "--", "true"], "unrecognized arguments: --listen"),
        (["net=10.0.2.0/99", "--", "true"], "net=10.0.2.0/99: Invalid netmask provided"),
    ],
)
def test_what_is_written_wrong(words: list[str], complaint: str) -> None:
    outcome = run("run", *words)
    assert outcome.status == 2
    (line,) = outcome.complaints
    assert line.startswith(complaint)


def test_a_capture_that_cannot_be_written_starts_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    outcome = run("run", "--pcap", "/nonexistent/file", "--", "touch", str(trace))
    complaint = "--pcap /nonexistent/file: No such file or directory; the directory must exist"
    assert (outcome.status, outcome.complaints) == (1, [complaint])
    assert not trace.exists()


# -- signals -----------------------------------------------------------------------------------------------------------


def start(script: str) -> tuple[subprocess.Popen[str], str]:
    """`run` with a shell that has said its first line."""
    process = subprocess.Popen(
        [*COMMAND, "run", "--", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
def test_a_signal_is_handed_on_and_the_command_decides(name: str) -> None:
    """A shell waits for what it runs: `read` on a pipe that nobody writes to is interrupted by the trap."""
    process, first = start(f"trap 'echo heard; exit 5' {name}; echo ready; while :; do sleep 0.05; done")
    assert first == "ready"
    process.send_signal(getattr(signal, f"SIG{name}"))
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, err) == (5, "heard\n", "")


def test_a_command_that_dies_of_the_signal() -> None:
    process, pid = start("echo $$; exec sleep 60")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_it_ends_when_the_command_ends_though_a_grandchild_lives() -> None:
    """A grandchild that has kept the link open is not waited for."""
    process, pid = start("sleep 60 & echo $!")
    process.wait(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    os.kill(int(pid), signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("words", "device"),
    [
        ([], "virtio-net-pci"),
        (["--model", "e1000"], "e1000"),
        (["-nic", "user,model=virtio"], "virtio-net-pci"),
        (["-nic", "user,model=rtl8139,mac=52:54:00:12:34:56"], "rtl8139,mac=52:54:00:12:34:56"),
    ],
)
def test_the_nic_is_what_nic_says(words: list[str], device: str) -> None:
    assert device_of(build_parser().read(words)) == device
