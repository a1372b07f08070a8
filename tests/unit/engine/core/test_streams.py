"""TCP flows of the core: who opens one, what the verdict makes of it, when it is over.  (TCP itself: tests/tcp.)"""

from __future__ import annotations

from typing import Any

import dpkt
import pytest

from pyslirp.engine.core import core
from tests.unit.engine.core.guest import (
    FAR,
    GATEWAY,
    MAC,
    MILLISECOND,
    Guest,
    Net,
    described,
    dotted,
    four,
    ip,
    payload,
)

SYN, RST, ACK, FIN, PSH = dpkt.tcp.TH_SYN, dpkt.tcp.TH_RST, dpkt.tcp.TH_ACK, dpkt.tcp.TH_FIN, dpkt.tcp.TH_PUSH
MSS_1460 = b"\x02\x04\x05\xb4"
EHOSTUNREACH, ENETUNREACH, ECONNREFUSED, EACCES, ETIMEDOUT = 113, 101, 111, 13, 110
TIME_WAIT_SECONDS = 10


class Client:
    """A guest's end of a connection that does no more than it is told; it counts what it has sent and got."""

    def __init__(self, guest: Guest, *, port: int = 80, source_port: int = 40000, seq: int = 1000) -> None:
        self.guest, self.net = guest, guest.net
        self.ends: dict[str, Any] = {"port": port, "source_port": source_port, "to": FAR}
        self.seq, self.ack = seq, 0
        self.heard: list[Any] = []

    def send(self, flags: int, data: bytes = b"", **fields: Any) -> None:
        self.guest.tcp(flags, data, **{**self.ends, "seq": self.seq, "ack": self.ack, **fields})
        self.seq += len(data) + bool(flags & (SYN | FIN))

    def hear(self) -> list[Any]:
        """The segments that have come since last asked."""
        packets = [
            packet for packet in self.guest.packets() if packet.p == 6 and packet.data.dport == self.ends["source_port"]
        ]
        for packet in packets:
            tcp = packet.data
            if not tcp.flags & RST:
                self.ack = (
                    tcp.seq + len(payload(packet)) - tcp.off * 4 + bool(tcp.flags & SYN) + bool(tcp.flags & FIN)
                ) % 2**32
        return [packet.data for packet in packets]

    def only(self) -> Any:
        (segment,) = self.hear()
        return segment

    def syn(self) -> int:
        """Ask for a connection; the new flow's handle."""
        self.send(SYN, options=MSS_1460)
        return self.net.flow()

    def establish(self) -> int:
        """A served connection, with the three segments of its handshake."""
        flow = self.syn()
        self.net.core.serve(flow, 7, self.net.now)
        self.net.run()
        assert self.only().flags == SYN | ACK
        self.send(ACK)
        assert self.net.punts() == [(core.KIND_CONNECTED, flow, 7)]
        return flow

    def attach(self) -> tuple[int, int]:
        """A connection with a host socket: flow and socket."""
        flow = self.syn()
        socket = self.net.host.attach(flow, self.net.now)
        self.net.host.connected(flow, self.net.now)
        self.net.run()
        assert self.only().flags == SYN | ACK
        self.send(ACK)
        return flow, socket


def state(net: Net, flow: int) -> str:
    found: str = net.core.flow(flow)["state"]
    return found


# -- the verdict -------------------------------------------------------------------------------------------------------


def test_a_syn_waits_for_the_verdict() -> None:
    net = Net()
    client = Client(net.guest())
    client.send(SYN, ttl=33)
    kind, flow, key, ttl, link = net.punt()
    assert (kind, key, ttl, link) == (core.KIND_FLOW, (6, ip("10.0.2.15"), 40000, ip(FAR), 80), 33, client.guest.port)
    client.seq -= 1
    client.send(SYN)
    net.wait(5)
    assert client.hear() == []
    assert net.punts() == []
    assert (state(net, flow), net.core.flow(flow)["waiting"]) == ("HELD", True)


def test_a_served_connection_from_end_to_end() -> None:
    net = Net()
    client = Client(net.guest())
    flow = client.establish()
    client.send(ACK | PSH, b"question")
    assert net.punt() == (core.KIND_READABLE, flow, 7)
    assert net.core.stream_read(flow, 100, net.now) == b"question"
    assert net.core.stream_write(flow, b"answer") == 6
    net.core.stream_finish(flow)
    net.run()
    segments = client.hear()
    assert [bytes(segment.data) for segment in segments if segment.data] == [b"answer"]
    assert segments[-1].flags & FIN
    client.send(FIN | ACK)
    assert net.punt() == (core.KIND_FINISHED, flow, 7)
    net.wait(TIME_WAIT_SECONDS)
    assert net.punt() == (core.KIND_CLOSED, flow, 7, (6, ip("10.0.2.15"), 40000, ip(FAR), 80), 1, 8, 6, False)
    assert core.REASONS[1] == "closed"
    assert net.core.memory()["flows"] == 0


def test_the_end_of_a_flow_that_nobody_awaits_is_not_told() -> None:
    net = Net()
    assert net.core.observed
    net.core.observed = False
    alone = Client(net.guest())
    alone.attach()
    alone.send(RST)
    assert (net.punts(), net.core.memory()["flows"]) == ([], 0)
    served = Client(net.guest(16))
    flow = served.establish()
    served.send(RST)
    assert net.punt()[:2] == (core.KIND_CLOSED, flow)
    undecided = Client(net.guest(17))
    flow = undecided.syn()
    net.core.deny(flow, core.REFUSE_SILENT, net.now)
    assert net.punt()[:2] == (core.KIND_CLOSED, flow)
    opened = net.core.open(ip("10.0.2.15"), 22, ip(GATEWAY), 5000, 0, net.now)
    net.core.close_flow(opened, net.now)
    assert net.punt()[:2] == (core.KIND_CLOSED, opened)


def test_a_reset_answers_the_syn_exactly() -> None:
    net = Net()
    client = Client(net.guest(), seq=0xFFFFFFFF)
    net.core.deny(client.syn(), core.REFUSE_RESET, net.now)
    reset = client.only()
    assert (reset.flags, reset.seq, reset.ack, reset.win) == (RST | ACK, 0, 0, 0)
    assert net.punt()[4] == core.REASONS.index("denied")
    assert net.core.flows() == []


@pytest.mark.parametrize(
    ("how", "code"), [(core.REFUSE_PORT, 3), (core.REFUSE_HOST, 1), (core.REFUSE_NET, 0), (core.REFUSE_PROHIBITED, 13)]
)
def test_an_icmp_error_answers_the_syn(how: int, code: int) -> None:
    """Linux takes it for its connection by addresses, ports and sequence number (net/ipv4/tcp_ipv4.c, tcp_v4_err)."""
    net = Net()
    client = Client(net.guest(), seq=0x12345678)
    net.core.deny(client.syn(), how, net.now)
    source, kind, said, quoted = described(client.guest.packet())
    assert (source, kind, said) == (GATEWAY, 3, code)
    assert (quoted.src, quoted.dst, quoted.p) == (four("10.0.2.15"), four(FAR), 6)
    assert quoted.raw[20:28] == (40000).to_bytes(2) + (80).to_bytes(2) + (0x12345678).to_bytes(4)
    assert net.counted()["tcp.denied"] == 1


def test_silence() -> None:
    net = Net()
    client = Client(net.guest())
    net.core.deny(client.syn(), core.REFUSE_SILENT, net.now)
    assert client.hear() == []
    assert net.core.flows() == []
    client.seq -= 1
    assert net.punt()[0] == core.KIND_CLOSED
    assert client.syn()


def test_a_guest_that_gives_up_before_the_verdict() -> None:
    net = Net()
    client = Client(net.guest())
    flow = client.syn()
    client.send(RST)
    assert net.punt()[:2] == (core.KIND_CLOSED, flow)
    net.core.serve(flow, 1, net.now)
    net.core.deny(flow, core.REFUSE_RESET, net.now)
    net.run()
    assert client.hear() == []
    assert net.core.memory()["flows"] == 0


def test_a_verdict_counts_once() -> None:
    net = Net()
    client = Client(net.guest())
    flow = client.establish()
    net.core.deny(flow, core.REFUSE_RESET, net.now)
    net.core.serve(flow, 9, net.now)
    net.run()
    assert client.hear() == []
    assert net.core.flow(flow)["tag"] == 7


def test_too_many_punts_drop_the_syn_and_the_guest_asks_again() -> None:
    net = Net()
    guests = [net.guest(15 + number) for number in range(5)]
    net.counted()
    for guest in guests:
        guest.send(*[guest.tcp_frame(SYN, source_port=port) for port in range(1000, 1820)])
    counted = net.counted()
    assert (counted["flow.opened"], counted["flow.closed"], counted["claimed.queue_full"]) == (4100, 4, 4)
    assert len(net.punts()) == len(net.core.flows()) == 4096
    guests[-1].tcp(SYN, source_port=1819)
    assert net.punt()[2][2] == 1819


# -- a host socket -----------------------------------------------------------------------------------------------------


def test_bytes_pass_both_ways_and_the_ends_too() -> None:
    net = Net()
    client = Client(net.guest())
    flow, socket = client.attach()
    client.send(ACK, b"up")
    assert net.host.take() == [("send", socket, b"up")]
    client.hear()
    net.host.feed(flow, socket, b"down", net.now)
    net.run()
    assert [bytes(segment.data) for segment in client.hear()] == [b"down"]
    client.send(FIN | ACK)
    assert net.host.take() == [("finish", socket)]
    net.host.feed(flow, socket, b"last", net.now, end=True)
    net.run()
    segments = client.hear()
    assert bytes(segments[-1].data) == b"last"
    assert segments[-1].flags & FIN
    assert net.host.take() == [("close", socket, False)]
    client.send(ACK)
    assert net.punt() == (core.KIND_CLOSED, flow, 0, (6, ip("10.0.2.15"), 40000, ip(FAR), 80), 1, 2, 8, False)
    assert (net.core.memory()["flows"], net.host.sockets) == (0, {})


@pytest.mark.parametrize(("error", "code"), [(EHOSTUNREACH, 1), (ENETUNREACH, 0), (EACCES, 13)])
def test_a_connect_that_the_network_refuses(error: int, code: int) -> None:
    net = Net()
    client = Client(net.guest(), seq=77)
    flow = client.syn()
    socket = net.host.attach(flow, net.now)
    net.host.failed(flow, error, net.now)
    source, kind, said, quoted = described(client.guest.packet())
    assert (source, kind, said, quoted.raw[24:28]) == (GATEWAY, 3, code, (77).to_bytes(4))
    assert net.host.take() == [("close", socket, True)]
    assert net.punt()[4] == core.REASONS.index("unreachable")


@pytest.mark.parametrize(
    ("error", "flags", "reason"),
    [(ECONNREFUSED, [RST | ACK], "refused"), (ETIMEDOUT, [], "timed out"), (5, [RST | ACK], "reset by host")],
)
def test_a_connect_that_fails(error: int, flags: list[int], reason: str) -> None:
    net = Net()
    client = Client(net.guest())
    flow = client.syn()
    net.host.attach(flow, net.now)
    net.host.failed(flow, error, net.now)
    assert [segment.flags for segment in client.hear()] == flags
    assert net.punt()[4] == core.REASONS.index(reason)
    assert net.host.sockets == {}


def test_a_guest_that_resets_resets_the_socket() -> None:
    net = Net()
    client = Client(net.guest())
    _, socket = client.attach()
    client.send(RST)
    assert net.host.take() == [("close", socket, True)]
    assert net.punt()[4] == core.REASONS.index("reset by guest")


def time_wait(net: Net, client: Client) -> tuple[int, int]:
    """The host has ended first, and does not take what the guest sent last."""
    flow, socket = client.attach()
    net.host.feed(flow, socket, b"bye", net.now, end=True)
    net.run()
    client.hear()
    client.send(ACK)
    net.host.room = 0
    client.send(ACK | FIN, b"the guest's last words")
    assert state(net, flow) == "TIME_WAIT"
    client.hear()
    return flow, socket


def test_a_new_syn_ends_time_wait_and_the_host_still_gets_its_bytes() -> None:
    """RFC 9293 3.6.1 lets the guest use the ports again; DESIGN: a byte that was acknowledged is delivered."""
    net = Net()
    client = Client(net.guest())
    old, socket = time_wait(net, client)
    net.host.take()
    again = Client(client.guest, seq=client.seq + 100000)
    new = again.syn()
    assert new != old
    net.host.room = None
    net.host.writable(old, net.now)
    net.run()
    assert net.host.take() == [
        ("send", socket, b"the guest's last words"),
        ("finish", socket),
        ("close", socket, False),
    ]
    assert net.punt()[:2] == (core.KIND_CLOSED, old)
    assert [flow["flow"] for flow in net.core.flows()] == [new]


def test_an_old_syn_does_not_end_time_wait() -> None:
    net = Net()
    client = Client(net.guest())
    old, _ = time_wait(net, client)
    client.send(SYN, seq=900)
    assert net.punts() == []
    assert state(net, old) == "TIME_WAIT"


def test_closing_a_flow_resets_both_sides() -> None:
    net = Net()
    client = Client(net.guest())
    flow, socket = client.attach()
    net.core.close_flow(flow, net.now)
    assert net.host.take() == [("close", socket, True)]
    assert client.only().flags & RST
    assert net.punt()[4] == core.REASONS.index("shut down")
    net.core.close_flow(flow, net.now)
    assert (client.hear(), net.punts(), net.core.memory()["flows"]) == ([], [], 0)


# -- reassembled segments ----------------------------------------------------------------------------------------------


def split(client: Client, data: bytes, ident: int) -> list[bytes]:
    """A segment with `data`, in two fragments."""
    segment = dpkt.tcp.TCP(
        sport=client.ends["source_port"], dport=80, seq=client.seq, ack=client.ack, flags=ACK, win=65535, data=data
    )
    client.seq += len(data)
    return client.guest.fragments(segment, 6, len(data) // 16 * 8 + 8, ident=ident)


def test_segments_in_fragments_arrive_whatever_else_is_in_the_batch() -> None:
    """A reassembled segment lies in a buffer that the next fragment frees: it must be passed on before."""
    net = Net()
    guest = net.guest()
    one, two = Client(guest, source_port=1), Client(guest, source_port=2)
    sockets = {one: one.attach()[1], two: two.attach()[1]}
    expected = {one: b"", two: b""}
    frames = []
    for turn in range(1, 6):
        for client in (one, two):
            whole, first = bytes([64 + turn]) * 3000, b"whole segment"
            frames += [guest.tcp_frame(ACK, first, **client.ends, seq=client.seq, ack=client.ack)]
            client.seq += len(first)
            frames += split(client, whole, 10 * turn + sockets[client])
            expected[client] += first + whole
    guest.send(*frames)
    sent = net.host.take()
    for client, socket in sockets.items():
        assert b"".join(data for _, number, data in sent if number == socket) == expected[client]


def test_an_end_before_what_has_already_come_is_the_end() -> None:
    """Found by fuzz/frame.py: a guest that sends ahead, and then a FIN in between."""
    net = Net()
    client = Client(net.guest())
    flow = client.establish()
    client.guest.tcp(ACK, b"ahead", source_port=40000, seq=client.seq + 1, ack=client.ack)
    client.send(FIN | ACK)
    assert net.core._unsound() == []
    assert net.punt() == (core.KIND_FINISHED, flow, 7)
    assert net.core.stream_read(flow, 100, net.now) == b""


# -- towards the guest -------------------------------------------------------------------------------------------------


def test_a_connection_to_a_guest() -> None:
    net = Net()
    guest = net.guest()
    flow = net.core.open(ip(guest.ip), 22, ip(GATEWAY), 5555, 9, net.now)
    net.run()
    syn = guest.packet()
    assert (dotted(syn.src), syn.data.sport, syn.data.dport, syn.data.flags) == (GATEWAY, 5555, 22, SYN)
    guest.tcp(SYN | ACK, to=GATEWAY, source_port=22, port=5555, seq=50, ack=syn.data.seq + 1)
    assert net.punt() == (core.KIND_CONNECTED, flow, 9)
    ack = guest.packet().data
    assert (ack.flags, ack.seq, ack.ack) == (ACK, (syn.data.seq + 1) % 2**32, 51)
    assert net.core.open(ip(guest.ip), 22, ip(GATEWAY), 5555, 9, net.now) == 0


@pytest.mark.parametrize("nobody", ["10.0.2.255", "10.0.2.0", "255.255.255.255", "224.0.0.1", "0.0.0.0", "ff02::1", "::"])
def test_nothing_opens_to_a_group(nobody: str) -> None:
    net = Net()
    net.guest()
    assert net.core.open(ip(nobody), 22, ip(GATEWAY), 5555, 9, net.now) == 0
    assert net.host.open(ip(nobody), 22, ip(FAR), 5555, net.now) == (0, 0)
    assert net.core.memory()["flows"] == 0


def test_a_guest_that_refuses() -> None:
    net = Net()
    guest = net.guest()
    flow, socket = net.host.open(ip(guest.ip), 22, ip(FAR), 5555, net.now)
    net.run()
    syn = guest.packet().data
    guest.tcp(RST | ACK, source_port=22, port=5555, ack=syn.seq + 1)
    assert net.host.take() == [("close", socket, True)]
    assert net.punt()[:5:4] == (core.KIND_CLOSED, core.REASONS.index("refused"))
    assert flow


def test_a_guest_that_is_not_there_is_unreachable_after_three_requests() -> None:
    net = Net()
    guest = net.guest()
    flow, socket = net.host.open(ip("10.0.2.99"), 22, ip(FAR), 5555, net.now)
    served = net.core.open(ip("10.0.2.99"), 22, ip(GATEWAY), 5555, 9, net.now)
    net.run()
    net.wait(2.9)
    assert len(guest.arps()) == 3
    assert net.punts() == []
    net.wait(0.1)
    assert {punt[1]: core.REASONS[punt[4]] for punt in net.punts()} == {flow: "unreachable", served: "unreachable"}
    assert net.host.take() == [("close", socket, True)]
    assert net.core.memory()["flows"] == 0
    assert len(net.core.neighbors()) == 1


def test_a_guest_that_answers_late_gets_its_syn() -> None:
    net = Net()
    guest = net.guest(known=False)
    net.core.open(ip(guest.ip), 22, ip(GATEWAY), 5555, 9, net.now)
    net.run()
    net.wait(1.5)
    assert len(guest.arps()) == 2
    guest.arp(GATEWAY, operation=2, target_mac=MAC, to=MAC)
    assert guest.packet().data.flags == SYN
    net.wait(0.5)
    assert net.core.flows()[0]["state"] == "SYN_SENT"


def test_a_connection_outlives_its_guests_link() -> None:
    """A guest that goes away and comes back finds its flows; one that had spoken is not given up so soon."""
    net = Net()
    client = Client(net.guest())
    flow = client.establish()
    net.core.remove_port(client.guest.port)
    net.core.stream_write(flow, b"while it was away")
    net.run()
    net.wait(30)
    assert state(net, flow) == "ESTABLISHED"
    client.guest.port = net.core.add_port(1500)
    client.guest.arp(GATEWAY)
    frames = [dpkt.ethernet.Ethernet(frame).data for frame in client.guest.frames()]
    assert [bytes(packet.data.data) for packet in frames if isinstance(packet, dpkt.ip.IP)] == [b"while it was away"]
    assert net.core.neighbors()[0]["flows"] == 1


# -- back-pressure -----------------------------------------------------------------------------------------------------


def test_a_full_link_holds_a_connection_until_it_drains() -> None:
    net = Net()
    client = Client(net.guest())
    flow = client.establish()
    while net.core.send_udp(ip(FAR), 9, ip(client.guest.ip), 9, b"", net.now):
        pass
    net.core.stream_write(flow, b"held")
    net.run()
    assert net.core.flow(flow)["in_flight"] == 0
    assert net.core.next_deadline() is not None
    assert b"held" not in b"".join(net.core.collect(client.guest.port, 5))
    net.run()
    assert bytes(client.hear()[-1].data) == b"held"


def test_connections_to_a_link_that_does_not_drain_leave_nothing_behind() -> None:
    """Or a guest that only sends, SYN and RST, would fill the table with the dead."""
    net = Net()
    guest = net.guest()
    while net.core.send_udp(ip(FAR), 9, ip(guest.ip), 9, b"", net.now):
        pass
    for port in range(1000, 1100):
        guest.tcp(SYN, source_port=port)
        net.core.serve(net.flow(), 1, net.now)
        net.run()
        guest.tcp(RST, source_port=port, seq=1001)
        assert net.punt()[0] == core.KIND_CLOSED
    assert net.core.memory()["flows"] == 0


def test_connections_take_turns_when_a_link_drains() -> None:
    net = Net()
    guest = net.guest()
    clients = [Client(guest, source_port=port) for port in (1, 2, 3)]
    flows = [client.establish() for client in clients]
    while net.core.send_udp(ip(FAR), 9, ip(guest.ip), 9, bytes(1400), net.now):
        pass
    for flow in flows:
        net.core.stream_write(flow, bytes(14600))
    net.run()
    ports = []
    for _ in range(900):
        for frame in net.core.collect(guest.port, 1):
            packet = dpkt.ethernet.Ethernet(frame).data
            if packet.p == 6 and packet.data.data:
                ports.append(packet.data.dport)
        net.run()
    assert ports == [*ports[:3]] * 10
    assert sorted(ports[:3]) == [1, 2, 3]


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_initial_sequence_numbers_follow_the_clock_and_the_key() -> None:
    """RFC 6528: the same connection's grows by one every four microseconds; another's says nothing about it."""

    def isn(seed: bytes, after: int, port: int) -> int:
        net = Net(seed=seed)
        client = Client(net.guest(), source_port=port)
        flow = client.syn()
        net.core.close_flow(flow, net.now)
        net.punts()
        client.hear()
        net.now += after
        flow = client.syn()
        net.core.serve(flow, 1, net.now)
        net.run()
        number: int = client.only().seq
        return number

    first = isn(bytes(16), 0, 1)
    assert isn(bytes(16), 0, 1) == first
    assert isn(bytes(16), 400 * MILLISECOND, 1) == (first + 100_000) % 2**32
    assert abs(isn(bytes(16), 0, 2) - first) > 1000
    assert abs(isn(bytes([1] * 16), 0, 1) - first) > 1000
