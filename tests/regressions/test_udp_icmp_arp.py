"""What has gone wrong in libslirp, QEMU and slirp4netns with frames, fragments, UDP, ICMP and ARP, and must not here.

A test is named after the CVE or the fix, and says what was wrong; the frames are those that did it.
"""

from __future__ import annotations

import struct

import dpkt
import pytest

from pyslirp.engine.core import core
from tests.unit.engine.core.guest import ALIAS, EVERYBODY, FAR, GATEWAY, SECOND, Guest, Net, ip, payload, whole


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def guest(net: Net) -> Guest:
    return net.guest()


def answers(guest: Guest) -> None:
    """The network is still there."""
    guest.frames()
    guest.echo(b"still there", to=GATEWAY)
    assert guest.packet().data.type == 0


def allowed(net: Net, guest: Guest, data: bytes = b"x", **fields: int | str) -> int:
    """A UDP conversation that has been let through: its mapping."""
    guest.udp(data, **fields)
    punt = net.punt()
    return net.host.allow(punt[1], punt[2][3], punt[2][4], net.now)


# -- frames ------------------------------------------------------------------------------------------------------------


def test_cve_2007_5729_a_frame_longer_than_the_mtu(net: Net, guest: Guest) -> None:
    """NE2000 and slirp copied a frame into a buffer of the MTU's size."""
    for size in (1515, 4096, 9000, 65535, 69632):
        guest.send(guest.frame(bytes(size)))
        guest.udp(b"x" * min(size, 65507))
    net.run()
    net.punts()
    answers(guest)


@pytest.mark.parametrize("size", range(60))
def test_cve_2020_29129_29130_a_short_frame_of_each_kind(net: Net, guest: Guest, size: int) -> None:
    """ARP and NCSI were read past the end of a short frame."""
    whole_frames = [
        guest.arp_frame(GATEWAY),
        guest.frame(bytes(range(60)), 0x88F8),
        guest.udp_frame(b"data", to=GATEWAY),
        guest.echo_frame(to=GATEWAY),
        guest.tcp_frame(2),
    ]
    guest.send(*(frame[:size] for frame in whole_frames))
    answers(guest)


def test_76738578_a_source_in_0_0_0_0_8(net: Net, guest: Guest) -> None:
    """QEMU 1.2 crashed."""
    for source in ("0.0.0.0", "0.1.2.3", "0.255.255.255"):
        guest.udp(b"x", source=source, to=GATEWAY)
        guest.echo(source=source, to=GATEWAY)
        guest.tcp(2, source=source)
    assert guest.frames() == []
    assert net.punts() == []
    answers(guest)


def test_a_guest_cannot_push_others_out_of_the_neighbour_table(net: Net, guest: Guest) -> None:
    """libslirp has 16 entries, which one guest's ARP could turn over."""
    for number in range(20_000):
        sender = f"10.0.2.{number % 250 + 1}"
        guest.send(guest.arp_frame(GATEWAY, sender=sender, sender_mac=b"\x52\x54" + number.to_bytes(4, "big")))
    guest.frames()
    assert len(net.core.neighbors()) <= 4096
    answers(net.guest(200))


# -- fragments ---------------------------------------------------------------------------------------------------------


def test_cve_2018_11806_2019_14378_a_large_first_fragment(net: Net, guest: Guest) -> None:
    """m_cat and ip_reass wrote beyond the buffer that the first fragment had brought."""
    data = bytes(range(256)) * 240
    datagram = dpkt.udp.UDP(sport=5000, dport=9, ulen=8 + len(data), data=data)
    guest.send(*guest.fragments(datagram, 17, 60_000, to=FAR))
    mapping = net.host.allow((punt := net.punt())[1], punt[2][3], 9, net.now)
    assert net.host.take()[-1][-1] == data
    net.host.arrive(mapping, ip(FAR), 9, data, net.now)
    assert payload(whole(guest.packets()))[8:] == data


@pytest.mark.parametrize("order", ["reversed", "rotated", "doubled"])
def test_cve_2019_15890_2020_1983_fragments_in_another_order(net: Net, guest: Guest, order: str) -> None:
    """ip_reass used a buffer that it had freed."""
    data = bytes(range(256)) * 20
    datagram = dpkt.udp.UDP(sport=5000, dport=9, ulen=8 + len(data), data=data)
    frames = guest.fragments(datagram, 17, 512, to=FAR)
    frames = {"reversed": frames[::-1], "rotated": frames[3:] + frames[:3], "doubled": frames + frames}[order]
    guest.send(*frames)
    punt = next(punt for punt in net.punts() if punt[0] == core.KIND_FLOW)
    net.host.allow(punt[1], punt[2][3], 9, net.now)
    assert net.host.take()[-1][-1] == data
    answers(guest)


def test_fragments_that_are_never_whole_do_not_pile_up(net: Net, guest: Guest) -> None:
    """libslirp keeps any number of them for half a minute."""
    for ident in range(5000):
        guest.send(guest.ipv4(bytes(1400), 17, to=FAR, id=ident, mf=1))
    assert net.core.memory()["reassembly_bytes"] <= 8 << 20
    net.wait(120)
    assert net.core.memory()["reassembly_bytes"] == 0
    answers(guest)


# -- UDP ---------------------------------------------------------------------------------------------------------------


def test_cve_2014_3640_udp_from_port_0(net: Net, guest: Guest) -> None:
    """A socket that was never made was used."""
    guest.udp(b"x", source_port=0)
    guest.udp(b"x", port=0)
    assert net.punts() == []
    assert net.counted()["udp.port_zero"] == 2
    answers(guest)


@pytest.mark.parametrize("length", [0, 7, 13, 500, 65535])
def test_cve_2021_3592_3593_3594_3595_a_length_that_lies(net: Net, guest: Guest, length: int) -> None:
    """Services (BOOTP, TFTP, UDP itself) read as much as the header said."""
    net.core.claim_udp(ip(GATEWAY), 67)
    net.core.claim_udp(ip(GATEWAY), 69)
    for port in (67, 69, 9):
        datagram = struct.pack("!HHHH", 5000, port, length, 0) + b"data"
        guest.send(guest.ipv4(datagram, 17, to=GATEWAY))
    assert net.punts() == []
    answers(guest)


def test_a_guests_udp_sockets_are_limited_in_life(net: Net, guest: Guest) -> None:
    """libslirp has a descriptor for each of a guest's ports for four minutes, and no limit."""
    for number in range(200):
        allowed(net, guest, source_port=10_000 + number)
    assert len(net.host.sockets) == 200
    net.wait(31)
    assert net.host.sockets == {}


def test_bbe0e841_a_socket_that_fails_does_not_spin(net: Net, guest: Guest) -> None:
    """An error that stayed in the socket was reported for ever, at full load."""
    mapping = allowed(net, guest)
    for _ in range(3):
        net.host.error(mapping, ip(FAR), 9, None, 3, 1, net.now)
    net.run()
    due = net.core.next_deadline()
    assert due is None or due > net.now
    answers(guest)


def test_cve_2026_120831_many_datagrams_of_one_flow_while_some_are_sent(net: Net, guest: Guest) -> None:
    """if_output linked a packet of one list into the other."""
    mapping = allowed(net, guest, port=21)
    seen = []
    for number in range(300):
        net.host.arrive(mapping, ip(FAR), 21, number.to_bytes(2, "big"), net.now)
        if number % 7 == 0:
            seen += [payload(packet)[8:] for packet in guest.packets()]
    seen += [payload(packet)[8:] for packet in guest.packets()]
    assert seen == [number.to_bytes(2, "big") for number in range(300)]


def test_cve_2017_13711_0b83636e_closing_with_datagrams_under_way(net: Net, guest: Guest) -> None:
    """A socket was freed while packets of it were queued, and lists were walked while they changed."""
    mappings = [allowed(net, guest, source_port=6000 + number) for number in range(20)]
    for mapping in mappings:
        net.host.arrive(mapping, ip(FAR), 9, b"x" * 2000, net.now)
    flows = [flow["flow"] for flow in net.core.flows()]
    for flow in flows[::2]:
        net.core.close_flow(flow, net.now)
    net.core.remove_port(guest.port)
    for flow in flows:
        net.core.close_flow(flow, net.now)
    net.wait(200)
    assert net.host.sockets == {}
    answers(net.guest(16))


# -- ICMP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 3, 7, 8, 500, 9000])
def test_cve_2026_115449_an_answer_of_another_length_than_the_question(net: Net, guest: Guest, length: int) -> None:
    """The answer was received into the question's buffer, whose length stayed."""
    guest.echo(b"question" * 4, to=FAR)
    punt = net.punt()
    mapping = net.host.allow(punt[1], punt[2][3], 0, net.now)
    message = (b"\0\0\0\0\0\0\0\1" + b"a" * max(length - 8, 0))[:length]
    net.host.arrive(mapping, ip(FAR), 0, message, net.now)
    if length < 8:
        assert guest.frames() == []
    else:
        reply = whole(guest.packets())
        assert payload(reply)[8:] == message[8:]
        assert payload(reply)[4:6] == (77).to_bytes(2, "big")


@pytest.mark.parametrize("size", [0, 1, 8, 548, 1400])
def test_cve_2026_120830_an_error_quotes_no_more_than_was_sent(net: Net, guest: Guest, size: int) -> None:
    """icmp_forward_error copied as much as the header said, from a smaller buffer."""
    sent = bytes(range(256)) * 6
    guest.udp(sent[:size])
    net.core.deny(net.flow(), core.REFUSE_PORT, net.now)
    quoted = payload(guest.packet())[8:]
    assert len(quoted) <= 576
    inner = dpkt.ip.IP(quoted)
    assert (inner.src, inner.p) == (ip("10.0.2.15")[12:], 17)
    assert sent[:size].startswith(bytes(quoted[28:]))


def test_pings_of_one_guest_do_not_each_take_a_socket(net: Net, guest: Guest) -> None:
    """libslirp opens a descriptor for each echo request, for four minutes."""
    guest.echo(sequence=1, to=FAR)
    punt = net.punt()
    net.host.allow(punt[1], punt[2][3], 0, net.now)
    for sequence in range(2, 500):
        guest.echo(sequence=sequence, to=FAR)
    assert len(net.host.sockets) == 1


def test_answers_of_two_pings_are_not_confused(net: Net, guest: Guest) -> None:
    """Concurrent pings got each other's answers."""
    mappings = {}
    for identifier in (1, 2):
        guest.echo(identifier=identifier, to=FAR)
        punt = net.punt()
        mappings[identifier] = net.host.allow(punt[1], punt[2][3], 0, net.now)
    for identifier in (2, 1):
        net.host.arrive(mappings[identifier], ip(FAR), 0, b"\0\0\0\0\0\0\0\1" + bytes([identifier]), net.now)
        assert payload(guest.packet())[4:] == struct.pack("!HHB", identifier, 1, identifier)


@pytest.mark.parametrize("to", [GATEWAY, ALIAS, FAR, "255.255.255.255"])
def test_an_echo_to_anybody_is_survived(net: Net, guest: Guest, to: str) -> None:
    for size in (0, 1, 1472, 1473, 60_000):
        guest.send(*guest.fragments(b"\x08\0\0\0\0\1\0\1" + bytes(size), 1, 1480, to=to, mac_to=EVERYBODY))
    net.punts()
    net.now += 40 * SECOND
    net.run()
    answers(guest)
