from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from pyslirp.addresses import pack
from pyslirp.engine.edge.errqueue import _enable, _take

UNREACHABLE, PORT = 3, 3  # RFC 792
PATIENCE_MS = 10_000


@pytest.fixture(params=["127.0.0.1", "::1"])
def loopback(request: pytest.FixtureRequest) -> str:
    address = str(request.param)
    try:
        with sender(address) as probe:
            probe.bind((address, 0))
    except OSError:
        pytest.skip("the loopback has no IPv6 address: sysctl net.ipv6.conf.lo.disable_ipv6=0")
    return address


def sender(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


@pytest.fixture
def deaf_port(loopback: str) -> Iterator[int]:
    """A port that nobody receives at: bound, so that nobody else takes it, by a socket that is connected elsewhere."""
    with sender(loopback) as holder:
        holder.bind((loopback, 0))
        holder.connect((loopback, 9))
        yield holder.getsockname()[1]


def erred(fd: socket.socket) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(PATIENCE_MS))


def send_once_more(ours: socket.socket, to: tuple[str, int]) -> None:
    """Send; the error of the datagram before is told first."""
    try:
        ours.sendto(b"anybody?", to)
    except ConnectionRefusedError:
        ours.sendto(b"anybody?", to)


def test_nobody_there_is_port_unreachable(loopback: str, deaf_port: int) -> None:
    with sender(loopback) as ours:
        assert _enable(ours.fileno(), ":" in loopback)
        assert _take(ours.fileno()) is None
        ours.sendto(b"anybody?", (loopback, deaf_port))
        assert erred(ours)
        here = pack(ip_address(loopback))
        assert _take(ours.fileno()) == (errno.ECONNREFUSED, UNREACHABLE, PORT, 0, here, deaf_port, here, b"anybody?")
        assert _take(ours.fileno()) is None


def test_every_datagram_has_its_own_error(loopback: str, deaf_port: int) -> None:
    with sender(loopback) as ours:
        _enable(ours.fileno(), ":" in loopback)
        for _ in range(3):
            send_once_more(ours, (loopback, deaf_port))
        found = [_take(ours.fileno()) for _ in range(4)]
        assert [entry is not None for entry in found] == [True, True, True, False]


def test_what_was_sent_comes_with_it(loopback: str, deaf_port: int) -> None:
    """As much of it as the error quotes: all that makes it 576 bytes (RFC 1812 4.3.2.3), or 1280 (RFC 4443 section 2.4)."""
    data = bytes(number % 251 for number in range(1400))
    with sender(loopback) as ours:
        _enable(ours.fileno(), ":" in loopback)
        ours.sendto(data, (loopback, deaf_port))
        assert erred(ours)
        taken = _take(ours.fileno())
        assert taken is not None
        assert taken[7] == data[: len(taken[7])]
        assert 500 < len(taken[7]) <= 1280


def test_without_it_nothing_is_kept(loopback: str, deaf_port: int) -> None:
    with sender(loopback) as ours:
        _enable(ours.fileno(), ":" in loopback)
        _enable(ours.fileno(), ":" in loopback, on=False)
        ours.sendto(b"anybody?", (loopback, deaf_port))
        assert _take(ours.fileno()) is None


def test_a_descriptor_that_is_no_such_socket() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert not _enable(one.fileno(), v6=False)
        assert _take(one.fileno()) is None
