"""Bytes between two sockets of which the test holds both: sent, received and compared, in one thread."""

from __future__ import annotations

import errno
import random
import select
import socket
import struct
from collections.abc import Sequence

from tests.interop.rig.deadline import Deadline

_CHUNK_BYTES = 1 << 18
MIB = 1 << 20


def noise(size: int, seed: int = 1) -> bytes:
    """``size`` bytes that are the same for the same seed and compress to nothing less."""
    return random.Random(seed).randbytes(size)


class _Direction:
    """One way of a conversation: what ``source`` sends must be what ``sink`` receives, to the last byte."""

    def __init__(self, source: socket.socket, sink: socket.socket, data: bytes, close: bool) -> None:
        self.source, self.sink, self.close = source, sink, close
        self._data = memoryview(data)
        self._received = bytearray()
        self._sent = 0
        self._ended = False
        if not data and close:
            source.shutdown(socket.SHUT_WR)

    def sending(self) -> bool:
        return self._sent < len(self._data)

    def receiving(self) -> bool:
        return not self._ended if self.close else len(self._received) < len(self._data)

    def send(self) -> None:
        self._sent += self.source.send(self._data[self._sent : self._sent + _CHUNK_BYTES])
        if not self.sending() and self.close:
            self.source.shutdown(socket.SHUT_WR)

    def receive(self) -> None:
        got = self.sink.recv(_CHUNK_BYTES)
        self._received += got
        assert got or self.close, f"the connection ended: {self}"
        self._ended = self._ended or not got

    def check(self) -> None:
        """What has arrived is what was sent."""
        count = len(self._received)
        assert count <= len(self._data), f"{count} bytes arrived where {len(self._data)} were sent"
        assert self._received == self._data, f"{self}: {self._difference()}"

    def _difference(self) -> str:
        pairs = zip(self._received, self._data, strict=False)
        at = next((i for i, (got, sent) in enumerate(pairs) if got != sent), len(self._received))
        return f"the first difference is at byte {at}"

    def __str__(self) -> str:
        return f"{self._sent} of {len(self._data)} bytes sent, {len(self._received)} received, ended: {self._ended}"


def exchange(
    flows: Sequence[tuple[socket.socket, socket.socket, bytes]], seconds: float = 60.0, close: bool = True
) -> None:
    """Send every flow's bytes from its first socket, receive them at its second, all at the same time, and compare.

    With ``close`` each sender shuts its direction down when it is done, and the receiver must see that end.
    """
    directions = [_Direction(*flow, close) for flow in flows]
    sockets = {s.fileno(): s for d in directions for s in (d.source, d.sink)}
    timeouts = {fd: s.gettimeout() for fd, s in sockets.items()}
    for s in sockets.values():
        s.setblocking(False)
    deadline = Deadline(seconds)
    while any(d.sending() or d.receiving() for d in directions):
        readers = {d.sink.fileno(): d for d in directions if d.receiving()}
        writers = {d.source.fileno(): d for d in directions if d.sending()}
        ready = _poll(set(readers), set(writers), deadline)
        assert ready, f"no end after {seconds:g} s: {'; '.join(map(str, directions))}"
        for fd, events in ready:
            if fd in readers and events & ~select.POLLOUT:
                readers[fd].receive()
            if fd in writers and events & (select.POLLOUT | select.POLLERR):
                writers[fd].send()
    for d in directions:
        d.check()
    for fd, s in sockets.items():
        s.settimeout(timeouts[fd])


def _poll(readers: set[int], writers: set[int], deadline: Deadline) -> list[tuple[int, int]]:
    poll = select.poll()
    for fd in readers | writers:
        poll.register(fd, (select.POLLIN if fd in readers else 0) | (select.POLLOUT if fd in writers else 0))
    return poll.poll(deadline.left() * 1000)


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    """``size`` bytes, or fewer if the connection ends before."""
    got = bytearray()
    while len(got) < size and (part := sock.recv(size - len(got))):
        got += part
    return bytes(got)


def receive_all(sock: socket.socket) -> bytes:
    """Everything until the other side ends its direction."""
    parts = []
    while part := sock.recv(_CHUNK_BYTES):
        parts.append(part)
    return b"".join(parts)


def converse(sock: socket.socket, data: bytes, order: str) -> bytes:
    """The host's side of ``peer tcp ORDER`` (see peer.c): send ``data``, shut down, and receive all that comes.

    ``order`` is the guest's: where it sends first, this side receives first.
    """
    if order == "both":
        return _converse_at_once(sock, data)
    if order == "recv":
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return receive_all(sock)
    assert order == "send", order
    got = receive_all(sock)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    return got


def _converse_at_once(sock: socket.socket, data: bytes, seconds: float = 60.0) -> bytes:
    timeout = sock.gettimeout()
    sock.setblocking(False)
    deadline, got, rest, ended = Deadline(seconds), bytearray(), memoryview(data), False
    while rest or not ended:
        ready = _poll(set() if ended else {sock.fileno()}, {sock.fileno()} if rest else set(), deadline)
        assert ready, f"no end after {seconds:g} s: {len(rest)} bytes left to send, {len(got)} received"
        _, events = ready[0]
        if not ended and events & ~select.POLLOUT:
            part = sock.recv(_CHUNK_BYTES)
            got += part
            ended = not part
        if rest and events & (select.POLLOUT | select.POLLERR):
            rest = rest[sock.send(rest[:_CHUNK_BYTES]) :]
            if not rest:
                sock.shutdown(socket.SHUT_WR)
    sock.settimeout(timeout)
    return bytes(got)


def echo_datagrams(sock: socket.socket, count: int) -> list[tuple[bytes, tuple[str, int]]]:
    """Send ``count`` datagrams back to whoever sends them; what came, and from whom."""
    seen = []
    for _ in range(count):
        data, client = sock.recvfrom(65536)
        sock.sendto(data, client)
        seen.append((data, client))
    return seen


def connect_error(sock: socket.socket, address: str, port: int, seconds: float = 10.0) -> int:
    """What the socket's connect() ends with: 0 for a connection, ETIMEDOUT where nothing has come of it in ``seconds``.

    connect() alone may call a connect under way a success: Linux wakes poll() for an ICMP error (POLLERR) an instant before
    SO_ERROR holds it (ip_icmp_error in tcp_v4_err; once in 20,000), and CPython then reads 0 there.
    """
    sock.settimeout(seconds)
    try:
        sock.connect((address, port))
    except TimeoutError:
        return errno.ETIMEDOUT
    except OSError as error:
        return error.errno or 0
    deadline = Deadline(seconds)
    while deadline.left() and not _connected(sock):
        if error_code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return error_code
    return 0 if _connected(sock) else errno.ETIMEDOUT


def _connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        return False
    return True


def reset(sock: socket.socket) -> None:
    """Close with a RST: SO_LINGER with a time of 0."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
