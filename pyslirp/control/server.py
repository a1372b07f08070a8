"""``--control unix:PATH``: the run-time commands on a Unix socket, as lines of JSON (protocol.py).

Whoever may connect may open ports of the host: the socket has mode 0600.  A client is a guest's equal in one thing: it
cannot hold up the network.  CLIENTS_MAX may be there at once; a line has at most LINE_BYTES; one command of a client is
carried out in a turn; and while the answer to one has not been taken, nothing more is read from that client.

A client's states, told apart by what is in its buffers:

    READING    nothing is to be sent, and there is no whole line: the next one is waited for
    SENDING    an answer or events are on their way: nothing is read
    ENDING     the client sends no more, or its line was too long: closed once everything is sent

One that has asked for events keeps them coming after it has ended its own side; they wait in a queue of the bus, of
which the oldest are lost when the client is slower than they come, and then it is told how many.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Callable

from pyslirp.config.link import ControlAddress
from pyslirp.control import protocol
from pyslirp.control.command import CommandError, Problem, find, to_json
from pyslirp.control.commands import COMMANDS
from pyslirp.errors import ClosedError, LinkError, SlirpError
from pyslirp.links.unix import UnixSocket
from pyslirp.observe.bus import QUEUE_LIMIT, Subscription
from pyslirp.observe.log import RateLimited
from pyslirp.stack import Stack, Timer

CLIENTS_MAX = 32
READ_BYTES = 65_536
EVENTS_AT_ONCE = 64  #: put into one write
PAUSE_NS = 1_000_000_000  #: after the host had no descriptor for a client

_HINTS = {
    errno.ENOENT: "; the directory must exist",
    errno.EADDRINUSE: "; stop the other process or choose another path",
    errno.EACCES: "; choose a path that you may write to",
    errno.EEXIST: "; choose another path",
}

_log = RateLimited(logging.getLogger("pyslirp.control"))


class ControlSocket:
    """The listening socket.  It is closed with the stack, or before it."""

    def __init__(self, stack: Stack, address: ControlAddress) -> None:
        """Listen at `address`.  Raises LinkError."""
        self._stack = stack
        self._clients: set[_Client] = set()
        self._watch: int | None = None
        self.address = address
        try:
            self._file = UnixSocket.bind(address.path)
        except OSError as error:
            hint = _HINTS.get(error.errno or 0, "")
            raise LinkError(error.errno, f"--control {address}: {error.strerror or error}{hint}") from None
        self._file.socket.setblocking(False)
        self._watch = stack.watch(self._file.socket.fileno(), self._accept)
        stack.at_close(self.close)

    def close(self) -> None:
        """Drop the clients, take the socket file away.  May be called twice."""
        for client in tuple(self._clients):
            client.close()
        if self._watch is not None:
            self._stack.unwatch(self._watch)
            self._watch = None
        self._file.close()

    def _accept(self) -> None:
        try:
            accepted, _ = self._file.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            _log.warning("%s: cannot accept: %s", self.address, error.strerror)
            self._pause()
            return
        accepted.setblocking(False)
        if len(self._clients) < CLIENTS_MAX:
            self._clients.add(_Client(self._stack, accepted, self._clients.discard))
            return
        busy = CommandError(Problem.BUSY, f"{CLIENTS_MAX} clients are connected already", "close one of them")
        with accepted, contextlib.suppress(OSError):
            accepted.send(protocol.write_error(None, busy))

    def _pause(self) -> None:
        """A level-triggered listener would be told of the same client for ever."""
        if self._watch is not None:
            self._stack.unwatch(self._watch)
            self._watch = None
            self._stack.call_later(PAUSE_NS, self._resume)

    def _resume(self) -> None:
        if self._file.socket.fileno() >= 0:
            self._watch = self._stack.watch(self._file.socket.fileno(), self._accept)


class _Client:
    """One connection."""

    def __init__(self, stack: Stack, accepted: socket.socket, gone: Callable[[_Client], None]) -> None:
        self._stack = stack
        self._socket = accepted
        self._gone = gone
        self._incoming = bytearray()
        self._outgoing = b""
        self._ending = False
        self._closed = False
        self._events: Subscription | None = None
        self._told_lost = 0
        self._turn: Timer | None = None
        self._watched: tuple[bool, bool] | None = None  # for reading, for writing
        self._watch = 0
        self._listen()

    def _listen(self) -> None:
        """Watch for what the state is about."""
        wanted = (not self._outgoing and not self._ending and b"\n" not in self._incoming, bool(self._outgoing))
        if wanted == self._watched or self._closed:
            return
        self._unwatch()
        read, write = wanted
        self._watch = self._stack.watch(
            self._socket.fileno(), self._readable if read else None, self._send if write else None, self._ended
        )
        self._watched = wanted

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._stack.unwatch(self._watch)
            self._watched = None

    def close(self) -> None:
        """End the connection.  May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._cancel_turn()
        if self._events is not None:
            self._events.close()
        self._unwatch()
        self._socket.close()
        self._gone(self)

    # -- requests -----------------------------------------------------------------------------------------------------

    def _ended(self) -> None:
        """The client has gone: the line that it has sent before is carried out still, if nothing is to be sent."""
        if self._outgoing or self._ending:
            self.close()
        else:
            self._readable()

    def _readable(self) -> None:
        try:
            piece = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._incoming += piece
        self._ending = not piece
        self._work()

    def _work(self) -> None:
        """Carry out one line, then send what there is; the next one has its turn later."""
        self._cancel_turn()
        if not self._outgoing and (line := self._next_line()) is not None:
            self._outgoing = self._answer(line)
        self._send()

    def _next_line(self) -> bytes | None:
        at = self._incoming.find(b"\n", 0, protocol.LINE_BYTES)
        if at < 0 and len(self._incoming) < protocol.LINE_BYTES:
            return None
        if at < 0:
            self._incoming.clear()
            self._ending = True
            error = CommandError(Problem.REQUEST, f"a line has at most {protocol.LINE_BYTES} bytes")
            self._outgoing = protocol.write_error(None, error)
            return None
        line = bytes(self._incoming[:at])
        del self._incoming[: at + 1]
        return line

    def _answer(self, line: bytes) -> bytes:
        id_: protocol.Id = None
        try:
            request = protocol.read_request(line)
            id_ = request.id
            return protocol.write_return(id_, self._carry_out(request))
        except protocol.RequestError as error:
            return protocol.write_error(error.id, error)
        except CommandError as error:
            return protocol.write_error(id_, error)
        except SlirpError as error:
            return protocol.write_error(id_, CommandError(Problem.GENERIC, str(error)))
        except Exception:  # noqa: BLE001 - the client is not left without an answer, nor the network without its loop
            _log.exception("a command has failed")
            return protocol.write_error(id_, CommandError(Problem.GENERIC, "internal error; the log has it"))

    def _carry_out(self, request: protocol.Request) -> object:
        if request.command == protocol.EVENTS:
            return self._subscribe(request)
        command = find(request.command, COMMANDS)
        return to_json(command.run(self._stack, command.from_json(request.arguments)))

    # -- answers and events -------------------------------------------------------------------------------------------

    def _subscribe(self, request: protocol.Request) -> dict[str, int]:
        if request.arguments:
            raise CommandError(Problem.ARGUMENTS, f"{protocol.EVENTS} takes no arguments")
        if self._events is None:
            self._events = self._stack.bus.subscribe(wake=self._plan)
        return {"limit": QUEUE_LIMIT}

    def _plan(self) -> None:
        """Have a turn soon: after what is being done now, so that many events share one write."""
        if self._turn is None and not self._closed:
            with contextlib.suppress(ClosedError):
                self._turn = self._stack.call_later(0, self._work)

    def _cancel_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _send(self) -> None:
        """Send what there is; then the next, or wait for it."""
        if self._closed:
            return
        if not self._outgoing:
            self._outgoing = self._next_events()
        if self._outgoing:
            try:
                self._outgoing = self._outgoing[self._socket.send(self._outgoing) :]
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
        if not self._outgoing:
            if b"\n" in self._incoming or (self._events is not None and len(self._events)):
                self._plan()
            elif self._ending and self._events is None:
                self.close()
                return
        self._listen()

    def _next_events(self) -> bytes:
        if self._events is None:
            return b""
        lines: list[bytes] = []
        while len(lines) < EVENTS_AT_ONCE and (event := self._events.pop()) is not None:
            lines.append(protocol.write_event(event))
        lost = self._events.dropped - self._told_lost
        if lost:
            self._told_lost = self._events.dropped
            lines.insert(0, protocol.write_lost(lost))
        return b"".join(lines)
