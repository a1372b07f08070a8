"""The guest as a whole: DHCP, DNS, ping, UDP and TCP against a gateway."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import dpkt
import pytest

from pyslirp.addresses import Endpoint
from pyslirp.services.dhcp import DhcpService
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.dhcp import Lease
from pyslirp.sim.guest import FIRST_EPHEMERAL, LAST_EPHEMERAL, RESOLVER_PORT, Guest
from pyslirp.sim.host import Gateway
from pyslirp.sim.link import Link
from tests.unit.services.dhcp_guest import settings
from tests.unit.sim.rig import FAR, OWN, Rig


def test_a_guest_gets_its_address_by_dhcp_and_gives_it_back() -> None:
    rig = Rig(Gateway(services=[DhcpService(settings())]), Guest())
    told: list[Lease | None] = []
    rig.guest.on_lease = told.append
    with pytest.raises(OSError, match="no address yet"):
        rig.guest.connect(FAR, 80, rig.now)
    rig.guest.start_dhcp(rig.now)
    assert rig.world.run_until(lambda: rig.guest.lease is not None, SECOND_NS)
    ping = rig.guest.ping(rig.gateway.host, rig.now)
    assert rig.world.run_until(lambda: ping.rtt_ns is not None, SECOND_NS)
    rig.guest.release(rig.now)
    assert rig.guest.address is None
    assert [lease and lease.address for lease in told] == [OWN, None]


def test_a_lease_renews_itself() -> None:
    rig = Rig(Gateway(services=[DhcpService(settings(lease_seconds=1000))]), Guest())
    rig.guest.start_dhcp(rig.now)
    rig.world.run_for(SECOND_NS)
    assert rig.guest.lease is not None
    first = rig.guest.lease.expires_at
    rig.world.run_for(2000 * SECOND_NS)
    assert rig.guest.lease is not None
    assert rig.guest.lease.expires_at > first
    assert rig.guest.dhcp.refused == 0


def test_a_ping_takes_the_time_of_the_way_there_and_back() -> None:
    rig = Rig(link=Link.plain(delay_ns=3 * MILLISECOND_NS))
    rig.world.run_for(SECOND_NS)  # ARP
    ping = rig.guest.ping(rig.gateway.host, rig.now)
    assert (ping.rtt_ns, ping.answered_by) == (None, None)
    assert rig.world.run_until(lambda: ping.rtt_ns is not None, SECOND_NS)
    assert (ping.rtt_ns, ping.answered_by) == (6 * MILLISECOND_NS, rig.gateway.host)


def test_a_ping_that_nobody_answers_stays_open() -> None:
    rig = Rig()
    ping = rig.guest.ping(IPv4Address("10.0.2.77"), rig.now)
    rig.world.run_for(10 * SECOND_NS)
    assert ping.rtt_ns is None


def test_udp_goes_there_and_back() -> None:
    rig = Rig()
    rig.gateway.answer_udp(7, lambda payload: payload[::-1])
    socket = rig.guest.udp()
    assert socket.send(Endpoint(FAR, 7), b"abc", rig.now)
    rig.world.settle()
    assert list(socket.received) == [(Endpoint(FAR, 7), b"cba")]
    heard: list[bytes] = []
    rig.guest.udp(6000, lambda _, payload: heard.append(payload)).send(Endpoint(FAR, 7), b"xy", rig.now)
    rig.world.settle()
    assert heard == [b"yx"]


@pytest.mark.parametrize("port", [6000, 68, RESOLVER_PORT])
def test_a_udp_port_has_one_owner(port: int) -> None:
    guest = Guest()
    guest.udp(6000)
    with pytest.raises(OSError, match=f"UDP port {port} is in use"):
        guest.udp(port)


def test_names_are_resolved_by_its_dns_servers() -> None:
    def answer(payload: bytes) -> bytes:
        message: Any = dpkt.dns.DNS(payload)
        message.qr = 1
        message.an = [dpkt.dns.DNS.RR(name=message.qd[0].name, type=1, cls=1, rdata=FAR.packed)]
        return bytes(message)

    gateway = Gateway()
    gateway.answer_udp(53, answer)
    rig = Rig(gateway, Guest(address=OWN, router=gateway.host, dns=(FAR,)))
    lookup = rig.guest.resolve("example.org", rig.now)
    assert rig.world.run_until(lambda: lookup.done, 10 * SECOND_NS)
    assert (lookup.error, lookup.addresses, lookup.server) == (None, [FAR], FAR)
    gateway.answer_udp(53, lambda _: None)
    late = rig.guest.resolve("example.org", rig.now)
    assert rig.world.run_until(lambda: late.done, 100 * SECOND_NS)
    assert late.error == "timed out"


def test_ephemeral_ports_differ_and_wrap() -> None:
    guest = Guest(address=OWN, router=IPv4Address("10.0.2.2"))
    guest._next_port = LAST_EPHEMERAL
    ports = [guest.connect(FAR, 80, 0).local.port for _ in range(2)]
    assert ports == [LAST_EPHEMERAL, FIRST_EPHEMERAL]


def test_a_guest_accepts_where_it_listens_and_resets_elsewhere() -> None:
    rig = Rig()
    rig.guest.listen(22)
    open_, shut = (rig.gateway.connect(Endpoint(OWN, port), Endpoint(FAR, 9000), rig.now) for port in (22, 23))
    rig.world.run_for(SECOND_NS)
    assert (open_.connected, open_.closed) == (True, None)
    assert [(stream.local.port, stream.remote) for stream in rig.guest.accepted] == [(22, Endpoint(FAR, 9000))]
    assert (shut.connected, shut.closed) == (False, "refused")
