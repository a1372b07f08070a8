"""What the poller assumes of epoll(7) and timerfd(2)."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

IN, OUT, PRI, RDHUP, ET = select.EPOLLIN, select.EPOLLOUT, select.EPOLLPRI, select.EPOLLRDHUP, select.EPOLLET

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def tcp() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        other, _ = listening.accept()
    one.setblocking(False)
    with one, other:
        yield one, other


@pytest.fixture
def unix() -> Iterator[Pair]:
    one, other = socket.socketpair()
    one.setblocking(False)
    with one, other:
        yield one, other


@pytest.fixture
def epoll() -> Iterator[select.epoll]:
    with select.epoll() as made:
        yield made


def settled(epoll: select.epoll) -> list[tuple[int, int]]:
    """Events, once what loopback has under way has arrived."""
    return epoll.poll(0.2)


def test_a_nested_set_wakes_whoever_watches_it(epoll: select.epoll, unix: Pair) -> None:
    epoll.register(unix[0], IN)
    poll = select.poll()
    poll.register(epoll.fileno(), select.POLLIN)
    with select.epoll() as outer:
        outer.register(epoll.fileno(), IN)
        assert outer.poll(0) == poll.poll(0) == []
        unix[1].send(b"x")
        assert outer.poll(5) == [(epoll.fileno(), IN)]
        assert poll.poll(0) == [(epoll.fileno(), select.POLLIN)]
        assert select.select([epoll.fileno()], [], [], 0)[0]
        unix[0].recv(1)  # without asking the inner set at all
        assert outer.poll(0) == poll.poll(0) == []


def test_an_edge_is_told_once_and_then_the_set_is_quiet(epoll: select.epoll, unix: Pair) -> None:
    epoll.register(unix[0], IN | ET)
    unix[1].send(b"x")
    assert settled(epoll)
    assert not select.select([epoll.fileno()], [], [], 0)[0]
    unix[1].send(b"y")
    assert settled(epoll)


def test_a_short_read_is_enough_for_the_next_edge(epoll: select.epoll, tcp: Pair) -> None:
    one, other = tcp
    epoll.register(one, IN | RDHUP | ET)
    other.send(b"some")
    assert settled(epoll) == [(one.fileno(), IN)]
    assert one.recv(100) == b"some"  # and no second recv() to see EAGAIN
    other.send(b"more")
    assert settled(epoll) == [(one.fileno(), IN)]


def test_bytes_and_fin_are_one_edge_that_says_both(epoll: select.epoll, tcp: Pair) -> None:
    one, other = tcp
    epoll.register(one, IN | RDHUP | ET)
    other.send(b"last")
    other.shutdown(socket.SHUT_WR)
    assert select.select([one], [], [], 5)[0]
    events = 0
    while not events & RDHUP:
        events |= settled(epoll)[0][1]
    assert one.recv(100) == b"last"
    assert settled(epoll) == []
    assert one.recv(100) == b""


def test_a_fin_alone_is_an_edge(epoll: select.epoll, tcp: Pair) -> None:
    one, other = tcp
    epoll.register(one, IN | RDHUP | ET)
    other.shutdown(socket.SHUT_WR)
    assert settled(epoll) == [(one.fileno(), IN | RDHUP)]


def test_urgent_data_ends_a_read_and_is_told(epoll: select.epoll, tcp: Pair) -> None:
    one, other = tcp
    one.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    epoll.register(one, IN | PRI | ET)
    other.send(b"before")
    other.send(b"!", socket.MSG_OOB)
    other.send(b"behind")
    events = 0
    while found := settled(epoll):
        events |= found[0][1]
    assert events & PRI
    assert one.recv(100) == b"before"
    assert one.recv(100) == b"!behind"


def test_room_in_tcp_is_told_only_after_it_was_full(epoll: select.epoll, tcp: Pair) -> None:
    one, other = tcp
    epoll.register(one, OUT | ET)
    assert settled(epoll) == [(one.fileno(), OUT)]
    one.send(b"x")
    other.recv(1)
    assert settled(epoll) == []
    with contextlib.suppress(BlockingIOError):
        while True:
            one.send(bytes(1 << 20))
    assert settled(epoll) == []
    other.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while True:
            other.recv(1 << 20)
    assert settled(epoll) == [(one.fileno(), OUT)]


def test_room_in_a_unix_socket_is_told_whenever_its_peer_reads(epoll: select.epoll, unix: Pair) -> None:
    one, other = unix
    epoll.register(one, OUT | ET)
    assert settled(epoll)
    one.send(b"x")
    other.recv(1)
    assert settled(epoll)


def test_descriptors_passed_along_end_a_read_of_a_unix_socket(unix: Pair) -> None:
    one, other = unix
    socket.send_fds(other, [b"with"], [other.fileno()])
    other.send(b"without")
    assert one.recv(100) == b"with"
    assert one.recv(100) == b"without"


def test_changing_an_edge_tells_what_is_ready(epoll: select.epoll, unix: Pair) -> None:
    epoll.register(unix[0], IN | ET)
    unix[1].send(b"x")
    assert settled(epoll)
    epoll.modify(unix[0], IN | ET)
    assert settled(epoll)


def test_closing_is_leaving(epoll: select.epoll) -> None:
    one, other = socket.socketpair()
    epoll.register(one, IN | OUT)
    one.close()
    other.close()
    assert settled(epoll) == []
