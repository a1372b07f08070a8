"""The command line: ``pyslirp --listen ADDR [OPTIONS]``, ``pyslirp demo``, ``pyslirp run -- qemu-system-... ...``.

Exit status: 0 after SIGINT or SIGTERM, 1 where something of the host stands in the way (an address in use), 2 for what was
written wrong; `run` passes on the status of its command.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from pyslirp._version import __version__
from pyslirp.config.argv import add_arguments, from_arguments
from pyslirp.config.link import ConnectAddress, ListenAddress
from pyslirp.config.qemu import peer_netdev
from pyslirp.config.stack import Config
from pyslirp.errors import ConfigError, ConfigErrors, ForwardError, LinkError

USAGE_ERROR = 2
HOST_ERROR = 1

DESCRIPTION = "A user-mode network for guests: DHCP, DNS, TCP, UDP, ping and port forwarding without root."
EPILOG = """commands:
  pyslirp demo                           show what it does, without QEMU
  pyslirp run [OPTIONS] -- COMMAND ...   run a QEMU with this network and end with it

A guest joins with the -netdev that is printed at start.  An address to listen at is [HOST]:PORT (an empty HOST is
127.0.0.1), [V6]:PORT, unix:PATH or fd:N."""


class Parser(argparse.ArgumentParser):
    """argparse, with a hint where an option is misspelt."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Print the message and what may have been meant; exit status 2."""
        _, unknown, words = message.partition("unrecognized arguments: ")
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            close = get_close_matches(words.split()[0].partition("=")[0], known, n=1)
            message += f"; did you mean {close[0]}?" if close else "; see --help"
        complain(message)
        sys.exit(USAGE_ERROR)


def complain(text: str) -> None:
    """Each line to standard error, with our name in front."""
    for line in text.splitlines():
        print(f"pyslirp: {line}", file=sys.stderr)


def add_common(parser: argparse.ArgumentParser) -> None:
    """What every command takes: the options of the network, and how it is observed."""
    parser.add_argument("--pcap", metavar="FILE", help="write every frame to a pcapng file, for Wireshark")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say what happens (-vv: in detail)")
    add_arguments(parser)


def build_parser() -> Parser:
    """The parser of the network itself."""
    parser = Parser("pyslirp", DESCRIPTION, EPILOG)
    parser.add_argument("--version", action="version", version=f"pyslirp {__version__}")
    parser.add_argument(
        "--listen", action="append", default=[], metavar="ADDR", help="accept guests there (QEMU connects), repeatable"
    )
    parser.add_argument(
        "--connect", action="append", default=[], metavar="ADDR", help="connect to a QEMU that listens, repeatable"
    )
    parser.add_argument("--ready-fd", type=int, metavar="N", help="write '1' to this descriptor when guests may come")
    add_common(parser)
    return parser


def read_config(namespace: argparse.Namespace) -> tuple[Config | None, list[ListenAddress], list[ConnectAddress]]:
    """Everything that was written, checked at once; the Config is None where something was wrong (and has been said)."""
    errors: list[ConfigError] = []
    listen: list[ListenAddress] = []
    connect: list[ConnectAddress] = []
    for text in getattr(namespace, "listen", []):
        _collect(errors, lambda text=text: listen.append(ListenAddress.parse(text)))
    for text in getattr(namespace, "connect", []):
        _collect(errors, lambda text=text: connect.append(ConnectAddress.parse(text)))
    config = None
    try:
        config = from_arguments(namespace)
    except ConfigErrors as found:
        errors += found.errors
    if errors:
        complain("\n".join(str(error) for error in errors))
        return None, listen, connect
    return config, listen, connect


def _collect(errors: list[ConfigError], parse: object) -> None:
    try:
        parse()  # type: ignore[operator]
    except ConfigError as error:
        errors.append(error)


def serve(arguments: Sequence[str]) -> int:
    """Run a network until a signal ends it; the exit status."""
    parser = build_parser()
    namespace = parser.parse_intermixed_args(arguments)
    config, listen, connect = read_config(namespace)
    if config is None:
        return USAGE_ERROR
    if not listen and not connect:
        complain("no way for a guest to come: give --listen ADDR or --connect ADDR (--help tells more)")
        return USAGE_ERROR
    if namespace.ready_fd is not None and not _is_open(namespace.ready_fd):
        complain(f"--ready-fd {namespace.ready_fd}: not an open file descriptor")
        return USAGE_ERROR

    from pyslirp.loops.plain import PlainLoop  # noqa: PLC0415 - a typo need not wait for the engine
    from pyslirp.observe.log import set_up  # noqa: PLC0415
    from pyslirp.stack import Stack  # noqa: PLC0415

    set_up(namespace.verbose)
    try:
        stack = Stack(config)
    except OSError as error:
        complain(f"cannot start: {error.strerror or error}")
        return HOST_ERROR
    try:
        if namespace.pcap:
            stack.start_capture(namespace.pcap)
        stack.start()
        loop = PlainLoop(stack)
        links = [*(stack.listen(address) for address in listen), *(stack.connect(address) for address in connect)]
        announce(config, [link.describe() for link in links[: len(listen)]], [address for address in connect], stack)
        if namespace.ready_fd is not None:
            os.write(namespace.ready_fd, b"1")
            os.close(namespace.ready_fd)
        loop.run()
    except (LinkError, ForwardError) as error:
        complain(error.args[1] if len(error.args) > 1 else str(error))
        return HOST_ERROR
    except OSError as error:
        complain(f"{error.filename or 'the host'}: {error.strerror or error}")
        return HOST_ERROR
    finally:
        stack.close()
    return 0


def announce(config: Config, listening: list[str], connecting: list[ConnectAddress], stack: object) -> None:
    """Say where guests join, with the arguments that QEMU needs."""
    del stack
    print(f"pyslirp {__version__}: {config.network.net}, gateway {config.network.host}, DNS {config.dns.address}")
    for text in listening:
        print(f"listening at {text}")
        netdev = peer_netdev(ListenAddress.parse(text), config.network.id)
        if netdev is not None:
            print(f"  qemu-system-x86_64 ... -netdev {netdev} -device virtio-net-pci,netdev={config.network.id}")
    for address in connecting:
        print(f"connecting to {address}")
    for rule in config.forward.hostfwd:
        print(f"forwarding {rule}")
    sys.stdout.flush()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except (OSError, OverflowError):
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "demo":
        from pyslirp.cli.demo import demo  # noqa: PLC0415 - only where it is wanted

        return demo(arguments[1:])
    if arguments and arguments[0] == "run":
        from pyslirp.cli.run import run  # noqa: PLC0415 - only where it is wanted

        return run(arguments[1:])
    return serve(arguments)
