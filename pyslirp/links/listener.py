"""``--listen``: a stream socket that QEMU's ``-netdev socket,connect=`` and ``-netdev stream`` connect to.

Each accepted connection is a port of the switch.  An empty host is loopback and a Unix socket has mode 0600: whoever
may connect is inside the network, and reaches the host's loopback.

States: closed, open; and paused for PAUSE_NS when the host has run out of descriptors, because a level-triggered
listener would be told of the same connection for ever.
"""

from __future__ import annotations

import errno
import logging
import os
import socket

from pyslirp.config.link import ListenAddress
from pyslirp.errors import LinkError
from pyslirp.links.base import LinkHost, PortSpec
from pyslirp.links.unix import UnixSocket
from pyslirp.records import replace

BACKLOG = 128
GUESTS_MAX = 250  #: of one listener; the switch has 256 ports
ACCEPTS_MAX = 16  #: connections taken at once, before others have their turn
PAUSE_NS = 1_000_000_000

_HINTS = {
    errno.EADDRINUSE: "stop the other process or choose another address",
    errno.EACCES: "choose a port from 1024 on, or a path that you may write to",
    errno.EADDRNOTAVAIL: "the address is not one of this host's",
    errno.ENOENT: "the directory must exist",
    errno.EEXIST: "choose another path",
    errno.EAFNOSUPPORT: "this host has no IPv6",
}

_log = logging.getLogger("pyslirp.links.listener")


class Listener:
    """A listening link."""

    def __init__(self, address: ListenAddress, mtu: int) -> None:
        """`mtu`: largest IP packet that guests here may send, bytes."""
        self._address = address
        self._mtu = mtu
        self._host: LinkHost | None = None
        self._socket: socket.socket | None = None
        self._watch: object | None = None
        self._file: UnixSocket | None = None
        self._ports: set[int] = set()
        self._guests = 0
        self._full = False  # and that has been said

    def open(self, host: LinkHost) -> None:
        """Bind and listen.  Raises LinkError naming the address, the reason and the remedy."""
        self._host = host
        try:
            self._socket = self._bind()
            self._socket.setblocking(False)
            self._watch = host.watch(self._socket.fileno(), self._accept)
        except OSError as error:
            self.close()
            raise LinkError(error.errno, f"--listen {self._address}: {_explain(error)}") from None

    def close(self) -> None:
        """Stop listening, drop the guests, take the socket file away."""
        self._unwatch()
        if self._host is not None:
            while self._ports:
                self._host.detach(self._ports.pop(), "the network is shut down")
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._file is not None:
            self._file.close()
            self._file = None

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
            self._file = UnixSocket.bind(self._address.path)
            return self._file.socket
        if self._address.kind == "fd":
            return _adopt(self._address.fd)
        bound = _bind_inet(self._address)
        self._address = replace(self._address, port=bound.getsockname()[1])
        return bound

    # -- accepting ----------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(ACCEPTS_MAX):
            if self._socket is None:
                return
            try:
                guest, peer = self._socket.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._pause(error)
                return
            self._attach(guest, peer)

    def _attach(self, guest: socket.socket, peer: object) -> None:
        assert self._host is not None
        if len(self._ports) >= GUESTS_MAX:
            guest.close()
            self._refused(f"{GUESTS_MAX} are attached")
            return
        self._guests += 1
        name = f"{self.describe()}#{self._guests}"
        attached: list[int] = []

        def lost(reason: str) -> None:
            self._ports.discard(attached[0])
            self._full = False
            _log.info("%s: guest gone (%s)", name, reason)

        guest.setblocking(False)
        try:
            attached.append(self._host.attach(PortSpec(guest.detach(), "stream", self._mtu, name), lost))
        except OSError as error:
            self._refused(error.strerror or str(error))
            return
        self._ports.add(attached[0])
        _log.info("%s: guest attached (%s)", name, peer or "local")

    def _refused(self, reason: str) -> None:
        if not self._full:  # once, until a guest has gone
            self._full = True
            _log.warning("%s: a guest is refused: %s", self.describe(), reason)

    def _unwatch(self) -> None:
        if self._watch is not None and self._host is not None:
            self._host.unwatch(self._watch)
            self._watch = None

    def _pause(self, error: OSError) -> None:
        assert self._host is not None
        _log.warning("%s: cannot accept: %s; trying again in a second", self.describe(), error.strerror or error)
        self._unwatch()
        self._host.call_later(PAUSE_NS, self._resume)

    def _resume(self) -> None:
        if self._socket is not None and self._watch is None and self._host is not None:
            self._watch = self._host.watch(self._socket.fileno(), self._accept)
            self._accept()


def _bind_inet(address: ListenAddress) -> socket.socket:
    """A listening socket at the first address of the host's name that it can have; raises OSError."""
    refusal = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    found = socket.getaddrinfo(address.host.encode(), address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, where in found:
        try:
            bound = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            refusal = error
            continue
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(where)
            bound.listen(BACKLOG)
        except OSError as error:
            bound.close()
            refusal = error
            continue
        return bound
    raise refusal


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
    hint = _HINTS.get(error.errno or 0)
    return f"{reason}; {hint}" if hint else reason
