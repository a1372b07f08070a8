"""A QEMU guest with each NIC model over each transport: everything that a guest does with its network.

Each guest boots once, for all tests of this file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.guest.image import Image
from tests.interop.guest.qemu import QemuGuest
from tests.interop.rig.backend import Backend, Forward, start_backend
from tests.interop.rig.conversation import MIB, converse, echo_datagrams, noise
from tests.interop.rig.guest import take_lease
from tests.interop.rig.namespace import Namespace, accept
from tests.interop.rig.resolver import Resolver
from tests.interop.rig.topology import DNS, FIRST_LEASE, GATEWAY, Topology

MTU = 4000  # neither Ethernet's nor the largest; 8139cp takes up to 4096
TCP_FORWARD = Forward(port=2222, guest_port=22)
UDP_FORWARD = Forward(port=2223, guest_port=23, protocol="udp")
SIZE = 4 * MIB
ORDERS = ("both", "send", "recv")  # of `peer tcp`: at once, and a half-close in each direction


@dataclass(frozen=True)
class Attached:
    """A guest that is up, with a lease, and the host that it reaches at the gateway's address."""

    guest: QemuGuest
    backend: Backend
    host: Namespace
    lease: dict[str, str]
    digest: str  #: SHA-256 of the guest's file ``up``, which has `SIZE` bytes


@pytest.fixture(scope="module")
def running(
    wire: tuple[str, str],
    topology: Topology,
    resolver: Resolver,
    guest_image: Image,
    backend_name: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Attached]:
    """A guest with that NIC over that transport."""
    nic, transport = wire
    folder = tmp_path_factory.mktemp("backend")
    backend = start_backend(backend_name, topology.host, folder, [TCP_FORWARD, UDP_FORWARD], mtu=MTU)
    guest = QemuGuest(f"{nic} over {transport}", guest_image, topology.host, backend.qemu_netdev(transport), nic)
    lease = take_lease(guest)
    made = guest.run(f"dd if=/dev/urandom of=up bs={SIZE} count=1 2>/dev/null; sha256sum <up").check()
    yield Attached(guest, backend, topology.host, lease, made.split()[0])
    guest.kill()
    backend.close()


@pytest.fixture
def attached(running: Attached) -> Attached:
    """The guest, whose backend must still run."""
    running.backend.check_alive()
    return running


def test_lease(attached: Attached) -> None:
    """The first address of the pool, with gateway, name server and netmask; no MTU, which was not asked for."""
    lease = attached.lease
    expected = {"ip": FIRST_LEASE, "router": GATEWAY, "dns": DNS, "mask": "24"}
    assert {key: lease.get(key) for key in expected} == expected
    assert "mtu" not in lease


def test_ping_gateway(attached: Attached) -> None:
    """Every echo request to the gateway is answered, small and in fragments."""
    for size in (56, 5000):
        said = attached.guest.run(f"ping -c 3 -i 0.2 -s {size} -W 3 {GATEWAY}").check()
        assert "3 packets transmitted, 3 packets received" in said


def test_dns(attached: Attached, resolver: Resolver) -> None:
    """A name is resolved by the server that the lease names."""
    said = attached.guest.run("nslookup host.test").check()
    assert "192.0.2.1" in said
    assert "udp host.test. A" in resolver.seen
    assert "NXDOMAIN" in attached.guest.run("nslookup nowhere.test").output


@pytest.mark.parametrize("order", ORDERS)
def test_tcp_to_host(attached: Attached, order: str) -> None:
    """Files cross a connection of the guest's in both directions, whichever side closes first."""
    with attached.host.listener() as listener:
        command = f"peer tcp {order} up down {GATEWAY} {listener.getsockname()[1]}"
        job = attached.guest.spawn(command, timeout=60.0)
        connection, _ = accept(listener)
    with connection:
        down = noise(SIZE)
        up = converse(connection, down, order)
    job.wait().check()
    _compare(attached, up, down)


@pytest.mark.parametrize("order", ORDERS)
def test_tcp_to_guest(attached: Attached, order: str) -> None:
    """Files cross a forwarded connection in both directions; a loopback client shows as the gateway."""
    job = attached.guest.spawn(f"peer tcp {order} up down - {TCP_FORWARD.guest_port}", timeout=60.0)
    job.expect("listening")
    with attached.host.connect(TCP_FORWARD.address, TCP_FORWARD.port) as connection:
        down = noise(SIZE, seed=2)
        up = converse(connection, down, order)
    assert f"from {GATEWAY}:" in job.wait().check()
    _compare(attached, up, down)


def _compare(attached: Attached, up: bytes, down: bytes) -> None:
    assert hashlib.sha256(up).hexdigest() == attached.digest
    assert attached.guest.run("sha256sum <down").check().split()[0] == hashlib.sha256(down).hexdigest()


def test_udp_to_host(attached: Attached) -> None:
    """Datagrams of every size come back as they went, those beyond the MTU through fragments both ways."""
    sizes = [1, 1472, 1473, 9000, 60000]
    with attached.host.udp("127.0.0.1") as server:
        job = attached.guest.spawn(f"peer udp {GATEWAY} {server.getsockname()[1]} {' '.join(map(str, sizes))}")
        seen = echo_datagrams(server, len(sizes))
    job.wait().check()
    assert [len(data) for data, _ in seen] == sizes
    assert len({client for _, client in seen}) == 1, "one guest socket, one host socket"


def test_udp_to_guest(attached: Attached) -> None:
    """Datagrams to a forwarded port come back as they went; two clients are told apart."""
    clients = [attached.host.udp("127.0.0.1") for _ in range(2)]
    sizes = [1, 1400, 9000, 60000]
    job = attached.guest.spawn(f"peer udpserve {UDP_FORWARD.guest_port} {len(sizes) * len(clients)}")
    job.expect("serving")
    for size in sizes:
        for number, client in enumerate(clients):
            sent = noise(size, seed=number)
            client.sendto(sent, (UDP_FORWARD.address, UDP_FORWARD.port))
            back, source = client.recvfrom(65536)
            assert back == sent
            assert source == (UDP_FORWARD.address, UDP_FORWARD.port)
    said = job.wait().check()
    sources = {line.split()[1] for line in said.splitlines() if line.startswith("from ")}
    assert len(sources) == len(clients)
    assert {source.split(":")[0] for source in sources} == {GATEWAY}
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    "order",
    ["forward", "odd", pytest.param("reverse", marks=pytest.mark.incumbent("qemu-user", "libslirp 4.7 crashes QEMU"))],
)
def test_udp_fragments(attached: Attached, order: str) -> None:
    """The fragments of a datagram may come in any order."""
    with attached.host.udp("127.0.0.1") as server:
        where = f"{FIRST_LEASE} {GATEWAY} {server.getsockname()[1]}"
        job = attached.guest.spawn(f"peer fragments {where} 20000 1480 {order}")
        echo_datagrams(server, 1)
    job.wait().check()


@pytest.mark.incumbent("qemu-user", "announces no MTU")
def test_lease_with_mtu(attached: Attached) -> None:
    """The MTU is announced to a client that asks for it, and then used.  (The last test: there is no way back.)"""
    lease = take_lease(attached.guest, "mtu")
    assert lease["mtu"] == str(MTU)
    assert f"mtu {MTU}" in attached.guest.run("ip link show eth0").check()
    test_tcp_to_host(attached, "both")
    test_udp_to_host(attached)
