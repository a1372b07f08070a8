"""Sockets to the host's resolvers: one for each ask, non-blocking, watched by whatever loop there is.

Each UDP ask has a fresh connected socket: the kernel gives it a random port and lets through only what that resolver
sends to it (RFC 5452 section 9.2), and an ICMP error for it arrives at once as an error of the socket.  Each TCP ask
has a connection of its own.

`ask` -> `on_answer(key, message, reason)`:

    message bytes, reason "answered"    UDP: the socket stays, for what came may be forged; `forget` ends it
                                        TCP: the connection is over
    message None, reason one of         the ask is over, its socket closed:
        "refused"      nothing listens there (ECONNREFUSED)
        "unreachable"  no way to get there
        "closed"       TCP ended before the answer did
        "busy"         our own fault: MAX_ASKS are open, or the host has no descriptor or memory to spare
        "failed"       any other errno

How long to wait is the asker's business: it forgets.  `on_answer` may be called before `ask` returns, and may itself
call `ask` and `forget`.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from pyslirp.addresses import Address, Endpoint

MAX_ASKS = 512  #: sockets to resolvers open at once
MAX_DATAGRAMS = 8  #: taken from one socket before others have their turn
MAX_MESSAGE_BYTES = 65_535

REASONS = {
    errno.ECONNREFUSED: "refused",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.EAFNOSUPPORT: "unreachable",
    errno.ENODEV: "unreachable",
    errno.ECONNRESET: "closed",
    errno.EPIPE: "closed",
    errno.EMFILE: "busy",
    errno.ENFILE: "busy",
    errno.ENOBUFS: "busy",
    errno.ENOMEM: "busy",
}

IP_RECVERR = 11  #: Linux: report what ICMP says of a host or net, not only of a port; Python has no name for it
IPV6_RECVERR = 25

OnAnswer = Callable[[int, bytes | None, str], None]


class Watcher(Protocol):
    """What a loop offers: level-triggered readiness of descriptors."""

    def watch(self, fd: int, readable: Callable[[], None], writable: Callable[[], None] | None = None) -> Any:
        """Call `readable` while `fd` can be read (or has failed), `writable` while it can be written; gives a token."""

    def unwatch(self, token: Any) -> None:
        """Stop; no call is made for it after this."""


class Ask(Protocol):
    """A message to a resolver (services/base.py's AskResolver is one)."""

    @property
    def key(self) -> int:
        """Names the ask; chosen by the asker."""

    @property
    def server(self) -> Endpoint:
        """Whom to ask."""

    @property
    def tcp(self) -> bool:
        """How."""

    @property
    def message(self) -> bytes:
        """What: 65,535 bytes at most."""


class Upstream:
    """All asks that are open."""

    def __init__(self, watcher: Watcher, on_answer: OnAnswer) -> None:
        self._watcher = watcher
        self._on_answer = on_answer
        self._asks: dict[int, _UdpAsk | _TcpAsk] = {}

    def __len__(self) -> int:
        return len(self._asks)

    def ask(self, ask: Ask) -> None:
        """Put a message to a resolver.  A key that is open already is forgotten first."""
        self.forget(ask.key)
        if len(self._asks) >= MAX_ASKS:
            self._on_answer(ask.key, None, "busy")
            return
        kind = _TcpAsk if ask.tcp else _UdpAsk
        try:
            opened = kind(ask, self._watcher, self._answered)
        except OSError as error:
            self._on_answer(ask.key, None, _reason(error))
            return
        self._asks[ask.key] = opened

    def forget(self, key: int) -> None:
        """Close what waits for `key`, if anything does."""
        if (ask := self._asks.pop(key, None)) is not None:
            ask.close()

    def close(self) -> None:
        """Close everything."""
        for key in list(self._asks):
            self.forget(key)

    def _answered(self, key: int, message: bytes | None, reason: str, over: bool) -> None:
        if over:
            self.forget(key)
        self._on_answer(key, message, reason)


_Answered = Callable[[int, bytes | None, str, bool], None]


class _Exchange(ABC):
    """One message to a resolver by a socket of its own.  Raises OSError when it cannot be begun."""

    def __init__(self, ask: Ask, kind: int, watcher: Watcher, answered: _Answered) -> None:
        self._key = ask.key
        self._watcher = watcher
        self._answered = answered
        self._open = True
        self._socket = _socket(ask.server.address, kind)
        try:
            self._token = self._begin(ask)
        except BaseException:
            self._socket.close()
            raise

    @abstractmethod
    def _begin(self, ask: Ask) -> object:
        """Connect, and watch the socket; the watch's token.  Raises OSError."""

    def close(self) -> None:
        if self._open:
            self._open = False
            self._watcher.unwatch(self._token)
            self._socket.close()


class _UdpAsk(_Exchange):
    """One datagram out, and whatever comes back to its socket."""

    def __init__(self, ask: Ask, watcher: Watcher, answered: _Answered) -> None:
        super().__init__(ask, socket.SOCK_DGRAM, watcher, answered)

    def _begin(self, ask: Ask) -> object:
        _report_all_errors(self._socket)
        self._socket.connect(_sockaddr(ask.server))
        self._socket.send(ask.message)
        return self._watcher.watch(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(MAX_DATAGRAMS):
            if not self._open:
                return
            try:
                message = self._socket.recv(MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if (
                    error.errno == errno.EMSGSIZE
                ):  # the path is narrower than the query; the kernel knows by the next try
                    continue
                self._answered(self._key, None, _reason(error), True)
                return
            self._answered(self._key, message, "answered", False)


class _TcpAsk(_Exchange):
    """One message over a connection of its own, and one back."""

    def __init__(self, ask: Ask, watcher: Watcher, answered: _Answered) -> None:
        self._unsent = len(ask.message).to_bytes(2, "big") + ask.message
        self._received = bytearray()
        super().__init__(ask, socket.SOCK_STREAM, watcher, answered)

    def _begin(self, ask: Ask) -> object:
        with contextlib.suppress(BlockingIOError):
            self._socket.connect(_sockaddr(ask.server))
        return self._watcher.watch(self._socket.fileno(), self._readable, self._writable)

    def _writable(self) -> None:
        if not self._open or not self._unsent:
            return
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError as error:  # of connecting as well: send reports it
            self._over(None, _reason(error))
            return
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._watcher.unwatch(self._token)
            self._token = self._watcher.watch(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        if not self._open:
            return
        try:
            data = self._socket.recv(2 + MAX_MESSAGE_BYTES - len(self._received))
        except BlockingIOError:
            return
        except OSError as error:
            self._over(None, _reason(error))
            return
        if not data:
            self._over(None, "closed")
            return
        self._received += data
        end = 2 + int.from_bytes(self._received[:2], "big")
        if len(self._received) >= max(end, 2):
            self._over(bytes(self._received[2:end]), "answered")

    def _over(self, message: bytes | None, reason: str) -> None:
        self._answered(self._key, message, reason, True)


def _socket(address: Address, kind: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    opened = socket.socket(family, kind)
    opened.setblocking(False)
    return opened


def _report_all_errors(udp: socket.socket) -> None:
    if sys.platform != "linux":
        return
    if udp.family == socket.AF_INET:
        udp.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)


def _sockaddr(server: Endpoint) -> tuple[Any, ...]:
    """The kernel's form of an endpoint; raises OSError for a scope (interface) that the host does not have."""
    address, port = server
    if address.version == 4:
        return str(address), port
    scope = address.scope_id
    if scope is None:
        return str(address), port, 0, 0
    return str(address).partition("%")[0], port, 0, _interface_index(scope)


def _interface_index(scope: str) -> int:
    if scope.isascii() and scope.isdigit() and len(scope) < 10:
        return int(scope)
    try:
        return socket.if_nametoindex(scope)
    except (OSError, ValueError) as error:
        raise OSError(errno.ENODEV, f"no interface {scope!r}") from error


def _reason(error: OSError) -> str:
    return REASONS.get(error.errno or 0, "failed")
