"""The networks that tests run in: Linux network namespaces of an unprivileged user, nothing of the real host's.

One user namespace (the *lab*) owns every network namespace of a run, so that they can be joined by veth pairs:

    guest --tap-- bridge ==stream== pyslirp   in `host`, which is  --veth-- router --veth-- far

`host` plays the machine that pyslirp runs on: its loopback is pyslirp's loopback, so ports are fixed numbers that
nothing else can hold.  A test makes its sockets through `Namespace.new_socket`: made by an agent process inside,
handed out as a descriptor, and then used from the test itself, so that one test holds both ends of a conversation.

The lab also has a mount namespace, in which /etc/resolv.conf is a file of the test's.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.interop.rig.process import Process, Result
from tests.interop.rig.require import require, unavailable

PATIENCE_SECONDS = 20.0  # default time-out of every socket and command in a test
_AGENT = Path(__file__).with_name("namespace_agent.py")
_ENVIRONMENT = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}  # ip, nsenter


class Namespace:
    """A network namespace, held open by its agent until `close`."""

    def __init__(self, name: str, within: Namespace | None, unshare: Sequence[str]) -> None:
        self.name = name
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(PATIENCE_SECONDS)
        enter = within.enter() if within else []
        argv = [*enter, *unshare, sys.executable, "-I", "-S", str(_AGENT), str(theirs.fileno())]
        with theirs:
            self._agent = subprocess.Popen(
                argv,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=_ENVIRONMENT,
            )
        if self._control.recv(8) != b"0":
            _, said = self._agent.communicate()
            self._control.close()
            unavailable(
                f"no unprivileged user and network namespaces here ({said.strip()}): run as root, or allow them"
            )
        self.run("ip link set lo up").check()

    @classmethod
    def lab(cls) -> Namespace:
        """A new user, mount and network namespace; ends the test where the kernel does not let us make one."""
        require("ip", "iproute2")
        require("nsenter", "util-linux")
        return cls("lab", None, [require("unshare", "util-linux"), "--user", "--map-root-user", "--mount", "--net"])

    def child(self, name: str) -> Namespace:
        """A new network namespace in the same user namespace."""
        return Namespace(name, self, [require("unshare", "util-linux"), "--net"])

    @property
    def pid(self) -> int:
        """A process inside, for ``ip link ... netns PID``."""
        return self._agent.pid

    def enter(self, capabilities: bool = True) -> list[str]:
        """The command prefix that runs a program inside, killed with the test run.

        Without ``capabilities`` the program may do what an ordinary user of that host may, and no more.
        """
        inside = ["nsenter", "--preserve-credentials", "-U", "-m", "-n", f"--wd={Path.cwd()}", "-t", str(self.pid)]
        drop = [] if capabilities else ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        return [*inside, "setpriv", "--pdeathsig=KILL", *drop, "--"]

    def new_socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0) -> socket.socket:
        """A socket of this namespace, with the usual time-out; closed at the end of the test at the latest."""
        self._control.send(f"{int(family)} {int(kind)} {proto}".encode())
        answer, fds, _, _ = socket.recv_fds(self._control, 64, 1)
        if answer != b"0":
            code = int(answer)
            raise OSError(code, os.strerror(code))
        return _adopt(socket.socket(fileno=fds[0]))

    def listener(self, address: str = "127.0.0.1", port: int = 0, backlog: int = 128) -> socket.socket:
        """A TCP socket that listens on ``address``."""
        made = self.new_socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(backlog)
        return made

    def connect(self, address: str, port: int, timeout: float = PATIENCE_SECONDS) -> socket.socket:
        """A TCP socket connected to ``address``."""
        made = self.new_socket()
        made.settimeout(timeout)
        try:
            made.connect((address, port))
        except OSError:
            made.close()
            raise
        made.settimeout(PATIENCE_SECONDS)
        return made

    def connect_unix(self, path: Path) -> socket.socket:
        """A stream socket connected to the unix socket ``path``."""
        made = self.new_socket(socket.AF_UNIX)
        made.connect(str(path))
        return made

    def udp(self, address: str = "0.0.0.0", port: int = 0) -> socket.socket:
        """A bound UDP socket, with room for a few of the largest datagrams."""
        made = self.new_socket(kind=socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind((address, port))
        return made

    def run(self, command: str, timeout: float = PATIENCE_SECONDS) -> Result:
        """What a shell inside makes of ``command``; a status of 124 says that ``timeout`` passed."""
        try:
            done = subprocess.run(
                [*self.enter(), "sh", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                env=_ENVIRONMENT,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            said = (expired.output or b"").decode(errors="replace")
            return Result(command, 124, said)
        return Result(command, done.returncode, done.stdout.decode(errors="replace"))

    def start(self, name: str, argv: Sequence[str], folder: Path, pass_fds: Sequence[int] = ()) -> Process:
        """Run ``argv`` inside, with every capability that the namespace gives."""
        return Process(name, [*self.enter(), *argv], folder, pass_fds, _ENVIRONMENT)

    def sysctl(self, key: str, value: str) -> None:
        """Set a sysctl of this namespace, such as ``net.ipv4.ping_group_range``."""
        path = "/proc/sys/" + key.replace(".", "/")
        self.run(f"echo {shlex.quote(value)} > {path}").check()

    def close(self) -> None:
        """End the agent; the namespace goes once its other processes and sockets are gone."""
        self._control.close()
        try:
            self._agent.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            self._agent.wait()
        assert self._agent.stderr
        self._agent.stderr.close()


_sockets: list[socket.socket] = []  # all that have been made and may still be open


def _adopt(made: socket.socket) -> socket.socket:
    made.settimeout(PATIENCE_SECONDS)
    _sockets.append(made)
    return made


def accept(listener: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
    """The next connection of ``listener`` and who it is from; with the usual time-out, closed like the others."""
    made, client = listener.accept()
    return _adopt(made), client


@contextlib.contextmanager
def closing_sockets() -> Iterator[None]:
    """Close every socket that is made meanwhile."""
    before = len(_sockets)
    yield
    for made in _sockets[before:]:
        with contextlib.suppress(OSError):  # closing may report what was wrong with the connection, too late here
            made.close()
    del _sockets[before:]


def join(left: Namespace, left_address: str, right: Namespace, right_address: str) -> None:
    """A veth pair between two namespaces of one lab; addresses as ``192.0.2.1/24``, interfaces named for the peer."""
    left_end, right_end = f"to-{right.name}", f"to-{left.name}"
    peer = f"peer name {right_end} netns {right.pid}"
    left.run(f"ip link add {left_end} type veth {peer}").check()
    left.run(f"ip addr add {left_address} dev {left_end} && ip link set {left_end} up").check()
    right.run(f"ip addr add {right_address} dev {right_end} && ip link set {right_end} up").check()
