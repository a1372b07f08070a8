"""``--listen``: a stream socket that QEMU's ``-netdev socket,connect=`` and ``-netdev stream`` connect to.

Each accepted connection is a port of the switch.  An empty host is loopback and a Unix socket has mode 0600: whoever may
connect is inside the network, and reaches the host's loopback.

A Unix socket that a killed process has left behind is recognised by trying it (connect is refused) and replaced; one where
somebody answers is refused.  The path is unlinked at close only while it is still our socket.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

from pyslirp.config.link import ListenAddress
from pyslirp.errors import LinkError
from pyslirp.links.base import LinkHost, PortSpec

BACKLOG = 128
GUESTS_MAX = 250  #: of one listener; the switch has 256 ports
PAUSE_NS = 1_000_000_000  #: before accepting again after the host has run out of descriptors

_log = logging.getLogger("pyslirp.links.listener")


class Listener:
    """A listening link.  States: closed, open; and paused for PAUSE_NS when descriptors have run out."""

    def __init__(self, address: ListenAddress, mtu: int) -> None:
        """`mtu`: largest IP packet that guests here may send, bytes."""
        self._address = address
        self._mtu = mtu
        self._host: LinkHost | None = None
        self._socket: socket.socket | None = None
        self._watch: object | None = None
        self._inode: tuple[int, int] | None = None
        self._ports: set[int] = set()
        self._guests = 0

    def open(self, host: LinkHost) -> None:
        """Bind and listen.  Raises LinkError naming the address, the reason and the remedy."""
        self._host = host
        try:
            self._socket = self._bind()
        except OSError as error:
            raise LinkError(error.errno, f"--listen {self._address}: {_explain(error)}") from None
        self._socket.setblocking(False)
        self._watch = host.watch(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Stop listening, drop the guests, take the socket file away."""
        if self._socket is None or self._host is None:
            return
        self._unwatch()
        for port in tuple(self._ports):
            self._host.detach(port, "the network is shut down")
        self._ports.clear()
        self._socket.close()
        self._socket = None
        if self._inode is not None and _inode(self._address.path) == self._inode:
            Path(self._address.path).unlink(missing_ok=True)

    @property
    def address(self) -> ListenAddress:
        """Where it listens, with the port that the host has chosen for port 0."""
        return self._address

    def describe(self) -> str:
        """The address as the user would write it."""
        return str(self._address)

    # -- binding ------------------------------------------------------------------------------------------------------

    def _bind(self) -> socket.socket:
        if self._address.kind == "unix":
            return self._bind_unix()
        if self._address.kind == "fd":
            return _adopt(self._address.fd)
        family, kind, protocol, _, where = socket.getaddrinfo(
            self._address.host, self._address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(where)
            bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
        self._address = replace(self._address, port=bound.getsockname()[1])
        return bound

    def _bind_unix(self) -> socket.socket:
        path = self._address.path
        _remove_stale(path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)  # bind() makes the file: it must never be open to others, not even for a moment
        try:
            bound.bind(path)
        except OSError:
            bound.close()
            raise
        finally:
            os.umask(mask)
        self._inode = _inode(path)
        bound.listen(BACKLOG)
        return bound

    # -- accepting ----------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while self._socket is not None:
            try:
                guest, peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.ECONNABORTED, errno.EINTR}:
                    continue
                self._pause(error)
                return
            self._attach(guest, peer)

    def _attach(self, guest: socket.socket, peer: object) -> None:
        assert self._host is not None
        if len(self._ports) >= GUESTS_MAX:
            _log.warning("%s: a guest is refused, %d are attached", self.describe(), GUESTS_MAX)
            guest.close()
            return
        self._guests += 1
        name = f"{self.describe()}#{self._guests}"
        guest.setblocking(False)
        if guest.family != socket.AF_UNIX:
            guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        attached: list[int] = []

        def lost(reason: str) -> None:
            self._ports.discard(attached[0])
            _log.info("%s: guest gone (%s)", name, reason)

        try:
            attached.append(self._host.attach(PortSpec(guest.detach(), "stream", self._mtu, name), lost))
        except OSError as error:
            _log.warning("%s: a guest cannot be attached: %s", self.describe(), error.strerror or error)
            return
        self._ports.add(attached[0])
        _log.info("%s: guest attached (%s)", name, peer or "local")

    def _unwatch(self) -> None:
        if self._watch is not None and self._host is not None:
            self._host.unwatch(self._watch)
            self._watch = None

    def _pause(self, error: OSError) -> None:
        """Descriptors have run out: a level-triggered listener would spin."""
        assert self._host is not None
        _log.warning("%s: cannot accept: %s; trying again in a second", self.describe(), error.strerror or error)
        self._unwatch()
        self._host.call_later(PAUSE_NS, self._resume)

    def _resume(self) -> None:
        if self._socket is not None and self._watch is None and self._host is not None:
            self._watch = self._host.watch(self._socket.fileno(), self._accept)
            self._accept()


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - the pair is what identifies it
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _remove_stale(path: str) -> None:
    """Unlink a socket that nobody listens at; raises OSError where somebody does, or where it is no socket."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "file exists and it's not unix socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except (BlockingIOError, OSError):
            pass
    raise OSError(errno.EADDRINUSE, "somebody listens there already")


def _adopt(fd: int) -> socket.socket:
    """A bound, listening stream socket that was handed to us (systemd socket activation)."""
    try:
        adopted = socket.socket(fileno=fd)
    except OSError as error:
        raise OSError(error.errno, f"Can't use file descriptor {fd}: {error.strerror}") from None
    if adopted.type & 0xF != socket.SOCK_STREAM or not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        adopted.detach()
        raise OSError(errno.EINVAL, f"file descriptor {fd} is not a listening stream socket")
    adopted.set_inheritable(False)
    return adopted


def _explain(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return f"{reason}; stop the other process or choose another address"
    if error.errno == errno.EACCES:
        return f"{reason}; choose a port from 1024 on, or a path that you may write to"
    if error.errno == errno.ENOENT:
        return f"{reason}; the directory must exist"
    return reason
