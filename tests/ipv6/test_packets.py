"""What a core makes of an IPv6 packet: who may send to whom, groups, echo, what is reported, fragments both ways."""

from __future__ import annotations

import struct
from itertools import permutations
from typing import Any

import pytest

from pyslirp.engine.core import core
from tests.oracle import headers_ipv6
from tests.oracle.headers_ipv6 import (
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    ICMPV6,
    TCP,
    UDP,
    echo6,
    fragment,
    options,
    udp6,
)
from tests.unit.engine.core.guest import EVERYBODY, MAC, Net
from tests.unit.engine.core.guest6 import (
    ALIAS6,
    ALL_NODES,
    ALL_ROUTERS,
    FAR6,
    GATEWAY6,
    ROUTER,
    Guest6,
    Net6,
    error6,
    group_mac,
    six,
    whole6,
)

DHCPV6 = "ff02::1:2"
PARAMETER_PROBLEM, UNREACHABLE, TIME_EXCEEDED = 4, 1, 3
PLAIN = options((1, bytes(4)))


@pytest.fixture
def net() -> Net6:
    return Net6()


@pytest.fixture
def guest(net: Net6) -> Guest6:
    made = net.guest6()
    net.counted()
    return made


# -- who may send to whom ----------------------------------------------------------------------------------------------


def test_one_family_may_be_spoken_alone() -> None:
    net = Net()
    guest = Guest6(net, 0x15, net.core.add_port(1500))
    guest.udp6(b"x")
    assert net.counted() == {"ipv6.ignored": 1}
    net.core.set_families(False, True)
    guest.udp(b"x")
    guest.arp("10.0.2.2")
    assert net.counted() == {"ipv4.ignored": 2, "switch.flooded": 1}
    assert guest.frames() == []


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({"source": GATEWAY6}, "ipv6.bad_source"),
        ({"source": ROUTER}, "ipv6.bad_source"),
        ({"source": "::"}, "ipv6.bad_source"),
        ({"source": "2001:db8::15"}, "ipv6.bad_source"),  # RFC 2827: a guest does not speak for other networks
        ({"source": "fec0:0:0:1::15"}, "ipv6.bad_source"),
        ({"source": "::ffff:10.0.2.15"}, "ipv6.bad_source"),
        ({"source": "ff02::1"}, "ipv6.bad_source"),
        ({"to": "::1"}, "ipv6.bad_destination"),
        ({"to": "::ffff:127.0.0.1"}, "ipv6.bad_destination"),
        ({"to": "ff02::fb"}, "ipv6.multicast"),
        ({"to": "ff0e::1"}, "ipv6.multicast"),
        ({"mac_to": EVERYBODY}, "ipv6.bad_destination"),
    ],
    ids=str,
)
def test_packets_that_go_nowhere(net: Net6, guest: Guest6, fields: dict[str, Any], counted: str) -> None:
    guest.udp6(b"x", **fields)
    assert net.punts() == []
    assert guest.frames() == []
    assert net.counted()[counted] == 1


def test_a_link_local_address_does_not_reach_the_world(net: Net6, guest: Guest6) -> None:
    """RFC 4443 section 3.1, code 2."""
    guest.udp6(b"x", source=guest.link)
    assert error6(guest.packet6())[:4] == (ROUTER, UNREACHABLE, 2, 0)
    assert net.punts() == []
    guest.udp6(b"x", source=guest.link, to=GATEWAY6)
    assert net.punt()[2] == (17, six(guest.link), 5000, six(GATEWAY6), 9)


def test_a_claim_on_a_group(net: Net6, guest: Guest6) -> None:
    """As DHCPv6's: from a link-local address, to all agents and servers (RFC 8415 section 7.1)."""
    net.core.claim_udp(six(DHCPV6), 547)
    guest.udp6(b"solicit", to=DHCPV6, port=547, source_port=546, source=guest.link, mac_to=group_mac(DHCPV6))
    assert net.punt() == (
        core.KIND_DATAGRAM, guest.port, guest.mac, (17, six(guest.link), 546, six(DHCPV6), 547), b"solicit"
    )  # fmt: skip
    assert net.core.send_udp(six(ROUTER), 547, six(guest.link), 546, b"reply", net.now, guest.mac, guest.port)
    assert guest.datagram6() == (ROUTER, 547, 546, b"reply")
    guest.udp6(b"x", to=DHCPV6, port=547, source="::", mac_to=group_mac(DHCPV6))
    assert net.punts() == []


def test_a_host_takes_only_what_is_for_it() -> None:
    net = Net6(forwarding=False)
    guest = net.guest6()
    guest.udp6(b"x")
    assert net.counted()["ipv6.bad_destination"] == 1


# -- echo --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [GATEWAY6, ALIAS6, ROUTER])
@pytest.mark.parametrize("size", [0, 1, 1452, 3000, 65000])
def test_a_ping_to_us_is_answered(net: Net6, guest: Guest6, ours: str, size: int) -> None:
    data = bytes(range(256)) * 256
    guest.send(*guest.fragments6(echo6(data[:size], 7, 9), ICMPV6, 1440, to=ours))
    source, message = whole6(guest.packets6())
    assert (source, message[:2], message[4:]) == (ours, b"\x81\0", b"\0\x07\0\x09" + data[:size])
    assert net.counted()["icmp.echo_answered"] == 1


@pytest.mark.parametrize(("group", "answered"), [(ALL_NODES, True), (ALL_ROUTERS, True), ("ff02::3", False)])
def test_a_ping_to_a_group(net: Net6, guest: Guest6, group: str, answered: bool) -> None:
    guest.echo6(to=group, source=guest.link, mac_to=group_mac(group))
    assert [packet.src for packet in guest.packets6()] == [six(ROUTER)] * answered
    assert net.counted().get("ipv6.multicast", 0) == (not answered)


def test_listener_reports_are_nobodys(net: Net6, guest: Guest6) -> None:
    """MLDv2 (RFC 3810), from `::` too (RFC 3590)."""
    alert = ((HOP_BY_HOP, options((5, b"\0\0"))),)
    guest.icmp6(143, bytes(24), to="ff02::16", source="::", hop_limit=1, chain=alert, mac_to=group_mac("ff02::16"))
    assert net.counted() == {"ipv6.multicast": 1, "switch.flooded": 1}


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 100])
def test_errors_of_a_guest_are_counted(net: Net6, guest: Guest6, kind: int) -> None:
    guest.icmp6(kind, bytes(60), to=GATEWAY6)
    assert net.counted() == {"icmp.error_from_guest": 1}


# -- what is reported --------------------------------------------------------------------------------------------------


def test_a_hop_limit_that_is_used_up(net: Net6, guest: Guest6) -> None:
    frame = guest.udp6_frame(b"x" * 100, hop_limit=0)
    guest.send(frame)
    assert error6(guest.packet6()) == (GATEWAY6, TIME_EXCEEDED, 0, 0, frame[14:])
    guest.udp6(b"x", hop_limit=0, to=GATEWAY6)
    assert guest.frames() == []
    assert len(net.punts()) == 1


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"protocol": 47}, 1, 6),
        ({"protocol": 47, "chain": ((DESTINATION, PLAIN),)}, 1, 40),
        ({"chain": ((DESTINATION, options((0x9E, b"x"))),)}, 2, 42),
        ({"chain": ((43, bytes([0, 0, 1]) + bytes(4)),)}, 0, 42),
        ({"chain": ((DESTINATION, PLAIN), (HOP_BY_HOP, PLAIN))}, 1, 40),
        ({"protocol": TCP, "chain": ((FRAGMENT, fragment(0, more=True)),)}, 3, 0),
        ({"chain": ((FRAGMENT, fragment(0, more=True)),)}, 0, 4),  # not a multiple of eight bytes
        ({"chain": ((FRAGMENT, fragment(65528, more=False)),)}, 0, 42),
    ],
    ids=str,
)
def test_parameter_problems(net: Net6, guest: Guest6, fields: dict[str, Any], code: int, pointer: int) -> None:
    """RFC 8200 section 4, RFC 7112."""
    protocol = fields.pop("protocol", UDP)
    frame = guest.ipv6(udp6(b"12345"), protocol, **fields)
    guest.send(frame)
    assert error6(guest.packet6()) == (GATEWAY6, PARAMETER_PROBLEM, code, pointer, frame[14:])


def test_nothing_is_reported_to_nobody(net: Net6, guest: Guest6) -> None:
    """RFC 4443 section 2.4: not about errors, not to groups' packets, and not off the network."""
    strange = ((DESTINATION, options((0x9E, b"x"))),)
    guest.udp6(b"x", source="2001:db8::9", chain=strange)
    guest.udp6(b"x", source="::", chain=strange)
    guest.send(guest.ipv6(udp6(b"x"), 47, to="ff02::fb", mac_to=group_mac("ff02::fb")))
    guest.icmp6(1, bytes(60), hop_limit=0)
    assert guest.frames() == []


def test_a_strange_option_to_a_group_is_reported(net: Net6, guest: Guest6) -> None:
    strange = ((DESTINATION, options((0x9E, b"x"))),)
    guest.udp6(b"x", to="ff02::fb", mac_to=group_mac("ff02::fb"), chain=strange)
    assert error6(guest.packet6())[1:3] == (PARAMETER_PROBLEM, 2)


def test_an_error_is_no_longer_than_the_smallest_link(net: Net6, guest: Guest6) -> None:
    frame = guest.udp6_frame(bytes(1400), hop_limit=0)
    guest.send(frame)
    packet = guest.packet6()
    assert packet.plen + 40 == 1280
    assert error6(packet)[4] == frame[14 : 14 + 1232]


def test_errors_are_limited(net: Net6, guest: Guest6) -> None:
    for _ in range(300):
        guest.udp6(b"x", hop_limit=0)
    assert len(guest.frames()) == 200
    assert net.counted()["icmp.error_limited"] == 100


# -- fragments ---------------------------------------------------------------------------------------------------------


def test_fragments_in_any_order_are_put_together(net: Net6, guest: Guest6) -> None:
    data = bytes(range(200)) * 10
    net.core.claim_udp(six(GATEWAY6), 9)
    for number, order in enumerate(permutations(guest.fragments6(udp6(data, 5000, 9), UDP, 512, to=GATEWAY6))):
        guest.send(*(frame[:58] + struct.pack("!I", number) + frame[62:] for frame in order))
        assert net.punt()[4] == data


def test_the_headers_in_front_are_kept_and_those_behind_are_read(net: Net6, guest: Guest6) -> None:
    whole = guest.udp6_frame(bytes(1000), to=GATEWAY6, chain=((HOP_BY_HOP, PLAIN), (DESTINATION, PLAIN)))[14:]
    unfragmentable, rest = whole[:48], whole[48:]
    net.core.claim_udp(six(GATEWAY6), 9)
    frames = []
    for at in range(0, len(rest), 504):
        piece = rest[at : at + 504]
        header = bytearray(unfragmentable + bytes([DESTINATION]) + fragment(at, at + 504 < len(rest)))
        header[4:6] = (len(header) - 40 + len(piece)).to_bytes(2)
        header[40] = FRAGMENT
        frames.append(guest.frame(bytes(header) + piece, 0x86DD))
    guest.send(*frames)
    assert net.punt()[4] == bytes(1000)


def test_an_atomic_fragment_does_not_wait_for_others_of_its_number(net: Net6, guest: Guest6) -> None:
    """RFC 6946 section 4: or one forged fragment would keep a guest's datagrams from passing."""
    net.core.claim_udp(six(GATEWAY6), 9)
    first, _ = guest.fragments6(udp6(bytes(40), 5000, 9), UDP, 32, to=GATEWAY6, ident=7)
    guest.send(first)
    guest.udp6(b"whole", to=GATEWAY6, chain=((FRAGMENT, fragment(0, more=False, identification=7)),))
    assert net.punt()[4] == b"whole"


def test_no_fragments_of_fragments(net: Net6, guest: Guest6) -> None:
    inner = bytes([UDP]) + fragment(8, more=True) + bytes(16)
    head = guest.ipv6(b"", UDP, to=GATEWAY6)[:54]
    frames = []
    for at in (0, 8, 16):
        header = bytes([FRAGMENT]) + fragment(at, at < 16)
        payload = header + inner[at : at + 8]
        frames.append(head[:18] + len(payload).to_bytes(2) + bytes([FRAGMENT]) + head[21:] + payload)
    guest.send(*frames)
    assert net.punts() == []
    assert net.counted().get("fragment.reassembled", 0) == 0


@pytest.mark.parametrize(
    ("mtu", "size", "pieces"), [(1500, 1452, 1), (1500, 1453, 2), (1280, 1233, 2), (1500, 65527, 46), (9000, 8952, 1)]
)
def test_datagrams_to_a_guest_are_cut_at_its_mtu(mtu: int, size: int, pieces: int) -> None:
    net = Net6(mtu)
    guest = net.guest6(mtu=mtu)
    if mtu > 1500:
        guest.send(guest.udp6_frame(bytes(mtu - 48)))
    data = bytes(range(251)) * 262
    assert net.core.send_udp(six(FAR6), 9, six(guest.ip6), 5000, data[:size], net.now)
    packets = guest.packets6()
    assert len(packets) == pieces
    assert all(packet.plen + 40 <= mtu for packet in packets)
    source, datagram = whole6(packets)
    assert (source, datagram[8:]) == (FAR6, data[:size])


def test_identifications_cannot_be_foretold(net: Net6, guest: Guest6) -> None:
    """RFC 7739: neither from those of another destination nor from another network's."""
    other = net.guest6(0x16)
    guest.frames()

    def identification(of: Guest6) -> int:
        of.frames()
        net.core.send_udp(six(FAR6), 9, six(of.ip6), 5000, bytes(3000), net.now)
        return int(struct.unpack("!I", of.packets6()[0].raw[4:8])[0])

    first, second, elsewhere = identification(guest), identification(guest), identification(other)
    assert second != first
    assert abs(elsewhere - second) > 1000
    stranger = Net6(seed=bytes(16))
    assert abs(first - identification_of(stranger)) > 1000


def identification_of(net: Net6) -> int:
    guest = net.guest6()
    net.core.send_udp(six(FAR6), 9, six(guest.ip6), 5000, bytes(3000), net.now)
    return int(struct.unpack("!I", guest.packets6()[0].raw[4:8])[0])


def test_a_datagram_of_mixed_families_is_not_sent(net: Net6, guest: Guest6) -> None:
    mapped = bytes(10) + b"\xff\xff\x01\x02\x03\x04"
    assert not net.core.send_udp(mapped, 9, six(guest.ip6), 5000, b"x", net.now)
    assert not net.core.send_icmp(mapped, six(guest.ip6), 129, 0, 0, b"x", net.now)


# -- ICMPv6 of a service -----------------------------------------------------------------------------------------------


def test_an_advertisement_to_all_or_to_one(net: Net6, guest: Guest6) -> None:
    other = net.guest6(0x16)
    guest.frames()
    other.frames()
    body = struct.pack("!BBHII", 64, 0, 1800, 0, 0)
    assert net.core.send_icmp6(six(ROUTER), six(ALL_NODES), 134, 0, body, net.now)
    for one in (guest, other):
        packet = one.packet6()
        assert (packet.hlim, packet.dst, packet.raw[:2], packet.raw[4:]) == (255, six(ALL_NODES), b"\x86\0", body)
    assert net.core.send_icmp6(six(ROUTER), six(ALL_NODES), 134, 0, body, net.now, None, other.port)
    assert (len(guest.frames()), len(other.frames())) == (0, 1)
    assert net.core.send_icmp6(six(ROUTER), six(guest.link), 134, 0, body, net.now)
    assert guest.packet6().dst == six(guest.link)
    assert net.core.send_icmp6(six(ROUTER), six("fe80::99"), 134, 0, body, net.now, other.mac, other.port)
    (frame,) = other.frames()
    assert frame[:12] == other.mac + MAC


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"source": bytes(10) + b"\xff\xff" + bytes(4)}, ValueError), ({"to": b"four"}, ValueError), ({"mac": b"x"}, ValueError)],
)
def test_what_cannot_be_sent(net: Net6, wrong: dict[str, Any], error: type[Exception]) -> None:
    fields = {"source": six(ROUTER), "to": six(ALL_NODES), "kind": 134, "code": 0, "body": bytes(12), "now": net.now}
    with pytest.raises(error):
        net.core.send_icmp6(**{**fields, **wrong})


# -- the size of a path (RFC 8201) -------------------------------------------------------------------------------------


def cut(net: Net6, guest: Guest6, size: int = 1400) -> int:
    """Into how many packets a datagram to the guest's port 5000 is cut."""
    net.core.send_udp(six(FAR6), 9, six(guest.ip6), 5000, bytes(size), net.now)
    return len(guest.packets6())


def too_big(guest: Guest6, mtu: int, *, port: int = 5000) -> None:
    """A router behind the guest could not pass on a datagram of 1448 bytes."""
    quote = headers_ipv6.headers(1408, UDP, six(FAR6), six(guest.ip6)) + struct.pack("!HHHH", 9, port, 1408, 0)
    guest.icmp6(2, struct.pack("!I", mtu) + quote, to=FAR6)


@pytest.mark.parametrize(("mtu", "pieces"), [(1300, 2), (1280, 2), (1279, 1), (100, 1), (0, 1), (1448, 1), (1500, 1)])
def test_a_packet_too_big_makes_datagrams_smaller(net: Net6, guest: Guest6, mtu: int, pieces: int) -> None:
    """One of less than every link carries (RFC 8200 section 5) is discarded (RFC 8201 section 4)."""
    guest.udp6(b"x")
    net.punts()
    assert cut(net, guest) == 1
    too_big(guest, mtu)
    net.core.send_udp(six(FAR6), 9, six(guest.ip6), 5000, bytes(1400), net.now)
    packets = guest.packets6()
    assert len(packets) == pieces
    assert max(packet.plen + 40 for packet in packets) >= 1280 - 8


def test_a_packet_too_big_about_nothing_that_we_send_is_not_believed(net: Net6, guest: Guest6) -> None:
    too_big(guest, 1280)
    guest.udp6(b"x")
    net.punts()
    too_big(guest, 1280, port=5001)
    assert cut(net, guest) == 1
