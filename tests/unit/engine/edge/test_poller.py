from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator

import pytest

from pyslirp.engine.edge.clock import now
from pyslirp.engine.edge.poller import _Poller

IN, OUT = select.EPOLLIN, select.EPOLLOUT
TIMER, HOST, WATCH = 0, 1, 4
HANDLE = (7 << 32) | 41
NEVER = 2**63 - 1
MILLISECOND = 1_000_000
PATIENCE_MS = 10_000


@pytest.fixture
def poller() -> Iterator[_Poller]:
    made = _Poller()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def readable(poller: _Poller, seconds: float = 0) -> bool:
    return bool(select.select([poller.fileno()], [], [], seconds)[0])


@pytest.mark.parametrize("tag", range(5))
def test_tag_and_handle_come_back(poller: _Poller, pair: tuple[socket.socket, socket.socket], tag: int) -> None:
    assert poller.add(pair[0].fileno(), IN, tag, HANDLE) == 0
    assert poller.wait(0) == []
    pair[1].send(b"x")
    assert poller.wait(0) == [(tag, HANDLE, IN)]


def test_a_descriptor_that_epoll_does_not_take(poller: _Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    assert poller.add(-1, IN, HOST, HANDLE) == errno.EBADF
    assert poller.add(pair[0].fileno(), IN, HOST, HANDLE) == 0
    assert poller.add(pair[0].fileno(), IN, HOST, HANDLE) == errno.EEXIST
    poller.remove(pair[0].fileno())
    assert poller.change(pair[0].fileno(), IN, HOST, HANDLE) == errno.ENOENT


def test_changing_tells_anew_what_is_ready(poller: _Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    poller.add(pair[0].fileno(), IN, HOST, HANDLE)
    pair[1].send(b"x")
    poller.change(pair[0].fileno(), 0, HOST, HANDLE)
    assert poller.wait(0) == []
    poller.change(pair[0].fileno(), IN | OUT, WATCH, HANDLE)
    assert poller.wait(0) == [(WATCH, HANDLE, IN | OUT)]


def test_a_closed_descriptor_is_gone(poller: _Poller) -> None:
    one, other = socket.socketpair()
    poller.add(one.fileno(), IN | OUT, HOST, HANDLE)
    one.close()
    other.close()
    assert poller.wait(0) == []


def test_the_timer_makes_the_set_readable_in_time(poller: _Poller) -> None:
    when = now() + 20 * MILLISECOND
    poller.arm(when)
    assert poller.armed == when
    assert readable(poller, PATIENCE_MS / 1000)
    assert now() >= when
    assert poller.wait(0) == [(TIMER, 0, IN)]
    assert poller.armed == NEVER
    assert not readable(poller)


def test_the_timer_moves_only_to_earlier(poller: _Poller) -> None:
    far = now() + 60_000 * MILLISECOND
    poller.arm(far)
    poller.arm(far + 1)
    poller.arm(NEVER)
    assert poller.armed == far
    poller.arm(far - 1)
    assert poller.armed == far - 1


@pytest.mark.parametrize("when", [0, 1, -5])
def test_a_time_in_the_past_is_now(poller: _Poller, when: int) -> None:
    poller.arm(when)
    assert poller.wait(PATIENCE_MS) == [(TIMER, 0, IN)]


def test_a_timer_that_has_fired_and_was_not_heard_can_be_set_again(poller: _Poller) -> None:
    poller.arm(now() + MILLISECOND)
    assert readable(poller, PATIENCE_MS / 1000)
    poller.arm(1)
    assert poller.wait(PATIENCE_MS) == [(TIMER, 0, IN)]
    assert poller.wait(0) == []
    poller.arm(now() + MILLISECOND)
    assert poller.wait(PATIENCE_MS) == [(TIMER, 0, IN)]


def test_more_is_ready_than_fits_one_wait(poller: _Poller) -> None:
    pairs = [socket.socketpair() for _ in range(300)]
    try:
        for number, (one, _) in enumerate(pairs):
            assert poller.add(one.fileno(), OUT, HOST, (1 << 32) | number) == 0
        seen = {handle for _ in range(4) for _, handle, _ in poller.wait(0)}
        assert len(seen) == 300
    finally:
        for one, other in pairs:
            one.close()
            other.close()


def test_closing_twice_is_as_once() -> None:
    poller = _Poller()
    fd = poller.fileno()
    poller.close()
    poller.close()
    assert poller.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
