"""Streams over bad links: the bytes arrive exactly, or the connection is reset; nothing is left behind."""

from __future__ import annotations

import hashlib

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.sim.apps import Transfer
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.faults import ACK, SYN, Impairments, Outage, Tap, has_flags, is_syn_ack
from pyslirp.sim.link import Link, Pipe
from tests.sim.pair import DELAY, SEEDS, Pair

JITTER = Pipe(delay_ns=2 * MILLISECOND_NS, jitter_ns=3 * MILLISECOND_NS, reorder=True)
NARROW = Pipe(delay_ns=10 * MILLISECOND_NS, rate_bits=20_000_000, queue_bytes=200_000)
LINKS = {
    "clean": Impairments(DELAY),
    "loss": Impairments(DELAY, loss=0.03),
    "heavy_loss": Impairments(DELAY, loss=0.2),
    "bursts": Impairments(DELAY, bursts=(30 * MILLISECOND_NS, 2 * MILLISECOND_NS)),
    "reorder": Impairments(JITTER),
    "duplicate": Impairments(JITTER, duplicate=0.2),
    "corrupt": Impairments(DELAY, corrupt=0.05),
    "narrow": Impairments(NARROW),
    "everything": Impairments(
        JITTER, loss=0.02, bursts=(60 * MILLISECOND_NS, 3 * MILLISECOND_NS), duplicate=0.02, corrupt=0.02
    ),
}
MTUS = (576, 1500, 9000, 65520)


def size_for(mtu: int) -> int:
    """Enough segments for windows to grow, and few enough to be quick."""
    return 150 * min(mtu, 9000)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mtu", MTUS)
@pytest.mark.parametrize("link", LINKS)
def test_both_ways_at_once(link: str, mtu: int, seed: int) -> None:
    pair = Pair(seed, mtu=mtu, there=LINKS[link])
    guest, host = pair.transfer(size_for(mtu), size_for(mtu))
    assert pair.run(lambda: pair.over(guest, host)), "it takes for ever"
    outcome = pair.check_outcome(guest, host)
    # Where one exchange in three fails, a handshake may fail, or an end outlive the other's TIME_WAIT.
    assert outcome == "closed" or link == "heavy_loss"
    pair.check_empty()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mtu", [1500, 65520])
@pytest.mark.parametrize("way", ["up", "down"])
def test_one_way(way: str, mtu: int, seed: int) -> None:
    pair = Pair(seed, mtu=mtu, there=LINKS["everything"])
    amount = 2 * size_for(mtu)
    guest, host = pair.transfer(amount if way == "up" else 0, amount if way == "down" else 0)
    assert pair.run(lambda: pair.over(guest, host))
    assert pair.check_outcome(guest, host) == "closed"
    pair.check_empty()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bad_way_back_alone(seed: int) -> None:
    """ACKs are lost, data are not: cumulative ACKs and probes make up for it."""
    pair = Pair(seed, there=Impairments(DELAY), back=Impairments(DELAY, loss=0.25))
    guest, host = pair.transfer(0, 300_000)
    assert pair.run(lambda: pair.over(guest, host))
    if host.stream is not None:
        assert pair.check_outcome(guest, host) == "closed"


@pytest.mark.parametrize("seed", SEEDS)
def test_towards_the_guest(seed: int) -> None:
    """A connection that the host opens."""
    pair = Pair(seed, there=LINKS["everything"])
    served = Transfer(b"from the guest" * 10_000)
    opening = Transfer(b"from the host" * 10_000)
    pair.guest.listen(22, lambda: served)
    assert pair.guest.address is not None
    pair.gateway.open_stream(
        Endpoint.of("198.51.100.7", 4000), Endpoint(pair.guest.address, 22), opening, pair.world.now
    )
    assert pair.run(lambda: pair.over(served, opening))
    assert pair.check_outcome(served, opening) == "closed"
    pair.check_empty()


@pytest.mark.parametrize(
    "outage",
    [
        Outage(0, 3 * SECOND_NS, is_syn_ack),
        Outage(0, 2 * SECOND_NS),
        Outage(SECOND_NS + 8 * MILLISECOND_NS, 31 * SECOND_NS),
        Outage(SECOND_NS, 5 * SECOND_NS, has_flags(ACK), most=40),
    ],
    ids=["syn_acks", "at_first", "half_a_minute", "forty_frames"],
)
@pytest.mark.parametrize("mtu", [1500, 65520])
def test_outages(outage: Outage, mtu: int) -> None:
    pair = Pair(mtu=mtu, there=Impairments(DELAY, outages=(outage,)))
    guest, host = pair.transfer(size_for(mtu), size_for(mtu))
    assert pair.run(lambda: pair.over(guest, host))
    assert pair.check_outcome(guest, host) == "closed"
    pair.check_empty()


def test_an_outage_without_end_is_given_up() -> None:
    for_ever = Outage(SECOND_NS + 20 * MILLISECOND_NS, 10**6 * SECOND_NS)
    pair = Pair(there=Impairments(DELAY, outages=(for_ever,)), back=Impairments(DELAY, outages=(for_ever,)))
    guest, host = pair.transfer(10**6, 10**6)
    assert pair.run(lambda: pair.over(guest, host))
    assert (guest.closed, host.closed) == ("timed out", "timed out")
    pair.check_outcome(guest, host)
    pair.check_empty()


def test_nobody_there() -> None:
    pair = Pair(there=Impairments(DELAY, outages=(Outage(0, 10**6 * SECOND_NS, has_flags(SYN)),)))
    guest, _ = pair.transfer(10, 10)
    assert pair.run(lambda: guest.closed is not None)
    assert guest.closed == "timed out"


def test_the_same_seed_gives_the_same_run() -> None:
    def digest(seed: int) -> str:
        pair = Pair(seed, there=LINKS["everything"])
        seen = hashlib.sha256()
        note = lambda frame, now: seen.update(b"%d" % now + frame)  # noqa: E731
        tapped = Link(Tap(pair.link.to_b, note), Tap(pair.link.to_a, note))
        pair.world.replace(pair.link, tapped)
        guest, host = pair.transfer(100_000, 100_000)
        assert pair.run(lambda: pair.over(guest, host))
        return seen.hexdigest()

    assert digest(3) == digest(3) != digest(4)
