"""The Python class: what it refuses, what it ignores, what it shows."""

from __future__ import annotations

from collections.abc import Callable

import dpkt
import pytest

from pyslirp.engine.core import core
from pyslirp.engine.core.core import Core
from pyslirp.engine.stores.counters import names
from tests.unit.engine.core.guest import ALIAS, FAR, GATEWAY, MAC, SEED, START, Net, ip

SYN, ACK = dpkt.tcp.TH_SYN, dpkt.tcp.TH_ACK
CLAIMS_MAX = 64


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: Core(b"short", MAC),
        lambda: Core(SEED + b"x", MAC),
        lambda: Core(SEED, MAC[:5]),
        lambda: Core(SEED, MAC, mtu=67),
        lambda: Core(SEED, MAC, mtu=65536),
        lambda: Core(SEED, MAC, mtu=-1),
    ],
)
def test_a_core_that_cannot_be(make: Callable[[], Core]) -> None:
    with pytest.raises(ValueError, match=r"seed|MAC|MTU"):
        make()


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.set_network(b"four", 120),
        lambda c: c.set_network(ip("10.0.2.0"), 129),
        lambda c: c.set_network(ip("10.0.2.0"), -1),
        lambda c: c.set_router(b""),
        lambda c: c.set_mtu(67),
        lambda c: c.set_mtu(65536),
        lambda c: c.add_address(b"\x0a\0\2\2"),
        lambda c: c.claim_udp(ip(ALIAS), 0),
        lambda c: c.claim_udp(ip(ALIAS), 65536),
        lambda c: c.claim_udp(b"four", 53),
        lambda c: c.learn(ip("10.0.2.15"), b"five!", START),
        lambda c: c.learn(b"", MAC, START),
        lambda c: c.open(b"", 1, ip(FAR), 1, 0, START),
        lambda c: c.send_udp(ip(FAR), 1, b"", 1, b"", START),
        lambda c: c.send_udp(ip(FAR), 1, ip(FAR), 1, b"", START, mac=b"five!", port=0),
        lambda c: c.send_icmp(ip(FAR), b"", 8, 0, 0, b"", START),
    ],
)
def test_values_that_cannot_be(call: Callable[[Core], object]) -> None:
    net = Net()
    with pytest.raises(ValueError, match=r"\w"):
        call(net.core)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.open(ip("10.0.2.15"), 65536, ip(FAR), 1, 0, START),
        lambda c: c.open(ip("10.0.2.15"), 1, ip(FAR), -1, 0, START),
        lambda c: c.send_udp(ip(FAR), 70000, ip(FAR), 1, b"", START),
        lambda c: c.deliver(-1, [b""], START),
        lambda c: c.add_port(2**32),
    ],
)
def test_numbers_that_do_not_fit(call: Callable[[Core], object]) -> None:
    with pytest.raises(OverflowError):
        call(Net().core)


@pytest.mark.parametrize("frames", [[1], ["text"], [bytearray(60)]])
def test_frames_are_bytes(frames: list[object]) -> None:
    net = Net()
    guest = net.guest()
    with pytest.raises(TypeError):
        net.core.deliver(guest.port, frames, net.now)  # type: ignore[arg-type]


def test_claims_are_bounded() -> None:
    net = Net()
    for port in range(1, CLAIMS_MAX + 1):
        net.core.claim_udp(None, port)
    with pytest.raises(ValueError, match="64"):
        net.core.claim_udp(None, CLAIMS_MAX + 1)


# -- stale handles -----------------------------------------------------------------------------------------------------

STALE = [0, 1, 2**32, 2**64 - 1]


@pytest.mark.parametrize("flow", STALE)
def test_what_is_asked_of_no_flow_raises(flow: int) -> None:
    net = Net()
    for ask in (
        lambda: net.core.flow(flow),
        lambda: net.core.stream_read(flow, 1, net.now),
        lambda: net.core.stream_write(flow, b"x"),
        lambda: net.core.stream_waiting(flow),
        lambda: net.core.stream_finish(flow),
        lambda: net.core.datagram_reply(flow, b"x", net.now),
    ):
        with pytest.raises(KeyError):
            ask()


@pytest.mark.parametrize("flow", STALE)
def test_what_is_told_to_no_flow_is_ignored(flow: int) -> None:
    net = Net()
    net.core.serve(flow, 1, net.now)
    net.core.deny(flow, core.REFUSE_RESET, net.now)
    net.core.close_flow(flow, net.now)
    assert net.punts() == []


def test_streams_are_read_only_where_a_handler_serves_them() -> None:
    net = Net()
    guest = net.guest()
    guest.tcp(SYN)
    attached = net.flow()
    net.host.attach(attached, net.now)
    guest.udp(b"x")
    datagram = net.flow()
    for flow in (attached, datagram):
        with pytest.raises(KeyError):
            net.core.stream_read(flow, 1, net.now)
    with pytest.raises(KeyError):
        net.core.datagram_reply(attached, b"x", net.now)


# -- streams -----------------------------------------------------------------------------------------------------------


def test_bytes_of_a_stream_are_taken_in_any_amounts() -> None:
    net = Net()
    guest = net.guest()
    flow = net.core.open(ip(guest.ip), 22, ip(FAR), 80, 4, net.now)
    net.run()
    syn = guest.packet().data
    guest.tcp(SYN | ACK, source_port=22, seq=9, ack=syn.seq + 1, options=b"\x02\x04\x05\xb4")
    data = bytes(range(256)) * 5
    guest.tcp(ACK, data, source_port=22, seq=10, ack=syn.seq + 1)
    assert net.core.stream_read(flow, 0, net.now) == b""
    assert net.core.stream_read(flow, 1, net.now) == data[:1]
    assert net.core.stream_read(flow, 10**12, net.now) == data[1:]
    assert net.core.stream_read(flow, 10, net.now) == b""
    assert net.core.stream_write(flow, b"") == 0
    taken = net.core.stream_write(flow, bytes(10**7))
    assert net.core.stream_waiting(flow) == taken < 10**7
    net.core.stream_finish(flow)
    assert net.core.stream_write(flow, b"too late") == 0


# -- what there is -----------------------------------------------------------------------------------------------------


def test_counters_have_every_name() -> None:
    counters = Net().core.counters()
    assert tuple(counters) == names()
    assert set(counters.values()) == {0}


def test_a_flow_is_described() -> None:
    net = Net()
    guest = net.guest()
    guest.tcp(SYN, source_port=5, port=6, options=b"\x02\x04\x05\xb4")
    flow = net.flow()
    waiting = net.core.flow(flow)
    assert [waiting] == net.core.flows()
    assert waiting.pop("mss") == 1460
    assert {
        name: waiting[name]
        for name in waiting
        if name not in ("srtt", "cwnd", "ssthresh", "pace", "snd_wnd", "rcv_wnd", "in_flight", "receive_limit")
    } == {
        "flow": flow,
        "protocol": "tcp",
        "guest": ip(guest.ip),
        "guest_port": 5,
        "far": ip(FAR),
        "far_port": 6,
        "inbound": False,
        "served": False,
        "ecn": False,
        "user_timeout": 0,
        "tag": 0,
        "waiting": True,
        "opened": START,
        "last_from_guest": START,
        "bytes_to_host": 0,
        "bytes_to_guest": 0,
        "state": "HELD",
        "receive_queue": 0,
        "send_queue": 0,
        "sack": False,
        "timestamps": False,
        "urgent": 0,
    }
    net.host.attach(flow, net.now, tag=99)
    assert net.core.flow(flow)["tag"] == 99


def test_a_conversation_is_described_but_no_mapping() -> None:
    net = Net()
    guest = net.guest()
    guest.udp(b"abc", to=GATEWAY, port=6, source_port=5)
    flow = net.flow()
    mapping = net.host.allow(flow, ip("127.0.0.1"), 7, net.now, tag=3)
    (only,) = net.core.flows()
    assert only == {
        "flow": flow,
        "protocol": "udp",
        "guest": ip(guest.ip),
        "guest_port": 5,
        "far": ip(GATEWAY),
        "far_port": 6,
        "inbound": False,
        "served": False,
        "tag": 3,
        "waiting": False,
        "opened": START,
        "last_from_guest": START,
        "bytes_to_host": 3,
        "bytes_to_guest": 0,
        "state": "open",
        "host": ip("127.0.0.1"),
        "host_port": 7,
        "datagrams_to_host": 1,
        "datagrams_to_guest": 0,
        "expires": START + 30_000_000_000,
        "mapping": mapping,
    }
    assert net.core.flows(0) == []
    assert net.core.memory()["flows"] == 2
    assert mapping


def test_a_neighbour_is_described() -> None:
    net = Net()
    guest = net.guest()
    assert net.core.neighbors() == [
        {"address": ip(guest.ip), "mac": guest.mac, "reachable": True, "state": "reachable", "mtu": 1500, "flows": 0}
    ]


def test_every_reason_has_its_word() -> None:
    assert len(core.REASONS) == 13
    assert core.REASONS[9:11] == ("shut down", "evicted")
    assert core.REASONS[11:] == ("expired", "closed")
