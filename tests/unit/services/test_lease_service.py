from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from pyslirp.addresses import Address, Mac
from pyslirp.config.dhcp import INFINITE_SECONDS
from pyslirp.events import NEVER_NS, LeaseEnded, LeaseGranted
from pyslirp.services.lease_service import LeaseService, expiry
from pyslirp.services.leases import OFFER_NS, SECOND_NS, Client, Leases

HOUR = 3600
GUEST = Client(Mac("52:54:00:12:34:56"), b"\xff\x01", link=3)


class Replies:
    omitted = 2
    restrict = False

    def set_restrict(self, restrict: bool) -> None:
        self.restrict = restrict


def ipv4() -> tuple[Any, Address]:
    start = IPv4Address("10.0.2.15")
    return Leases(IPv4Network("10.0.2.0/24"), start), start


def ipv6() -> tuple[Any, Address]:
    start = IPv6Address("fec0::15")
    return Leases(IPv6Network("fec0::/64"), start), start


def service(leases: Any) -> LeaseService[Any, Replies]:
    return LeaseService(leases, Replies(), ("drop.exhausted", "options_omitted"))


@pytest.mark.parametrize("family", [ipv4, ipv6])
def test_a_lease_ends_when_it_is_due_and_not_before(family: Any) -> None:
    leases, start = family()
    server = service(leases)
    leases.bind(GUEST, start, expiry(HOUR, 7))
    due = HOUR * SECOND_NS + 7
    assert server.deadline() == due
    assert server.expire(due - 1) == []
    assert server.expire(due) == [LeaseEnded(due, start, GUEST.mac, "expired")]
    assert server.deadline() is None


def test_an_offer_ends_in_silence() -> None:
    leases, _ = ipv4()
    leases.offer(GUEST, None, 0)
    server = service(leases)
    assert server.deadline() == OFFER_NS
    assert server.expire(OFFER_NS) == []
    assert server.snapshot()["leases"] == []


def test_an_infinite_lease_is_told_so() -> None:
    leases, start = ipv4()
    lease = leases.bind(GUEST, start, expiry(INFINITE_SECONDS, 7), "box")
    assert service(leases).deadline() is None
    assert service(leases)._granted(lease, 9) == LeaseGranted(9, start, GUEST.mac, "box", NEVER_NS)


@pytest.mark.parametrize("family", [ipv4, ipv6])
def test_the_snapshot_has_every_lease_in_order_and_every_counter(family: Any) -> None:
    leases, start = family()
    leases.bind(GUEST, start + 1, expiry(HOUR, 0), "box")
    leases.offer(Client(Mac("52:54:00:00:00:01"), b"", link=4), start, 0)
    server = service(leases)
    assert server._drop("exhausted") == []
    offered, bound = server.snapshot()["leases"]
    assert (offered["address"], offered["state"], offered["client_id"], offered["link"]) == (
        str(start),
        "offered",
        "",
        4,
    )
    assert bound == {
        "address": str(start + 1),
        "mac": str(GUEST.mac),
        "state": "bound",
        "hostname": "box",
        "client_id": "ff01",
        "link": 3,
        "expires": HOUR * SECOND_NS,
    }
    assert server.snapshot()["counters"] == {"drop.exhausted": 1, "options_omitted": 2}


def test_restrict_is_for_the_replies() -> None:
    leases, _ = ipv4()
    server = service(leases)
    server.set_restrict(True, 0)
    assert server._replies.restrict
    server.set_restrict(False, 0)
    assert not server._replies.restrict
