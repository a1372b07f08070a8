"""The pool by itself: states, preference, limits, and invariants under any sequence of operations."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.services import leases as module
from pyslirp.services.leases import (
    DECLINED_NS,
    MAX_DECLINED_PER_LINK,
    MAX_OFFERS_PER_LINK,
    OFFER_NS,
    SECOND_NS,
    Client,
    Lease,
    Leases,
    State,
)
from tests.unit.services.dhcp_guest import mac

NET = IPv4Network("10.0.2.0/24")


def ip(last: int) -> IPv4Address:
    return NET.network_address + last


def pool(first: int = 15, net: IPv4Network = NET, **options: Any) -> Leases[IPv4Address]:
    return Leases(net, net.network_address + first, **options)


def client(number: int = 1, identifier: bytes = b"", link: int = 1) -> Client:
    return Client(mac(number), identifier, link)


def bound(leases: Leases[IPv4Address], who: Client, now: int = 0, expires: int | None = 10**12) -> Lease[IPv4Address]:
    offer = leases.offer(who, None, now)
    assert offer is not None
    lease = leases.bind(who, offer.address, expires)
    assert lease is not None
    return lease


def offered(
    leases: Leases[IPv4Address], who: Client, wanted: IPv4Address | None = None, now: int = 0
) -> IPv4Address | None:
    lease = leases.offer(who, wanted, now)
    return lease.address if lease else None


# ------------------------------------------------------------------------------------------------------ which address


def test_lowest_free_address_first() -> None:
    leases = pool()
    assert [offered(leases, client(number)) for number in range(3)] == [ip(15), ip(16), ip(17)]


def test_reserved_addresses_are_skipped() -> None:
    leases = pool(reserved={ip(15), ip(17)})
    assert [offered(leases, client(number)) for number in range(3)] == [ip(16), ip(18), ip(19)]
    assert offered(leases, client(9), wanted=ip(17)) == ip(20)


def test_static_address_comes_before_everything() -> None:
    leases = pool(static={mac(1): ip(7)})
    assert offered(leases, client(1), wanted=ip(20)) == ip(7)


def test_static_address_is_nobody_elses() -> None:
    leases = pool(static={mac(1): ip(15)})
    assert offered(leases, client(2), wanted=ip(15)) == ip(16)
    assert leases.bind(client(2), ip(15), 1) is None


def test_a_client_with_a_free_static_address_may_have_no_other() -> None:
    leases = pool(static={mac(1): ip(7)})
    assert leases.bind(client(1), ip(20), 1) is None
    assert leases.bind(client(1), ip(7), 1) is not None


def test_declined_static_address_is_set_aside_for_a_while() -> None:
    leases = pool(static={mac(1): ip(7)})
    bound(leases, client(1))
    assert leases.decline(client(1), ip(7), 0) is not None
    assert offered(leases, client(1)) == ip(15)
    leases.expire(DECLINED_NS)
    assert offered(leases, client(1), now=DECLINED_NS) == ip(7)


def test_a_static_address_that_is_free_again_takes_the_place_of_an_offer() -> None:
    leases = pool(static={mac(1): ip(7)})
    bound(leases, client(1))
    leases.decline(client(1), ip(7), 0)
    assert offered(leases, client(1), now=DECLINED_NS - 1) == ip(15)
    leases.expire(DECLINED_NS)
    assert offered(leases, client(1), now=DECLINED_NS) == ip(7)
    assert [lease.address for lease in leases] == [ip(7)]


def test_held_address_comes_before_the_wanted_one() -> None:
    leases = pool()
    bound(leases, client(1))
    assert offered(leases, client(1), wanted=ip(40)) == ip(15)


def test_previous_address_comes_before_the_wanted_one() -> None:
    leases = pool()
    leases.release(client(1), bound(leases, client(1)).address)
    assert offered(leases, client(1), wanted=ip(40)) == ip(15)


def test_wanted_address_comes_before_the_lowest() -> None:
    leases = pool()
    assert offered(leases, client(1), wanted=ip(40)) == ip(40)
    rest = [bound(leases, client(number)).address for number in range(2, 28)]
    assert rest == [ip(last) for last in range(15, 42) if last != 40]


@pytest.mark.parametrize("last", [0, 2, 14, 255])
def test_wanted_address_outside_the_pool_is_ignored(last: int) -> None:
    assert offered(pool(), client(1), wanted=ip(last)) == ip(15)


def test_wanted_address_of_another_is_ignored() -> None:
    leases = pool()
    bound(leases, client(1))
    assert offered(leases, client(2), wanted=ip(15)) == ip(16)


def test_an_ended_address_is_remembered_until_nothing_else_is_left() -> None:
    leases = pool(250)
    leases.release(client(1), bound(leases, client(1)).address)
    assert [offered(leases, client(number)) for number in range(2, 7)] == [
        ip(last) for last in (251, 252, 253, 254, 250)
    ]


def test_freed_addresses_come_back_lowest_first() -> None:
    leases = pool()
    for number in range(5):
        offered(leases, client(number))
    leases.withdraw(client(3))
    leases.withdraw(client(1))
    assert [offered(leases, client(number)) for number in (8, 9, 10)] == [ip(16), ip(18), ip(20)]


# ------------------------------------------------------------------------------------------------------- exhaustion


def test_exhausted_pool_offers_nothing_and_keeps_every_lease() -> None:
    leases = pool(253)
    held = [bound(leases, client(number)).address for number in range(2)]
    assert held == [ip(253), ip(254)]
    assert offered(leases, client(9)) is None
    assert [lease.address for lease in leases if lease.state is State.BOUND] == held


def test_when_exhausted_the_greediest_links_oldest_offer_is_recycled() -> None:
    leases = pool(251)
    quiet = offered(leases, client(1, link=7))
    flood = [offered(leases, client(number, link=1)) for number in range(10, 13)]
    assert offered(leases, client(20, link=2)) == flood[0]
    assert leases.find(client(1, link=7)) is not None
    assert quiet == ip(251)


def test_declined_addresses_are_recycled_last() -> None:
    leases = pool(253)
    bound(leases, client(1))
    leases.decline(client(1), ip(253), 0)
    assert offered(leases, client(2)) == ip(254)
    leases.bind(client(2), ip(254), None)
    assert offered(leases, client(3)) == ip(253)


@pytest.mark.parametrize("net", ["10.0.2.0/31", "10.0.2.0/32"])
def test_a_net_without_room_has_an_empty_pool(net: str) -> None:
    small = IPv4Network(net)
    assert offered(Leases(small, small.network_address), client()) is None


def test_the_pool_ends_before_the_broadcast_address_of_the_whole_internet() -> None:
    leases = pool(2**32 - 3, IPv4Network("0.0.0.0/0"))
    assert offered(leases, client(1)) == IPv4Address("255.255.255.253")
    assert offered(leases, client(2)) == IPv4Address("255.255.255.254")
    leases.bind(client(1), IPv4Address("255.255.255.253"), None)
    leases.bind(client(2), IPv4Address("255.255.255.254"), None)
    assert offered(leases, client(3)) is None


# ------------------------------------------------------------------------------------------------------------ limits


def test_offers_of_a_link_recycle_its_own_oldest() -> None:
    leases = pool(net=IPv4Network("10.0.0.0/8"))
    other = offered(leases, client(1, link=2))
    for number in range(1000, 1000 + 5 * MAX_OFFERS_PER_LINK):
        assert offered(leases, client(number)) is not None
    assert len(leases) == MAX_OFFERS_PER_LINK + 1
    survivor = leases.find(client(1, link=2))
    assert survivor is not None
    assert survivor.address == other


def test_declined_addresses_of_a_link_are_limited() -> None:
    leases = pool()
    for number in range(3 * MAX_DECLINED_PER_LINK):
        leases.decline(client(number), bound(leases, client(number)).address, 0)
    assert len([lease for lease in leases if lease.state is State.DECLINED]) == MAX_DECLINED_PER_LINK


def test_leases_of_a_link_are_limited_but_not_for_those_who_hold_one() -> None:
    leases = pool(per_link=2, static={mac(9): ip(9)})
    bound(leases, client(1))
    bound(leases, client(2))
    assert leases.at_limit(client(3))
    assert not leases.at_limit(client(3, link=2))
    assert not leases.at_limit(client(1))
    assert not leases.at_limit(client(9))


def test_the_table_is_limited_and_memories_and_offers_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LEASES", 3)
    leases = pool()
    leases.release(client(1), bound(leases, client(1)).address)
    for number in (2, 3, 4):
        bound(leases, client(number))
    assert len(leases) == 3
    assert leases.offer(client(5), None, 0) is None
    assert leases.bind(client(5), ip(99), 1) is None
    leases.release(client(3), ip(17))
    assert leases.offer(client(5), None, 0) is not None


def test_a_big_net_costs_no_more_than_what_is_held() -> None:
    leases = pool(net=IPv4Network("10.0.0.0/8"))
    far = IPv4Address("10.200.0.1")
    assert offered(leases, client(1), wanted=far) == far
    assert offered(leases, client(2)) == IPv4Address("10.0.0.15")
    for _ in range(1000):  # taking and leaving one address by request leaves nothing behind
        leases.withdraw(client(1))
        offered(leases, client(1), wanted=far)
    assert len(leases._freed) + len(leases._in_freed) + len(leases) <= 4


# ---------------------------------------------------------------------------------------------------------- identity


def test_identifier_finds_the_lease_from_another_card() -> None:
    leases = pool()
    bound(leases, client(1, b"id-1"))
    assert offered(leases, client(2, b"id-1", link=5)) == ip(15)
    lease = leases.bind(client(2, b"id-1", link=5), ip(15), 1)
    assert lease is not None
    assert (lease.mac, lease.link) == (mac(2), 5)


def test_an_identifier_that_declined_an_address_gets_another() -> None:
    leases = pool()
    bound(leases, client(1, b"id-1"))
    assert leases.decline(client(1, b"id-1"), ip(15), 0) is not None
    assert offered(leases, client(1, b"id-1")) == ip(16)


def test_two_identifiers_behind_one_mac_are_two_clients() -> None:
    leases = pool()
    assert bound(leases, client(1, b"id-1")).address != bound(leases, client(1, b"id-2")).address


def test_an_initramfs_without_identifier_and_its_system_with_one_keep_one_address() -> None:
    leases = pool()
    assert bound(leases, client(1)).address == ip(15)
    assert bound(leases, client(1, b"duid")).address == ip(15)
    assert bound(leases, client(1)).address == ip(15)  # the next boot's initramfs
    assert bound(leases, client(1, b"duid")).address == ip(15)
    assert len(leases) == 1


def test_a_lease_cannot_be_bound_away_from_its_holder() -> None:
    leases = pool()
    bound(leases, client(1))
    assert leases.bind(client(2), ip(15), 1) is None
    assert leases.release(client(2), ip(15)) is None
    assert leases.decline(client(2), ip(15), 0) is None


def test_only_what_was_leased_can_be_declined() -> None:
    leases = pool()
    offered(leases, client(1))
    assert leases.decline(client(1), ip(15), 0) is None


def test_a_client_that_holds_one_address_cannot_bind_another() -> None:
    leases = pool()
    bound(leases, client(1))
    assert leases.bind(client(1), ip(16), 1) is None


def test_a_client_whose_lease_has_ended_may_bind_another() -> None:
    leases = pool()
    leases.release(client(1), bound(leases, client(1)).address)
    assert leases.bind(client(1), ip(40), 1) is not None
    assert [lease.address for lease in leases] == [ip(40)]


def test_a_static_client_may_change_its_identifier() -> None:
    leases = pool(static={mac(1): ip(7)})
    bound(leases, client(1, b"id-1"))
    bound(leases, client(1, b"id-2"))
    assert offered(leases, client(9, b"id-1")) == ip(15)
    assert offered(leases, client(9, b"id-2")) == ip(7)


def test_a_remembered_address_may_be_bound_by_whoever_asks_for_it() -> None:
    leases = pool()
    leases.release(client(1), bound(leases, client(1)).address)
    assert leases.bind(client(2), ip(15), 1) is not None
    assert leases.find(client(1)) is None


# -------------------------------------------------------------------------------------------------------------- time


def test_an_offer_ends_and_its_address_is_free() -> None:
    leases = pool()
    offered(leases, client(1))
    assert leases.deadline() == OFFER_NS
    assert leases.expire(OFFER_NS - 1) == []
    assert leases.expire(OFFER_NS) == []
    assert offered(leases, client(2), now=OFFER_NS) == ip(15)


def test_a_lease_ends_and_is_remembered() -> None:
    leases = pool()
    lease = bound(leases, client(1), expires=5000)
    assert leases.deadline() == 5000
    assert leases.expire(5000) == [lease]
    assert lease.state is State.ENDED
    assert leases.deadline() is None


def test_a_lease_without_end_has_no_deadline() -> None:
    leases = pool()
    bound(leases, client(1), expires=None)
    assert leases.deadline() is None


def test_renewal_moves_the_deadline() -> None:
    leases = pool()
    bound(leases, client(1), expires=5000)
    leases.bind(client(1), ip(15), 9000)
    assert leases.expire(5000) == []
    assert leases.deadline() == 9000


# -------------------------------------------------------------------------------------------------------- invariants

CLIENTS = st.builds(client, st.integers(1, 4), st.sampled_from([b"", b"id-1", b"id-2"]), st.integers(1, 2))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["offer", "bind", "release", "decline", "withdraw", "expire"]), CLIENTS, st.integers(246, 255)
    ),
    max_size=60,
)


def check(leases: Leases[IPv4Address]) -> None:
    """Every index says the same as the table."""
    table = {lease.address: lease for lease in leases}
    by_state = {state: {address for address, lease in table.items() if lease.state is state} for state in State}
    assert set(leases._ended) == by_state[State.ENDED]
    assert {address for links in leases._offered.values() for address in links} == by_state[State.OFFERED]
    assert {address for links in leases._declined.values() for address in links} == by_state[State.DECLINED]
    assert sum(leases._bound.values()) == len(by_state[State.BOUND])
    for address, lease in table.items():
        assert ip(250) <= address <= ip(254) or address == ip(248)
        assert (address in leases._deadlines) == (lease.expires is not None)
        assert (leases._by_mac.get(lease.mac, {}).get(address) is lease) == (lease.state is not State.DECLINED)
    assert all(lease is table[lease.address] for lease in leases._by_identifier.values())
    assert len(leases._deadlines) <= len(table)
    assert len(leases._freed) == len(leases._in_freed) <= 5


@given(STEPS)
def test_no_sequence_of_operations_breaks_the_table_or_a_lease(steps: list[tuple[str, Client, int]]) -> None:
    leases = pool(250, static={mac(4): ip(248)}, per_link=3)
    now = 0
    for verb, who, last in steps:
        now += SECOND_NS
        held = {lease.address: (lease.mac, lease.identifier) for lease in leases if lease.state is State.BOUND}
        if verb == "offer":
            leases.offer(who, ip(last), now)
        elif verb == "bind" and not leases.at_limit(who):
            lease = leases.bind(who, ip(last), now + 30 * SECOND_NS)
            assert lease is None or (lease.address == ip(last) and leases.find(who) is lease)
        elif verb == "release":
            leases.release(who, ip(last))
        elif verb == "decline":
            leases.decline(who, ip(last), now)
        elif verb == "withdraw":
            leases.withdraw(who)
        else:
            leases.expire(now)
        check(leases)
        for address, (owner, identifier) in held.items():  # nobody's lease goes to a stranger
            lease = leases._table.get(address)
            if lease is not None and lease.state is State.BOUND and lease.mac != owner:
                assert identifier == who.identifier != b""


# --------------------------------------------------------------------------------------------------------------- IPv6


def pool6(text: str, first: int, **options: Any) -> Leases[IPv6Address]:
    net = IPv6Network(text)
    return Leases(net, net.network_address + first, **options)


def test_a_pool_of_ipv6_is_never_written_out() -> None:
    leases = pool6("fec0::/64", 0x15, reserved={IPv6Address("fec0::16")})
    found = [leases.offer(client(number, bytes([number, 0])), None, 0) for number in range(1, 4)]
    assert [str(lease.address) for lease in found if lease] == ["fec0::15", "fec0::17", "fec0::18"]
    assert leases.bind(client(4, b"44"), IPv6Address("fec0::dead:beef"), 1) is not None


def test_the_smallest_pool_of_ipv6_has_one_address() -> None:
    leases = pool6("fd00::/126", 1, reserved={IPv6Address("fd00::2"), IPv6Address("fd00::3")})
    assert leases.offer(client(1, b"11"), None, 0) is not None
    assert leases.bind(client(1, b"11"), IPv6Address("fd00::1"), None) is not None
    assert leases.offer(client(2, b"22"), None, 0) is None


def test_a_client_that_is_not_for_the_static_address_gets_another() -> None:
    leases = pool(static={mac(1): ip(7)})
    second = Client(mac(1), b"second", 1, static=False)
    assert offered(leases, client(1, b"first")) == ip(7)
    assert offered(leases, second) == ip(15)
    assert leases.bind(second, ip(7), 1) is None
