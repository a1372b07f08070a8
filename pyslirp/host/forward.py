"""The host's side of ``hostfwd``: the socket that listens for a rule."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyslirp.addresses import Address, Endpoint
from pyslirp.errors import ForwardError

if TYPE_CHECKING:
    from pathlib import Path

BACKLOG = 1024  #: connections that the kernel holds while a guest is slow; libslirp has 1

_HINTS = {
    errno.EADDRINUSE: "; choose another host port, or 0 for a free one",
    errno.EACCES: "; choose a host port from 1024 on, or lower net.ipv4.ip_unprivileged_port_start",
    errno.EADDRNOTAVAIL: "; the address is not one of this host's",
    errno.EAFNOSUPPORT: "; this host has no IPv6",
    errno.EMFILE: "; raise the limit of open files (ulimit -n)",
}
_PATH_HINTS = {
    errno.EADDRINUSE: "; stop who listens there, or choose another path",
    errno.EACCES: "; choose a path that you may write to",
    errno.ENOENT: "; the directory must exist",
}


def open_forward(rule: str, protocol: str, address: Address, port: int, *, listen: bool = True) -> socket.socket:
    """A non-blocking socket for the rule printed as `rule`: "tcp" bound and listening, "udp" bound.

    listen: False keeps the port of a TCP rule, and refuses its clients.  Raises ForwardError in QEMU's words, with the
    reason and the remedy that QEMU leaves out.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    opened = _socket(rule, family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((str(address), port))
        if protocol == "tcp" and listen:
            opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise _refused(rule, error) from None
    return opened


def open_unix_forward(rule: str, path: str) -> socket.socket:
    """A non-blocking socket that listens at `path`, for nobody but its owner (mode 0600).

    A socket that is there already is taken away, as QEMU does, but not from somebody who listens there.  Raises
    ForwardError in QEMU's words.
    """
    _make_room(rule, path)
    opened = _socket(rule, socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.bind(path)
        _path(path).chmod(0o600)  # before `listen`: until then nobody can connect
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise _refused(rule, error, _PATH_HINTS) from None
    return opened


def _make_room(rule: str, path: str) -> None:
    try:
        mode = _path(path).lstat().st_mode
    except OSError:
        return  # nothing is there; or `bind` says what is wrong
    if not stat.S_ISSOCK(mode):
        reason = "file exists and it's not unix socket"
        raise ForwardError(errno.EEXIST, f"Invalid host forwarding rule '{rule}' ({reason})")
    # A stream socket that somebody has bound is of the wrong type for this one, which so is no client of anybody's.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        if probe.connect_ex(path) in (0, errno.EPROTOTYPE):
            raise _refused(rule, OSError(errno.EADDRINUSE, ""), _PATH_HINTS)
    try:
        _path(path).unlink()
    except OSError as error:
        raise ForwardError(error.errno, f"Failed to unlink '{path}': {error.strerror}") from None


def remove_unix_forward(path: str) -> None:
    """Take the socket's name away again, where it is still one's own to take."""
    with contextlib.suppress(OSError):
        _path(path).unlink()


def _socket(rule: str, family: int, kind: int) -> socket.socket:
    try:
        return socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise _refused(rule, error) from None


def bound_endpoint(opened: socket.socket) -> Endpoint:
    """Where it listens, with the port that the host has chosen for port 0."""
    name = opened.getsockname()
    return Endpoint.of(name[0].partition("%")[0], name[1])


def _refused(rule: str, error: OSError, hints: Mapping[int, str] = _HINTS) -> ForwardError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    hint = hints.get(error.errno or 0, "")
    return ForwardError(error.errno, f"Could not set up host forwarding rule '{rule}': {reason}{hint}")


def _path(name: str) -> Path:
    from pathlib import Path  # noqa: PLC0415 - only who forwards a unix socket waits for it

    return Path(name)
