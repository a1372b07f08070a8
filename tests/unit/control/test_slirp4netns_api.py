"""slirp4netns's API socket, spoken to as its clients do."""

from __future__ import annotations

import json
import select
import socket
import stat
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.config.stack import Config
from pyslirp.control import slirp4netns_api
from pyslirp.control.slirp4netns_api import CLIENTS_MAX, REQUEST_BYTES, ApiSocket, Commands
from pyslirp.errors import LinkError
from pyslirp.stack import Stack

GUEST = IPv4Address("10.0.2.100")
PATIENCE_MS = 10_000


@pytest.fixture
def stack() -> Iterator[Stack]:
    made = Stack(Config())
    yield made
    made.close()


@pytest.fixture
def commands(stack: Stack) -> Commands:
    return Commands(stack, GUEST)


@pytest.fixture
def said() -> list[str]:
    """Lines of the log."""
    return []


@pytest.fixture
def api(stack: Stack, tmp_path: Path, said: list[str]) -> Iterator[ApiSocket]:
    made = ApiSocket(stack, str(tmp_path / "api"), GUEST, said.append)
    yield made
    made.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def add(**arguments: object) -> bytes:
    return json.dumps({"execute": "add_hostfwd", "arguments": arguments}).encode()


def rule(port: int, **others: object) -> bytes:
    return add(**({"proto": "tcp", "host_addr": "127.0.0.1", "host_port": port, "guest_port": 80} | others))


def description(answer: dict[str, Any]) -> str:
    assert answer.keys() == {"error"}
    text: str = answer["error"]["desc"]
    return text


# -- what may be asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (b"badjson", "cannot parse JSON"),
        (b"", "cannot parse JSON"),
        (b"\xff", "cannot parse JSON"),
        (b"[" * 4000, "cannot parse JSON"),
        (b"42", "json_object() failed"),
        (b"[]", "json_object() failed"),
        (b'{"unexpectedjson": 42}', "no execute found"),
        (b'{"execute": 42}', "no execute found"),
        (b'{"execute": "bad"}', "unknown execute"),
        (b'{"execute": "add_hostfwd"}', "add_hostfwd: bad arguments.proto"),
        (b'{"execute": "add_hostfwd", "arguments": 7}', "add_hostfwd: bad arguments.proto"),
        (rule(80, proto="bad"), "add_hostfwd: bad arguments.proto"),
        (rule(80, proto=["tcp"]), "add_hostfwd: bad arguments.proto"),
        (rule(80, host_addr="::1"), "add_hostfwd: bad arguments.host_addr"),
        (rule(0), "add_hostfwd: bad arguments.host_port"),
        (rule(65536), "add_hostfwd: bad arguments.host_port"),
        (rule(-1), "add_hostfwd: bad arguments.host_port"),
        (add(proto="tcp", host_port="80", guest_port=80), "add_hostfwd: bad arguments.host_port"),
        (add(proto="tcp", host_port=True, guest_port=80), "add_hostfwd: bad arguments.host_port"),
        (rule(80, guest_addr="x"), "add_hostfwd: bad arguments.guest_addr"),
        (rule(80, guest_port=0), "add_hostfwd: bad arguments.guest_port"),
        (rule(80, host_addr="192.0.2.1"), "add_hostfwd: slirp_add_hostfwd failed"),
        (rule(80, guest_addr="192.0.2.1"), "add_hostfwd: slirp_add_hostfwd failed"),
        (b'{"execute": "remove_hostfwd"}', "remove_hostfwd: bad arguments.id"),
        (b'{"execute": "remove_hostfwd", "arguments": {"id": 1}}', "remove_hostfwd: bad arguments.id"),
        (b'{"execute": "remove_hostfwd", "arguments": {"id": [1]}}', "remove_hostfwd: bad arguments.id"),
    ],
)
def test_what_cannot_be_done(commands: Commands, request_: bytes, error: str) -> None:
    assert description(commands.answer(request_)) == f"bad request: {error}"


@pytest.mark.parametrize("rest", [b"", b"\n", b"\0", b" and so on", b'{"execute": "bad"}'])
def test_what_follows_a_request_is_not_looked_at(commands: Commands, rest: bytes) -> None:
    assert commands.answer(b' \t\r\n{"execute": "list_hostfwd"}' + rest)["entries"] == []


def test_the_life_of_a_rule(stack: Stack, commands: Commands) -> None:
    port = free_port()
    assert commands.answer(rule(port)) == {"return": {"id": 1}}
    assert description(commands.answer(rule(port))) == "bad request: add_hostfwd: slirp_add_hostfwd failed"
    assert commands.answer(rule(port, proto="udp", guest_addr="10.0.2.16", guest_port=53.0)) == {"return": {"id": 2}}
    first = {"id": 1, "proto": "tcp", "host_addr": "127.0.0.1", "host_port": port, "guest_addr": "10.0.2.100"}
    second = first | {"id": 2, "proto": "udp", "guest_addr": "10.0.2.16", "guest_port": 53}
    entries = [first | {"guest_port": 80}, second]
    assert commands.answer(b'{"execute": "list_hostfwd"}') == {"entries": entries, "return": {"entries": entries}}
    assert commands.answer(b'{"execute": "remove_hostfwd", "arguments": {"id": 1}}') == {"return": {}}
    assert [str(forward.rule) for forward in stack.forwards] == [f"udp:127.0.0.1:{port}-10.0.2.16:53"]
    assert commands.answer(rule(port)) == {"return": {"id": 3}}


def test_a_rule_that_somebody_else_has_removed(stack: Stack, commands: Commands) -> None:
    port = free_port()
    commands.answer(rule(port))
    for forward in stack.forwards:
        stack.forwards.remove(forward.rule.key)
    answer = commands.answer(b'{"execute": "remove_hostfwd", "arguments": {"id": 1}}')
    assert description(answer) == "bad request: remove_hostfwd: slirp_remove_hostfwd failed"


@given(st.binary(max_size=100))
def test_no_request_is_answered_by_a_mistake_of_ours(request_: bytes) -> None:
    stack = Stack(Config())
    assert description(Commands(stack, GUEST).answer(request_)).startswith("bad request: ")
    stack.close()


# -- the socket -----------------------------------------------------------------------------------------------------------


def ask(stack: Stack, api: ApiSocket, *pieces: bytes, hang_up: bool = False) -> bytes:
    """What a client gets that sends these pieces, one after another as they are taken."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(api._path))
        client.setblocking(False)
        for piece in pieces:
            client.send(piece)
            stack.process()
        if hang_up:
            client.shutdown(socket.SHUT_WR)
        return answer_to(stack, client)


def answer_to(stack: Stack, client: socket.socket) -> bytes:
    answer = b""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    poll.register(stack.fileno(), select.POLLIN)
    while poll.poll(PATIENCE_MS):
        stack.process()
        try:
            piece = client.recv(65536)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            return answer
        if not piece:
            return answer
        answer += piece
    raise AssertionError("no answer")


def test_one_request_and_one_answer(stack: Stack, api: ApiSocket, said: list[str]) -> None:
    """Byte for byte, and in the log, as slirp4netns has it."""
    assert ask(stack, api, b'{"execute": "list_hostfwd"}\n') == b'{"entries":[],"return":{"entries":[]}}'
    assert said == ["apifd event", 'api_handler: got request: {"execute": "list_hostfwd"}']
    assert stack.engine.snapshot()["watches"] == 1  # the listening socket alone


def test_a_request_in_pieces(stack: Stack, api: ApiSocket) -> None:
    """slirp4netns would take the first piece for bad JSON."""
    answer = ask(stack, api, b'{"execute"', b': "list', b'_hostfwd"}')
    assert json.loads(answer)["entries"] == []


@pytest.mark.parametrize("hang_up", [False, True])
def test_what_never_becomes_whole(stack: Stack, api: ApiSocket, hang_up: bool) -> None:
    answer = ask(stack, api, b'{"execute":', hang_up=hang_up)
    assert description(json.loads(answer)) == "bad request: cannot parse JSON"


@pytest.mark.parametrize(("size", "error"), [(4095, "json_object() failed"), (4096, "too large message")])
def test_how_large_a_message_may_be(stack: Stack, api: ApiSocket, said: list[str], size: int, error: str) -> None:
    answer = ask(stack, api, b"[]".ljust(size))
    assert description(json.loads(answer)) == f"bad request: {error}"
    assert ("api_handler: too large message (>= 4096 bytes)" in said) == (size == REQUEST_BYTES)


def test_the_log_shows_nothing_that_a_terminal_would_obey(stack: Stack, api: ApiSocket, said: list[str]) -> None:
    ask(stack, api, b'["\x1b[2J", "\xff"] \x00 and so on', hang_up=True)
    assert said[1] == r'api_handler: got request: ["\x1b[2J", "\xff"] '


def test_an_answer_that_does_not_fit_at_once(stack: Stack, api: ApiSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    long = {"return": {"entries": ["x" * 1_000_000]}}
    monkeypatch.setattr(api.commands, "answer", lambda _: long)
    assert json.loads(ask(stack, api, b"{}")) == long


def test_a_client_that_says_nothing_is_let_go(stack: Stack, api: ApiSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slirp4netns_api, "LIFE_NS", 1_000_000)
    assert ask(stack, api) == b""


def test_so_many_clients_at_once(stack: Stack, api: ApiSocket) -> None:
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(CLIENTS_MAX + 1)]
    for client in clients:
        client.connect(str(api._path))
        stack.process()
    clients[-1].setblocking(False)
    assert answer_to(stack, clients[-1]) == b""
    clients[0].setblocking(False)
    clients[0].send(b"{}")
    assert b"no execute found" in answer_to(stack, clients[0])
    for client in clients:
        client.close()


def test_the_file_is_ours_and_goes(stack: Stack, tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "api"
    path.write_text("left behind")
    api = ApiSocket(stack, str(path), GUEST, said.append)
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert path.stat().st_mode & 0o777 == 0o600
    api.close()
    assert not path.exists()


def test_closing_after_the_stack_and_with_clients(stack: Stack, tmp_path: Path, said: list[str]) -> None:
    api = ApiSocket(stack, str(tmp_path / "api"), GUEST, said.append)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(tmp_path / "api"))
        stack.process()
        stack.close()
        api.close()
        assert client.recv(1) == b""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("x" * 108, "the specified API socket path is too long (>= 108)"),
        ("/no/such/folder/api", "--api-socket /no/such/folder/api: No such file or directory"),
    ],
)
def test_where_it_cannot_be(stack: Stack, path: str, text: str, said: list[str]) -> None:
    with pytest.raises(LinkError) as caught:
        ApiSocket(stack, path, GUEST, said.append)
    assert caught.value.args[1] == text
