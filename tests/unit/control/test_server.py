"""A control socket, spoken to by clients of every kind: honest, hasty, slow, long-winded and gone."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyslirp._version import __version__
from pyslirp.config.link import ControlAddress
from pyslirp.control import server
from pyslirp.control.protocol import LINE_BYTES
from pyslirp.control.server import CLIENTS_MAX, ControlSocket
from pyslirp.errors import ConfigError, LinkError
from pyslirp.events import LinkDown
from pyslirp.network import Network
from pyslirp.observe.bus import QUEUE_LIMIT
from pyslirp.stack import Stack
from tests.unit.loops.scenario import join, scenario
from tests.unit.loops.wired_guest import Rig

HELP = b'{"command": "version"}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def control(rig: Rig, path: Path) -> ControlSocket:
    return ControlSocket(rig.stack, ControlAddress.parse(f"unix:{path}"))


class Peer:
    """A client, taken turns with by hand."""

    def __init__(self, rig: Rig, path: Path) -> None:
        self.rig = rig
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.setblocking(False)
        self.received = b""
        self.ended = False

    def read(self) -> None:
        try:
            piece = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionResetError:
            piece = b""
        self.received += piece
        self.ended = self.ended or not piece

    def line(self) -> dict[str, Any]:
        """The next answer."""

        def there() -> bool:
            self.read()
            return b"\n" in self.received

        self.rig.until(there)
        line, _, self.received = self.received.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        self.socket.sendall(json.dumps({"id": 1, "command": command, "arguments": arguments}).encode() + b"\n")
        return self.line()

    def end(self) -> None:
        """Wait for the server's end."""

        def over() -> bool:
            self.read()
            return self.ended

        self.rig.until(over)
        self.socket.close()


@pytest.fixture
def peer(rig: Rig, control: ControlSocket, path: Path) -> Iterator[Peer]:
    made = Peer(rig, path)
    yield made
    made.socket.close()


def clients(control: ControlSocket) -> int:
    return len(control._clients)


# -- requests and answers ----------------------------------------------------------------------------------------------


def test_the_socket_is_private_and_goes_with_the_network(path: Path) -> None:
    with Rig() as rig:
        control = ControlSocket(rig.stack, ControlAddress.parse(f"unix:{path}"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        peer = Peer(rig, path)
        rig.until(lambda: clients(control))
    assert not path.exists()
    peer.read()
    assert peer.ended
    control.close()
    peer.socket.close()


def test_a_second_network_is_refused_the_path(rig: Rig, control: ControlSocket, path: Path) -> None:
    with pytest.raises(LinkError, match=f"--control unix:{path}: somebody listens there already; stop the"):
        ControlSocket(rig.stack, control.address)


def test_a_file_that_is_no_socket(rig: Rig, path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(LinkError, match="file exists and it's not unix socket; choose another path"):
        ControlSocket(rig.stack, ControlAddress.parse(f"unix:{path}"))
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="No such file or directory; the directory must exist"):
        ControlSocket(rig.stack, ControlAddress.parse(f"unix:{tmp_path}/none/control"))


def test_a_command_and_its_answer(peer: Peer) -> None:
    answer = peer.ask("hostfwd_add", rule="tcp:127.0.0.1:0-:22")
    assert answer.keys() == {"version", "id", "return"}
    assert answer["return"]["rules"][0]["rule"].startswith("tcp:127.0.0.1:")
    assert len(peer.rig.stack.forwards) == 1


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"help\n", {"class": "InvalidRequest", "desc": "JSON parse error", "hint": "one JSON object a line"}),
        (
            b'{"command": "flow"}\n',
            {"class": "CommandNotFound", "desc": "unknown command: 'flow'", "hint": "did you mean 'flows'?"},
        ),
        (
            b'{"command": "flows", "arguments": {"limit": "1"}}\n',
            {
                "class": "InvalidArguments",
                "desc": "Invalid parameter type for 'limit', expected: integer",
                "hint": "flows takes [LIMIT]",
            },
        ),
        (
            b'{"version": 7, "command": "help"}\n',
            {
                "class": "UnsupportedVersion",
                "desc": "version 7 of the protocol is not spoken here",
                "hint": "this is version 1",
            },
        ),
        (
            b'{"command": "events", "arguments": {"a": 1}}\n',
            {"class": "InvalidArguments", "desc": "events takes no arguments"},
        ),
    ],
)
def test_what_is_wrong_is_told_and_the_connection_goes_on(peer: Peer, line: bytes, error: dict[str, str]) -> None:
    peer.socket.sendall(line)
    assert peer.line() == {"version": 1, "error": error}
    assert peer.ask("version")["return"]["protocol"] == 1


def test_requests_in_one_piece_are_answered_in_their_order(peer: Peer) -> None:
    peer.socket.sendall(b"".join(b'{"id": %d, "command": "version"}\n' % number for number in range(100)))
    assert [peer.line()["id"] for _ in range(100)] == list(range(100))


def test_a_request_may_come_byte_by_byte(peer: Peer) -> None:
    for byte in HELP:
        peer.socket.sendall(bytes([byte]))
        peer.rig.turn()
    assert "return" in peer.line()


def test_who_ends_his_side_gets_his_answers_and_is_let_go(peer: Peer, control: ControlSocket) -> None:
    peer.socket.sendall(HELP * 3)
    peer.socket.shutdown(socket.SHUT_WR)
    for _ in range(3):
        assert "return" in peer.line()
    peer.end()
    assert clients(control) == 0


def test_the_command_of_who_has_gone_is_carried_out(peer: Peer, control: ControlSocket) -> None:
    peer.rig.until(lambda: clients(control))
    peer.socket.sendall(b'{"command": "set restrict", "arguments": {"value": true}}\n')
    peer.socket.close()
    peer.rig.until(lambda: not clients(control))
    assert peer.rig.stack.targets.restrict


def test_half_a_line_of_who_has_gone_is_not(peer: Peer, control: ControlSocket) -> None:
    peer.socket.sendall(b'{"command": "set restrict", "arguments": {"value": true}}')
    peer.rig.until(lambda: clients(control))
    peer.socket.close()
    peer.rig.until(lambda: not clients(control))
    assert not peer.rig.stack.targets.restrict


def test_a_command_with_a_fault_is_answered_and_logged(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Stack, "services", lambda _: 1 / 0)
    assert peer.ask("leases")["error"]["desc"] == "internal error; the log has it"
    assert "ZeroDivisionError" in caplog.text


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [b"", b"\n"])
def test_a_line_that_is_too_long_is_told_and_ends_the_connection(peer: Peer, tail: bytes) -> None:
    rest = memoryview(b"x" * LINE_BYTES + tail)

    def sent() -> bool:
        nonlocal rest
        try:
            rest = rest[peer.socket.send(rest) :]
        except (BlockingIOError, BrokenPipeError):
            return peer.ended
        return not rest

    peer.rig.until(sent)
    assert peer.line()["error"]["desc"] == "a line has at most 65536 bytes"
    peer.end()


def test_more_clients_than_there_may_be_are_told_so(rig: Rig, control: ControlSocket, path: Path) -> None:
    peers = [Peer(rig, path) for _ in range(CLIENTS_MAX)]
    rig.until(lambda: clients(control) == CLIENTS_MAX)
    late = Peer(rig, path)
    assert late.line()["error"] == {
        "class": "TooManyClients",
        "desc": "32 clients are connected already",
        "hint": "close one of them",
    }
    late.end()
    peers.pop().socket.close()
    rig.until(lambda: clients(control) == CLIENTS_MAX - 1)
    assert "return" in peers[0].ask("version")
    for peer in peers:
        peer.socket.close()


def test_who_does_not_read_stops_himself_and_nobody_else(rig: Rig, control: ControlSocket, path: Path) -> None:
    slow, other = Peer(rig, path), Peer(rig, path)
    request = b'{"command": "counters"}\n' * 100

    def is_stuck() -> bool:
        try:
            slow.socket.send(request)
        except BlockingIOError:
            return any(client._outgoing for client in control._clients)
        return False

    rig.until(is_stuck)
    (stuck,) = [client for client in control._clients if client._outgoing]
    assert len(stuck._incoming) <= LINE_BYTES + server.READ_BYTES
    assert len(stuck._outgoing) < 65536, "one answer"
    assert "return" in other.ask("version")
    rig.join()
    assert not select.select([rig.stack.fileno()], [], [], 0)[0], "it is not waited for busily"
    slow.socket.close()
    rig.until(lambda: clients(control) == 1)
    other.socket.close()


def test_without_descriptors_for_clients_it_waits(
    rig: Rig, control: ControlSocket, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Poor:
        def __init__(self, real: socket.socket) -> None:
            self.real = real

        def accept(self) -> None:
            raise OSError(24, "Too many open files")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    monkeypatch.setattr(server, "PAUSE_NS", 10_000_000)
    real = control._file.socket
    control._file.socket = Poor(real)  # type: ignore[assignment]
    peer = Peer(rig, path)
    rig.until(lambda: caplog.messages)
    assert "cannot accept: Too many open files" in caplog.messages[0]
    control._file.socket = real
    assert "return" in peer.ask("version")
    peer.socket.close()


# -- events ------------------------------------------------------------------------------------------------------------


def test_events_come_beside_answers(peer: Peer) -> None:
    assert peer.ask("events")["return"] == {"limit": QUEUE_LIMIT}
    guest = peer.rig.join()
    up, granted = peer.line(), peer.line()
    assert (up["event"], up["data"]["name"]) == ("link_up", "guest1")
    assert (granted["event"], granted["data"]["mac"]) == ("lease_granted", str(guest.mac))
    assert peer.ask("version")["return"]["protocol"] == 1
    assert peer.ask("events")["return"] == {"limit": QUEUE_LIMIT}, "a second time changes nothing"
    assert len(peer.rig.stack.bus) == 1


def test_events_go_on_for_who_has_ended_his_side_until_he_goes(peer: Peer, control: ControlSocket) -> None:
    peer.ask("events")
    peer.socket.shutdown(socket.SHUT_WR)
    peer.rig.turn()
    peer.rig.stack.bus.publish(LinkDown(1, 2, "a", "closed"))
    assert peer.line()["event"] == "link_down"
    peer.socket.close()
    peer.rig.until(lambda: not clients(control))
    assert len(peer.rig.stack.bus) == 0


def test_who_is_too_slow_for_events_loses_the_oldest_and_is_told_how_many(peer: Peer) -> None:
    peer.ask("events")
    name = "x" * 500
    published = 0
    (client,) = peer.rig.stack.bus._subscriptions
    while not client.dropped:
        peer.rig.stack.bus.publish(LinkDown(published, 0, name, "closed"))
        published += 1
        if published % 50 == 0:
            peer.rig.turn()
    dropped = client.dropped
    seen: list[int] = []
    lost = 0
    while not seen or seen[-1] != published - 1:
        line = peer.line()
        if line["event"] == "events_lost":
            lost += line["data"]["count"]
            continue
        seen.append(line["data"]["at"])
    assert (lost, len(seen)) == (dropped, published - dropped)
    assert seen == sorted(seen)


# -- of a Network -------------------------------------------------------------------------------------------------------


@scenario
async def test_each_run_time_command_is_a_method() -> None:
    async with Network(id="n0") as net:
        guest = await join(net)
        listen = net.hostfwd_add("tcp:127.0.0.1:0-:22")
        assert f"127.0.0.1 {listen.port:5d}       10.0.2.15    22" in net.info_usernet()
        assert net.info_network() == "n0: index=0,type=user,net=10.0.2.0,restrict=off\n"
        assert [one.mac for one in net.neighbors()] == [one.mac for one in net.leases()] == [str(guest.mac)]
        assert net.counters()["dhcp.sent.ack"] == 1
        assert net.flows() == ()
        assert net.set_restrict(True) == 0
        assert net.snapshot()["network"]["restrict"] is True
        assert net.version().program == __version__
        assert "hostfwd_add" in [entry.command for entry in net.help()]
        guest.close()


def test_a_control_socket_of_a_network(tmp_path: Path) -> None:
    path = tmp_path / "control"

    @scenario
    async def run() -> None:
        async with Network() as net:
            with pytest.raises(ConfigError, match="not a Unix socket"):
                net.control(str(path))
            net.control(f"unix:{path}")
            with pytest.raises(LinkError, match="somebody listens there already"):
                net.control(f"unix:{path}")
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b'{"command": "hostfwd_add", "arguments": {"rule": "tcp:127.0.0.1:0-:22"}}\n')
            assert b'"rule":"tcp:127.0.0.1:' in await reader.readline()
            assert len(net.snapshot()["forwards"]) == 1
            writer.close()

    run()
    assert not path.exists()


@pytest.mark.parametrize(
    "text", ["user,id=n0,restrict=on", "user,restrict=on,id=n0", '{"type":"user","id":"n0","restrict":true}']
)
def test_a_network_of_a_netdev(text: str) -> None:
    assert Network(text).config == Network(id="n0", restrict=True).config
