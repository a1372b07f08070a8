"""Invariant tested: whatever guests send to port 67, replies stay within bounds and no address is leased twice.

An input is a sequence of messages: a byte of link (two bits) and of time to pass before (six bits, quarters of an
hour), two bytes of length, the message.  The pool is small enough for guests to fight over it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from ipaddress import IPv4Address, IPv4Network

import dpkt

from pyslirp.addresses import Endpoint, Mac
from pyslirp.events import LeaseEnded, LeaseGranted
from pyslirp.services.base import Action, Datagram, LearnNeighbor, SendDatagram
from pyslirp.services.dhcp import DhcpService, DhcpSettings
from pyslirp.services.dhcp_message import MAX_REPLY_BYTES, MIN_BYTES

NET = IPv4Network("10.0.2.0/24")
HOST, DNS, START, STATIC = (NET.network_address + last for last in (2, 3, 248, 7))
QUARTER_NS = 900 * 1_000_000_000
CLIENT, SERVER = Endpoint(IPv4Address(0), 68), Endpoint(IPv4Address("255.255.255.255"), 67)
SETTINGS = DhcpSettings(
    net=NET,
    host=HOST,
    dns=DNS,
    start=START,
    static={Mac("52:54:00:00:00:07"): STATIC},
    hostname="guest",
    domainname="example.org",
    search=[f"department-{number}.example.org" for number in range(30)],
)


def fuzz(data: bytes) -> Hashable:
    """One input: a sequence of messages; what it gives are the counters that moved."""
    service, now = DhcpService(SETTINGS), 0
    holders: dict[IPv4Address, Mac] = {}
    for first, payload in messages(data):
        now += (first >> 2) * QUARTER_NS
        for ended in service.expire(now):
            assert isinstance(ended, LeaseEnded)
            holders.pop(IPv4Address(ended.address.packed))
        link = first & 3
        for action in service.handle(Datagram(link, Mac(b"\x52" * 6), CLIENT, SERVER, payload), now):
            check(action, link, payload, holders, service)
        deadline = service.deadline()
        assert deadline is None or deadline > now
    shown = service.snapshot()
    assert len(shown["leases"]) <= 8, "more leases than addresses"
    return frozenset(name for name, count in shown["counters"].items() if count)


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of an input, cut short where it ends."""
    while len(data) >= 3:
        end = 3 + int.from_bytes(data[1:3], "big")
        yield data[0], data[3:end]
        data = data[end:]


def check(action: Action, link: int, payload: bytes, holders: dict[IPv4Address, Mac], service: DhcpService) -> None:
    """One action is one that the service may take for `payload`."""
    if isinstance(action, SendDatagram):
        assert MIN_BYTES <= len(action.payload) <= MAX_REPLY_BYTES
        reply = dpkt.dhcp.DHCP(action.payload)
        assert (reply.op, reply.xid) == (2, int.from_bytes(payload[4:8], "big"))
        assert (action.link, action.source) == (link, Endpoint(HOST, 67))
        assert not reply.yiaddr or IPv4Address(reply.yiaddr) in {START + number for number in range(7)} | {STATIC}
    elif isinstance(action, LeaseGranted):
        address = IPv4Address(action.address.packed)
        if holders.get(address, action.mac) != action.mac:  # only a client identifier moves between cards
            (lease,) = [lease for lease in service.snapshot()["leases"] if lease["address"] == str(address)]
            assert lease["client_id"]
        holders[address] = action.mac
    elif isinstance(action, LeaseEnded):
        del holders[IPv4Address(action.address.packed)]
    else:
        assert isinstance(action, LearnNeighbor)
        assert holders[IPv4Address(action.address.packed)] == action.mac
