"""The lines of a control socket."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import Endpoint, Mac
from pyslirp.control import protocol
from pyslirp.control.command import CommandError, Problem
from pyslirp.control.protocol import Request, RequestError, read_request
from pyslirp.events import FlowDenied, LeaseGranted


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        (b'{"command": "help"}', Request("help", {})),
        (b' {"version": 1, "id": "a", "command": "x", "arguments": {"b": 1}}\r', Request("x", {"b": 1}, "a")),
        (b'{"id": null, "command": "x"}', Request("x", {})),
    ],
)
def test_requests(line: bytes, request_: Request) -> None:
    assert read_request(line) == request_


@pytest.mark.parametrize(
    ("line", "problem", "text"),
    [
        (b"", "InvalidRequest", "JSON parse error"),
        (b"help", "InvalidRequest", "JSON parse error"),
        (b"\xff", "InvalidRequest", "JSON parse error"),
        (b"[" * 60_000, "InvalidRequest", "JSON parse error"),
        (b"9" * 5000, "InvalidRequest", "JSON parse error"),
        (b'{"command": "x", "arguments": {"a": NaN}}', "InvalidRequest", "JSON parse error"),
        (b'{"command": "x", "arguments": {"a": 1e999}}', "InvalidRequest", "JSON parse error"),
        (b"[]", "InvalidRequest", "Expected a JSON object"),
        (b"{}", "InvalidRequest", "Parameter 'command' is missing"),
        (b'{"execute": "x"}', "InvalidRequest", "Parameter 'execute' is unexpected"),
        (b'{"command": 1}', "InvalidRequest", "Invalid parameter type for 'command', expected: string"),
        (
            b'{"command": "x", "arguments": []}',
            "InvalidRequest",
            "Invalid parameter type for 'arguments', expected: object",
        ),
        (
            b'{"command": "x", "id": {}}',
            "InvalidRequest",
            "Invalid parameter type for 'id', expected: string or integer",
        ),
        (
            b'{"command": "x", "id": true}',
            "InvalidRequest",
            "Invalid parameter type for 'id', expected: string or integer",
        ),
        (b'{"command": "x", "version": 2}', "UnsupportedVersion", "version 2 of the protocol is not spoken here"),
        (b'{"command": "x", "version": true}', "UnsupportedVersion", "version True of the protocol is not spoken here"),
    ],
)
def test_lines_that_are_no_request(line: bytes, problem: str, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_request(line)
    assert (caught.value.problem.value, str(caught.value)) == (problem, text)


def test_an_error_carries_the_id_of_a_request_that_could_be_read() -> None:
    with pytest.raises(RequestError) as caught:
        read_request(b'{"id": 5, "version": 9, "command": "x"}')
    assert caught.value.id == 5


@given(st.builds(Request, st.text(), st.dictionaries(st.text(), st.integers() | st.text()), st.none() | st.integers()))
def test_a_request_comes_back_from_its_line(request_: Request) -> None:
    line = protocol.write_request(request_)
    assert line.count(b"\n") == 1
    assert read_request(line) == request_


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (protocol.write_return(3, {"a": 1}), {"version": 1, "id": 3, "return": {"a": 1}}),
        (protocol.write_return(None, {}), {"version": 1, "return": {}}),
        (
            protocol.write_error("x", CommandError(Problem.NOT_FOUND, "no", "why")),
            {"version": 1, "id": "x", "error": {"class": "NotFound", "desc": "no", "hint": "why"}},
        ),
        (protocol.write_lost(3), {"version": 1, "event": "events_lost", "data": {"count": 3}}),
        (
            protocol.write_event(LeaseGranted(1, IPv4Address("10.0.2.15"), Mac(b"RT\x004Vx"), None, 9)),
            {
                "version": 1,
                "event": "lease_granted",
                "data": {"at": 1, "address": "10.0.2.15", "mac": "52:54:00:34:56:78", "hostname": None, "expires": 9},
            },
        ),
        (
            protocol.write_event(FlowDenied(1, "tcp", Endpoint.of("10.0.2.15", 1), Endpoint.of("192.0.2.1", 80), "no")),
            {
                "version": 1,
                "event": "flow_denied",
                "data": {"at": 1, "protocol": "tcp", "guest": "10.0.2.15:1", "far": "192.0.2.1:80", "reason": "no"},
            },
        ),
    ],
)
def test_answers_and_events(line: bytes, told: dict[str, Any]) -> None:
    assert line.endswith(b"\n")
    assert json.loads(line) == told
