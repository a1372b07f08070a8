"""slirp4netns's API socket (api.c): JSON over a unix stream socket, one request and one answer for each connection.

    {"execute": "add_hostfwd", "arguments": {"proto": "tcp", "host_addr": "0.0.0.0", "host_port": 8080,
                                             "guest_addr": "10.0.2.100", "guest_port": 80}}
                                            -> {"return": {"id": 1}}
    {"execute": "list_hostfwd"}             -> {"entries": [...], "return": {"entries": [...]}}
    {"execute": "remove_hostfwd", "arguments": {"id": 1}}    -> {"return": {}}
    anything else                           -> {"error": {"desc": "bad request: ..."}}

Of its two shapes of list_hostfwd slirp4netns documents the second and sends the first; both are sent here.

A request has fewer than REQUEST_BYTES.  slirp4netns wants it in one piece; here what is not whole JSON is waited for
until WHOLE_NS have passed without more of it, or the client has ended its side.  Clients are bounded in number, and none
holds up the network.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pyslirp.config.forward import HostForward
from pyslirp.errors import ForwardError, LinkError, SlirpError
from pyslirp.stack import Stack, Timer

REQUEST_BYTES = 4096
PATH_BYTES = 108  #: of sun_path, NUL and all (unix(7))
WHOLE_NS = 100_000_000  #: after its last byte, text that is no JSON is taken for bad
LIFE_NS = 10_000_000_000  #: of a client, from beginning to end
CLIENTS_MAX = 64
BACKLOG = 16
NOTHING_HOST = "0.0.0.0"

_DECODER = json.JSONDecoder()
_JSON_SPACE = " \t\r\n"


class RequestError(SlirpError):
    """What the client is told."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule that was added here."""

    number: int
    rule: HostForward

    def as_json(self) -> dict[str, Any]:
        """As list_hostfwd shows it."""
        return {
            "id": self.number,
            "proto": self.rule.protocol,
            "host_addr": str(self.rule.host),
            "host_port": self.rule.host_port,
            "guest_addr": str(self.rule.guest),
            "guest_port": self.rule.guest_port,
        }


class Commands:
    """What may be asked for."""

    def __init__(self, stack: Stack, guest: IPv4Address) -> None:
        """`guest`: to whom a rule leads that names nobody."""
        self._stack = stack
        self._guest = guest
        self._entries: dict[int, Entry] = {}
        self._next_number = 1
        self._verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "add_hostfwd": self._add,
            "list_hostfwd": self._list,
            "remove_hostfwd": self._remove,
        }

    def answer(self, text: bytes) -> dict[str, Any]:
        """The answer to a whole request."""
        try:
            return self._carry_out(text)
        except RequestError as error:
            return {"error": {"desc": f"bad request: {error}"}}

    def _carry_out(self, text: bytes) -> dict[str, Any]:
        try:
            request = _parse(text)
        except (ValueError, RecursionError):
            raise RequestError("cannot parse JSON") from None
        if not isinstance(request, dict):
            raise RequestError("json_object() failed")
        verb, arguments = request.get("execute"), request.get("arguments")
        if not isinstance(verb, str):
            raise RequestError("no execute found")
        if verb not in self._verbs:
            raise RequestError("unknown execute")
        return self._verbs[verb](arguments if isinstance(arguments, dict) else {})

    def _add(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("proto") not in ("tcp", "udp"):
            raise RequestError("add_hostfwd: bad arguments.proto")
        rule = HostForward(
            arguments["proto"],
            _address(arguments, "host_addr", IPv4Address(NOTHING_HOST)),
            _port(arguments, "host_port"),
            _address(arguments, "guest_addr", self._guest),
            _port(arguments, "guest_port"),
        )
        try:
            self._stack.forwards.add(rule)
        except ForwardError:
            raise RequestError("add_hostfwd: slirp_add_hostfwd failed") from None
        entry = Entry(self._next_number, rule)
        self._next_number += 1
        self._entries[entry.number] = entry
        return {"return": {"id": entry.number}}

    def _list(self, arguments: dict[str, Any]) -> dict[str, Any]:
        del arguments
        entries = [entry.as_json() for entry in self._entries.values()]
        return {"entries": entries, "return": {"entries": entries}}

    def _remove(self, arguments: dict[str, Any]) -> dict[str, Any]:
        number = arguments.get("id")
        entry = self._entries.pop(number, None) if type(number) is int else None
        if entry is None:
            raise RequestError("remove_hostfwd: bad arguments.id")
        if not self._stack.forwards.remove(entry.rule.key):
            raise RequestError("remove_hostfwd: slirp_remove_hostfwd failed")
        return {"return": {}}


def _address(arguments: dict[str, Any], name: str, default: IPv4Address) -> IPv4Address:
    text = arguments.get(name)
    if not isinstance(text, str) or not text:  # parson: what is no string is not there
        return default
    try:
        return IPv4Address(text)
    except ValueError:
        raise RequestError(f"add_hostfwd: bad arguments.{name}") from None


def _port(arguments: dict[str, Any], name: str) -> int:
    number = arguments.get(name)
    if isinstance(number, int | float) and not isinstance(number, bool) and 1 <= number < 65536:
        return int(number)
    raise RequestError(f"add_hostfwd: bad arguments.{name}")


class ApiSocket:
    """The listening socket; the caller closes it before the stack."""

    def __init__(self, stack: Stack, path: str, guest: IPv4Address, say: Callable[[str], None]) -> None:
        """Listen at `path`, in place of whatever lay there; `say` takes the lines of a log.  Raises LinkError."""
        if len(os.fsencode(path)) >= PATH_BYTES:
            raise LinkError(None, f"the specified API socket path is too long (>= {PATH_BYTES})")
        self.commands = Commands(stack, guest)
        self._stack = stack
        self._path = Path(path)
        self._say = say
        self._clients: set[_Client] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)  # from the moment it is there, for us alone: whoever may connect may open ports
        try:
            self._path.unlink(missing_ok=True)
            self._socket.bind(path)
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._socket.close()
            raise LinkError(error.errno, f"--api-socket {path}: {error.strerror}") from None
        finally:
            os.umask(mask)
        self._socket.setblocking(False)
        self._watch = stack.watch(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Drop the clients, take the socket file away."""
        for client in tuple(self._clients):
            client.close()
        if not self._stack.closed:
            self._stack.unwatch(self._watch)
        self._socket.close()
        with contextlib.suppress(OSError):  # in a sandbox it cannot be reached any more
            self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            accepted, _ = self._socket.accept()
            self._say("apifd event")
            if len(self._clients) < CLIENTS_MAX:
                accepted.setblocking(False)
                client = _Client(self._stack, accepted, self.commands, self._say, self._clients.discard)
                self._clients.add(client)
            else:
                accepted.close()


class _Client:
    """One connection.  States: reading a request, writing the answer, closed."""

    def __init__(
        self,
        stack: Stack,
        accepted: socket.socket,
        commands: Commands,
        say: Callable[[str], None],
        gone: Callable[[_Client], None],
    ) -> None:
        self._stack = stack
        self._socket = accepted
        self._commands = commands
        self._say = say
        self._gone = gone
        self._request = bytearray()
        self._answer = b""
        self._watch: int | None = stack.watch(accepted.fileno(), self._readable)
        self._whole: Timer | None = None
        self._life = stack.call_later(LIFE_NS, self.close)

    def _readable(self) -> None:
        try:
            piece = self._socket.recv(REQUEST_BYTES - len(self._request))
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._request += piece
        self._cancel_whole()
        if len(self._request) >= REQUEST_BYTES:
            self._say(f"api_handler: too large message (>= {REQUEST_BYTES} bytes)")
            self._begin_answer({"error": {"desc": "bad request: too large message"}})
        elif not piece or _is_json(self._request):
            self._take_as_whole()
        else:
            self._whole = self._stack.call_later(WHOLE_NS, self._take_as_whole)

    def _take_as_whole(self) -> None:
        self._say(f"api_handler: got request: {_printable(bytes(self._request))}")
        self._begin_answer(self._commands.answer(bytes(self._request)))

    def _begin_answer(self, answer: dict[str, Any]) -> None:
        self._cancel_whole()
        self._answer = json.dumps(answer, separators=(",", ":")).encode()
        self._unwatch()
        self._watch = self._stack.watch(self._socket.fileno(), None, self._writable)
        self._writable()

    def _writable(self) -> None:
        try:
            self._answer = self._answer[self._socket.send(self._answer) :]
        except BlockingIOError:
            return
        except OSError:
            self._answer = b""
        if not self._answer:
            self.close()

    def _cancel_whole(self) -> None:
        if self._whole is not None:
            self._whole.cancel()
            self._whole = None

    def _unwatch(self) -> None:
        if self._watch is not None and not self._stack.closed:
            self._stack.unwatch(self._watch)
        self._watch = None

    def close(self) -> None:
        """End the connection."""
        self._cancel_whole()
        self._life.cancel()
        self._unwatch()
        self._socket.close()
        self._gone(self)


def _parse(text: bytes) -> Any:
    """The first JSON value; what follows it is not looked at, as by parson.  Raises ValueError, RecursionError."""
    value, _ = _DECODER.raw_decode(text.decode().lstrip(_JSON_SPACE))
    return value


def _is_json(text: bytearray) -> bool:
    try:
        _parse(bytes(text))
    except (ValueError, RecursionError):
        return False
    return True


def _printable(text: bytes) -> str:
    """For people's eyes: up to the first NUL, and nothing that a terminal would obey."""
    shown = text.partition(b"\0")[0].decode(errors="backslashreplace").rstrip("\n")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in shown)
