"""``pyslirp --listen ADDR [OPTIONS]``: a network until a signal ends it."""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence

from pyslirp._version import __version__
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
from pyslirp.cli.tap import Tap, TapRequest, add_tap
from pyslirp.config.argv import nic_of
from pyslirp.config.link import ConnectAddress, ListenAddress
from pyslirp.config.qemu import peer_netdev
from pyslirp.config.stack import Config
from pyslirp.errors import ConfigError, SlirpError

DESCRIPTION = "A user-mode network for guests: DHCP, DNS, TCP, UDP, ping and port forwarding without root."
EPILOG = """commands:
  pyslirp demo                           show what it does, without QEMU
  pyslirp run [OPTIONS] -- COMMAND ...   run a QEMU with this network and end with it
  pyslirp exec [OPTIONS] -- COMMAND ...  run any command in a new namespace with this network
  pyslirp ctl PATH COMMAND ...           give a run-time command to a network started with --control unix:PATH

A guest joins with the -netdev that is printed at start.  An address to listen at is [HOST]:PORT (an empty HOST is
127.0.0.1), [V6]:PORT, unix:PATH or fd:N."""
STANDARD_ERROR = 2


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
    add_tap(parser)
    parser.add_argument("--ready-fd", type=int, metavar="N", help="write '1' to this descriptor when guests may come")
    add_common(parser)
    return parser


def serve(arguments: Sequence[str]) -> int:
    """Run a network until a signal ends it; the exit status."""
    namespace = build_parser().read(arguments)
    config, listen, connect = read_config(namespace)
    if config is None:
        return USAGE_ERROR
    try:
        request = TapRequest.read(namespace)
    except ConfigError as error:
        complain(str(error))
        return USAGE_ERROR
    if not listen and not connect and request is None:
        complain("no way for a guest to come: give --listen ADDR, --connect ADDR or --netns PID (--help tells more)")
        return USAGE_ERROR
    wrong = _wrong_descriptors(namespace.ready_fd, [*listen, *connect])
    if wrong:
        complain("\n".join(wrong))
        return USAGE_ERROR
    for name, value in nic_of(namespace).items():
        complain(f"-nic: {name}={value} is about QEMU's own device: ignored here")
    return _run(namespace, config, listen, connect, request)


def _wrong_descriptors(ready_fd: int | None, addresses: Sequence[ListenAddress]) -> list[str]:
    """What is wrong with the descriptors that were given; asked before we open any of our own."""
    wrong = []
    if ready_fd is not None and not _is_open(ready_fd, writing=True):
        wrong.append(f"--ready-fd {ready_fd}: not a file descriptor that is open for writing")
    for address in addresses:
        if address.kind == "fd" and not _is_open(address.fd):
            reason = f"Can't use file descriptor {address.fd}: {os.strerror(errno.EBADF)}"
            wrong.append(f"--{address.option} {address}: {reason}; it must be open when pyslirp is started")
    return wrong


def _is_open(descriptor: int, *, writing: bool = False) -> bool:
    try:
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    except (OSError, OverflowError, ValueError):
        return False
    return not writing or mode != os.O_RDONLY


def _run(
    namespace: argparse.Namespace,
    config: Config,
    listen: list[ListenAddress],
    connect: list[ConnectAddress],
    request: TapRequest | None,
) -> int:
    try:
        tap = Tap(request, config) if request is not None else None
    except SlirpError as error:
        complain(explain(error))
        return HOST_ERROR
    from pyslirp.loops.plain import PlainLoop  # noqa: PLC0415 - a typo need not wait for the engine
    from pyslirp.observe.log import set_up  # noqa: PLC0415
    from pyslirp.stack import Stack  # noqa: PLC0415

    set_up(namespace.verbose)
    try:
        stack = Stack(tap.config if tap is not None else config)
    except OSError as error:
        complain(f"cannot start: {explain(error)}")
        return HOST_ERROR
    with PlainLoop(stack) as loop:
        try:
            begin(stack, namespace)
            listeners = [stack.listen(address) for address in listen]
            for address in connect:
                stack.connect(address)
            if tap is not None:
                tap.attach(stack, loop, alone=not listen and not connect)
            announce(config, [link.address for link in listeners], connect, [str(f.rule) for f in stack.forwards])
            if namespace.ready_fd is not None:
                _say_ready(namespace.ready_fd)
            loop.run()
        except (SlirpError, OSError) as error:
            complain(explain(error))
            return HOST_ERROR
        finally:
            stack.close()
    return 0


def _say_ready(descriptor: int) -> None:
    try:
        os.write(descriptor, b"1")
    except OSError as error:
        raise SlirpError(f"--ready-fd {descriptor}: {explain(error)}") from None
    if descriptor > STANDARD_ERROR:
        os.close(descriptor)


def announce(
    config: Config, listening: list[ListenAddress], connecting: list[ConnectAddress], forwarding: list[str]
) -> None:
    """Say where guests join, with the arguments that QEMU needs."""
    lines = [f"pyslirp {__version__}: {'; '.join(_plans(config))}"]
    for listener in listening:
        lines.append(f"listening at {listener}")
        netdev = peer_netdev(listener, config.network.id)
        if netdev is not None:
            nic = f"-device virtio-net-pci,netdev={config.network.id}"
            lines.append(f"  qemu-system-x86_64 ... -netdev {netdev} {nic}")
    lines += [f"connecting to {address}" for address in connecting]
    lines += [f"forwarding {rule}" for rule in forwarding]
    print("\n".join(lines), flush=True)


def _plans(config: Config) -> Iterator[str]:
    """The addresses of each family that is spoken."""
    network, dns = config.network, config.dns
    if network.ipv4:
        yield f"{network.net}, gateway {network.host}, DNS {dns.address}"
    if network.ipv6:
        yield f"{network.prefix6}, gateway {network.host6}, DNS {dns.address6}"
