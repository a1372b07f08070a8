"""``pyslirp exec [OPTIONS] -- COMMAND ...``: a command with a network of its own, and no other.

The command runs in a new network namespace with one interface, which is configured; in a new user namespace too, unless
we are root, so that any user can.  It is still that user, with the rights of an administrator over its own network
alone.  In its own mount namespace /etc/resolv.conf names the network's DNS server; with ``--hostname`` its machine has that
name.

Its exit status is passed on; when it ends, the network ends.  Signals are handed on as by ``pyslirp run``.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyslirp.cli.arguments import HOST_ERROR, USAGE_ERROR, Parser, add_common, begin, complain, explain, read_config
from pyslirp.cli.foreground import in_foreground
from pyslirp.config.tap import DEFAULT_TAP_NAME, check_interface_name
from pyslirp.errors import ConfigError, LinkError, SlirpError

if TYPE_CHECKING:
    import argparse

    from pyslirp.config.stack import Config
    from pyslirp.host.errand import Errand
    from pyslirp.loops.plain import PlainLoop
    from pyslirp.stack import Stack

NOT_EXECUTABLE, NOT_FOUND = 126, 127  #: exit status where the command cannot be run, or is not there: a shell's
DESCRIPTION = "Run a command in a new network namespace, with this network; what follows -- is the command."
SYNOPSIS = "write: pyslirp exec [OPTIONS] -- COMMAND ..."


def build_parser() -> Parser:
    """The parser of what stands before ``--``."""
    parser = Parser("pyslirp exec", DESCRIPTION)
    parser.add_argument("--root", action="store_true", help="be root in the new user namespace, not oneself")
    parser.add_argument(
        "--tap", default=DEFAULT_TAP_NAME, metavar="NAME", help="what the interface is called (default %(default)s)"
    )
    add_common(parser)
    return parser


def exec_(arguments: Sequence[str]) -> int:
    """Run the command; its exit status (128 and the signal's number where a signal has ended it)."""
    words = list(arguments)
    at = words.index("--") if "--" in words else len(words)
    ours, command = words[:at], words[at + 1 :]
    namespace = build_parser().parse_intermixed_args(ours)
    config, _, _ = read_config(namespace)
    if config is None:
        return USAGE_ERROR
    try:
        check_interface_name("tap", namespace.tap)
    except ConfigError as error:
        complain(str(error))
        return USAGE_ERROR
    if not command:
        missing = "command" if "--" in words else "'--' in front of the command"
        complain(f"exec: no {missing}; {SYNOPSIS}")
        return USAGE_ERROR
    return _run(namespace, config, command)


def _run(namespace: argparse.Namespace, config: Config, command: list[str]) -> int:
    from pyslirp.provision import first_guest, resolv_conf  # noqa: PLC0415 - a typo need not wait
    from pyslirp.taps import open_with_command  # noqa: PLC0415

    config, settings = first_guest(config)
    names = resolv_conf(config)
    root, hostname = namespace.root, config.dhcp.hostname
    errand = open_with_command(command, namespace.tap, settings, names, as_root=root, hostname=hostname)

    from pyslirp.loops.plain import PlainLoop  # noqa: PLC0415 - while the child configures its interface
    from pyslirp.observe.log import set_up  # noqa: PLC0415
    from pyslirp.stack import Stack  # noqa: PLC0415

    set_up(namespace.verbose)
    try:
        stack = Stack(config)
        with PlainLoop(stack, lambda number: _hand_on(errand, number)) as loop:
            try:
                begin(stack, namespace)
                return _attend(stack, loop, errand, command[0])
            finally:
                stack.close()
    except (SlirpError, OSError) as error:
        complain(explain(error))
        return HOST_ERROR


def _attend(stack: Stack, loop: PlainLoop, errand: Errand, name: str) -> int:
    """Join the command to the network, start it, and run the network until it ends."""
    from pyslirp.links.tap import TapLink  # noqa: PLC0415

    stack.open_link(TapLink(name, errand.fetch, stack.mtu))
    process = os.pidfd_open(errand.pid)
    try:
        errand.go_on()
    except LinkError as error:
        complain(explain(error))
        return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
    watch = stack.watch(process, lambda: None)
    loop.run(until=lambda: errand.wait(block=False) is not None)
    stack.unwatch(watch)
    os.close(process)
    status = errand.wait()
    return HOST_ERROR if status is None else status


def _hand_on(errand: Errand, number: int) -> None:
    """Ctrl-C at a terminal reaches both; every other signal was for us alone."""
    if number != signal.SIGINT or not in_foreground():
        errand.signal(number)
