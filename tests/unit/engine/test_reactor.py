from __future__ import annotations

import gc
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyslirp.engine.core import core as kinds
from pyslirp.engine.core.core import Core
from pyslirp.engine.reactor import Engine
from pyslirp.errors import ClosedError
from tests.unit.engine.edge.guest import ENGINE_MAC, GATEWAY, GUEST, LOOPBACK, SEED, Rig, to_loopback

MILLISECOND = 1_000_000
SECOND = 1_000 * MILLISECOND
RUN_NS = 50 * MILLISECOND


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(Core(SEED, ENGINE_MAC))
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


def readable(engine: Engine, seconds: float = 0) -> bool:
    return bool(select.select([engine.fileno()], [], [], seconds)[0])


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


# -- the one descriptor ------------------------------------------------------------------------------------------------


def test_idle_is_not_readable(engine: Engine) -> None:
    assert not readable(engine)
    assert engine.process() == []
    engine.flush()
    assert not readable(engine)


def test_an_idle_network_makes_no_ticks(engine: Engine) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        engine.attach_link(ours.detach(), 1500)
        engine.process()
        rounds = engine.snapshot()["rounds"]
        assert engine.run(300 * MILLISECOND) == []
        assert engine.snapshot()["rounds"] <= rounds + 2


def test_a_deadline_makes_it_readable_until_there_is_another(engine: Engine) -> None:
    when = engine.now() + 20 * MILLISECOND
    engine.set_deadline(when)
    assert readable(engine, 10)
    assert engine.now() >= when
    assert engine.process() == []
    assert readable(engine, 10)
    engine.set_deadline(None)
    engine.process()
    assert not readable(engine)


def test_a_deadline_may_be_moved_both_ways(engine: Engine) -> None:
    engine.set_deadline(engine.now() + 60 * SECOND)
    engine.set_deadline(engine.now() + MILLISECOND)
    assert readable(engine, 10)
    engine.set_deadline(engine.now() + 60 * SECOND)
    engine.process()
    assert not readable(engine)


def test_what_a_budget_has_left_keeps_it_readable(engine: Engine) -> None:
    pairs = [socket.socketpair() for _ in range(10)]
    for token, (ours, theirs) in enumerate(pairs):
        engine.watch(ours.fileno(), select.EPOLLIN, token)
        theirs.send(b"x")
    assert engine.process(0) == []
    assert readable(engine)
    assert len(engine.process(1)) == 10
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


def test_punts_that_flush_has_made_keep_it_readable(engine: Engine) -> None:
    """Whoever does not ask for them at once is called for them."""
    flow = engine.core.open(GUEST, 1, GATEWAY, 1, 7, engine.now())
    engine.core.close_flow(flow, engine.now())
    engine.flush()
    assert readable(engine, 10)
    [punt] = engine.process()
    assert punt[:3] == (kinds.KIND_CLOSED, flow, 7)


def test_readable_for_epoll_and_poll_alike(engine: Engine) -> None:
    poll = select.poll()
    poll.register(engine.fileno(), select.POLLIN)
    with select.epoll() as epoll:
        epoll.register(engine.fileno(), select.EPOLLIN)
        assert epoll.poll(0) == poll.poll(0) == []
        engine.set_deadline(1)
        assert epoll.poll(10) == poll.poll(0) == [(engine.fileno(), select.EPOLLIN)]


# -- run ---------------------------------------------------------------------------------------------------------------


def test_run_ends_with_its_time(engine: Engine) -> None:
    began = engine.now()
    assert engine.run(20 * MILLISECOND) == []
    assert engine.now() - began >= 20 * MILLISECOND
    assert engine.run(0) == []


def test_run_ends_with_the_deadline(engine: Engine) -> None:
    when = engine.now() + 20 * MILLISECOND
    engine.set_deadline(when)
    assert engine.run() == []
    assert engine.now() >= when


def test_run_ends_with_a_punt(engine: Engine) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        engine.watch(ours.fileno(), select.EPOLLIN, 3)
        threading.Timer(0.02, theirs.send, [b"x"]).start()
        assert engine.run() == [(kinds.KIND_WATCH, 3, select.EPOLLIN)]


def test_run_ends_with_a_signal(engine: Engine) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    left = signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        assert engine.run() == []
        assert heard == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
        signal.signal(signal.SIGALRM, before)


def test_other_threads_go_on_while_it_runs(engine: Engine) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.set)
    thread.start()
    engine.run(50 * MILLISECOND)
    assert done.is_set()
    thread.join()


def test_a_whole_conversation_in_run(server: socket.socket) -> None:
    """Python is entered for the verdict, and for nothing of what follows."""
    rig = Rig(to_loopback)
    port = server.getsockname()[1]
    entered = 0

    def drive() -> None:
        nonlocal entered
        while rig.engine.fileno() >= 0 and not stop.is_set():
            punts = rig.engine.run(RUN_NS)
            if punts:
                entered += 1
                rig.handle(punts)

    stop = threading.Event()
    thread = threading.Thread(target=drive)
    thread.start()
    stream = rig.guest.connect(GATEWAY, port)
    guest_turns(rig, lambda: bool(rig.guest.of_kind(kinds.KIND_CONNECTED)))
    accepted, _ = server.accept()
    with accepted:
        for number in range(200):
            rig.guest.core.stream_write(stream, b"ping")
            rig.guest.turn()
            assert accepted.recv(10) == b"ping"
            accepted.send(b"pong")
            guest_turns(rig, lambda: len(rig.guest.received) == 4 * (number + 1))  # noqa: B023
        assert entered == 1
        stop.set()
        thread.join()
        rig.close()


def guest_turns(rig: Rig, condition: object) -> None:
    assert callable(condition)
    while not condition():
        select.select([rig.guest.link], [], [], 0.05)
        rig.guest.turn()


# -- life --------------------------------------------------------------------------------------------------------------


def test_closed_is_closed() -> None:
    before = descriptors()
    engine = Engine(Core(SEED, ENGINE_MAC))
    assert len(descriptors()) == len(before) + 2
    ours, theirs = socket.socketpair()
    engine.attach_link(ours.detach(), 1500)
    engine.close()
    engine.close()
    assert engine.fileno() == -1
    assert theirs.recv(1) == b""
    theirs.close()
    assert descriptors() == before
    for call in (engine.process, engine.run, engine.flush):
        with pytest.raises(ClosedError):
            call()
    with pytest.raises(ClosedError):
        engine.attach_link(0, 1500)


def test_forgotten_is_closed() -> None:
    before = descriptors()
    engine = Engine(Core(SEED, ENGINE_MAC))
    ours, theirs = socket.socketpair()
    engine.attach_link(ours.detach(), 1500)
    del engine
    gc.collect()
    assert theirs.recv(1) == b""
    theirs.close()
    assert descriptors() == before


def test_it_knows_the_descriptor_of_each_flow(server: socket.socket) -> None:
    rig = Rig(to_loopback)
    assert rig.engine.descriptors() == {}
    rig.guest.connect(GATEWAY, server.getsockname()[1])
    rig.until(lambda: rig.guest.of_kind(kinds.KIND_CONNECTED))
    (flow,) = rig.engine.core.flows()
    ((handle, descriptor),) = rig.engine.descriptors().items()
    assert handle == flow["flow"]
    with socket.socket(fileno=descriptor) as borrowed:
        assert borrowed.getpeername() == server.getsockname()
        borrowed.detach()
    rig.close()


def test_the_core_outlives_its_engine(server: socket.socket) -> None:
    rig = Rig(to_loopback)
    rig.guest.connect(GATEWAY, server.getsockname()[1])
    rig.until(lambda: rig.guest.of_kind(kinds.KIND_CONNECTED))
    core = rig.engine.core
    rig.close()
    assert core.flows() == []
    assert core.memory()["buffer_bytes"] == 0
    assert core.memory()["timers"] == 0
    again = Engine(core)
    assert again.process() == []
    again.close()


def test_a_core_has_one_engine(engine: Engine) -> None:
    with pytest.raises(ValueError, match="the core is driven by another Engine"):
        Engine(engine.core)
    assert engine.process() == []


def test_it_belongs_to_the_thread_that_drives_it(engine: Engine) -> None:
    engine.process()
    raised: list[Exception] = []

    def elsewhere() -> None:
        for call in (engine.process, engine.run, engine.flush):
            try:
                call()
            except RuntimeError as error:
                raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(raised) == 3
    assert engine.process() == []


def test_made_here_and_driven_there() -> None:
    engine = Engine(Core(SEED, ENGINE_MAC))
    engine.flush()
    thread = threading.Thread(target=engine.process)
    thread.start()
    thread.join()
    engine.close()


@pytest.mark.parametrize("raw", [b"", LOOPBACK[12:], LOOPBACK + b"x"])
def test_addresses_have_sixteen_bytes(engine: Engine, raw: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        engine.connect_stream(0, raw, 80, 0)
    with pytest.raises(ValueError, match="16 bytes"):
        engine.open_inbound(0, LOOPBACK, 80, raw, 80, 0)
    with pytest.raises(OverflowError):
        engine.connect_datagram(0, LOOPBACK, 65_536, 0)
