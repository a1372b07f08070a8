"""``pyslirp --listen ADDR [OPTIONS]``: a network until a signal ends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from pyslirp._version import __version__
from pyslirp.cli.arguments import HOST_ERROR, USAGE_ERROR, Parser, add_common, complain, read_config
from pyslirp.config.link import ConnectAddress, ListenAddress
from pyslirp.config.qemu import peer_netdev
from pyslirp.config.stack import Config
from pyslirp.errors import ForwardError, LinkError

DESCRIPTION = "A user-mode network for guests: DHCP, DNS, TCP, UDP, ping and port forwarding without root."
EPILOG = """commands:
  pyslirp demo                           show what it does, without QEMU
  pyslirp run [OPTIONS] -- COMMAND ...   run a QEMU with this network and end with it

A guest joins with the -netdev that is printed at start.  An address to listen at is [HOST]:PORT (an empty HOST is
127.0.0.1), [V6]:PORT, unix:PATH or fd:N."""


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
        listeners = [stack.listen(address) for address in listen]
        for address in connect:
            stack.connect(address)
        announce(config, [link.address for link in listeners], connect, [str(f.rule) for f in stack.forwards])
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


def announce(
    config: Config, listening: list[ListenAddress], connecting: list[ConnectAddress], forwarding: list[str]
) -> None:
    """Say where guests join, with the arguments that QEMU needs."""
    print(f"pyslirp {__version__}: {config.network.net}, gateway {config.network.host}, DNS {config.dns.address}")
    for listener in listening:
        print(f"listening at {listener}")
        netdev = peer_netdev(listener, config.network.id)
        if netdev is not None:
            print(f"  qemu-system-x86_64 ... -netdev {netdev} -device virtio-net-pci,netdev={config.network.id}")
    for address in connecting:
        print(f"connecting to {address}")
    for rule in forwarding:
        print(f"forwarding {rule}")
    sys.stdout.flush()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except (OSError, OverflowError):
        return False
    return True
