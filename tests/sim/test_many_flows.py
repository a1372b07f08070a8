"""Ten thousand connections at once: each works, idle ones cost no work, no wake-up and little memory."""

from __future__ import annotations

from collections import deque

import pytest

from pyslirp.sim.apps import Echo
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.faults import Impairments
from pyslirp.sim.link import Pipe
from pyslirp.sim.stream import Stream
from tests.sim.pair import FAR, PORT, Pair

pytestmark = pytest.mark.xdist_group("many flows")  # one crowd for all of them

FLOWS = 10_000
STREAM_BYTES_MAX = 2048  #: of an idle established flow


@pytest.fixture(scope="module")
def crowd() -> tuple[Pair, list[Stream]]:
    """A pair of FLOWS established connections, none of which has anything to do."""
    pair = Pair(there=Impairments(Pipe(delay_ns=MILLISECOND_NS)), audit=False)
    pair.gateway.listen(PORT, Echo)
    streams: list[Stream] = []
    for number in range(FLOWS):
        streams.append(pair.guest.connect(FAR, PORT, pair.world.now, local_port=20_000 + number))
        if number % 500 == 0:
            pair.world.run_for(3 * MILLISECOND_NS)
    pair.world.run_for(2 * SECOND_NS)
    return pair, streams


def ask(pair: Pair, stream: Stream, question: bytes) -> tuple[int, int]:
    """Send and receive once; how many frames and how many jumps of the clock it took."""
    wire = [port["rx_frames"] + port["tx_frames"] for port in pair.gateway.core.ports()]
    jumps, answer = pair.world.jumps, b""
    stream.write(question)
    arrived = lambda: stream.connected and bool(pair.guest.core.flow(stream.handle)["receive_queue"])  # noqa: E731
    assert pair.world.run_until(arrived, SECOND_NS)
    answer = stream.read()
    pair.world.run_for(SECOND_NS)
    assert answer == question
    after = [port["rx_frames"] + port["tx_frames"] for port in pair.gateway.core.ports()]
    return after[0] - wire[0], pair.world.jumps - jumps


def test_all_are_established(crowd: tuple[Pair, list[Stream]]) -> None:
    pair, streams = crowd
    assert all(stream.connected for stream in streams)
    assert pair.gateway.core.memory()["flows"] == FLOWS
    pair.check()


def test_an_idle_flow_holds_no_buffer_and_little_else(crowd: tuple[Pair, list[Stream]]) -> None:
    pair, _ = crowd
    for core in (pair.gateway.core, pair.guest.core):
        memory = core.memory()
        assert memory["buffer_bytes"] == 0
        assert memory["stream_bytes"] <= STREAM_BYTES_MAX
        assert memory["timers"] == FLOWS, "one each, for its keepalive"


def test_one_among_many_costs_what_one_alone_does(crowd: tuple[Pair, list[Stream]]) -> None:
    """The work for a question and its answer, in frames and wake-ups, does not depend on who else is there."""
    alone = Pair(there=Impairments(Pipe(delay_ns=MILLISECOND_NS)), audit=False)
    alone.gateway.listen(PORT, Echo)
    lonely = alone.guest.connect(FAR, PORT, alone.world.now)
    alone.world.run_for(2 * SECOND_NS)
    pair, streams = crowd
    for turn in range(3):
        assert ask(pair, streams[7 + 1000 * turn], b"who?") == ask(alone, lonely, b"who?")


def test_an_idle_crowd_never_wakes(crowd: tuple[Pair, list[Stream]]) -> None:
    pair, _ = crowd
    jumps = pair.world.jumps
    pair.world.run_for(3600 * SECOND_NS)
    assert pair.world.jumps - jumps <= 2, "an hour of silence, and keepalives come after two"


def test_all_speak_at_once(crowd: tuple[Pair, list[Stream]]) -> None:
    """Queues are bounded and flows take turns: everybody is answered."""
    pair, streams = crowd
    for stream in streams:
        stream.write(b"%05d" % stream.local.port)
    waiting = deque(streams)
    for _ in range(200):
        pair.world.run_for(50 * MILLISECOND_NS)
        while waiting and (answer := waiting[0].read()):
            assert answer == b"%05d" % waiting.popleft().local.port
    assert not waiting
    assert pair.gateway.core.memory()["buffer_bytes"] == 0


def test_all_end(crowd: tuple[Pair, list[Stream]]) -> None:
    pair, streams = crowd
    for stream in streams:
        stream.finish()
    pair.world.run_for(60 * SECOND_NS)
    assert {stream.closed for stream in streams} == {"closed"}
    pair.check_empty()
