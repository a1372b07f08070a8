"""``--connect``: a QEMU that listens (``-netdev socket,listen=``, ``-netdev stream,server=on``) is connected to.

States: waiting (for its time to try), connecting, attached.  A try that fails, and a guest that goes, lead back to
waiting; the wait doubles from FIRST_WAIT_NS to LONGEST_WAIT_NS and begins anew once a guest has stayed.
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

_log = logging.getLogger("pyslirp.links.connector")


class Connector:
    """A connecting link: at most one guest at a time."""

    def __init__(self, address: ConnectAddress, mtu: int) -> None:
        """`mtu`: largest IP packet that the guest may send, bytes."""
        self._address = address
        self._mtu = mtu
        self._host: LinkHost | None = None
        self._socket: socket.socket | None = None
        self._watch: Any = None
        self._timer: Any = None
        self._port: int | None = None
        self._wait_ns = FIRST_WAIT_NS
        self._closed = False
        self._complained = False

    def open(self, host: LinkHost) -> None:
        """Begin to connect.  Raises LinkError only for a descriptor that is no connected stream socket."""
        self._host = host
        if self._address.kind == "fd":
            self._adopt()
        else:
            self._try()

    def close(self) -> None:
        """Drop the guest, stop trying."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._drop_socket()
        if self._port is not None and self._host is not None:
            self._host.detach(self._port, "the network is shut down")
            self._port = None

    def describe(self) -> str:
        """The address as the user would write it."""
        return str(self._address)

    def _adopt(self) -> None:
        assert self._host is not None
        try:
            guest = socket.socket(fileno=os.dup(self._address.fd))
            guest.getpeername()
        except OSError as error:
            text = f"--connect {self._address}: Can't use file descriptor {self._address.fd}: {error.strerror}"
            raise LinkError(error.errno, text) from None
        self._attach(guest)

    def _try(self) -> None:
        assert self._host is not None
        self._timer = None
        if self._closed:
            return
        try:
            family, where = self._resolve()
            self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            code = self._socket.connect_ex(where)
        except OSError as error:
            self._failed(error)
            return
        if code == 0:
            self._connected()
        elif code == errno.EINPROGRESS:
            self._watch = self._host.watch(self._socket.fileno(), None, self._connecting)
        else:
            self._failed(OSError(code, os.strerror(code)))

    def _resolve(self) -> tuple[int, Any]:
        if self._address.kind == "unix":
            return socket.AF_UNIX, self._address.path
        found = socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)[0]
        return found[0], found[4]

    def _connecting(self) -> None:
        if self._socket is None:
            return
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._failed(OSError(code, os.strerror(code)))
        else:
            self._connected()

    def _connected(self) -> None:
        guest, self._socket = self._socket, None
        assert guest is not None
        self._unwatch()
        if guest.family != socket.AF_UNIX:
            guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._attach(guest)

    def _attach(self, guest: socket.socket) -> None:
        assert self._host is not None
        guest.setblocking(False)
        try:
            self._port = self._host.attach(PortSpec(guest.detach(), "stream", self._mtu, self.describe()), self._lost)
        except OSError as error:
            self._failed(error)
            return
        self._wait_ns = FIRST_WAIT_NS
        self._complained = False
        _log.info("%s: connected", self.describe())

    def _lost(self, reason: str) -> None:
        self._port = None
        _log.info("%s: guest gone (%s)", self.describe(), reason)
        if self._address.kind != "fd":
            self._again()

    def _failed(self, error: OSError) -> None:
        self._drop_socket()
        if not self._complained:  # once; the tries that follow are quiet
            _log.warning("%s: %s; trying again until it answers", self.describe(), error.strerror or error)
            self._complained = True
        self._again()

    def _again(self) -> None:
        if self._closed or self._host is None:
            return
        self._timer = self._host.call_later(self._wait_ns, self._try)
        self._wait_ns = min(2 * self._wait_ns, LONGEST_WAIT_NS)

    def _unwatch(self) -> None:
        if self._watch is not None and self._host is not None:
            self._host.unwatch(self._watch)
            self._watch = None

    def _drop_socket(self) -> None:
        self._unwatch()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
