"""A connection and its host socket: urgent bytes both ways, sockets that break, and who may be opening how many."""

from __future__ import annotations

import dpkt
import pytest

from pyslirp.engine.core import core
from tests.unit.engine.core.guest import FAR, GATEWAY, MAC, Guest, Net, ip
from tests.unit.engine.core.test_streams import ACK, FIN, RST, SYN, Client, state

WIDE = bytes([2, 4, 5, 180, 1, 3, 3, 10, 4, 2, 1, 1])  # MSS 1460, window scale 10, SACK
URG = dpkt.tcp.TH_URG
ECONNRESET = 104
HALF_OPEN_MAX = 1024  # core/world.pxd


def test_the_guests_urgent_byte_goes_out_of_band_at_its_place() -> None:
    """RFC 6093 section 3.1: the pointer is one past the urgent byte."""
    net = Net()
    client = Client(net.guest())
    _, socket = client.attach()
    net.host.take()
    client.send(ACK | URG, b"ab!cd", urgent=3)
    assert net.host.take() == [("send", socket, b"ab"), ("urgent", socket, ord("!")), ("send", socket, b"cd")]
    client.send(ACK | URG, b"", urgent=2)
    client.send(ACK, b"efg")
    assert net.host.take() == [("send", socket, b"e"), ("urgent", socket, ord("f")), ("send", socket, b"g")]


def test_an_urgent_pointer_to_what_the_host_has_already_is_nothing() -> None:
    net = Net()
    client = Client(net.guest())
    _, socket = client.attach()
    client.send(ACK, b"abc")
    net.host.take()
    client.send(ACK | URG, b"", seq=client.seq - 3, urgent=2)
    client.send(ACK, b"de")
    assert net.host.take() == [("send", socket, b"de")]


def test_an_urgent_byte_waits_for_a_host_that_is_full() -> None:
    net = Net()
    client = Client(net.guest())
    flow, socket = client.attach()
    net.host.take()
    net.host.room = 1
    client.send(ACK | URG, b"ab!c", urgent=3)
    assert net.host.take() == [("send", socket, b"a")]
    net.host.room = None
    net.host.writable(flow, net.now)
    net.run()
    assert net.host.take() == [("send", socket, b"b"), ("urgent", socket, ord("!")), ("send", socket, b"c")]


@pytest.mark.parametrize("probe", [b"", b"a"], ids=["alone", "with a byte"])
def test_an_urgent_pointer_counts_at_a_closed_window(probe: bytes) -> None:
    """RFC 9293 MUST-66.  What comes with it is refused; the pointer is to what comes later."""
    net = Net()
    client = Client(net.guest())
    flow, socket = client.attach()
    net.host.room = 0
    for size in [*[1460] * 44, 65535 - 44 * 1460]:
        client.send(ACK, bytes(size))
    net.wait(0.1)
    assert client.hear()[-1].win == 0
    client.send(ACK | URG, probe, urgent=3)
    client.seq -= len(probe)
    net.host.room = None
    net.host.writable(flow, net.now)
    net.run()
    net.host.take()
    client.send(ACK, b"ab!cd")
    assert net.host.take() == [("send", socket, b"ab"), ("urgent", socket, ord("!")), ("send", socket, b"cd")]


def test_what_the_guest_marks_leaves_the_host_marked() -> None:
    """RFC 9293 3.9.1.9: a change of mind too.  ECN's bits are the hop's own (RFC 3168), and what is no data says nothing."""
    net = Net()
    client = Client(net.guest())
    flow, socket = client.attach()
    net.host.take()
    client.send(ACK, b"ab", tos=0xB8 | 2)
    client.send(ACK, b"cd", tos=0xB8)
    client.send(ACK, tos=0x20)
    assert net.host.take() == [("ds", socket, 0xB8), ("send", socket, b"ab"), ("send", socket, b"cd")]
    client.send(ACK, b"ef", tos=1)
    assert net.host.take() == [("ds", socket, 0), ("send", socket, b"ef")]
    assert state(net, flow) == "ESTABLISHED"


def test_the_hosts_urgent_byte_has_a_pointer_behind_it() -> None:
    net = Net()
    client = Client(net.guest())
    flow, socket = client.attach()
    net.host.feed(flow, socket, b"ab!", net.now, urgent=True)
    net.run()
    first = client.hear()
    assert b"".join(bytes(segment.data) for segment in first) == b"ab!"
    marked = [segment for segment in first if segment.flags & URG]
    assert marked
    assert {(segment.seq + segment.urp - first[0].seq) % 2**32 for segment in marked} == {3}
    client.send(ACK)
    net.host.feed(flow, socket, b"cd", net.now)
    net.run()
    assert [(segment.flags & URG, segment.urp) for segment in client.hear()] == [(0, 0)]


@pytest.mark.parametrize("ended", ["none", "host", "guest"])
def test_a_broken_socket_closes_although_the_guest_stays_silent(ended: str) -> None:
    """Whatever the state: half-closed by the host, by the guest, or not at all."""
    net = Net()
    client = Client(net.guest())
    flow, socket = client.attach()
    if ended == "host":
        net.host.feed(flow, socket, b"", net.now, end=True)
        net.run()
    if ended == "guest":
        client.send(ACK | FIN)
    net.host.errors["recv"] = ECONNRESET
    client.hear()
    net.host.broken(flow, net.now)
    net.run()
    assert ("close", socket, True) in net.host.take()
    assert [segment.flags & RST for segment in client.hear()] == [RST]
    assert core.REASONS[next(punt for punt in net.punts() if punt[0] == core.KIND_CLOSED)[4]] == "reset by host"


def test_a_broken_socket_is_closed_while_its_bytes_find_no_window() -> None:
    """A guest that takes nothing more would never let us read as far as the error."""
    net = Net()
    client = Client(net.guest())
    flow, socket = client.attach()
    client.send(ACK, window=0)
    net.host.feed(flow, socket, bytes(1 << 20), net.now)
    net.run()
    net.host.broken(flow, net.now)
    net.run()
    assert ("close", socket, True) in net.host.take()
    assert net.core.memory()["flows"] == 0
    assert net.core.memory()["buffer_bytes"] == 0


def test_the_last_bytes_of_a_broken_socket_are_read_first() -> None:
    net = Net()
    client = Client(net.guest())
    flow, socket = client.attach()
    net.host.feed(flow, socket, b"last words", net.now)
    net.host.broken(flow, net.now)
    net.run()
    assert b"last words" in [bytes(segment.data) for segment in client.hear()]


def test_a_flood_of_syns_drives_itself_out_and_nothing_else() -> None:
    net = Net()
    flooding, other = net.guest(), net.guest(16)
    flooding.frames()  # the other's introduction, which is for everybody
    client, elsewhere = Client(flooding), Client(other)
    flow, flow_elsewhere = client.establish(), elsewhere.establish()
    waiting = Client(other, source_port=50000).syn()
    reasons = set()
    for first in range(1000, 1000 + 3 * HALF_OPEN_MAX, 512):
        flooding.send(*[flooding.tcp_frame(SYN, source_port=port) for port in range(first, first + 512)])
        reasons |= {core.REASONS[punt[4]] for punt in net.punts() if punt[0] == core.KIND_CLOSED}
    assert net.counted()["tcp.evicted"] == 2 * HALF_OPEN_MAX
    left = {found["guest_port"] for found in net.core.flows() if found["state"] == "HELD" and found["flow"] != waiting}
    assert left == set(range(1000 + 2 * HALF_OPEN_MAX, 1000 + 3 * HALF_OPEN_MAX)), "the youngest"
    assert flooding.packets() == [], "not a word"
    assert (state(net, flow), state(net, flow_elsewhere)) == ("ESTABLISHED", "ESTABLISHED")
    assert state(net, waiting) == "HELD"
    assert reasons == {"evicted"}


def test_handshakes_that_end_make_room() -> None:
    net = Net()
    guest = net.guest()
    for port in range(1000, 1000 + 2 * HALF_OPEN_MAX):
        client = Client(guest, source_port=port)
        if port % 2:
            client.establish()
        else:
            net.core.deny(client.syn(), core.REFUSE_RESET, net.now)
            net.punts()
    assert net.counted().get("tcp.evicted", 0) == 0


def fill(net: Net, guest: Guest, flows: int) -> int:
    """A guest whose host reads nothing sends all it may, and some out of order; the bytes that are held for it."""
    net.host.room = 0
    for number in range(flows):
        client = Client(guest, source_port=40000 + number)
        client.attach()
        for at in range(0, 65000, 1000):
            client.guest.tcp(ACK, bytes(1000), **client.ends, seq=client.seq + at, ack=client.ack)
    return int(next(port["buffer_bytes"] for port in net.core.ports() if port["port"] == guest.port))


def test_one_guest_does_not_take_the_memory_of_another() -> None:
    net = Net()
    net.core.set_memory(4 << 20)
    greedy, modest = net.guest(), net.guest(16)
    greedy.frames()
    assert 3 << 20 < fill(net, greedy, 80) <= (4 << 20) * 4 // 5 + 16384
    refused = {port["port"]: port["buffer_refused"] for port in net.core.ports()}
    assert refused[greedy.port] > 0
    assert fill(net, modest, 5) == 5 * 65536
    assert {port["port"]: port["buffer_refused"] for port in net.core.ports()}[modest.port] == 0


def test_what_the_host_opens_is_charged_to_the_guest_it_is_for() -> None:
    net = Net()
    guest = net.guest()
    flow, socket = net.host.open(ip(guest.ip), 22, ip(FAR), 5000, net.now)
    net.run()
    (syn,) = [packet.data for packet in guest.packets()]
    guest.tcp(SYN | ACK, port=5000, source_port=22, seq=7, ack=syn.seq + 1)
    net.host.feed(flow, socket, bytes(100_000), net.now)
    net.run()
    assert net.core.ports()[0]["buffer_bytes"] == net.core.memory()["buffer_bytes"] > 0


def widened(net: Net, cwnd: int = 1 << 20, client: Client | None = None) -> int:
    """A flow with megabytes to read at the host, and a guest whose window and ACKs have opened the window to `cwnd`."""
    client = client or Client(net.guest())
    client.send(SYN, options=WIDE)
    flow = net.flow()
    socket = net.host.attach(flow, net.now)
    net.host.connected(flow, net.now)
    net.run()
    client.only()
    client.send(ACK)
    net.host.feed(flow, socket, bytes(32 << 20), net.now)
    net.run()
    while net.core.flow(flow)["cwnd"] < cwnd:
        client.hear()
        client.send(ACK)
        net.run()
    return flow


def test_what_a_run_leaves_in_a_socket_is_read_in_the_next_and_waits_for_no_ack() -> None:
    """A run reads a share (relay.pyx, READ_PER_RUN); no edge tells of the rest, and the ACK may be a round trip away."""
    net = Net()
    flow = widened(net)
    assert net.core.flow(flow)["in_flight"] > 512 << 10


def test_little_more_is_read_than_may_be_sent() -> None:
    """What waits to be sent lies in the host's socket: read when it goes, it is still in the cache."""
    net = Net()
    told = net.core.flow(widened(net, 5 << 19))
    assert told["in_flight"] > 512 << 10
    assert told["send_queue"] - told["in_flight"] <= 1 << 20


def test_what_is_sacked_behind_a_hole_does_not_count_as_waiting() -> None:
    """It is held until the hole is filled, but is no part of the flight: the host is read for what the flight lacks."""
    net = Net()
    client = Client(net.guest())
    widened(net, client=client)
    first = client.ack
    client.hear()
    edges = [(number % 2**32).to_bytes(4, "big") for number in (first + 1460, client.ack)]
    client.send(ACK, ack=first, options=bytes([1, 1, 5, 10]) + b"".join(edges))
    net.run()
    assert sum(len(segment.data) for segment in client.hear()) > 512 << 10


# -- a guest that answers no more: RFC 9293 MUST-20 --------------------------------------------------------------------


def kinds(guest: Guest, seconds: float) -> list[int]:
    """The ether types of what comes in this time."""
    found: list[int] = []
    for _ in range(round(seconds * 100)):
        guest.net.wait(0.01)
        found += [int.from_bytes(frame[12:14]) for frame in guest.frames()]
    return found


ARP, IPV4 = 0x0806, 0x0800


def test_a_guest_that_answers_no_more_is_asked_for() -> None:
    """From the third repetition on, once for each and at most once a second; found elsewhere, it gets the next one there."""
    net = Net()
    guest = net.guest()
    flow = Client(guest).establish()
    net.core.stream_write(flow, b"are you there?")
    sent = kinds(guest, 10)
    assert sent.count(IPV4) >= 5
    first = sent.index(ARP)
    assert sent[:first].count(IPV4) == 3, "the first, and two repetitions"
    assert 1 < sent.count(ARP) <= sent[first:].count(IPV4)
    guest.mac = bytes.fromhex("5254000000ff")
    guest.arp(GATEWAY, operation=2, to=MAC)
    net.wait(10)
    assert {frame[:6] for frame in guest.frames() if frame[12:14] == b"\x08\x00"} == {guest.mac}


def test_a_silent_guest_is_asked_for_before_it_is_given_up() -> None:
    """Keepalive: the third probe that is not answered."""
    net = Net()
    guest = net.guest()
    Client(guest).establish()
    sent = kinds(guest, 7200 + 9 * 75 + 1)
    assert sent == [IPV4] * 2 + [ARP, IPV4] * 7 + [IPV4]


def test_many_flows_ask_once() -> None:
    net = Net()
    guest = net.guest()
    for port in range(40000, 40050):
        net.core.stream_write(Client(guest, source_port=port).establish(), b"are you there?")
    assert kinds(guest, 10).count(ARP) <= 10
