"""What a core makes of a frame: ARP, IPv4 and its refusals, echo to our own addresses, fragments."""

from __future__ import annotations

from itertools import permutations

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyslirp.engine.core import core
from tests.unit.engine.core.guest import (
    ALIAS,
    EVERYBODY,
    FAR,
    GATEWAY,
    MAC,
    Net,
    described,
    dotted,
    four,
    ip,
    mac,
    payload,
    whole,
)

SYN, RST, ACK = dpkt.tcp.TH_SYN, dpkt.tcp.TH_RST, dpkt.tcp.TH_ACK
OTHER = "10.0.2.77"  # of the net; nobody's
BROADCAST = "10.0.2.255"


def neighbors(net: Net) -> dict[str, bytes]:
    return {dotted(n["address"][12:]): n["mac"] for n in net.core.neighbors() if n["reachable"]}


# -- ARP (RFC 826, RFC 5227) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [GATEWAY, ALIAS])
def test_arp_answers_for_our_addresses(ours: str) -> None:
    net = Net()
    guest = net.guest(known=False)
    guest.arp(ours)
    (frame,) = guest.frames()
    assert len(frame) == 60
    ethernet = dpkt.ethernet.Ethernet(frame)
    assert (ethernet.dst, ethernet.src, ethernet.type) == (guest.mac, MAC, 0x0806)
    arp = ethernet.data
    assert (arp.op, arp.sha, arp.spa, arp.tha, arp.tpa) == (2, MAC, four(ours), guest.mac, four(guest.ip))
    assert net.counted() == {"arp.answered": 1, "switch.flooded": 1}
    assert neighbors(net) == {guest.ip: guest.mac}


@pytest.mark.parametrize("target", [OTHER, "10.0.2.15", "8.8.8.8", BROADCAST, "0.0.0.0"])
def test_arp_does_not_answer_for_others(target: str) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.arp(target)
    assert guest.frames() == []
    assert net.counted() == {"arp.not_ours": 1, "switch.flooded": 1}


def test_a_probe_for_our_address_is_answered_and_teaches_nothing() -> None:
    """RFC 5227 2.1.1: its sender is 0.0.0.0; the answer tells the guest that the address is taken."""
    net = Net()
    guest = net.guest(known=False)
    guest.arp(GATEWAY, sender="0.0.0.0")
    (reply,) = guest.arps()
    assert (reply.op, reply.spa, reply.tpa, reply.tha) == (2, four(GATEWAY), bytes(4), guest.mac)
    assert neighbors(net) == {}


def test_a_gratuitous_arp_moves_a_neighbour() -> None:
    net = Net()
    old, new = net.guest(15), net.guest(16)
    new.arp(old.ip, sender=old.ip)
    assert neighbors(net) == {old.ip: new.mac, new.ip: new.mac}
    assert net.core.send_udp(ip(FAR), 9, ip(old.ip), 5000, b"to the new one", net.now)
    assert new.datagram()[3] == b"to the new one"
    assert all(frame[:6] == EVERYBODY for frame in old.frames())


def test_an_arp_reply_teaches_too() -> None:
    net = Net()
    guest = net.guest(known=False)
    guest.arp(GATEWAY, operation=2, target_mac=MAC, to=MAC)
    assert neighbors(net) == {guest.ip: guest.mac}
    assert guest.frames() == []


def test_an_ip_packet_teaches_but_does_not_replace() -> None:
    net = Net()
    first, second = net.guest(15, known=False), net.guest(16)
    first.udp(b"x")
    assert neighbors(net)[first.ip] == first.mac
    second.udp(b"x", source=first.ip)
    assert neighbors(net)[first.ip] == first.mac


@pytest.mark.parametrize(
    "lie",
    [
        {"sender": GATEWAY},
        {"sender": ALIAS},
        {"sender": "8.8.8.8"},
        {"sender": BROADCAST},
        {"sender": "10.0.2.0"},
        {"sender_mac": mac(99)},
        {"sender_mac": EVERYBODY},
        {"sender_mac": MAC},
    ],
    ids=str,
)
def test_arp_lies_teach_nothing(lie: dict[str, object]) -> None:
    net = Net()
    guest = net.guest(known=False)
    guest.arp(OTHER, **lie)
    assert neighbors(net) == {}


def test_a_guest_with_our_address_gets_no_answer_and_one_with_our_mac_is_not_heard() -> None:
    net = Net()
    guest = net.guest(known=False)
    guest.arp(ALIAS, sender=GATEWAY)
    assert guest.frames() == []
    net.counted()
    guest.send(EVERYBODY + MAC + guest.arp_frame(GATEWAY)[12:])
    assert guest.frames() == []
    assert net.counted() == {"switch.bad_source": 1}


@pytest.mark.parametrize("at", [0, 2, 4, 5, 6])
def test_arp_of_another_kind_is_malformed(at: int) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    frame = bytearray(guest.arp_frame(GATEWAY))
    frame[14 + at] ^= 0x40
    guest.send(bytes(frame))
    assert net.counted() == {"arp.malformed": 1, "switch.flooded": 1}
    assert guest.frames() == []


@pytest.mark.parametrize("length", [0, 1, 27])
def test_arp_too_short(length: int) -> None:
    """CVE-2020-29130."""
    net = Net()
    guest = net.guest()
    net.counted()
    guest.send(guest.arp_frame(GATEWAY)[: 14 + length])
    assert net.counted() == {"arp.short": 1, "switch.flooded": 1}


def test_an_answer_that_finds_the_link_full_is_counted() -> None:
    net = Net()
    guest = net.guest()
    while net.core.send_udp(ip(FAR), 9, ip(guest.ip), 1, bytes(1400), net.now):
        pass
    while net.core.send_udp(ip(FAR), 9, ip(guest.ip), 1, b"", net.now):
        pass
    net.counted()
    guest.arp(GATEWAY)
    assert net.counted() == {"port.tx_full": 1, "switch.flooded": 1}


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "reason"), [(0, "eth.short"), (13, "eth.short"), (14, "ipv4.short"), (33, "ipv4.short")]
)
def test_frames_too_short(length: int, reason: str) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.send(guest.udp_frame(b"x")[:length])
    assert net.counted() == {reason: 1}


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (14, 0x65, "ipv4.bad_version"),
        (14, 0x44, "ipv4.bad_header_length"),
        (16, 0xFF, "ipv4.bad_total_length"),
        (24, 0x12, "ipv4.bad_checksum"),
        (41, 0x77, "udp.bad_checksum"),
        (38, 0xFF, "udp.bad_length"),
    ],
)
def test_broken_headers(at: int, value: int, reason: str) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    frame = bytearray(guest.udp_frame(b"x"))
    frame[at] = value
    guest.send(bytes(frame))
    assert net.counted() == {reason: 1}
    assert net.punts() == []


@pytest.mark.parametrize("options", [b"\x83\x07\x04\x08\x08\x08\x08\x00", b"\x89\x07\x04\x08\x08\x08\x08\x00"])
def test_source_routes_are_refused(options: bytes) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.udp(b"x", options=options)
    assert net.counted() == {"ipv4.source_route": 1}


def test_other_options_are_skipped() -> None:
    net = Net()
    guest = net.guest()
    guest.udp(b"options", options=b"\x07\x07\x04\x00\x00\x00\x00\x01")
    flow = net.flow()
    net.core.serve(flow, 1, net.now)
    assert net.punt()[3] == b"options"


@pytest.mark.parametrize("to", ["255.255.255.255", BROADCAST, "10.0.2.0", "224.0.0.251", "239.1.2.3", "250.0.0.1"])
def test_groups_open_no_flow(to: str) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.udp(b"x", to=to)
    guest.tcp(SYN, to=to)
    guest.echo(to=to)
    assert net.counted() == {"ipv4.bad_destination": 3}
    assert net.punts() == []
    assert guest.frames() == []


@pytest.mark.parametrize("to", ["0.0.0.0", "0.1.2.3", "127.0.0.1"])
def test_nothing_is_sent_to_no_address(to: str) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.udp(b"x", to=to)
    assert net.counted() == {"ipv4.bad_destination": 1}


@pytest.mark.parametrize(
    "source",
    [
        "0.0.0.0",
        GATEWAY,
        ALIAS,
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        BROADCAST,
        "10.0.2.0",
        "192.168.1.1",
        "0.1.2.3",
    ],
)
def test_nobody_may_send_from_there(source: str) -> None:
    """RFC 1122 3.2.1.3, RFC 1812 5.3.8: what is off the net could not be answered, and is free to make up."""
    net = Net()
    guest, other = net.guest(), net.guest(16)
    guest.frames()
    net.counted()
    guest.udp(b"x", source=source)
    guest.tcp(SYN, source=source)
    guest.tcp(ACK, source=source)
    guest.echo(source=source, to=GATEWAY)
    assert net.counted() == {"ipv4.bad_source": 4}
    assert net.punts() == []
    assert guest.frames() == other.frames() == []
    assert len(net.core.neighbors()) == 2


def test_an_ethernet_broadcast_is_not_forwarded() -> None:
    """RFC 1812 5.3.4, and RFC 1122 3.3.6: no answer to it either."""
    net = Net()
    guest = net.guest()
    net.counted()
    guest.udp(b"x", mac_to=EVERYBODY)
    guest.tcp(SYN, mac_to=EVERYBODY)
    guest.echo(to=GATEWAY, mac_to=bytes.fromhex("01005e000001"))
    assert net.counted() == {"ipv4.bad_destination": 3, "switch.flooded": 3}
    assert guest.frames() == []


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [(2, "ipv4.unknown_protocol"), (41, "ipv4.unknown_protocol"), (255, "ipv4.unknown_protocol")],
)
def test_other_protocols_are_dropped(protocol: int, reason: str) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.send(guest.ipv4(b"payload!", protocol))
    assert net.counted() == {reason: 1}


@pytest.mark.parametrize(
    ("ethertype", "reason"), [(0x86DD, "ipv6.ignored"), (0x8100, "eth.unknown_type"), (0x0100, "eth.unknown_type")]
)
def test_other_ethertypes_are_dropped(ethertype: int, reason: str) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.send(guest.frame(bytes(60), ethertype))
    assert net.counted() == {reason: 1}


@pytest.mark.parametrize("ttl", [1, 2, 255])
def test_the_ttl_goes_up_with_the_flow(ttl: int) -> None:
    """A TTL of 1 is the first real router's business, so that it appears in a traceroute."""
    net = Net()
    guest = net.guest()
    guest.udp(b"x", ttl=ttl)
    assert net.punt()[3] == ttl


@pytest.mark.parametrize("protocol", [1, 6, 17])
def test_no_ttl_left(protocol: int) -> None:
    """RFC 1812 5.3.1; a host's socket could not send it (IP_TTL is 1 to 255)."""
    net = Net()
    guest = net.guest()
    net.counted()
    frame = {
        1: guest.echo_frame(sequence=7, ttl=0),
        6: guest.tcp_frame(SYN, seq=77, ttl=0),
        17: guest.udp_frame(b"x", ttl=0),
    }
    guest.send(frame[protocol])
    assert net.punts() == []
    assert net.counted() == {"icmp.error_sent": 1}
    source, kind, code, quoted = described(guest.packet())
    assert (source, kind, code) == (GATEWAY, 11, 0)
    assert (quoted.src, quoted.dst, quoted.p, quoted.len) == (
        four(guest.ip),
        four(FAR),
        protocol,
        len(frame[protocol]) - 14,
    )
    ports, last = (slice(20, 24), slice(24, 28)) if protocol != 1 else (slice(20, 22), slice(24, 28))
    assert quoted.raw[ports] == frame[protocol][14:][ports]
    assert quoted.raw[last] == frame[protocol][14:][last]


def test_a_ttl_of_none_reaches_us() -> None:
    """RFC 1122 3.2.1.7: it is not dropped by whom it is for."""
    net = Net()
    guest = net.guest()
    guest.echo(to=GATEWAY, ttl=0)
    assert guest.packet().data.type == 0


# -- claims ------------------------------------------------------------------------------------------------------------


def test_claimed_datagrams_are_handed_up() -> None:
    net = Net()
    net.core.claim_udp(None, 67)
    net.core.claim_udp(ip(ALIAS), 53)
    guest = net.guest(known=False)
    net.counted()
    guest.udp(b"discover", source="0.0.0.0", to="255.255.255.255", source_port=68, port=67, mac_to=EVERYBODY)
    guest.udp(b"rebind", source="192.168.9.9", to="255.255.255.255", source_port=68, port=67, mac_to=EVERYBODY)
    guest.udp(b"query", to=ALIAS, port=53)
    assert net.punts() == [
        (core.KIND_DATAGRAM, guest.port, guest.mac, (17, ip("0.0.0.0"), 68, ip("255.255.255.255"), 67), b"discover"),
        (core.KIND_DATAGRAM, guest.port, guest.mac, (17, ip("192.168.9.9"), 68, ip("255.255.255.255"), 67), b"rebind"),
        (core.KIND_DATAGRAM, guest.port, guest.mac, (17, ip(guest.ip), 5000, ip(ALIAS), 53), b"query"),
    ]
    assert net.counted() == {"claimed.datagram": 3, "switch.flooded": 2}
    assert net.core.flows() == []
    guest.udp(b"elsewhere", to=GATEWAY, port=53)
    assert net.punt()[0] == core.KIND_FLOW


def test_too_many_claimed_datagrams_are_counted() -> None:
    net = Net()
    net.core.claim_udp(None, 67)
    guest = net.guest()
    net.counted()
    guest.send(*[guest.udp_frame(b"x", port=67)] * 4100)
    assert net.counted() == {"claimed.datagram": 4096, "claimed.queue_full": 4}
    assert len(net.punts()) == 4096
    guest.send(*[guest.udp_frame(bytes(65507), port=67)] * 100)
    assert net.counted() == {"claimed.datagram": 64, "claimed.queue_full": 36}
    assert net.core.memory()["punts_refused"] == 40


# -- ICMP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [GATEWAY, ALIAS])
@pytest.mark.parametrize("length", [0, 1, 56, 1472, 1473, 9000, 65507])
def test_echo_to_our_addresses_is_answered(to: str, length: int) -> None:
    net = Net()
    guest = net.guest()
    data = (bytes(range(251)) * (length // 251 + 1))[:length]
    guest.echo(data, identifier=0x1234, sequence=0xFFFE, to=to)
    reply = whole(guest.packets())
    assert (dotted(reply.src), dotted(reply.dst), reply.ttl) == (to, guest.ip, 64)
    assert (reply.data.type, reply.data.code) == (0, 0)
    assert payload(reply)[4:] == b"\x12\x34\xff\xfe" + data
    assert net.counted()["icmp.echo_answered"] == 1


@pytest.mark.parametrize("kind", [0, 4, 5, 9, 13, 15, 17, 255])
def test_other_icmp_is_dropped(kind: int) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.echo(kind=kind, to=GATEWAY)
    assert net.counted() == {"icmp.unsupported": 1}
    assert guest.frames() == []


@pytest.mark.parametrize("kind", [3, 11])
def test_errors_from_a_guest_are_only_counted(kind: int) -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.echo(kind=kind, ttl=0)
    assert net.counted() in ({"icmp.error_from_guest": 1}, {})
    assert guest.frames() == []


def test_icmp_is_checked() -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.send(guest.ipv4(b"\x08\0\0\0\0\1\0\1", 1, to=GATEWAY), guest.ipv4(b"\x08\0\xf7\xff", 1, to=GATEWAY))
    assert net.counted() == {"icmp.bad_checksum": 1, "icmp.short": 1}


# -- a host, not a gateway ---------------------------------------------------------------------------------------------


def test_a_host_hears_only_what_is_for_it() -> None:
    net = Net(forwarding=False)
    guest = net.guest()
    net.counted()
    guest.udp(b"x")
    guest.echo()
    guest.udp(b"x", to=BROADCAST)
    assert net.counted() == {"ipv4.bad_destination": 3}
    guest.udp(b"from afar", source=FAR, to=GATEWAY)
    guest.echo(kind=0, source=FAR, to=GATEWAY, identifier=5, sequence=6)
    flow, reply = net.punts()
    assert flow[:3] == (core.KIND_FLOW, flow[1], (17, ip(FAR), 5000, ip(GATEWAY), 9))
    assert reply == (core.KIND_DATAGRAM, guest.port, guest.mac, (1, ip(FAR), 5, ip(GATEWAY), 6), b"ping")


# -- fragments (slirp.md section 4: CVE-2018-11806, 2019-14378, 2019-15890, 2020-1983) ---------------------------------


def served(net: Net) -> bytes:
    """The datagram of the flow that was just opened."""
    net.core.serve(net.flow(), 1, net.now)
    data: bytes = net.punt()[3]
    return data


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_udp_fragments_in_any_order(order: tuple[int, ...]) -> None:
    net = Net()
    guest = net.guest()
    data = bytes(range(256)) * 16
    pieces = guest.fragments(dpkt.udp.UDP(sport=1, dport=2, ulen=8 + len(data), data=data), 17, 1480)
    guest.send(*[pieces[index] for index in order])
    assert served(net) == data
    assert net.core.memory()["reassembly_bytes"] == 0


@settings(max_examples=25)
@given(st.integers(1, 65507), st.integers(1, 185), st.randoms(use_true_random=False))
def test_any_datagram_in_any_fragments(length: int, units: int, shuffler: object) -> None:
    net = Net()
    guest = net.guest()
    data = (bytes(range(253)) * (length // 253 + 1))[:length]
    size = max(units * 8, (length // 500 + 8) // 8 * 8)
    pieces = guest.fragments(dpkt.udp.UDP(sport=1, dport=2, ulen=8 + length, data=data), 17, size)
    shuffler.shuffle(pieces)  # type: ignore[attr-defined]
    guest.send(*pieces)
    assert served(net) == data


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_echo_fragments(order: tuple[int, ...]) -> None:
    net = Net()
    guest = net.guest()
    message = dpkt.icmp.ICMP(type=8, data=dpkt.icmp.ICMP.Echo(id=1, seq=2, data=bytes(2000)))
    pieces = guest.fragments(message, 1, 1480, to=GATEWAY)
    guest.send(*[pieces[index] for index in order])
    assert payload(whole(guest.packets()))[4:] == b"\0\1\0\2" + bytes(2000)


def test_overlapping_fragments_are_dropped_whole() -> None:
    """Teardrop."""
    net = Net()
    guest = net.guest()
    net.counted()
    udp = bytes(dpkt.udp.UDP(sport=1, dport=2, ulen=72, data=bytes(64)))
    guest.send(guest.ipv4(udp[:48], 17, id=5, mf=1), guest.ipv4(udp[40:], 17, id=5, offset=5))
    assert net.counted() == {"fragment.received": 1, "fragment.overlap": 1}
    assert net.punts() == []


def test_the_ping_of_death() -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.send(guest.ipv4(bytes(1480), 1, id=5, offset=8189, to=GATEWAY))
    assert net.counted() == {"fragment.too_big": 1}


def test_fragments_that_never_end_are_forgotten_and_counted() -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    guest.send(*[guest.ipv4(bytes(80), 17, id=ident, mf=1) for ident in range(1, 41)])
    assert net.core.memory()["reassembly_datagrams"] == 16
    assert net.counted() == {"fragment.received": 40, "fragment.table_full": 24}
    assert net.core.next_deadline() == net.now + 30_000_000_000
    net.wait(30)
    assert net.counted() == {"fragment.expired": 16}
    assert net.core.memory()["reassembly_datagrams"] == 0


def test_a_whole_that_is_wrong_is_refused_like_any_packet() -> None:
    net = Net()
    guest = net.guest()
    net.counted()
    good = guest.fragments(dpkt.udp.UDP(sport=1, dport=2, ulen=108, data=bytes(100)), 17, 56)
    guest.send(good[0], good[1][:-1] + b"\x01")
    assert net.counted() == {"fragment.received": 1, "fragment.reassembled": 1, "udp.bad_checksum": 1}
