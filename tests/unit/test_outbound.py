"""What becomes of the flows that guests open: sockets of the host, refusals, and what is told of both."""

from __future__ import annotations

import logging
from ipaddress import IPv4Address
from typing import Any, cast

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.engine.edge.clock import now
from pyslirp.events import FlowDenied, FlowOpened
from pyslirp.sim.apps import Transfer
from pyslirp.verdicts import How
from tests.unit.loops.handlers import Events
from tests.unit.loops.wired_guest import Rig, answer

GATEWAY, ELSEWHERE = IPv4Address("10.0.2.2"), IPv4Address("192.0.2.1")


def test_what_is_refused_is_told(rig: Rig) -> None:
    events = Events(rig.stack)
    guest = rig.join()
    data = Transfer(b"x")
    guest.connect(IPv4Address("192.0.2.1"), 80, now(), data)
    rig.stack.targets.restrict = True
    rig.until(lambda: events.of(FlowDenied))
    (denied,) = events.of(FlowDenied)
    assert (denied.protocol, denied.far, denied.reason) == ("tcp", Endpoint(ELSEWHERE, 80), "restrict=on")
    rig.until(lambda: data.closed)


class WithoutPing:
    """The engine, of a user who may not open ping sockets."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def connect_echo(self, *_: object) -> int:
        raise PermissionError


def test_pings_that_the_host_does_not_permit_are_refused_with_one_line(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.stack._outbound._engine = cast("Any", WithoutPing(rig.stack.engine))
    events = Events(rig.stack)
    guest = rig.join()
    rig.answered(GATEWAY)
    for last in (1, 2, 3):
        guest.ping(IPv4Address(f"192.0.2.{last}"), now())
    rig.until(lambda: len(events.of(FlowDenied)) == 3)
    assert {event.reason for event in events.of(FlowDenied)} == {"ping sockets are not permitted"}
    (line,) = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert "net.ipv4.ping_group_range" in line


class WithoutSockets(WithoutPing):
    """The engine, of a process that has no descriptor left."""

    def connect_stream(self, flow: int, *_: object) -> int:
        self._engine.core.deny(flow, How.RESET, now())
        return 24  # EMFILE


def test_a_flow_for_which_the_host_has_no_socket_is_told_as_refused(rig: Rig) -> None:
    rig.stack._outbound._engine = cast("Any", WithoutSockets(rig.stack.engine))
    events = Events(rig.stack)
    data = Transfer(b"x")
    rig.join().connect(GATEWAY, 80, now(), data)
    rig.until(lambda: events.of(FlowDenied))
    assert events.of(FlowDenied)[0].reason == "Too many open files"
    assert events.of(FlowOpened) == []
    rig.until(lambda: data.closed)


def test_what_is_forbidden_from_now_on_is_cut(rig: Rig) -> None:
    events = Events(rig.stack)
    with answer() as server:
        data = Transfer(b"x")
        rig.join().connect(GATEWAY, server.getsockname()[1], now(), data)
        rig.until(lambda: events.of(FlowOpened))
        assert rig.stack._outbound.cut() == 0
        rig.stack.targets.restrict = True
        assert rig.stack._outbound.cut() == 1
        rig.until(lambda: data.closed)
