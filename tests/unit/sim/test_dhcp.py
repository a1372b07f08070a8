"""The client walks RFC 2131's figure 5, and believes only answers that are its own."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from typing import Any

import dpkt

from pyslirp.addresses import Mac
from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.dhcp import (
    ACK,
    DISCOVER,
    FIRST_RETRY_NS,
    LAST_RETRY_NS,
    LEAST_RENEW_NS,
    NAK,
    OFFER,
    RELEASE,
    REQUEST,
    DhcpClient,
    Message,
    State,
)

MAC = Mac("52:54:00:12:34:56")
SERVER, OWN = IPv4Address("10.0.2.2"), IPv4Address("10.0.2.15")
LEASE_SECONDS = 1000


def read(message: Message) -> tuple[int, Any, dict[int, bytes]]:
    """Kind, message and options of what the client sends."""
    found: Any = dpkt.dhcp.DHCP(message.payload)
    options = dict(found.opts)
    return options[53][0], found, options


def reply(
    to: Message,
    kind: int,
    *,
    mac: bytes = MAC,
    xid: int = 0,
    seconds: int = LEASE_SECONDS,
    options: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """A server's message; xid is added to the right one."""
    lease = (
        ((54, SERVER.packed), (51, seconds.to_bytes(4, "big")), (1, b"\xff\xff\xff\0"), (3, SERVER.packed))
        if kind != NAK
        else ()
    )
    message: Any = dpkt.dhcp.DHCP(
        op=2,
        xid=read(to)[1].xid + xid,
        chaddr=mac + bytes(10),
        yiaddr=int(OWN),
        opts=((53, bytes([kind])), *lease, *options),
    )
    return bytes(message)


def bound(now: int = 0, options: tuple[tuple[int, bytes], ...] = ()) -> DhcpClient:
    client = DhcpClient(MAC, 1)
    (discover,) = client.start(now)
    (request,) = client.handle(reply(discover, OFFER), now)
    assert client.handle(reply(request, ACK, options=options), now) == []
    return client


def test_from_discover_to_a_lease() -> None:
    client = DhcpClient(MAC, 1, "box")
    (discover,) = client.start(0)
    kind, message, options = read(discover)
    assert (discover.to, kind, message.chaddr[:6], options[12]) == (None, DISCOVER, MAC, b"box")
    assert client.state is State.SELECTING
    (request,) = client.handle(reply(discover, OFFER), 0)
    kind, _, options = read(request)
    assert (request.to, kind, options[50], options[54]) == (None, REQUEST, OWN.packed, SERVER.packed)
    client.handle(reply(request, ACK), 0)
    assert client.lease is not None
    assert client.state.value == "bound"


def test_a_lease_has_what_the_ack_said() -> None:
    lease = bound(7, ((6, SERVER.packed + OWN.packed), (26, (1400).to_bytes(2, "big")), (15, b"example.org"))).lease
    assert lease is not None
    assert (lease.address, lease.net, lease.router) == (OWN, IPv4Network("10.0.2.0/24"), SERVER)
    assert (lease.dns, lease.mtu, lease.domain, lease.server) == ((SERVER, OWN), 1400, "example.org", SERVER)
    times = [at - 7 for at in (lease.renew_at, lease.rebind_at, lease.expires_at)]
    assert times == [500 * SECOND_NS, 875 * SECOND_NS, 1000 * SECOND_NS], "half, seven eighths (4.4.5), all"


def test_the_servers_t1_and_t2_are_kept() -> None:
    lease = bound(0, ((58, (10).to_bytes(4, "big")), (59, (20).to_bytes(4, "big")))).lease
    assert lease is not None
    assert (lease.renew_at, lease.rebind_at) == (10 * SECOND_NS, 20 * SECOND_NS)


def test_what_is_not_for_this_client_changes_nothing() -> None:
    client = DhcpClient(MAC, 1)
    (discover,) = client.start(0)
    for wrong in (reply(discover, OFFER, xid=1), reply(discover, OFFER, mac=bytes(6)), discover.payload, b"noise"):
        assert client.handle(wrong, 0) == []
    assert client.handle(reply(discover, ACK), 0) == [], "nothing was requested"
    assert (client.state, client.lease) == (State.SELECTING, None)


def test_silence_is_asked_again_ever_more_slowly() -> None:
    client = DhcpClient(MAC, 1)
    client.start(0)
    waits, last = [], 0
    for _ in range(6):
        due = client.deadline()
        assert due is not None
        assert client.expire(due - 1) == []
        (again,) = client.expire(due)
        assert read(again)[0] == DISCOVER
        waits.append(due - last)
        last = due
    assert waits == [FIRST_RETRY_NS << number for number in range(5)] + [LAST_RETRY_NS]


def test_a_server_that_offers_and_is_gone_is_given_up() -> None:
    client = DhcpClient(MAC, 1)
    (discover,) = client.start(0)
    client.handle(reply(discover, OFFER), 0)
    kinds = []
    while client.state is State.REQUESTING:
        due = client.deadline()
        assert due is not None
        kinds += [read(message)[0] for message in client.expire(due)]
    assert kinds == [REQUEST] * 4 + [DISCOVER]


def test_renewing_asks_the_server_rebinding_asks_all_and_then_the_lease_is_over() -> None:
    client, seen = bound(), []
    while client.lease is not None:
        due = client.deadline()
        assert due is not None
        seen += [(due // SECOND_NS, client.state, message.to, read(message)[0]) for message in client.expire(due)]
    assert seen[0] == (500, State.RENEWING, SERVER, REQUEST)
    rebinding = [entry for entry in seen if entry[1] is State.REBINDING]
    assert rebinding[0] == (875, State.REBINDING, None, REQUEST)
    assert seen[-1] == (LEASE_SECONDS, State.SELECTING, None, DISCOVER)
    times = [when for when, *_ in seen if when < 875]
    assert all(later - sooner >= LEAST_RENEW_NS // SECOND_NS for sooner, later in pairwise(times))


def test_an_ack_prolongs_the_lease() -> None:
    client = bound()
    (request,) = client.renew(100 * SECOND_NS)
    kind, message, options = read(request)
    assert (kind, IPv4Address(message.ciaddr), 54 in options) == (REQUEST, OWN, False)
    client.handle(reply(request, ACK), 101 * SECOND_NS)
    assert client.lease is not None
    assert client.lease.expires_at == (100 + LEASE_SECONDS) * SECOND_NS, "from when it was asked for"


def test_a_nak_begins_anew() -> None:
    client = bound()
    (request,) = client.renew(1)
    (discover,) = client.handle(reply(request, NAK), 2)
    assert read(discover)[0] == DISCOVER
    assert (client.refused, client.lease) == (1, None)


def test_an_ack_without_a_lease_time_is_none() -> None:
    client = DhcpClient(MAC, 1)
    (discover,) = client.start(0)
    (request,) = client.handle(reply(discover, OFFER), 0)
    client.handle(reply(request, ACK, seconds=0), 0)
    assert (client.lease, client.state) == (None, State.REQUESTING)


def test_a_release_gives_the_lease_back_once() -> None:
    client = bound()
    (release,) = client.release()
    kind, message, options = read(release)
    assert (release.to, kind, IPv4Address(message.ciaddr), options[54]) == (SERVER, RELEASE, OWN, SERVER.packed)
    assert (client.lease, client.state, client.deadline(), client.release()) == (None, State.INIT, None, [])
