"""The client: beside a real control socket, and beside what is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyslirp.config.link import ControlAddress
from pyslirp.config.stack import Config
from pyslirp.control.client import Client
from pyslirp.control.command import CommandError, Problem
from pyslirp.control.server import ControlSocket
from pyslirp.errors import LinkError
from pyslirp.events import LinkDown
from pyslirp.stack import Stack


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def stack(path: Path) -> Iterator[Stack]:
    """A network with a control socket at `path`, driven by a thread of its own."""
    made = Stack(Config())
    ControlSocket(made, ControlAddress.parse(f"unix:{path}"))
    wake, waker = socket.socketpair()
    made.watch(wake.fileno(), made.close)

    def drive() -> None:
        while not made.closed:
            made.process(wait=True)

    thread = threading.Thread(target=drive)
    thread.start()
    yield made
    waker.close()
    thread.join()
    wake.close()


@pytest.mark.usefixtures("stack")
def test_commands_are_answered_one_after_the_other(path: Path) -> None:
    with Client(f"unix:{path}") as client:
        assert client.request("version")["protocol"] == 1
        assert client.request("hostfwd_add", {"rule": "tcp:127.0.0.1:0-:22"})["rules"][0]["rule"].endswith(
            "-10.0.2.15:22"
        )


@pytest.mark.usefixtures("stack")
def test_an_error_is_raised(path: Path) -> None:
    with Client(str(path)) as client:
        with pytest.raises(CommandError, match="unknown command: 'hlep'") as caught:
            client.request("hlep")
        assert (caught.value.problem, caught.value.hint) == (Problem.COMMAND, "did you mean 'help'?")
        assert client.request("help")["commands"]


def test_events_come_until_the_end(stack: Stack, path: Path) -> None:
    with Client(str(path)) as client:
        events = client.events()
        first = threading.Thread(target=lambda: stack.bus.publish(LinkDown(1, 2, "a", "closed")))
        assert client.request("events")
        first.start()
        assert next(events)["data"] == {"at": 1, "port": 2, "name": "a", "reason": "closed"}
        first.join()


def test_no_socket_is_there(path: Path) -> None:
    with pytest.raises(LinkError, match="no such socket; is pyslirp running, with --control unix:PATH"):
        Client(str(path))


def test_nobody_listens_any_more(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(LinkError, match="nobody listens there any more"):
        Client(str(path))


def test_what_is_there_is_no_socket(path: Path) -> None:
    path.write_text("")
    with pytest.raises(LinkError, match="not a socket; give the path that pyslirp was started with"):
        Client(str(path))


def test_a_path_that_is_too_long(path: Path) -> None:
    with pytest.raises(LinkError, match="AF_UNIX path too long"):
        Client(f"{path}{'x' * 200}")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "closed without an answer; is it a control socket"),
        (b"SSH-2.0-x\n", "what answers there is not a control socket of pyslirp"),
        (b"[1]\n", "what answers there is not a control socket of pyslirp"),
        (b'{"QMP": {"version": {}}}\n', "what answers there is not a control socket of pyslirp"),
        (b'{"version": 1, "id": 9, "return": {}}\n', "what answers there is not a control socket of pyslirp"),
        (b'{"version": 1, "id": 1, "return": 3}\n', "what answers there is not a control socket of pyslirp"),
    ],
)
def test_what_answers_is_something_else(path: Path, answer: bytes, told: str) -> None:
    other = beside(path, lambda other: other.sendall(answer))
    with other, Client(str(path)) as client, pytest.raises(LinkError, match=told):
        client.request("version")


def test_a_newer_network_says_so(path: Path) -> None:
    answer = (
        b'{"version": 2, "id": 1, "error": {"class": "UnsupportedVersion", "desc": "version 1 is not spoken here"}}\n'
    )
    with beside(path, lambda other: other.sendall(answer)), Client(str(path)) as client:
        with pytest.raises(CommandError) as caught:
            client.request("version")
        assert caught.value.problem is Problem.VERSION


def test_whoever_does_not_answer_is_not_waited_for(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with Client(str(path), timeout=0.01) as client, pytest.raises(LinkError, match="no answer"):
            client.request("version")


class beside:  # noqa: N801 - reads as a function where it is used
    """Something that is no control socket listens at a path; `do` is done with the first who connects."""

    def __init__(self, path: Path, do: Callable[[socket.socket], object]) -> None:
        self._path, self._do = path, do

    def __enter__(self) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self._path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        accepted, _ = self._listening.accept()
        with accepted:
            accepted.recv(1 << 16)
            self._do(accepted)

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listening.close()
