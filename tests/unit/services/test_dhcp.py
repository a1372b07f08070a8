"""Who gets which lease, in the four states of RFC 2131 and in BOOTP."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import Endpoint
from pyslirp.config.dhcp import INFINITE_SECONDS
from pyslirp.errors import ConfigError
from pyslirp.events import NEVER_NS, LeaseEnded, LeaseGranted
from pyslirp.services.base import Claim, Datagram, LearnNeighbor, SendDatagram
from pyslirp.services.dhcp import COUNTERS, DhcpService
from pyslirp.services.leases import OFFER_NS
from tests.unit.services.dhcp_guest import (
    ACK,
    ANY,
    BROADCAST,
    DECLINE,
    DISCOVER,
    DNS,
    HOST,
    NAK,
    OFFER,
    REQUEST,
    SECOND,
    START,
    Guest,
    address,
    dropped,
    mac,
    settings,
    silence,
)

DAY = 86_400


def service(**changes: Any) -> DhcpService:
    return DhcpService(settings(**changes))


def guests(server: DhcpService, count: int, first: int = 1) -> list[Guest]:
    return [Guest(server, mac(number), link=number) for number in range(first, first + count)]


def test_claims_the_gateway_and_the_broadcast_address() -> None:
    assert service().claims == (Claim("udp", HOST, 67), Claim("udp", BROADCAST, 67))


# ----------------------------------------------------------------------------------------- DISCOVER and SELECTING


def test_the_first_guest_gets_dhcpstart_and_the_next_the_next() -> None:
    server = service()
    assert [guest.bound().yiaddr for guest in guests(server, 3)] == [address(15), address(16), address(17)]


def test_discover_is_offered_and_request_acknowledged() -> None:
    guest = Guest(service())
    offer = guest.discover()
    assert (offer.kind, offer.yiaddr) == (OFFER, START)
    assert (offer.options[54], offer.seconds(51)) == (HOST.packed, DAY)
    assert offer.actions == [offer.sent]  # an offer is no lease: no event, no neighbour
    ack = guest.select(offer.yiaddr)
    assert (ack.kind, ack.yiaddr, ack.seconds(51)) == (ACK, START, DAY)


def test_rapid_commit_leases_at_once() -> None:
    server = service()
    guest = Guest(server)
    ack = guest.ask(DISCOVER, (80, b""))
    assert (ack.kind, ack.yiaddr, ack.options[80]) == (ACK, START, b"")
    assert ack.only(LeaseGranted).address == START
    assert [lease["state"] for lease in server.snapshot()["leases"]] == ["bound"]
    assert 80 not in guest.select(START).options


def test_rapid_commit_of_a_full_pool_is_silent() -> None:
    server = service(net=IPv4Network("10.0.2.0/28"), start=address(14))
    first, second = guests(server, 2)
    assert first.ask(DISCOVER, (80, b"")).yiaddr == address(14)
    assert second.send(DISCOVER, (80, b"")) == []
    assert dropped(server) == {"exhausted": 1}


def test_ack_grants_the_lease_and_teaches_the_neighbour_before_it_is_sent() -> None:
    guest = Guest(service(), link=7, now=5 * SECOND)
    ack = guest.select(guest.discover().yiaddr, (12, b"box"))
    assert ack.actions == [
        LeaseGranted(5 * SECOND, START, guest.mac, "box", 5 * SECOND + DAY * SECOND),
        LearnNeighbor(START, guest.mac, 7),
        ack.sent,
    ]


def test_two_guests_discovering_at_once_are_offered_different_addresses() -> None:
    one, two = guests(service(), 2)
    assert one.discover().yiaddr != two.discover().yiaddr


def test_discover_again_is_offered_the_same() -> None:
    guest = Guest(service())
    assert guest.discover().yiaddr == guest.discover().yiaddr


def test_discover_may_ask_for_an_address() -> None:
    assert Guest(service()).discover((50, address(77).packed)).yiaddr == address(77)


def test_selecting_another_server_gets_no_answer_and_frees_our_offer() -> None:
    server = service()
    one, two = guests(server, 2)
    one.discover()
    assert one.send(REQUEST, (54, address(9).packed), (50, START.packed)) == []
    assert dropped(server) == {"other_server": 1}
    assert two.discover().yiaddr == START


def test_selecting_something_else_than_what_was_offered_is_refused() -> None:
    guest = Guest(service())
    guest.discover()
    assert guest.select(address(30)).kind == NAK


def test_selecting_after_the_offer_has_ended_is_granted_if_free() -> None:
    guest = Guest(service())
    offer = guest.discover()
    guest.service.expire(OFFER_NS)
    guest.now = OFFER_NS
    assert guest.select(offer.yiaddr).kind == ACK


def test_selecting_an_address_that_went_to_another_is_refused() -> None:
    one, two = guests(service(), 2)
    offer = one.discover()
    one.service.expire(OFFER_NS)
    two.bound()
    assert one.select(offer.yiaddr).kind == NAK


def test_nak_says_who_and_why_and_nothing_else() -> None:
    nak = Guest(service()).select(address(3))
    assert nak.codes == [53, 54, 56]
    assert nak.options[56] == b"requested address not available"
    assert (nak.message.yiaddr, nak.message.ciaddr, nak.message.siaddr) == (0, 0, 0)


def test_a_malformed_message_is_counted_by_its_reason() -> None:
    guest = Guest(service())
    assert guest.send(REQUEST, hrd=6) == []
    assert guest.send(REQUEST, size=1473) == []
    assert dropped(guest.service) == {"hardware": 1, "long": 1}


# ------------------------------------------------------------------------------ INIT-REBOOT, RENEWING, REBINDING


def test_init_reboot_keeps_its_address() -> None:
    guest = Guest(service())
    held = guest.bound().yiaddr
    assert guest.reboot(held).kind == ACK


@pytest.mark.parametrize("wanted", ["10.0.2.2", "10.0.2.3", "10.0.2.255", "10.0.2.5", "192.168.1.7"])
def test_init_reboot_on_the_wrong_network_or_outside_the_pool_is_refused(wanted: str) -> None:
    assert Guest(service()).reboot(IPv4Address(wanted)).kind == NAK


def test_init_reboot_with_anothers_address_is_refused() -> None:
    one, two = guests(service(), 2)
    assert two.reboot(one.bound().yiaddr).kind == NAK


def test_a_guest_that_outlived_the_server_keeps_a_free_address() -> None:
    for ask in (Guest.reboot, Guest.renew, Guest.rebind):
        assert ask(Guest(service()), address(40)).yiaddr == address(40)


def test_renewing_extends_the_lease() -> None:
    guest = Guest(service())
    held = guest.bound().yiaddr
    guest.now = 1000 * SECOND
    ack = guest.renew(held)
    assert (ack.kind, ack.yiaddr) == (ACK, held)
    assert IPv4Address(ack.message.ciaddr) == held
    assert ack.only(LeaseGranted).expires == (1000 + DAY) * SECOND
    assert guest.service.deadline() == (1000 + DAY) * SECOND


def test_rebinding_extends_the_lease_too() -> None:
    guest = Guest(service())
    assert guest.rebind(guest.bound().yiaddr).kind == ACK


def test_renewing_an_address_that_went_to_another_is_refused() -> None:
    one, two = guests(service(), 2)
    assert two.renew(one.bound().yiaddr).kind == NAK


def test_a_request_for_nothing_gets_no_answer() -> None:
    guest = Guest(service())
    assert guest.send(REQUEST) == []
    assert guest.send(REQUEST, (54, HOST.packed)) == []
    assert dropped(guest.service) == {"no_address": 2}


# ------------------------------------------------------------------------------------- RELEASE, DECLINE, INFORM


def test_release_ends_the_lease_and_a_guest_that_comes_back_finds_it() -> None:
    server = service()
    one, two = guests(server, 2)
    held = one.bound().yiaddr
    one.now = 9
    assert one.release(held) == [LeaseEnded(9, held, one.mac, "released")]
    assert two.bound().yiaddr != held
    assert one.discover().yiaddr == held


def test_release_of_what_is_not_held_does_nothing() -> None:
    one, two = guests(service(), 2)
    held = one.bound().yiaddr
    assert two.release(held) == []
    assert one.release(address(99)) == []
    assert dropped(one.service) == {"unknown_lease": 2}
    assert one.renew(held).kind == ACK


def test_declined_address_is_kept_from_everybody_for_ten_minutes() -> None:
    one, two = guests(service(), 2)
    held = one.bound().yiaddr
    assert one.decline(held) == [LeaseEnded(0, held, one.mac, "declined")]
    assert one.discover().yiaddr == address(16)
    assert two.reboot(held).kind == NAK
    two.now = 600 * SECOND
    two.service.expire(two.now)
    assert two.discover((50, held.packed)).yiaddr == held


def test_decline_and_release_meant_for_another_server_are_left_alone() -> None:
    guest = Guest(service())
    held = guest.bound().yiaddr
    other = (54, address(9).packed)
    assert guest.send(DECLINE, other, (50, held.packed)) == []
    assert guest.send(7, other, ciaddr=int(held)) == []
    assert dropped(guest.service) == {"other_server": 2}
    assert guest.renew(held).kind == ACK


def test_decline_without_an_address_does_nothing() -> None:
    guest = Guest(service())
    guest.bound()
    assert guest.send(DECLINE, (54, HOST.packed)) == []
    assert dropped(guest.service) == {"unknown_lease": 1}


def test_inform_gets_parameters_and_no_lease_rfc2131_4_3_5() -> None:
    guest = Guest(service())
    ack = guest.inform(address(200))
    assert (ack.kind, ack.message.yiaddr, IPv4Address(ack.message.ciaddr)) == (ACK, 0, address(200))
    assert not {51, 58, 59} & set(ack.codes)
    assert {1, 3, 6, 54} <= set(ack.codes)
    assert ack.actions == [ack.sent]
    assert guest.service.snapshot()["leases"] == []


def test_inform_without_ciaddr_is_answered_to_its_source() -> None:
    guest = Guest(service(), source=address(200))
    assert guest.inform(ANY).sent.destination == Endpoint(address(200), 68)


@pytest.mark.parametrize("claimed", ["8.8.8.8", "10.0.2.2", "10.0.2.255", "10.0.2.0"])
def test_inform_from_nobodys_address_gets_no_answer(claimed: str) -> None:
    guest = Guest(service())
    assert silence(lambda: guest.inform(IPv4Address(claimed)))
    assert dropped(guest.service) == {"no_address": 1}


@pytest.mark.parametrize("kind", [OFFER, ACK, NAK])
def test_a_guest_that_plays_server_gets_no_answer(kind: int) -> None:
    guest = Guest(service())
    assert guest.send(kind) == []
    assert dropped(guest.service) == {"unexpected_type": 1}


# -------------------------------------------------------------------------------------------------------- BOOTP


def test_bootp_gets_an_address_for_ever_and_no_dhcp_options() -> None:
    guest = Guest(service())
    reply = guest.ask(None)
    assert (reply.yiaddr, len(reply.sent.payload)) == (START, 300)
    assert set(reply.codes) == {1, 3, 6, 28}
    assert reply.only(LeaseGranted).expires == NEVER_NS
    assert reply.learnt == [LearnNeighbor(START, guest.mac, 1)]
    assert guest.ask(None).yiaddr == START
    assert guest.service.deadline() is None


def test_bootp_client_that_knows_its_address_gets_none() -> None:
    guest = Guest(service())
    reply = guest.ask(None, ciaddr=int(address(50)))
    assert (reply.message.yiaddr, reply.sent.destination) == (0, Endpoint(address(50), 68))
    assert guest.service.snapshot()["leases"] == []
    assert guest.send(None, ciaddr=int(HOST)) == []


def test_a_bootp_rom_and_the_dhcp_client_after_it_are_one_guest() -> None:
    guest = Guest(service())
    assert guest.ask(None).yiaddr == guest.bound().yiaddr
    assert guest.service.deadline() == DAY * SECOND


def test_bootp_with_no_address_left_gets_no_answer() -> None:
    server = service(start=address(254))
    one, two = guests(server, 2)
    one.ask(None)
    assert two.send(None) == []
    assert dropped(server) == {"exhausted": 1}


# ------------------------------------------------------------------------------------------------- time and limits


def test_a_lease_that_is_not_renewed_ends() -> None:
    guest = Guest(service(lease_seconds=3600))
    held = guest.bound().yiaddr
    assert guest.service.deadline() == 3600 * SECOND
    assert guest.service.expire(3600 * SECOND) == [LeaseEnded(3600 * SECOND, held, guest.mac, "expired")]
    assert guest.service.deadline() is None


@pytest.mark.parametrize(("asked", "given"), [(300, 300), (1, 120), (0, 3600), (90_000, 3600), (0xFFFFFFFF, 3600)])
def test_a_client_may_ask_for_less_time_but_not_for_more(asked: int, given: int) -> None:
    offer = Guest(service(lease_seconds=3600)).discover((51, asked.to_bytes(4, "big")))
    assert (offer.seconds(51), offer.seconds(58), offer.seconds(59)) == (given, given // 2, given * 7 // 8)


def test_a_lease_without_end() -> None:
    guest = Guest(service(lease_seconds=INFINITE_SECONDS))
    ack = guest.bound()
    assert ack.seconds(51) == 0xFFFFFFFF
    assert not {58, 59} & set(ack.codes)
    assert ack.only(LeaseGranted).expires == NEVER_NS
    assert guest.service.deadline() is None


def test_an_exhausted_pool_gives_no_answer_and_a_count() -> None:
    server = service(start=address(253))
    for guest in guests(server, 2):
        guest.bound()
    assert silence(guests(server, 1, first=9)[0].discover)
    assert dropped(server) == {"exhausted": 1}


def test_a_flood_of_discovers_costs_no_lease_and_shuts_nobody_out() -> None:
    server = service(start=address(240))
    held = [guest.bound().yiaddr for guest in guests(server, 5)]
    flood = Guest(server, link=99)
    for number in range(2000):
        flood.mac = mac(10_000 + number)
        flood.discover()
    assert len(server.snapshot()["leases"]) <= 15
    assert [guest.renew(own).kind for guest, own in zip(guests(server, 5), held, strict=True)] == [ACK] * 5
    assert Guest(server, mac(77), link=77).bound().kind == ACK


def test_a_links_leases_are_limited() -> None:
    server = service(leases_per_link=2)
    one, two, three = (Guest(server, mac(number), link=1) for number in range(3))
    one.bound()
    two.bound()
    assert silence(three.discover)
    assert silence(lambda: three.select(address(40)))
    assert three.send(None) == []
    assert dropped(server) == {"lease_limit": 3}
    assert one.renew(START).kind == ACK


def test_the_whole_of_a_net_can_be_leased_from_one_link() -> None:
    server = service(net=IPv4Network("10.0.2.0/24"))
    got = [Guest(server, mac(number), link=1).bound().yiaddr for number in range(240)]
    assert got == [address(last) for last in range(15, 255)]


# -------------------------------------------------------------------------------------------------------- identity


def test_static_lease_by_mac_whatever_the_identifier() -> None:
    server = service(static={mac(1): address(7)})
    assert Guest(server, mac(1)).bound().yiaddr == address(7)
    assert Guest(server, mac(1), client_id=b"\xffduid").bound().yiaddr == address(7)
    assert Guest(server, mac(2)).bound().yiaddr == START


def test_client_identifier_is_the_key_whatever_the_mac() -> None:
    server = service()
    assert Guest(server, mac(1), client_id=b"\xffduid").bound().yiaddr == START
    assert Guest(server, mac(2), client_id=b"\xffduid", link=2).bound().yiaddr == START


def test_clones_that_share_an_identifier_can_be_told_apart_by_mac() -> None:
    server = service(match_client_id=False)
    one, two = (Guest(server, mac(number), client_id=b"\xffduid", link=number) for number in (1, 2))
    assert one.bound().yiaddr != two.bound().yiaddr
    assert one.bound().options[61] == b"\xffduid"


@pytest.mark.parametrize("client_id", [b"", b"x", b"\x01" + mac(1)])
def test_an_identifier_that_says_no_more_than_the_mac_is_the_mac(client_id: bytes) -> None:
    server = service()
    held = Guest(server, mac(1), client_id=client_id).bound().yiaddr
    assert Guest(server, mac(1), client_id=b"\xffduid").bound().yiaddr == held


def test_a_guest_that_comes_back_on_another_link_finds_its_lease() -> None:
    server = service()
    held = Guest(server, link=1).bound().yiaddr
    back = Guest(server, link=2)
    ack = back.reboot(held)
    assert (ack.kind, ack.sent.link) == (ACK, 2)
    assert ack.learnt == [LearnNeighbor(held, back.mac, 2)]


# -------------------------------------------------------------------------------------------------------- the rest


def test_snapshot_shows_leases_and_counters() -> None:
    guest = Guest(service(), client_id=b"\xffduid", link=4)
    guest.select(guest.discover().yiaddr, (12, b"box"))
    shown = guest.service.snapshot()
    assert shown["leases"] == [
        {
            "address": "10.0.2.15",
            "mac": "52:54:00:12:34:56",
            "state": "bound",
            "hostname": "box",
            "client_id": "ff64756964",
            "link": 4,
            "expires": DAY * SECOND,
        }
    ]
    assert {name for name, count in shown["counters"].items() if count} == {
        "received.discover",
        "received.request",
        "sent.offer",
        "sent.ack",
    }
    assert set(shown["counters"]) == set(COUNTERS)


def test_an_impossible_search_list_is_the_callers_fault() -> None:
    with pytest.raises(ConfigError, match=r"dnssearch=.*not a domain name"):
        service(search=["bad..domain"])


@given(st.lists(st.binary(max_size=400), max_size=5))
def test_no_bytes_make_the_service_raise_or_answer_outside_the_link(payloads: list[bytes]) -> None:
    server = service()
    guest = Guest(server)
    guest.bound()
    for payload in payloads:
        datagram = Datagram(3, guest.mac, Endpoint(ANY, 68), Endpoint(BROADCAST, 67), payload)
        for action in server.handle(datagram, 1):
            assert not isinstance(action, SendDatagram) or (action.link == 3 and len(action.payload) >= 300)
    assert guest.renew(START).kind == ACK
    assert DNS not in {IPv4Address(lease["address"]) for lease in server.snapshot()["leases"]}
