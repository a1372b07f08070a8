from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyslirp.engine.core import core as kinds
from pyslirp.engine.core.core import Core
from pyslirp.engine.reactor import Engine
from tests.unit.engine.edge.guest import ENGINE_MAC, GATEWAY, SEED, Punt, Rig, to_loopback

MakeRig = Callable[..., Rig]
RESERVED = 64


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def few_descriptors() -> Iterator[Callable[[int], None]]:
    """Lowers RLIMIT_NOFILE for the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(rig: Rig, server: socket.socket, source_port: int) -> None:
    rig.guest.connect(GATEWAY, server.getsockname()[1], source_port)
    rig.until(lambda: rig.guest.of_kind(kinds.KIND_CONNECTED) or rig.guest.of_kind(kinds.KIND_CLOSED))
    rig.guest.punts.clear()


def test_some_descriptors_no_guest_gets(few_descriptors: Callable[[int], None]) -> None:
    few_descriptors(1000)
    engine = Engine(Core(SEED, ENGINE_MAC))
    assert engine.snapshot()["sockets_limit"] == 1000 - RESERVED
    engine.close()
    few_descriptors(RESERVED)
    engine = Engine(Core(SEED, ENGINE_MAC))
    assert engine.snapshot()["sockets_limit"] == 0
    engine.close()


def test_a_full_table_refuses_the_new_and_keeps_the_old(
    make_rig: MakeRig, server: socket.socket, few_descriptors: Callable[[int], None]
) -> None:
    few_descriptors(RESERVED + 2)
    refused: list[int] = []

    def verdict(rig: Rig, punt: Punt) -> None:
        port = punt[2][4]
        refused.append(rig.engine.connect_stream(punt[1], GATEWAY[:12] + bytes([127, 0, 0, 1]), port, 0))

    rig = make_rig(verdict)
    for source_port in range(40_000, 40_003):
        connect(rig, server, source_port)
    assert refused == [0, 0, errno.EMFILE]
    assert rig.engine.snapshot()["sockets"] == 2
    assert rig.counter("host.no_descriptors") == 1
    assert rig.counter("tcp.denied") == 1
    peers = [rig.peer(server.accept()[0]) for _ in range(2)]
    for peer in peers:
        peer.socket.send(b"still here")
    rig.until(lambda: rig.guest.received == b"still herestill here")


def test_out_of_descriptors_the_kernel_says_so(
    make_rig: MakeRig, server: socket.socket, few_descriptors: Callable[[int], None]
) -> None:
    """The limit has fallen since the table was made."""
    refused: list[int] = []

    def verdict(rig: Rig, punt: Punt) -> None:
        refused.append(rig.engine.connect_stream(punt[1], GATEWAY, punt[2][4], 0))

    rig = make_rig(verdict)
    few_descriptors(3)
    connect(rig, server, 40_000)
    assert refused == [errno.EMFILE]
    assert rig.counter("host.no_descriptors") == 1


def test_every_descriptor_is_given_back(server: socket.socket) -> None:
    before = open_descriptors()
    rig = Rig(to_loopback)
    for source_port in range(40_000, 40_010):
        connect(rig, server, source_port)
    assert len(open_descriptors()) >= len(before) + 10
    rig.close()
    assert open_descriptors() == before


def test_closing_resets_what_is_unfinished(make_rig: MakeRig, server: socket.socket) -> None:
    """A guest that was cut off has not said that it was done."""
    rig = make_rig(to_loopback)
    rig.guest.connect(GATEWAY, server.getsockname()[1])
    rig.until(lambda: rig.guest.of_kind(kinds.KIND_CONNECTED))
    peer = rig.peer(server.accept()[0])
    rig.engine.close()
    with pytest.raises(ConnectionResetError):
        peer.socket.recv(1)


def test_closing_tells_the_guests(make_rig: MakeRig, server: socket.socket) -> None:
    rig = make_rig(to_loopback)
    rig.guest.connect(GATEWAY, server.getsockname()[1])
    rig.until(lambda: rig.guest.of_kind(kinds.KIND_CONNECTED))
    rig.peer(server.accept()[0])
    rig.engine.close()
    rig.guest.turn()
    assert kinds.REASONS[rig.guest.of_kind(kinds.KIND_CLOSED)[0][4]] == "reset by guest"  # as its Core sees us
