"""The composition root: every service and verdict from a guest's point of view, and the life of a network."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket, InterfaceDescription

from pyslirp.addresses import Endpoint
from pyslirp.config.link import ConnectAddress, ListenAddress
from pyslirp.config.stack import Config
from pyslirp.engine.edge.clock import now
from pyslirp.errors import ClosedError, ForwardError
from pyslirp.events import (
    FlowClosed,
    FlowOpened,
    LeaseGranted,
    LinkDown,
    LinkUp,
)
from pyslirp.flows import ServedStream
from pyslirp.links.base import PortSpec
from pyslirp.sim.apps import Echo, Transfer
from pyslirp.stack import Stack
from tests.unit.loops.handlers import EchoDatagrams, Events, Recorder, Recorders
from tests.unit.loops.wired_guest import Rig, answer, descriptors, taken

GATEWAY, DNS, FIRST = (IPv4Address(f"10.0.2.{last}") for last in (2, 3, 15))
ELSEWHERE = IPv4Address("192.0.2.1")

pytestmark = pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")  # of the pcapng reader


# -- what a guest meets ------------------------------------------------------------------------------------------------


def test_a_guest_gets_a_lease(rig: Rig) -> None:
    events = Events(rig.stack)
    guest = rig.join()
    lease = guest.lease
    assert lease is not None
    assert (lease.address, lease.router, lease.dns, lease.mtu) == (FIRST, GATEWAY, (DNS,), 65520)
    (granted,) = events.of(LeaseGranted)
    assert (granted.address, granted.mac) == (FIRST, guest.mac)
    assert [event.name for event in events.of(LinkUp)] == ["guest1"]


def test_the_gateway_and_the_dns_alias_answer_pings(rig: Rig) -> None:
    rig.join()
    for address in (GATEWAY, DNS):
        assert rig.answered(address).answered_by == address


def test_guests_reach_one_another(rig: Rig) -> None:
    first, second = rig.join(), rig.join()
    assert second.address == FIRST + 1
    second.listen(80, Echo)
    data = Transfer(b"hello, neighbour")
    first.connect(FIRST + 1, 80, now(), data)
    rig.until(lambda: data.received == b"hello, neighbour")


def test_tcp_reaches_the_hosts_loopback(rig: Rig) -> None:
    events = Events(rig.stack)
    guest = rig.join()
    with answer() as server:
        port = server.getsockname()[1]
        data = Transfer(b"up" * 10000)
        guest.connect(GATEWAY, port, now(), data)
        rig.until(lambda: data.stream and data.stream.connected)
        accepted, _ = server.accept()
        with accepted:
            accepted.setblocking(False)
            received = bytearray()

            def all_of_it() -> bool:
                received.extend(taken(accepted) or b"")
                return len(received) == 20000

            rig.until(all_of_it)
            assert received == b"up" * 10000
            accepted.send(b"down")
            rig.until(lambda: data.received == b"down")
        rig.until(lambda: events.of(FlowClosed))
    (opened,) = events.of(FlowOpened)
    assert (opened.protocol, opened.far, opened.target) == ("tcp", Endpoint(GATEWAY, port), f"127.0.0.1:{port}")
    assert not opened.inbound
    (closed,) = events.of(FlowClosed)
    assert (closed.flow, closed.reason, closed.bytes_to_host, closed.bytes_to_guest) == (
        opened.flow,
        "closed",
        20000,
        4,
    )


def test_tcp_to_a_port_where_nobody_listens_is_refused(rig: Rig) -> None:
    guest = rig.join()
    with answer() as server:
        port = server.getsockname()[1]
    data = Transfer(b"x")
    guest.connect(GATEWAY, port, now(), data)
    rig.until(lambda: data.closed)
    assert data.closed == "refused"


def test_udp_reaches_the_hosts_loopback(rig: Rig) -> None:
    guest = rig.join()
    with answer(udp=True) as server:
        port = guest.udp()
        port.send(Endpoint(GATEWAY, server.getsockname()[1]), b"question", now())
        heard: list[Any] = []

        def respond() -> bool:
            try:
                data, client = server.recvfrom(100)
            except BlockingIOError:
                return bool(port.received)
            heard.append(data)
            server.sendto(b"answer", client)
            return False

        rig.until(respond)
        assert heard == [b"question"]
        assert port.received.popleft() == (Endpoint(GATEWAY, server.getsockname()[1]), b"answer")


def test_restrict_leaves_dhcp_and_servers() -> None:
    with Rig(Config.build(restrict=True)) as rig, answer() as server:
        guest = rig.join()
        recorders = Recorders()
        there = IPv4Address("10.0.2.100")
        rig.stack.servers.serve_stream(Endpoint(there, 80), recorders)
        refused, served = Transfer(b"x"), Transfer(b"hello")
        guest.connect(GATEWAY, server.getsockname()[1], now(), refused)
        guest.connect(there, 80, now(), served)
        rig.until(lambda: refused.closed and served.received == b"hello")
        assert refused.closed == "refused"


# -- the end -----------------------------------------------------------------------------------------------------------


def test_who_wants_to_know_is_told_of_the_end_once() -> None:
    told: list[bool] = []
    with Rig() as rig:
        rig.stack.at_close(lambda: told.append(rig.stack.engine.fileno() >= 0))
    rig.stack.close()
    assert told == [True], "while there still is an engine"
    with pytest.raises(ClosedError):
        rig.stack.at_close(told.clear)


# -- links -------------------------------------------------------------------------------------------------------------


def test_a_guest_that_goes_is_told(rig: Rig) -> None:
    events = Events(rig.stack)
    rig.join(lease=False).link.close()
    rig.guests.clear()
    rig.until(lambda: rig.lost)
    assert rig.lost == ["closed"]
    assert [(event.name, event.reason) for event in events.of(LinkDown)] == [("guest1", "closed")]
    assert rig.stack.snapshot()["links"] == []


@pytest.mark.parametrize("length", [0, 13, 69633, 2**32 - 1])
def test_a_link_that_makes_no_sense_is_closed_with_one_clear_line(
    rig: Rig, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    guest = rig.join(lease=False)
    guest.link.send(length.to_bytes(4))
    rig.until(lambda: rig.lost)
    (line,) = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert line == (
        f"guest1: closed: a frame of {length} bytes is announced; 14 to 69632 are possible: "
        "is this QEMU's stream framing?"
    )
    assert rig.counter("link.bad_length") == 1


def test_a_guest_that_comes_back_at_once_is_not_mistaken_for_the_one_that_went(rig: Rig) -> None:
    """The engine gives the freed port to the next guest; that one was accepted in the batch that tells of the loss."""
    gone = rig.join(lease=False)
    coming, doorbell = os.pipe()
    arrived: list[object] = []

    def accept() -> None:
        os.read(coming, 1)
        arrived.append(rig.join(lease=False))

    rig.stack.watch(coming, accept)
    number = next(iter(rig.stack._ports))
    os.write(doorbell, b"x")
    gone.link.close()
    rig.guests.clear()
    rig.until(lambda: arrived and rig.lost)
    assert rig.lost == ["closed"]
    assert list(rig.stack._ports) == [number]
    rig.guests[0].start_dhcp(now())
    rig.until(lambda: rig.guests[0].lease)
    os.close(coming)
    os.close(doorbell)


def test_a_descriptor_that_is_no_link_is_closed(rig: Rig) -> None:
    read, write = os.pipe()
    with pytest.raises(OSError, match="Socket operation on non-socket"):
        rig.stack.attach(PortSpec(read, "stream", 1500, "pipe"))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)
    os.close(write)


def test_a_guest_may_be_taken_away(rig: Rig) -> None:
    guest = rig.join()
    number = next(iter(rig.stack._ports))
    rig.stack.detach(number, "enough")
    rig.stack.detach(number, "twice")
    assert taken(guest.link) == b""
    assert rig.lost == [], "who takes away is not told"
    rig.guests.clear()
    guest.link.close()


# -- time and descriptors ----------------------------------------------------------------------------------------------


def test_calls_come_in_the_order_of_their_time(rig: Rig) -> None:
    order: list[str] = []
    rig.stack.call_later(2_000_000, lambda: order.append("second"))
    rig.stack.call_later(1_000_000, lambda: order.append("first"))
    rig.stack.call_later(1_500_000, lambda: order.append("cancelled")).cancel()
    rig.until(lambda: len(order) == 2)
    assert order == ["first", "second"]


def test_a_call_that_fails_does_not_stop_the_others(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    done: list[bool] = []

    def fails() -> None:
        raise RuntimeError("on purpose")

    rig.stack.call_later(1_000_000, fails)
    rig.stack.call_later(1_000_000, lambda: done.append(True))
    rig.until(lambda: done)
    assert "on purpose" in caplog.text


def test_a_descriptor_is_watched(rig: Rig) -> None:
    read, write = os.pipe2(os.O_NONBLOCK)
    heard: list[str] = []
    token = rig.stack.watch(read, lambda: heard.append(os.read(read, 10).decode()))
    room = rig.stack.watch(write, None, lambda: heard.append("room"))
    rig.until(lambda: heard)
    assert heard[0] == "room"
    rig.stack.unwatch(room)
    heard.clear()
    os.write(write, b"x")
    rig.until(lambda: heard)
    assert heard == ["x"]
    rig.stack.unwatch(token)
    rig.stack.unwatch(token)
    os.write(write, b"y")
    rig.turn()
    assert heard == ["x"]
    os.close(read)
    os.close(write)


def test_a_watch_that_was_ended_in_the_same_batch_is_not_called(rig: Rig) -> None:
    pipes = [os.pipe() for _ in range(2)]
    called: list[int] = []
    tokens: list[int] = []

    def ready(number: int) -> Callable[[], None]:
        def call() -> None:
            called.append(number)
            for token in tokens:
                rig.stack.unwatch(token)

        return call

    tokens += [rig.stack.watch(read, ready(number)) for number, (read, _) in enumerate(pipes)]
    for _, write in pipes:
        os.write(write, b"x")
    rig.turn()
    rig.turn()
    assert len(called) == 1
    for end in (end for pipe in pipes for end in pipe):
        os.close(end)


# -- capture -----------------------------------------------------------------------------------------------------------


def captured(path: Path, kind: type) -> list[Any]:
    with path.open("rb") as file:
        return [block for block in FileScanner(file) if isinstance(block, kind)]


def test_frames_are_captured_by_port(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"
    rig.join()
    rig.stack.start_capture(str(path))
    rig.answered(GATEWAY)
    second = rig.join()
    assert second.lease
    rig.stack.stop_capture()
    rig.stack.stop_capture()
    assert [block.options["if_name"] for block in captured(path, InterfaceDescription)] == ["guest1", "guest2"]
    packets = captured(path, EnhancedPacket)
    assert {packet.interface_id for packet in packets} == {0, 1}
    assert {packet.options["epb_flags"].inout for packet in packets} == {"inbound", "outbound"}
    count = len(packets)
    rig.guests[0].ping(GATEWAY, now())
    rig.turn()
    assert len(captured(path, EnhancedPacket)) == count


def test_what_comes_of_a_kick_is_captured(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"
    rig.join()
    rig.stack.start_capture(str(path))
    rig.stack.servers.connect(Endpoint(FIRST, 22), Recorders())
    rig.stack.kick()
    assert captured(path, EnhancedPacket)


def test_another_capture_takes_the_place_of_the_first(rig: Rig, tmp_path: Path) -> None:
    rig.join()
    for name in ("first", "second"):
        rig.stack.start_capture(str(tmp_path / name))
        rig.answered(GATEWAY, payload=name.encode())
    rig.stack.stop_capture()
    for name in ("first", "second"):
        echoes = [packet for packet in captured(tmp_path / name, EnhancedPacket) if packet.packet_data[23] == 1]
        assert len(echoes) == 2
        assert all(name.encode() in packet.packet_data for packet in echoes)


def test_a_full_disk_is_one_warning(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.stack.start_capture("/dev/full")
    rig.join()
    rig.answered(GATEWAY)
    assert [record.message for record in caplog.records if "No space left" in record.message]
    assert len(caplog.records) == 1
    assert not rig.stack.core.capturing


# -- life --------------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_plain(rig: Rig) -> None:
    guest = rig.join()
    guest.listen(22, Echo)
    rig.stack.forwards.add(Config.build(hostfwd=["tcp:127.0.0.1:0-:22"]).forward.hostfwd[0])
    rig.stack.servers.connect(Endpoint(FIRST, 22), Recorders())
    port = guest.udp()
    port.send(Endpoint(GATEWAY, 9), b"x", now())
    rig.until(lambda: guest.accepted)
    snapshot = rig.stack.snapshot()
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert snapshot["network"]["net"] == "10.0.2.0/24"
    assert [link["name"] for link in snapshot["links"]] == ["guest1"]
    assert [lease["address"] for lease in snapshot["services"]["dhcp"]["leases"]] == ["10.0.2.15"]
    assert {neighbor["address"] for neighbor in snapshot["neighbors"]} == {"10.0.2.15"}
    assert {flow["protocol"] for flow in snapshot["flows"]} >= {"tcp"}
    assert snapshot["forwards"][0]["rule"].startswith("tcp:127.0.0.1:")
    assert set(snapshot) == {
        "network",
        "links",
        "listening",
        "forwards",
        "guestfwd",
        "commands",
        "neighbors",
        "flows",
        "services",
        "counters",
        "memory",
        "engine",
    }


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = descriptors()
    config = Config.build(hostfwd=["tcp:127.0.0.1:0-:22", "udp:127.0.0.1:0-:53"])
    with Rig(config) as rig, answer() as server:
        rig.stack.listen(ListenAddress.parse(f"unix:{tmp_path}/guests"))
        rig.stack.connect(ConnectAddress.parse(f"unix:{tmp_path}/nobody"))
        rig.stack.start_capture(str(tmp_path / "capture"))
        guest = rig.join()
        guest.connect(GATEWAY, server.getsockname()[1], now(), Transfer(b"x", finish=False))
        guest.resolve("example.org", now())
        rig.until(lambda: rig.stack.engine.snapshot()["sockets"])
    rig.stack.close()
    assert rig.stack.closed
    assert descriptors() == before
    assert [path.name for path in tmp_path.iterdir()] == ["capture"]


def test_at_the_end_connections_are_reset_and_handlers_told(rig: Rig) -> None:
    guest = rig.join()
    recorders = Recorders()
    rig.stack.servers.serve_stream(Endpoint.of("10.0.2.100", 80), recorders)
    served, carried = Transfer(b"x", finish=False), Transfer(b"x", finish=False)
    with answer() as server:
        guest.connect(IPv4Address("10.0.2.100"), 80, now(), served)
        guest.connect(GATEWAY, server.getsockname()[1], now(), carried)
        rig.until(lambda: served.received == b"x" and carried.stream and carried.stream.connected)
        accepted, _ = server.accept()
        with accepted:
            accepted.setblocking(False)
            rig.until(lambda: taken(accepted) == b"x")
            rig.stack.close()
            with pytest.raises(ConnectionResetError):
                accepted.recv(1)
    assert recorders[0].calls == ["connected", "shut down"]
    guest.turn()
    assert (served.closed, carried.closed) == ("reset by guest", "reset by guest"), "that is: by the other side"


def test_whoever_is_called_may_close(rig: Rig) -> None:
    guest = rig.join()

    class Closing(Recorder):
        def connected(self) -> None:
            super().connected()
            rig.stack.close()

    made: list[Recorder] = []

    def factory(stream: ServedStream) -> Recorder:
        made.append(Closing(stream))
        return made[-1]

    rig.stack.servers.serve_stream(Endpoint.of("10.0.2.100", 80), factory)
    guest.connect(IPv4Address("10.0.2.100"), 80, now(), Transfer(b"x"))
    rig.until(lambda: rig.stack.closed)
    assert made[0].calls == ["connected", "shut down"]


def test_after_the_end_nothing_is_possible(rig: Rig) -> None:
    stack = rig.stack
    timer = stack.call_later(1, lambda: None)
    stack.close()
    stack.close()
    stack.process()
    stack.process(wait=True)
    timer.cancel()
    stack.unwatch(99)
    assert stack.fileno() == -1
    ours, theirs = os.pipe()
    for forbidden in (
        stack.kick,
        lambda: stack.call_later(1, lambda: None),
        lambda: stack.watch(theirs, None),
        lambda: stack.listen(ListenAddress.parse(":0")),
        lambda: stack.connect(ConnectAddress.parse(":1")),
        lambda: stack.attach(PortSpec(ours, "stream", 1500, "x")),
        lambda: stack.servers.serve_stream(Endpoint(ELSEWHERE, 80), Recorders()),
        lambda: stack.servers.serve_datagrams(Endpoint(ELSEWHERE, 80), EchoDatagrams()),
        lambda: stack.servers.connect(Endpoint(FIRST, 80), Recorders()),
        lambda: stack.start_capture("/dev/null"),
    ):
        with pytest.raises(ClosedError):
            forbidden()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(ours)
    os.close(theirs)


def test_a_forward_that_cannot_be_set_up_ends_it_all() -> None:
    before = descriptors()
    with answer() as server:
        port = server.getsockname()[1]
        stack = Stack(Config.build(hostfwd=["tcp:127.0.0.1:0-:22", f"tcp:127.0.0.1:{port}-:22"]))
        with pytest.raises(ForwardError, match="Address already in use"):
            stack.start()
        assert stack.closed
    assert descriptors() == before


def test_two_networks_do_not_meet() -> None:
    with Rig(Config.build(net="10.0.2.0/24")) as one, Rig(Config.build(net="10.0.2.0/24")) as other:
        first, second = one.join(), other.join()
        assert first.address == second.address == FIRST
        assert len(one.stack.snapshot()["links"]) == len(other.stack.snapshot()["links"]) == 1
