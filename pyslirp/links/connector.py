"""``--connect``: a QEMU that listens (``-netdev socket,listen=``, ``-netdev stream,server=on``) is connected to.

States: waiting (for its time to try), connecting, attached.  A try that fails, and a guest that goes, lead back to
waiting; the wait doubles from FIRST_WAIT_NS to LONGEST_WAIT_NS and begins anew once a guest has stayed for STAYED_NS.
A name is looked up once, when the link is opened: a resolver that does not answer must not stop the guests that are
here. Its addresses are tried in turn.

``fd:N`` is connected already; when its guest goes there is nothing to connect to again.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from typing import Any

from pyslirp.config.link import ConnectAddress
from pyslirp.errors import LinkError
from pyslirp.links.base import LinkHost, PortSpec

FIRST_WAIT_NS = 100_000_000
LONGEST_WAIT_NS = 5_000_000_000
STAYED_NS = 5_000_000_000

_log = logging.getLogger("pyslirp.links.connector")


class Connector:
    """A connecting link: at most one guest at a time."""

    def __init__(self, address: ConnectAddress, mtu: int) -> None:
        """`mtu`: largest IP packet that the guest may send, bytes."""
        self._address = address
        self._mtu = mtu
        self._host: LinkHost | None = None
        self._targets: list[tuple[int, Any]] = []  # family and address, as of socket.connect
        self._tries = 0
        self._socket: socket.socket | None = None
        self._watch: Any = None
        self._timer: Any = None  # of the next try, or while attached of having stayed
        self._port: int | None = None
        self._wait_ns = FIRST_WAIT_NS
        self._closed = False
        self._complained = False

    def open(self, host: LinkHost) -> None:
        """Begin to connect.

        Raises LinkError for what cannot change by trying again: a name that does not exist, a descriptor that is no
        connected stream socket.
        """
        self._host = host
        if self._address.kind == "fd":
            self._attach_given()
            return
        try:
            self._targets = self._resolve()
        except OSError as error:
            raise LinkError(error.errno, f"--connect {self._address}: {error.strerror or error}") from None
        self._try()

    def close(self) -> None:
        """Drop the guest, stop trying."""
        self._closed = True
        self._cancel()
        self._drop_socket()
        if self._port is not None and self._host is not None:
            self._host.detach(self._port, "the network is shut down")
            self._port = None

    def describe(self) -> str:
        """The address as the user would write it."""
        return str(self._address)

    # -- connecting ---------------------------------------------------------------------------------------------------

    def _resolve(self) -> list[tuple[int, Any]]:
        if self._address.kind == "unix":
            return [(socket.AF_UNIX, self._address.path)]
        found = socket.getaddrinfo(self._address.host.encode(), self._address.port, type=socket.SOCK_STREAM)
        return [(family, where) for family, _, _, _, where in found]

    def _try(self) -> None:
        assert self._host is not None
        self._timer = None
        family, where = self._targets[self._tries % len(self._targets)]
        self._tries += 1
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            code = self._socket.connect_ex(where)
            if code == errno.EINPROGRESS:
                self._watch = self._host.watch(self._socket.fileno(), None, self._connecting)
                return
        except OSError as error:
            self._failed(error)
            return
        self._concluded(code)

    def _connecting(self) -> None:
        if self._socket is not None:
            self._concluded(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _concluded(self, code: int) -> None:
        """The connect under way has ended, with an errno or 0."""
        assert self._socket is not None
        if code == 0 and _is_itself(self._socket):
            code = errno.ECONNREFUSED
        if code:
            self._failed(OSError(code, os.strerror(code)))
            return
        guest, self._socket = self._socket, None
        self._unwatch()
        try:
            self._attach(guest)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self._drop_socket()
        if not self._complained:  # once; the tries that follow are quiet
            self._complained = True
            _log.warning("%s: %s; trying again until it answers", self.describe(), error.strerror or error)
        self._again()

    def _again(self) -> None:
        if self._closed or self._host is None:
            return
        self._timer = self._host.call_later(self._wait_ns, self._try)
        self._wait_ns = min(2 * self._wait_ns, LONGEST_WAIT_NS)

    # -- attached -----------------------------------------------------------------------------------------------------

    def _attach_given(self) -> None:
        try:
            self._attach(_adopt(self._address.fd))
        except OSError as error:
            text = f"--connect {self._address}: {error.strerror or error}"
            raise LinkError(error.errno, text) from None

    def _attach(self, guest: socket.socket) -> None:
        """Raises OSError, and then the socket is closed."""
        assert self._host is not None
        guest.setblocking(False)
        self._port = self._host.attach(PortSpec(guest.detach(), "stream", self._mtu, self.describe()), self._lost)
        self._timer = self._host.call_later(STAYED_NS, self._stayed)
        _log.info("%s: connected", self.describe())

    def _stayed(self) -> None:
        self._timer = None
        self._wait_ns = FIRST_WAIT_NS
        self._complained = False

    def _lost(self, reason: str) -> None:
        self._port = None
        self._cancel()
        _log.info("%s: guest gone (%s)", self.describe(), reason)
        if self._address.kind != "fd":
            self._again()

    # -- letting go ---------------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _unwatch(self) -> None:
        if self._watch is not None and self._host is not None:
            self._host.unwatch(self._watch)
            self._watch = None

    def _drop_socket(self) -> None:
        self._unwatch()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _is_itself(connected: socket.socket) -> bool:
    """A connect to a free port of this host's dynamic range may meet its own SYN (RFC 9293 section 3.5, figure 7)."""
    return connected.family != socket.AF_UNIX and connected.getsockname() == connected.getpeername()


def _adopt(fd: int) -> socket.socket:
    """A connected stream socket that was handed to us; raises OSError, and then it is still the caller's."""
    try:
        adopted = socket.socket(fileno=fd)
    except OSError as error:
        raise OSError(error.errno, f"Can't use file descriptor {fd}: {error.strerror}") from None
    code = errno.EPROTOTYPE
    if adopted.type & 0xF == socket.SOCK_STREAM:
        code = errno.ENOTCONN if _peer(adopted) is None else 0
    if code:
        adopted.detach()
        raise OSError(code, f"Can't use file descriptor {fd}: {os.strerror(code)}")
    adopted.set_inheritable(False)
    return adopted


def _peer(connected: socket.socket) -> Any:
    """The other end's address, "" of a socket pair; None where there is none."""
    try:
        return connected.getpeername()
    except OSError:
        return None
