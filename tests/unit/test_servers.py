"""Servers in this process and connections to guests, over a real link and a guest of the simulator."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import cast

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.engine.edge.clock import now
from pyslirp.errors import SlirpError
from pyslirp.events import FlowOpened
from pyslirp.flows import ServedStream
from pyslirp.sim.apps import Echo, Transfer
from tests.unit.loops.handlers import EchoDatagrams, Events, Recorder, Recorders
from tests.unit.loops.wired_guest import Rig

GATEWAY, FIRST = IPv4Address("10.0.2.2"), IPv4Address("10.0.2.15")
ELSEWHERE = IPv4Address("192.0.2.1")


# -- servers of this process -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["10.0.2.100", "192.0.2.1", "10.0.2.2"])
def test_a_server_in_this_process(rig: Rig, address: str) -> None:
    events = Events(rig.stack)
    guest = rig.join()
    recorders = Recorders()
    there = Endpoint.of(address, 80)
    rig.stack.servers.serve_stream(there, recorders)
    data = Transfer(b"there and back")
    guest.connect(cast("IPv4Address", there.address), 80, now(), data)
    rig.until(lambda: recorders and len(recorders[0].calls) == 3)
    assert data.received == b"there and back"
    assert recorders[0].calls == ["connected", "finished", "closed"]
    assert (recorders[0].stream.far, recorders[0].stream.guest.address) == (there, FIRST)
    (opened,) = events.of(FlowOpened)
    assert opened.target == "handler"


def test_a_servers_address_in_the_net_is_alive(rig: Rig) -> None:
    guest = rig.join()
    rig.stack.servers.serve_stream(Endpoint.of("10.0.2.100", 80), Recorders())
    ping = guest.ping(IPv4Address("10.0.2.100"), now())
    data = Transfer(b"x")
    guest.connect(IPv4Address("10.0.2.100"), 81, now(), data)
    rig.until(lambda: ping.rtt_ns and data.closed)
    assert data.closed == "refused"


def test_a_server_that_is_taken_away(rig: Rig) -> None:
    guest = rig.join()
    recorders = Recorders()
    there = Endpoint.of("10.0.2.100", 80)
    rig.stack.servers.serve_stream(there, recorders)
    with pytest.raises(SlirpError, match=r"10\.0\.2\.100:80 is served already"):
        rig.stack.servers.serve_stream(there, recorders)
    rig.stack.servers.unserve_stream(there)
    data = Transfer(b"x")
    guest.connect(IPv4Address("10.0.2.100"), 80, now(), data)
    rig.until(lambda: data.closed)
    assert (data.closed, recorders) == ("refused", [])
    rig.stack.servers.serve_stream(there, recorders)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.0.2.3", "10.0.2.3:53 is served already"),
        ("10.0.2.15", "10.0.2.15 is the address of a guest"),
        ("10.0.2.0", "cannot be a server's address"),
        ("10.0.2.255", "cannot be a server's address"),
    ],
)
def test_an_address_that_a_server_cannot_have(rig: Rig, address: str, why: str) -> None:
    rig.join()
    with pytest.raises(SlirpError, match=why):
        rig.stack.servers.serve_stream(Endpoint.of(address, 53), Recorders())


def test_more_addresses_than_there_may_be(rig: Rig) -> None:
    numbers = iter(range(4, 255))

    def one_more() -> None:
        rig.stack.servers.serve_stream(Endpoint.of(f"10.0.2.{next(numbers)}", 80), Recorders())

    def all_there_are() -> None:
        while True:
            one_more()

    with pytest.raises(SlirpError, match="cannot be added"):
        all_there_are()
    assert next(numbers) < 254


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none(rig: Rig, port: int) -> None:
    with pytest.raises(ValueError, match="1 to 65535"):
        rig.stack.servers.serve_stream(Endpoint.of("10.0.2.100", port), Recorders())
    with pytest.raises(ValueError, match="1 to 65535"):
        rig.stack.servers.serve_datagrams(Endpoint.of("10.0.2.100", port), EchoDatagrams())
    with pytest.raises(ValueError, match="1 to 65535"):
        rig.stack.servers.connect(Endpoint.of("10.0.2.15", port), Recorders())


def test_a_server_whose_handler_fails_refuses(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: ServedStream) -> Recorder:
        raise RuntimeError("on purpose")

    guest = rig.join()
    rig.stack.servers.serve_stream(Endpoint.of("10.0.2.100", 80), fails)
    data = Transfer(b"x")
    guest.connect(IPv4Address("10.0.2.100"), 80, now(), data)
    rig.until(lambda: data.closed)
    assert data.closed == "refused"
    assert "on purpose" in caplog.text
    assert not rig.stack._dispatcher.streams


def test_a_server_of_datagrams(rig: Rig) -> None:
    guest = rig.join()
    echo = EchoDatagrams()
    there = Endpoint.of("10.0.2.100", 7)
    rig.stack.servers.serve_datagrams(there, echo)
    with pytest.raises(SlirpError, match="is served already"):
        rig.stack.servers.serve_datagrams(there, echo)
    port = guest.udp(5000)
    port.send(there, b"hello", now())
    rig.until(lambda: port.received)
    assert port.received.popleft() == (there, b"hello")
    assert echo.calls == [(Endpoint(FIRST, 5000), there, b"hello")]
    rig.stack.servers.unserve_datagrams(there)
    rig.stack.close()
    assert echo.calls[1:] == ["ended"]


# -- connections to guests ---------------------------------------------------------------------------------------------


def test_a_guests_port_is_connected_to(rig: Rig) -> None:
    events = Events(rig.stack)
    guest = rig.join()
    guest.listen(22, Echo)
    recorders = Recorders()
    stream = rig.stack.servers.connect(Endpoint(FIRST, 22), recorders)
    stream.write(b"early")
    rig.until(lambda: recorders[0].calls)
    assert recorders[0].calls == ["connected"]
    rig.until(lambda: recorders[0].received == b"early")
    assert guest.accepted[0].remote.address == GATEWAY
    (opened,) = events.of(FlowOpened)
    assert (opened.inbound, opened.target, opened.far) == (True, "handler", stream.far)


def test_a_source_may_be_chosen(rig: Rig) -> None:
    guest = rig.join()
    guest.listen(22, Echo)
    source = Endpoint(ELSEWHERE, 4000)
    recorders = Recorders()
    first = rig.stack.servers.connect(Endpoint(FIRST, 22), recorders, source)
    second = rig.stack.servers.connect(Endpoint(FIRST, 22), recorders, source)
    rig.until(lambda: len(guest.accepted) == 2)
    assert guest.accepted[0].remote == first.far == source
    assert second.far.address == ELSEWHERE
    assert second.far.port != 4000, "that pair of ends is in use"


def test_a_guest_that_refuses(rig: Rig) -> None:
    rig.join()
    recorders = Recorders()
    rig.stack.servers.connect(Endpoint(FIRST, 22), recorders)
    rig.until(lambda: recorders[0].calls)
    assert recorders[0].calls == ["refused"]


def test_a_guest_outside_the_net(rig: Rig) -> None:
    with pytest.raises(SlirpError, match=r"192\.0\.2\.1 is not in the guests' net 10\.0\.2\.0/24"):
        rig.stack.servers.connect(Endpoint(ELSEWHERE, 22), Recorders())


@pytest.mark.parametrize("address", ["10.0.2.255", "10.0.2.0", "fec0::"])
def test_an_address_that_no_host_has(rig: Rig, address: str) -> None:
    with pytest.raises(SlirpError, match=f"{re.escape(address)} cannot be a guest's address in 10"):
        rig.stack.servers.connect(Endpoint.of(address, 22), Recorders())


def test_a_handler_that_cannot_be_made_leaves_nothing(rig: Rig) -> None:
    def fails(_: ServedStream) -> Recorder:
        raise RuntimeError("on purpose")

    rig.join()
    with pytest.raises(RuntimeError, match="on purpose"):
        rig.stack.servers.connect(Endpoint(FIRST, 22), fails)
    rig.turn()
    assert not rig.stack._dispatcher.streams
    assert rig.stack.snapshot()["flows"] == []
