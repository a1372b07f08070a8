"""Who gets which lease of DHCPv6, message by message of RFC 8415 section 18.3."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import Endpoint
from pyslirp.config.dhcp import INFINITE_SECONDS
from pyslirp.events import NEVER_NS, LeaseEnded, LeaseGranted
from pyslirp.services.base import Claim, Datagram, SendDatagram
from pyslirp.services.dhcp6 import COUNTERS, Dhcp6Service
from pyslirp.services.leases import DECLINED_NS, OFFER_NS
from tests.unit.services.dhcp6_guest import (
    ADVERTISE,
    ALL_SERVERS,
    CLIENT_ID,
    CONFIRM,
    DECLINE,
    DNS_SERVERS,
    HOST,
    IA_NA,
    IA_PD,
    IA_TA,
    INFORM,
    NO_ADDRS,
    NO_BINDING,
    NO_PREFIX,
    NOT_ON_LINK,
    OK,
    PREFERENCE,
    RAPID,
    REBIND,
    RELEASE,
    RENEW,
    REPLY,
    REQUEST,
    SECOND,
    SERVER_DUID,
    SERVER_ID,
    SOLICIT,
    START,
    USE_MULTICAST,
    Guest,
    Reply,
    address,
    association,
    dropped,
    mac,
    pack,
    settings,
)

DAY = 86_400
ELSEWHERE = IPv6Address("2001:db8::7")


def service(**changes: Any) -> Dhcp6Service:
    return Dhcp6Service(settings(**changes))


def guests(server: Dhcp6Service, count: int) -> list[Guest]:
    return [Guest(server, mac(number), link=number) for number in range(1, 1 + count)]


def counted(server: Dhcp6Service, name: str) -> int:
    count = server.snapshot()["counters"][name]
    assert isinstance(count, int)
    return count


def test_claims_the_group_of_servers_and_the_gateway() -> None:
    assert service().claims == (Claim("udp", ALL_SERVERS, 547), Claim("udp", HOST, 547))


# ------------------------------------------------------------------------------------------------- SOLICIT and REQUEST


def test_the_first_guest_gets_the_start_of_the_pool_and_the_next_the_next() -> None:
    server = service()
    assert [guest.bound().address for guest in guests(server, 3)] == [address(last) for last in (0x15, 0x16, 0x17)]


def test_solicit_is_advertised_and_request_replied_to() -> None:
    guest = Guest(service(), now=5 * SECOND)
    offer = guest.solicit()
    assert (offer.kind, offer.address, offer[PREFERENCE]) == (ADVERTISE, START, b"\xff")
    assert offer.actions == [offer.sent]  # an offer is no lease: no event
    reply = guest.request(association(offer.address))
    assert (reply.kind, reply.address) == (REPLY, START)
    assert PREFERENCE not in reply.codes
    assert reply.actions == [
        LeaseGranted(5 * SECOND, START, guest.mac, None, 5 * SECOND + DAY * SECOND),
        reply.sent,
    ]


def test_lifetimes_are_the_leases_and_t1_and_t2_parts_of_them() -> None:
    (answer,) = Guest(service()).bound().answers
    assert (answer.iaid, answer.addresses) == (1, {START: (DAY, DAY)})
    assert (answer.t1, answer.t2) == (DAY // 2, DAY * 4 // 5)


def test_a_lease_without_end_is_infinite_in_every_field() -> None:
    reply = Guest(service(lease_seconds=INFINITE_SECONDS)).bound()
    (answer,) = reply.answers
    assert (answer.t1, answer.t2) == (INFINITE_SECONDS, INFINITE_SECONDS)
    assert answer.addresses == {START: (INFINITE_SECONDS, INFINITE_SECONDS)}
    assert reply.only(LeaseGranted).expires == NEVER_NS


def test_rapid_commit_leases_at_once() -> None:
    server = service()
    reply = Guest(server).solicit(association(), (RAPID, b""))
    assert (reply.kind, reply.address, reply[RAPID]) == (REPLY, START, b"")
    assert reply.only(LeaseGranted).address == START
    assert [lease["state"] for lease in server.snapshot()["leases"]] == ["bound"]


def test_a_solicit_without_rapid_commit_leases_nothing() -> None:
    server = service()
    Guest(server).solicit()
    assert [lease["state"] for lease in server.snapshot()["leases"]] == ["offered"]
    assert server.expire(OFFER_NS) == []
    assert server.snapshot()["leases"] == []


def test_a_client_gets_the_address_that_it_hints_at() -> None:
    assert Guest(service()).solicit(association(address(0x77))).address == address(0x77)


@pytest.mark.parametrize("hint", [HOST, address(0), address(3), ELSEWHERE])
def test_a_hint_that_no_guest_may_have_is_ignored(hint: IPv6Address) -> None:
    assert Guest(service()).solicit(association(hint)).address == START


def test_a_request_without_an_address_gets_one() -> None:
    assert Guest(service()).request(association()).address == START


def test_a_request_without_an_offer_keeps_a_free_address() -> None:
    assert Guest(service()).request(association(address(0x99))).address == address(0x99)


def test_a_request_for_what_another_holds_gets_another() -> None:
    first, second = guests(service(), 2)
    held = first.bound().address
    assert second.request(association(held)).address != held


def test_a_request_for_an_address_of_another_link_is_told_so() -> None:
    server = service()
    (answer,) = Guest(server).request(association(ELSEWHERE)).answers
    assert (answer.status, answer.addresses) == (NOT_ON_LINK, {})
    assert counted(server, "refused.not_on_link") == 1


def test_a_request_names_this_server_or_frees_the_offer() -> None:
    server = service()
    guest = Guest(server)
    guest.solicit()
    assert guest.send(REQUEST, (SERVER_ID, b"\x00\x03\x00\x01other!"), association(START)) == []
    assert dropped(server) == {"other_server": 1}
    assert server.snapshot()["leases"] == []


def test_every_association_has_an_address_of_its_own() -> None:
    guest = Guest(service())
    reply = guest.request(association(iaid=1), association(iaid=2))
    assert [list(answer.addresses) for answer in reply.answers] == [[START], [address(0x16)]]
    assert [answer.iaid for answer in reply.answers] == [1, 2]


def test_temporary_addresses_and_prefixes_are_refused_one_by_one() -> None:
    reply = Guest(service()).solicit(association(), association(code=IA_TA, iaid=2), association(code=IA_PD, iaid=3))
    assert [answer.status for answer in reply.answers] == [None, NO_ADDRS, NO_PREFIX]
    assert [code for code in reply.codes if code in (IA_NA, IA_TA, IA_PD)] == [IA_NA, IA_TA, IA_PD]


def test_a_full_pool_says_so() -> None:
    server = service(prefix=IPv6Network("fec0::/126"), start=address(1))
    first, second = guests(server, 2)
    assert first.bound().address == address(1)
    for reply in (second.solicit(), second.request(association())):
        (answer,) = reply.answers
        assert (answer.status, answer.addresses) == (NO_ADDRS, {})
    assert counted(server, "refused.exhausted") == 2


def test_a_link_has_no_more_leases_than_it_may_have() -> None:
    server = service(leases_per_link=2)
    greedy = Guest(server)
    replies = [greedy.request(association(iaid=iaid)) for iaid in range(3)]
    assert [reply.answers[0].status for reply in replies] == [None, None, NO_ADDRS]
    assert counted(server, "refused.lease_limit") == 1
    assert Guest(server, mac(9), link=9).bound().address == address(0x17)


# ------------------------------------------------------------------------------------------------- RENEW and REBIND


@pytest.mark.parametrize("kind", [RENEW, REBIND])
def test_a_lease_is_extended(kind: int) -> None:
    server = service()
    guest = Guest(server)
    held = guest.bound().address
    guest.now = 1000 * SECOND
    options = [association(held)] if kind == REBIND else [(SERVER_ID, SERVER_DUID), association(held)]
    reply = guest.ask(kind, *options)
    assert (reply.kind, reply.address) == (REPLY, held)
    assert reply.only(LeaseGranted).expires == (1000 + DAY) * SECOND
    assert server.deadline() == (1000 + DAY) * SECOND


def test_a_client_that_outlived_the_server_keeps_a_free_address() -> None:
    reply = Guest(service()).to_server(RENEW, association(address(0x42)))
    assert reply.address == address(0x42)
    assert reply.only(LeaseGranted).address == address(0x42)


def test_what_another_holds_is_no_binding_to_renew_and_over_to_rebind() -> None:
    first, second = guests(service(), 2)
    held = first.bound().address
    (answer,) = second.to_server(RENEW, association(held)).answers
    assert (answer.status, answer.addresses) == (NO_BINDING, {})
    (answer,) = second.ask(REBIND, association(held)).answers
    assert (answer.status, answer.addresses) == (None, {held: (0, 0)})


@pytest.mark.parametrize("kind", [RENEW, REBIND])
def test_an_address_of_another_link_is_over(kind: int) -> None:
    options = [association(ELSEWHERE)] if kind == REBIND else [(SERVER_ID, SERVER_DUID), association(ELSEWHERE)]
    (answer,) = Guest(service()).ask(kind, *options).answers
    assert (answer.status, answer.addresses) == (None, {ELSEWHERE: (0, 0)})


def test_of_several_addresses_the_clients_own_lives_on() -> None:
    guest = Guest(service())
    held = guest.bound().address
    (answer,) = guest.to_server(RENEW, association(address(0x77), held)).answers
    assert answer.addresses == {held: (DAY, DAY), address(0x77): (0, 0)}


def test_renewing_nothing_is_no_binding() -> None:
    (answer,) = Guest(service()).to_server(RENEW, association()).answers
    assert answer.status == NO_BINDING


def test_leases_end_and_are_remembered() -> None:
    server = service()
    guest = Guest(server)
    held = guest.bound().address
    assert server.expire(DAY * SECOND - 1) == []
    assert server.expire(DAY * SECOND) == [LeaseEnded(DAY * SECOND, held, guest.mac, "expired")]
    assert Guest(server, mac(2)).bound().address == address(0x16)
    assert guest.bound().address == held


# ------------------------------------------------------------------------------------ CONFIRM, RELEASE, DECLINE, INFORM


def test_confirm_looks_at_the_link_alone() -> None:
    server = service()
    guest = Guest(server)
    assert guest.ask(CONFIRM, association(address(0x42))).status == OK
    assert guest.ask(CONFIRM, association(address(0x42), ELSEWHERE)).status == NOT_ON_LINK
    assert guest.send(CONFIRM, association()) == []
    assert dropped(server) == {"no_address": 1}
    assert server.snapshot()["leases"] == []


def test_release_ends_a_lease_and_remembers_it() -> None:
    server = service()
    guest = Guest(server)
    held = guest.bound().address
    reply = guest.to_server(RELEASE, association(held))
    assert (reply.kind, reply.status, reply.answers) == (REPLY, OK, [])
    assert reply.only(LeaseEnded) == LeaseEnded(0, held, guest.mac, "released")
    assert [lease["state"] for lease in server.snapshot()["leases"]] == ["ended"]


@pytest.mark.parametrize("kind", [RELEASE, DECLINE])
def test_what_the_client_does_not_hold_is_no_binding(kind: int) -> None:
    first, second = guests(service(), 2)
    held = first.bound().address
    reply = second.to_server(kind, association(held))
    assert (reply.status, [answer.status for answer in reply.answers]) == (OK, [NO_BINDING])
    assert reply.actions == [reply.sent]


def test_a_declined_address_is_nobodys_for_a_while() -> None:
    server = service()
    guest = Guest(server)
    held = guest.bound().address
    assert guest.to_server(DECLINE, association(held)).only(LeaseEnded).reason == "declined"
    assert guest.bound().address == address(0x16)
    server.expire(DECLINED_NS)
    assert Guest(server, mac(2)).bound().address == held


def test_information_is_given_without_a_lease_and_without_a_client_identifier() -> None:
    server = service()
    guest = Guest(server)
    (sent,) = guest.raw(bytes([INFORM]) + b"abc" + pack([(6, b"\x00\x17")]))
    assert isinstance(sent, SendDatagram)
    reply = Reply(sent, [])
    assert (reply.kind, reply.transaction) == (REPLY, b"abc")
    assert reply.codes == [SERVER_ID, DNS_SERVERS]
    assert counted(server, "received.information_request") == 1


# ------------------------------------------------------------------------------------------------------- static leases


def test_a_static_address_is_the_macs() -> None:
    server = service(static={mac(1): address(0x50)})
    assert Guest(server, mac(1)).bound().address == address(0x50)
    assert Guest(server, mac(2)).request(association(address(0x50))).address == START


def test_one_association_of_a_client_has_the_static_address() -> None:
    guest = Guest(service(static={mac(1): address(0x50)}), mac(1))
    reply = guest.request(association(iaid=1), association(iaid=2))
    assert [list(answer.addresses) for answer in reply.answers] == [[address(0x50)], [START]]
    renewed = guest.to_server(RENEW, association(START, iaid=2), association(address(0x50), iaid=1))
    assert [list(answer.addresses) for answer in renewed.answers] == [[START], [address(0x50)]]


def test_a_new_duid_behind_the_mac_has_the_static_address() -> None:
    server = service(static={mac(1): address(0x50)})
    assert Guest(server, mac(1), duid=b"\0\4installer").bound().address == address(0x50)
    assert Guest(server, mac(1), duid=b"\0\4system").bound().address == address(0x50)


def test_a_duid_keeps_its_address_on_another_card() -> None:
    server = service()
    held = Guest(server, mac(1), duid=b"\0\4one").bound().address
    assert Guest(server, mac(2), duid=b"\0\4one").bound().address == held


# -------------------------------------------------------------------------------------------------------------- refusal


@pytest.mark.parametrize("kind", [REQUEST, RENEW, RELEASE, DECLINE])
def test_unicast_is_told_to_use_multicast(kind: int) -> None:
    server = service()
    reply = Guest(server).ask(kind, (SERVER_ID, SERVER_DUID), association(START), to=HOST)
    assert (reply.kind, reply.status, reply.answers) == (REPLY, USE_MULTICAST, [])
    assert server.snapshot()["leases"] == []


@pytest.mark.parametrize("kind", [SOLICIT, CONFIRM, REBIND])
def test_unicast_that_section_16_discards_is_dropped(kind: int) -> None:
    server = service()
    assert Guest(server).send(kind, association(START), to=HOST) == []
    assert dropped(server) == {"unicast": 1}


@pytest.mark.parametrize("source", ["::", "::1", "ff02::1", "2001:db8::1", "fec0::2"])
def test_a_source_that_is_no_guests_is_dropped(source: str) -> None:
    server = service()
    assert Guest(server, source=IPv6Address(source)).send(SOLICIT, association()) == []
    assert dropped(server) == {"bad_source": 1}


def test_a_guest_may_ask_from_its_global_address() -> None:
    assert Guest(service(), source=address(0x42)).solicit().address == START


def test_malformed_messages_are_dropped_by_reason() -> None:
    server = service()
    guest = Guest(server)
    for payload in (b"", bytes(2000), b"\x63abc", b"\x02abc", b"\x01abc\x00\x01", b"\x01abc"):
        assert guest.raw(payload) == []
    expected = ("short", "long", "message_type", "unexpected_type", "option_truncated", "no_client_id")
    assert dropped(server) == dict.fromkeys(expected, 1)


def test_every_counter_is_in_the_snapshot() -> None:
    server = service()
    guest = Guest(server)
    guest.bound()
    counters = server.snapshot()["counters"]
    assert set(counters) == set(COUNTERS)
    assert {name: count for name, count in counters.items() if count} == {
        "received.solicit": 1,
        "received.request": 1,
        "sent.advertise": 1,
        "sent.reply": 1,
    }


def test_the_snapshot_tells_who_holds_what() -> None:
    server = service()
    guest = Guest(server, link=7)
    guest.bound(iaid=0xABCD)
    assert server.snapshot()["leases"] == [
        {
            "address": "fec0::15",
            "mac": str(guest.mac),
            "state": "bound",
            "hostname": None,
            "client_id": guest.client_id[1].hex(),
            "iaid": "0000abcd",
            "link": 7,
            "expires": DAY * SECOND,
        }
    ]


def test_the_server_is_the_same_after_a_restart() -> None:
    assert [Guest(service()).solicit()[SERVER_ID] for _ in range(2)] == [SERVER_DUID] * 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SOLICIT, REQUEST, CONFIRM, RENEW, REBIND, RELEASE, DECLINE, INFORM]),
            st.integers(1, 3),
            st.integers(0, 2),
            st.lists(st.integers(0, 8), max_size=3),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_no_address_is_ever_leased_twice(steps: list[tuple[int, int, int, list[int], bool]]) -> None:
    server = service(prefix=IPv6Network("fec0::/125"), start=address(4))
    for kind, who, iaid, wanted, rapid in steps:
        guest = Guest(server, mac(who), link=who)
        options = [] if kind == INFORM else [association(*(address(last) for last in wanted), iaid=iaid)]
        options += [(RAPID, b"")] if rapid else []
        options += [(SERVER_ID, SERVER_DUID)] if kind in (REQUEST, RENEW, RELEASE, DECLINE) else []
        guest.send(kind, *options)
        leases = server.snapshot()["leases"]
        keys = [(lease["client_id"], lease["iaid"]) for lease in leases if lease["state"] in ("bound", "offered")]
        assert len(keys) == len(set(keys))
        assert len({lease["address"] for lease in leases}) == len(leases) <= 3
        assert not {"fec0::2", "fec0::3", "fec0::"} & {lease["address"] for lease in leases}


@given(st.binary(max_size=200))
def test_no_bytes_raise(payload: bytes) -> None:
    server = service()
    guest = Guest(server)
    guest.raw(payload)
    guest.raw(bytes([payload[0] % 14 if payload else 0]) + b"abc" + pack([(CLIENT_ID, b"\0\3abc")]) + payload)


def test_what_is_not_ipv6_is_dropped() -> None:
    server = service()
    datagram = Datagram(1, mac(1), Endpoint.of("10.0.2.15", 546), Endpoint(ALL_SERVERS, 547), b"\1abc")
    assert server.handle(datagram, 0) == []
    assert dropped(server) == {"bad_source": 1}
