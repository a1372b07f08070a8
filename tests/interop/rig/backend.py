"""What stands between guest and host: pyslirp, or an incumbent for checking the rig itself.

`--backend` chooses.  A backend is started in the `host` namespace and hands out what QEMU connects to (a ``-netdev``
value), or attaches a namespace guest.  pyslirp has no capability there: what it does, any user can do.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.rig.deadline import wait_for
from tests.interop.rig.namespace import Namespace
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.process import Process
from tests.interop.rig.require import require, unavailable
from tests.interop.rig.topology import FIRST_LEASE

READY_SECONDS = 20.0
TRANSPORTS = ("socket", "stream-inet", "stream-unix")


@dataclass(frozen=True)
class Forward:
    """One rule of hostfwd: ``address:port`` of the host to ``guest_port`` of the first lease."""

    port: int
    guest_port: int
    protocol: str = "tcp"
    address: str = "127.0.0.1"

    def qemu(self) -> str:
        """As QEMU writes it."""
        return f"{self.protocol}:{self.address}:{self.port}-:{self.guest_port}"


class Backend(ABC):
    """A running network."""

    name: str
    process: Process | None = None
    dns_port = 53  #: where on the host's loopback it looks for the test's resolver

    @abstractmethod
    def qemu_netdev(self, transport: str) -> str:
        """The value of QEMU's ``-netdev``, id ``n``."""

    @abstractmethod
    def attach(self, guest: NetnsGuest) -> None:
        """Join ``guest`` to the network."""

    def check_alive(self) -> None:
        """It must still run: else every further test would wait in vain for answers."""
        if self.process:
            assert self.process.alive(), f"{self.name} has ended ({self.process.wait()}):\n{self.process.text()}"

    def close(self) -> None:
        """End it."""
        if self.process:
            self.process.stop()


class Pyslirp(Backend):
    """``python -m pyslirp``, listening on a unix socket and on a loopback port.

    ``extra`` are further arguments, in either of pyslirp's syntaxes.
    """

    name = "pyslirp"
    dns_port = 5353
    _started = 0

    def __init__(
        self, host: Namespace, folder: Path, forwards: Sequence[Forward] = (), mtu: int = 0, extra: Sequence[str] = ()
    ) -> None:
        Pyslirp._started += 1
        self._host = host
        self.path = folder / f"pyslirp-{Pyslirp._started}.sock"
        self.port = 1234 + Pyslirp._started
        options = [f"hostfwd={forward.qemu()}" for forward in forwards] + ([f"mtu={mtu}"] if mtu else [])
        listen = ["--listen", f"unix:{self.path}", "--listen", f":{self.port}"]
        upstream = ["--dns-upstream", f"127.0.0.1:{self.dns_port}"]
        self.server = PyslirpProcess(
            host, folder, [*listen, *upstream, *extra, *([",".join(options)] if options else [])]
        )
        self.process = self.server.process
        self.server.wait_ready()

    def qemu_netdev(self, transport: str) -> str:
        """QEMU connects to one of the two listeners."""
        return {
            "socket": f"socket,id=n,connect=127.0.0.1:{self.port}",
            "stream-inet": f"stream,id=n,server=off,addr.type=inet,addr.host=127.0.0.1,addr.port={self.port}",
            "stream-unix": f"stream,id=n,server=off,addr.type=unix,addr.path={self.path}",
        }[transport]

    def attach(self, guest: NetnsGuest) -> None:
        """Bridge its tap to a new connection."""
        guest.attach(self.stream())

    def stream(self) -> socket.socket:
        """A connection to the unix socket."""
        return self._host.connect_unix(self.path)

    def close(self) -> None:
        """End it as a user does, and hold it to its word: status 0, no traceback, no socket file left."""
        self.server.stop()
        assert not self.path.exists(), f"{self.path} is left behind"


class PyslirpProcess:
    """A pyslirp process with any arguments; `Pyslirp` is the usual one."""

    def __init__(self, host: Namespace, folder: Path, arguments: Sequence[str], pass_fds: Sequence[int] = ()) -> None:
        self._stopped = False
        self._ready, theirs = os.pipe()
        module = [sys.executable, "-m", "pyslirp", "--ready-fd", str(theirs)]
        argv = [*host.enter(capabilities=False), *module, *arguments]
        self.process = Process("pyslirp", argv, folder, [theirs, *pass_fds])
        os.close(theirs)

    def wait_ready(self) -> None:
        """Until it has said on ``--ready-fd`` that guests may connect: it writes something, then closes."""
        if not select.select([self._ready], [], [], READY_SECONDS)[0]:
            raise AssertionError(f"pyslirp is not ready after {READY_SECONDS:g} s:\n{self.process.text()}")
        said = os.read(self._ready, 64)
        os.close(self._ready)
        self._ready = -1
        assert said, f"pyslirp closed its ready descriptor without a word ({self.process.wait()}):\n{self.text()}"

    def text(self) -> str:
        """What it has written so far."""
        return self.process.text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it with ``number``; it must end with status 0 and without a traceback.  Once is enough."""
        if self._stopped:
            return
        self._stopped = True
        try:
            if self._ready >= 0:
                os.close(self._ready)
                self._ready = -1
            assert self.process.alive(), f"pyslirp has ended by itself ({self.process.wait()}):\n{self.text()}"
            self.process.signal(number)
            status = self.process.wait()
            assert status == 0, f"pyslirp ended with {status}:\n{self.text()}"
            assert "Traceback" not in self.text(), self.text()
        finally:
            self.process.stop()


class QemuUser(Backend):
    """QEMU's own ``-netdev user``: libslirp, inside the guest's QEMU."""

    name = "qemu-user"

    def __init__(self, forwards: Sequence[Forward]) -> None:
        self._forwards = forwards

    def qemu_netdev(self, transport: str) -> str:  # noqa: ARG002 - as in the base
        """The transport has no meaning here."""
        return ",".join(["user,id=n", *(f"hostfwd={forward.qemu()}" for forward in self._forwards)])

    def attach(self, guest: NetnsGuest) -> None:  # noqa: ARG002 - as in the base
        """It cannot."""
        unavailable("qemu-user is inside QEMU and has no namespace guest")


class Slirp4netns(Backend):
    """slirp4netns: libslirp on the tap of a namespace guest itself; one guest."""

    name = "slirp4netns"

    def __init__(self, host: Namespace, folder: Path, forwards: Sequence[Forward], mtu: int) -> None:
        self._host, self._folder, self._forwards = host, folder, forwards
        self._mtu = mtu or 1500

    def qemu_netdev(self, transport: str) -> str:  # noqa: ARG002 - as in the base
        """It cannot."""
        unavailable("slirp4netns has no QEMU guest")

    def attach(self, guest: NetnsGuest) -> None:
        """Started only now: it needs the guest's namespace."""
        api = self._folder / "slirp4netns.sock"
        options = [f"--mtu={self._mtu}", "--netns-type=path", f"--api-socket={api}", f"/proc/{guest.net.pid}/ns/net"]
        argv = [require("slirp4netns", "slirp4netns"), *options, guest.interface]
        self.process = self._host.start("slirp4netns", argv, self._folder)
        wait_for("slirp4netns's API socket", api.exists)
        for forward in self._forwards:
            rule = {
                "proto": forward.protocol,
                "host_addr": forward.address,
                "host_port": forward.port,
                "guest_addr": FIRST_LEASE,
                "guest_port": forward.guest_port,
            }
            with self._host.connect_unix(api) as control:
                control.sendall(json.dumps({"execute": "add_hostfwd", "arguments": rule}).encode())
                assert b"error" not in (said := control.recv(4096)), said


BACKENDS = (Pyslirp.name, QemuUser.name, Slirp4netns.name)


def start_backend(
    name: str, host: Namespace, folder: Path, forwards: Sequence[Forward] = (), mtu: int = 0, extra: Sequence[str] = ()
) -> Backend:
    """Start backend ``name``; ``extra`` is for pyslirp alone."""
    if name == Pyslirp.name:
        return Pyslirp(host, folder, forwards, mtu, extra)
    if extra:
        unavailable(f"{name} has none of pyslirp's options")
    return QemuUser(forwards) if name == QemuUser.name else Slirp4netns(host, folder, forwards, mtu)
