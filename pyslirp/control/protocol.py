"""The lines of a control socket: JSON (RFC 8259), one request and one answer a line, each with the protocol's version.

    {"version": 1, "id": 7, "command": "hostfwd_add", "arguments": {"rule": "tcp::2222-:22"}}
    {"version": 1, "id": 7, "return": {"rules": [{"rule": "tcp::2222-10.0.2.15:22", "listen": "0.0.0.0:2222", ...}]}}
    {"version": 1, "id": 7, "error": {"class": "NotFound", "desc": "unrecognized netdev id 'n9'"}}

`version`, `id` and `arguments` may be left out of a request.  An id is a string or a whole number, and comes back with
the answer.  What a request holds beyond these four is refused, so that a later version can give it a meaning.

After ``{"command": "events"}`` lines of events come, between answers or alone:

    {"version": 1, "event": "lease_granted", "data": {"at": 123, "address": "10.0.2.15", ...}}
    {"version": 1, "event": "events_lost", "data": {"count": 3}}
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from pyslirp.control.command import CommandError, Problem
from pyslirp.events import Event

VERSION = 1
LINE_BYTES = 65_536  #: of a request, line feed and all
EVENTS = "events"  #: the command that a control socket adds to the list
LOST = "events_lost"

_FIELDS = frozenset(("version", "id", "command", "arguments"))
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")

Id = str | int | None


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants."""

    command: str
    arguments: dict[str, Any]
    id: Id = None


class RequestError(CommandError):
    """A line that is no request; `id` is its own, where that could be read."""

    def __init__(self, problem: Problem, text: str, hint: str = "", id_: Id = None) -> None:
        super().__init__(problem, text, hint)
        self.id = id_


def read_request(line: bytes) -> Request:
    """The request in a line; raises RequestError."""
    try:
        found = json.loads(line, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise RequestError(Problem.REQUEST, "JSON parse error", "one JSON object a line") from None
    if not isinstance(found, dict):
        raise RequestError(Problem.REQUEST, "Expected a JSON object")
    return _checked(found)


def _checked(found: dict[str, Any]) -> Request:
    id_ = found.get("id")
    if not isinstance(id_, str | int | None) or isinstance(id_, bool):
        raise RequestError(Problem.REQUEST, "Invalid parameter type for 'id', expected: string or integer")
    version = found.get("version", VERSION)
    if type(version) is not int or version != VERSION:
        text = f"version {version} of the protocol is not spoken here"
        raise RequestError(Problem.VERSION, text, f"this is version {VERSION}", id_)
    for name in found:
        if name not in _FIELDS:
            raise RequestError(Problem.REQUEST, f"Parameter '{name}' is unexpected", id_=id_)
    command, arguments = found.get("command"), found.get("arguments", {})
    if "command" not in found:
        raise RequestError(Problem.REQUEST, "Parameter 'command' is missing", id_=id_)
    if not isinstance(command, str):
        raise RequestError(Problem.REQUEST, "Invalid parameter type for 'command', expected: string", id_=id_)
    if not isinstance(arguments, dict):
        raise RequestError(Problem.REQUEST, "Invalid parameter type for 'arguments', expected: object", id_=id_)
    return Request(command, arguments, id_)


def write_request(request: Request) -> bytes:
    """The line that `read_request` reads."""
    told: dict[str, Any] = {"version": VERSION, "command": request.command}
    if request.id is not None:
        told["id"] = request.id
    return _line(told | {"arguments": request.arguments} if request.arguments else told)


def write_return(id_: Id, value: Any) -> bytes:
    """The answer of a command that has succeeded; `value` is plain."""
    return _line(_head(id_) | {"return": value})


def write_error(id_: Id, error: CommandError) -> bytes:
    """The answer of one that has not."""
    return _line(_head(id_) | {"error": error.to_json()})


def write_event(event: Event) -> bytes:
    """An event: its name in small letters, and its fields; addresses are text."""
    name = _CAPITAL.sub("_", type(event).__name__).lower()
    data = {one.name: _plain(getattr(event, one.name)) for one in dataclasses.fields(event)}
    return _line({"version": VERSION, "event": name, "data": data})


def write_lost(count: int) -> bytes:
    """In place of `count` events that came faster than the client has read."""
    return _line({"version": VERSION, "event": LOST, "data": {"count": count}})


def _head(id_: Id) -> dict[str, Any]:
    return {"version": VERSION} if id_ is None else {"version": VERSION, "id": id_}


def _finite(text: str) -> float:
    """A number that JSON has (it has neither NaN nor infinity); raises ValueError."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | None) else str(value)


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"
