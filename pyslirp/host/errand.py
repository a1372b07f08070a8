"""An errand: a forked child that goes somewhere else, makes a descriptor there and hands it back (unix(7), SCM_RIGHTS).

A process cannot look into another network namespace without moving there, and cannot always come back; so a child
goes.  It runs while we go on; `fetch` waits for what it brings.  A child with something left to do (`then`, as a rule to
become another program) waits until `go_on`.

The child is a fork, not a new interpreter: it is there at once.  So an errand is begun from a process without other
threads, whose locks the child would inherit as they are.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from pyslirp.errors import LinkError

ANSWER_BYTES = 65_536  #: of an error's text
_DONE, _FAILED, _GO = b"+", b"-", b"!"


class Errand:
    """A child on its way."""

    def __init__(self, make: Callable[[], int], then: Callable[[], None] | None = None) -> None:
        """Fork; the child calls `make`, whose descriptor `fetch` returns, and after `go_on` it calls `then`."""
        self._answer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._answer.close()
            _run(theirs, make, then)
        theirs.close()
        self._reaped: int | None = None

    def fetch(self) -> int:
        """The descriptor that the child has made, close-on-exec.  Raises LinkError with what stood in its way."""
        message, descriptors, _, _ = socket.recv_fds(self._answer, ANSWER_BYTES, 1)
        if message != _DONE or not descriptors:
            self._fail(message)
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]

    def go_on(self) -> None:
        """Let the child go on with `then`; returns once it has become another program, or has ended.

        Raises LinkError with what stood in its way.
        """
        self._answer.send(_GO)
        if message := self._answer.recv(ANSWER_BYTES):
            self._fail(message)
        self._answer.close()

    def finish(self) -> None:
        """Let a child without `then` end.  May be called twice."""
        self._answer.close()
        self.wait()

    def wait(self, *, block: bool = True) -> int | None:
        """How the child has ended, as a shell has it (128 and the signal's number); None while it runs."""
        if self._reaped is None:
            pid, status = os.waitpid(self.pid, 0 if block else os.WNOHANG)
            if pid == 0:
                return None
            code = os.waitstatus_to_exitcode(status)
            self._reaped = code if code >= 0 else 128 - code
        return self._reaped

    def signal(self, number: int) -> None:
        """Send the child a signal, if it has not been seen to end."""
        if self._reaped is None:
            os.kill(self.pid, number)

    def _fail(self, message: bytes) -> NoReturn:
        self._answer.close()
        status = self.wait()
        if message[:1] != _FAILED:
            raise LinkError(None, f"the child process has ended ({status}) without a word")
        number, step, text = message[1:].decode(errors="surrogateescape").split("\0", 2)
        raise LinkError(int(number) if number else None, text, step)


def _run(answer: socket.socket, make: Callable[[], int], then: Callable[[], None] | None) -> NoReturn:
    """The child's life."""
    status = 1
    try:
        socket.send_fds(answer, [_DONE], [make()])
        if then is not None and answer.recv(1) == _GO:
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, which another program would inherit
                signal.signal(number, signal.SIG_DFL)
            then()
        status = 0
    except OSError as error:
        if isinstance(error, LinkError):
            _tell(answer, error.errno, error.args[1], error.step)
        else:
            _tell(answer, error.errno, _text(error))
    except BaseException as error:  # noqa: BLE001 - nothing may get past this function: we are a copy of our parent
        _tell(answer, None, _story(error))
    finally:
        os._exit(status)


def _story(error: BaseException) -> str:
    try:
        import traceback  # noqa: PLC0415 - see pyslirp/taps.py
    except ImportError:  # where the child has gone, Python's files may be out of its reach
        return repr(error)
    return "".join(traceback.format_exception(error))


def _text(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)


def _tell(answer: socket.socket, number: int | None, text: str, step: str = "") -> None:
    parts = ("" if number is None else str(number), step, text)
    message = _FAILED + "\0".join(parts).encode(errors="surrogateescape")
    answer.send(message[:ANSWER_BYTES])
