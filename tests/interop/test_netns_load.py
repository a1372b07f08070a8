"""Many connections, and sides that do not read: what is held stays bounded, and nothing is lost."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from tests.interop.rig.conversation import MIB, exchange, noise, receive_all, reset
from tests.interop.rig.deadline import Deadline, wait_for
from tests.interop.rig.namespace import accept
from tests.interop.rig.network import TCP_FORWARD, Network
from tests.interop.rig.process import Process
from tests.interop.rig.topology import GATEWAY

HELD_CONNECTIONS = 1000
IDLE_CONNECTIONS = 100
IDLE_SECONDS = 2.5  #: longer than any tick of ours could be: memory is given back each second
HELD_RSS_BYTES = 60 * 1000 * 1000  # of everything, with those connections open
BACKED_UP_BYTES = 48 * MIB  # more than kernel and backend may hold between two sockets: 6 MiB each, and the backend's
GROWTH_BYTES = 16 * MIB  # of the backend's memory, for one flow that is backed up
STILL_SECONDS = 1.0  # a sender that has sent nothing for so long is held back


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Room for both ends of `HELD_CONNECTIONS` in this process; the backend gets no more than it makes for itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * HELD_CONNECTIONS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the limit of open files is {hard}: ulimit -Hn {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fill(sock: socket.socket) -> bytes:
    """Send until the other side holds back; all that was sent."""
    sent = bytearray()
    chunk = noise(MIB)
    sock.settimeout(STILL_SECONDS)
    deadline = Deadline(30.0)
    while not deadline.passed():
        try:
            count = sock.send(chunk[len(sent) % MIB :])
        except TimeoutError:
            return bytes(sent)
        sent += chunk[len(sent) % MIB :][:count]
        assert len(sent) < BACKED_UP_BYTES, "nothing holds the sender back"
    raise AssertionError(f"the sender still gets something away after 30 s: {len(sent)} bytes")


def connections(net: Network) -> tuple[socket.socket, socket.socket]:
    """A connection from the guest to the host, without room in either kernel beyond the default."""
    with net.topology.host.listener() as listener:
        guest = net.guest.net.connect(GATEWAY, listener.getsockname()[1])
        host, _ = accept(listener)
    return guest, host


@pytest.mark.parametrize("reader", ["host", "guest"])
def test_a_side_that_does_not_read(net: Network, reader: str) -> None:
    """The sender is held back, the backend's memory stays bounded, others get through, and then all of it arrives."""
    guest, host = connections(net)
    source, sink = (guest, host) if reader == "host" else (host, guest)
    process = net.backend.process
    assert process
    before = process.rss_bytes()
    sent = fill(source)
    assert process.rss_bytes() - before < GROWTH_BYTES
    other_guest, other_host = connections(net)
    exchange([(other_guest, other_host, noise(MIB, 3)), (other_host, other_guest, noise(MIB, 4))])
    source.settimeout(20.0)
    source.shutdown(socket.SHUT_WR)
    assert receive_all(sink) == sent


def test_two_sides_that_do_not_read(net: Network) -> None:
    """Both directions of one connection are held back, and then both arrive whole."""
    guest, host = connections(net)
    up, down = fill(guest), fill(host)
    for sock in (guest, host):
        sock.settimeout(20.0)
        sock.shutdown(socket.SHUT_WR)
    assert receive_all(host) == up
    assert receive_all(guest) == down


@pytest.mark.parametrize("reader", ["host", "guest"])
def test_a_reader_that_dawdles(net: Network, reader: str) -> None:
    """A small window that closes and opens all the time: everything comes through a reader that takes little sips."""
    guest, host = connections(net)
    source, sink = (guest, host) if reader == "host" else (host, guest)
    # Smaller ones make the kernel's own loopback crawl: it delays its acknowledgements.
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    data = noise(24 * MIB)
    source.setblocking(False)
    sent, got = 0, bytearray()
    deadline = Deadline(60.0)
    while len(got) < len(data):
        assert not deadline.passed(), f"{len(got)} of {len(data)} bytes after 60 s"
        with contextlib.suppress(BlockingIOError):
            sent += source.send(data[sent : sent + 65536]) if sent < len(data) else 0
        got += sink.recv(10_000)
    assert got == data


@pytest.mark.incumbent("slirp4netns", "takes more memory")
@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_connections(net: Network) -> None:
    """Held open, each having carried a byte each way: all work again later, and 60 MB hold everything."""
    process = net.backend.process
    assert process
    with net.topology.host.listener(backlog=HELD_CONNECTIONS) as listener:
        where = GATEWAY, listener.getsockname()[1]
        pairs = []
        for _ in range(HELD_CONNECTIONS):
            guest = net.guest.net.connect(*where)
            host, _ = accept(listener)
            pairs.append((guest, host))
    for _ in range(2):
        for number, (guest, host) in enumerate(pairs):
            byte = bytes([number % 256])
            guest.sendall(byte)
            assert host.recv(1) == byte
            host.sendall(byte)
            assert guest.recv(1) == byte
        assert process.rss_bytes() < HELD_RSS_BYTES


@pytest.mark.pyslirp
def test_connections_leave_nothing_behind(net: Network) -> None:
    """Descriptors are back to what they were once five hundred connections, of all kinds of end, are over."""
    process = net.backend.process
    assert process
    before = process.open_fds()
    with net.topology.host.listener(backlog=HELD_CONNECTIONS) as listener:
        for number in range(500):
            guest = net.guest.net.connect(GATEWAY, listener.getsockname()[1])
            host, _ = accept(listener)
            first, second = (guest, host) if number % 2 else (host, guest)
            if number % 3 == 0:
                reset(first)
            first.close()
            second.close()
    wait_for("descriptors to be closed", lambda: process.open_fds() <= before + 5, seconds=15.0)


@pytest.mark.pyslirp
def test_an_idle_network_does_nothing(net: Network) -> None:
    """With a hundred connections open and nothing to carry the process sleeps: no tick of CPU, and not one wake-up."""
    pairs = [connections(net) for _ in range(IDLE_CONNECTIONS)]
    exchange([(guest, host, b"hello") for guest, host in pairs], close=False)
    process = net.backend.process
    assert process
    wait_for(f"{IDLE_SECONDS:g} s of sleep", lambda: _rests(process, IDLE_SECONDS), seconds=20.0)


def _rests(process: Process, seconds: float) -> bool:
    """Does it sleep for so long?  (Not at once: delayed ACKs, memory given back, the guest's kernel asks for our MAC again.)"""
    before = process.cpu_seconds(), process.wakeups()
    time.sleep(seconds)
    return (process.cpu_seconds(), process.wakeups()) == before


def test_forwards_at_the_same_time(net: Network) -> None:
    """A hundred clients of one forwarded port before the guest takes the first: none is lost, none mixed up."""
    with net.guest.net.listener("0.0.0.0", TCP_FORWARD.guest_port, backlog=200) as listener:
        clients = []
        for number in range(100):
            client = net.topology.host.connect(TCP_FORWARD.address, TCP_FORWARD.port)
            client.sendall(b"%04d" % number)
            clients.append(client)
        for _ in clients:
            taken, _ = accept(listener)
            taken.sendall(taken.recv(4, socket.MSG_WAITALL))
    for number, client in enumerate(clients):
        assert client.recv(4, socket.MSG_WAITALL) == b"%04d" % number
