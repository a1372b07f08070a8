"""Commands that answer guests, with real processes."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from pyslirp.host import command as module
from pyslirp.host.command import GRACE_NS, LINE_BYTES, Command, Commands
from pyslirp.observe.log import RateLimited
from tests.unit.loops.wired_guest import descriptors

PATIENCE_MS = 20_000


class FakeTimer:
    def __init__(self, delay_ns: int, callback: Callable[[], None]) -> None:
        self.delay_ns, self.callback, self.cancelled = delay_ns, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Watches descriptors with poll; time passes when the test says so."""

    def __init__(self) -> None:
        self.watched: dict[int, Callable[[], None]] = {}
        self.timers: list[FakeTimer] = []
        self.commands = Commands(self, self.call_later, RateLimited(logging.getLogger("pyslirp.guestfwd")))

    def watch(self, fd: int, readable: Callable[[], None], writable: Callable[[], None] | None = None) -> int:
        assert writable is None
        self.watched[fd] = readable
        return fd

    def unwatch(self, token: int) -> None:
        del self.watched[token]

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(delay_ns, callback))
        return self.timers[-1]

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            poller = select.poll()
            for fd in self.watched:
                poller.register(fd, select.POLLIN)
            ready = poller.poll(PATIENCE_MS)
            assert ready, "it does not come to that"
            for fd, _ in ready:
                if fd in self.watched:
                    self.watched[fd]()


@pytest.fixture
def loop(caplog: pytest.LogCaptureFixture) -> Generator[Loop]:
    caplog.set_level(logging.INFO)
    before = descriptors()
    made = Loop()
    yield made
    made.commands.close()
    assert not made.watched
    assert descriptors() == before


def started(loop: Loop, *arguments: str) -> tuple[socket.socket, Command]:
    end, command = loop.commands.start(arguments)
    end.setblocking(True)
    end.settimeout(PATIENCE_MS / 1000)
    return end, command


def received(end: socket.socket) -> bytes:
    data = b""
    while piece := end.recv(65536):
        data += piece
    return data


def test_a_command_answers_on_its_input(loop: Loop) -> None:
    end, _ = started(loop, "cat")
    with end:
        end.sendall(b"hello")
        end.shutdown(socket.SHUT_WR)
        assert received(end) == b"hello"
    loop.until(lambda: not loop.commands)


def test_a_command_may_have_a_tcp_connection(loop: Loop) -> None:
    """smbd asks for its client's address, which a unix socket has not."""
    end, _ = loop.commands.start(["cat"], tcp=True)
    with end:
        assert end.family == socket.AF_INET
        assert end.getpeername()[0] == "127.0.0.1"
        end.settimeout(PATIENCE_MS / 1000)
        end.sendall(b"hello")
        end.shutdown(socket.SHUT_WR)
        assert received(end) == b"hello"
    loop.until(lambda: not loop.commands)


def test_no_shell_sees_its_words(loop: Loop) -> None:
    end, _ = started(loop, "printf", "%s", "$(id); `id` | cat > x")
    with end:
        assert received(end) == b"$(id); `id` | cat > x"


def test_it_leads_a_session_of_its_own_and_has_no_other_descriptor(loop: Loop) -> None:
    other = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(other, True)
    end, command = started(loop, "sh", "-c", "ls -l /proc/self/fd; read line")
    with end:
        assert os.getsid(command.pid) == command.pid
        listing = b""
        while b" 3 -> " not in listing:
            listing += end.recv(65536)
        end.sendall(b"\n")
        listing += received(end)
    os.close(other)
    entries = [line.split(" -> ") for line in listing.decode().splitlines() if " -> " in line]
    assert [what for name, what in entries if what == "/dev/null"] == []
    assert {name.split()[-1] for name, _ in entries} == {"0", "1", "2", "3"}  # 3 is the folder itself


def test_what_it_complains_of_goes_to_the_log(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    end, _ = started(loop, "sh", "-c", "printf 'one\\n\\ntwo\\nthree' >&2; exit 3")
    with end:
        assert received(end) == b""
    loop.until(lambda: not loop.commands)
    assert [record.getMessage() for record in caplog.records if "ended" not in record.getMessage()] == [
        "sh: one",
        "sh: two",
        "sh: three",
    ]
    assert "sh has ended: exit status 3" in caplog.text


def test_a_long_line_is_told_in_part(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    end, _ = started(loop, "sh", "-c", f"head -c {3 * LINE_BYTES} /dev/zero | tr '\\0' x >&2")
    with end:
        received(end)
    loop.until(lambda: not loop.commands)
    assert caplog.records
    assert all(len(record.getMessage()) <= LINE_BYTES + 4 for record in caplog.records)


def test_one_that_does_not_exist(loop: Loop) -> None:
    with pytest.raises(FileNotFoundError):
        loop.commands.start(["/nonexistent/program"])
    assert len(loop.commands) == 0


def test_there_is_a_limit(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COMMANDS", 2)
    with contextlib.ExitStack() as ends:
        for _ in range(2):
            ends.enter_context(started(loop, "cat")[0])
        with pytest.raises(BlockingIOError, match="2 commands are running"):
            loop.commands.start(["cat"])
    loop.until(lambda: not loop.commands)
    started(loop, "true")[0].close()


def test_one_whose_connection_has_ended_is_asked_and_then_made_to_end(loop: Loop) -> None:
    end, command = started(loop, "sh", "-c", "trap '' TERM; echo ready; while :; do read line || sleep 1000; done")
    with end:
        assert end.recv(10) == b"ready\n"
    command.hang_up()
    (grace,) = loop.timers
    assert grace.delay_ns == GRACE_NS
    grace.callback()
    assert len(loop.commands) == 1  # it has ignored that
    loop.timers[1].callback()
    loop.until(lambda: not loop.commands)


def test_one_that_has_ended_is_left_alone(loop: Loop) -> None:
    end, command = started(loop, "cat")
    end.close()
    command.hang_up()
    loop.until(lambda: not loop.commands)
    assert all(timer.cancelled for timer in loop.timers)
    command.signal(signal.SIGKILL)
    command.hang_up()
    assert len(loop.timers) == 1


def test_closing_ends_them_with_their_children(loop: Loop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "CLOSE_PATIENCE_MS", 50)
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    script = f"trap '' TERM; sleep 1000 > {pipe} & echo ready; wait"
    end, _ = started(loop, "sh", "-c", script)
    with end, pipe.open("rb") as alive:
        assert end.recv(10) == b"ready\n"
        loop.commands.close()
        assert alive.read() == b""  # the last writer has gone
    assert len(loop.commands) == 0
