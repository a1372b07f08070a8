"""In slirp4netns's place: what its own tests hold it to, and what they leave out.

With ``--backend slirp4netns`` the same tests run slirp4netns itself.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pyslirp.host.errand import Errand
from pyslirp.host.namespaces import join
from pyslirp.links.tun import open_tap
from tests.interop.rig.backend import Pyslirp
from tests.interop.rig.conversation import connect_error
from tests.interop.rig.deadline import wait_for
from tests.interop.rig.namespace import Namespace, accept
from tests.interop.rig.process import Process
from tests.interop.rig.require import require
from tests.interop.rig.resolver import Resolver
from tests.interop.rig.tap_guest import address_of, talk, tap_guest
from tests.interop.rig.topology import DNS, FIRST_LEASE, GATEWAY, HOST, Topology

PROGRAM = "import sys; from pyslirp.cli.slirp4netns import main; sys.argv[0] = 'slirp4netns'; sys.exit(main())"
READY_SECONDS = 20
NET_BIND_SERVICE = 1 << 10

Start = Callable[..., Process]


@pytest.fixture(scope="module")
def program(backend_name: str) -> list[str]:
    """What is run."""
    if backend_name == Pyslirp.name:
        return [sys.executable, "-c", PROGRAM]
    return [require("slirp4netns", "slirp4netns")]


@pytest.fixture
def guest(topology: Topology) -> Iterator[Namespace]:
    """A namespace with nothing in it."""
    made = tap_guest(topology.host)
    yield made
    made.close()


@pytest.fixture
def start(topology: Topology, guest: Namespace, folder: Path, program: list[str]) -> Iterator[Start]:
    """Starts the program for `guest` as an ordinary user of the host, or as root, and waits until it is ready."""
    running: list[Process] = []

    def make(*options: str, target: Sequence[str] = (), pass_fds: Sequence[int] = (), as_root: bool = False) -> Process:
        reading, writing = os.pipe()
        where = list(target) or [str(guest.pid), "tap11"]
        argv = [*topology.host.enter(capabilities=as_root), *program, "-r", str(writing), *options, *where]
        process = Process("slirp4netns", argv, folder, [writing, *pass_fds])
        running.append(process)
        os.close(writing)
        said = os.read(reading, 10) if select.select([reading], [], [], READY_SECONDS)[0] else b"nothing"
        rest = os.read(reading, 10) if said == b"1" else b""
        os.close(reading)
        assert (said, rest) == (b"1", b""), process.text()
        return process

    yield make
    for process in running:
        process.stop()


def refused(topology: Topology, folder: Path, program: list[str], *arguments: str) -> str:
    """What it says when it ends with status 1."""
    process = Process("slirp4netns", [*topology.host.enter(capabilities=False), *program, *arguments], folder)
    assert process.wait() == 1, process.text()
    process.stop()
    return process.text()


# -- the tap --------------------------------------------------------------------------------------------------------------


def test_configure(topology: Topology, guest: Namespace, start: Start) -> None:
    process = start("-c")
    assert address_of(guest, "tap11") == "10.0.2.100/24"
    assert "mtu 1500 " in guest.run("ip link show tap11").check()
    assert f"default via {GATEWAY}" in guest.run("ip route").check()
    assert "LOOPBACK,UP" in guest.run("ip link show lo").check()
    talk(guest, topology.host)
    assert "sent tapfd=" in process.text()
    assert "received tapfd=" in process.text()


@pytest.mark.parametrize("mtu", [1280, 65520, 65521])
def test_mtu(topology: Topology, guest: Namespace, start: Start, mtu: int) -> None:
    start("-c", f"--mtu={mtu}")
    assert f"mtu {mtu} " in guest.run("ip link show tap11").check()
    talk(guest, topology.host)


def test_macaddress(topology: Topology, guest: Namespace, start: Start) -> None:
    start("--configure", "--macaddress=0e:d4:18:d9:38:fb")
    assert "link/ether 0e:d4:18:d9:38:fb " in guest.run("ip link show tap11").check()
    talk(guest, topology.host, 1000)


def test_without_configure_there_is_dhcp(topology: Topology, guest: Namespace, start: Start) -> None:
    start()
    assert address_of(guest, "tap11") == ""
    busybox = require("busybox", "busybox-static")
    said = guest.run(f"ip link set tap11 up && {busybox} udhcpc -f -q -n -i tap11 -s /bin/true").check()
    assert f"lease of {FIRST_LEASE} obtained" in said


def test_cidr(topology: Topology, guest: Namespace, start: Start) -> None:
    start("-c", "--cidr", "10.0.135.128/25")
    assert address_of(guest, "tap11") == "10.0.135.228/25"
    assert "default via 10.0.135.130" in guest.run("ip route").check()
    assert " 0% packet loss" in guest.run("busybox ping -c 2 -i 0.2 -W 3 10.0.135.130").check()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("24", "invalid CIDR"),
        ("foo", "invalid CIDR"),
        ("10.0.2.0", "invalid CIDR"),
        ("10.0.2.100/24", "CIDR needs to be a network address like 10.0.2.0/24, not like 10.0.2.100/24"),
        ("10.0.2.100/26", "prefix length needs to be 1-25"),
    ],
)
def test_a_cidr_that_cannot_be(
    topology: Topology, guest: Namespace, folder: Path, program: list[str], text: str, said: str
) -> None:
    assert said in refused(topology, folder, program, "--cidr", text, str(guest.pid), "tap11")


def test_by_a_path_from_outside(topology: Topology, guest: Namespace, start: Start) -> None:
    userns = f"--userns-path=/proc/{guest.pid}/ns/user"
    start(userns, "--netns-type=path", target=[f"/proc/{guest.pid}/ns/net", "tap11"])
    assert address_of(guest, "tap11") == ""


def test_by_a_path_from_inside_its_user_namespace(
    topology: Topology, guest: Namespace, folder: Path, program: list[str]
) -> None:
    """There no ``--userns-path`` is needed; the network is still the host's."""
    inside = ["nsenter", "--preserve-credentials", "-U", "-t", str(guest.pid), "setpriv", "--pdeathsig=KILL", "--"]
    arguments = ["--netns-type=path", f"/proc/{guest.pid}/ns/net", "tap11"]
    process = Process("slirp4netns", [*topology.host.enter(), *inside, *program, "-c", *arguments], folder)
    wait_for("the tap", lambda: "10.0.2.100" in guest.run("ip -4 addr").output)
    talk(guest, topology.host, 1000)
    process.stop()


@pytest.mark.incumbent("slirp4netns", "1.2.0 has no --netns-type=tapfd")
def test_a_tap_that_is_open(topology: Topology, guest: Namespace, start: Start) -> None:
    def make() -> int:
        join(f"/proc/{guest.pid}/ns/net", f"/proc/{guest.pid}/ns/user")
        return open_tap("tap11")

    errand = Errand(make)
    descriptor = errand.fetch()
    errand.finish()
    start("--netns-type=tapfd", target=[str(descriptor)], pass_fds=[descriptor])
    os.close(descriptor)
    guest.run("ip addr add 10.0.2.100/24 dev tap11 && ip link set tap11 up").check()
    talk(guest, topology.host)


def test_a_process_that_is_not_there(topology: Topology, folder: Path, program: list[str]) -> None:
    said = refused(topology, folder, program, "4194304", "tap11")
    assert "/proc/4194304/ns/net: No such file or directory" in said
    assert "child failed(1)" in said


# -- what the guest reaches -----------------------------------------------------------------------------------------------


def test_disable_host_loopback(topology: Topology, guest: Namespace, start: Start) -> None:
    start("-c", "--disable-host-loopback")
    assert " 0% packet loss" in guest.run(f"busybox ping -c 2 -i 0.2 -W 3 {GATEWAY}").check()
    with topology.host.listener() as listener:
        port = listener.getsockname()[1]
        with guest.new_socket() as sock:
            assert connect_error(sock, GATEWAY, port, 5) == errno.ENETUNREACH


def test_disable_dns(guest: Namespace, start: Start) -> None:
    """The DNS address is silent, by UDP and by TCP."""
    start("-c", "--disable-dns")
    assert " 0% packet loss" in guest.run(f"busybox ping -c 2 -i 0.2 -W 3 {GATEWAY}").check()
    with guest.new_socket() as sock:
        assert connect_error(sock, DNS, 53, 2) == errno.ETIMEDOUT
    with guest.udp() as asking:
        asking.settimeout(1)
        asking.connect((DNS, 53))
        asking.send(bytes.fromhex("abcd01000001000000000000 04686f7374 0474657374 00 0001 0001"))
        with pytest.raises(TimeoutError):
            asking.recv(512)


@pytest.mark.parametrize(("address", "seen"), [("127.0.0.1", "127.0.0.1"), (HOST, HOST), ("to-router", HOST)])
def test_outbound_addr(topology: Topology, guest: Namespace, start: Start, address: str, seen: str) -> None:
    """Who a server on the host's loopback is connected to by; an interface stands for its address."""
    start("-c", f"--outbound-addr={address}")
    with topology.host.listener() as listener:
        client = guest.connect(GATEWAY, listener.getsockname()[1])
        server, peer = accept(listener)
        assert peer[0] == seen
    server.sendall(b"well")
    assert client.recv(10) == b"well"
    with topology.host.udp("127.0.0.1") as server, guest.udp() as client:
        client.sendto(b"by UDP", (GATEWAY, server.getsockname()[1]))
        data, peer = server.recvfrom(100)
        assert (data, peer[0]) == (b"by UDP", seen)


def test_ipv6(topology: Topology, guest: Namespace, start: Start) -> None:
    """The guest takes an address of fd00::/64 by itself; ::2 is the host's ::1; the source there is --outbound-addr6's."""
    start("-c", "-6", "--outbound-addr6=::1")

    def address() -> bool:
        said = guest.run("ip -6 -o addr show dev tap11 scope global").output
        return "inet6 fd00:" in said and "tentative" not in said

    wait_for("an address by SLAAC", address, READY_SECONDS)
    with topology.host.new_socket(socket.AF_INET6) as listener:
        listener.bind(("::1", 0))
        listener.listen()
        with guest.new_socket(socket.AF_INET6) as client:
            client.connect(("fd00::2", listener.getsockname()[1]))
            server, peer = accept(listener)
            assert peer[0] == "::1"
            client.sendall(b"over IPv6")
            assert server.recv(100) == b"over IPv6"


# -- descriptors ----------------------------------------------------------------------------------------------------------


def test_exit_fd(guest: Namespace, start: Start) -> None:
    reading, writing = os.pipe()
    process = start("-c", "-e", str(reading), pass_fds=[reading])
    os.close(reading)
    os.write(writing, b"of no interest")
    guest.run(f"busybox ping -c 1 -W 3 {GATEWAY}").check()
    assert process.alive()
    os.close(writing)
    assert process.wait() == 0
    assert "exitfd event" in process.text()
    assert "do_slirp is exiting" in process.text()


def test_an_exit_fd_that_is_not_open(start: Start) -> None:
    process = start("-e", "77")
    assert process.wait() == 0
    assert "exitfd event" in process.text()


# -- the API socket -------------------------------------------------------------------------------------------------------


def ask(topology: Topology, path: Path, request: bytes) -> Any:
    with topology.host.connect_unix(path) as client:
        client.sendall(request)
        return json.loads(b"".join(iter(lambda: client.recv(4096), b"")))


def execute(topology: Topology, path: Path, verb: str, **arguments: object) -> Any:
    return ask(topology, path, json.dumps({"execute": verb, "arguments": arguments}).encode())


def test_api_socket(topology: Topology, guest: Namespace, start: Start, folder: Path) -> None:
    path = folder / "api"
    start("-c", "-a", str(path))
    for request, description in (
        (b"badjson", "cannot parse JSON"),
        (b'{"unexpectedjson":42}', "no execute found"),
        (b'{"execute":"bad"}', "unknown execute"),
        (b'{"execute":"add_hostfwd","arguments":{"proto":"bad"}}', "bad arguments.proto"),
    ):
        assert description in ask(topology, path, request)["error"]["desc"]
    rule = {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": 2222, "guest_addr": "10.0.2.100", "guest_port": 22}
    assert execute(topology, path, "add_hostfwd", **rule) == {"return": {"id": 1}}
    assert execute(topology, path, "list_hostfwd")["entries"] == [{"id": 1, **rule}]
    with guest.listener("0.0.0.0", 22) as listener:
        client = topology.host.connect("127.0.0.1", 2222)
        server, _ = accept(listener)
    client.sendall(b"hello")
    assert server.recv(100) == b"hello"
    assert execute(topology, path, "remove_hostfwd", id=1) == {"return": {}}
    with pytest.raises(ConnectionRefusedError):
        topology.host.connect("127.0.0.1", 2222)


def test_api_socket_without_addresses(topology: Topology, guest: Namespace, start: Start, folder: Path) -> None:
    """From anywhere, to the recommended address."""
    path = folder / "api"
    start("-c", "-a", str(path))
    assert execute(topology, path, "add_hostfwd", proto="udp", host_port=2223, guest_port=23) == {"return": {"id": 1}}
    entry = execute(topology, path, "list_hostfwd")["entries"][0]
    assert (entry["host_addr"], entry["guest_addr"]) == ("0.0.0.0", "10.0.2.100")
    with guest.udp("0.0.0.0", 23) as server, topology.host.udp("127.0.0.1") as client:
        client.sendto(b"hello", ("127.0.0.1", 2223))
        data, peer = server.recvfrom(100)
        assert data == b"hello"
        server.sendto(b"well", peer)
        assert client.recv(100) == b"well"


def test_api_socket_floods(topology: Topology, start: Start, folder: Path) -> None:
    path = folder / "api"
    start("-c", "-a", str(path))
    with topology.host.connect_unix(path) as client:
        client.setblocking(False)
        with contextlib.suppress(BrokenPipeError):  # it has heard enough already
            client.send(bytes(65536))
        client.settimeout(10)
        assert b"too large message" in client.recv(4096)


def test_api_socket_path_too_long(topology: Topology, guest: Namespace, folder: Path, program: list[str]) -> None:
    path = str(folder / ("x" * 200))
    said = refused(topology, folder, program, "-c", "-a", path, str(guest.pid), "tap11")
    assert "the specified API socket path is too long (>= 108)" in said


# -- shut in --------------------------------------------------------------------------------------------------------------


def capabilities(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"CapEff:\s*([0-9a-f]+)", status)
    assert found
    return int(found[1], 16)


def test_sandbox(topology: Topology, guest: Namespace, start: Start, folder: Path, resolver: Resolver) -> None:
    """Little is left of the file system and of the capabilities, and everything still works."""
    path = folder / "api"
    topology.set_resolvers("127.0.0.1")
    process = start("-c", "--enable-sandbox", "--enable-seccomp", "-a", str(path), as_root=True)
    assert capabilities(process.pid) == NET_BIND_SERVICE
    root = {entry.name for entry in Path(f"/proc/{process.pid}/root").iterdir()}
    assert {"etc", "run"} <= root
    assert {"home", "root", "var", "usr"}.isdisjoint(root)
    talk(guest, topology.host)
    assert execute(topology, path, "add_hostfwd", proto="tcp", host_port=2222, guest_port=22) == {"return": {"id": 1}}
    with guest.listener("0.0.0.0", 22) as listener:
        client = topology.host.connect("127.0.0.1", 2222)
        server, _ = accept(listener)
    client.sendall(b"hello")
    assert server.recv(100) == b"hello"
    assert b"cannot parse JSON" in json.dumps(ask(topology, path, b"badjson")).encode()
    assert process.alive()


def test_sandbox_leaves_the_mounts_of_others(topology: Topology, start: Start, folder: Path) -> None:
    mounted = folder / "mounted"
    mounted.mkdir()
    topology.host.run(f"mount -t tmpfs tmpfs {mounted} && touch {mounted}/file").check()
    before = topology.host.run("cat /proc/self/mounts").check()
    start("-c", "--enable-sandbox", as_root=True)
    assert topology.host.run("cat /proc/self/mounts").check() == before
    topology.host.run(f"test -e {mounted}/file && umount {mounted}").check()


def test_seccomp(topology: Topology, guest: Namespace, start: Start) -> None:
    process = start("-c", "--enable-seccomp", f"--userns-path=/proc/{guest.pid}/ns/user")
    assert re.search(r"Seccomp:\s*2", Path(f"/proc/{process.pid}/status").read_text())
    talk(guest, topology.host)


def test_version(topology: Topology, folder: Path, program: list[str]) -> None:
    process = Process("slirp4netns", [*topology.host.enter(), *program, "-v"], folder)
    assert process.wait() == 0
    found = re.search(r"^SLIRP_CONFIG_VERSION_MAX: (\d+)$", process.text(), re.MULTILINE)
    assert found
    assert int(found[1]) >= 3
    process.stop()


def test_surplus_arguments_are_only_warned_of(start: Start, guest: Namespace) -> None:
    start(target=[str(guest.pid), "tap11", "surplus"])
    assert "tap11" in guest.run("ip link").check()
