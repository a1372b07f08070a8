"""The clockwork: what is done when, in which amounts, and always the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyslirp.engine.core import core
from tests.unit.engine.core.guest import ALIAS, FAR, GATEWAY, SECOND, Guest, Net, ip

SYN, ACK, FIN = dpkt.tcp.TH_SYN, dpkt.tcp.TH_ACK, dpkt.tcp.TH_FIN


def denied(net: Net, guest: Guest, count: int) -> None:
    """Flows that only wait for their timer."""
    guest.send(*[guest.udp_frame(b"x", port=port) for port in range(1, count + 1)])
    for punt in net.punts():
        net.core.deny(punt[1], core.REFUSE_SILENT, net.now)


def test_an_idle_core_wants_nothing() -> None:
    net = Net()
    assert net.core.next_deadline() is None
    assert not net.core.run(net.now)
    net.guest()
    assert net.core.next_deadline() is None


def test_deadlines_are_the_earliest_of_all() -> None:
    net = Net()
    guest = net.guest()
    guest.send(guest.ipv4(bytes(8), 17, mf=1))
    assert net.core.next_deadline() == net.now + 30 * SECOND
    net.now += SECOND
    net.core.send_udp(ip(FAR), 9, ip("10.0.2.99"), 9, b"", net.now)
    assert net.core.next_deadline() == net.now + SECOND
    net.wait(3)
    guest.udp(b"x")
    assert net.core.next_deadline() == net.now + 26 * SECOND


def test_no_more_flows_than_the_budget_are_worked_on_at_once() -> None:
    net = Net()
    guest = net.guest()
    for port in range(100):
        net.core.open(ip(guest.ip), 1000 + port, ip(FAR), 80, 0, net.now)
    assert net.core.next_deadline() == net.now
    assert net.core.run(net.now, 30)
    assert len(guest.packets()) == 30
    assert net.core.run(net.now, 30)
    assert not net.core.run(net.now, 50)
    assert len(guest.packets()) == 70


def test_frames_are_never_left_over_whatever_the_budget() -> None:
    """They lie in the caller's memory: what they brought is passed on or copied before deliver returns."""
    net = Net()
    guest = net.guest()
    flows = {}
    for port in range(1, 1101):
        guest.tcp(SYN, source_port=port, seq=1000)
        flow = net.flow()
        net.core.serve(flow, port, net.now)
        net.run()
        answer = guest.packet().data
        guest.tcp(ACK, source_port=port, seq=1001, ack=answer.seq + 1)
        flows[flow] = answer.seq + 1
        net.punts()
    frames = [
        guest.tcp_frame(ACK, bytes([port % 256]) * 100, source_port=port, seq=1001, ack=ack)
        for port, ack in enumerate(flows.values(), 1)
    ]
    guest.send(*frames)
    del frames
    for flow in flows:
        assert set(net.core.stream_read(flow, 1000, net.now)) == {net.core.flow(flow)["tag"] % 256}


def test_timers_beyond_the_budget_are_told_of() -> None:
    net = Net()
    guest = net.guest()
    denied(net, guest, 3000)
    net.now += 30 * SECOND
    runs = 1
    while net.core.run(net.now, 100):
        runs += 1
    assert 20 < runs <= 30
    assert net.core.memory()["flows"] == 0


def test_time_may_stand_still() -> None:
    net = Net(now=0)
    guest = net.guest()
    guest.echo(to=GATEWAY)
    assert len(guest.packets()) == 1
    guest.udp(b"x")
    assert net.core.next_deadline() == 30 * SECOND


# -- always the same ---------------------------------------------------------------------------------------------------


def story(net: Net) -> list[Any]:
    """Something of everything; all that came out of it."""
    log: list[Any] = []
    net.core.claim_udp(ip(ALIAS), 53)
    net.core.capturing = True
    one, two = net.guest(15), net.guest(16)

    def note() -> None:
        log.append((net.core.punts(), one.frames(), two.frames(), net.host.take()))

    one.udp(b"query", to=ALIAS, port=53)
    one.tcp(SYN, seq=5)
    two.udp(bytes(5000), to=FAR)
    for punt in net.core.punts():
        log.append(punt)
        if punt[0] == core.KIND_FLOW and punt[2][0] == 6:
            net.core.serve(punt[1], 1, net.now)
        elif punt[0] == core.KIND_FLOW:
            mapping = net.host.allow(punt[1], ip(FAR), 9, net.now)
            net.host.arrive(mapping, ip(FAR), 9, bytes(4000), net.now)
    net.run()
    note()
    net.core.open(ip(two.ip), 22, ip(GATEWAY), 1, 0, net.now)
    net.core.open(ip("10.0.2.50"), 22, ip(GATEWAY), 1, 0, net.now)
    net.run()
    for _ in range(20):
        net.wait(1.7)
        note()
    log += [net.core.captured(), net.core.counters(), net.core.flows(), net.core.neighbors(), net.core.memory()]
    return log


def test_the_same_calls_and_seed_make_the_same_frames() -> None:
    assert story(Net()) == story(Net())


def test_another_seed_changes_only_what_must_not_be_guessed() -> None:
    one, other = story(Net()), story(Net(seed=b"\xa5" * 16))
    assert one[-4:] == other[-4:]
    assert one != other


# -- nothing is left ---------------------------------------------------------------------------------------------------


def speak(net: Net, guest: Guest, kind: int, n: int) -> None:
    """Something that a guest might send."""
    frames: list[Callable[[], bytes]] = [
        lambda: guest.udp_frame(bytes(n), port=1 + n % 50),
        lambda: guest.tcp_frame(SYN, source_port=1 + n % 50, seq=n),
        lambda: guest.tcp_frame(ACK, bytes(n % 1400), source_port=1 + n % 50, seq=n),
        lambda: guest.echo_frame(bytes(n), identifier=n % 5),
        lambda: guest.arp_frame(f"10.0.2.{n % 256}"),
        lambda: guest.ipv4(bytes(n // 8 * 8 + 8), 17, mf=1, offset=n % 100, id=n % 30),
    ]
    net.core.deliver(guest.port, [frames[kind]()], net.now)


def act(net: Net, guest: Guest, kind: int, n: int) -> None:
    """Something that the stack might do."""
    new = [punt[1] for punt in net.punts() if punt[0] == core.KIND_FLOW]
    for flow in new:
        if kind == 0:
            net.core.serve(flow, n, net.now)
        else:
            net.core.deny(flow, 1 + n % 6, net.now)
    if kind == 2:
        net.core.open(ip(f"10.0.2.{n % 256}"), 1 + n % 50, ip(FAR), 80, n, net.now)
    for flow in net.core.flows()[: n % 4 if kind == 3 else 0]:
        net.core.close_flow(flow["flow"], net.now)
    net.wait(n % 40 / 3 if kind == 4 else 0)
    if kind == 5:
        guest.frames()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from([speak, act]), st.integers(0, 5), st.integers(0, 1400)), max_size=60))
def test_memory_goes_back_to_nothing(actions: list[tuple[Callable[[Net, Guest, int, int], None], int, int]]) -> None:
    net = Net()
    guest = net.guest()
    for action, kind, number in actions:
        action(net, guest, kind, number)
    for flow in net.core.flows():
        net.core.close_flow(flow["flow"], net.now)
    net.wait(1000)
    memory = net.core.memory()
    left = {
        name: memory[name] for name in ("buffer_bytes", "flows", "timers", "reassembly_bytes", "reassembly_datagrams")
    }
    assert left == dict.fromkeys(left, 0)
    assert net.core.next_deadline() is None
    counted = net.core.counters()
    assert counted["flow.opened"] == counted["flow.closed"]
    assert net.core.ports()[0]["rx_frames"] >= 1


@pytest.mark.parametrize("first", ["core", "host"])
def test_a_core_goes_with_all_that_is_open(first: str) -> None:
    net = Net()
    guest = net.guest()
    guest.tcp(SYN)
    net.host.attach(net.flow(), net.now)
    guest.udp(b"x")
    net.host.allow(net.flow(), ip(FAR), 9, net.now)
    guest.udp(bytes(60000), port=10)
    guest.send(guest.ipv4(bytes(800), 17, mf=1))
    net.core.open(ip("10.0.2.50"), 22, ip(GATEWAY), 1, 0, net.now)
    net.core.send_udp(ip(FAR), 9, ip("10.0.2.50"), 9, bytes(1000), net.now)
    net.core.capturing = True
    guest.arp(GATEWAY)
    host, whole = net.host, net.core
    del net, guest
    if first == "core":
        del whole, host
    else:
        del host
        whole.run(400 * SECOND)  # there is nobody any more to close the sockets of those that expire
        assert len(whole.flows()) == 1
        del whole
