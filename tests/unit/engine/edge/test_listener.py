from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from pyslirp.addresses import pack
from pyslirp.engine.core import core as kinds
from pyslirp.engine.core.core import Core
from pyslirp.engine.reactor import Engine
from tests.unit.engine.edge.guest import ENGINE_MAC, LOOPBACK, SEED

TOKEN = 2**40 + 5
BATCH = 64
PATIENCE_NS = 10**10


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(Core(SEED, ENGINE_MAC))
    yield made
    made.close()


def listen(engine: Engine, backlog: int = 128) -> tuple[str, int]:
    made = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    where: tuple[str, int] = made.getsockname()
    engine.add_listener(made.detach(), TOKEN)
    return where


def test_who_connects_is_punted(engine: Engine) -> None:
    with socket.create_connection(listen(engine)) as client:
        [(kind, token, fd, address, port)] = engine.run(PATIENCE_NS)
        assert (kind, token) == (kinds.KIND_INBOUND, TOKEN)
        assert (address, port) == (LOOPBACK, client.getsockname()[1])
        with socket.socket(fileno=fd) as accepted:
            assert not accepted.get_inheritable()
            client.send(b"hello")
            accepted.setblocking(True)
            assert accepted.recv(10) == b"hello"
    assert engine.process() == []


def test_ipv6_and_unix_clients(engine: Engine, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        unix.listen()
        engine.add_listener(unix.detach(), 1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "socket"))
        [(_, token, fd, address, port)] = engine.run(PATIENCE_NS)
        socket.close(fd)
        assert (token, address, port) == (1, bytes(16), 0)
    try:
        six = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("the loopback has no IPv6 address: sysctl net.ipv6.conf.lo.disable_ipv6=0")
    where = six.getsockname()
    engine.add_listener(six.detach(), 2)
    with socket.create_connection(where[:2]):
        [(_, token, fd, address, _)] = engine.run(PATIENCE_NS)
        socket.close(fd)
        assert (token, address) == (2, pack(ip_address("::1")))


def test_a_crowd_comes_in_batches(engine: Engine) -> None:
    where = listen(engine)
    clients = [socket.create_connection(where) for _ in range(BATCH + 10)]
    sizes: list[int] = []
    while sum(sizes) < len(clients):
        punts = engine.run(PATIENCE_NS)
        sizes.append(len(punts))
        for punt in punts:
            socket.close(punt[2])
    assert sizes[0] == BATCH
    for client in clients:
        client.close()


def test_without_descriptors_they_wait(engine: Engine) -> None:
    """And nothing spins meanwhile."""
    where = listen(engine)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(where):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            assert engine.run(20_000_000) == []
            rounds = engine.snapshot()["rounds"]
            assert rounds < 10
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        while not (punts := engine.run(PATIENCE_NS)):
            continue
        socket.close(punts[0][2])
    assert engine.core.counters()["host.no_descriptors"] >= 1


def test_removed_is_closed(engine: Engine) -> None:
    where = listen(engine)
    engine.remove_listener(TOKEN)
    engine.remove_listener(TOKEN)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where)
    assert engine.snapshot()["listeners"] == 0


def test_a_token_names_one_listener(engine: Engine) -> None:
    listen(engine)
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ValueError, match=f"token {TOKEN} is in use"):
        engine.add_listener(other.fileno(), TOKEN)
    with pytest.raises(OSError, match="Bad file descriptor"):
        engine.add_listener(-1, 1)
