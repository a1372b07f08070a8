"""A real guest: QEMU with an emulated CPU, driven over its serial console.

The console's other end is a pipe.  Once `init` has said that it is ready it runs each line that it is sent, without
prompt or echo, so that what is read is what commands write; a command's end is a line that was never sent before.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
from collections.abc import Sequence

from tests.interop.guest.image import Image
from tests.interop.rig import journal
from tests.interop.rig.deadline import Deadline
from tests.interop.rig.guest import COMMAND_SECONDS
from tests.interop.rig.namespace import Namespace
from tests.interop.rig.process import Result
from tests.interop.rig.require import require

BOOT_SECONDS = 90.0  # 2 s when the machine is idle; it may not be
MEMORY_MIB = 192
KERNEL_OPTIONS = "console=ttyS0 quiet loglevel=3 panic=-1"
NIC_MODELS = ("virtio-net-pci", "e1000", "rtl8139")
FIRST_MAC = "52:54:00:12:34:56"
SECOND_MAC = "52:54:00:12:34:57"
_GRACE_SECONDS = 10.0  # what a console may take beyond a command's own time-out


class QemuJob:
    """A command of `QemuGuest.spawn`."""

    def __init__(self, guest: QemuGuest, command: str, timeout: float, mark: str) -> None:
        self._guest, self._command, self._timeout = guest, command, timeout
        self._end = re.compile(rf"\n{mark} (\d+)\n".encode())

    def expect(self, text: str, seconds: float = COMMAND_SECONDS) -> None:
        """Wait until it has written ``text``."""
        self._guest.read_until(re.compile(re.escape(text.encode())), seconds, f"{text!r} from {self._command!r}")

    def wait(self) -> Result:
        """How it ended; a status of 137 says that its time-out passed."""
        seconds = self._timeout + _GRACE_SECONDS
        output, found = self._guest.read_until(self._end, seconds, f"the end of {self._command!r}", consume=True)
        self._guest.job_has_ended()
        return Result(self._command, int(found[1]), output.decode(errors="replace").replace("\r\n", "\n"))


class QemuGuest:
    """A running QEMU; the constructor returns when the guest's shell is there.

    ``netdev`` is the value of ``-netdev`` (with ``id=n``); None leaves netdev and device to ``launcher``, a command
    prefix such as ``pyslirp run --``.  ``from_network``: the NIC's own ROM (iPXE) boots, whatever it is told to.
    """

    interface = "eth0"
    lease_script = "/etc/udhcpc.script"
    lease_file = "/tmp/lease"

    def __init__(
        self,
        name: str,
        image: Image,
        host: Namespace,
        netdev: str | None,
        nic: str = NIC_MODELS[0],
        mac: str = FIRST_MAC,
        launcher: Sequence[str] = (),
        from_network: bool = False,
    ) -> None:
        self.name = name
        self._console = b""
        self._log = bytearray()
        self._commands = 0
        self._job: QemuJob | None = None
        booted = ["-boot", "n"] if from_network else self._booted(image)
        argv = [*host.enter(capabilities=False), *launcher, *self._qemu(), *booted]
        if netdev is not None:
            # No option ROM unless it is to boot: its package may not be there.
            rom = "" if from_network else ",romfile="
            argv += ["-netdev", netdev, "-device", f"{nic},netdev=n,mac={mac}{rom}"]
        self._popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._key = f"{name} console (pid {self._popen.pid})"
        journal.keep(self._key, self.console)
        try:
            self.read_until(re.compile(rb"guest is ready\r?\n"), BOOT_SECONDS, "the guest's shell", consume=True)
        except BaseException:
            self.kill()
            raise

    @staticmethod
    def _booted(image: Image) -> list[str]:
        kernel = ("-kernel", str(image.kernel), "-initrd", str(image.initrd))
        return [*kernel, "-append", KERNEL_OPTIONS]

    @staticmethod
    def _qemu() -> list[str]:
        return [
            *(require("qemu-system-x86_64", "qemu-system-x86"), "-accel", "tcg", "-nodefaults", "-no-user-config"),
            *("-display", "none", "-no-reboot", "-m", str(MEMORY_MIB)),
            *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        ]

    def console(self) -> str:
        """Everything that the console has written so far."""
        return self._log.decode(errors="replace").replace("\r\n", "\n")

    def run(self, command: str, timeout: float = COMMAND_SECONDS) -> Result:
        """What the guest's shell makes of ``command``; a status of 137 says that ``timeout`` passed."""
        return self.spawn(command, timeout).wait()

    def spawn(self, command: str, timeout: float = COMMAND_SECONDS) -> QemuJob:
        """Start ``command`` (one line); it must be waited for before the next."""
        assert "\n" not in command, f"the guest's shell takes one line: {command!r}"
        if self._job:  # of a test that failed before its end
            self._job.wait()
        self._commands += 1
        mark = f"end-of-command-{self._commands}"
        limited = f"timeout -s KILL {timeout:g} sh -c {shlex.quote(command)} </dev/null 2>&1"
        self._write(f"{limited}; printf '\\n%s %d\\n' {mark} $?\n")
        self._job = QemuJob(self, command, timeout, mark)
        return self._job

    def job_has_ended(self) -> None:
        """The next command may come."""
        self._job = None

    def read_until(
        self, pattern: re.Pattern[bytes], seconds: float, what: str, consume: bool = False
    ) -> tuple[bytes, re.Match[bytes]]:
        """Read the console until ``pattern`` is in what has not been consumed yet: what stood before it, and it."""
        assert self._popen.stdout
        deadline = Deadline(seconds)
        while not (found := pattern.search(self._console)):
            assert select.select([self._popen.stdout], [], [], deadline.left())[0], (
                f"{self.name}: {seconds:g} s without {what}; the console's end:\n{self.console()[-2000:]}"
            )
            part = os.read(self._popen.stdout.fileno(), 65536)
            assert part, f"{self.name}: QEMU ended ({self._popen.wait(5)}) before {what}:\n{self.console()[-2000:]}"
            self._log += part
            self._console += part
        before = self._console[: found.start()]
        if consume:
            self._console = self._console[found.end() :]
        return before, found

    def _write(self, text: str) -> None:
        assert self._popen.stdin
        self._popen.stdin.write(text.encode())
        self._popen.stdin.flush()

    def wait(self, seconds: float = 20.0) -> int:
        """The exit status of QEMU (or of its launcher) when it ends by itself."""
        return self._popen.wait(seconds)

    def power_off(self) -> None:
        """Have the guest's kernel switch the machine off; QEMU then ends by itself."""
        self._write("poweroff -f\n")

    def kill(self) -> None:
        """SIGKILL, as if the power went."""
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe:
                pipe.close()
        journal.drop(self._key)

    close = kill
