"""A tap in a network namespace: ``pyslirp --netns``, ``--tap``, and ``pyslirp exec``, as an ordinary user has them."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from pyslirp.config.stack import Config
from pyslirp.host.errand import Errand
from pyslirp.host.namespaces import join
from pyslirp.links.tap import TapLink
from pyslirp.links.tun import inspect_tap, open_tap
from pyslirp.stack import Stack
from tests.interop.rig.backend import PyslirpProcess
from tests.interop.rig.conversation import exchange, noise
from tests.interop.rig.deadline import wait_for
from tests.interop.rig.namespace import Namespace, accept
from tests.interop.rig.process import Process
from tests.interop.rig.require import require
from tests.interop.rig.resolver import Resolver
from tests.interop.rig.tap_guest import address_of, talk, tap_guest
from tests.interop.rig.topology import DNS, FAR, FIRST_LEASE, GATEWAY, Topology

pytestmark = pytest.mark.pyslirp

Start = Callable[..., PyslirpProcess]


@pytest.fixture
def guest(topology: Topology) -> Iterator[Namespace]:
    """A namespace with nothing in it."""
    made = tap_guest(topology.host)
    yield made
    made.close()


@pytest.fixture
def start(topology: Topology, folder: Path) -> Iterator[Start]:
    """Starts pyslirp on the host without any capability, and ends it in order unless it has ended."""
    running: list[PyslirpProcess] = []

    def make(*arguments: str, pass_fds: Sequence[int] = ()) -> PyslirpProcess:
        running.append(PyslirpProcess(topology.host, folder, arguments, pass_fds))
        running[-1].wait_ready()
        return running[-1]

    yield make
    for process in running:
        if process.process.alive():
            process.stop()


def run_exec(host: Namespace, folder: Path, *arguments: str, ready: str = "") -> Process:
    """``pyslirp exec`` on the host, as an ordinary user.

    Here the user has the number 0, which the kernel lets nobody take into a user namespace without CAP_SETFCAP.
    """
    user = [*host.enter(), "setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all", "--no-new-privs", "--"]
    process = Process("exec", [*user, sys.executable, "-m", "pyslirp", "exec", *arguments], folder)
    if ready:
        process.expect(ready, 20)
    return process


# -- --netns -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mtu", [1500, 65520])
def test_a_configured_tap(topology: Topology, guest: Namespace, start: Start, mtu: int) -> None:
    """By the number of a process; address, route and MTU are there, and bytes get through both ways."""
    start("--netns", str(guest.pid), "--configure", "--mtu", str(mtu))
    assert address_of(guest) == f"{FIRST_LEASE}/24"
    assert f"mtu {mtu} " in guest.run("ip link show tap0").check()
    assert f"default via {GATEWAY} dev tap0" in guest.run("ip route").check()
    assert "0% packet loss" in guest.run(f"busybox ping -c 2 -i 0.2 -W 3 {GATEWAY}").check()
    talk(guest, topology.host)


def test_by_a_path_and_with_a_name(topology: Topology, guest: Namespace, start: Start) -> None:
    path = f"/proc/{guest.pid}/ns/net"
    start("--netns", path, "--userns", f"/proc/{guest.pid}/ns/user", "--tap", "eth0", "--configure")
    assert address_of(guest, "eth0") == f"{FIRST_LEASE}/24"
    talk(guest, topology.host)


def test_a_tap_without_address_takes_a_lease(topology: Topology, guest: Namespace, start: Start) -> None:
    start("--netns", str(guest.pid))
    assert address_of(guest) == ""
    busybox = require("busybox", "busybox-static")
    guest.run(f"ip link set tap0 up && {busybox} udhcpc -f -q -n -i tap0 -s /bin/true").check()
    guest.run(f"ip addr add {FIRST_LEASE}/24 dev tap0 && ip route add default via {GATEWAY}").check()
    talk(guest, topology.host)


def test_dhcp_keeps_the_address_of_a_configured_tap(guest: Namespace, start: Start) -> None:
    """A DHCP client beside the configuration is given the same address; another guest is not."""
    start("--netns", str(guest.pid), "--configure")
    busybox = require("busybox", "busybox-static")
    said = guest.run(f"{busybox} udhcpc -f -q -n -i tap0 -s /bin/true").check()
    assert f"lease of {FIRST_LEASE} obtained" in said


def test_the_way_out(topology: Topology, guest: Namespace, start: Start, resolver: Resolver) -> None:
    """To another machine by TCP, and to the resolver by UDP."""
    start("--netns", str(guest.pid), "--configure", "--dns-upstream", "127.0.0.1:5353")
    with topology.far.listener("0.0.0.0") as listener:
        client = guest.connect(FAR, listener.getsockname()[1])
        server, _ = accept(listener)
    server.sendall(b"far away")
    assert client.recv(100) == b"far away"
    busybox = require("busybox", "busybox-static")
    assert "192.0.2.1" in guest.run(f"{busybox} nslookup -type=a host.test {DNS}").check()
    assert any("host.test. A" in query for query in resolver.seen)


def test_hostfwd_leads_to_a_configured_tap(topology: Topology, guest: Namespace, start: Start) -> None:
    start("--netns", str(guest.pid), "--configure", "--hostfwd", "tcp::2222-:22")
    with guest.listener("0.0.0.0", 22) as listener:
        client = topology.host.connect("127.0.0.1", 2222)
        server, _ = accept(listener)
    client.sendall(b"hello")
    assert server.recv(100) == b"hello"


def test_two_namespaces_on_one_network(topology: Topology, guest: Namespace, start: Start, folder: Path) -> None:
    """A tap and a stream link are ports of one switch: here pyslirp has both."""
    path = folder / "guests"
    start("--netns", str(guest.pid), "--configure", "--listen", f"unix:{path}")
    with topology.host.connect_unix(path) as other:
        source = bytes.fromhex("525400000099")
        request = b"\xff" * 6 + source + bytes.fromhex("08060001080006040001") + source + b"\x0a\0\2\x63"
        frame = (request + bytes(6) + socket.inet_aton(FIRST_LEASE)).ljust(60, b"\0")
        other.sendall(len(frame).to_bytes(4) + frame)
        while True:
            length = int.from_bytes(other.recv(4, socket.MSG_WAITALL))
            answer = other.recv(length, socket.MSG_WAITALL)
            if answer[:6] == source and answer[12:14] == b"\x08\x06":
                break
        assert answer[28:32] == socket.inet_aton(FIRST_LEASE)


def test_it_ends_with_the_process_that_it_was_for(topology: Topology, guest: Namespace, folder: Path) -> None:
    sleeper = Process("sleep", [*guest.enter(), "sleep", "1000"], folder)
    wait_for("its namespace", lambda: _same_namespace(sleeper.pid, guest.pid))
    running = PyslirpProcess(topology.host, folder, ["--netns", str(sleeper.pid), "--configure"])
    running.wait_ready()
    sleeper.stop()
    assert running.process.wait() == 0, running.text()
    running.process.stop()


def _same_namespace(one: int, other: int) -> bool:
    return Path(f"/proc/{one}/ns/net").samefile(f"/proc/{other}/ns/net")


def test_it_ends_with_its_tap(topology: Topology, guest: Namespace, folder: Path) -> None:
    running = PyslirpProcess(topology.host, folder, ["--netns", str(guest.pid), "--configure"])
    running.wait_ready()
    guest.run("ip link delete tap0").check()
    assert running.process.wait() == 0, running.text()
    assert "the tap is gone" in running.text()
    running.process.stop()


def test_an_interface_that_is_down_loses_frames_and_nothing_else(
    topology: Topology, guest: Namespace, start: Start
) -> None:
    start("--netns", str(guest.pid), "--configure", "--hostfwd", "tcp::2222-:22")
    talk(guest, topology.host, 1000)
    guest.run("ip link set tap0 down").check()
    client = topology.host.new_socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", 2222))
    guest.run(f"ip link set tap0 up && ip route add default via {GATEWAY}").check()
    talk(guest, topology.host, 1000)


def make_tap(guest: Namespace, vnet_header: bool) -> int:
    """The descriptor of a tap0 of the guest."""

    def make() -> int:
        join(f"/proc/{guest.pid}/ns/net", f"/proc/{guest.pid}/ns/user")
        return open_tap("tap0", vnet_header=vnet_header)

    errand = Errand(make)
    descriptor = errand.fetch()
    errand.finish()
    return descriptor


# -- --tap ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vnet_header", [False, True])
def test_a_tap_that_is_handed_in(topology: Topology, guest: Namespace, start: Start, vnet_header: bool) -> None:
    """Made by somebody else, here by us inside the guest's namespace."""
    descriptor = make_tap(guest, vnet_header)
    tap = inspect_tap(descriptor)
    assert (tap.name, tap.vnet_header) == ("tap0", vnet_header)
    start("--tap", f"fd:{descriptor}", pass_fds=[descriptor])
    os.close(descriptor)
    guest.run(f"ip addr add {FIRST_LEASE}/24 dev tap0 && ip link set tap0 up").check()
    talk(guest, topology.host)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--netns", "4194304"), "--netns 4194304: No such process; is the process still there?"),
        (("--netns", "/no/such/file"), "/no/such/file: No such file or directory"),
        (("--netns", "/proc/self/ns/user"), "/proc/self/ns/user: this is not a network namespace"),
        (("--tap", "lo"), "tap lo: "),
        (("--tap", "fd:0"), "fd:0: not a tap: "),
    ],
)
def test_what_cannot_be_is_said(topology: Topology, folder: Path, arguments: tuple[str, ...], text: str) -> None:
    process = Process(
        "pyslirp", [*topology.host.enter(capabilities=False), sys.executable, "-m", "pyslirp", *arguments], folder
    )
    assert process.wait() == 1
    assert process.text().startswith(f"pyslirp: {text}")
    assert "Traceback" not in process.text()
    process.stop()


def test_a_tap_that_somebody_has_is_busy(topology: Topology, guest: Namespace, start: Start, folder: Path) -> None:
    start("--netns", str(guest.pid))
    second = PyslirpProcess(topology.host, folder, ["--netns", str(guest.pid)])
    assert second.process.wait() == 1
    assert "tap tap0: Device or resource busy; another process has this tap" in second.text()
    second.process.stop()


@pytest.mark.parametrize("vnet_headers", [(True, True), (True, False), (False, True)])
def test_two_guests_whose_links_leave_work_undone_or_not(
    topology: Topology, guest: Namespace, vnet_headers: tuple[bool, bool]
) -> None:
    """A stream between two namespaces, through the switch: whole, whatever either link can do."""
    other = tap_guest(topology.host)
    addresses = ["10.0.2.21", "10.0.2.22"]
    stack = Stack(Config())
    for namespace, address, vnet_header in zip((guest, other), addresses, vnet_headers, strict=True):
        stack.open_link(TapLink(address, partial(make_tap, namespace, vnet_header), 1500))
        namespace.run(f"ip addr add {address}/24 dev tap0 && ip link set tap0 up").check()
    stop = threading.Event()
    thread = threading.Thread(target=_drive, args=(stack, stop))
    thread.start()
    try:
        with guest.listener("0.0.0.0", 5001) as listener:
            client = other.connect(addresses[0], 5001)
            server, _ = accept(listener)
        exchange([(client, server, noise(1 << 24, 1)), (server, client, noise(1 << 24, 2))])
    finally:
        stop.set()
        thread.join()
        other.close()


def _drive(stack: Stack, stop: threading.Event) -> None:
    poll = select.poll()
    poll.register(stack.fileno(), select.POLLIN)
    while not stop.is_set():
        poll.poll(100)
        stack.process()
    counted = stack.core.counters()
    stack.close()
    assert counted["link.bad_offload"] == 0


# -- exec ----------------------------------------------------------------------------------------------------------------


def test_a_command_with_a_network_of_its_own(topology: Topology, folder: Path) -> None:
    """Its interface, its resolv.conf, its user; its exit status is ours."""
    script = "ip -4 addr show dev tap0; ip route; cat /etc/resolv.conf; id -u; ls /sys/class/net >/dev/null; exit 7"
    process = run_exec(topology.host, folder, "--", "sh", "-c", script)
    assert process.wait() == 7, process.text()
    said = process.text()
    assert f"inet {FIRST_LEASE}/24" in said
    assert f"default via {GATEWAY} dev tap0" in said
    assert f"nameserver {DNS}" in said
    process.stop()


def test_a_command_reaches_the_host_and_names(topology: Topology, folder: Path, resolver: Resolver) -> None:
    code = (
        "import socket, sys\n"
        "with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as it:\n"
        "    it.sendall(b'from inside')\n"
        "    print(it.recv(100).decode(), socket.getaddrinfo('host.test', 80, socket.AF_INET)[0][4][0])\n"
    )
    with topology.host.listener() as listener:
        port = str(listener.getsockname()[1])
        arguments = ["--dns-upstream", "127.0.0.1:5353", "--tap", "eth0", "--"]
        process = run_exec(topology.host, folder, *arguments, sys.executable, "-c", code, GATEWAY, port)
        server, _ = accept(listener)
    assert server.recv(100) == b"from inside"
    server.sendall(b"from outside")
    assert process.wait() == 0, process.text()
    assert process.text() == "from outside 192.0.2.1\n"
    process.stop()


def test_a_command_may_do_as_it_likes_with_its_network_alone(topology: Topology, folder: Path) -> None:
    script = "ip link add dummy9 type veth && ip link show dummy9 && ! ip -n /proc/1/ns/net link"
    process = run_exec(topology.host, folder, "--", "sh", "-c", script)
    assert process.wait() == 0, process.text()
    process.stop()


@pytest.mark.parametrize(("command", "status"), [("/no/such/program", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be(topology: Topology, folder: Path, command: str, status: int) -> None:
    process = run_exec(topology.host, folder, "--", command)
    assert process.wait() == status
    assert process.text().startswith(f"pyslirp: {command}: ")
    process.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_the_commands(topology: Topology, folder: Path, number: signal.Signals) -> None:
    process = run_exec(topology.host, folder, "--", "sh", "-c", "echo begun; exec sleep 1000", ready="begun")
    process.signal(number)
    assert process.wait() == 128 + number
    process.stop()


def test_a_service_in_there_is_reached_by_hostfwd(topology: Topology, folder: Path) -> None:
    code = (
        "import socket\n"
        "with socket.create_server(('0.0.0.0', 22)) as server:\n"
        "    print('begun', flush=True)\n"
        "    it, _ = server.accept()\n"
        "    it.sendall(b'hello')\n"
    )
    arguments = ["--hostfwd", "tcp::2222-:22", "--", sys.executable, "-c", code]
    process = run_exec(topology.host, folder, *arguments, ready="begun")
    assert topology.host.connect("127.0.0.1", 2222).recv(100) == b"hello"
    assert process.wait() == 0
    process.stop()
