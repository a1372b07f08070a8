"""A frame in each read and write.  A SEQPACKET socket stands for the tap; real ones are in tests/interop."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from pyslirp.engine.core import core as kinds
from pyslirp.engine.reactor import Engine
from tests.unit.engine.edge.guest import ENGINE_MAC, GATEWAY, GUEST_MAC

LONGEST = 69_632
NEIGHBOUR_MAC = bytes.fromhex("525400000002")
EPIPE = 32


@pytest.fixture
def guest(engine: Engine) -> Iterator[socket.socket]:
    with attach(engine) as made:
        yield made


def attach(engine: Engine, framing: str = "tap") -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.settimeout(10)
    engine.attach_link(ours.detach(), 65_520, framing)
    return theirs


def noise(length: int, source: bytes = GUEST_MAC, destination: bytes = NEIGHBOUR_MAC) -> bytes:
    """A frame that the engine looks at and has nothing to do with."""
    return (destination + source + b"\x88\xb5").ljust(length, b"\0")


def arp_request() -> bytes:
    head = b"\xff" * 6 + GUEST_MAC + bytes.fromhex("0806 0001080006040001")
    return (head + GUEST_MAC + b"\x0a\0\2\x0f" + bytes(6) + GATEWAY[12:]).ljust(60, b"\0")


def port_of(engine: Engine, number: int = 0) -> dict[str, int]:
    return next(port for port in engine.core.ports() if port["port"] == number)


@pytest.mark.parametrize("framing", ["tap", "seqpacket"])
def test_an_answer_in_one_turn(engine: Engine, framing: str) -> None:
    with attach(engine, framing) as guest:
        guest.send(arp_request())
        assert engine.process() == []
        answer = guest.recv(100)
        assert (len(answer), answer[:12]) == (60, GUEST_MAC + ENGINE_MAC)


@pytest.mark.parametrize("length", [1, 13, 14, 60, 1514, 65_534, LONGEST])
def test_frames_of_any_length(engine: Engine, guest: socket.socket, length: int) -> None:
    guest.send(noise(60)[:length].ljust(length, b"\0"))
    engine.process()
    guest.send(arp_request())
    engine.process()
    assert port_of(engine)["rx_frames"] == 2
    assert port_of(engine)["rx_bytes"] == length + 60
    assert engine.core.counters()["eth.short"] == (length < 14)
    assert guest.recv(100)[:6] == GUEST_MAC


def test_a_virtio_net_header_in_front(engine: Engine) -> None:
    nothing_left_undone = bytes(10)
    with attach(engine, "tap+vnet") as guest:
        guest.send(nothing_left_undone + arp_request())
        guest.send(bytes(9))
        assert engine.process() == []
        answer = guest.recv(100)
        assert (len(answer), answer[:10], answer[10:22]) == (70, nothing_left_undone, GUEST_MAC + ENGINE_MAC)
        assert engine.core.counters()["link.bad_offload"] == 1


def test_many_frames_at_once(engine: Engine, guest: socket.socket) -> None:
    """More than there is room for in one turn: the rest is told again."""
    guest.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_000_000)
    guest.setblocking(False)
    sent = 0
    while sent < 1000:
        try:
            guest.send(noise(9000))
            sent += 1
        except BlockingIOError:
            assert engine.process(1) == []
    while port_of(engine)["rx_frames"] < sent:
        assert engine.process(1) == []
    assert port_of(engine)["rx_bytes"] == sent * 9000


def test_each_frame_is_one_message_on_the_way_out(engine: Engine, guest: socket.socket) -> None:
    with attach(engine) as neighbour:
        neighbour.send(noise(60, NEIGHBOUR_MAC, ENGINE_MAC))
        lengths = [60, 1514, 61, 9000]
        for length in lengths:
            guest.send(noise(length))
        engine.process()
        assert [len(neighbour.recv(LONGEST)) for _ in lengths] == lengths


def test_a_full_socket_holds_back_and_goes_on(engine: Engine, guest: socket.socket) -> None:
    """Its queue fills and is bounded; what fits arrives, whole and in order."""
    with attach(engine) as neighbour:
        neighbour.send(noise(60, NEIGHBOUR_MAC, ENGINE_MAC))
        engine.process()
        for number in range(1500):
            guest.send(noise(1500)[:14] + number.to_bytes(2) + bytes(1484))
            engine.process()
        waiting = port_of(engine, 1)["tx_waiting_bytes"]
        assert 1 << 19 < waiting <= 1 << 20
        dropped = port_of(engine, 1)["tx_dropped"]
        assert dropped > 0
        guest.send(arp_request())
        engine.process()
        assert guest.recv(100)[:6] == GUEST_MAC  # others do not wait
        neighbour.setblocking(False)
        numbers: list[int] = []
        while port_of(engine, 1)["tx_waiting_bytes"] or len(numbers) < 1501 - dropped:
            try:
                frame = neighbour.recv(2000)
            except BlockingIOError:
                engine.process()
            else:
                numbers.append(int.from_bytes(frame[14:16]))
        assert numbers[:-1] == list(range(1500 - dropped))


def test_a_frame_that_is_refused_is_lost_alone(engine: Engine, guest: socket.socket) -> None:
    """As by a tap whose interface is down: here, because it is longer than the socket's buffer."""
    ours, neighbour = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5000)
    port = engine.attach_link(ours.detach(), 65_520, "tap")
    with neighbour:
        neighbour.send(noise(60, NEIGHBOUR_MAC, ENGINE_MAC))
        for length in (60, 60_000, 61):
            guest.send(noise(length))
            assert engine.process() == []
        assert [len(neighbour.recv(LONGEST)) for _ in range(2)] == [60, 61]
        assert port_of(engine, port)["tx_dropped"] == engine.core.counters()["link.refused"] == 1
        assert port_of(engine, port)["tx_waiting_bytes"] == 0


def test_the_other_side_goes(engine: Engine, guest: socket.socket) -> None:
    guest.send(noise(60))
    guest.close()
    assert engine.process() == [(kinds.KIND_LINK, 0, 0, 0)]
    assert engine.core.ports() == []


def test_the_other_side_has_gone_before_we_write(engine: Engine, guest: socket.socket) -> None:
    neighbour = attach(engine)
    neighbour.send(noise(60, NEIGHBOUR_MAC, ENGINE_MAC))
    engine.process()
    neighbour.close()
    guest.send(noise(60))
    assert [punt[:2] for punt in engine.process()] == [(kinds.KIND_LINK, 1)]
    assert [port["port"] for port in engine.core.ports()] == [0]


def test_detaching_closes_and_tells_nobody(engine: Engine, guest: socket.socket) -> None:
    engine.detach_link(0)
    assert guest.recv(1) == b""
    assert engine.process() == []
