"""What leaves: next hops and the asking for them, fragments, ICMP errors, single packets."""

from __future__ import annotations

import dpkt
import pytest

from pyslirp.engine.core import core
from tests.unit.engine.core.guest import (
    ALIAS,
    EVERYBODY,
    FAR,
    GATEWAY,
    MAC,
    MILLISECOND,
    SECOND,
    Guest,
    Net,
    described,
    dotted,
    four,
    ip,
    mac,
    payload,
    whole,
)

SILENT = "10.0.2.99"
SYN, RST, ACK, FIN = dpkt.tcp.TH_SYN, dpkt.tcp.TH_RST, dpkt.tcp.TH_ACK, dpkt.tcp.TH_FIN
UNREACHABLE, TIME_EXCEEDED = 3, 11


def send(net: Net, guest: Guest, data: bytes) -> bool:
    return net.core.send_udp(ip(FAR), 9, ip(guest.ip), 5000, data, net.now)


def asked(guest: Guest) -> list[str]:
    """The addresses that ARP requests of ours to everybody want to know."""
    found = []
    for frame in guest.frames():
        ethernet = dpkt.ethernet.Ethernet(frame)
        assert (ethernet.dst, ethernet.src, len(frame)) == (EVERYBODY, MAC, 60)
        arp = ethernet.data
        assert (arp.op, arp.sha, arp.spa, arp.tha) == (1, MAC, four(GATEWAY), bytes(6))
        found.append(dotted(arp.tpa))
    return found


# -- next hops ---------------------------------------------------------------------------------------------------------


def test_a_neighbour_is_asked_for_three_times_a_second_apart() -> None:
    net = Net()
    guest, other = net.guest(15), net.guest(16)
    guest.frames()
    net.counted()
    for _ in range(5):
        assert net.core.send_udp(ip(FAR), 9, ip(SILENT), 5000, b"waits", net.now)
    assert asked(guest) == asked(other) == [SILENT]
    assert net.counted() == {"neighbor.unresolved": 4}
    for _ in range(2):
        assert net.core.next_deadline() == net.now + SECOND
        net.wait(0.999)
        assert asked(guest) == []
        net.wait(0.001)
        assert asked(guest) == asked(other) == [SILENT]
    assert net.counted() == {}
    net.wait(5)
    assert asked(guest) == asked(other) == []
    assert net.counted() == {"neighbor.unresolved": 1}
    assert net.core.next_deadline() is None
    assert len(net.core.neighbors()) == 2


@pytest.mark.parametrize("length", [1, 1472, 1473, 65507])
def test_an_answer_ends_the_asking_and_the_last_datagram_has_waited_for_it(length: int) -> None:
    """RFC 1122 2.3.2.2."""
    net = Net()
    guest = net.guest(known=False)
    assert send(net, guest, b"the first, which is lost")
    assert send(net, guest, bytes(length))
    assert [n["reachable"] for n in net.core.neighbors()] == [False]
    assert asked(guest) == [guest.ip]
    guest.arp(GATEWAY, operation=2, target_mac=MAC, to=MAC)
    assert guest.datagram() == (FAR, 9, 5000, bytes(length))
    assert send(net, guest, b"found")
    assert guest.datagram()[3] == b"found"
    net.wait(10)
    assert guest.frames() == []


def test_an_echo_waits_too() -> None:
    net = Net()
    guest = net.guest(known=False)
    assert net.core.send_icmp(ip(ALIAS), ip(guest.ip), 8, 0, 0x00070001, b"are you there", net.now)
    assert asked(guest) == [guest.ip]
    guest.udp(b"x")
    assert payload(guest.packet())[4:] == b"\0\7\0\1are you there"


def test_a_known_guest_whose_link_has_gone_is_asked_for_anew() -> None:
    """It may be on another link and have nothing to say: then only an ARP request finds it."""
    net = Net()
    guest = net.guest()
    net.core.remove_port(guest.port)
    again = Guest(net, 15, net.core.add_port(1500))
    assert send(net, again, b"found")
    assert asked(again) == [again.ip]
    again.arp(GATEWAY, operation=2, target_mac=MAC, to=MAC)
    assert again.datagram()[3] == b"found"


def test_a_guest_whose_link_is_gone_for_good_is_given_up() -> None:
    net = Net()
    guest = net.guest()
    net.core.remove_port(guest.port)
    net.counted()
    assert send(net, guest, b"lost")
    net.wait(3)
    assert net.counted() == {"neighbor.unresolved": 1}
    assert net.core.neighbors() == []


def test_one_with_flows_is_kept_in_mind_but_not_asked_for() -> None:
    net = Net()
    guest = net.guest()
    guest.udp(b"question")
    flow = net.flow()
    net.core.serve(flow, 1, net.now)
    net.core.remove_port(guest.port)
    assert net.core.datagram_reply(flow, b"lost", net.now)
    net.wait(3)
    assert [(n["reachable"], n["flows"]) for n in net.core.neighbors()] == [(False, 1)]
    other = net.guest(16)
    assert net.core.datagram_reply(flow, b"lost", net.now)
    assert asked(other) == [guest.ip]
    net.wait(1000)
    assert [n["mac"] for n in net.core.neighbors()] == [guest.mac, other.mac]
    assert net.core.flows() == []


def test_a_router_is_the_next_hop_off_the_net() -> None:
    net = Net(forwarding=False)
    net.core.set_router(ip("10.0.2.1"))
    router = net.guest(1)
    assert net.core.send_udp(ip(GATEWAY), 9, ip(FAR), 53, b"by the router", net.now)
    packet = router.packet()
    assert (packet.dst, payload(packet)[8:]) == (four(FAR), b"by the router")
    assert net.core.send_udp(ip(GATEWAY), 9, ip(SILENT), 53, b"on the link", net.now)
    assert asked(router) == [SILENT]


def test_learn_is_told_by_dhcp() -> None:
    net = Net()
    guest = net.guest(known=False)
    guest.send(guest.frame(b"", 0x1234))
    net.core.learn(ip(guest.ip), guest.mac, net.now)
    assert send(net, guest, b"offered")
    assert guest.datagram()[3] == b"offered"
    net.core.learn(ip(FAR), guest.mac, net.now)
    net.core.learn(ip(GATEWAY), guest.mac, net.now)
    assert [dotted(n["address"][12:]) for n in net.core.neighbors()] == [guest.ip]


# -- fragments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 1472, 1473, 1480, 2952, 9000, 65507])
@pytest.mark.parametrize("mtu", [68, 576, 1280, 1500])
def test_datagrams_are_cut_at_the_links_mtu(mtu: int, length: int) -> None:
    net = Net()
    guest = net.guest(mtu=mtu)
    data = (bytes(range(255)) * (length // 255 + 1))[:length]
    net.counted()
    assert send(net, guest, data)
    packets = guest.packets()
    assert all(packet.len <= mtu for packet in packets)
    assert all(packet.len > mtu - 8 for packet in packets[:-1])
    assert all(packet.df == 0 for packet in packets)
    assert payload(whole(packets))[8:] == data
    assert net.counted().get("fragment.sent", 0) == (len(packets) if len(packets) > 1 else 0)


def test_the_networks_mtu_bounds_too() -> None:
    net = Net(mtu=1280)
    guest = net.guest(mtu=9000)
    assert send(net, guest, bytes(1400))
    assert [packet.len for packet in guest.packets()] == [1276, 172]
    net.core.set_mtu(600)
    assert send(net, guest, bytes(700))
    assert max(packet.len for packet in guest.packets()) <= 600


def test_a_guest_gets_more_than_1500_once_it_has_sent_it() -> None:
    """DESIGN: the effective guest MTU is 1500 until the guest proves more, then up to what was announced."""
    net = Net(mtu=9000)
    guest, other = net.guest(15, mtu=65520), net.guest(16, mtu=65520)
    guest.frames()
    assert send(net, guest, bytes(8000))
    assert len(guest.packets()) == 6
    guest.udp(bytes(4000), to=GATEWAY)
    assert send(net, guest, bytes(4000))
    assert len(guest.packets()) == 1
    guest.udp(bytes(20000), to=GATEWAY)
    assert send(net, guest, bytes(8972))
    assert send(net, guest, bytes(8973))
    assert [packet.len for packet in guest.packets()] == [9000, 8996, 25]
    assert send(net, other, bytes(8000))
    assert len(other.packets()) == 6


def test_a_guest_that_has_proved_more_behind_a_smaller_link_gets_what_that_carries() -> None:
    net = Net(mtu=9000)
    guest = net.guest(mtu=1500)
    guest.udp(bytes(4000), to=GATEWAY)
    assert send(net, guest, bytes(4000))
    assert [packet.len for packet in guest.packets()] == [1500, 1500, 1068]


@pytest.mark.parametrize("length", [65508, 100_000])
def test_a_payload_over_the_largest_is_not_sent(length: int) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    assert not send(net, guest, bytes(length))
    assert net.counted() == {"port.too_big": 1}
    assert guest.frames() == []


def test_identifications_differ() -> None:
    net = Net()
    guest = net.guest()
    for _ in range(10):
        send(net, guest, bytes(2000))
    packets = guest.packets()
    assert len({packet.id for packet in packets}) == len(packets) // 2 == 10


def test_a_full_link_loses_datagrams_and_counts_them() -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    sent = 0
    while send(net, guest, bytes(60000)):
        sent += 1
    assert net.counted()["port.tx_full"] == 1
    packets = guest.packets()
    assert len(packets) == 41 * sent
    assert 10 < sent < 18
    for first in range(sent):
        assert len(payload(whole(packets[first * 41 : first * 41 + 41]))) == 60008
    assert send(net, guest, b"again")


# -- past the neighbour table ------------------------------------------------------------------------------------------


def test_a_datagram_to_a_mac_and_port() -> None:
    """How DHCP offers an address to a guest that has none yet."""
    net = Net()
    guest = net.guest(known=False)
    assert net.core.send_udp(
        ip(GATEWAY), 67, ip("255.255.255.255"), 68, b"offer", net.now, mac=EVERYBODY, port=guest.port
    )
    (frame,) = guest.frames()
    assert frame[:6] == EVERYBODY
    packet = dpkt.ethernet.Ethernet(frame).data
    assert (dotted(packet.dst), packet.data.sport, packet.data.dport, packet.data.data) == (
        "255.255.255.255",
        67,
        68,
        b"offer",
    )
    assert net.core.neighbors() == []


def test_such_a_datagram_is_cut_too() -> None:
    net = Net(mtu=9000)
    plain, small = net.guest(15, mtu=9000), net.guest(16, mtu=576)
    for guest, lengths in ((plain, [1500, 56]), (small, [572, 572, 432])):
        guest.frames()
        assert net.core.send_udp(
            ip(GATEWAY), 67, ip(guest.ip), 68, bytes(1508), net.now, mac=guest.mac, port=guest.port
        )
        assert [packet.len for packet in guest.packets()] == lengths


@pytest.mark.parametrize("port", [1, 255, 256, 2**31 - 1])
def test_to_a_port_that_is_not_there(port: int) -> None:
    net = Net()
    net.guest()
    net.counted()
    assert not net.core.send_udp(ip(GATEWAY), 67, ip("10.0.2.15"), 68, b"offer", net.now, mac=mac(15), port=port)
    assert net.counted() == {"neighbor.unresolved": 1}


def test_icmp_of_any_kind_can_be_sent() -> None:
    net = Net()
    guest = net.guest()
    assert net.core.send_icmp(ip(ALIAS), ip(guest.ip), 8, 0, 0x00070001, b"are you there", net.now)
    packet = guest.packet()
    assert (dotted(packet.src), packet.ttl, payload(packet)[:2], payload(packet)[4:]) == (
        ALIAS,
        64,
        b"\x08\0",
        b"\0\7\0\1are you there",
    )


# -- ICMP errors -------------------------------------------------------------------------------------------------------


def denied(net: Net, guest: Guest, how: int = core.REFUSE_PORT, **fields: object) -> None:
    guest.udp(b"no", **fields)
    net.core.deny(net.flow(), how, net.now)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (core.REFUSE_RESET, 3),
        (core.REFUSE_PORT, 3),
        (core.REFUSE_HOST, 1),
        (core.REFUSE_NET, 0),
        (core.REFUSE_PROHIBITED, 13),
    ],
)
def test_an_error_quotes_what_it_is_about(how: int, code: int) -> None:
    """As Linux looks for: addresses, protocol and ports of its own packet (net/ipv4/udp.c, __udp4_lib_err)."""
    net = Net()
    guest = net.guest()
    denied(net, guest, how, source_port=1234, port=4321, ttl=9)
    source, kind, said, quoted = described(guest.packet())
    assert (source, kind, said) == (GATEWAY, UNREACHABLE, code)
    assert (quoted.src, quoted.dst, quoted.p, quoted.ttl, quoted.len) == (four(guest.ip), four(FAR), 17, 9, 30)
    assert quoted.raw[20:26] == (1234).to_bytes(2) + (4321).to_bytes(2) + (10).to_bytes(2)


@pytest.mark.parametrize("start", [0, 1, 10**15])
def test_errors_are_limited_for_each_link(start: int) -> None:
    """RFC 1812 4.3.2.8; what one guest provokes does not keep them from another."""
    net = Net(now=start)
    guest, other = net.guest(15), net.guest(16)
    denied(net, guest)
    guest.frames()
    net.counted()
    guest.send(*[guest.udp_frame(b"no")] * 300)
    assert net.counted() == {"udp.denied": 300, "icmp.error_sent": 199, "icmp.error_limited": 101}
    other.frames()
    denied(net, other)
    assert len(other.packets()) == 1
    net.wait(1)
    net.counted()
    guest.udp(b"no")
    assert net.counted() == {"udp.denied": 1, "icmp.error_sent": 1}


def test_an_error_that_finds_the_link_full_is_not_counted_as_sent() -> None:
    net = Net()
    guest = net.guest()
    guest.udp(b"no")
    flow = net.flow()
    while send(net, guest, bytes(1400)):
        pass
    while send(net, guest, b""):
        pass
    net.counted()
    net.core.deny(flow, core.REFUSE_PORT, net.now)
    assert net.counted() == {"udp.denied": 1, "port.tx_full": 1}


# -- resets for no connection (RFC 9293 3.10.7.1) ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "data", "answer"),
    [
        (ACK, b"", (RST, 5555, 0)),
        (ACK, b"data", (RST, 5555, 0)),
        (ACK | FIN, b"", (RST, 5555, 0)),
        (ACK | SYN, b"", (RST, 5555, 0)),
        (0, b"", (RST | ACK, 0, 1000)),
        (0, b"data", (RST | ACK, 0, 1004)),
        (FIN, b"data", (RST | ACK, 0, 1005)),
        (SYN | FIN, b"", (RST | ACK, 0, 1002)),
        (RST, b"", None),
        (RST | ACK, b"", None),
        (RST | SYN, b"", None),
    ],
)
def test_a_segment_for_no_connection(flags: int, data: bytes, answer: tuple[int, int, int] | None) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.tcp(flags, data, seq=1000, ack=5555, port=443, source_port=40001)
    assert net.punts() == []
    if answer is None:
        assert guest.frames() == []
        assert net.counted() == {"tcp.no_flow": 1}
        return
    packet = guest.packet()
    reset = packet.data
    assert (packet.src, reset.sport, reset.dport, reset.win, len(payload(packet))) == (four(FAR), 443, 40001, 0, 20)
    assert (reset.flags, reset.seq, reset.ack) == answer
    assert net.counted() == {"tcp.no_flow": 1, "tcp.rst_sent": 1}


def test_waiting_is_bounded_by_the_clock() -> None:
    """Nothing of the above needs a timer but the asking for a neighbour."""
    net = Net()
    guest = net.guest()
    denied(net, guest)
    guest.tcp(ACK)
    assert net.core.next_deadline() == net.now + 30 * SECOND
    net.wait(30 + MILLISECOND / SECOND)
    assert net.core.next_deadline() is None
