"""Where replies go (RFC 2131 section 4.1) and what is in them (options 1 3 6 12 15 26 28 51 53 54 58 59 61 119)."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import dns.name
import pytest

from pyslirp.addresses import Endpoint
from pyslirp.services.dhcp import DhcpService
from tests.unit.services.dhcp_guest import (
    BROADCAST,
    DNS,
    HOST,
    NAK,
    START,
    Guest,
    address,
    dropped,
    mac,
    settings,
)

FLAG = 0x8000
SERVER, EVERYBODY = Endpoint(HOST, 67), Endpoint(BROADCAST, 68)


def guest(flags: int = 0, client_id: bytes | None = None, **changes: Any) -> Guest:
    return Guest(DhcpService(settings(**changes)), link=3, flags=flags, client_id=client_id)


def parameters(*codes: int) -> tuple[int, bytes]:
    return (55, bytes(codes))


# ------------------------------------------------------------------------------------------------ RFC 2131 section 4.1


def test_without_broadcast_flag_unicast_to_yiaddr_and_chaddr() -> None:
    client = guest()
    for reply in (client.discover(), client.bound()):
        assert (reply.sent.source, reply.sent.destination) == (SERVER, Endpoint(START, 68))
        assert (reply.sent.mac, reply.sent.link) == (client.mac, 3)


def test_with_broadcast_flag_to_everybody_on_the_link() -> None:
    for reply in (guest(FLAG).discover(), guest(FLAG).bound()):
        assert (reply.sent.destination, str(reply.sent.mac), reply.sent.link) == (EVERYBODY, "ff:ff:ff:ff:ff:ff", 3)
        assert reply.message.flags == FLAG


@pytest.mark.parametrize("flags", [0, FLAG])
def test_ack_of_a_renewal_is_unicast_to_ciaddr_whatever_the_flag(flags: int) -> None:
    client = guest(flags)
    ack = client.renew(client.bound().yiaddr)
    assert (ack.sent.destination, ack.sent.mac) == (Endpoint(START, 68), client.mac)


def test_nak_is_broadcast_even_to_a_client_with_an_address() -> None:
    client = guest()
    for nak in (client.reboot(address(3)), client.renew(address(3)), client.select(address(3))):
        assert nak.kind == NAK
        assert nak.sent.destination == EVERYBODY
        assert str(nak.sent.mac) == "ff:ff:ff:ff:ff:ff"


def test_inform_is_answered_by_unicast() -> None:
    ack = guest(FLAG).inform(address(200))
    assert ack.sent.destination == Endpoint(address(200), 68)


def test_offer_to_a_client_that_shows_an_address_goes_there() -> None:
    assert guest(FLAG).discover(ciaddr=int(address(60))).sent.destination == Endpoint(address(60), 68)


def test_offer_to_a_client_that_shows_a_foreign_address_does_not() -> None:
    assert guest().discover(ciaddr=0x08080808).sent.destination == Endpoint(START, 68)


def test_a_relay_is_answered_on_the_server_port() -> None:
    client = guest(FLAG)
    offer = client.discover(giaddr=int(address(100)))
    assert (offer.sent.destination, offer.sent.link) == (Endpoint(address(100), 67), 3)
    assert IPv4Address(offer.message.giaddr) == address(100)
    ack = client.select(offer.yiaddr, giaddr=int(address(100)))
    assert ack.learnt == []  # where a relay's client is, ARP will tell


def test_nak_through_a_relay_has_the_broadcast_flag() -> None:
    nak = guest().select(address(3), giaddr=int(address(100)))
    assert (nak.kind, nak.message.flags, nak.sent.destination) == (NAK, FLAG, Endpoint(address(100), 67))


@pytest.mark.parametrize("giaddr", ["192.168.1.1", "10.0.2.2", "10.0.2.3", "10.0.2.255"])
def test_a_relay_that_is_no_guest_gets_no_answer(giaddr: str) -> None:
    client = guest()
    assert client.send(1, giaddr=int(IPv4Address(giaddr))) == []
    assert dropped(client.service) == {"foreign_relay": 1}


# ------------------------------------------------------------------------------------------------------------- options


def test_all_options_in_order_for_a_client_that_gives_no_list() -> None:
    offer = guest(hostname="box", domainname="example.org", search=["example.org"], mtu=9000).discover()
    assert offer.codes == [53, 54, 51, 58, 59, 1, 3, 6, 28, 12, 15, 119]
    assert offer.options[1] == bytes([255, 255, 255, 0])
    assert offer.options[3] == offer.options[54] == HOST.packed
    assert offer.options[6] == DNS.packed
    assert offer.options[28] == address(255).packed
    assert (offer.options[12], offer.options[15]) == (b"box", b"example.org")
    assert (offer.seconds(51), offer.seconds(58), offer.seconds(59)) == (86_400, 43_200, 75_600)


def test_a_hostname_is_sent_whole() -> None:
    """libslirp cuts it to 32 bytes."""
    assert guest(hostname="h" * 255).discover((57, (1500).to_bytes(2, "big"))).options[12] == b"h" * 255


def test_options_not_configured_are_not_sent() -> None:
    assert not {12, 15, 26, 119} & set(guest().discover().codes)


def test_parameter_list_filters_and_orders() -> None:
    offer = guest(domainname="example.org").discover(parameters(15, 6, 99, 28, 6))
    assert offer.codes == [53, 54, 51, 58, 59, 15, 6, 28]


def test_the_mask_comes_before_the_router_whatever_the_list_says_rfc2132_3_3() -> None:
    assert guest().discover(parameters(3, 6, 1)).codes[5:] == [1, 3, 6]
    assert guest().discover(parameters(6, 1, 3)).codes[5:] == [6, 1, 3]


def test_the_list_counts_in_the_ack_too() -> None:
    assert guest().bound(parameters(3)).codes == [53, 54, 51, 58, 59, 3]


def test_the_mtu_only_for_a_client_that_asks() -> None:
    client = guest(mtu=65520)
    assert 26 not in client.discover().codes
    assert client.discover(parameters(1, 26)).seconds(26) == 65520


def test_the_mtu_may_follow_the_links() -> None:
    mtus = iter([1500, 65520])
    client = guest(mtu=lambda: next(mtus))
    assert client.discover(parameters(26)).seconds(26) == 1500
    assert client.discover(parameters(26)).seconds(26) == 65520


def test_restrict_leaves_out_router_and_dns() -> None:
    offer = guest(restrict=True).discover(parameters(1, 3, 6, 28))
    assert offer.codes[5:] == [1, 28]


def test_without_dns_option_6_is_left_out() -> None:
    assert guest(dns_enabled=False).discover(parameters(3, 6)).codes[5:] == [3]


@pytest.mark.parametrize("client_id", [b"\x01\x52\x54\x00\x12\x34\x56", b"\xff" + bytes(18), b"x", b""])
def test_the_client_identifier_is_echoed_as_it_came_rfc6842(client_id: bytes) -> None:
    client = guest(client_id=client_id)
    assert client.discover().options[61] == client_id
    assert client.bound(parameters(1)).options[61] == client_id
    assert client.inform(address(200)).options[61] == client_id
    nak = client.select(address(3))
    assert (nak.kind, nak.options[61]) == (NAK, client_id)


def test_without_client_identifier_none_is_sent() -> None:
    assert 61 not in guest().bound().codes


def test_search_list_longer_than_an_option_goes_in_pieces_and_reads_back() -> None:
    domains = [f"team-{number}.department-{number}.example.org" for number in range(20)]
    offer = guest(search=domains).discover(parameters(119), (57, (1500).to_bytes(2, "big")))
    assert offer.codes.count(119) > 1
    at, found = 0, []
    while at < len(offer.options[119]):
        name, used = dns.name.from_wire(offer.options[119], at)
        found.append(name.to_text(omit_final_dot=True))
        at += used
    assert found == domains


def test_a_reply_never_exceeds_what_the_client_takes() -> None:
    domains = [f"team-{number}.department-{number}.example.org" for number in range(60)]
    client = guest(search=domains, hostname="h" * 200, domainname="d" * 200)
    for size in (576, 800, 1500):
        offer = client.discover((57, size.to_bytes(2, "big")))
        assert 300 <= len(offer.sent.payload) <= size - 28
        assert {53, 54, 51, 1, 3, 6} <= set(offer.codes)
    assert client.service.snapshot()["counters"]["options_omitted"] > 0


def test_the_next_server_is_the_gateway() -> None:
    offer = guest().discover()
    assert (IPv4Address(offer.message.siaddr), offer.message.sname, offer.message.file) == (HOST, bytes(64), bytes(128))


def test_every_reply_is_at_least_300_bytes() -> None:
    client = guest()
    replies = [
        client.discover(),
        client.bound(),
        client.select(address(3)),
        client.inform(address(9)),
        client.ask(None),
    ]
    assert all(len(reply.sent.payload) >= 300 for reply in replies)


def test_mac_of_another_card_in_the_frame_does_not_matter() -> None:
    client = guest()
    offer = client.discover(chaddr=bytes(mac(5)))
    assert offer.sent.mac == mac(5)
