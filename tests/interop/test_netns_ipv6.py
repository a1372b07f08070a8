"""IPv6 between a native-speed guest and the host: TCP, UDP, ping, traceroute and rules, with the kernel as judge.

The lab's machines get IPv6 addresses beside their IPv4 ones (RFC 3849's documentation prefix); the guest configures
itself by the router advertisement, and has fec0::15 by hand, which the rules name.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.rig.backend import Pyslirp
from tests.interop.rig.conversation import MIB, connect_error, exchange, noise, reset
from tests.interop.rig.deadline import Deadline, wait_for
from tests.interop.rig.namespace import Namespace, accept
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.topology import Topology

GATEWAY, ALIAS, ROUTER_LINK, STATIC = "fec0::2", "fec0::3", "fe80::2", "fec0::15"
HOST, ROUTER, FAR = "2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::2"
UNREACHABLE_ROUTE, PROHIBITED, FAR_UNREACHABLE = "2001:db8:f0::1", "2001:db8:f1::1", "2001:db8:f2::1"
TCP_RULE, UDP_RULE, OPEN_TCP_RULE, OPEN_UDP_RULE = 2322, 2323, 2324, 2325
GUEST_PORT = {TCP_RULE: 22, UDP_RULE: 23, OPEN_TCP_RULE: 24, OPEN_UDP_RULE: 25}
OPTIONS = (
    "ipv4=on,ipv6=on"
    f",hostfwd=tcp:[::1]:{TCP_RULE}-[{STATIC}]:22,hostfwd=udp:[::1]:{UDP_RULE}-[{STATIC}]:23"
    f",hostfwd=tcp:[::]:{OPEN_TCP_RULE}-[{STATIC}]:24,hostfwd=udp:[::]:{OPEN_UDP_RULE}-[{STATIC}]:25"
)
SIZES = [0, 1, 1452, 1453, 9000, 60000, 65507]
UNREACHABLE, TOO_BIG, TIME_EXCEEDED, ECHO, ECHO_REPLY = 1, 2, 3, 128, 129
NO_ROUTE_CODE, PROHIBITED_CODE, ADDRESS_CODE, PORT_CODE = 0, 1, 3, 4
ANSWER_SECONDS = 5.0

pytestmark = pytest.mark.pyslirp


@dataclass(frozen=True)
class Network6:
    """One guest, its backend, and the machines around them."""

    guest: NetnsGuest
    server: Pyslirp
    topology: Topology


def give_addresses(topology: Topology) -> None:
    """IPv6 for the lab: host, router and far, and routes that say no."""
    for namespace, interface, address in (
        (topology.host, "to-router", HOST),
        (topology.router, "to-host", ROUTER),
        (topology.router, "to-far", "2001:db8:2::1"),
        (topology.far, "to-router", FAR),
    ):
        namespace.run(f"ip -6 addr add {address}/64 dev {interface} nodad").check()
    topology.router.sysctl("net.ipv6.conf.all.forwarding", "1")
    topology.router.sysctl("net.ipv6.icmp.ratelimit", "0")
    topology.host.run(
        f"ip -6 route add default via {ROUTER} &&"
        f" ip -6 route add unreachable {UNREACHABLE_ROUTE}/64 && ip -6 route add prohibit {PROHIBITED}/64"
    ).check()
    topology.router.run(f"ip -6 route add unreachable {FAR_UNREACHABLE}/64").check()
    topology.far.run("ip -6 route add default via 2001:db8:2::1").check()


@pytest.fixture(scope="module")
def net(topology: Topology, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network6]:
    """Everything is up; the guest has its addresses and a route."""
    folder: Path = tmp_path_factory.mktemp("ipv6")
    give_addresses(topology)
    server = Pyslirp(topology.host, folder, extra=[OPTIONS])
    guest = NetnsGuest("guest", topology.lab, folder)
    try:
        server.attach(guest)
        guest.run(f"ip -6 addr add {STATIC}/64 dev {guest.interface} nodad").check()
        wait_for("the default route", lambda: f"via {ROUTER_LINK}" in guest.run("ip -6 route").check())
        wait_for("DAD", lambda: "tentative" not in guest.run("ip -6 addr").check())
        yield Network6(guest, server, topology)
    finally:
        guest.close()
        server.close()


def tcp6(namespace: Namespace) -> socket.socket:
    return namespace.new_socket(socket.AF_INET6)


def udp6(namespace: Namespace, address: str = "::", port: int = 0) -> socket.socket:
    made = namespace.new_socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind((address, port))
    return made


def listener6(namespace: Namespace, address: str = "::1", port: int = 0) -> socket.socket:
    made = tcp6(namespace)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    made.listen()
    return made


def answer(sock: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """Send the next datagram back; it, and who it is from."""
    data, client = sock.recvfrom(65536)
    sock.sendto(data, client)
    return data, client[:2]


# -- TCP ---------------------------------------------------------------------------------------------------------------

Pair = tuple[socket.socket, socket.socket]


def to_host(net: Network6) -> Pair:
    """A connection that the guest has opened by the host alias: the guest's socket, the host's."""
    with listener6(net.topology.host) as listening:
        guest = tcp6(net.guest.net)
        guest.connect((GATEWAY, listening.getsockname()[1]))
        host, _ = accept(listening)
    return guest, host


def to_far(net: Network6) -> Pair:
    """The same with another machine."""
    with listener6(net.topology.far, FAR) as listening:
        guest = tcp6(net.guest.net)
        guest.connect((FAR, listening.getsockname()[1]))
        far, client = accept(listening)
        assert client[0] == HOST
    return guest, far


def to_guest(net: Network6) -> Pair:
    """A connection that a client on the host has opened, by a rule."""
    with listener6(net.guest.net, "::", GUEST_PORT[TCP_RULE]) as listening:
        host = tcp6(net.topology.host)
        host.connect(("::1", TCP_RULE))
        guest, client = accept(listening)
        assert client[0] == GATEWAY
    return guest, host


every_way = pytest.mark.parametrize("connect", [to_host, to_far, to_guest])


@every_way
def test_files_both_ways_at_once(net: Network6, connect: Callable[[Network6], Pair]) -> None:
    """Bytes, then an end in each direction."""
    guest, host = connect(net)
    exchange([(guest, host, noise(8 * MIB, 1)), (host, guest, noise(8 * MIB, 2))])


@every_way
def test_half_close(net: Network6, connect: Callable[[Network6], Pair]) -> None:
    """One side ends, the other goes on."""
    guest, host = connect(net)
    exchange([(guest, host, b"request")])
    exchange([(host, guest, noise(MIB))])
    guest, host = connect(net)
    exchange([(host, guest, b"greeting")])
    exchange([(guest, host, noise(MIB))])


@every_way
def test_resets(net: Network6, connect: Callable[[Network6], Pair]) -> None:
    """By either side, and the other knows."""
    for one, other in ((0, 1), (1, 0)):
        pair = connect(net)
        exchange([(pair[one], pair[other], b"before")], close=False)
        reset(pair[one])
        with pytest.raises(ConnectionResetError):
            pair[other].recv(1)


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (GATEWAY, errno.ECONNREFUSED),
        (FAR, errno.ECONNREFUSED),
        (UNREACHABLE_ROUTE, errno.EHOSTUNREACH),
        (PROHIBITED, errno.EACCES),
        (FAR_UNREACHABLE, errno.EHOSTUNREACH),
        ("fec0::77", errno.EHOSTUNREACH),  # of the net, and nobody's: never the real network's
    ],
)
def test_connects_that_fail_fail_for_the_right_reason(net: Network6, address: str, error: int) -> None:
    """As far as an ICMPv6 code can say it."""
    if address == "fec0::77":  # as a router would send it: the guest believes it on the link, and would ask for it
        net.guest.run(f"ip -6 route add {address}/128 via {ROUTER_LINK} dev {net.guest.interface}").check()
    with net.guest.net.new_socket(socket.AF_INET6) as guest:
        got = connect_error(guest, address, 9)
    assert got in {error, errno.ENETUNREACH if address == FAR_UNREACHABLE else error}


def test_a_client_from_afar_is_shown_as_it_is(net: Network6) -> None:
    with listener6(net.guest.net, "::", GUEST_PORT[OPEN_TCP_RULE]) as listening:
        far = tcp6(net.topology.far)
        far.connect((HOST, OPEN_TCP_RULE))
        guest, client = accept(listening)
    assert client[:2] == far.getsockname()[:2]
    exchange([(guest, far, noise(100_000, 3))])


# -- UDP ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "asked"), [("::1", GATEWAY), (FAR, FAR)])
def test_every_size_to_a_server(net: Network6, target: str, asked: str) -> None:
    """Datagrams up to the largest come back as they went, in fragments both ways; one guest socket is one host socket."""
    guest = udp6(net.guest.net)
    server = udp6(net.topology.host if target == "::1" else net.topology.far, target)
    clients = set()
    for size in SIZES:
        sent = noise(size, seed=size)
        guest.sendto(sent, (asked, server.getsockname()[1]))
        received, client = answer(server)
        clients.add(client)
        assert received == sent
        back, source = guest.recvfrom(65536)
        assert (back, source[:2]) == (sent, (asked, server.getsockname()[1]))
    assert len(clients) == 1


def test_every_size_by_a_rule(net: Network6) -> None:
    """A loopback client is shown as the gateway."""
    client = udp6(net.topology.host, "::1")
    guest = udp6(net.guest.net, port=GUEST_PORT[UDP_RULE])
    for size in SIZES:
        sent = noise(size, seed=size)
        client.sendto(sent, ("::1", UDP_RULE))
        received, source = answer(guest)
        assert (received, source[0]) == (sent, GATEWAY)
        assert client.recvfrom(65536)[0] == sent


def test_a_udp_client_from_afar_is_shown_as_it_is(net: Network6) -> None:
    client = udp6(net.topology.far, FAR)
    guest = udp6(net.guest.net, port=GUEST_PORT[OPEN_UDP_RULE])
    client.sendto(b"hello", (HOST, OPEN_UDP_RULE))
    assert answer(guest) == (b"hello", client.getsockname()[:2])
    assert client.recvfrom(64)[0] == b"hello"


def test_a_rule_answers_from_the_address_that_was_asked(net: Network6) -> None:
    """By the kernel's choice it would be the one that is nearer to the client's."""
    second, host = "2001:db8:1::77", net.topology.host
    host.run(f"ip -6 addr add {second}/64 dev to-router nodad").check()
    try:
        client = udp6(net.topology.far, FAR)
        guest = udp6(net.guest.net, STATIC, GUEST_PORT[OPEN_UDP_RULE])
        for asked in (HOST, second, HOST):
            client.sendto(asked.encode(), (asked, OPEN_UDP_RULE))
            answer(guest)
            data, source = client.recvfrom(64)
            assert (data.decode(), *source[:2]) == (asked, asked, OPEN_UDP_RULE)
    finally:
        host.run(f"ip -6 addr del {second}/64 dev to-router").check()


def test_nobody_listens(net: Network6) -> None:
    """ICMPv6 port unreachable becomes an error of the guest's socket."""
    guest = udp6(net.guest.net)
    guest.connect((FAR, 9))
    guest.send(b"x")
    with pytest.raises(ConnectionRefusedError):
        guest.recv(1)


# -- ping and errors ---------------------------------------------------------------------------------------------------


class Icmp6:
    """A raw ICMPv6 socket of the guest: sends echo requests, sees everything that comes; the kernel makes checksums."""

    def __init__(self, net: Network6) -> None:
        self.socket = net.guest.net.new_socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def ping(self, address: str, ident: int, seq: int, payload: bytes = b"hello", hops: int = 64) -> None:
        """Send one echo request."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        self.socket.sendto(struct.pack("!BBHHH", ECHO, 0, 0, ident, seq) + payload, (address, 0))

    def receive(self, *types: int) -> tuple[str, int, bytes]:
        """The next message of one of ``types``: who it is from, its code, and what follows its first eight bytes."""
        deadline = Deadline(ANSWER_SECONDS)
        while not deadline.passed():
            self.socket.settimeout(max(0.01, deadline.left()))
            message, source = self.socket.recvfrom(65536)
            if message[0] in types:
                return source[0], message[1], message[4:] if message[0] == ECHO_REPLY else message[8:]
        raise AssertionError(f"{ANSWER_SECONDS:g} s without an ICMPv6 message of type {types}")


@pytest.fixture
def icmp(net: Network6) -> Icmp6:
    """The guest's raw ICMPv6 socket."""
    return Icmp6(net)


@pytest.mark.parametrize("address", [GATEWAY, ALIAS, HOST, ROUTER, FAR])
@pytest.mark.parametrize("size", [0, 56, 1452, 1453, 8000])
def test_pings_are_answered(icmp: Icmp6, address: str, size: int) -> None:
    icmp.ping(address, 7, size % 1000, b"x" * size)
    assert icmp.receive(ECHO_REPLY) == (address, 0, struct.pack("!HH", 7, size % 1000) + b"x" * size)


@pytest.mark.parametrize(
    ("address", "codes"),
    [
        (UNREACHABLE_ROUTE, {ADDRESS_CODE}),
        (PROHIBITED, {PROHIBITED_CODE}),
        (FAR_UNREACHABLE, {NO_ROUTE_CODE, ADDRESS_CODE, 6}),
    ],
)
def test_pings_that_do_not_get_through(icmp: Icmp6, address: str, codes: set[int]) -> None:
    """What the host or a router says of it, quoting the packet that the guest has sent."""
    icmp.ping(address, 9, 3)
    _, code, quote = icmp.receive(UNREACHABLE)
    assert code in codes
    assert quote[24:40] == socket.inet_pton(socket.AF_INET6, address)
    assert quote[40:42] + quote[44:48] == bytes([ECHO, 0]) + struct.pack("!HH", 9, 3)


PROBE = bytes(number % 251 for number in range(1000))


def hops(net: Network6, icmp: Icmp6, probe: socket.socket | None) -> list[str]:
    """Who answers with "time exceeded" as the hop limit grows, until the far machine does: traceroute by UDP or ping."""
    found: list[str] = []
    for limit in range(1, 8):
        if probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, limit)
            probe.sendto(PROBE, (FAR, 33434 + limit))
        else:
            icmp.ping(FAR, 0x99, limit, hops=limit)
        source, code, quote = icmp.receive(TIME_EXCEEDED, UNREACHABLE, ECHO_REPLY)
        if source == FAR:
            return found
        assert code == 0
        assert quote[24:40] == socket.inet_pton(socket.AF_INET6, FAR), "it quotes the guest's packet"
        if probe:
            assert quote[40:44] == struct.pack("!HH", probe.getsockname()[1], 33434 + limit)
            assert quote[48:] == PROBE, "with what it sent, whole"
        found.append(source)
    raise AssertionError(f"no end: {found}")


@pytest.mark.parametrize("by_udp", [True, False])
def test_traceroute(net: Network6, icmp: Icmp6, by_udp: bool) -> None:
    """The router in between is found, after at most one hop of pyslirp's own."""
    probe = udp6(net.guest.net) if by_udp else None
    assert hops(net, icmp, probe) in ([ROUTER], [GATEWAY, ROUTER])


def test_real_traceroute(net: Network6) -> None:
    """busybox's, which knows its probes again by what they carry."""
    said = net.guest.run(f"busybox traceroute6 -n -q 2 -w 2 -m 4 {FAR}", 30).check()
    found = [line.split()[1] for line in said.splitlines() if line.strip()[:1].isdigit()]
    assert found in ([ROUTER, FAR], [GATEWAY, ROUTER, FAR]), said
    assert "*" not in said


def test_traceroute_by_tcp(net: Network6, icmp: Icmp6) -> None:
    """A SYN that expires at the router brings its "time exceeded" to the guest."""
    sock = tcp6(net.guest.net)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
    sock.setblocking(False)
    sock.connect_ex((FAR, 9))
    source, code, quote = icmp.receive(TIME_EXCEEDED)
    assert (source, code, quote[24:40]) == (ROUTER, 0, socket.inet_pton(socket.AF_INET6, FAR))


def test_real_ping(net: Network6) -> None:
    """busybox's, as a user would."""
    assert "2 packets received" in net.guest.run(f"busybox ping6 -c 2 -i 0.2 -W 3 {FAR}").check()


def test_a_taken_address_is_found_out(net: Network6) -> None:
    """Duplicate address detection: a guest that gives itself the gateway's address is told, and leaves it alone."""
    interface = net.guest.interface
    net.guest.run(f"ip -6 addr add {ALIAS}/64 dev {interface}").check()
    try:
        wait_for("DAD to fail", lambda: "dadfailed" in net.guest.run(f"ip -6 addr show dev {interface}").check())
    finally:
        net.guest.run(f"ip -6 addr del {ALIAS}/64 dev {interface}").check()


def test_the_neighbour_is_reachable(net: Network6) -> None:
    """The guest's kernel believes what we advertise: a router, at our MAC address."""
    net.guest.run(f"busybox ping6 -c 1 -W 3 {GATEWAY}").check()
    said = net.guest.run(f"ip -6 neigh show {GATEWAY} dev {net.guest.interface}").check()
    assert "lladdr 52:55:0a:00:02:02 router" in said
