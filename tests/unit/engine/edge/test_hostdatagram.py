from __future__ import annotations

import errno
import os
import resource
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from pyslirp.engine.core import core as kinds
from pyslirp.engine.edge.clock import now
from tests.unit.engine.edge.guest import ELSEWHERE, GATEWAY, GUEST, LOOPBACK, Peer, Punt, Rig, to_loopback

MakeRig = Callable[..., Rig]
GUEST_PORT = 3000
LARGEST = 65_507
UDP_SEGMENT = 103  # linux/udp.h


@pytest.fixture
def echo() -> Iterator[socket.socket]:
    """A UDP socket of the host's loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(10)
        yield made


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    made = make_rig(to_loopback)
    made.guest.core.claim_udp(GUEST, GUEST_PORT)
    return made


def port_of(made: socket.socket) -> int:
    return int(made.getsockname()[1])


def send(rig: Rig, far: bytes, port: int, data: bytes, source_port: int = GUEST_PORT) -> None:
    """The guest sends a datagram."""
    assert rig.guest.core.send_udp(GUEST, source_port, far, port, data, now())
    rig.guest.turn()


def received(rig: Rig) -> list[tuple[bytes, int, bytes]]:
    """What the guest has got: (source, port, payload)."""
    return [(punt[3][1], punt[3][2], punt[4]) for punt in rig.guest.of_kind(kinds.KIND_DATAGRAM)]


def arrives(rig: Rig, at: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """The next datagram at a socket of the host, and where it came from."""
    peer = Peer(at)
    found: list[tuple[bytes, tuple[str, int]]] = []

    def look() -> bool:
        try:
            found.append(peer.socket.recvfrom(70_000))
        except BlockingIOError:
            return False
        return True

    rig.until(look)
    return found[0]


def test_a_question_and_its_answer(rig: Rig, echo: socket.socket) -> None:
    send(rig, GATEWAY, port_of(echo), b"question")
    data, client = arrives(rig, echo)
    assert data == b"question"
    echo.sendto(b"answer", client)
    rig.until(lambda: received(rig))
    assert received(rig) == [(GATEWAY, port_of(echo), b"answer")]


@pytest.mark.parametrize("length", [0, 1, 1472, 1473, LARGEST])
def test_any_length(rig: Rig, echo: socket.socket, length: int) -> None:
    payload = bytes(range(256)) * 256
    send(rig, GATEWAY, port_of(echo), payload[:length])
    data, client = arrives(rig, echo)
    assert data == payload[:length]
    echo.sendto(data, client)
    rig.until(lambda: received(rig))
    assert received(rig)[0][2] == payload[:length]


def test_one_guest_port_has_one_source_port(rig: Rig, echo: socket.socket) -> None:
    """RFC 4787 REQ-1: endpoint-independent mapping."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        send(rig, GATEWAY, port_of(echo), b"one")
        send(rig, GATEWAY, port_of(other), b"other")
        send(rig, GATEWAY, port_of(echo), b"third", source_port=GUEST_PORT + 1)
        clients = [arrives(rig, echo)[1], arrives(rig, other)[1], arrives(rig, echo)[1]]
    assert clients[0] == clients[1] != clients[2]
    assert rig.engine.snapshot()["sockets"] == 2


def test_many_at_once_all_come(rig: Rig, echo: socket.socket) -> None:
    send(rig, GATEWAY, port_of(echo), b"hello")
    _, client = arrives(rig, echo)
    sent = [bytes([number]) * 100 for number in range(100)]
    for data in sent:
        echo.sendto(data, client)
    rig.until(lambda: len(received(rig)) == len(sent))
    assert [data for _, _, data in received(rig)] == sent


def test_nobody_there_is_told_to_the_guest(rig: Rig, echo: socket.socket) -> None:
    """And a datagram to somebody else by the same socket is not lost over that error."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.connect(("127.0.0.1", 9))
        send(rig, GATEWAY, port_of(deaf), b"anybody?")
        rig.until(lambda: rig.engine.snapshot()["sockets"] == 1)
        send(rig, GATEWAY, port_of(echo), b"you?")
        assert arrives(rig, echo)[0] == b"you?"
        rig.until(lambda: rig.counter("icmp.error_sent"))
    assert rig.counter("udp.host_error") == 1


def test_a_broadcast_is_refused(make_rig: MakeRig) -> None:
    def verdict(rig: Rig, punt: Punt) -> None:
        assert rig.engine.connect_datagram(punt[1], GATEWAY[:12] + b"\xff\xff\xff\xff", 9, 0) == 0

    rig = make_rig(verdict)
    send(rig, ELSEWHERE, 9, b"everybody")
    rig.until(lambda: rig.counter("icmp.error_sent") == 1)


def test_a_guest_that_does_not_read_loses_nothing_that_the_kernel_can_keep(rig: Rig, echo: socket.socket) -> None:
    """Its link fills, then our queue; then the socket is left alone, and read again when there is room."""
    send(rig, GATEWAY, port_of(echo), b"hello")
    _, client = arrives(rig, echo)
    echo.setblocking(False)
    sent = 0
    while rig.engine.core.ports()[0]["tx_waiting_bytes"] < 900_000:
        echo.sendto(struct.pack("!I", sent) + bytes(1396), client)
        sent += 1
        rig.handle(rig.engine.process())
    for _ in range(60):  # into the kernel's receive buffer, while nobody reads it
        echo.sendto(struct.pack("!I", sent) + bytes(1396), client)
        sent += 1
        rig.handle(rig.engine.process())
    assert not rig.engine.process()
    assert rig.counter("port.tx_full") == 0
    rig.until(lambda: len(received(rig)) == sent)
    assert [struct.unpack_from("!I", data)[0] for _, _, data in received(rig)] == list(range(sent))


def test_a_socket_holds_more_than_the_hosts_default(rig: Rig, echo: socket.socket) -> None:
    """As much as an ordinary user may ask for, or 1 MiB; the kernel doubles it, for what it keeps beside."""
    send(rig, GATEWAY, port_of(echo), b"open")
    arrives(rig, echo)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        most = other.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    (fd,) = rig.engine.descriptors().values()
    with socket.socket(fileno=os.dup(fd)) as ours:
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == most


def test_a_forwarded_port(rig: Rig) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        where = bound.getsockname()
        rig.engine.add_datagram_listener(bound.detach(), GUEST, GUEST_PORT, 5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(where)
        client.send(b"from outside")
        rig.until(lambda: received(rig))
        assert received(rig) == [(GATEWAY, port_of(client), b"from outside")]
        send(rig, GATEWAY, port_of(client), b"from inside")
        assert arrives(rig, client)[0] == b"from inside"
        rig.engine.remove_listener(5)
        rig.engine.flush()
        assert rig.engine.snapshot()["sockets"] == 0
        assert not rig.engine.core.flows()


@pytest.fixture(params=["0.0.0.0", "::"])
def everywhere(rig: Rig, request: pytest.FixtureRequest) -> int:
    """The port of a rule at every address of this host; one of IPv6 takes IPv4 too."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.bind((request.param, 0))
        port = port_of(bound)
        rig.engine.add_datagram_listener(bound.detach(), GUEST, GUEST_PORT, 5)
    return port


@pytest.mark.parametrize("number", [1, 64])
def test_an_answer_leaves_from_the_address_that_was_asked(rig: Rig, everywhere: int, number: int) -> None:
    """A connected client takes no other, nor does any that looks at who has answered."""
    asked = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for host, client in enumerate(asked, 2):
        client.connect((f"127.0.0.{host}", everywhere))
        client.send(b"who are you?")
    rig.until(lambda: len(received(rig)) == len(asked))
    answers = [b"answer %02d" % count for count in range(number)]
    for client in asked:
        for data in answers:  # in one batch: with more than one the kernel is to cut them
            assert rig.guest.core.send_udp(GUEST, GUEST_PORT, GATEWAY, port_of(client), data, now())
        rig.guest.turn()
        assert [arrives(rig, client) for _ in answers] == [(data, client.getpeername()) for data in answers]
        client.close()


def test_a_client_that_asks_at_two_addresses_is_answered_from_the_last(rig: Rig, everywhere: int) -> None:
    """To the guest it is one client, by one port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for address in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
            client.sendto(b"question", (address, everywhere))
            rig.until(lambda: received(rig))
            rig.guest.punts.clear()
            send(rig, GATEWAY, port_of(client), b"answer")
            assert arrives(rig, client) == (b"answer", (address, everywhere))
        assert len(rig.engine.core.flows()) == 1


def test_a_datagram_for_a_guest_not_heard_of_waits_for_it(make_rig: MakeRig) -> None:
    """ARP has to be answered first; the datagram stays with the kernel."""
    rig = make_rig()
    rig.guest.core.claim_udp(GUEST, GUEST_PORT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        where = bound.getsockname()
        rig.engine.add_datagram_listener(bound.detach(), GUEST, GUEST_PORT, 5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"first", where)
        client.sendto(b"second", where)
        rig.until(lambda: len(received(rig)) == 2)
    assert [data for _, _, data in received(rig)] == [b"first", b"second"]


def test_what_is_no_udp_socket_is_no_listener(rig: Rig) -> None:
    with socket.socket() as tcp, pytest.raises(OSError, match="Invalid argument"):
        rig.engine.add_datagram_listener(tcp.fileno(), GUEST, GUEST_PORT, 5)
    with pytest.raises(OSError, match="Bad file descriptor"):
        rig.engine.add_datagram_listener(-1, GUEST, GUEST_PORT, 5)
    rig.engine.remove_listener(5)


def test_no_descriptor_is_port_unreachable(make_rig: MakeRig) -> None:
    refused: list[int] = []

    def verdict(rig: Rig, punt: Punt) -> None:
        refused.append(rig.engine.connect_datagram(punt[1], LOOPBACK, 9, 0))

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    rig = make_rig(verdict)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        send(rig, GATEWAY, 9, b"x")
        rig.until(lambda: refused)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert refused == [errno.EMFILE]
    assert rig.counter("host.no_descriptors") == 1
    assert rig.counter("icmp.error_sent") == 1


@pytest.mark.parametrize("length", [1, 1400])
def test_a_batch_goes_out_together_and_comes_whole(rig: Rig, echo: socket.socket, length: int) -> None:
    """More than one run of UDP_SEGMENT has, and a shorter one in between; as many as the receiver's buffer takes."""
    send(rig, GATEWAY, port_of(echo), b"hello")
    assert arrives(rig, echo)[0] == b"hello"
    sent = [bytes([number]) * (length if number != 40 else 1) for number in range(70)]
    for data in sent:
        assert rig.guest.core.send_udp(GUEST, GUEST_PORT, GATEWAY, port_of(echo), data, now())
    rig.guest.turn()
    assert [arrives(rig, echo)[0] for _ in sent] == sent
    assert rig.counter("udp.to_host") == 71


def test_where_the_path_is_narrower_each_goes_by_itself(rig: Rig, echo: socket.socket) -> None:
    """The kernel does not cut datagrams that are longer than the loopback's MTU; it fragments them."""
    send(rig, GATEWAY, port_of(echo), b"hello")
    assert arrives(rig, echo)[0] == b"hello"
    sent = [bytes([number]) * LARGEST for number in range(3)]
    for data in sent:
        assert rig.guest.core.send_udp(GUEST, GUEST_PORT, GATEWAY, port_of(echo), data, now())
        rig.guest.turn()
    assert [arrives(rig, echo)[0] for _ in sent] == sent


def test_a_super_frame_of_the_host_comes_as_its_datagrams(rig: Rig, echo: socket.socket) -> None:
    """UDP_SEGMENT at the sender, UDP_GRO at ours."""
    send(rig, GATEWAY, port_of(echo), b"hello")
    _, client = arrives(rig, echo)
    data = bytes(range(250)) * 10
    control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 600))]
    echo.sendmsg([data], control, 0, client)
    echo.sendto(b"and one more", client)
    rig.until(lambda: len(received(rig)) == 6)
    assert [text for _, _, text in received(rig)] == [data[at : at + 600] for at in range(0, 2500, 600)] + [
        b"and one more"
    ]


def test_remotes_in_turn_are_told_apart(rig: Rig, echo: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        for one in (echo, other):
            send(rig, GATEWAY, port_of(one), b"hello")
        (_, client), _ = arrives(rig, echo), arrives(rig, other)
        for number in range(5):
            for one in (echo, other):
                one.sendto(bytes([number]), client)
        rig.until(lambda: len(received(rig)) == 10)
    assert [(port, data) for _, port, data in received(rig)] == [
        (port_of_each, bytes([number])) for number in range(5) for port_of_each in (port_of(echo), received(rig)[1][1])
    ]
