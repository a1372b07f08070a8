from __future__ import annotations

import errno
import os
import resource
import select
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from pyslirp.addresses import pack
from pyslirp.engine.core import core as kinds
from pyslirp.engine.edge.clock import now
from tests.unit.engine.edge.guest import ELSEWHERE, GATEWAY, GUEST, LOOPBACK, Peer, Punt, Rig, to_loopback

MakeRig = Callable[..., Rig]
GUEST_PORT = 2000
MSS = 1460


def port_of(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def connected(rig: Rig, server: socket.socket) -> tuple[int, Peer]:
    """The guest has connected to the server: its stream, and the server's end."""
    stream = rig.guest.connect(GATEWAY, port_of(server))
    rig.until(lambda: rig.guest.of_kind(kinds.KIND_CONNECTED))
    return stream, rig.peer(server.accept()[0])


def send_all(rig: Rig, stream: int, data: bytes, done: Callable[[], object]) -> None:
    """The guest sends `data`, and `done` comes true."""
    sent = rig.guest.core.stream_write(stream, data)

    def go_on() -> object:
        nonlocal sent
        sent += rig.guest.core.stream_write(stream, data[sent : sent + (1 << 20)])
        return done()

    rig.until(go_on)


def test_bytes_pass_both_ways(make_rig: MakeRig, server: socket.socket) -> None:
    rig = make_rig(to_loopback)
    stream, peer = connected(rig, server)
    data = bytes(range(256)) * 12_000
    send_all(rig, stream, data, lambda: peer.turn() and len(peer.received) == len(data))
    assert peer.received == data
    sent = 0

    def all_came() -> bool:
        nonlocal sent
        sent += peer.send_some(data[sent:])
        return len(rig.guest.received) == len(data)

    rig.until(all_came)
    assert rig.guest.received == data
    rig.guest.core.stream_finish(stream)
    rig.until(lambda: peer.turn() and peer.ended)
    peer.socket.close()
    rig.until(lambda: rig.of_kind(kinds.KIND_CLOSED))
    assert rig.engine.snapshot()["sockets"] == 0
    assert rig.of_kind(kinds.KIND_CLOSED)[0][4:7] == (1, len(data), len(data))


def end_at(name: tuple[str, int]) -> socket.socket:
    """A socket of this process that is bound to `name`, by a descriptor of its own."""
    for fd in Path("/proc/self/fd").iterdir():
        try:
            found = socket.socket(fileno=os.dup(int(fd.name)))
        except OSError:  # no socket, or the listing's own descriptor
            continue
        if found.family == socket.AF_INET and found.getsockname() == name:
            return found
        found.close()
    raise LookupError(name)


def test_a_bulk_transfer_is_given_room_in_the_kernel(make_rig: MakeRig, server: socket.socket) -> None:
    """More than loopback's round trip would give it; and the last byte is told of like the first."""
    rig = make_rig(to_loopback)
    _, peer = connected(rig, server)
    sizes = [int(size) for size in Path("/proc/sys/net/ipv4/tcp_rmem").read_text().split()]
    with end_at(peer.socket.getpeername()) as ours:
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == sizes[1]
        sent, total = 0, 8 << 20

        def all_came() -> bool:
            nonlocal sent
            sent += peer.send_some(bytes(min(1 << 20, total - sent)))
            return len(rig.guest.received) == total

        rig.until(all_came)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= min(4 << 20, sizes[2] // 2)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
    peer.socket.send(b"!")
    rig.until(lambda: len(rig.guest.received) == total + 1)


def test_a_guest_is_answered_only_when_the_host_is(make_rig: MakeRig) -> None:
    """A listener whose backlog is full answers no SYN; neither do we."""
    rig = make_rig(to_loopback)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy, socket.create_connection(busy.getsockname()):
        rig.guest.connect(GATEWAY, port_of(busy))
        rig.until(lambda: rig.engine.snapshot()["sockets"] == 1)
        for _ in range(5):
            rig.turn()
        assert rig.flow()["state"] == "HELD"
        assert not rig.guest.of_kind(kinds.KIND_CONNECTED)
        busy.accept()[0].close()
        rig.until(lambda: rig.guest.of_kind(kinds.KIND_CONNECTED))


def test_refused_is_a_reset(make_rig: MakeRig) -> None:
    rig = make_rig(to_loopback)
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        rig.guest.connect(GATEWAY, port_of(bound))
        rig.until(lambda: rig.guest.of_kind(kinds.KIND_CLOSED) and rig.of_kind(kinds.KIND_CLOSED))
    assert kinds.REASONS[rig.guest.of_kind(kinds.KIND_CLOSED)[0][4]] == "refused"
    assert kinds.REASONS[rig.of_kind(kinds.KIND_CLOSED)[0][4]] == "refused"
    assert rig.engine.snapshot()["sockets"] == 0


def test_a_reset_by_the_host_follows_its_last_bytes(make_rig: MakeRig, server: socket.socket) -> None:
    rig = make_rig(to_loopback)
    _, peer = connected(rig, server)
    peer.socket.send(b"last words")
    rig.until(lambda: rig.guest.received == b"last words")
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.socket.close()
    rig.until(lambda: rig.guest.of_kind(kinds.KIND_CLOSED))
    assert kinds.REASONS[rig.guest.of_kind(kinds.KIND_CLOSED)[0][4]] == "reset by guest"  # as its Core sees us
    assert kinds.REASONS[rig.of_kind(kinds.KIND_CLOSED)[0][4]] == "reset by host"


def test_a_reset_by_the_guest_resets_the_host(make_rig: MakeRig, server: socket.socket) -> None:
    rig = make_rig(to_loopback)
    stream, peer = connected(rig, server)
    rig.guest.core.close_flow(stream, now())
    rig.until(lambda: rig.of_kind(kinds.KIND_CLOSED))
    with pytest.raises(ConnectionResetError):
        peer.socket.recv(1)


def test_the_hosts_end_comes_with_its_bytes(make_rig: MakeRig, server: socket.socket) -> None:
    """Bytes and FIN before the engine looks: one edge for both."""
    rig = make_rig(to_loopback)
    _, peer = connected(rig, server)
    peer.socket.send(b"all of it")
    peer.socket.shutdown(socket.SHUT_WR)
    rig.until(lambda: rig.guest.of_kind(kinds.KIND_FINISHED))
    assert rig.guest.received == b"all of it"


def test_either_half_can_end_first(make_rig: MakeRig, server: socket.socket) -> None:
    rig = make_rig(to_loopback)
    stream, peer = connected(rig, server)
    rig.guest.core.stream_finish(stream)
    rig.until(lambda: peer.turn() and peer.ended)
    peer.socket.send(b"after the end")
    rig.until(lambda: rig.guest.received == b"after the end")


def test_urgent_data_does_not_hold_up_what_follows(make_rig: MakeRig, server: socket.socket) -> None:
    """The kernel ends a read at the urgent mark; what lies behind it has had its edge."""
    rig = make_rig(to_loopback)
    _, peer = connected(rig, server)
    peer.socket.send(b"before")
    peer.socket.send(b"!", socket.MSG_OOB)
    peer.socket.send(b"behind")
    rig.until(lambda: len(rig.guest.received) == 13)
    assert rig.guest.received == b"before!behind"


def closed_window(rig: Rig) -> bool:
    """Less than a segment is no offer (RFC 9293 3.8.6.2.2)."""
    return bool(rig.flow()["rcv_wnd"] < MSS)


def test_a_host_that_does_not_read_closes_the_guests_window(make_rig: MakeRig, server: socket.socket) -> None:
    rig = make_rig(to_loopback)
    stream, peer = connected(rig, server)
    data = bytes(40 << 20)
    send_all(rig, stream, data, lambda: closed_window(rig))
    assert rig.engine.core.memory()["buffer_bytes"] < 17 << 20, "the largest window, and a chunk that it lies across"
    send_all(rig, stream, b"", lambda: peer.turn() and not closed_window(rig))
    assert len(peer.received) > 1 << 20


def inbound(rig: Rig) -> tuple[socket.socket, int]:
    """A client of the host, and the flow that was opened for it towards the guest."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    flow = rig.engine.open_inbound(accepted.detach(), GUEST, GUEST_PORT, ELSEWHERE, 5555, 77)
    rig.engine.flush()
    return client, flow


def test_a_client_of_the_host_reaches_the_guest(make_rig: MakeRig) -> None:
    served: list[int] = []
    rig = make_rig()
    client, flow = inbound(rig)
    client.send(b"early")

    def guest_accepts() -> bool:
        for punt in rig.guest.of_kind(kinds.KIND_FLOW):
            assert punt[2][1:] == (ELSEWHERE, 5555, GUEST, GUEST_PORT)
            rig.guest.core.serve(punt[1], 0, now())
            served.append(punt[1])
            rig.guest.punts.remove(punt)
        return rig.guest.received == b"early"

    with client:
        rig.until(guest_accepts)
        rig.guest.core.stream_write(served[0], b"answer")
        peer = rig.peer(client)
        rig.until(lambda: peer.turn() and peer.received == b"answer")
    assert rig.engine.core.flow(flow)["tag"] == 77


def test_a_guest_that_refuses_resets_the_client(make_rig: MakeRig) -> None:
    rig = make_rig()
    client, _ = inbound(rig)

    def guest_refuses() -> bool:
        for punt in rig.guest.of_kind(kinds.KIND_FLOW):
            rig.guest.core.deny(punt[1], kinds.REFUSE_RESET, now())
        return bool(rig.of_kind(kinds.KIND_CLOSED))

    rig.until(guest_refuses)
    assert kinds.REASONS[rig.of_kind(kinds.KIND_CLOSED)[0][4]] == "refused"
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_pair_of_ends_that_is_in_use_is_refused(make_rig: MakeRig) -> None:
    rig = make_rig()
    client, flow = inbound(rig)
    assert flow
    one, other = socket.socketpair()
    with client, one, other:
        assert rig.engine.open_inbound(one.fileno(), GUEST, GUEST_PORT, ELSEWHERE, 5555, 0) == 0
        assert rig.engine.snapshot()["sockets"] == 1
        assert rig.engine.open_inbound(one.detach(), GUEST, GUEST_PORT, ELSEWHERE, 5556, 0)
        assert rig.engine.snapshot()["sockets"] == 2


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, None])
def test_only_stream_sockets_become_streams(make_rig: MakeRig, kind: int | None) -> None:
    rig = make_rig()
    if kind is None:
        with pytest.raises(OSError, match="Socket operation on non-socket"):
            rig.engine.open_inbound(rig.engine.fileno(), GUEST, GUEST_PORT, ELSEWHERE, 1, 0)
        return
    with socket.socket(socket.AF_INET, kind) as wrong, pytest.raises(OSError, match="Invalid argument"):
        rig.engine.open_inbound(wrong.fileno(), GUEST, GUEST_PORT, ELSEWHERE, 1, 0)


def test_a_unix_socket_can_be_the_target(make_rig: MakeRig) -> None:
    """Back-pressure included: far more than its buffers hold, towards a peer that reads late."""
    ours, theirs = socket.socketpair()

    def verdict(rig: Rig, punt: Punt) -> None:
        assert rig.engine.attach_stream(punt[1], ours.detach(), 1) == 0

    rig = make_rig(verdict)
    peer = rig.peer(theirs)
    stream = rig.guest.connect(ELSEWHERE, 80)
    rig.until(lambda: rig.guest.of_kind(kinds.KIND_CONNECTED))
    theirs.send(b"welcome")
    rig.until(lambda: rig.guest.received == b"welcome")
    data = bytes(range(256)) * 8192
    send_all(rig, stream, data, lambda: rig.flow()["receive_queue"] > 0)
    send_all(rig, stream, b"", lambda: peer.turn() and rig.flow()["receive_queue"] == 0)
    assert data.startswith(peer.received)
    rig.engine.core.observed = False
    rig.guest.core.close_flow(stream, 0)
    rig.until(lambda: rig.of_kind(kinds.KIND_CLOSED))  # there may be a command behind it


def test_an_address_of_the_other_family(make_rig: MakeRig) -> None:
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("the loopback has no IPv6 address: sysctl net.ipv6.conf.lo.disable_ipv6=0")

    def verdict(rig: Rig, punt: Punt) -> None:
        assert rig.engine.connect_stream(punt[1], pack(ip_address("::1")), port_of(listening), 1) == 0

    rig = make_rig(verdict)
    with listening:
        _, peer = connected(rig, listening)
        peer.socket.send(b"from ::1")
        rig.until(lambda: rig.guest.received == b"from ::1")


def test_no_way_there_is_unreachable(make_rig: MakeRig) -> None:
    """No TCP goes to a broadcast address: connect() fails at once."""

    def verdict(rig: Rig, punt: Punt) -> None:
        assert rig.engine.connect_stream(punt[1], pack(ip_address("255.255.255.255")), 80, 1) == 0

    rig = make_rig(verdict)
    rig.guest.connect(ELSEWHERE, 80)
    rig.until(lambda: rig.of_kind(kinds.KIND_CLOSED))
    assert kinds.REASONS[rig.of_kind(kinds.KIND_CLOSED)[0][4]] == "unreachable"
    assert rig.counter("icmp.error_sent") == 1
    assert rig.engine.snapshot()["sockets"] == 0


def test_a_flow_that_has_gone_is_left_alone(make_rig: MakeRig) -> None:
    rig = make_rig()
    assert rig.engine.connect_stream(12345, LOOPBACK, 80, 0) == 0
    one, other = socket.socketpair()
    with one, other:
        assert rig.engine.attach_stream(12345, one.detach(), 0) == 0
        assert other.recv(1) == b""


def test_a_flow_with_a_verdict_gets_no_second(make_rig: MakeRig, server: socket.socket) -> None:
    rig = make_rig(to_loopback)
    connected(rig, server)
    flow = rig.flow()["flow"]
    assert rig.engine.connect_stream(flow, LOOPBACK, port_of(server), 0) == errno.EINVAL
    assert rig.engine.snapshot()["sockets"] == 1


def test_urgent_bytes_pass_out_of_band_both_ways(make_rig: MakeRig, server: socket.socket) -> None:
    """RFC 6093: the urgent byte keeps its place in the stream, and the peer is told where it is."""
    rig = make_rig(to_loopback)
    stream, peer = connected(rig, server)
    with select.epoll() as told:
        told.register(peer.socket, select.EPOLLPRI)
        rig.guest.core.stream_write(stream, b"ab!", True)
        rig.until(lambda: told.poll(0))
        assert peer.socket.recv(1, socket.MSG_OOB) == b"!"
        rig.guest.core.stream_write(stream, b"cd")
        rig.until(lambda: peer.turn() and peer.received == b"abcd")
    peer.socket.send(b"ef!", socket.MSG_OOB)
    rig.until(lambda: rig.guest.received == b"ef!")


@pytest.mark.parametrize("ended", [False, True])
def test_a_socket_that_the_host_resets_closes_while_the_guest_is_silent(
    make_rig: MakeRig, server: socket.socket, ended: bool
) -> None:
    rig = make_rig(to_loopback)
    _, peer = connected(rig, server)
    if ended:
        peer.socket.shutdown(socket.SHUT_WR)
        rig.until(lambda: rig.flow()["state"] == "FIN_WAIT_2")
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.socket.close()
    rig.until(lambda: rig.engine.snapshot()["sockets"] == 0)


def test_without_descriptors_new_connections_are_refused_and_the_old_go_on(
    make_rig: MakeRig, server: socket.socket
) -> None:
    errors = []

    def verdict(rig: Rig, punt: Punt) -> None:
        errors.append(rig.engine.connect_stream(punt[1], LOOPBACK, port_of(server), 0))

    rig = make_rig(verdict)
    old, peer = connected(rig, server)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        for number in range(5):
            rig.guest.connect(GATEWAY, port_of(server), 3000 + number)
        rig.until(lambda: len(rig.guest.of_kind(kinds.KIND_CLOSED)) == 5)
        send_all(rig, old, bytes(100_000), lambda: peer.turn() and len(peer.received) == 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert errors == [0] + 5 * [errno.EMFILE]
    assert {kinds.REASONS[punt[4]] for punt in rig.guest.of_kind(kinds.KIND_CLOSED)} == {"refused"}
    assert rig.engine.core.counters()["host.no_descriptors"] == 5
    assert rig.engine.snapshot()["sockets"] == 1
