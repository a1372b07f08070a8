"""Every way for a connection to end, over links that lose: half-closed, reset in mid-transfer, refused."""

from __future__ import annotations

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.engine.core import core as engine
from pyslirp.sim.apps import Transfer, pattern
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.faults import Impairments
from tests.sim.pair import DELAY, FAR, PORT, SEEDS, Pair

LOSSY = Impairments(DELAY, loss=0.03)
AMOUNT = 200_000


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("first", ["guest", "host", "both"])
def test_half_closed(first: str, seed: int) -> None:
    """Who finishes first still receives all that the other sends afterwards."""
    pair = Pair(seed, there=LOSSY)
    guest = Transfer(pattern(1, AMOUNT), after_end=first == "host")
    host = Transfer(pattern(2, AMOUNT), after_end=first == "guest")
    pair.connect(guest, host)
    assert pair.run(lambda: pair.over(guest, host))
    assert pair.check_outcome(guest, host) == "closed"
    pair.check_empty()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("who", ["guest", "host"])
@pytest.mark.parametrize("after_ms", [1, 5, 12, 40])
def test_reset_in_mid_transfer(who: str, after_ms: int, seed: int) -> None:
    """A reset on one side is a reset on the other, if need be when its next segment finds nobody."""
    pair = Pair(seed, there=LOSSY)
    guest, host = pair.transfer(10_000_000, 10_000_000)
    pair.rest(after_ms * MILLISECOND_NS)
    side = host if who == "host" and host.stream is not None else guest
    assert side.stream is not None
    side.stream.reset()
    assert pair.run(lambda: pair.over(guest, host), 1300 * SECOND_NS)
    pair.rest(SECOND_NS)
    pair.check_outcome(guest, host)
    assert "closed" not in {guest.closed, host.closed}
    pair.check_empty()


def test_a_reset_that_is_lost_is_told_again() -> None:
    """Who has not heard of a reset hears of it with his next segment, a keepalive at the latest."""
    pair = Pair()
    guest, host = pair.transfer(0, 10_000_000)
    assert pair.run(lambda: len(guest.received) > 100_000)
    pair.change_link(Impairments(DELAY, loss=1.0))
    assert host.stream is not None
    host.stream.reset()
    pair.rest(SECOND_NS)
    assert pair.guest.core.memory()["flows"] == 1
    pair.change_link(Impairments(DELAY))
    pair.rest(7300 * SECOND_NS)
    assert guest.closed == "reset by guest"  # by the other side, which is what a core calls its guest
    pair.check_empty()


@pytest.mark.parametrize(
    ("how", "reason"),
    [(engine.REFUSE_RESET, "refused"), (engine.REFUSE_SILENT, "timed out")],
    ids=["reset", "silent"],
)
def test_refused(how: int, reason: str) -> None:
    pair = Pair()
    pair.gateway.refuse(PORT, how)
    stream = pair.guest.connect(FAR, PORT, pair.world.now)
    assert pair.run(lambda: stream.closed is not None)
    assert stream.closed == reason
    pair.check_empty()


def test_a_guest_that_refuses_the_host() -> None:
    pair = Pair()
    assert pair.guest.address is not None
    stream = pair.gateway.connect(endpoint(pair, 22), endpoint(pair, 5000, far=True), pair.world.now)
    assert pair.run(lambda: stream.closed is not None)
    assert stream.closed == "refused"
    pair.check_empty()


def endpoint(pair: Pair, port: int, *, far: bool = False) -> Endpoint:
    assert pair.guest.address is not None
    return Endpoint(FAR if far else pair.guest.address, port)


def test_both_open_at_once() -> None:
    """RFC 9293 figure 7, over a link: one connection comes of it, and it works."""
    pair = Pair()
    ours, theirs = Transfer(pattern(1, AMOUNT)), Transfer(pattern(2, AMOUNT))
    now = pair.world.now
    pair.guest.connect(FAR, 5000, now, ours, local_port=6000)
    pair.gateway.connect(endpoint(pair, 6000), endpoint(pair, 5000, far=True), now, theirs)
    assert pair.run(lambda: pair.over(ours, theirs))
    assert pair.check_outcome(ours, theirs) == "closed"
    assert (pair.guest.core.counters()["flow.opened"], pair.gateway.core.counters()["flow.opened"]) == (1, 1)
    pair.check_empty()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_port_again_and_again(seed: int) -> None:
    """A guest that uses one port for one connection after another, whoever of the two is in TIME_WAIT."""
    pair = Pair(seed)
    for turn in range(6):
        guest = Transfer(pattern(turn, 5000), after_end=turn % 2 == 0)
        host = Transfer(pattern(turn + 10, 5000), after_end=turn % 2 == 1)
        one_more(pair, guest, host)
        assert bytes(guest.received) == host.data
        assert bytes(host.received) == guest.data
    assert pair.gateway.core.counters()["tcp.challenge_ack"] == 0
    pair.rest(20 * SECOND_NS)
    pair.check_empty()


def one_more(pair: Pair, guest: Transfer, host: Transfer) -> None:
    """A connection from port 5000, until the guest's side is gone; the gateway may be in TIME_WAIT then."""
    pair.gateway.listen(PORT, lambda: host)
    guest.stream = pair.guest.connect(FAR, PORT, pair.world.now, guest, local_port=5000)
    assert pair.run(lambda: guest.closed is not None, 60 * SECOND_NS)
