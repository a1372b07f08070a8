"""A QEMU guest that configures itself in IPv6: SLAAC, ping, TCP and UDP both ways, with a kernel and a NIC of its own."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.guest.image import Image
from tests.interop.guest.qemu import QemuGuest
from tests.interop.rig.backend import Pyslirp
from tests.interop.rig.conversation import MIB, converse, echo_datagrams, noise
from tests.interop.rig.deadline import wait_for
from tests.interop.rig.namespace import accept
from tests.interop.rig.topology import Topology

GATEWAY, ROUTER_LINK, STATIC = "fec0::2", "fe80::2", "fec0::15"
TCP_RULE, UDP_RULE = 2322, 2323
OPTIONS = f"ipv6=on,hostfwd=tcp:[::1]:{TCP_RULE}-[{STATIC}]:22,hostfwd=udp:[::1]:{UDP_RULE}-[{STATIC}]:23"
SIZE = MIB
UDP_SIZES = [1, 1452, 1453, 9000, 60000]

pytestmark = pytest.mark.pyslirp


@dataclass(frozen=True)
class Attached6:
    """The guest, the machine that it reaches at the gateway's address, and what its file ``up`` hashes to."""

    guest: QemuGuest
    topology: Topology
    digest: str


@pytest.fixture(scope="module")
def attached(
    topology: Topology, guest_image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attached6]:
    """A guest with virtio-net over a unix socket, which has found its router."""
    server = Pyslirp(topology.host, tmp_path_factory.mktemp("ipv6"), extra=[OPTIONS])
    guest = QemuGuest("ipv6", guest_image, topology.host, server.qemu_netdev("stream-unix"), "virtio-net-pci")
    wait_for("the default route", lambda: f"via {ROUTER_LINK}" in guest.run("ip -6 route").output)
    guest.run(f"ip -6 addr add {STATIC}/64 dev eth0").check()
    wait_for("DAD", lambda: "tentative" not in guest.run("ip -6 addr show dev eth0").output)
    made = guest.run(f"dd if=/dev/urandom of=up bs={SIZE} count=1 2>/dev/null; sha256sum <up").check()
    yield Attached6(guest, topology, made.split()[0])
    guest.kill()
    server.close()


def compare(attached: Attached6, up: bytes, down: bytes) -> None:
    assert hashlib.sha256(up).hexdigest() == attached.digest
    assert attached.guest.run("sha256sum <down").check().split()[0] == hashlib.sha256(down).hexdigest()


def test_the_guest_has_configured_itself(attached: Attached6) -> None:
    """RFC 4862: an address of the prefix, made from its MAC address."""
    assert "fec0::5054:ff:fe12:3456/64" in attached.guest.run("ip -6 addr show dev eth0").check()


@pytest.mark.parametrize("size", [56, 5000])
def test_ping(attached: Attached6, size: int) -> None:
    """Small and in fragments, by the global address and by the link-local one."""
    for address in (GATEWAY, f"{ROUTER_LINK}%eth0"):
        said = attached.guest.run(f"ping6 -c 2 -i 0.2 -s {size} -W 3 {address}").check()
        assert "2 packets transmitted, 2 packets received" in said


@pytest.mark.parametrize("order", ["both", "send", "recv"])
def test_tcp_to_host(attached: Attached6, order: str) -> None:
    """A connection of the guest's to the host alias, whichever side closes first."""
    listener = attached.topology.host.new_socket(socket.AF_INET6)
    listener.bind(("::1", 0))
    listener.listen()
    job = attached.guest.spawn(f"peer tcp {order} up down {GATEWAY} {listener.getsockname()[1]}", timeout=60.0)
    connection, _ = accept(listener)
    down = noise(SIZE)
    up = converse(connection, down, order)
    job.wait().check()
    compare(attached, up, down)


def test_tcp_to_guest(attached: Attached6) -> None:
    """A forwarded connection; a loopback client shows as the gateway."""
    job = attached.guest.spawn("peer tcp both up down -6 22", timeout=60.0)
    job.expect("listening")
    connection = attached.topology.host.new_socket(socket.AF_INET6)
    connection.connect(("::1", TCP_RULE))
    down = noise(SIZE, seed=2)
    up = converse(connection, down, "both")
    assert f"from [{GATEWAY}]:" in job.wait().check()
    compare(attached, up, down)


def test_udp_to_host(attached: Attached6) -> None:
    """Datagrams of every size come back as they went, those beyond the MTU through fragments both ways."""
    server = attached.topology.host.new_socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind(("::1", 0))
    sizes = " ".join(map(str, UDP_SIZES))
    job = attached.guest.spawn(f"peer udp {GATEWAY} {server.getsockname()[1]} {sizes}")
    seen = echo_datagrams(server, len(UDP_SIZES))
    job.wait().check()
    assert [len(data) for data, _ in seen] == UDP_SIZES
    assert len({client for _, client in seen}) == 1
