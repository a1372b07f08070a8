"""Invariant tested: whatever guests send to port 547, replies stay within bounds and no address is leased twice.

An input is a sequence of messages: a byte of link (two bits) and of time to pass before (six bits, quarters of an
hour), two bytes of length, the message.  The pool is small enough for guests to fight over it.
"""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv6Address, IPv6Network

from fuzz.dhcp import QUARTER_NS, messages
from pyslirp.addresses import Endpoint, Mac
from pyslirp.events import LeaseEnded, LeaseGranted
from pyslirp.services.base import Action, Datagram, SendDatagram
from pyslirp.services.dhcp6 import Dhcp6Service, Dhcp6Settings
from pyslirp.services.dhcp6_message import MAX_REPLY_BYTES

PREFIX = IPv6Network("fec0::/124")
HOST, DNS, START, STATIC = (PREFIX.network_address + last for last in (2, 3, 8, 7))
SERVER = Endpoint(IPv6Address("ff02::1:2"), 547)
SETTINGS = Dhcp6Settings(
    prefix=PREFIX,
    host=HOST,
    mac=Mac("52:56:00:00:00:02"),
    start=START,
    dns=DNS,
    static={Mac("52:54:00:00:00:01"): STATIC},
    hostname="guest",
    domainname="example.org",
    search=[f"department-{number}.example.org" for number in range(30)],
    bootfile_url="tftp://[fec0::2]/boot",
)
POOL = {START + number for number in range(7)} | {STATIC}


def fuzz(data: bytes) -> Hashable:
    """One input: a sequence of messages; what it gives are the counters that moved."""
    service, now = Dhcp6Service(SETTINGS), 0
    holders: dict[str, str] = {}
    for first, payload in messages(data):
        now += (first >> 2) * QUARTER_NS
        link = first & 3
        mac = Mac(b"\x52\x54\0\0\0" + bytes([link]))
        client = Endpoint(IPv6Address(f"fe80::{link + 1}"), 546)
        actions = service.expire(now) + service.handle(Datagram(link, mac, client, SERVER, payload), now)
        for action in actions:
            check(action, payload, client)
        deadline = service.deadline()
        assert deadline is None or deadline > now
        holders = {lease["address"]: lease["client_id"] + lease["iaid"] for lease in service.snapshot()["leases"]}
        held = [lease for lease in service.snapshot()["leases"] if lease["state"] in ("bound", "offered")]
        assert len({holders[lease["address"]] for lease in held}) == len(held), "two addresses for one association"
    assert {IPv6Address(address) for address in holders} <= POOL
    return frozenset(name for name, count in service.snapshot()["counters"].items() if count)


def check(action: Action, payload: bytes, client: Endpoint) -> None:
    """One action is one that the service may take for `payload`."""
    if isinstance(action, SendDatagram):
        assert action.payload[0] in (2, 7)
        assert action.payload[1:4] == payload[1:4]
        assert action.destination == client
        assert 4 < len(action.payload) <= MAX_REPLY_BYTES
        options = action.payload[4:]
        while options:
            end = 4 + int.from_bytes(options[2:4], "big")
            assert end <= len(options), "an option runs past the end"
            options = options[end:]
    else:
        assert isinstance(action, LeaseGranted | LeaseEnded)
        assert action.address in POOL
