"""Neighbour Discovery (RFC 4861) and duplicate address detection (RFC 4862), from a guest's side."""

from __future__ import annotations

from typing import Any

import pytest

from pyslirp.addresses import unpack
from pyslirp.engine.core import core
from tests.unit.engine.core.guest import MAC, mac
from tests.unit.engine.core.guest6 import (
    ALIAS6,
    ALIAS_LINK,
    ALL_NODES,
    FAR6,
    GATEWAY6,
    ROUTER,
    Net6,
    link_option,
    six,
    solicited_node,
)

OTHER6 = "fec0::77"  # of the net; nobody's


def neighbors(net: Net6) -> dict[str, tuple[bytes, str]]:
    """MAC address and state, by address."""
    return {str(unpack(n["address"])): (n["mac"], n["state"]) for n in net.core.neighbors() if n["reachable"]}


# -- solicitations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [GATEWAY6, ALIAS6, ROUTER, ALIAS_LINK])
@pytest.mark.parametrize("link", [b"", None])
def test_our_addresses_are_answered_for(ours: str, link: bytes | None) -> None:
    net = Net6()
    guest = net.guest6(known=False)
    guest.solicit(ours, link=link)
    packet = guest.packet6()
    assert (packet.src, packet.dst, packet.hlim) == (six(ours), six(guest.ip6), 255)
    assert packet.raw[:2] == b"\x88\x00"
    assert packet.raw[4:] == b"\xe0\0\0\0" + six(ours) + link_option(2, MAC)  # router, solicited, override
    assert net.counted() == {"nd.answered": 1, "switch.flooded": 1}
    assert neighbors(net) == ({} if link is None else {guest.ip6: (guest.mac, "stale")})


def test_a_unicast_solicitation_is_answered() -> None:
    """Neighbour unreachability detection by the guest, section 7.3."""
    net = Net6()
    guest = net.guest6(known=False)
    guest.solicit(GATEWAY6, to=GATEWAY6)
    assert guest.packet6().raw[4] == 0xE0


@pytest.mark.parametrize("ours", [GATEWAY6, ROUTER])
def test_a_guest_that_probes_our_address_is_told_that_it_is_taken(ours: str) -> None:
    """RFC 4862 section 5.4.3: the answer goes to all nodes, unsolicited, and teaches us nothing."""
    net = Net6()
    guest = net.guest6(known=False)
    guest.solicit(ours, source="::", link=None)
    packet = guest.packet6()
    assert (packet.src, packet.dst, packet.hlim) == (six(ours), six(ALL_NODES), 255)
    assert packet.raw[4:] == b"\xa0\0\0\0" + six(ours) + link_option(2, MAC)
    assert neighbors(net) == {}


def test_a_guest_that_probes_its_own_address_hears_nothing() -> None:
    net = Net6()
    guest = net.guest6(known=False)
    net.counted()
    guest.solicit(guest.ip6, source="::", link=None)
    assert guest.frames() == []
    assert net.counted() == {"nd.not_ours": 1, "switch.flooded": 1}


def test_a_host_is_no_router() -> None:
    net = Net6(forwarding=False)
    guest = net.guest6(known=False)
    guest.solicit(GATEWAY6)
    assert guest.packet6().raw[4] == 0x60


@pytest.mark.parametrize(
    ("lie", "counted"),
    [
        ({"hop_limit": 254}, "nd.foreign"),
        ({"code": 1}, "nd.malformed"),
        ({"more": bytes(8)}, "nd.malformed"),  # an option of no length
        ({"more": b"\x05\x02" + bytes(6)}, "nd.malformed"),
        ({"more": b"\x05"}, "nd.malformed"),
        ({"source": "::"}, "nd.malformed"),  # from nobody, with a link-layer address
        ({"source": "::", "link": None, "to": GATEWAY6}, "nd.malformed"),
        ({"source": "2001:db8::15"}, "nd.not_ours"),  # off the link
    ],
    ids=str,
)
def test_solicitations_that_are_not_believed(lie: dict[str, Any], counted: str) -> None:
    """RFC 4861 section 7.1.1."""
    net = Net6()
    guest = net.guest6(known=False)
    guest.solicit(GATEWAY6, **lie)
    assert guest.frames() == []
    assert net.counted()[counted] == 1
    assert neighbors(net) == {}


@pytest.mark.parametrize("target", [ALL_NODES, "::ffff:10.0.2.2"])
def test_a_target_that_is_no_host_is_malformed(target: str) -> None:
    net = Net6()
    guest = net.guest6(known=False)
    guest.solicit(target, to=GATEWAY6)
    assert guest.frames() == []
    assert net.counted() == {"nd.malformed": 1}


@pytest.mark.parametrize("cut", range(4, 24))
def test_a_short_solicitation_is_malformed(cut: int) -> None:
    net = Net6()
    guest = net.guest6(known=False)
    guest.icmp6(135, (bytes(4) + six(GATEWAY6))[: cut - 4], to=GATEWAY6, hop_limit=255)
    assert guest.frames() == []
    assert set(net.counted()) <= {"nd.malformed", "icmp.short"}


def test_a_stranger_does_not_speak_in_our_name_or_in_anothers() -> None:
    net = Net6()
    guest = net.guest6(known=False)
    guest.solicit(ALIAS6, source=GATEWAY6)
    guest.solicit(GATEWAY6, link=mac(99))
    guest.solicit(GATEWAY6, link=MAC)
    assert neighbors(net) == {}


def test_a_solicitation_moves_a_neighbour() -> None:
    net = Net6()
    old, new = net.guest6(0x15), net.guest6(0x16)
    new.solicit(GATEWAY6, source=old.ip6)
    assert neighbors(net)[old.ip6] == (new.mac, "stale")


def test_an_ip_packet_teaches_nothing() -> None:
    net = Net6()
    guest = net.guest6(known=False)
    guest.udp6(b"x")
    assert neighbors(net) == {}


# -- advertisements ----------------------------------------------------------------------------------------------------


def asked_for(net: Net6, guest: Any) -> None:
    """Have us ask for the guest's address."""
    assert net.core.send_udp(six(FAR6), 9, six(guest.ip6), 5000, b"waits", net.now)
    packet = guest.packet6()
    assert (packet.src, packet.dst, packet.hlim) == (six(GATEWAY6), six(solicited_node(guest.ip6)), 255)
    assert packet.raw[:2] + packet.raw[4:] == b"\x87\0" + bytes(4) + six(guest.ip6) + link_option(1, MAC)


@pytest.mark.parametrize(("flags", "state"), [(0x60, "reachable"), (0x20, "stale"), (0, "stale")])
def test_what_waited_goes_when_the_neighbour_answers(flags: int, state: str) -> None:
    net = Net6()
    guest = net.guest6(known=False)
    asked_for(net, guest)
    guest.advertise(flags=flags)
    assert guest.datagram6() == (FAR6, 9, 5000, b"waits")
    assert neighbors(net) == {guest.ip6: (guest.mac, "delay" if state == "stale" else state)}


def test_an_advertisement_without_an_address_or_that_nobody_asked_for_adds_nothing() -> None:
    net = Net6()
    guest = net.guest6(known=False)
    guest.advertise()
    assert neighbors(net) == {}
    asked_for(net, guest)
    guest.advertise(link=None)
    guest.advertise(link=mac(99))
    assert neighbors(net) == {}


@pytest.mark.parametrize(
    ("flags", "link", "holder", "state"),
    [
        (0x40, b"", 0, "stale"),  # another MAC address without override: suspicious, nothing more
        (0x60, b"", 1, "reachable"),
        (0x20, b"", 1, "stale"),
        (0x60, None, 0, "stale"),
    ],
)
def test_an_advertisement_of_another_mac_address(flags: int, link: bytes | None, holder: int, state: str) -> None:
    """Section 7.2.5."""
    net = Net6()
    guests = net.guest6(0x15), net.guest6(0x16)
    assert neighbors(net)[guests[0].ip6] == (guests[0].mac, "reachable")
    guests[1].advertise(guests[0].ip6, flags=flags, link=link)
    assert neighbors(net)[guests[0].ip6] == (guests[holder].mac, state)


@pytest.mark.parametrize(
    ("lie", "counted"),
    [
        ({"hop_limit": 64}, "nd.foreign"),
        ({"to": ALL_NODES}, "nd.malformed"),  # solicited, to a group
        ({"target": GATEWAY6}, "nd.not_ours"),
    ],
    ids=str,
)
def test_advertisements_that_are_not_believed(lie: dict[str, Any], counted: str) -> None:
    """Section 7.1.2; the second: CVE-2021-20295's kind, a guest that advertises the gateway."""
    net = Net6()
    guest = net.guest6()
    net.counted()
    before = neighbors(net)
    guest.advertise(source=guest.ip6, **lie)
    assert net.counted()[counted] == 1
    assert neighbors(net) == before


# -- routers -----------------------------------------------------------------------------------------------------------


def test_a_router_solicitation_is_handed_up() -> None:
    net = Net6()
    guest = net.guest6(known=False)
    guest.look_for_routers(more=link_option(1, guest.mac))
    assert net.punts() == [(core.KIND_SOLICITATION, guest.port, guest.mac, six(guest.link))]
    assert neighbors(net) == {guest.link: (guest.mac, "stale")}
    guest.look_for_routers(source="::")
    assert net.punt()[3] == bytes(16)


@pytest.mark.parametrize(
    ("lie", "counted"),
    [
        ({"hop_limit": 1}, "nd.foreign"),
        ({"more": bytes(8)}, "nd.malformed"),
        ({"source": "::", "more": link_option(1, mac(0x15))}, "nd.malformed"),
        ({"source": ROUTER}, "ipv6.bad_source"),
        ({"source": "2001:db8::1"}, "nd.not_ours"),
    ],
    ids=str,
)
def test_router_solicitations_that_are_not_believed(lie: dict[str, Any], counted: str) -> None:
    """Section 6.1.1."""
    net = Net6()
    guest = net.guest6(known=False)
    guest.look_for_routers(**lie)
    assert net.punts() == []
    assert net.counted()[counted] == 1


@pytest.mark.parametrize("kind", [134, 137])
def test_other_routers_are_not_listened_to(kind: int) -> None:
    net = Net6()
    guest = net.guest6()
    net.counted()
    guest.icmp6(kind, bytes(40), to=ALL_NODES, source=guest.link, hop_limit=255)
    assert net.counted() == {"nd.ignored": 1}


def test_no_more_solicitations_are_handed_up_than_can_wait() -> None:
    net = Net6()
    guest = net.guest6(known=False)
    for _ in range(4097):
        guest.look_for_routers()
    assert len(net.punts()) == 4096
    assert net.counted()["claimed.queue_full"] == 1
