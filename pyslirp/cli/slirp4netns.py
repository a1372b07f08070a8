"""``pyslirp-slirp4netns``: in slirp4netns's place, by its own command line (slirp4netns(1)), e.g. for podman.

The order of what happens, and of what is said, is slirp4netns's: a child makes the tap and configures it, at once, while
the rest is imported (there are scripts that do not wait for it); the parent says how the network is, opens the API socket,
goes into its sandbox, and then writes to the ready-fd.  Until the exit-fd is hung up (exit status 0), or a signal comes.

Different on purpose: a signal ends it in order, the API socket's file removed, before it takes its effect; the API
socket is for its owner alone; addresses of the guests' network that nobody has are unreachable.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING, TextIO

from pyslirp.cli.slirp4netns_options import Slirp4netnsOptions, UsageError, read_options, usage
from pyslirp.errors import ConfigErrors, LinkError, SlirpError

if TYPE_CHECKING:
    from pyslirp.config.stack import Config
    from pyslirp.control.slirp4netns_api import ApiSocket
    from pyslirp.host.errand import Errand
    from pyslirp.loops.plain import PlainLoop
    from pyslirp.stack import Stack

FAILURE = 1
#: What slirp4netns's child gives to perror(3), by LinkError.step.
PERROR = {
    "join": "setns(CLONE_NEWNET)",
    "device": 'open("/dev/net/tun")',
    "tap": "ioctl(TUNSETIFF)",
    "up": "cannot set device up",
    "mtu": "cannot set MTU",
    "mac": "cannot set MAC address",
    "address": "cannot set device address",
    "route": "set route",
}
PREFIX6 = "fd00::/64"  #: with --enable-ipv6; the host is ::2, DNS ::3, and the guest takes an address by itself
FAILED = ("do_slirp is exiting", "do_slirp failed", "parent failed")
NEEDED_LATER = ("encodings.idna", "linecache", "tokenize", "traceback")  #: by Python itself, which finds no file then


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    program, words = sys.argv[0], sys.argv[1:] if arguments is None else arguments
    warnings: list[str] = []
    try:
        options = read_options(program, words, warnings)
    except UsageError as error:
        _say(warnings)
        if str(error):
            _complain(str(error))
        if error.usage:
            _say(usage(program).splitlines())
        return FAILURE
    _say(warnings)
    if isinstance(options, str):
        _say(options.splitlines())
        return 0
    descriptors = {fd for fd in (options.exit_fd, options.ready_fd) if fd is not None and _is_open(fd)}
    try:
        return _start(options, descriptors)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _is_open(descriptor: int) -> bool:
    """Asked before we open any of our own, which would take the number of one that is not."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _say(lines: Sequence[str]) -> None:
    _write(sys.stdout, lines)


def _complain(*lines: str) -> None:
    _write(sys.stderr, lines)


def _write(stream: TextIO | None, lines: Sequence[str]) -> None:
    """That nobody reads it any more is no reason to end: whoever has started us may have gone."""
    if stream is None:  # closed before we began
        return
    try:
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


# -- the guest's side -----------------------------------------------------------------------------------------------------


def _start(options: Slirp4netnsOptions, descriptors: set[int]) -> int:
    try:
        return _run(options, _begin_guest(options), descriptors)
    except LinkError as error:
        _complain(*_lines(error), "child failed(1)")
        return FAILURE


def network_config(options: Slirp4netnsOptions) -> Config:
    """The network that the options describe.  Raises ConfigErrors."""
    from pyslirp.config.stack import Config  # noqa: PLC0415 - while the child is at work

    return Config.build(
        net=options.net,
        host=options.gateway,
        dns=options.dns_address,
        dhcpstart=options.dhcp_start,
        mtu=options.mtu,
        host_loopback=options.host_loopback,
        dns_forward=options.dns,
        outbound_addr=options.outbound,
        outbound_addr6=options.outbound6,
        ipv4=True,
        ipv6=options.ipv6,
        ipv6_net=PREFIX6 if options.ipv6 else None,
    )


def _begin_guest(options: Slirp4netnsOptions) -> Callable[[], int]:
    """Begin to open the guest's descriptor; what comes back waits for it."""
    if options.target_type == "bess":
        return lambda: _accept_bess(options.target)
    if options.netns_type == "tapfd":
        from pyslirp.links.tap import duplicate  # noqa: PLC0415 - only who is wanted is waited for

        return lambda: duplicate(int(options.target))
    from pyslirp.links.interface import InterfaceSettings  # noqa: PLC0415
    from pyslirp.taps import open_inside  # noqa: PLC0415

    settings = None
    if options.configure:
        address = IPv4Interface((options.guest, options.net.prefixlen))
        settings = InterfaceSettings(((address, options.gateway),), options.mtu, options.mac)
    by_pid = options.netns_type == "pid"
    netns = f"/proc/{int(options.target)}/ns/net" if by_pid else options.target
    return _fetch(open_inside(netns, options.tap_name, settings, options.userns_path), options.tap_name)


def _fetch(errand: Errand, name: str) -> Callable[[], int]:
    def take() -> int:
        descriptor = errand.fetch()
        errand.finish()
        _complain(f"sent tapfd={descriptor} for {name}", f"received tapfd={descriptor}")
        return descriptor

    return take


def _accept_bess(path: str) -> int:
    """The one client of a BESS port: a SEQPACKET socket whose messages are frames."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        mask = os.umask(0o177)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - pathlib takes long to import: see pyslirp/taps.py
            listener.bind(path)
            listener.listen(0)
        except OSError as error:
            raise LinkError(error.errno, f"{path}: {error.strerror}") from None
        finally:
            os.umask(mask)
        _complain(f"Waiting for connection to {path}")
        return listener.accept()[0].detach()


# -- the network ----------------------------------------------------------------------------------------------------------


def _run(options: Slirp4netnsOptions, take: Callable[[], int], descriptors: set[int]) -> int:
    try:
        config = network_config(options)
    except ConfigErrors as error:  # an MTU that is too small for IP
        _complain(str(error), "slirp_new failed", "create_slirp failed", *FAILED)
        return FAILURE
    from pyslirp.links.tap import TapLink  # noqa: PLC0415 - while the child is at work
    from pyslirp.loops.plain import PlainLoop  # noqa: PLC0415
    from pyslirp.observe.log import set_up  # noqa: PLC0415
    from pyslirp.stack import Stack  # noqa: PLC0415

    set_up(0)
    signals: list[int] = []
    stack = Stack(config)

    def signalled(number: int) -> None:
        signals.append(number)
        loop.stop()

    loop = PlainLoop(stack, signalled)
    framing = "seqpacket" if options.target_type == "bess" else "tap"
    with loop:
        try:
            stack.open_link(
                TapLink(options.tap_name or options.target, take, stack.mtu, lambda _: loop.stop(), framing)
            )
            status = _serve(options, stack, loop, descriptors)
        finally:
            stack.close()
    if signals:  # what they would have done without us
        signal.signal(signals[0], signal.SIG_DFL)
        os.kill(os.getpid(), signals[0])
    if status == 0:
        _complain("do_slirp is exiting")
    return status


def _serve(options: Slirp4netnsOptions, stack: Stack, loop: PlainLoop, descriptors: set[int]) -> int:
    """`descriptors`: those of exit-fd and ready-fd that are open."""
    _say(announcement(options))
    api: ApiSocket | None = None
    try:
        if options.api_socket is not None:
            from pyslirp.control.slirp4netns_api import ApiSocket  # noqa: PLC0415

            api = ApiSocket(stack, options.api_socket, options.guest, _complain)
        if options.exit_fd is not None:
            _watch_exit(options.exit_fd, stack, loop, is_open=options.exit_fd in descriptors)
        _confine(options)
        if options.ready_fd is not None:
            _say_ready(options.ready_fd, is_open=options.ready_fd in descriptors)
        loop.run()
    except (SlirpError, OSError) as error:
        _complain(_text(error), *FAILED)
        return FAILURE
    finally:
        if api is not None:
            api.close()
    return 0


def announcement(options: Slirp4netnsOptions) -> list[str]:
    """What slirp4netns says at its start."""
    rows = [
        ("MTU", options.mtu),
        ("Network", options.net.network_address),
        ("Netmask", options.net.netmask),
        ("Gateway", options.gateway),
        ("DNS", options.dns_address),
        ("DHCP begin", options.dhcp_start),
        ("DHCP end", options.dhcp_end),
        ("Recommended IP", options.guest),
        ("API Socket", options.api_socket),
        ("Outbound IPv4", options.outbound and f" {options.outbound}"),  # one column off, as there
        ("Outbound IPv6", options.outbound6 and f" {options.outbound6}"),
        ("MAC address", options.mac),
    ]
    lines = ["Starting slirp", *(f"* {name + ':':<16} {value}" for name, value in rows if value is not None)]
    if options.host_loopback:
        lines.append(
            f"WARNING: 127.0.0.1:* on the host is accessible as {options.gateway} "
            "(set --disable-host-loopback to prohibit connecting to 127.0.0.1:*)"
        )
    return lines


def _watch_exit(descriptor: int, stack: Stack, loop: PlainLoop, *, is_open: bool) -> None:
    """End when the exit-fd is hung up, which one that is not open is already; a file never is."""

    def ended() -> None:
        _complain("exitfd event")
        loop.stop()

    if not is_open:
        ended()
        return
    with contextlib.suppress(PermissionError):  # epoll(7): a file is always ready and never hung up
        stack.watch(descriptor, None, None, ended)


def _confine(options: Slirp4netnsOptions) -> None:
    """Go into the sandbox, and give up system calls, where that is wanted."""
    if options.sandbox:
        from pyslirp.host import sandbox  # noqa: PLC0415

        for name in NEEDED_LATER:
            importlib.import_module(name)
        if options.seccomp:
            importlib.import_module("pyslirp.host.seccomp")
        sandbox.enter()
    if options.seccomp:
        from pyslirp.host import seccomp  # noqa: PLC0415

        _say([f"seccomp: The following syscalls are blocked: {' '.join(seccomp.install())}"])


def _say_ready(descriptor: int, *, is_open: bool) -> None:
    """What goes wrong here is nobody's business there; here at least it is said."""
    number = errno.EBADF
    if is_open:
        try:
            os.write(descriptor, b"1")
            os.close(descriptor)
        except OSError as error:
            number = error.errno or 0
        else:
            return
    _complain(f"pyslirp: ready-fd {descriptor}: {os.strerror(number)}")


def _lines(error: LinkError) -> list[str]:
    """slirp4netns's line, where it is another than ours, and ours, which has the remedy."""
    if error.step not in PERROR or error.errno is None:
        return [_text(error)]
    return [f"{PERROR[error.step]}: {os.strerror(error.errno)}", f"pyslirp: {_text(error)}"]


def _text(error: Exception) -> str:
    if isinstance(error, LinkError):
        return str(error.args[1] if len(error.args) > 1 else error)
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
