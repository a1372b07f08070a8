"""What the edges assume of socket(7), tcp(7), udp(7) and ip(7)."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

IP_RECVERR, IP_TTL = 11, 2
MSG_ERRQUEUE = 0x2000


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(10)
        yield made


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(10)
        yield made


@pytest.fixture
def deaf() -> Iterator[tuple[str, int]]:
    """Where a datagram finds nobody: bound, so that nobody else takes the port, and connected elsewhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.connect(("127.0.0.1", 9))
        yield made.getsockname()


def test_closing_without_lingering_is_a_reset(listening: socket.socket) -> None:
    client = socket.create_connection(listening.getsockname())
    accepted, _ = listening.accept()
    with client, accepted:
        client.send(b"unread")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert accepted.recv(100) == b"unread"  # what had come is still there
        with pytest.raises(ConnectionResetError):
            accepted.recv(1)


def test_a_connect_under_way_ends_with_room_to_write(listening: socket.socket) -> None:
    with socket.socket() as client, select.epoll() as epoll:
        client.setblocking(False)
        assert client.connect_ex(listening.getsockname()) in (0, 115)  # EINPROGRESS
        epoll.register(client, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)
        [(_, events)] = epoll.poll(5)
        assert events == select.EPOLLOUT


def test_a_connect_that_fails_says_so_by_error_and_hang_up() -> None:
    with socket.socket() as bound, socket.socket() as client, select.epoll() as epoll:
        bound.bind(("127.0.0.1", 0))  # and not listening
        client.setblocking(False)
        client.connect_ex(bound.getsockname())
        epoll.register(client, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)
        [(_, events)] = epoll.poll(5)
        assert events & select.EPOLLERR
        assert events & select.EPOLLHUP
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 111  # ECONNREFUSED


def test_an_earlier_error_is_told_instead_of_sending(udp: socket.socket, deaf: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        ours.sendto(b"to nobody", deaf)
        with pytest.raises(ConnectionRefusedError):
            ours.sendto(b"lost", udp.getsockname())
        ours.sendto(b"sent", udp.getsockname())
        assert udp.recv(100) == b"sent"


def test_an_error_stays_readable_until_it_is_taken(deaf: tuple[str, int]) -> None:
    """Which is why a socket that is not read for the moment must still have its errors taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours, select.epoll() as epoll:
        ours.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        epoll.register(ours, 0)
        ours.sendto(b"to nobody", deaf)
        assert epoll.poll(5) == epoll.poll(0) == [(ours.fileno(), select.EPOLLERR)]
        data, control, _, to = ours.recvmsg(100, 1000, MSG_ERRQUEUE)
        assert (data, to) == (b"to nobody", deaf)
        assert [(level, kind) for level, kind, _ in control] == [(socket.IPPROTO_IP, IP_RECVERR)]
        assert epoll.poll(0) == []


def test_a_short_unix_stream_write_is_a_full_buffer() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        sent = one.send(bytes(8 << 20))
        assert 0 < sent < 8 << 20
        with pytest.raises(BlockingIOError):
            one.send(b"x")


def test_a_new_socket_says_the_default_ttl() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        default = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
        assert ours.getsockopt(socket.IPPROTO_IP, IP_TTL) == int(default)
