"""Readers that stop reading: windows close, nothing is lost, memory stays bounded, and all goes on when they read again."""

from __future__ import annotations

import pytest

from pyslirp.sim.apps import Transfer, pattern
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.faults import Impairments
from pyslirp.sim.link import Pipe
from tests.sim.pair import DELAY, SEEDS, Pair

BUFFER_MAX = 5 << 20  #: of one direction of one side: SND_BUFFER_MAX or RCV_WINDOW_MAX, and what chunks round up
JITTERY = Impairments(Pipe(delay_ns=2 * MILLISECOND_NS, jitter_ns=MILLISECOND_NS, reorder=True), loss=0.02)


def held(pair: Pair) -> int:
    return pair.gateway.core.memory()["buffer_bytes"] + pair.guest.core.memory()["buffer_bytes"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mtu", [576, 1500, 65520])
def test_both_readers_stall(mtu: int, seed: int) -> None:
    pair = Pair(seed, mtu=mtu, there=JITTERY)
    guest, host = pair.transfer(1_500_000, 1_500_000, stalled=True)
    pair.rest(100 * SECOND_NS)
    assert (len(guest.received), len(host.received)) == (0, 0)
    (flow,) = pair.gateway.core.flows()
    assert flow["receive_queue"] > 0
    assert flow["snd_wnd"] < 2 * mtu, "the guest's window has closed"
    assert held(pair) <= 4 * BUFFER_MAX
    guest.resume()
    host.resume()
    assert pair.run(lambda: pair.over(guest, host))
    assert pair.check_outcome(guest, host) == "closed"
    pair.check_empty()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_window_that_stays_closed_for_an_hour(seed: int) -> None:
    """Probes and their answers keep the connection for as long as the reader likes (RFC 9293 3.8.6.1)."""
    pair = Pair(seed, there=Impairments(DELAY, loss=0.1))
    guest, host = pair.transfer(2_000_000, 0, stalled=True)
    pair.rest(3600 * SECOND_NS)
    assert guest.closed is None
    assert pair.guest.core.counters()["tcp.probe"] > 50
    host.resume()
    guest.resume()
    assert pair.run(lambda: pair.over(guest, host))
    assert pair.check_outcome(guest, host) == "closed"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reader_in_spurts(seed: int) -> None:
    """Every second a little is read, in odd amounts: no silly windows (RFC 9293 3.8.6.2), and an exact stream."""
    pair = Pair(seed)
    host = Transfer(stalled=True, finish=False)
    guest = Transfer(pattern(3, 1_000_000))
    pair.connect(guest, host)
    for spurt in range(400):
        pair.rest(SECOND_NS)
        assert host.stream is not None
        host.received += host.stream.read(1 + spurt * 37)
        if host.stream.ended:
            break
    assert bytes(host.received) == guest.data
    data_frames = pair.auditor.segments
    assert data_frames < 3 * (1_000_000 // 1448 + 400), "more segments than full ones and probes"


def test_small_segments_do_not_creep_past_the_buffer() -> None:
    """The window's edge is rounded to its scale; many small segments must not win a step each (RFC 7323 2.4)."""
    pair = Pair()
    host = Transfer(stalled=True, finish=False)
    guest = Transfer(finish=False)
    stream = pair.connect(guest, host)
    pair.rest(SECOND_NS)
    for _ in range(3000):
        stream.write(b"0123456")
        pair.rest(6 * MILLISECOND_NS)
    (flow,) = pair.gateway.core.flows()
    assert flow["receive_queue"] == 21_000
    assert flow["receive_queue"] + flow["rcv_wnd"] <= 262_144 + 256


@pytest.mark.parametrize("seed", SEEDS)
def test_memory_runs_out(seed: int) -> None:
    """Many streams and a pool that holds a few: senders wait, every byte arrives, nothing is left."""
    pair = Pair(seed, there=JITTERY, audit=False)
    pair.gateway.core.set_memory(512 << 10)
    pairs = []
    for number in range(12):
        guest, host = Transfer(pattern(number, 150_000)), Transfer(pattern(100 + number, 150_000))
        pair.connect(guest, host, 8000 + number)
        pairs.append((guest, host))
    assert pair.run(lambda: all(pair.over(guest, host) for guest, host in pairs))
    for guest, host in pairs:
        assert pair.check_outcome(guest, host) == "closed"
    memory = pair.gateway.core.memory()
    assert memory["buffer_refused"] > 0
    pair.check_empty()


@pytest.mark.parametrize("side", ["guest", "host"])
def test_a_link_that_takes_nothing(side: str) -> None:
    """A full queue refuses segments, ACKs and FINs; they go out once there is room, in time for no timer to be needed."""
    pair = Pair()
    guest, host = Transfer(finish=False), Transfer(finish=False)
    pair.connect(guest, host)
    assert pair.run(lambda: guest.stream is not None and host.stream is not None and guest.stream.connected)
    pair.rest(SECOND_NS)
    pair.stuff(side)
    for app in (guest, host):
        app.data = pattern(5, 100_000)
        app.pump()
        app.stream.finish()  # type: ignore[union-attr]
    core = (pair.gateway if side == "host" else pair.guest).core
    pair.rest(100 * MILLISECOND_NS)
    (flow,) = core.flows()
    assert flow["in_flight"] == 0, "a segment found room"
    assert flow["send_queue"] > 0
    pair.valves[side].shut = False
    pair.rest(30 * MILLISECOND_NS)
    assert flow["send_queue"] > core.flows()[0]["send_queue"]
    assert pair.run(lambda: len(guest.received) == len(host.received) == 100_000)
    assert bytes(guest.received) == bytes(host.received) == pattern(5, 100_000)
