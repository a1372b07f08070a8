"""IPv6 over good and bad links: streams, datagrams in fragments, pings; the same engine at both ends."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.sim.apps import Transfer, pattern
from pyslirp.sim.audit import Auditor
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.faults import Impairments, impaired
from pyslirp.sim.guest import Guest
from pyslirp.sim.host import Gateway
from pyslirp.sim.link import Link, Pipe
from pyslirp.sim.world import World
from tests.sim.pair import PATIENCE_NS, with_mtu

NET6 = IPv6Network("fec0::/64")
FAR6 = IPv6Address("2001:db8::1")
DELAY = Pipe(delay_ns=2 * MILLISECOND_NS)
JITTER = Pipe(delay_ns=2 * MILLISECOND_NS, jitter_ns=3 * MILLISECOND_NS, reorder=True)
LINKS = {
    "clean": Impairments(DELAY),
    "loss": Impairments(DELAY, loss=0.03),
    "reorder": Impairments(JITTER),
    "corrupt": Impairments(DELAY, corrupt=0.05),
    "everything": Impairments(JITTER, loss=0.02, duplicate=0.02, corrupt=0.02),
}


class Pair6:
    """A guest and a gateway that have met, then a link as it is asked for."""

    def __init__(self, link: Impairments | None = None, mtu: int = 1500, seed: int = 1) -> None:
        self.world = World()
        self.gateway = Gateway(seed * 2 + 2, mtu=mtu, net6=NET6)
        self.guest = Guest(seed * 2 + 1, mtu=mtu)
        self.guest.configure6(NET6[0x15], NET6, NET6[2])
        self.world.add(self.gateway, self.guest)
        plain = Link.plain(mtu)
        self.world.connect(self.gateway.attach(), self.guest, plain)
        ping = self.guest.ping(NET6[2], self.world.now)
        self.world.settle()
        assert ping.rtt_ns == 0
        self.auditor = Auditor(mtu)
        if link is not None:
            self.world.replace(plain, self.auditor.watch(impaired(with_mtu(link, mtu), seed)))

    def meet_by_arp_alone(self) -> bool:
        """Is there anything of IPv4 in it?"""
        return any(
            neighbor["address"].startswith(bytes(10) + b"\xff\xff") for neighbor in self.gateway.core.neighbors()
        )


@pytest.mark.parametrize("mtu", [1280, 1500, 9000])
@pytest.mark.parametrize("link", LINKS)
def test_streams(link: str, mtu: int) -> None:
    """Both ways at once; the auditor holds both sides to TCP's promises, and the bytes arrive exactly."""
    pair = Pair6(LINKS[link], mtu)
    guest, host = (Transfer(pattern(number, 100 * mtu)) for number in (1, 2))
    pair.gateway.listen(80, lambda: host)
    guest.stream = pair.guest.connect(FAR6, 80, pair.world.now, guest)
    assert pair.world.run_until(lambda: guest.closed is not None and host.closed is not None, PATIENCE_NS)
    assert (guest.closed, host.closed) == ("closed", "closed")
    assert (bytes(guest.received), bytes(host.received)) == (host.data, guest.data)
    assert pair.auditor.segments > 100
    assert not pair.meet_by_arp_alone()


def test_a_stream_towards_the_guest() -> None:
    pair = Pair6(LINKS["loss"])
    guest, host = Transfer(pattern(1, 50_000)), Transfer(pattern(2, 50_000))
    pair.guest.listen(22, lambda: guest)
    host.stream = pair.gateway.connect(Endpoint(NET6[0x15], 22), Endpoint(FAR6, 5000), pair.world.now, host)
    assert pair.world.run_until(lambda: host.closed is not None, PATIENCE_NS)
    assert bytes(guest.received) == host.data


@pytest.mark.parametrize("size", [0, 1, 1452, 1453, 8000, 65000])
def test_datagrams(size: int) -> None:
    """There in fragments and back in fragments."""
    pair = Pair6(LINKS["reorder"])
    pair.gateway.answer_udp(7, lambda data: data[::-1])
    socket = pair.guest.udp()
    assert socket.send(Endpoint(FAR6, 7), pattern(3, size), pair.world.now)
    assert pair.world.run_until(lambda: bool(socket.received), SECOND_NS)
    assert socket.received.popleft() == (Endpoint(FAR6, 7), pattern(3, size)[::-1])


def test_a_port_where_nobody_is() -> None:
    pair = Pair6(LINKS["clean"])
    stream = pair.guest.connect(FAR6, 81, pair.world.now)
    assert pair.world.run_until(lambda: stream.closed is not None, SECOND_NS)
    assert stream.closed == "refused"


def test_neighbours_stay_known_through_an_hour() -> None:
    """Unreachability detection asks, and both sides answer, for as long as somebody sends."""
    pair = Pair6(LINKS["clean"])
    pair.gateway.answer_udp(7, lambda data: data)
    socket = pair.guest.udp()
    for _ in range(120):
        socket.send(Endpoint(FAR6, 7), b"x", pair.world.now)
        pair.world.run_for(30 * SECOND_NS)
    assert len(socket.received) == 120
    assert pair.gateway.core.counters()["neighbor.unresolved"] == 0
    assert pair.gateway.core.counters()["nd.learned"] > 10
