"""What a DHCPv6 reply holds: what the client asks for and the settings have, in its order, within one packet."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import dns.name
import pytest

from pyslirp.errors import ConfigError
from pyslirp.services.dhcp6 import Dhcp6Service
from tests.unit.services.dhcp6_guest import (
    BOOTFILE,
    DNS,
    DNS_SERVERS,
    DOMAINS,
    FQDN,
    INFORM,
    REFRESH,
    SERVER_DUID,
    SERVER_ID,
    START,
    Guest,
    Reply,
    address,
    association,
    requested,
    settings,
)

ARCHITECTURE = 61
S, O, N = 1, 2, 4  # the flags' names (RFC 4704 section 4.1)
SEARCH = ("example.org", "lab.example.org")


def reply(*options: tuple[int, bytes], kind: int = INFORM, **changes: Any) -> Reply:
    return Guest(Dhcp6Service(settings(**changes))).ask(kind, *options)


def parameters(answer: Reply) -> list[int]:
    return [code for code in answer.codes if code in (DNS_SERVERS, DOMAINS, REFRESH, FQDN, BOOTFILE)]


def names(packed: bytes) -> list[str]:
    at, found = 0, []
    while at < len(packed):
        name, used = dns.name.from_wire(packed, at)
        found.append(name.to_text(omit_final_dot=True))
        at += used
    return found


def test_what_is_asked_for_comes_in_the_clients_order() -> None:
    answer = reply(requested(DOMAINS, 99, BOOTFILE, DNS_SERVERS, DNS_SERVERS), search=SEARCH, bootfile_url="tftp://x/y")
    assert parameters(answer) == [DOMAINS, BOOTFILE, DNS_SERVERS]
    assert answer[DNS_SERVERS] == DNS.packed
    assert names(answer[DOMAINS]) == list(SEARCH)
    assert answer[BOOTFILE] == b"tftp://x/y"


def test_what_is_not_asked_for_does_not_come() -> None:
    assert parameters(reply(requested(), search=SEARCH)) == []
    assert parameters(reply(requested(BOOTFILE, DOMAINS))) == []  # and neither does what there is none of


def test_a_client_that_names_nothing_gets_name_server_and_search_list() -> None:
    assert parameters(reply(search=SEARCH, bootfile_url="tftp://x/y")) == [DNS_SERVERS, DOMAINS]


def test_parameters_come_with_leases_too() -> None:
    guest = Guest(Dhcp6Service(settings()))
    offer = guest.solicit(association(), requested(DNS_SERVERS))
    assert parameters(offer) == [DNS_SERVERS]
    assert parameters(guest.request(association(offer.address), requested(DNS_SERVERS))) == [DNS_SERVERS]


def test_a_refresh_time_is_information_requests_alone() -> None:
    assert reply(requested(REFRESH))[REFRESH] == (86_400).to_bytes(4, "big")
    assert parameters(Guest(Dhcp6Service(settings())).solicit(association(), requested(REFRESH))) == []


@pytest.mark.parametrize(
    ("architectures", "url"),
    [(b"", b"any"), (b"\0\x07", b"efi64"), (b"\0\x63\0\x10\0\x07", b"http"), (b"\0\x63", b"any")],
)
def test_the_boot_file_is_that_of_the_clients_architecture(architectures: bytes, url: bytes) -> None:
    urls = {7: "efi64", 16: "http"}
    options = [(ARCHITECTURE, architectures)] if architectures else []
    answer = reply(requested(BOOTFILE), *options, bootfile_url="any", bootfile_urls=urls)
    assert answer[BOOTFILE] == url


def test_a_boot_file_of_one_architecture_is_no_others() -> None:
    assert parameters(reply(requested(BOOTFILE), (ARCHITECTURE, b"\0\x06"), bootfile_urls={7: "efi64"})) == []


@pytest.mark.parametrize("changes", [{"dns": None}, {"restrict": True}])
def test_no_name_server_where_there_is_none(changes: dict[str, Any]) -> None:
    assert parameters(reply(requested(DNS_SERVERS), **changes)) == []


def test_restrict_leases_all_the_same() -> None:
    assert Guest(Dhcp6Service(settings(restrict=True))).bound().address == START


def test_restrict_may_come_and_go() -> None:
    server = Dhcp6Service(settings())
    guest = Guest(server)
    found = []
    for restrict in (True, False):
        server.set_restrict(restrict, 0)
        found.append(parameters(guest.ask(INFORM, requested(DNS_SERVERS))))
    assert found == [[], [DNS_SERVERS]]


def test_an_information_request_may_name_the_server() -> None:
    assert reply((SERVER_ID, SERVER_DUID), requested(DNS_SERVERS)).codes[-1] == DNS_SERVERS


# ------------------------------------------------------------------------------------------------------------- the name


@pytest.mark.parametrize(
    ("flags", "answered"),
    [(0, N), (S, N | O), (N, N), (S | O, N | O)],
)
def test_nobody_updates_dns(flags: int, answered: int) -> None:
    assert reply((FQDN, bytes([flags]) + b"\x02vm\0"))[FQDN] == bytes([answered]) + b"\x02vm\0"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"hostname": "box", "domainname": "example.org"}, b"\x03box\x07example\x03org\0"),
        ({"hostname": "box"}, b"\x03box"),  # partial: no root
        ({"domainname": "example.org"}, b"\x02vm\0"),
        ({"hostname": "no..name"}, b"\x02vm\0"),
        ({"hostname": "b\udcffx"}, b"\x02vm\0"),
    ],
)
def test_the_name_of_the_configuration_comes_before_the_clients(changes: dict[str, Any], name: bytes) -> None:
    assert reply((FQDN, b"\0\x02vm\0"), **changes)[FQDN][1:] == name


def test_a_client_that_does_not_name_itself_gets_no_name() -> None:
    assert parameters(reply(requested(FQDN), hostname="box")) == []


def test_the_clients_name_is_kept_with_its_lease() -> None:
    server = Dhcp6Service(settings())
    Guest(server).request(association(), (FQDN, b"\0\x02vm\x07example\0"))
    assert [lease["hostname"] for lease in server.snapshot()["leases"]] == ["vm.example"]


# -------------------------------------------------------------------------------------------------------------- bounds


def test_what_has_no_room_is_left_out_and_counted() -> None:
    search = tuple(f"{number:060}.example.org" for number in range(20))
    server = Dhcp6Service(settings(search=search))
    answer = Guest(server).ask(INFORM, requested(DOMAINS, DNS_SERVERS))
    assert parameters(answer) == [DNS_SERVERS]
    assert server.snapshot()["counters"]["options_omitted"] == 1


def test_the_longest_request_has_an_answer_that_fits() -> None:
    guest = Guest(Dhcp6Service(settings()), duid=b"\0\2" + bytes(128))
    held = [address(0x100 + number) for number in range(16)]
    associations = [association(*held, iaid=0), *(association(iaid=iaid) for iaid in range(1, 6))]
    answer = guest.to_server(5, *associations)
    assert [len(one.addresses) for one in answer.answers] == [16, 0, 0, 0, 0, 0]
    assert len(answer.sent.payload) <= 1232


@pytest.mark.parametrize("search", [("bücher.example",), ("a..b",)])
def test_a_search_list_that_dns_cannot_express_is_refused(search: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="dnssearch"):
        Dhcp6Service(settings(search=search))


def test_an_announced_server_may_be_anywhere() -> None:
    assert reply(requested(DNS_SERVERS), dns=IPv6Address("2001:db8::53"))[DNS_SERVERS][-1:] == b"\x53"
