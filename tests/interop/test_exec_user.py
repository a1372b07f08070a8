"""``pyslirp exec`` and ``--netns`` for an ordinary user of this machine, and at his terminal."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pexpect
import pytest

from tests.interop.rig.deadline import wait_for
from tests.interop.rig.process import Process
from tests.interop.rig.require import require
from tests.interop.rig.topology import DNS, FIRST_LEASE, GATEWAY
from tests.interop.rig.user import NOBODY, ordinary_user

pytestmark = pytest.mark.pyslirp

PATIENCE_SECONDS = 30
ROOT = Path(__file__).parents[2]
PYSLIRP = (sys.executable, "-m", "pyslirp")


def run(*arguments: str, tun_mode: str | None = "666") -> subprocess.CompletedProcess[str]:
    """Run pyslirp as an ordinary user, to its end."""
    argv = [*ordinary_user(tun_mode), *PYSLIRP, *arguments]
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def web() -> Iterator[int]:
    """The port of a server on this machine's loopback that sends what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(1000))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]


def test_what_the_command_finds(web: int) -> None:
    """Its interface, with MTU, address, route and lo; its resolv.conf and its machine's name; itself, and the host."""
    talk = f"exec 3<>/dev/tcp/{GATEWAY}/{web} && echo through the network >&3 && cat <&3"
    script = f"id -u; hostname; ip -br addr; ip route; ip link show tap0; head -n 1 /etc/resolv.conf; {talk}"
    require("ip", "iproute2")
    done = run("exec", "--mtu", "1400", "--hostname", "inner", "--", "bash", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    assert lines[:2] == [str(user), "inner"]
    assert [line for line in lines if line.startswith("lo ") and "127.0.0.1/8" in line]
    assert [line for line in lines if line.startswith("tap0 ") and f" {FIRST_LEASE}/24" in line]
    assert [line for line in lines if line.startswith(f"default via {GATEWAY} dev tap0")]
    assert [line for line in lines if "tap0:" in line and " mtu 1400 " in line]
    assert lines[-2:] == [f"nameserver {DNS}", "through the network"]


def test_ipv6_works_from_the_first_moment() -> None:
    """Without a wait for a router's advertisement, or for a duplicate of its address."""
    require("ip", "iproute2")
    script = "ip -6 -o addr show tap0 | grep fec0; grep fec0 /etc/resolv.conf; exec 3<>/dev/tcp/fec0::2/$1; cat <&3"
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"at once")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        done = run("exec", "--", "bash", "-c", script, "bash", str(port))
        thread.join(PATIENCE_SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    first, server_line, said = done.stdout.splitlines()
    assert " fec0::15/64 " in first
    assert "tentative" not in first
    assert (server_line, said) == ("nameserver fec0::3", "at once")


def test_the_host_sees_nothing_of_it() -> None:
    before = (socket.gethostname(), Path("/etc/resolv.conf").read_text(), socket.if_nameindex())
    script = "hostname; cat /etc/resolv.conf"
    assert run("exec", "--hostname", "inner", "--", "sh", "-c", script).stdout.startswith(f"inner\nnameserver {DNS}\n")
    assert before == (socket.gethostname(), Path("/etc/resolv.conf").read_text(), socket.if_nameindex())


def test_ports_of_the_host_lead_to_it(tmp_path: Path) -> None:
    busybox = require("busybox", "busybox-static")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    script = f"echo from inside | {busybox} nc -l -p 80"
    arguments = ["exec", "--hostfwd", f"tcp:127.0.0.1:{port}-:80", "--", "sh", "-c", script]
    process = Process("exec", [*ordinary_user(), *PYSLIRP, *arguments], tmp_path)

    def hear() -> bytes:
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(PATIENCE_SECONDS)
            return client.recv(100)
        return b""

    try:
        assert wait_for("the server inside", hear, PATIENCE_SECONDS) == b"from inside\n"
        assert process.wait() == 0, process.text()
    finally:
        process.stop()


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("kill $$", 143)])
def test_how_the_command_ends_is_passed_on(script: str, status: int) -> None:
    done = run("exec", "--", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize(
    ("arguments", "tun_mode", "status", "text"),
    [
        (
            ("exec", "--", "true"),
            None,
            1,
            "/dev/net/tun: No such file or directory; load the module (modprobe tun), or",
        ),
        (("exec", "--", "true"), "600", 1, "/dev/net/tun: Permission denied; this user may not open it: chmod 666"),
        (
            ("exec", "--tap", "a-name-too-long-for-one", "--", "true"),
            "666",
            2,
            "tap=a-name-too-long-for-one: an interf",
        ),
        (("exec", "--tap", "lo", "--", "true"), "666", 1, "tap lo: "),
        (
            ("exec", "--hostname", "x" * 65, "--", "true"),
            "666",
            1,
            f"--hostname {'x' * 65}: Invalid argument; a machine",
        ),
        (("exec", "--", "/no/such"), "666", 127, "/no/such: No such file or directory"),
        (
            ("--netns", "1", "--tap", "t"),
            "666",
            1,
            "/proc/1/ns/net: Permission denied; the process is another user's, or",
        ),
        (("--netns", "4194304"), "666", 1, "--netns 4194304: No such process; is the process still there?"),
        (
            ("--tap", "tap77"),
            "666",
            1,
            "tap tap77: Operation not permitted; no right to make interfaces in this network",
        ),
    ],
)
def test_what_stands_in_the_way_is_said(arguments: Sequence[str], tun_mode: str | None, status: int, text: str) -> None:
    done = run(*arguments, tun_mode=tun_mode)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(f"pyslirp: {text}")
    assert "Traceback" not in done.stderr


FORBID = "echo 0 > /proc/sys/user/max_user_namespaces"


def test_user_namespaces_that_are_forbidden() -> None:
    """By the limit of a user namespace around us, which counts for us alone."""
    around = [require("unshare", "util-linux"), "--user", "--map-root-user", "--mount", "sh", "-c"]
    weak = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]
    inner = shlex.join([*weak, *PYSLIRP, "exec", "--", "true"])
    done = subprocess.run(
        [*around, f"{FORBID} && {inner}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        cwd=ROOT,
    )
    assert done.returncode == 1
    said = "pyslirp: no new namespace: No space left on device; this system forbids them to ordinary users: sysctl -w user.max"
    assert done.stderr.startswith(said)


# -- at a terminal --------------------------------------------------------------------------------------------------------


CAUGHT = (
    "n=0; trap 'n=$((n+1))' INT; echo begun; until [ $n -gt 0 ]; do sleep 0.1; done; sleep 0.5; echo caught $n; exit 5"
)


@pytest.mark.parametrize(
    "line",
    [
        "stty -a >{folder}/before; {command}; s=$?; stty -a | cmp - {folder}/before; echo status $s",
        "true | {command} | (trap '' INT; cat); echo status ${{PIPESTATUS[1]}}",
    ],
    ids=["at a terminal", "between pipes"],
)
def test_ctrl_c_is_the_commands_once_and_the_terminal_stays_as_it_is(tmp_path: Path, line: str) -> None:
    """The terminal sends it to both; we go on until the command has ended, and its status is ours."""
    command = shlex.join([*ordinary_user(), *PYSLIRP, "exec", "--", "sh", "-c", CAUGHT])
    script = f"trap : INT; {line.format(command=command, folder=tmp_path)}"
    terminal = pexpect.spawn("bash", ["-c", script], timeout=PATIENCE_SECONDS, cwd=str(ROOT), encoding="utf-8")
    try:
        terminal.expect("begun")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
        assert "caught 1\r\nstatus 5\r\n" in terminal.before
        assert "differ" not in terminal.before
    finally:
        terminal.close(force=True)


def test_it_has_ended_when_the_command_has(tmp_path: Path) -> None:
    """A command's child that lives on keeps neither us nor the network."""
    process = Process("exec", [*ordinary_user(), *PYSLIRP, "exec", "--", "sh", "-c", "sleep 1000 & echo $!"], tmp_path)
    try:
        assert process.wait(PATIENCE_SECONDS) == 0
        sleeper = int(process.text())
        wait_for("the child that lives on", lambda: Path(f"/proc/{sleeper}").exists())
        os.kill(sleeper, 9)
    finally:
        process.stop()
