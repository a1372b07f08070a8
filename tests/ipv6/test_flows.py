"""TCP, UDP and ping over IPv6: verdicts, mappings, strangers, rules, errors of the host's sockets."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pyslirp.addresses import unpack
from pyslirp.engine.core import core
from tests.oracle.headers_ipv6 import ICMPV6, TCP, UDP
from tests.unit.engine.core.guest import ip
from tests.unit.engine.core.guest6 import ALIAS6, FAR6, GATEWAY6, ROUTER, Guest6, Net6, error6, six

SYN, RST, PSH, ACK = 2, 4, 8, 16
LOOPBACK, OTHER_FAR, HOP = "::1", "2001:db8::77", "2001:db8::fe"
ICMP = 1  # the number by which a ping of either family is known in a flow's name


@pytest.fixture
def net() -> Net6:
    return Net6()


@pytest.fixture
def guest(net: Net6) -> Guest6:
    return net.guest6()


def sent(net: Net6) -> list[tuple[str, int, int, int, bytes]]:
    """What has been given to host sockets: to whom, hop limit, traffic class and what."""
    return [(str(unpack(call[2])), *call[3:]) for call in net.host.take() if call[0] == "send_to"]


def allowed(net: Net6, guest: Guest6, *, host: str | None = None, **fields: Any) -> int:
    """A UDP conversation that is let through; its mapping."""
    guest.udp6(b"first", **fields)
    _, flow, key, _, _ = net.punt()
    return net.host.allow(flow, key[3] if host is None else six(host), key[4], net.now)


# -- UDP ---------------------------------------------------------------------------------------------------------------


def test_a_datagram_and_its_answer(net: Net6, guest: Guest6) -> None:
    guest.udp6(b"first", hop_limit=9, traffic_class=0x48)
    kind, flow, key, hop_limit, link = net.punt()
    assert (kind, key, hop_limit, link) == (core.KIND_FLOW, (UDP, six(guest.ip6), 5000, six(FAR6), 9), 9, guest.port)
    mapping = net.host.allow(flow, six(FAR6), 9, net.now)
    guest.udp6(b"second", hop_limit=3)
    assert sent(net) == [(FAR6, 9, 9, 0x48, b"first"), (FAR6, 9, 3, 0, b"second")]
    net.host.arrive(mapping, six(FAR6), 9, b"answer", net.now)
    assert guest.datagram6() == (FAR6, 9, 5000, b"answer")


def test_one_socket_for_all_destinations(net: Net6, guest: Guest6) -> None:
    """RFC 4787 REQ-1."""
    assert allowed(net, guest) == allowed(net, guest, to=OTHER_FAR)
    assert allowed(net, guest, source=guest.link, to=GATEWAY6, host=LOOPBACK) != allowed(net, guest, to="2001:db8::99")


def test_the_host_alias(net: Net6, guest: Guest6) -> None:
    mapping = allowed(net, guest, to=GATEWAY6, host=LOOPBACK)
    assert sent(net)[0][0] == LOOPBACK
    net.host.arrive(mapping, six(LOOPBACK), 9, b"answer", net.now)
    assert guest.datagram6() == (GATEWAY6, 9, 5000, b"answer")


@pytest.mark.parametrize("stranger", [LOOPBACK, OTHER_FAR])
def test_a_stranger_to_a_guests_own_socket(net: Net6, guest: Guest6, stranger: str) -> None:
    mapping = allowed(net, guest)
    net.host.arrive(mapping, six(stranger), 77, b"hello", net.now)
    assert guest.datagram6() == (GATEWAY6 if stranger == LOOPBACK else stranger, 77, 5000, b"hello")


@pytest.mark.parametrize("stranger", ["fec0::99", "fe80::99", "::ffff:198.51.100.7"])
def test_a_stranger_does_not_speak_in_the_gateways_name(net: Net6, guest: Guest6, stranger: str) -> None:
    mapping = allowed(net, guest)
    net.host.arrive(mapping, six(stranger), 77, b"hello", net.now)
    assert guest.frames() == []
    assert net.counted()["udp.denied"] == 1


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        (OTHER_FAR, OTHER_FAR),
        (LOOPBACK, GATEWAY6),
        ("fe80::99", GATEWAY6),
        ("fec0::99", GATEWAY6),
        ("::ffff:127.0.0.1", GATEWAY6),  # a rule that listens in IPv4 for a guest of IPv6
        ("::ffff:198.51.100.7", GATEWAY6),
    ],
)
def test_clients_of_a_rule(net: Net6, guest: Guest6, client: str, shown: str) -> None:
    rule = net.host.listen(six(guest.ip6), 80)
    net.host.arrive(rule, six(client), 77, b"hello", net.now)
    assert guest.datagram6() == (shown, 77, 80, b"hello")
    net.punts()
    guest.udp6(b"answer", to=shown, port=77, source_port=80)
    assert sent(net) == [(str(unpack(six(client))), 77, 64, 0, b"answer")]


def test_a_rule_in_ipv6_for_a_guest_of_ipv4(net: Net6, guest: Guest6) -> None:
    guest.introduce()
    rule = net.host.listen(ip(guest.ip), 80)
    net.host.arrive(rule, six(OTHER_FAR), 77, b"hello", net.now)
    assert guest.datagram() == ("10.0.2.2", 77, 80, b"hello")


# -- verdicts ----------------------------------------------------------------------------------------------------------

CODES = [
    (core.REFUSE_RESET, 4),
    (core.REFUSE_PORT, 4),
    (core.REFUSE_HOST, 3),
    (core.REFUSE_NET, 0),
    (core.REFUSE_PROHIBITED, 1),
]


@pytest.mark.parametrize(("how", "code"), CODES)
def test_a_denied_datagram(net: Net6, guest: Guest6, how: int, code: int) -> None:
    guest.udp6(b"x" * 20, hop_limit=5)
    net.core.deny(net.flow(), how, net.now)
    source, kind, got, word, quote = error6(guest.packet6())
    assert (source, kind, got, word) == (GATEWAY6, 1, code, 0)
    assert quote[4:8] == struct.pack("!HBB", 28, UDP, 5)
    assert quote[8:40] == six(guest.ip6) + six(FAR6)
    assert quote[40:46] == struct.pack("!HHH", 5000, 9, 28)


def test_what_a_link_local_guest_is_told_comes_from_such_an_address(net: Net6, guest: Guest6) -> None:
    guest.udp6(b"x", source=guest.link, to=ALIAS6)
    net.core.deny(net.flow(), core.REFUSE_PORT, net.now)
    assert error6(guest.packet6())[0] == ROUTER


@pytest.mark.parametrize(("how", "code"), CODES[1:])
def test_a_denied_connection(net: Net6, guest: Guest6, how: int, code: int) -> None:
    guest.tcp6(SYN, seq=77)
    net.core.deny(net.flow(), how, net.now)
    _, kind, got, _, quote = error6(guest.packet6())
    assert (kind, got, quote[6]) == (1, code, TCP)
    assert quote[40:48] == struct.pack("!HHI", 40000, 80, 77)


def test_a_refused_connection_is_reset(net: Net6, guest: Guest6) -> None:
    guest.tcp6(SYN, seq=77)
    net.core.deny(net.flow(), core.REFUSE_RESET, net.now)
    packet = guest.packet6()
    assert (packet.src, packet.data.flags, packet.data.ack) == (six(FAR6), RST | ACK, 78)


# -- TCP ---------------------------------------------------------------------------------------------------------------


def connected(net: Net6, guest: Guest6, options: bytes = b"\x02\x04\x05\xa0") -> tuple[int, int, int]:
    """A connection of the guest to a host socket: flow, socket, and our sequence number."""
    guest.tcp6(SYN, options=options)
    flow = net.flow()
    socket = net.host.attach(flow, net.now)
    net.host.connected(flow, net.now)
    net.run()
    reply = guest.packet6()
    assert (reply.data.flags, reply.data.ack) == (SYN | ACK, 1001)
    guest.tcp6(ACK, seq=1001, ack=reply.data.seq + 1)
    return flow, socket, reply.data.seq + 1


def test_a_connection(net: Net6, guest: Guest6) -> None:
    flow, socket, seq = connected(net, guest)
    guest.tcp6(PSH | ACK, b"hello", seq=1001, ack=seq)
    assert ("send", socket, b"hello") in net.host.take()
    net.host.feed(flow, socket, b"world", net.now, end=True)
    net.run()
    packets = guest.packets6()
    assert b"".join(bytes(packet.data.data) for packet in packets) == b"world"
    assert packets[-1].data.flags & 1


@pytest.mark.parametrize(("mtu", "announced"), [(1500, 1440), (1280, 1220), (9000, 8940)])
def test_the_segment_size_leaves_room_for_both_headers(mtu: int, announced: int) -> None:
    net = Net6(mtu)
    guest = net.guest6(mtu=mtu)
    guest.tcp6(SYN)
    net.core.serve(net.flow(), 0, net.now)
    net.run()
    assert guest.packet6().data.opts[:4] == b"\x02\x04" + announced.to_bytes(2)


@pytest.mark.parametrize(("options", "size"), [(b"", 1220), (b"\x02\x04\x02\x00", 512), (b"\x02\x04\x05\xa0", 1440)])
def test_segments_are_as_large_as_the_guest_takes(net: Net6, guest: Guest6, options: bytes, size: int) -> None:
    """RFC 9293 MUST-15: without the option 1220."""
    flow, socket, _ = connected(net, guest, options)
    net.host.feed(flow, socket, bytes(5000), net.now)
    net.run()
    assert {len(packet.data.data) for packet in guest.packets6()[:3]} == {size}


def test_a_segment_of_no_connection_is_reset(net: Net6, guest: Guest6) -> None:
    guest.tcp6(ACK, seq=5, ack=99)
    packet = guest.packet6()
    assert (packet.src, packet.data.flags, packet.data.seq) == (six(FAR6), RST, 99)


def test_a_connection_to_a_guest(net: Net6, guest: Guest6) -> None:
    flow, _ = net.host.open(six(guest.ip6), 80, six(GATEWAY6), 4000, net.now)
    net.run()
    syn = guest.packet6()
    assert (syn.src, syn.data.sport, syn.data.dport, syn.data.flags) == (six(GATEWAY6), 4000, 80, SYN)
    guest.tcp6(SYN | ACK, to=GATEWAY6, source_port=80, port=4000, seq=5, ack=syn.data.seq + 1)
    assert net.core.flow(flow)["state"] == "ESTABLISHED"


def test_a_connection_to_a_guest_that_is_not_there(net: Net6) -> None:
    net.guest6()
    net.host.open(six("fec0::99"), 80, six(GATEWAY6), 4000, net.now)
    net.run()
    net.wait(5)
    assert core.REASONS[net.punt()[4]] == "unreachable"


# -- ping --------------------------------------------------------------------------------------------------------------


def pinged(net: Net6, guest: Guest6, **fields: Any) -> int:
    guest.echo6(b"data", **fields)
    _, flow, key, _, _ = net.punt()
    assert key == (ICMP, six(guest.ip6), 77, six(FAR6), 0)
    return net.host.allow(flow, six(FAR6), 0, net.now)


def test_a_ping_and_its_answer(net: Net6, guest: Guest6) -> None:
    mapping = pinged(net, guest, hop_limit=7)
    ((to, _, hop_limit, _, message),) = sent(net)
    assert (to, hop_limit, message[:2], message[4:]) == (FAR6, 7, b"\x80\0", struct.pack("!HH", 77, 1) + b"data")
    net.host.arrive(mapping, six(FAR6), 0, b"\x81\0\0\0" + struct.pack("!HH", 9999, 1) + b"data", net.now)
    packet = guest.packet6()
    assert (packet.src, packet.nxt, packet.raw[:2]) == (six(FAR6), ICMPV6, b"\x81\0")
    assert packet.raw[4:] == struct.pack("!HH", 77, 1) + b"data"


@pytest.mark.parametrize("message", [b"\x81\0\0\0", b"\0\0\0\0\0\1\0\1data", b"\x80\0\0\0\0\1\0\1"])
def test_what_is_no_answer_is_not_passed_on(net: Net6, guest: Guest6, message: bytes) -> None:
    mapping = pinged(net, guest)
    net.host.arrive(mapping, six(FAR6), 0, message, net.now)
    assert guest.frames() == []


def test_a_refused_ping(net: Net6, guest: Guest6) -> None:
    guest.echo6(sequence=3)
    net.core.deny(net.flow(), core.REFUSE_PROHIBITED, net.now)
    _, kind, code, _, quote = error6(guest.packet6())
    assert (kind, code, quote[6]) == (1, 1, ICMPV6)
    assert quote[40:42] + quote[44:48] == b"\x80\0" + struct.pack("!HH", 77, 3)


# -- errors of the host (as IPV6_RECVERR has them, in the words of ICMP) -------------------------------------------------


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ((3, 0), (1, 0)),
        ((3, 1), (1, 3)),
        ((3, 3), (1, 4)),
        ((3, 13), (1, 1)),
        ((3, 4), (2, 0)),
        ((11, 0), (3, 0)),
    ],
)
def test_errors_reach_the_guest_in_icmpv6(
    net: Net6, guest: Guest6, error: tuple[int, int], told: tuple[int, int]
) -> None:
    """libslirp's bore ICMP's types: a time exceeded where a destination was unreachable."""
    mapping = allowed(net, guest)
    net.host.error(mapping, six(FAR6), 9, six(HOP), *error, net.now, 1300)
    source, kind, code, word, quote = error6(guest.packet6())
    assert (source, (kind, code), word) == (HOP, told, 1300)
    assert quote[8:44] == six(guest.ip6) + six(FAR6) + struct.pack("!HH", 5000, 9)


@pytest.mark.parametrize("length", [0, 1, 1184, 1185, 1400])
def test_an_error_quotes_the_guests_payload(net: Net6, guest: Guest6, length: int) -> None:
    """As much as makes the whole message 1280 bytes (RFC 4443 section 2.4): traceroute6 tells its probes apart by it."""
    mapping = allowed(net, guest)
    data = bytes(number % 251 for number in range(length))
    net.host.error(mapping, six(FAR6), 9, six(HOP), 11, 0, net.now, data=data)
    quote = error6(guest.packet6())[4]
    assert quote[40:46] == struct.pack("!HHH", 5000, 9, 8 + length)
    assert quote[48:] == data[:1184]


def test_an_error_waits_until_the_guest_is_known(net: Net6) -> None:
    """Its first probe may come before anybody has asked for its MAC address."""
    guest = net.guest6(0x21, known=False)
    mapping = allowed(net, guest)
    for code in (0, 1):
        net.host.error(mapping, six(FAR6), 9, six(HOP), 11, code, net.now, data=b"first probe")
    assert [frame[54] for frame in guest.frames()] == [135]
    guest.advertise()
    source, kind, code, _, quote = error6(guest.packet6())
    assert (source, kind, code, quote[48:]) == (HOP, 3, 1, b"first probe")
    assert guest.frames() == []


@pytest.mark.parametrize(
    ("offender", "shown"),
    [(FAR6, FAR6), (LOOPBACK, GATEWAY6), ("fe80::9", GATEWAY6), ("::ffff:198.51.100.7", GATEWAY6), (None, GATEWAY6)],
)
def test_who_reports_it(net: Net6, guest: Guest6, offender: str | None, shown: str) -> None:
    mapping = allowed(net, guest)
    net.host.error(mapping, six(FAR6), 9, None if offender is None else six(offender), 11, 0, net.now)
    assert error6(guest.packet6())[0] == shown


def test_a_parameter_problem_of_ipv4_is_nothing_to_ipv6(net: Net6, guest: Guest6) -> None:
    mapping = allowed(net, guest)
    net.host.error(mapping, six(FAR6), 9, None, 12, 0, net.now)
    assert guest.frames() == []
