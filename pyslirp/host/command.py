"""Commands that answer guests (``guestfwd=...-cmd:``, smbd): one process for each connection.

A command's standard input and output are one end of a socket pair, whose other end is the connection's target in the
engine; what it says on standard error goes to the log.  It is started from a list of words, never through a shell, as
the leader of a session of its own, with no other descriptor of ours.  What a guest sends reaches it as bytes of its
input and in no other way.

A command whose connection has ended reads the end of its input; one that does not end of itself is asked to
(SIGTERM, the whole session's process group) and then made to (SIGKILL).  It is reaped when its pidfd says that it has
ended, without a wait and without SIGCHLD, which belongs to the program that we are a part of.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any, Protocol

from pyslirp.host.upstream import Watcher

if TYPE_CHECKING:
    from subprocess import Popen

MAX_COMMANDS = 64  #: running at once
GRACE_NS = 2_000_000_000  #: for a command to end after its connection has; and again after SIGTERM
CLOSE_PATIENCE_MS = 500  #: for all of them, when the network is closed
LINE_BYTES = 4096  #: of standard error, told as one line of the log
READ_BYTES = 65_536


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """It will not be made."""


CallLater = Callable[[int, Callable[[], None]], Timer]
Log = logging.LoggerAdapter[logging.Logger]  #: limited, for a guest may be why a command complains


class Commands:
    """The commands of one network."""

    def __init__(self, watcher: Watcher, call_later: CallLater, log: Log) -> None:
        self._watcher = watcher
        self._call_later = call_later
        self._log = log
        self._running: set[Command] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, arguments: Sequence[str], *, tcp: bool = False) -> tuple[socket.socket, Command]:
        """Start a command; our end of its input and output, non-blocking, and the command.

        tcp: they are a TCP connection over the loopback, for one that asks who is at the other end.  Raises OSError where
        it cannot be started, EAGAIN where MAX_COMMANDS run.
        """
        if len(self._running) >= MAX_COMMANDS:
            raise OSError(errno.EAGAIN, f"{MAX_COMMANDS} commands are running")
        ours, theirs = _tcp_pair() if tcp else socket.socketpair()
        try:
            with theirs:
                command = Command(arguments, theirs, self._watcher, self._call_later, self._log)
                command.ended = self._running.discard
            ours.setblocking(False)
        except BaseException:
            ours.close()
            raise
        self._running.add(command)
        return ours, command

    def close(self) -> None:
        """End all of them; returns when they have ended, after CLOSE_PATIENCE_MS at the most."""
        running = tuple(self._running)
        for command in running:
            command.signal(signal.SIGTERM)
        poller = select.poll()
        waiting = {command.pidfd for command in running}
        for pidfd in waiting:
            poller.register(pidfd, select.POLLIN)
        while waiting and (ended := poller.poll(CLOSE_PATIENCE_MS)):
            for pidfd, _ in ended:
                poller.unregister(pidfd)
                waiting.discard(pidfd)
        for command in running:
            command.kill()


class Command:
    """One process."""

    def __init__(
        self,
        arguments: Sequence[str],
        end: socket.socket,
        watcher: Watcher,
        call_later: CallLater,
        log: Log,
    ) -> None:
        """Start it with `end` as its input and output.  Raises OSError."""
        self.name = os.path.basename(arguments[0])  # noqa: PTH119 - of a text, which may be no path
        self._watcher = watcher
        self._call_later = call_later
        self._log = log
        self.ended: Callable[[Command], None] = lambda _: None  #: told when it has been reaped
        self._timer: Timer | None = None
        self._line = bytearray()
        self.pidfd = -1
        self._process = _start(arguments, end)
        assert self._process.stderr is not None, "a pipe was asked for"
        self._errors: IO[bytes] = self._process.stderr
        try:
            os.set_blocking(self._errors.fileno(), False)
            self.pidfd = os.pidfd_open(self._process.pid)
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._errors.close()
            raise
        self._error_token: Any = watcher.watch(self._errors.fileno(), self._read_errors)
        self._token: Any = watcher.watch(self.pidfd, self._reap)

    @property
    def pid(self) -> int:
        """Process, session and process group."""
        return self._process.pid

    def hang_up(self) -> None:
        """Its connection has ended: it has some time to end too."""
        if self._process.returncode is None:
            self._timer = self._call_later(GRACE_NS, self._terminate)

    def signal(self, number: int) -> None:
        """Send a signal to its process group."""
        if self._process.returncode is None:  # or the number may be another's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it now, and forget it."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._forget()

    def _terminate(self) -> None:
        self.signal(signal.SIGTERM)
        self._timer = self._call_later(GRACE_NS, lambda: self.signal(signal.SIGKILL))

    def _reap(self) -> None:
        status = self._process.poll()
        if status is None:
            return
        if status:
            how = f"exit status {status}" if status > 0 else f"signal {-status}"
            self._log.info("%s has ended: %s", self.name, how)
        self._read_errors()
        self._forget()

    def _forget(self) -> None:
        if self._token is None:
            return
        self._watcher.unwatch(self._token)
        self._token = None
        os.close(self.pidfd)
        self._close_errors()
        if self._timer is not None:
            self._timer.cancel()
        self.ended(self)

    def _read_errors(self) -> None:
        """What it says on standard error, line by line."""
        if self._errors.closed:
            return
        try:
            data = os.read(self._errors.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        self._line += data
        *lines, rest = self._line.split(b"\n")
        self._line = rest
        if len(rest) > LINE_BYTES or not data:
            lines.append(rest)
            self._line = bytearray()
        for line in lines:
            if line:
                self._log.info("%s: %s", self.name, line[:LINE_BYTES].decode("utf-8", "replace"))
        if not data:
            self._close_errors()

    def _close_errors(self) -> None:
        if not self._errors.closed:
            self._watcher.unwatch(self._error_token)
            self._errors.close()


def _start(arguments: Sequence[str], end: socket.socket) -> Popen[bytes]:
    from subprocess import PIPE, Popen  # noqa: PLC0415 (only who has commands pays for it)

    fd = end.fileno()
    return Popen(list(arguments), stdin=fd, stdout=fd, stderr=PIPE, bufsize=0, start_new_session=True)


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets; whoever else finds the port while it listens is turned away."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        ours = socket.socket()
        try:
            ours.connect(listener.getsockname())
            while True:
                theirs, client = listener.accept()
                if client == ours.getsockname():
                    return ours, theirs
                theirs.close()
        except BaseException:
            ours.close()
            raise
