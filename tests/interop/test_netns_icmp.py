"""Ping and traceroute from a native-speed guest: what is answered, what is carried, and the errors that come back."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.rig.deadline import Deadline, wait_for
from tests.interop.rig.network import Network, network
from tests.interop.rig.topology import DNS, FAR, FAR_UNREACHABLE, FIRST_LEASE, GATEWAY, HOST, ROUTER, Topology

ECHO_REPLY, UNREACHABLE, ECHO, TIME_EXCEEDED = 0, 3, 8, 11
HOST_UNREACHABLE, ADMINISTRATIVELY_PROHIBITED = 1, 13
ANSWER_SECONDS = 5.0


def checksum(data: bytes) -> int:
    """RFC 1071, slowly."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Icmp:
    """A raw ICMP socket of the guest: sends echo requests, sees everything that comes."""

    def __init__(self, net: Network) -> None:
        self.socket = net.guest.net.new_socket(kind=socket.SOCK_RAW, proto=socket.IPPROTO_ICMP)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def ping(self, address: str, ident: int, seq: int, payload: bytes = b"hello", ttl: int = 64) -> None:
        """Send one echo request."""
        body = struct.pack("!HH", ident, seq) + payload
        message = struct.pack("!BBH", ECHO, 0, checksum(struct.pack("!BBH", ECHO, 0, 0) + body)) + body
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        self.socket.sendto(message, (address, 0))

    def receive(self, *types: int, seconds: float = ANSWER_SECONDS) -> tuple[str, int, bytes]:
        """The next message of one of ``types``: who it is from, its code, and what follows the ICMP checksum."""
        deadline = Deadline(seconds)
        while not deadline.passed():
            self.socket.settimeout(max(0.01, deadline.left()))
            packet, (source, _) = self.socket.recvfrom(65536)
            assert checksum(packet[:20]) == 0
            message = packet[20:]
            assert checksum(message) == 0
            if message[0] in types:
                return source, message[1], message[4:]
        raise AssertionError(f"{seconds:g} s without an ICMP message of type {types}")

    def expect_reply(self, address: str, ident: int, seq: int, payload: bytes = b"hello") -> None:
        """The next echo reply is the one to this request."""
        source, _, rest = self.receive(ECHO_REPLY)
        assert (source, rest) == (address, struct.pack("!HH", ident, seq) + payload)


def quoted_ping(rest: bytes) -> tuple[str, str, int, int]:
    """Of the echo request in an ICMP error: source, destination, id and sequence number, by which ping knows it."""
    packet = rest[4:]  # the error's unused word is before it (RFC 792)
    assert packet[0] == 0x45
    assert packet[9] == socket.IPPROTO_ICMP
    assert packet[20] == ECHO
    return socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), *struct.unpack("!HH", packet[24:28])


@pytest.fixture
def icmp(net: Network) -> Icmp:
    """The guest's raw ICMP socket."""
    return Icmp(net)


@pytest.fixture
def net_without_ping(tmp_path: Path, backend_name: str) -> Iterator[Network]:
    """A network on a host that lets no ordinary user make a ping socket."""
    topology = Topology(tmp_path, may_ping=False)
    try:
        with network(backend_name, topology, tmp_path) as net:
            yield net
    finally:
        topology.close()


@pytest.mark.parametrize("address", [GATEWAY, DNS])
@pytest.mark.parametrize("size", [0, 56, 1472, 1473, 8000, 65507])
def test_aliases_answer(icmp: Icmp, address: str, size: int) -> None:
    """The gateway and the name server answer echo requests themselves, of any size."""
    icmp.ping(address, ident=7, seq=size % 1000, payload=b"x" * size)
    icmp.expect_reply(address, ident=7, seq=size % 1000, payload=b"x" * size)


@pytest.mark.parametrize("address", [HOST, ROUTER, FAR])
@pytest.mark.parametrize("size", [8, 1472, 5000])
def test_others_answer(icmp: Icmp, address: str, size: int) -> None:
    """An echo request to a machine of the outside is answered by that machine, with the guest's own id."""
    icmp.ping(address, ident=0x1234, seq=size, payload=b"y" * size)
    icmp.expect_reply(address, ident=0x1234, seq=size, payload=b"y" * size)


@pytest.mark.incumbent("slirp4netns", "a socket for each ping, and replies that miss one another's ids")
def test_pings_do_not_get_mixed_up(icmp: Icmp) -> None:
    """Replies to interleaved pings of several ids, to several machines, each go with their request."""
    sent = {(address, ident, seq) for address in (HOST, ROUTER, FAR) for ident in (21, 22, 23) for seq in range(5)}
    for address, ident, seq in sorted(sent, key=lambda ping: ping[2]):
        icmp.ping(address, ident, seq, payload=b"%d/%d" % (ident, seq))
    seen = set()
    for _ in sent:
        source, _, rest = icmp.receive(ECHO_REPLY)
        ident, seq = struct.unpack("!HH", rest[:4])
        assert rest[4:] == b"%d/%d" % (ident, seq)
        seen.add((source, ident, seq))
    assert seen == sent


@pytest.mark.pyslirp
def test_one_socket_for_all_pings_of_an_id(net: Network, icmp: Icmp) -> None:
    """A hundred pings of one id cost the host one socket."""
    process = net.pyslirp.server.process
    before = process.open_fds()
    for seq in range(100):
        icmp.ping(FAR, ident=0x4321, seq=seq)
        icmp.expect_reply(FAR, ident=0x4321, seq=seq)
    assert process.open_fds() <= before + 1


@pytest.mark.incumbent("slirp4netns", "forwards no ICMP errors for pings")
def test_unreachable_machine(icmp: Icmp) -> None:
    """What the router says of an unreachable host reaches the guest."""
    icmp.ping(FAR_UNREACHABLE, ident=9, seq=1)
    _, code, rest = icmp.receive(UNREACHABLE)
    assert code == HOST_UNREACHABLE
    assert quoted_ping(rest) == (FIRST_LEASE, FAR_UNREACHABLE, 9, 1), "it quotes the packet that the guest sent"


@pytest.mark.pyslirp
def test_without_ping_sockets(net_without_ping: Network) -> None:
    """Where the host allows no ping socket the guest is told so, and one line of the log names the sysctl."""
    icmp = Icmp(net_without_ping)
    icmp.ping(GATEWAY, ident=8, seq=1)
    icmp.expect_reply(GATEWAY, ident=8, seq=1)
    for seq in range(3):
        icmp.ping(FAR, ident=0x777, seq=seq)
        _, code, rest = icmp.receive(UNREACHABLE)
        assert code == ADMINISTRATIVELY_PROHIBITED
        assert quoted_ping(rest) == (FIRST_LEASE, FAR, 0x777, seq)
    text = net_without_ping.pyslirp.server.text
    wait_for("a line that names the sysctl", lambda: "ping_group_range" in text())
    assert sum("ping_group_range" in line for line in text().splitlines()) == 1


PROBE = bytes(number % 251 for number in range(1000))


def hops(icmp: Icmp, probe: socket.socket | None) -> list[str]:
    """Who answers with "time exceeded" as the TTL grows, until somebody else answers: traceroute by UDP or by ping."""
    found: list[str] = []
    for ttl in range(1, 8):
        if probe:
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            probe.sendto(PROBE, (FAR, 33434 + ttl))
        else:
            icmp.ping(FAR, ident=0x99, seq=ttl, ttl=ttl)
        source, code, rest = icmp.receive(TIME_EXCEEDED, UNREACHABLE, ECHO_REPLY)
        if source == FAR:
            return found
        assert code == 0
        if probe:
            assert rest[16:24] == socket.inet_aton(FIRST_LEASE) + socket.inet_aton(FAR), "it quotes the guest's packet"
            ports = struct.pack("!HH", probe.getsockname()[1], 33434 + ttl)
            assert rest[24:28] == ports, "with the ports that it sent"
            assert rest[32:] == PROBE[: 576 - 56], "and as much of the rest as fits (RFC 1812 4.3.2.3)"
        else:
            assert quoted_ping(rest) == (FIRST_LEASE, FAR, 0x99, ttl), "it quotes the guest's packet"
        found.append(source)
    raise AssertionError(f"no end: {found}")


def test_traceroute_by_udp(net: Network, icmp: Icmp) -> None:
    """The router in between is found, after at most one hop of pyslirp's own."""
    assert hops(icmp, net.guest.net.udp()) in ([ROUTER], [GATEWAY, ROUTER])


@pytest.mark.incumbent("slirp4netns", "its pings leave with the host's TTL")
def test_traceroute_by_ping(icmp: Icmp) -> None:
    """The same with echo requests."""
    assert hops(icmp, None) in ([ROUTER], [GATEWAY, ROUTER])


@pytest.mark.incumbent("slirp4netns", "its connections leave with the host's TTL")
def test_traceroute_by_tcp(net: Network, icmp: Icmp) -> None:
    """A SYN that expires at the router brings its "time exceeded" to the guest."""
    with net.topology.far.listener(FAR) as listener:
        found = []
        for ttl in (1, 2):
            with net.guest.net.new_socket() as sock:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
                sock.setblocking(False)
                sock.connect_ex((FAR, listener.getsockname()[1]))
                source, code, rest = icmp.receive(TIME_EXCEEDED)
                assert code == 0
                assert rest[4 + 16 : 4 + 20] == socket.inet_aton(FAR)
                found.append(source)
            if source == ROUTER:
                break
        assert found in ([ROUTER], [GATEWAY, ROUTER])


def test_real_ping_and_traceroute(net: Network) -> None:
    """busybox's ping and traceroute, as a user would."""
    assert "2 packets received" in net.guest.run(f"busybox ping -c 2 -i 0.2 -W 3 {GATEWAY}").check()
    said = net.guest.run(f"busybox traceroute -n -q 1 -w 3 -m 6 {FAR}").check()
    assert ROUTER in said
    assert said.split()[-2:-1] != ["*"], said


def test_ping_does_not_wait_for_tcp(net: Network, icmp: Icmp) -> None:
    """While a connection hangs in connect(), the gateway answers at once."""
    with net.guest.net.new_socket() as sock:
        sock.setblocking(False)
        sock.connect_ex(("203.0.113.201", 80))
        start = time.monotonic()
        icmp.ping(GATEWAY, ident=5, seq=1)
        icmp.expect_reply(GATEWAY, ident=5, seq=1)
        assert time.monotonic() - start < 1.0
