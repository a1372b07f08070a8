"""Router advertisements: what is in them, who gets them and when."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import dns.name
import pytest

from pyslirp.addresses import Endpoint, Mac
from pyslirp.errors import ConfigError
from pyslirp.services.base import Claim, Datagram, SendIcmp6, Solicitation
from pyslirp.services.router import (
    BURST,
    BURST_NS,
    COUNTERS,
    INITIAL_NS,
    MAX_INTERVAL_NS,
    MIN_INTERVAL_NS,
    RouterService,
    RouterSettings,
    advertisement,
)

SECOND = 1_000_000_000
PREFIX, DNS = IPv6Network("fec0::/64"), IPv6Address("fec0::3")
ROUTER_MAC, GUEST_MAC = Mac("52:56:00:00:00:02"), Mac("52:54:00:12:34:56")
ALL_NODES, NOBODY, GUEST = (IPv6Address(text) for text in ("ff02::1", "::", "fe80::5054:ff:fe12:3456"))
SLLA, PREFIX_INFO, MTU, RDNSS, DNSSL = 1, 3, 5, 25, 31


def settings(**changes: Any) -> RouterSettings:
    return RouterSettings(**{"prefix": PREFIX, "mac": ROUTER_MAC, "mtu": 1500, "dns": DNS, **changes})


def options(body: bytes) -> dict[int, bytes]:
    """Options by type, without type and length; each is whole and a multiple of 8 bytes."""
    found = {}
    at = 12
    while at < len(body):
        assert body[at + 1] > 0
        end = at + 8 * body[at + 1]
        assert end <= len(body)
        assert body[at] not in found
        found[body[at]] = body[at + 2 : end]
        at = end
    return found


def advertised(**changes: Any) -> dict[int, bytes]:
    return options(advertisement(settings(**changes))[0])


class Dice:
    """Random numbers by turns."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    def __call__(self) -> int:
        return self.numbers.pop(0) if self.numbers else 0


def service(*numbers: int, now: int = 0, **changes: Any) -> RouterService:
    return RouterService(settings(**changes), Dice(*numbers), now)


def solicit(router: RouterService, now: int = 0, source: IPv6Address = GUEST, link: int = 1) -> list[SendIcmp6]:
    actions = router.solicited(Solicitation(link, GUEST_MAC, source), now)
    sent = [action for action in actions if isinstance(action, SendIcmp6)]
    assert sent == actions
    return sent


def counters(router: RouterService) -> dict[str, int]:
    found = router.snapshot()["counters"]
    assert set(found) == {*COUNTERS, "names_omitted"}
    return {name: count for name, count in found.items() if count}


# ------------------------------------------------------------------------------------------------------------- the message


def test_the_head_says_hop_limit_flags_and_lifetime() -> None:
    body, _ = advertisement(settings())
    assert struct.unpack("!BBHII", body[:12]) == (64, 0xC0, 1800, 0, 0)


def test_the_prefix_is_on_link_and_autonomous() -> None:
    length, flags, valid, preferred, reserved, prefix = struct.unpack("!BBIII16s", advertised()[PREFIX_INFO])
    assert (length, flags, valid, preferred, reserved) == (64, 0xC0, 86_400, 14_400, 0)
    assert prefix == PREFIX.network_address.packed


@pytest.mark.parametrize("length", [48, 63, 65, 126])
def test_no_other_length_than_64_is_for_slaac(length: int) -> None:
    prefix = IPv6Network(("fec0::", length))
    assert advertised(prefix=prefix)[PREFIX_INFO][:2] == bytes([length, 0x80])


def test_router_mac_and_mtu_are_told() -> None:
    found = advertised(mtu=65_520)
    assert (found[SLLA], found[MTU]) == (ROUTER_MAC, struct.pack("!HI", 0, 65_520))


def test_the_name_server_lives_as_long_as_the_router() -> None:
    assert advertised()[RDNSS] == struct.pack("!HI16s", 0, 1800, DNS.packed)


def test_the_search_list_is_whole_names_and_zeros() -> None:
    search = ("example.org", "lab.example.org")
    found = advertised(search=search)[DNSSL]
    assert found[:6] == struct.pack("!HI", 0, 1800)
    at, names = 6, []
    for _ in search:
        name, used = dns.name.from_wire(found, at)
        names.append(name.to_text(omit_final_dot=True))
        at += used
    assert tuple(names) == search
    assert set(found[at:]) <= {0}


@pytest.mark.parametrize("changes", [{"dns": None}, {"restrict": True}])
def test_what_there_is_not_is_left_out(changes: dict[str, Any]) -> None:
    assert advertised(**changes).keys() == {SLLA, PREFIX_INFO, MTU}


def test_restrict_is_no_default_route() -> None:
    body, _ = advertisement(settings(restrict=True))
    assert body[2:4] == bytes(2)
    assert PREFIX_INFO in options(body)


def test_a_search_list_that_does_not_fit_is_cut_after_a_name() -> None:
    search = [f"{number:060}.example.org" for number in range(40)]
    body, omitted = advertisement(settings(search=search))
    assert len(body) <= 1280 - 40 - 4
    assert 0 < omitted < 40
    assert options(body)[DNSSL].count(b"\x07example\x03org\x00") == 40 - omitted
    assert service(search=search).snapshot()["counters"]["names_omitted"] == omitted


def test_a_search_list_that_dns_cannot_express_is_refused() -> None:
    with pytest.raises(ConfigError, match="dnssearch"):
        service(search=["a..b"])


# ------------------------------------------------------------------------------------------------------------- solicited


def test_claims_solicitations() -> None:
    assert service().claims == (Claim("icmp6", None, 133),)


def test_a_guest_that_asks_is_told_at_once_and_alone() -> None:
    router = service()
    (sent,) = solicit(router, link=7)
    assert (sent.source, sent.destination) == (IPv6Address("fe80::2"), GUEST)
    assert (sent.kind, sent.code, sent.body) == (134, 0, advertisement(settings())[0])
    assert (sent.mac, sent.link) == (GUEST_MAC, 7)
    assert counters(router) == {"received.solicitation": 1, "sent.solicited": 1}


def test_a_guest_without_an_address_is_told_in_a_frame_of_its_own() -> None:
    (sent,) = solicit(service(), source=NOBODY, link=7)
    assert (sent.destination, sent.mac, sent.link) == (ALL_NODES, GUEST_MAC, 7)


def test_a_link_gets_so_many_answers_and_the_others_theirs() -> None:
    router = service()
    assert [len(solicit(router)) for _ in range(BURST + 2)] == [1] * BURST + [0] * 2
    assert len(solicit(router, link=2)) == 1
    assert len(solicit(router, now=BURST_NS - 1)) == 0
    assert len(solicit(router, now=BURST_NS)) == 1
    assert counters(router)["drop.rate_limited"] == 3


def test_what_is_remembered_of_links_goes_with_them() -> None:
    router = service(0, 0, 0, 0xFFFF)
    for link in range(100):
        solicit(router, link=link)
    for now in (BURST_NS, 2 * BURST_NS, 3 * BURST_NS):
        router.expire(now)
    assert not router._answers


# ----------------------------------------------------------------------------------------------------------- unsolicited


def test_all_guests_are_told_now_and_then() -> None:
    router = service(0xFFFF, 0, 0x8000, 0, 0xFFFF)
    assert router.deadline() == INITIAL_NS
    assert router.expire(INITIAL_NS - 1) == []
    (sent,) = router.expire(INITIAL_NS)
    assert isinstance(sent, SendIcmp6)
    assert (sent.destination, sent.mac, sent.link) == (ALL_NODES, None, None)
    assert counters(router) == {"sent.unsolicited": 1}


def test_the_first_three_come_soon_and_the_others_at_random() -> None:
    router = service(0xFFFF, 0xFFFF, 0xFFFF, 0, 0xFFFF)
    times = []
    for _ in range(5):
        times.append(router.deadline())
        assert len(router.expire(times[-1])) == 1
    between = [later - earlier for earlier, later in zip([0, *times], times, strict=False)]
    assert between == [INITIAL_NS, INITIAL_NS, INITIAL_NS, MIN_INTERVAL_NS, MAX_INTERVAL_NS]


def test_a_change_of_restrict_is_told_at_once() -> None:
    router = service(0xFFFF)
    router.set_restrict(True, 5 * SECOND)
    assert router.deadline() == 5 * SECOND
    (sent,) = router.expire(5 * SECOND)
    assert isinstance(sent, SendIcmp6)
    assert sent.body == advertisement(settings(restrict=True))[0]
    router.set_restrict(False, 6 * SECOND)
    assert solicit(router)[0].body == advertisement(settings())[0]


def test_no_datagram_is_answered() -> None:
    router = service()
    datagram = Datagram(1, GUEST_MAC, Endpoint(GUEST, 1), Endpoint(ALL_NODES, 1), b"x")
    assert router.handle(datagram, 0) == []
