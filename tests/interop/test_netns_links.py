"""The doors for guests: addresses to listen at, framing, several guests, going away and coming back, ending."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.rig.backend import PyslirpProcess
from tests.interop.rig.conversation import MIB, exchange, noise
from tests.interop.rig.deadline import wait_for
from tests.interop.rig.frames import LARGEST_FRAME, SMALLEST_FRAME, FrameGuest, arp_request, framed
from tests.interop.rig.guest import take_lease
from tests.interop.rig.namespace import accept
from tests.interop.rig.netns_guest import NetnsGuest
from tests.interop.rig.topology import FIRST_LEASE, GATEWAY, HOST, Topology

pytestmark = pytest.mark.pyslirp

PORT = 1300
Start = Callable[..., PyslirpProcess]


@pytest.fixture
def start(topology: Topology, tmp_path: Path) -> Iterator[Start]:
    """Starts pyslirp with these arguments in the host's network; ended (with all that this checks) after the test."""
    with ExitStack() as stack:

        def run(*arguments: str, pass_fds: tuple[int, ...] = (), ready: bool = True) -> PyslirpProcess:
            process = PyslirpProcess(topology.host, tmp_path, arguments, pass_fds)
            if ready:
                stack.callback(process.stop)
                process.wait_ready()
            else:
                stack.callback(process.process.stop)
            return process

        yield run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the unix socket goes."""
    return tmp_path / "net.sock"


def at(topology: Topology, path: Path, number: int = 1) -> FrameGuest:
    """A guest made of bytes, connected to the unix socket."""
    return FrameGuest(topology.host.connect_unix(path), number)


# ------------------------------------------------------------------------------------------------------ listening


def test_tcp_addresses(start: Start, topology: Topology) -> None:
    """An empty host is loopback and nothing else; IPv6 in brackets; --listen may be repeated."""
    start("--listen", f":{PORT}", "--listen", f"[::1]:{PORT + 1}", "--listen", f"{HOST}:{PORT + 2}")
    assert FrameGuest(topology.host.connect("127.0.0.1", PORT)).mac_of(GATEWAY)
    six = topology.host.new_socket(socket.AF_INET6)
    six.connect(("::1", PORT + 1))
    assert FrameGuest(six, number=2).mac_of(GATEWAY)
    assert FrameGuest(topology.far.connect(HOST, PORT + 2), number=3).mac_of(GATEWAY)
    with pytest.raises(ConnectionRefusedError):
        topology.far.connect(HOST, PORT)


def test_unix_socket(start: Start, topology: Topology, path: Path) -> None:
    """It is there when --ready-fd speaks, its mode is 0600, and it is gone at the end."""
    server = start("--listen", f"unix:{path}", ready=False)
    server.wait_ready()
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert at(topology, path).mac_of(GATEWAY)
    server.process.signal(signal.SIGTERM)
    assert server.process.wait() == 0
    assert not path.exists()


def test_stale_unix_socket_is_replaced(start: Start, topology: Topology, path: Path) -> None:
    """What a killed process left behind is no obstacle."""
    killed = start("--listen", f"unix:{path}", ready=False)
    killed.wait_ready()
    killed.process.signal(signal.SIGKILL)
    killed.process.wait()
    assert path.exists()
    start("--listen", f"unix:{path}")
    assert at(topology, path).mac_of(GATEWAY)


def test_live_unix_socket_is_refused(start: Start, topology: Topology, path: Path) -> None:
    """A second process on the same path ends with an error that names it; the first is not disturbed."""
    start("--listen", f"unix:{path}")
    second = start("--listen", f"unix:{path}", ready=False)
    assert second.process.wait() not in (0, -signal.SIGKILL)
    assert str(path) in second.text()
    assert "Traceback" not in second.text()
    assert at(topology, path).mac_of(GATEWAY)


def test_file_in_the_way_is_refused(start: Start, path: Path) -> None:
    """A file that is no socket stays what it is."""
    path.write_text("precious")
    refused = start("--listen", f"unix:{path}", ready=False)
    assert refused.process.wait() != 0
    assert str(path) in refused.text()
    assert "Traceback" not in refused.text()
    assert path.read_text() == "precious"


def test_port_in_use_is_refused(start: Start, topology: Topology) -> None:
    """A port that somebody else has is an error that names it."""
    topology.host.listener("127.0.0.1", PORT)
    refused = start("--listen", f":{PORT}", ready=False)
    assert refused.process.wait() != 0
    assert str(PORT) in refused.text()
    assert "Traceback" not in refused.text()


def test_inherited_descriptor(start: Start, topology: Topology) -> None:
    """fd:N is a listening socket that somebody else has bound, as systemd does."""
    listener = topology.host.listener("127.0.0.1", PORT)
    os.set_inheritable(listener.fileno(), True)
    start("--listen", f"fd:{listener.fileno()}", pass_fds=(listener.fileno(),))
    assert FrameGuest(topology.host.connect("127.0.0.1", PORT)).mac_of(GATEWAY)


def test_connecting_to_a_qemu_that_listens(start: Start, topology: Topology) -> None:
    """--connect: tried again until somebody listens, and again when the connection has ended."""
    start("--connect", f"127.0.0.1:{PORT}")
    for _ in range(2):
        with topology.host.listener("127.0.0.1", PORT) as listener:
            stream, _ = accept(listener)
        assert FrameGuest(stream).mac_of(GATEWAY)
        stream.close()


# ---------------------------------------------------------------------------------------------------------- ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(
    start: Start, topology: Topology, path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """With a guest attached and connections open it ends at once, with status 0, and leaves no socket file."""
    server = start("--listen", f"unix:{path}", "--listen", f":{PORT}", "hostfwd=tcp:127.0.0.1:2222-:22", ready=False)
    server.wait_ready()
    guest = NetnsGuest("ended", topology.lab, tmp_path)
    try:
        guest.attach(topology.host.connect_unix(path))
        guest.configure(FIRST_LEASE, GATEWAY)
        with topology.host.listener() as listener:
            client = guest.net.connect(GATEWAY, listener.getsockname()[1])
            host, _ = accept(listener)
        exchange([(client, host, b"hello")], close=False)
        server.stop(number)
        guest.wait_detached()
        assert not path.exists()
    finally:
        guest.close()


# --------------------------------------------------------------------------------------------------------- framing


@pytest.mark.parametrize("length", [0, SMALLEST_FRAME - 1, LARGEST_FRAME + 1, 0xFFFFFFFF])
def test_bad_length_closes_the_port(start: Start, topology: Topology, path: Path, length: int) -> None:
    """That port is closed, with one line that names the length; others go on, and a new one starts clean."""
    server = start("--listen", f"unix:{path}")
    bystander, culprit = at(topology, path, 1), at(topology, path, 2)
    assert bystander.mac_of(GATEWAY)
    assert culprit.mac_of(GATEWAY)
    culprit.stream.sendall(struct.pack("!I", length) + b"x" * 100)
    culprit.expect_end()
    # The address may have the digits, too, so they must stand alone.
    wait_for("a line about it", lambda: lines_with(server, length))
    assert bystander.mac_of(GATEWAY)
    assert at(topology, path, 2).mac_of(GATEWAY)
    assert len(lines_with(server, length)) == 1


def lines_with(server: PyslirpProcess, number: int) -> list[str]:
    """Lines of the log in which ``number`` is a word, with or without thousands separators."""
    words = {str(number), f"{number:,}"}
    return [
        line for line in server.text().splitlines() if words & set(line.replace(";", " ").replace(":", " ").split())
    ]


@pytest.mark.parametrize("length", [SMALLEST_FRAME, LARGEST_FRAME])
def test_extreme_lengths_are_frames(start: Start, topology: Topology, path: Path, length: int) -> None:
    """The smallest and the largest frame are passed over, whatever is in them, and the stream goes on."""
    start("--listen", f"unix:{path}")
    guest = at(topology, path)
    guest.send(bytes(length))
    assert guest.mac_of(GATEWAY)


def test_frame_in_single_bytes(start: Start, topology: Topology, path: Path) -> None:
    """However the stream is cut, the frames are the same."""
    start("--listen", f"unix:{path}")
    guest = at(topology, path)
    for byte in framed(arp_request(guest.mac, guest.address, GATEWAY)):
        guest.stream.sendall(bytes([byte]))
    assert guest.answer_for(GATEWAY)


def test_cut_inside_a_frame(start: Start, topology: Topology, path: Path) -> None:
    """A stream that ends inside a frame leaves nothing behind for the next one."""
    start("--listen", f"unix:{path}")
    for cut in (1, 3, 4, 5, 1000):
        guest = at(topology, path)
        guest.stream.sendall(framed(bytes(1500))[:cut])
        guest.stream.close()
        assert at(topology, path).mac_of(GATEWAY)


def test_noise(start: Start, topology: Topology, path: Path) -> None:
    """Frames of noise, a thousand of any length: nobody else notices."""
    start("--listen", f"unix:{path}")
    bystander, culprit = at(topology, path, 1), at(topology, path, 2)
    for seed in range(1000):
        culprit.send(noise(SMALLEST_FRAME + seed * 7 % 1500, seed))
    assert bystander.mac_of(GATEWAY)
    assert culprit.mac_of(GATEWAY)


def test_guest_that_does_not_read(start: Start, topology: Topology, path: Path) -> None:
    """A guest that asks for ever and reads nothing costs a bounded amount of memory, and nobody else anything."""
    server = start("--listen", f"unix:{path}")
    bystander, culprit = at(topology, path, 1), at(topology, path, 2)
    gateway = bystander.mac_of(GATEWAY)
    before = server.process.rss_bytes()
    culprit.stream.settimeout(0.5)
    try:
        for _ in range(100_000):
            culprit.ask(GATEWAY, to=gateway)  # a broadcast would be the bystander's to read as well
    except TimeoutError:
        pass  # held back: just as good
    assert bystander.mac_of(GATEWAY)
    assert server.process.rss_bytes() - before < 16 * MIB


# --------------------------------------------------------------------------------------------------- several guests


def test_guests_reach_one_another(start: Start, topology: Topology, path: Path, tmp_path: Path) -> None:
    """Two guests, one on the unix socket and one on TCP, are neighbours: ping, TCP and the largest datagram."""
    start("--listen", f"unix:{path}", "--listen", f":{PORT}")
    left = NetnsGuest("left", topology.lab, tmp_path)
    right = NetnsGuest("right", topology.lab, tmp_path, mac="52:54:00:12:34:57")
    try:
        left.attach(topology.host.connect_unix(path))
        right.attach(topology.host.connect("127.0.0.1", PORT))
        here, there = take_lease(left)["ip"], take_lease(right)["ip"]
        assert here != there
        left.run(f"busybox ping -c 2 -i 0.2 -W 3 {there}").check()
        with right.net.listener(there) as listener:
            client = left.net.connect(there, listener.getsockname()[1])
            server, seen = accept(listener)
        assert seen[0] == here
        exchange([(client, server, noise(4 * MIB, 1)), (server, client, noise(4 * MIB, 2))])
        one, other = left.net.udp(here), right.net.udp(there)
        one.sendto(noise(65507), other.getsockname())
        assert other.recvfrom(65536) == (noise(65507), one.getsockname())
    finally:
        left.close()
        right.close()


def test_unicast_goes_to_its_guest_alone(start: Start, topology: Topology, path: Path) -> None:
    """A broadcast reaches every guest; what is for one MAC address reaches that one."""
    start("--listen", f"unix:{path}")
    guests = [at(topology, path, number) for number in (1, 2, 3)]
    for guest in guests:
        guest.mac_of(GATEWAY)  # now the switch knows them all
    first, second, third = guests
    private = second.mac + first.mac + b"\x88\xb5" + b"for the second alone".ljust(46)  # local experimental EtherType
    public = b"\xff" * 6 + first.mac + b"\x88\xb5" + b"for everybody".ljust(46)
    first.send(private, public)
    assert experimental(second) == private
    assert experimental(second) == public
    assert experimental(third) == public


def experimental(guest: FrameGuest) -> bytes:
    """The next frame with the local experimental EtherType."""
    while True:
        frame = guest.receive()
        if frame[12:14] == b"\x88\xb5":
            return frame


def test_flows_survive_a_new_stream(start: Start, topology: Topology, path: Path, tmp_path: Path) -> None:
    """A guest whose stream is cut by SIGKILL comes back: its connection goes on, in both directions."""
    start("--listen", f"unix:{path}")
    guest = NetnsGuest("returning", topology.lab, tmp_path)
    try:
        guest.attach(topology.host.connect_unix(path))
        lease = take_lease(guest)
        with topology.host.listener() as listener:
            client = guest.net.connect(GATEWAY, listener.getsockname()[1])
            host, _ = accept(listener)
        exchange([(client, host, noise(MIB)), (host, client, noise(MIB))], close=False)
        guest.detach()
        host.sendall(b"while it was away")
        guest.attach(topology.host.connect_unix(path))
        assert client.recv(64) == b"while it was away"
        exchange([(client, host, noise(MIB)), (host, client, noise(MIB))])
        assert take_lease(guest)["ip"] == lease["ip"]
    finally:
        guest.close()
