from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Callable, Iterator

import pytest

from pyslirp.engine.core import core as kinds
from pyslirp.engine.edge.clock import now
from pyslirp.engine.reactor import Engine
from tests.unit.engine.edge.guest import ENGINE_MAC, GATEWAY, GUEST_MAC, Guest, Rig

MakeRig = Callable[..., Rig]
SMALLEST, LARGEST = 14, 69_632
READ_BYTES = 262_144
END_OF_FILE, BAD_LENGTH = 0, -1
PORTS_MAX = 256
BUFFERS_KEPT_BYTES = 16 * 16_384
SECOND = 1_000_000_000
NEIGHBOUR_MAC = b"\x52\x54\0\0\0\7"


@pytest.fixture
def link(engine: Engine) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    engine.attach_link(ours.detach(), 65_520)
    with theirs:
        theirs.settimeout(10)
        yield theirs


def framed(frame: bytes) -> bytes:
    return len(frame).to_bytes(4) + frame


def noise(length: int, source: bytes = GUEST_MAC, destination: bytes = b"\x52\x54\0\0\0\1") -> bytes:
    """A frame that the engine looks at and has nothing to do with."""
    return (destination + source + b"\x88\xb5").ljust(length, b"\0")


def take(link: socket.socket) -> int:
    """Read what is there; how many bytes."""
    try:
        return len(link.recv(1 << 20))
    except BlockingIOError:
        return 0


def frames_of(engine: Engine) -> int:
    return int(engine.core.ports()[0]["rx_frames"])


def arp_request(target: bytes = GATEWAY) -> bytes:
    return (
        b"\xff" * 6
        + GUEST_MAC
        + b"\x08\x06"
        + bytes.fromhex("0001080006040001")
        + GUEST_MAC
        + b"\x0a\0\2\x0f"
        + bytes(6)
        + target[12:]
    ).ljust(60, b"\0")


def test_an_answer_in_one_turn(engine: Engine, link: socket.socket) -> None:
    link.send(framed(arp_request()))
    assert engine.process() == []
    answer = link.recv(100)
    assert answer[:4] == (60).to_bytes(4)
    assert answer[4:16] == GUEST_MAC + ENGINE_MAC


@pytest.mark.parametrize("length", [SMALLEST, 60, 1514, 65_534, LARGEST])
def test_frames_of_any_length(engine: Engine, link: socket.socket, length: int) -> None:
    stream = framed(noise(length)) + framed(noise(SMALLEST))
    link.setblocking(False)
    while stream:
        stream = stream[link.send(stream) :]
        engine.process()
    assert frames_of(engine) == 2


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 17, 63])
def test_a_frame_may_come_in_pieces(engine: Engine, link: socket.socket, cut: int) -> None:
    stream = framed(arp_request())
    link.send(stream[:cut])
    assert engine.process() == []
    assert engine.process() == []
    link.send(stream[cut:])
    engine.process()
    assert link.recv(100)[4:10] == GUEST_MAC


def test_byte_by_byte(engine: Engine, link: socket.socket) -> None:
    for byte in framed(noise(40)) * 3:
        link.send(bytes([byte]))
        engine.process()
    assert frames_of(engine) == 3


def test_more_than_one_read_takes(engine: Engine, link: socket.socket) -> None:
    """What a read leaves is told again."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * READ_BYTES)
    link.setblocking(False)
    frame = framed(noise(1500))
    stream = memoryview(frame * (3 * READ_BYTES // len(frame)))
    sent = 0
    while sent < len(stream):
        try:
            sent += link.send(stream[sent:])
        except BlockingIOError:
            engine.process(1)
    while engine.core.ports()[0]["rx_frames"] < len(stream) // len(frame):
        engine.process(1)
    assert frames_of(engine) == len(stream) // len(frame)


@pytest.mark.parametrize("length", [0, 1, SMALLEST - 1, LARGEST + 1, 2**31, 2**32 - 1])
def test_a_length_that_no_frame_has_closes_the_port(engine: Engine, link: socket.socket, length: int) -> None:
    link.send(framed(noise(60)) + length.to_bytes(4) + bytes(100))
    assert engine.process() == [(kinds.KIND_LINK, 0, BAD_LENGTH, length)]
    assert engine.core.ports() == []
    assert engine.core.counters()["link.bad_length"] == 1
    assert engine.snapshot()["links"] == 0
    with pytest.raises(BrokenPipeError):
        link.send(b"x")


def test_only_that_port_is_closed(engine: Engine, link: socket.socket) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        port = engine.attach_link(ours.detach(), 1500)
        theirs.send(bytes(4))
        assert engine.process() == [(kinds.KIND_LINK, port, BAD_LENGTH, 0)]
    link.send(framed(arp_request()))
    engine.process()
    assert link.recv(100)


def test_the_end_of_the_stream(engine: Engine, link: socket.socket) -> None:
    link.send(framed(noise(60)))
    link.close()
    assert engine.process() == [(kinds.KIND_LINK, 0, END_OF_FILE, 0)]
    assert engine.core.counters()["link.broken"] == 0


def test_cut_inside_a_frame_is_forgotten(engine: Engine, link: socket.socket) -> None:
    """The next link, on the same port, begins with a frame of its own."""
    link.send(framed(noise(60))[:40])
    engine.process()
    link.close()
    assert engine.process() == [(kinds.KIND_LINK, 0, END_OF_FILE, 0)]
    assert engine.core.counters()["link.broken"] == 1
    ours, again = socket.socketpair()
    with again:
        assert engine.attach_link(ours.detach(), 1500) == 0
        again.send(framed(arp_request()))
        engine.process()
        assert again.recv(100)[4:10] == GUEST_MAC


def test_an_error_of_the_link_is_its_errno(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as peer:
        accepted, _ = listening.accept()
        engine.attach_link(accepted.detach(), 1500)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert engine.run(10**10) == [(kinds.KIND_LINK, 0, errno.ECONNRESET, 0)]
    assert engine.core.counters()["link.broken"] == 1


def test_a_guest_that_does_not_read_holds_up_nobody_else(make_rig: MakeRig) -> None:
    """Its queue fills and is bounded; another guest's frames pass all the while."""
    rig = make_rig()
    ours, theirs = socket.socketpair()
    with theirs:
        stuck = rig.engine.attach_link(ours.detach(), 1500)
        theirs.send(framed(noise(60, NEIGHBOUR_MAC, ENGINE_MAC)))
        rig.engine.process()
        frame = framed(noise(1500, destination=NEIGHBOUR_MAC))
        for _ in range(1500):
            rig.guest.link.setblocking(True)
            rig.guest.link.sendall(frame)
            rig.engine.process()
        waiting = {port["port"]: port["tx_waiting_bytes"] for port in rig.engine.core.ports()}
        assert 1 << 19 < waiting[stuck] <= 1 << 20
        assert rig.counter("port.tx_full") > 0
        rig.guest.link.send(framed(arp_request()))
        rig.engine.process()
        assert rig.guest.link.recv(100)[4:10] == GUEST_MAC
        assert not rig.engine.process()
        theirs.setblocking(False)
        while rig.engine.core.ports()[stuck]["tx_waiting_bytes"]:
            take(theirs)
            rig.engine.process()


def test_a_flow_held_back_by_a_full_link_goes_on(make_rig: MakeRig) -> None:
    rig = make_rig()
    flow = rig.engine.core.open(rig.guest.address, 80, GATEWAY, 999, 0, now())
    rig.engine.flush()

    def accepted() -> list[object]:
        for punt in rig.guest.of_kind(kinds.KIND_FLOW):
            rig.guest.core.serve(punt[1], 0, now())
        return [*rig.of_kind(kinds.KIND_CONNECTED)]

    rig.until(accepted)
    sent = 0

    def all_came() -> bool:
        nonlocal sent
        sent += rig.engine.core.stream_write(flow, bytes(8_000_000 - sent))
        return len(rig.guest.received) == 8_000_000

    rig.until(all_came)


def test_flows_of_a_full_link_take_turns(make_rig: MakeRig) -> None:
    """None has the link to itself.  How alike the shares are is the congestion control's, where the machine is slow."""
    rig = make_rig()
    flows = [rig.engine.core.open(rig.guest.address, 80, GATEWAY, 1000 + number, 0, now()) for number in range(8)]
    rig.engine.flush()

    def accepted() -> bool:
        for punt in rig.guest.of_kind(kinds.KIND_FLOW):
            rig.guest.core.serve(punt[1], 0, now())
        return len(rig.of_kind(kinds.KIND_CONNECTED)) == len(flows)

    rig.until(accepted)
    data = bytes(4_000_000)

    def arrived() -> list[int]:
        described = [rig.engine.core.flow(flow) for flow in flows]
        return [flow["bytes_to_guest"] - flow["send_queue"] for flow in described]

    def enough() -> bool:
        for flow in flows:
            rig.engine.core.stream_write(flow, data)
        rig.engine.flush()
        del rig.guest.received[:]
        return sum(arrived()) > 64_000_000

    rig.until(enough)
    shares = arrived()
    mean = sum(shares) / len(shares)
    assert mean / 20 < min(shares) <= max(shares) < 5 * mean, shares


def test_the_memory_of_a_burst_is_given_back(make_rig: MakeRig) -> None:
    """One wake-up a while after the last frame, and then none."""
    rig = make_rig()
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        rig.engine.attach_link(ours.detach(), 1500)
        theirs.send(framed(noise(60, NEIGHBOUR_MAC, ENGINE_MAC)))
        rig.engine.process()
        rig.guest.link.setblocking(True)
        rig.guest.link.sendall(framed(noise(1500, destination=NEIGHBOUR_MAC)) * 100)
        rig.engine.process()
        taken = 0
        while taken < 100 * 1504:
            taken += take(theirs)
            rig.engine.process()
        assert rig.engine.run(5 * SECOND) == []
        rounds = rig.engine.snapshot()["rounds"]
        assert rig.engine.run(SECOND // 10) == []
        assert rig.engine.snapshot()["rounds"] == rounds + 2  # on entering, and at the end of the time


def test_buffers_that_nobody_needs_any_more_are_given_back(make_rig: MakeRig) -> None:
    rig = make_rig()
    flow = rig.engine.core.open(rig.guest.address, 80, GATEWAY, 999, 0, now())
    rig.engine.flush()
    sent = most = 0

    def all_came() -> bool:
        nonlocal sent, most
        for punt in rig.guest.of_kind(kinds.KIND_FLOW):
            rig.guest.core.serve(punt[1], 0, now())
        if rig.of_kind(kinds.KIND_CONNECTED):
            sent += rig.engine.core.stream_write(flow, bytes(4_000_000 - sent))
        most = max(most, rig.engine.core.memory()["buffer_spare_bytes"])
        return len(rig.guest.received) == 4_000_000

    rig.until(all_came)
    assert most > BUFFERS_KEPT_BYTES
    rig.until(lambda: rig.engine.core.memory()["buffer_spare_bytes"] == BUFFERS_KEPT_BYTES)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_only_a_stream_socket_carries_the_stream_framing(engine: Engine, kind: int) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    with one, other, pytest.raises(OSError, match="Invalid argument"):
        engine.attach_link(one.fileno(), 1500)
    with pytest.raises(OSError, match="Bad file descriptor"):
        engine.attach_link(-1, 1500)


def test_a_framing_that_there_is_not(engine: Engine) -> None:
    with pytest.raises(ValueError, match="framing=morse: one of stream,"):
        engine.attach_link(0, 1500, "morse")


def test_a_switch_has_so_many_ports(engine: Engine) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    pairs = [socket.socketpair() for _ in range(PORTS_MAX + 1)]
    try:
        for ours, _ in pairs[:-1]:
            engine.attach_link(ours.detach(), 1500)
        with pytest.raises(OSError, match="No space left"):
            engine.attach_link(pairs[-1][0].fileno(), 1500)
        engine.detach_link(17)
        assert engine.attach_link(pairs[-1][0].detach(), 1500) == 17
        pairs[3][1].send(framed(arp_request()))
        engine.process()
        assert pairs[3][1].recv(100)[4:10] == GUEST_MAC
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for ours, theirs in pairs:
            ours.close()
            theirs.close()


def test_detaching_closes_and_tells_nobody(engine: Engine, link: socket.socket) -> None:
    engine.detach_link(0)
    engine.detach_link(0)
    engine.detach_link(4711)
    assert link.recv(1) == b""
    assert engine.process() == []


def test_two_guests_reach_one_another(make_rig: MakeRig) -> None:
    rig = make_rig()
    ours, theirs = socket.socketpair()
    rig.engine.attach_link(ours.detach(), 1500)
    other = Guest(theirs, mac=NEIGHBOUR_MAC, address=GATEWAY[:15] + b"\x10")
    with theirs:
        stream = rig.guest.connect(other.address, 7)

        def served() -> bool:
            other.turn()
            for punt in other.of_kind(kinds.KIND_FLOW):
                other.core.serve(punt[1], 0, now())
                other.punts.remove(punt)
            return bool(rig.guest.of_kind(kinds.KIND_CONNECTED))

        rig.until(served)
        rig.guest.core.stream_write(stream, b"neighbour")

        def received() -> bool:
            other.turn()
            return other.received == b"neighbour"

        rig.until(received)
