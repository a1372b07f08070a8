"""``pyslirp run [OPTIONS] -- qemu-system-x86_64 ...``: a QEMU and its network, as one command.

QEMU gets one end of a private socketpair as ``-netdev socket,fd=`` (every version has it), and a NIC for it unless its own
arguments have one.  Its exit status is passed on; when it ends, the network ends.  SIGINT reaches both from the terminal;
SIGTERM is handed on to QEMU, which then decides.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyslirp.cli.arguments import HOST_ERROR, USAGE_ERROR, Parser, add_common, complain, read_config
from pyslirp.errors import ForwardError
from pyslirp.links.base import STREAM_MTU, PortSpec

if TYPE_CHECKING:
    from pyslirp.stack import Stack

DEFAULT_MODEL = "virtio-net-pci"
NOT_FOUND = 127  #: exit status where the command is not there, as a shell has it
DESCRIPTION = "Run a QEMU with a network of its own; what follows -- is its command line."


def build_parser() -> Parser:
    """The parser of what stands before ``--``."""
    parser = Parser("pyslirp run", DESCRIPTION)
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NIC", help="QEMU's device for the guest (default %(default)s)"
    )
    add_common(parser)
    return parser


def qemu_arguments(command: Sequence[str], fd: int, name: str, model: str) -> list[str]:
    """`command` with the -netdev for descriptor `fd`, and a -device where none of its arguments uses netdev `name`."""
    arguments = [*command, "-netdev", f"socket,id={name},fd={fd}"]
    if not any(f"netdev={name}" in argument.split(",") for argument in command):
        arguments += ["-device", f"{model},netdev={name}"]
    return arguments


def run(arguments: Sequence[str]) -> int:
    """Run the command; its exit status (128 and the signal's number where a signal has ended it)."""
    if "--" not in arguments:
        ours, command = list(arguments), []
    else:
        at = list(arguments).index("--")
        ours, command = list(arguments[:at]), list(arguments[at + 1 :])
    namespace = build_parser().parse_intermixed_args(ours)
    config, _, _ = read_config(namespace)
    if config is None:
        return USAGE_ERROR
    if not command:
        complain("run: no command; write: pyslirp run [OPTIONS] -- qemu-system-x86_64 ...")
        return USAGE_ERROR

    from pyslirp.loops.plain import PlainLoop  # noqa: PLC0415 - a typo need not wait for the engine
    from pyslirp.observe.log import set_up  # noqa: PLC0415
    from pyslirp.stack import Stack  # noqa: PLC0415

    set_up(namespace.verbose)
    stack = Stack(config)
    try:
        if namespace.pcap:
            stack.start_capture(namespace.pcap)
        stack.start()
        child = _start(stack, command, config.network.id, namespace.model)
        ended = os.pidfd_open(child.pid)
        stack.watch(ended, lambda: None)
        PlainLoop(stack, on_signal=lambda number: _hand_on(child, number)).run(until=lambda: child.poll() is not None)
        os.close(ended)
    except ForwardError as error:
        complain(error.args[1])
        return HOST_ERROR
    except FileNotFoundError as error:
        complain(f"{error.filename}: not found; is it installed?")
        return NOT_FOUND
    except OSError as error:
        complain(f"{error.filename or 'cannot start'}: {error.strerror or error}")
        return HOST_ERROR
    finally:
        stack.close()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _start(stack: Stack, command: Sequence[str], name: str, model: str) -> subprocess.Popen[bytes]:
    """QEMU at the other end of a socketpair whose one end is a port of the switch."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    with theirs:
        fd = theirs.fileno()
        try:
            child = subprocess.Popen(qemu_arguments(command, fd, name, model), pass_fds=[fd])
        except OSError:
            ours.close()
            raise
    stack.attach(
        PortSpec(ours.detach(), "stream", stack.config.network.mtu or STREAM_MTU, command[0]), lambda reason: None
    )
    return child


def _hand_on(child: subprocess.Popen[bytes], number: int) -> None:
    """SIGTERM was for us alone; SIGINT the terminal has sent to QEMU too."""
    if number == signal.SIGTERM and child.poll() is None:
        child.terminate()
