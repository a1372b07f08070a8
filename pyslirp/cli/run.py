"""``pyslirp run [OPTIONS] -- qemu-system-x86_64 ...``: a QEMU and its network, as one command.

QEMU gets one end of a private socketpair as ``-netdev socket,fd=`` (every version has it), and a NIC for it unless its
own arguments have one.  Its exit status is passed on; when it ends, the network ends.

Signals.  SIGTERM and SIGHUP are handed on to QEMU, which then decides; so is SIGINT, but in the foreground of a
terminal: that has sent Ctrl-C to both.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyslirp.cli.arguments import (
    HOST_ERROR,
    USAGE_ERROR,
    Parser,
    add_common,
    begin,
    complain,
    explain,
    read_config,
)
from pyslirp.cli.foreground import in_foreground
from pyslirp.config.argv import nic_of
from pyslirp.errors import SlirpError
from pyslirp.links.base import PortSpec

if TYPE_CHECKING:
    import argparse

    from pyslirp.config.stack import Config
    from pyslirp.loops.plain import PlainLoop
    from pyslirp.stack import Stack

DEFAULT_MODEL = "virtio-net-pci"
NIC_MODELS = {"virtio": "virtio-net-pci"}  #: models of -nic that are a device of another name
NOT_EXECUTABLE, NOT_FOUND = 126, 127  #: exit status where the command cannot be run, or is not there: a shell's
SIGNALLED = 128  #: and the number of the signal that has ended the command
PATIENCE_SECONDS = 5.0  #: between SIGTERM and SIGKILL
DESCRIPTION = "Run a QEMU with a network of its own; what follows -- is its command line."
SYNOPSIS = "write: pyslirp run [OPTIONS] -- qemu-system-x86_64 ..."


def build_parser() -> Parser:
    """The parser of what stands before ``--``."""
    parser = Parser("pyslirp run", DESCRIPTION)
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NIC", help="QEMU's device for the guest (default %(default)s)"
    )
    add_common(parser)
    return parser


def device_of(namespace: argparse.Namespace) -> str:
    """The -device that the guest's NIC is, without its netdev: by --model, or by -nic's model= and mac=."""
    nic = nic_of(namespace)
    model = nic.get("model", namespace.model)
    device = NIC_MODELS.get(model, model)
    return f"{device},mac={nic['mac']}" if "mac" in nic else device


def qemu_arguments(command: Sequence[str], fd: int, name: str, model: str) -> list[str]:
    """`command` with the -netdev for descriptor `fd`, and a -device where none of its arguments uses netdev `name`."""
    arguments = [*command, "-netdev", f"socket,id={name},fd={fd}"]
    if not any(f"netdev={name}" in argument.split(",") for argument in command):
        arguments += ["-device", f"{model},netdev={name}"]
    return arguments


def run(arguments: Sequence[str]) -> int:
    """Run the command; its exit status (128 and the signal's number where a signal has ended it)."""
    ours, command = _split(arguments)
    if command is None and not {"-h", "--help"}.intersection(ours):
        complain(f"run: no '--' in front of the command; {SYNOPSIS}")
        return USAGE_ERROR
    namespace = build_parser().read(ours)
    config, _, _ = read_config(namespace)
    if config is None:
        return USAGE_ERROR
    if not command:
        complain(f"run: no command; {SYNOPSIS}")
        return USAGE_ERROR
    if "-daemonize" in command:
        complain("run: -daemonize: QEMU would leave its network behind; use --listen and start QEMU by itself")
        return USAGE_ERROR
    return _run(namespace, config, command)


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """What stands before and behind ``--``; None where there is none."""
    words = list(arguments)
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _run(namespace: argparse.Namespace, config: Config, command: list[str]) -> int:
    from pyslirp.loops.plain import PlainLoop  # noqa: PLC0415 - a typo need not wait for the engine
    from pyslirp.observe.log import set_up  # noqa: PLC0415
    from pyslirp.stack import Stack  # noqa: PLC0415

    set_up(namespace.verbose)
    child = Child()
    try:
        stack = Stack(config)
        with PlainLoop(stack, child.signal) as loop:
            try:
                begin(stack, namespace)
                child.start(stack, command, device_of(namespace))
                child.attend(stack, loop)
            finally:
                stack.close()
                child.end()
    except StartError as error:
        complain(str(error))
        return error.status
    except (SlirpError, OSError) as error:
        complain(explain(error))
        return HOST_ERROR
    return child.status


class StartError(SlirpError):
    """The command cannot be started."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status  #: for us to exit with


class Child:
    """The command, from before it is started until after its end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._signalled = 0  # by this, before there was anybody to hand it on to

    @property
    def status(self) -> int:
        """The exit status that stands for the command's, once it has ended (or was never started, for a signal)."""
        if self._process is None:
            return SIGNALLED + self._signalled
        code = self._process.returncode
        return code if code >= 0 else SIGNALLED - code

    def signal(self, number: int) -> None:
        """Hand a signal on."""
        if self._process is None:
            self._signalled = number
        elif number != signal.SIGINT or not in_foreground():
            self._process.send_signal(number)

    def start(self, stack: Stack, command: list[str], model: str) -> None:
        """Start it at the other end of a socketpair whose one end becomes a port of the switch.

        Raises StartError; does nothing where a signal has come before.
        """
        if self._signalled:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            ours.setblocking(False)
            words = qemu_arguments(command, theirs.fileno(), stack.config.network.id, model)
            try:
                self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()])
            except FileNotFoundError:
                raise StartError(f"{command[0]}: not found; is it installed?", NOT_FOUND) from None
            except OSError as error:
                raise StartError(f"{command[0]}: {explain(error)}", NOT_EXECUTABLE) from None
            stack.attach(PortSpec(ours.detach(), "stream", stack.mtu, command[0]))
        self._catch_up()

    def _catch_up(self) -> None:
        """Hand on the signal that came while it was being started."""
        if self._process is not None and self._signalled:
            self._process.send_signal(self._signalled)

    def attend(self, stack: Stack, loop: PlainLoop) -> None:
        """Run the network until the command has ended."""
        process = self._process
        if process is None:
            return
        ended = os.pidfd_open(process.pid)
        watch = stack.watch(ended, lambda: None)
        try:
            loop.run(until=lambda: process.poll() is not None)
        finally:
            stack.unwatch(watch)
            os.close(ended)

    def end(self) -> None:
        """See to it that it has ended: it has, unless the network has failed."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
