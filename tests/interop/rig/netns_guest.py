"""A guest at native speed: a network namespace with a tap that `bridge` joins to the backend's stream.

It has the kernel's own TCP and no emulated CPU.  The tap is persistent: when the bridge is killed the interface loses
its carrier but keeps its addresses and connections, as a guest's does when QEMU loses its socket.
"""

from __future__ import annotations

import shlex
import signal
import socket
import time
from pathlib import Path

from tests.interop.rig.compile import compile_c
from tests.interop.rig.guest import COMMAND_SECONDS
from tests.interop.rig.namespace import Namespace
from tests.interop.rig.process import Process, Result
from tests.interop.rig.require import require, require_path

_HERE = Path(__file__).parent
_GUEST = _HERE.parent / "guest"
FIRST_MAC = "52:54:00:12:34:56"  # QEMU's default


class NetnsJob:
    """A command of `NetnsGuest.spawn`."""

    def __init__(self, process: Process, command: str, timeout: float) -> None:
        self._process, self._command, self._timeout = process, command, timeout
        self._started = time.monotonic()

    def expect(self, text: str, seconds: float = COMMAND_SECONDS) -> None:
        """Wait until it has written ``text``."""
        self._process.expect(text, seconds)

    def text(self) -> str:
        """What it has written so far."""
        return self._process.text()

    def kill(self, name: str) -> None:
        """Send it a signal: ``TERM``, ``USR1`` ..."""
        self._process.signal(signal.Signals[f"SIG{name}"])

    def wait(self) -> Result:
        """How it ended; a status of 124 says that its time-out passed."""
        try:
            status = self._process.wait(max(0.0, self._timeout - (time.monotonic() - self._started)))
        except AssertionError:
            status = 124
        self._process.stop()
        return Result(self._command, status, self._process.text())


class NetnsGuest:
    """A namespace whose ``tap0`` is a guest's network interface; `attach` joins it to a backend."""

    interface = "tap0"
    lease_script = str(_GUEST / "udhcpc.script")

    def __init__(self, name: str, lab: Namespace, folder: Path, mac: str = FIRST_MAC, mtu: int = 1500) -> None:
        require("busybox", "busybox-static")
        require_path(Path("/dev/net/tun"), "(the kernel's tun module: modprobe tun)")
        self.name, self.mac, self.folder = name, mac, folder
        self.net = lab.child(name)
        self.lease_file = str(folder / f"{name}.lease")
        self._peer = compile_c(_GUEST / "peer.c", static=True)
        self._bridge: Process | None = None
        self.net.run(
            f"ip tuntap add {self.interface} mode tap &&"
            f" ip link set {self.interface} address {mac} mtu {mtu} && ip link set {self.interface} up"
        ).check()

    def attach(self, stream: socket.socket, loss: int = 0) -> None:
        """Join the tap to ``stream``, a connected socket that speaks QEMU's framing; the bridge takes it over.

        ``loss``: one frame in so many is lost on the way, in each direction; 0: none.
        """
        assert self._bridge is None, f"{self.name} is attached already"
        binary = compile_c(_HERE / "bridge.c")
        with stream:
            stream.setblocking(True)
            argv = [str(binary), self.interface, str(stream.fileno()), str(loss)]
            self._bridge = self.net.start(f"{self.name} bridge", argv, self.folder, [stream.fileno()])
        self._bridge.expect("ready")

    def pause(self) -> None:
        """Hold every frame, both ways, until `resume`."""
        assert self._bridge, f"{self.name} is not attached"
        self._bridge.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let frames pass again."""
        assert self._bridge, f"{self.name} is not attached"
        self._bridge.signal(signal.SIGCONT)

    def detach(self) -> None:
        """Kill the bridge with SIGKILL: the stream ends wherever it is."""
        if self._bridge:
            self._bridge.stop()
            self._bridge = None

    def wait_detached(self) -> None:
        """The other side is expected to end the stream."""
        assert self._bridge, f"{self.name} is not attached"
        assert self._bridge.wait() == 0, self._bridge.text()
        self.detach()

    def configure(self, address: str, gateway: str, prefix_len: int = 24) -> None:
        """Give the interface an address and a default route, without DHCP."""
        self.net.run(
            f"ip addr flush dev {self.interface} && ip addr add {address}/{prefix_len} dev {self.interface} &&"
            f" ip route replace default via {gateway}"
        ).check()

    def run(self, command: str, timeout: float = COMMAND_SECONDS) -> Result:
        """What a shell in the guest makes of ``command``; `peer` and the usual tools are in its path."""
        return self.net.run(self._with_peer(command), timeout)

    def spawn(self, command: str, timeout: float = COMMAND_SECONDS) -> NetnsJob:
        """Start ``command`` in the background of the test."""
        process = self.net.start(f"{self.name} job", ["sh", "-c", self._with_peer(command)], self.folder)
        return NetnsJob(process, command, timeout)

    def _with_peer(self, command: str) -> str:
        return f"cd {shlex.quote(str(self.folder))}; PATH={self._peer.parent}:$PATH; {command}"

    def close(self) -> None:
        """End it."""
        self.detach()
        self.net.close()
