"""A client of a control socket, for programs that wait: ``pyslirp ctl`` and scripts.

::

    with Client("/run/user/1000/pyslirp.control") as client:
        client.request("hostfwd_add", {"rule": "tcp::2222-:22"})
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pyslirp.control.command import CommandError, Problem
from pyslirp.control.protocol import EVENTS, Request, write_request
from pyslirp.errors import LinkError

TIMEOUT_SECONDS = 10.0  #: to connect and for each answer
ANSWER_BYTES = 1 << 26  #: a longer line is no answer of ours

_HINTS = {
    errno.ENOENT: "no such socket; is pyslirp running, with --control unix:PATH?",
    errno.ECONNREFUSED: "nobody listens there any more; start pyslirp with --control unix:PATH",
    errno.EACCES: "the socket belongs to another user",
    errno.EPROTOTYPE: "not a control socket",
    errno.ENOTSOCK: "not a socket; give the path that pyslirp was started with: --control unix:PATH",
}


class Client:
    """A connection to a control socket.  Raises LinkError whenever nobody answers in the way of one."""

    def __init__(self, path: str, timeout: float | None = TIMEOUT_SECONDS) -> None:
        """Connect to the socket at `path`, which may begin with ``unix:``."""
        self._path = path.removeprefix("unix:")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._buffer = bytearray()
        self._number = 0
        self._early: list[dict[str, Any]] = []
        try:
            self._socket.connect(self._path)
        except OSError as error:
            self._socket.close()
            raise self._failure(error) from None

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def request(self, command: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The response of a command; raises CommandError where it has failed."""
        self._number += 1
        try:
            self._socket.sendall(write_request(Request(command, dict(arguments or {}), self._number)))
        except BrokenPipeError:
            pass  # it may have said why
        except OSError as error:
            raise self._failure(error) from None
        while "event" in (answer := self._answer()):
            self._early.append(answer)
        if isinstance(told := answer.get("error"), dict):
            raise _error_of(told)
        if answer.get("id") != self._number or not isinstance(found := answer.get("return"), dict):
            raise self._strange()
        return found

    def events(self) -> Iterator[dict[str, Any]]:
        """Events from now on, as they come: ``{"event": NAME, "data": {...}}``; ends with the network."""
        self.request(EVENTS)
        self._socket.settimeout(None)
        while True:
            yield from self._early
            self._early.clear()
            line = self._line()
            if line is None:
                return
            yield self._read(line)

    def _answer(self) -> dict[str, Any]:
        line = self._line()
        if line is None:
            raise LinkError(None, f"{self._path}: closed without an answer; is it a control socket?")
        return self._read(line)

    def _line(self) -> bytes | None:
        """The next line; None at the end."""
        searched = 0
        while (at := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > ANSWER_BYTES:
                raise self._strange()
            try:
                piece = self._socket.recv(1 << 16)
            except OSError as error:
                raise self._failure(error) from None
            if not piece:
                return None
            self._buffer += piece
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        return line

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except ValueError:
            raise self._strange() from None
        if not isinstance(found, dict) or "version" not in found:
            raise self._strange()
        return found

    def _strange(self) -> LinkError:
        return LinkError(None, f"{self._path}: what answers there is not a control socket of pyslirp")

    def _failure(self, error: OSError) -> LinkError:
        if isinstance(error, TimeoutError):
            return LinkError(errno.ETIMEDOUT, f"{self._path}: no answer; is it a control socket of pyslirp?")
        if error.errno == errno.ECONNREFUSED and not Path(self._path).is_socket():  # Linux refuses any file alike
            return LinkError(errno.ENOTSOCK, f"{self._path}: {_HINTS[errno.ENOTSOCK]}")
        reason = _HINTS.get(error.errno or 0) or (os.strerror(error.errno) if error.errno else str(error))
        return LinkError(error.errno, f"{self._path}: {reason}")


def _error_of(told: Mapping[str, Any]) -> CommandError:
    known = {problem.value: problem for problem in Problem}
    problem = known.get(str(told.get("class")), Problem.GENERIC)
    return CommandError(problem, str(told.get("desc", "")), str(told.get("hint", "")))
