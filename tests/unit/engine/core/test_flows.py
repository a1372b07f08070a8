"""How many flows who may have, and that none is left behind."""

from __future__ import annotations

import dpkt
import pytest

from pyslirp.engine.core import core
from tests.unit.engine.core.guest import FAR, Guest, Net, ip

FLOWS_MAX = 65536
BATCH = 4000
SYN, ACK = dpkt.tcp.TH_SYN, dpkt.tcp.TH_ACK


def datagrams(guest: Guest, count: int, first: int) -> list[bytes]:
    """One of each of `count` conversations of a guest, told apart by the ports of both ends.  Without a checksum."""
    frame = guest.udp_frame(b"x")
    made = []
    for number in range(first, first + count):
        ports = (1 + number // 60000).to_bytes(2) + (1 + number % 60000).to_bytes(2)
        made.append(frame[:34] + ports + frame[38:40] + b"\0\0" + frame[42:])
    return made


def flood(net: Net, guest: Guest, most: int = FLOWS_MAX) -> int:
    """As many flows as the guest gets, at most `most` and one batch; how many."""
    opened = 0
    while opened < most:
        guest.send(*datagrams(guest, BATCH, opened))
        got = len(net.punts())
        opened += got
        if got < BATCH:
            break
    return opened


def test_one_link_gets_half_of_all_flows() -> None:
    """Whatever addresses its guests make up."""
    net = Net()
    hog, other = net.guest(15), net.guest(16)
    assert flood(net, hog) == FLOWS_MAX // 2
    assert net.counted()["flow.guest_limit"] > 0
    hog.ip = "10.0.2.99"
    assert flood(net, hog) == 0
    other.udp(b"x")
    assert net.punt()[0] == core.KIND_FLOW
    assert {n["flows"] for n in net.core.neighbors()} == {FLOWS_MAX // 2, 1, 0}


def test_two_links_leave_a_third_to_the_others() -> None:
    net = Net()
    one, two = net.guest(15), net.guest(16)
    taken = [0, 0]
    for _ in range(6):
        for index, guest in enumerate((one, two)):
            guest.send(*datagrams(guest, BATCH, taken[index]))
            taken[index] += len(net.punts())
    assert all(abs(count - FLOWS_MAX // 3) <= BATCH // 2 for count in taken)
    assert FLOWS_MAX - sum(taken) >= min(taken)


def test_flows_that_end_are_given_back() -> None:
    net = Net()
    guest = net.guest()
    assert flood(net, guest, 8000) == 8000
    assert (net.core.memory()["flows"], net.core.memory()["timers"]) == (8000, 8000)
    net.wait(30)
    assert len(net.punts()) == 8000
    assert (net.core.memory()["flows"], net.core.memory()["timers"], net.core.flows()) == (0, 0, [])
    assert net.core.neighbors()[0]["flows"] == 0
    counted = net.counted()
    assert counted["flow.opened"] == counted["flow.closed"] == 8000


def test_a_link_that_is_made_anew_begins_with_none() -> None:
    net = Net()
    guest = net.guest()
    flood(net, guest, 4000)
    net.core.remove_port(guest.port)
    again = Guest(net, 15, net.core.add_port(1500))
    assert again.port == guest.port
    net.wait(30)
    net.punts()
    assert net.core.memory()["flows"] == 0
    assert flood(net, again) == FLOWS_MAX // 2


def test_the_host_may_have_what_is_left() -> None:
    net = Net()
    guest = net.guest()
    flood(net, guest)
    opened = 0
    while opened < FLOWS_MAX and net.core.open(
        ip(guest.ip), 1 + opened % 60000, ip(FAR), 1 + opened // 60000, 0, net.now
    ):
        opened += 1
    assert opened == FLOWS_MAX // 2
    assert net.core.memory()["flows"] == net.core.memory()["flows_limit"] == FLOWS_MAX
    assert net.counted()["flow.table_full"] == 1
    other = net.guest(16)
    other.udp(b"x")
    assert net.punts() == []


@pytest.mark.parametrize("how", [core.REFUSE_RESET, core.REFUSE_SILENT])
def test_a_tcp_flow_that_is_refused_is_gone(how: int) -> None:
    net = Net()
    guest = net.guest()
    for number in range(100):
        guest.tcp(2, source_port=1000 + number)
        net.core.deny(net.flow(), how, net.now)
        net.punts()
    assert (net.core.memory()["flows"], net.core.memory()["timers"], net.core.neighbors()[0]["flows"]) == (0, 0, 0)


def test_handles_do_not_come_again() -> None:
    net = Net()
    guest = net.guest()
    seen = set()
    for number in range(200):
        guest.tcp(2, source_port=1000 + number)
        flow = net.flow()
        assert flow not in seen
        seen.add(flow)
        net.core.close_flow(flow, net.now)
        net.punts()


def connected(net: Net, guest: Guest, port: int) -> tuple[int, int]:
    """A served connection of the guest's: its flow, and what the guest has heard up to."""
    guest.tcp(SYN, source_port=port, seq=1000, options=b"\x02\x04\x05\xb4")
    flow = net.flow()
    net.core.serve(flow, 1, net.now)
    net.run()
    heard = guest.packet().data.seq + 1
    guest.tcp(ACK, source_port=port, seq=1001, ack=heard)
    net.punts()
    return flow, heard


def test_who_waits_goes_before_who_is_acknowledged() -> None:
    """The room that one flow's bytes have left on a link is not its own."""
    net = Net()
    guest = net.guest()
    served, heard = connected(net, guest, 40001)
    waiting, _ = connected(net, guest, 40002)
    net.core.stream_write(served, bytes(1460))
    net.run()
    assert len(guest.frames()) == 1
    while net.core.send_udp(ip(FAR), 9, ip(guest.ip), 5000, bytes(1446), net.now):
        pass
    for flow in (waiting, served):
        net.core.stream_write(flow, bytes(1460))
        net.run()
    assert len(net.core.collect(guest.port, 2)) == 2
    guest.tcp(ACK, source_port=40001, seq=1001, ack=heard + 1460)
    segments = [packet.data for packet in guest.packets() if packet.p == 6]
    assert [segment.dport for segment in segments if len(segment.data) == 1460] == [40002, 40001]
