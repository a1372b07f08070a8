"""UDP between a native-speed guest and the host: mapping, sizes, fragments, errors."""

from __future__ import annotations

import errno
import socket
import struct
import time

import pytest

from tests.interop.rig.conversation import echo_datagrams, noise
from tests.interop.rig.deadline import Deadline
from tests.interop.rig.network import OPEN_UDP_FORWARD, UDP_FORWARD, Network
from tests.interop.rig.topology import FAR, FAR_UNREACHABLE, FIRST_LEASE, GATEWAY, HOST, NO_ROUTE

SIZES = [0, 1, 1472, 1473, 9000, 60000, 65507]
IP_RECVERR, IP_RECVTTL = 11, 12  # linux/in.h; not in Python's socket module before 3.14


def test_every_size_to_host(net: Network) -> None:
    """Datagrams up to the largest come back as they went; one guest socket is one host socket."""
    guest = net.guest.net.udp()
    server = net.topology.host.udp("127.0.0.1")
    clients = set()
    for size in SIZES:
        sent = noise(size, seed=size)
        guest.sendto(sent, (GATEWAY, server.getsockname()[1]))
        ((received, client),) = echo_datagrams(server, 1)
        clients.add(client)
        assert received == sent
        assert guest.recvfrom(65536) == (sent, (GATEWAY, server.getsockname()[1]))
    assert len(clients) == 1


def test_every_size_to_guest(net: Network) -> None:
    """The same through a forwarded port; a loopback client shows as the gateway."""
    client = net.topology.host.udp("127.0.0.1")
    guest = net.guest.net.udp(port=UDP_FORWARD.guest_port)
    where = UDP_FORWARD.address, UDP_FORWARD.port
    for size in SIZES:
        sent = noise(size, seed=size)
        client.sendto(sent, where)
        ((received, source),) = echo_datagrams(guest, 1)
        assert received == sent
        assert source[0] == GATEWAY
        assert client.recvfrom(65536) == (sent, where)


def test_forward_keeps_client_address(net: Network) -> None:
    """A client from another machine shows with its own address and port."""
    client = net.topology.far.udp(FAR)
    guest = net.guest.net.udp(port=OPEN_UDP_FORWARD.guest_port)
    client.sendto(b"hello", (HOST, OPEN_UDP_FORWARD.port))
    assert echo_datagrams(guest, 1) == [(b"hello", client.getsockname())]
    assert client.recvfrom(64) == (b"hello", (HOST, OPEN_UDP_FORWARD.port))


@pytest.mark.pyslirp
@pytest.mark.parametrize("connected", [True, False])
def test_forward_answers_from_the_address_that_was_asked(net: Network, connected: bool) -> None:
    """libslirp leaves it to the host's routes, which have one address for all of the loopback."""
    guest = net.guest.net.udp(port=OPEN_UDP_FORWARD.guest_port)
    for asked in ("127.0.0.1", "127.0.0.2", "127.1.2.3", HOST):
        client = net.topology.host.udp("127.0.0.1")
        where = asked, OPEN_UDP_FORWARD.port
        if connected:
            client.connect(where)
        client.sendto(asked.encode(), where)
        echo_datagrams(guest, 1)
        assert client.recvfrom(64) == (asked.encode(), where)


def test_forward_tells_clients_apart(net: Network) -> None:
    """Many loopback clients, each with its own port at the gateway; every answer finds its client."""
    clients = [net.topology.host.udp("127.0.0.1") for _ in range(20)]
    guest = net.guest.net.udp(port=UDP_FORWARD.guest_port)
    for number, client in enumerate(clients):
        client.sendto(b"client %d" % number, (UDP_FORWARD.address, UDP_FORWARD.port))
    seen = echo_datagrams(guest, len(clients))
    assert len({source for _, source in seen}) == len(clients)
    for number, client in enumerate(clients):
        assert client.recv(64) == b"client %d" % number


def test_mapping_does_not_depend_on_the_destination(net: Network) -> None:
    """RFC 4787 4.1: two servers see the same host socket, and each answer has its server's address."""
    guest = net.guest.net.udp()
    servers = [net.topology.host.udp(HOST), net.topology.far.udp(FAR)]
    seen = []
    for server in servers:
        guest.sendto(b"hello", server.getsockname())
        seen += [client for _, client in echo_datagrams(server, 1)]
        assert guest.recvfrom(64)[1] == server.getsockname()
    assert seen[0] == seen[1]
    assert seen[0][0] == HOST


def test_answer_from_elsewhere_keeps_its_source(net: Network) -> None:
    """A datagram from another address than the guest wrote to arrives with the address that it has."""
    guest = net.guest.net.udp()
    server, other = net.topology.host.udp(HOST), net.topology.far.udp(FAR)
    guest.sendto(b"hello", server.getsockname())
    ((_, client),) = echo_datagrams(server, 1)
    assert guest.recv(64) == b"hello"
    other.sendto(b"from elsewhere", client)
    assert guest.recvfrom(64) == (b"from elsewhere", other.getsockname())


@pytest.mark.parametrize(
    ("address", "codes"),
    [
        pytest.param(
            GATEWAY, {errno.ECONNREFUSED}, marks=pytest.mark.incumbent("slirp4netns", "says nothing about loopback")
        ),
        (FAR_UNREACHABLE, {errno.EHOSTUNREACH}),
        (NO_ROUTE, {errno.EHOSTUNREACH, errno.ENETUNREACH}),
    ],
    ids=["refused", "router-says-so", "no-route"],
)
def test_errors_come_back(net: Network, address: str, codes: set[int]) -> None:
    """What the host learns by ICMP, or from its routing table, the guest's socket learns as well."""
    guest = net.guest.net.udp()
    guest.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)  # else Linux reports none but the "hard" errors
    guest.connect((address, 9))
    guest.send(b"is anybody there?")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at below
        guest.recv(64)
    assert caught.value.errno in codes


def test_ttl_is_carried_out(net: Network) -> None:
    """The far side sees the guest's TTL less the hops between (pyslirp may count as one)."""
    guest = net.guest.net.udp()
    guest.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 42)
    server = net.topology.host.udp(HOST)
    server.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    guest.sendto(b"hello", server.getsockname())
    _, ancillary, _, _ = server.recvmsg(64, 64)
    assert struct.unpack("i", ancillary[0][2])[0] in (41, 42)


def raw_fragments(source: socket.socket, to: tuple[str, int], payload: bytes, unit: int) -> list[bytes]:
    """One UDP datagram from ``source`` as IPv4 packets with ``unit`` bytes of payload each (no UDP checksum)."""
    datagram = struct.pack("!4H", source.getsockname()[1], to[1], len(payload) + 8, 0) + payload
    addresses = socket.inet_aton(FIRST_LEASE) + socket.inet_aton(to[0])
    packets = []
    for offset in range(0, len(datagram), unit):
        more = 0x2000 if offset + unit < len(datagram) else 0
        part = datagram[offset : offset + unit]
        # The kernel fills in length and checksum of a raw packet.
        head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 4242, more | offset // 8, 64, socket.IPPROTO_UDP, 0)
        packets.append(head + addresses + part)
    return packets


@pytest.mark.incumbent("slirp4netns", "libslirp 4.7 crashes on fragments in reverse order")
@pytest.mark.parametrize("order", ["forward", "reverse", "odd-first", "twice"])
def test_fragments_in_any_order(net: Network, order: str) -> None:
    """A datagram is put together from fragments in any order; a repeated one does no harm."""
    server, guest = net.topology.host.udp("127.0.0.1"), net.guest.net.udp()
    raw = net.guest.net.new_socket(kind=socket.SOCK_RAW, proto=socket.IPPROTO_RAW)
    payload = noise(20_000)
    packets = raw_fragments(guest, (GATEWAY, server.getsockname()[1]), payload, unit=1480)
    ordered = {
        "forward": packets,
        "reverse": packets[::-1],
        "odd-first": packets[1::2] + packets[::2],
        "twice": [packet for packet in packets for _ in range(2)],
    }[order]
    for packet in ordered:
        raw.sendto(packet, (GATEWAY, 0))
    assert server.recv(65536) == payload


def test_a_fragment_that_never_comes(net: Network) -> None:
    """A datagram that lacks a part is not delivered, and the next one is."""
    server, guest = net.topology.host.udp("127.0.0.1"), net.guest.net.udp()
    raw = net.guest.net.new_socket(kind=socket.SOCK_RAW, proto=socket.IPPROTO_RAW)
    where = GATEWAY, server.getsockname()[1]
    packets = raw_fragments(guest, where, noise(5000), unit=1480)
    for packet in packets[:1] + packets[2:]:
        raw.sendto(packet, (GATEWAY, 0))
    guest.sendto(b"next", where)
    assert server.recv(65536) == b"next"


def test_a_burst_keeps_its_order(net: Network) -> None:
    """A hundred datagrams back to back: those that arrive are whole and in order, and most do."""
    guest, server = net.guest.net.udp(), net.topology.host.udp("127.0.0.1")
    # Nobody reads meanwhile, and what came in super-frames takes more of the buffer than its bytes (up to 3.6 KB each).
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # as much as rmem_max allows: twice the default
    for number in range(100):
        guest.sendto(struct.pack("!I", number) + noise(1000, seed=number), (GATEWAY, server.getsockname()[1]))
    server.settimeout(1.0)
    numbers: list[int] = []
    deadline = Deadline(5.0)
    while len(numbers) < 100 and not deadline.passed():
        try:
            data = server.recv(65536)
        except TimeoutError:
            break
        (number,) = struct.unpack("!I", data[:4])
        assert data[4:] == noise(1000, seed=number)
        numbers.append(number)
    assert numbers == sorted(numbers)
    assert len(numbers) > 75


def test_many_guest_ports(net: Network) -> None:
    """A thousand guest ports to one server, a datagram each: every one is told from the others."""
    server = net.topology.host.udp("127.0.0.1")
    where = GATEWAY, server.getsockname()[1]
    clients = set()
    for number in range(1000):
        with net.guest.net.udp(port=20_000 + number) as guest:
            guest.sendto(b"%d" % number, where)
            ((data, client),) = echo_datagrams(server, 1)
            assert data == guest.recv(64) == b"%d" % number
            clients.add(client)
    assert len(clients) == 1000


def test_large_bursts_through_the_forward(net: Network) -> None:
    """Ten of the largest datagrams in a row to the guest, paced by its answers."""
    client, guest = net.topology.host.udp("127.0.0.1"), net.guest.net.udp(port=UDP_FORWARD.guest_port)
    start = time.monotonic()
    for number in range(10):
        client.sendto(noise(65507, seed=number), (UDP_FORWARD.address, UDP_FORWARD.port))
        echo_datagrams(guest, 1)
        assert client.recv(65536) == noise(65507, seed=number)
    assert time.monotonic() - start < 5.0
