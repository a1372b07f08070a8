"""TCP between a native-speed guest and the host: every way to open, end and break a connection."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.interop.rig.conversation import MIB, connect_error, exchange, noise, receive_all, receive_exactly, reset
from tests.interop.rig.namespace import accept
from tests.interop.rig.network import OPEN_TCP_FORWARD, TCP_FORWARD, Network
from tests.interop.rig.topology import FAR, FAR_UNREACHABLE, GATEWAY, HOST, NO_ROUTE, SILENT

AT_ONCE_SECONDS = 1.0  # for what must not wait for any time-out
Pair = tuple[socket.socket, socket.socket]


def to_host(net: Network) -> Pair:
    """A connection that the guest opened: the guest's socket, the host's."""
    with net.topology.host.listener() as listener:
        guest = net.guest.net.connect(GATEWAY, listener.getsockname()[1])
        host, _ = accept(listener)
    return guest, host


def to_guest(net: Network) -> Pair:
    """A connection that a client on the host opened: the guest's socket, the host's."""
    with net.guest.net.listener("0.0.0.0", TCP_FORWARD.guest_port) as listener:
        host = net.topology.host.connect(TCP_FORWARD.address, TCP_FORWARD.port)
        guest, _ = accept(listener)
    return guest, host


both_ways = pytest.mark.parametrize("connect", [to_host, to_guest], ids=["to_host", "to_guest"])


def connect_ends(net: Network, address: str, port: int = 9, seconds: float = 10.0) -> tuple[int, float]:
    """The errno that the guest's connect() ends with, and after how many seconds."""
    start = time.monotonic()
    with net.guest.net.new_socket() as sock:
        code = connect_error(sock, address, port, seconds)
    assert code, f"{address}:{port} has accepted"
    return code, time.monotonic() - start


@both_ways
def test_files_both_ways_at_once(net: Network, connect: Callable[[Network], Pair]) -> None:
    """16 MiB in each direction at the same time, then an end in each."""
    guest, host = connect(net)
    exchange([(guest, host, noise(16 * MIB, 1)), (host, guest, noise(16 * MIB, 2))])


@both_ways
def test_guest_closes_first(net: Network, connect: Callable[[Network], Pair]) -> None:
    """The guest's half-close reaches the host, which then still has all of its own to send."""
    guest, host = connect(net)
    exchange([(guest, host, b"request")])
    exchange([(host, guest, noise(4 * MIB))])


@both_ways
def test_host_closes_first(net: Network, connect: Callable[[Network], Pair]) -> None:
    """The host's half-close reaches the guest, which then still has all of its own to send."""
    guest, host = connect(net)
    exchange([(host, guest, b"greeting")])
    exchange([(guest, host, noise(4 * MIB))])


@both_ways
def test_many_small_writes(net: Network, connect: Callable[[Network], Pair]) -> None:
    """A thousand one-byte turns on one connection."""
    guest, host = connect(net)
    for turn in range(1000):
        byte = bytes([turn % 256])
        guest.sendall(byte)
        assert host.recv(1) == byte
        host.sendall(byte)
        assert guest.recv(1) == byte


@pytest.mark.incumbent("slirp4netns", "closes the host's socket without a reset")
@both_ways
def test_guest_resets(net: Network, connect: Callable[[Network], Pair]) -> None:
    """A reset by the guest is a reset to the host, not an end."""
    guest, host = connect(net)
    exchange([(guest, host, b"before")], close=False)
    reset(guest)
    with pytest.raises(ConnectionResetError):
        host.recv(1)


@both_ways
def test_host_resets(net: Network, connect: Callable[[Network], Pair]) -> None:
    """A reset by the host is a reset to the guest, not an end."""
    guest, host = connect(net)
    exchange([(host, guest, b"before")], close=False)
    reset(host)
    with pytest.raises(ConnectionResetError):
        guest.recv(1)


@both_ways
def test_closed_on_both_sides_with_unread_data(net: Network, connect: Callable[[Network], Pair]) -> None:
    """The guest closes while data for it is on its way: its kernel resets, and the host sees that."""
    guest, host = connect(net)
    host.sendall(noise(MIB)[:1000])
    receive_exactly(guest, 10)
    guest.close()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        send_and_receive_for_ever(host)


def send_and_receive_for_ever(sock: socket.socket) -> None:
    """Until the connection breaks."""
    while True:
        sock.sendall(b"more")
        sock.recv(1)


def test_refused(net: Network) -> None:
    """A port that nobody listens on refuses at once."""
    code, seconds = connect_ends(net, GATEWAY)
    assert code == errno.ECONNREFUSED
    assert seconds < AT_ONCE_SECONDS


@pytest.mark.incumbent("slirp4netns", "resets when the error comes from the network")
@pytest.mark.parametrize("address", [NO_ROUTE, FAR_UNREACHABLE], ids=["no-route", "router-says-so"])
def test_unreachable(net: Network, address: str) -> None:
    """What the host cannot reach is unreachable to the guest at once: the ICMP error that says so."""
    code, seconds = connect_ends(net, address)
    assert code in (errno.EHOSTUNREACH, errno.ENETUNREACH), errno.errorcode[code]
    assert seconds < AT_ONCE_SECONDS


def test_no_answer_is_no_answer(net: Network) -> None:
    """A host that is silent stays silent: nothing answers in its place."""
    code, seconds = connect_ends(net, SILENT, seconds=2.0)
    assert code == errno.ETIMEDOUT, errno.errorcode[code]
    assert seconds >= 2.0


@contextmanager
def host_sysctls(net: Network, **values: str) -> Iterator[None]:
    """These settings of net.ipv4 on the host, and then what they were."""
    host = net.topology.host
    before = {name: host.run(f"cat /proc/sys/net/ipv4/{name}").check().strip() for name in values}
    try:
        for name, value in values.items():
            host.sysctl(f"net.ipv4.{name}", value)
        yield
    finally:
        for name, value in before.items():
            host.sysctl(f"net.ipv4.{name}", value)


@pytest.mark.pyslirp
def test_what_has_timed_out_for_the_host_times_out_for_the_guest(net: Network) -> None:
    """The host's connect gives up after three seconds.  The guest learns nothing of it, as on a network: it asks on, and ends
    by a time-out of its own, with its own patience (SYNs after 1, 2 and 4 seconds)."""
    net.guest.net.sysctl("net.ipv4.tcp_syn_retries", "2")
    try:
        with host_sysctls(net, tcp_syn_retries="1"):
            code, seconds = connect_ends(net, SILENT, seconds=20.0)
    finally:
        net.guest.net.sysctl("net.ipv4.tcp_syn_retries", "6")
    assert code == errno.ETIMEDOUT, errno.errorcode[code]
    assert 6.5 < seconds < 12, "neither a reset when the host gave up, nor our patience in place of the guest's"


@pytest.mark.pyslirp
def test_a_host_that_has_gone_without_a_word_is_found(net: Network) -> None:
    """Nothing is under way, so only keepalive finds it (here after two seconds instead of two hours): a reset for the guest."""
    far, router = net.topology.far, net.topology.router
    with (
        host_sysctls(net, tcp_keepalive_time="1", tcp_keepalive_intvl="1", tcp_keepalive_probes="1"),
        far.listener(FAR) as listener,
    ):
        guest = net.guest.net.connect(FAR, listener.getsockname()[1])
        host, _ = accept(listener)
        exchange([(guest, host, b"alive")], close=False)
        router.run(f"ip route add blackhole {FAR}").check()
        try:
            guest.settimeout(10)
            with pytest.raises(ConnectionResetError):
                guest.recv(1)
        finally:
            router.run(f"ip route del blackhole {FAR}").check()


@pytest.mark.pyslirp
def test_a_guest_whose_mac_address_has_changed_is_found(net: Network) -> None:
    """Linux tells nobody (arp_notify is off), and a guest that is only sent to would never be heard of again."""
    guest, host = to_host(net)
    exchange([(guest, host, b"before")], close=False)
    device = f"ip link set {net.guest.interface} address"
    net.guest.run(f"{device} 52:54:00:99:99:99").check()
    try:
        exchange([(host, guest, noise(MIB))])
    finally:
        net.guest.run(f"{device} {net.guest.mac} && busybox ping -c 1 -W 3 {GATEWAY}").check()


@pytest.mark.incumbent("slirp4netns", "sends it to the real network")
def test_unclaimed_address_of_the_virtual_net(net: Network) -> None:
    """An address of the guests' net that nobody has is unreachable, even if the host's own network has it."""
    unclaimed = "10.0.2.77"
    host, guest = net.topology.host, net.guest
    host.run(f"ip addr add {unclaimed}/32 dev lo").check()
    mac = guest.net.run(f"busybox ping -c 1 -W 3 {GATEWAY} >/dev/null; ip neigh show {GATEWAY}").check().split()[4]
    guest.run(f"ip neigh add {unclaimed} lladdr {mac} dev {guest.interface}").check()
    try:
        with host.listener(unclaimed) as listener:
            code, _ = connect_ends(net, unclaimed, listener.getsockname()[1], seconds=3.0)
        assert code in (errno.EHOSTUNREACH, errno.ENETUNREACH), errno.errorcode[code]
    finally:
        guest.run(f"ip neigh del {unclaimed} dev {guest.interface}").check()
        host.run(f"ip addr del {unclaimed}/32 dev lo").check()


@pytest.mark.parametrize("address", [HOST, FAR], ids=["host", "far"])
def test_other_machines(net: Network, address: str) -> None:
    """The guest reaches what the host reaches, from the host's address."""
    server = net.topology.host if address == HOST else net.topology.far
    with server.listener(address) as listener:
        guest = net.guest.net.connect(address, listener.getsockname()[1])
        host, client = accept(listener)
    assert client[0] == HOST
    exchange([(guest, host, noise(MIB, 1)), (host, guest, noise(MIB, 2))])


def test_forward_keeps_client_address(net: Network) -> None:
    """A client from another machine shows with its own address and port; the answer finds its way back."""
    with net.guest.net.listener("0.0.0.0", OPEN_TCP_FORWARD.guest_port) as listener:
        client = net.topology.far.connect(HOST, OPEN_TCP_FORWARD.port)
        guest, seen = accept(listener)
    assert seen == client.getsockname()
    exchange([(client, guest, noise(MIB, 1)), (guest, client, noise(MIB, 2))])


def test_forward_shows_loopback_as_gateway(net: Network) -> None:
    """A client on the host's loopback shows as the gateway."""
    guest, _ = to_guest(net)
    assert guest.getpeername()[0] == GATEWAY


@pytest.mark.incumbent("slirp4netns", "ends the client's connection without a reset")
def test_forward_refused_by_guest(net: Network) -> None:
    """A guest that refuses has the client reset at once."""
    start = time.monotonic()
    with pytest.raises((ConnectionResetError, ConnectionRefusedError)):
        net.topology.host.connect(TCP_FORWARD.address, TCP_FORWARD.port).recv(1)
    assert time.monotonic() - start < AT_ONCE_SECONDS


def test_forward_keeps_early_data(net: Network) -> None:
    """What a client sends and ends before the guest has even seen its SYN arrives, with the end behind it."""
    if net.backend.name == "slirp4netns":
        pytest.skip("slirp4netns has no bridge to hold")
    data = noise(64 << 10)
    with net.guest.net.listener("0.0.0.0", TCP_FORWARD.guest_port) as listener:
        net.guest.pause()
        client = net.topology.host.connect(TCP_FORWARD.address, TCP_FORWARD.port)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        time.sleep(0.3)  # the SYN is now with the bridge; retransmissions may follow
        net.guest.resume()
        guest, _ = accept(listener)
    assert receive_all(guest) == data
    exchange([(guest, client, data)])


def test_connections_one_after_another(net: Network) -> None:
    """Two hundred connections of the guest's, one at a time: none fails, none leaves anything behind."""
    with net.topology.host.listener() as listener:
        where = GATEWAY, listener.getsockname()[1]
        for _ in range(200):
            with net.guest.net.connect(*where) as guest:
                host, _ = accept(listener)
                with host:
                    guest.sendall(b"?")
                    assert host.recv(1) == b"?"
                    host.sendall(b"!")
                    assert guest.recv(1) == b"!"


def test_connections_at_the_same_time(net: Network) -> None:
    """A hundred transfers at once, each with its own bytes."""
    pairs = [to_host(net) for _ in range(50)] + [to_guest(net) for _ in range(50)]
    up = [(guest, host, noise(100_000, seed)) for seed, (guest, host) in enumerate(pairs)]
    down = [(host, guest, noise(100_000, 1000 + seed)) for seed, (guest, host) in enumerate(pairs)]
    exchange(up + down)


@both_ways
def test_urgent_byte(net: Network, connect: Callable[[Network], Pair]) -> None:
    """MSG_OOB on one side is MSG_OOB on the other, and the stream is whole without it."""
    for sender, receiver in (connect(net), connect(net)[::-1]):
        receiver.settimeout(10)
        with select.epoll() as told:
            told.register(receiver, select.EPOLLPRI)
            sender.sendall(b"before")
            sender.send(b"!", socket.MSG_OOB)
            assert told.poll(10)
        assert receiver.recv(1, socket.MSG_OOB) == b"!"
        sender.sendall(b"behind")
        assert receive_exactly(receiver, 12) == b"beforebehind"


@pytest.mark.pyslirp
def test_a_host_that_resets_is_forgotten_while_the_guest_is_silent(net: Network) -> None:
    """The guest neither reads nor writes; the descriptor must not wait for it."""
    guest, host = to_host(net)
    reset(host)
    guest.settimeout(10)
    with pytest.raises(ConnectionResetError):
        guest.recv(1)
