"""Who is asked again, and who is given up: ARP in test_input.py, IPv6's unreachability detection here."""

from __future__ import annotations

import pytest

from tests.unit.engine.core.guest import ip
from tests.unit.engine.core.guest6 import FAR6, GATEWAY6, ROUTER, Guest6, Net6, six, solicited_node
from tests.unit.engine.core.test_discovery import neighbors

OTHER6 = "fec0::77"


def send(net: Net6, guest: Guest6, to: str | None = None) -> bool:
    return net.core.send_udp(six(FAR6), 9, six(to or guest.ip6), 5000, b"x", net.now)


def asked(guest: Guest6) -> list[bytes]:
    """Where the solicitations went that came; datagrams are left out."""
    return [packet.dst for packet in guest.packets6() if packet.nxt == 58]


def test_a_neighbour_is_asked_thrice_and_given_up() -> None:
    net = Net6()
    guest = net.guest6()
    assert send(net, guest, OTHER6)
    net.wait(10)
    assert asked(guest) == [six(solicited_node(OTHER6))] * 3
    assert net.counted()["neighbor.unresolved"] == 1
    assert OTHER6 not in neighbors(net)
    assert net.core.next_deadline() is None


def test_unreachability_detection() -> None:
    """RFC 4861 section 7.3: 30 seconds reachable, 5 of grace, three questions to the guest itself, then to all."""
    net = Net6()
    guest = net.guest6()
    send(net, guest)
    assert asked(guest) == []
    net.wait(31)
    assert asked(guest) == []
    send(net, guest)
    assert neighbors(net)[guest.ip6][1] == "delay"
    net.wait(4.9)
    assert asked(guest) == []
    net.wait(0.2)
    assert asked(guest) == [six(guest.ip6)]
    assert neighbors(net)[guest.ip6][1] == "probe"
    guest.advertise(flags=0x60)
    assert neighbors(net)[guest.ip6][1] == "reachable"
    net.wait(60)
    assert asked(guest) == []  # nobody has sent to it since


def test_one_that_answers_no_more_is_looked_for_anew() -> None:
    net = Net6()
    guest = net.guest6()
    net.wait(31)
    send(net, guest)
    guest.frames()
    net.wait(9)
    assert asked(guest) == [six(guest.ip6)] * 3
    assert guest.ip6 not in neighbors(net)
    assert send(net, guest)
    assert asked(guest) == [six(solicited_node(guest.ip6))]
    guest.advertise()
    assert guest.datagram6()[3] == b"x"


def test_what_is_sent_meanwhile_goes_to_where_it_was() -> None:
    net = Net6()
    guest = net.guest6()
    net.wait(31)
    for _ in range(7):
        assert send(net, guest)
        net.wait(1)
    assert sum(packet.nxt == 17 for packet in guest.packets6()) == 7


def test_a_solicitation_of_ours_to_a_link_local_address_has_such_a_source() -> None:
    net = Net6()
    guest = net.guest6(known=False)
    send(net, guest, guest.link)
    assert guest.packet6().src == six(ROUTER)
    send(net, guest)
    assert guest.packet6().src == six(GATEWAY6)


def test_a_host_without_an_address_asks_nobody() -> None:
    net = Net6(forwarding=False)
    net.core.clear_addresses()
    guest = net.guest6(known=False)
    send(net, guest)
    assert guest.frames() == []


@pytest.mark.parametrize("address", ["ff02::1", "::", GATEWAY6, "2001:db8::1", "fec0:0:0:1::15"])
def test_an_address_that_is_no_guests_is_not_learned(address: str) -> None:
    net = Net6()
    net.core.learn(ip(address), b"\x52\x54\0\0\0\1", net.now)
    assert neighbors(net) == {}


def test_what_dhcp_has_told_is_only_heard_of() -> None:
    net = Net6()
    net.core.learn(ip("fec0::15"), b"\x52\x54\0\0\0\1", net.now)
    assert neighbors(net) == {"fec0::15": (b"\x52\x54\0\0\0\1", "stale")}


def test_a_guest_may_have_both_families() -> None:
    net = Net6()
    guest = net.guest6()
    guest.introduce()
    assert set(neighbors(net)) == {guest.ip, guest.ip6, guest.link}
