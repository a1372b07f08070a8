"""Rigs and engines that close themselves, and a listening socket of the host."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from pyslirp.engine.core.core import Core
from pyslirp.engine.reactor import Engine
from tests.unit.engine.edge.guest import ENGINE_MAC, GATEWAY, NET, SEED, Rig


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    """Rig's constructor; every rig it has made is closed at the end."""
    made: list[Rig] = []

    def make(*args: object, **options: object) -> Rig:
        made.append(Rig(*args, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def engine() -> Iterator[Engine]:
    core = Core(SEED, ENGINE_MAC, mtu=65_520)
    core.set_network(NET, 120)
    core.add_address(GATEWAY)
    made = Engine(core)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Listens on the host's loopback."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:
        listening.settimeout(10)
        yield listening
