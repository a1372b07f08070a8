from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from pyslirp.engine.core import core as kinds
from pyslirp.engine.core.core import Core
from pyslirp.engine.reactor import Engine
from tests.unit.engine.edge.guest import ENGINE_MAC, SEED

IN, OUT, HUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP
TOKEN = 2**63 + 11


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(Core(SEED, ENGINE_MAC))
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_ready_is_told_while_it_lasts(engine: Engine, pair: tuple[socket.socket, socket.socket]) -> None:
    engine.watch(pair[0].fileno(), IN, TOKEN)
    assert engine.process() == []
    pair[1].send(b"xy")
    ready = [(kinds.KIND_WATCH, TOKEN, IN)]
    assert engine.process() == ready
    pair[0].recv(1)
    assert engine.run(10**10) == ready
    pair[0].recv(1)
    assert engine.process() == []
    assert not select.select([engine.fileno()], [], [], 0)[0]


def test_a_watch_gets_other_events(engine: Engine, pair: tuple[socket.socket, socket.socket]) -> None:
    engine.watch(pair[0].fileno(), IN, TOKEN)
    engine.watch(pair[0].fileno(), IN | OUT, TOKEN)
    assert engine.process() == [(kinds.KIND_WATCH, TOKEN, OUT)]
    assert engine.snapshot()["watches"] == 1


def test_errors_are_always_told(engine: Engine, pair: tuple[socket.socket, socket.socket]) -> None:
    engine.watch(pair[0].fileno(), 0, TOKEN)
    pair[1].close()
    [(_, _, events)] = engine.process()
    assert events & HUP


def test_a_watch_that_has_ended_tells_nothing(engine: Engine, pair: tuple[socket.socket, socket.socket]) -> None:
    engine.watch(pair[0].fileno(), OUT, TOKEN)
    engine.unwatch(TOKEN)
    engine.unwatch(TOKEN)
    assert engine.process() == []
    pair[0].send(b"still ours")
    assert pair[1].recv(20) == b"still ours"
    engine.watch(pair[0].fileno(), OUT, TOKEN)
    assert engine.process()


def test_what_cannot_be_watched(engine: Engine) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        engine.watch(-1, IN, TOKEN)
    assert engine.snapshot()["watches"] == 0


def test_a_watched_descriptor_outlives_the_engine(pair: tuple[socket.socket, socket.socket]) -> None:
    engine = Engine(Core(SEED, ENGINE_MAC))
    engine.watch(pair[0].fileno(), IN, TOKEN)
    engine.close()
    pair[0].send(b"x")
    assert pair[1].recv(1) == b"x"
