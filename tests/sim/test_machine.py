"""A guest, a gateway, a link, and whatever Hypothesis makes them do: open, write, read, finish, reset, wait, break the link
or hold it back.

After every step the state of both sides agrees with itself and with what was written; every segment on the way has passed
the auditor.  At the end the link is mended, and what is still open ends well: each stream has received exactly what the
other side has written.  Hypothesis shrinks a failure to the fewest steps, and prints them; the links' seeds are among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyslirp.addresses import Endpoint
from pyslirp.engine.core.core import Core
from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import MILLISECOND_NS, SECOND_NS
from pyslirp.sim.faults import Impairments
from pyslirp.sim.link import Pipe
from pyslirp.sim.node import TCP
from pyslirp.sim.stream import Stream
from tests.sim.pair import FAR, SEEDS, Pair

CONNECTIONS_MAX = 6
FIRST_PORT = 7000
KEEPALIVE_NS = 8000 * SECOND_NS  #: KEEPALIVE_SECONDS, and the probes
WINDOW_MAX = 16 << 20
MEMORY_MAX = 256 << 20
MEND_NS = 400 * SECOND_NS  #: more than a backed-off timer and TIME_WAIT take

sizes = st.one_of(st.integers(1, 3), st.integers(1, 3000), st.integers(1, 300_000))
which = st.integers(0, CONNECTIONS_MAX - 1)
sides = st.sampled_from(["guest", "host"])
times = st.one_of(st.integers(0, 50), st.integers(0, 3000), st.integers(0, 90_000))  # milliseconds
links = st.builds(
    lambda loss, duplicate, corrupt, mark, delay, jitter, reorder: Impairments(
        Pipe(delay * MILLISECOND_NS, jitter * MILLISECOND_NS, reorder), loss, None, duplicate, corrupt, mark=mark
    ),
    st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.5, 1.0]),
    st.sampled_from([0.0, 0.0, 0.1]),
    st.sampled_from([0.0, 0.0, 0.05]),
    st.sampled_from([0.0, 0.0, 0.1, 1.0]),
    st.sampled_from([0, 1, 20, 200]),
    st.sampled_from([0, 5, 50]),
    st.booleans(),
)


@dataclass
class End:
    """One side of a connection."""

    seed: int  #: of the pattern that it writes
    stream: Stream | None = None
    written: int = 0
    received: int = 0
    finished: bool = False

    def read_from(self, peer: End, most: int) -> None:
        if self.stream is None:
            return
        data = self.stream.read(most)
        assert data == pattern(peer.seed, len(data), self.received), "not what the other side has written"
        self.received += len(data)
        assert self.received <= peer.written, "more than the other side has written"

    def write(self, length: int, urgent: bool = False) -> None:
        if self.stream is not None and not self.finished:
            self.written += self.stream.write(pattern(self.seed, length, self.written), urgent)


@dataclass
class Connection:
    guest: End
    host: End

    def end(self, side: str) -> tuple[End, End]:
        """That side, and the other."""
        return (self.guest, self.host) if side == "guest" else (self.host, self.guest)


class Machine(RuleBasedStateMachine):
    @initialize(
        seed=st.integers(0, 1000),
        mtu=st.sampled_from([576, 1500, 9000, 65520]),
        congestion=st.sampled_from(["bbr", "cubic", "reno"]),
        ecn=st.booleans(),
    )
    def begin(self, seed: int, mtu: int, congestion: str, ecn: bool) -> None:
        self.pair = Pair(seed, mtu=mtu, congestion=congestion, ecn=ecn)
        self.connections: list[Connection] = []
        self.opened_at: dict[int, Connection] = {}

    # -- what may happen ----------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.connections) < CONNECTIONS_MAX)
    @rule(by=sides)
    def open(self, by: str) -> None:
        number = len(self.connections)
        made = Connection(End(2 * number), End(2 * number + 1))
        port = FIRST_PORT + number
        guest = self.pair.guest
        assert guest.address is not None
        if by == "guest":
            self.pair.gateway.listen(port)
            made.guest.stream = guest.connect(FAR, port, self.pair.world.now)
        else:
            guest.listen(port)
            ends = Endpoint(guest.address, port), Endpoint(FAR, 6000)
            made.host.stream = self.pair.gateway.connect(*ends, self.pair.world.now)
        self.connections.append(made)
        self.opened_at[port] = made
        self.settle()

    @precondition(lambda self: self.connections)
    @rule(index=which, side=sides, length=sizes)
    def write(self, index: int, side: str, length: int) -> None:
        self.pick(index).end(side)[0].write(length)
        self.settle()

    @precondition(lambda self: self.connections)
    @rule(index=which, side=sides, length=sizes)
    def write_urgent(self, index: int, side: str, length: int) -> None:
        """The last byte is urgent: it keeps its place, whatever happens to the segments that announce it."""
        self.pick(index).end(side)[0].write(length, urgent=True)
        self.settle()

    @precondition(lambda self: self.connections)
    @rule(index=which, side=sides, most=sizes)
    def read(self, index: int, side: str, most: int) -> None:
        end, peer = self.pick(index).end(side)
        end.read_from(peer, most)
        self.settle()

    @precondition(lambda self: self.connections)
    @rule(index=which, side=sides)
    def finish(self, index: int, side: str) -> None:
        end, _ = self.pick(index).end(side)
        if end.stream is not None:
            end.finished = True
            end.stream.finish()
        self.settle()

    @precondition(lambda self: self.connections)
    @rule(index=which, side=sides)
    def reset(self, index: int, side: str) -> None:
        end, _ = self.pick(index).end(side)
        if end.stream is not None:
            end.stream.reset()
        self.settle()

    @rule(milliseconds=times)
    def wait(self, milliseconds: int) -> None:
        self.pair.rest(milliseconds * MILLISECOND_NS)
        self.adopt()

    @rule(there=links, back=links)
    def change_link(self, there: Impairments, back: Impairments) -> None:
        self.pair.change_link(there, back)

    @rule(side=sides, how=st.sampled_from(["open", "shut", "stuffed"]))
    def turn_valve(self, side: str, how: str) -> None:
        """That side's link takes nothing, at once or when its queue has filled; or it does again."""
        if how == "stuffed":
            self.pair.stuff(side)
        self.pair.valves[side].shut = how != "open"
        self.settle()

    @rule(kilobytes=st.sampled_from([0, 64, 1024, 262_144]))
    def change_memory(self, kilobytes: int) -> None:
        self.pair.gateway.core.set_memory(kilobytes << 10)

    def pick(self, index: int) -> Connection:
        return self.connections[index % len(self.connections)]

    def settle(self) -> None:
        self.pair.world.settle()
        self.adopt()

    def adopt(self) -> None:
        """Streams that a side has accepted become that side's end.

        A second one takes the place of a first that was reset before the other side had its SYN,ACK.
        """
        for name, node in (("guest", self.pair.guest), ("host", self.pair.gateway)):
            while node.accepted:
                stream = node.accepted.popleft()
                end, peer = self.opened_at[stream.local.port].end(name)
                assert end.stream is None or (end.stream.closed is not None and peer.received == 0)
                end.stream, end.written, end.received, end.finished = stream, 0, 0, False

    # -- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def is_sound(self) -> None:
        self.pair.check()
        for core in (self.pair.gateway.core, self.pair.guest.core):
            for flow in core.flows():
                if flow["protocol"] != TCP:
                    continue  # of the datagrams that stuff a queue
                assert flow["in_flight"] <= flow["send_queue"] + 2, "more in flight than data, SYN and FIN"
                assert flow["cwnd"] >= flow["mss"] or flow["state"] in {"SYN_SENT", "HELD", "SYN_RCVD"}
                assert flow["rcv_wnd"] <= 1 << 30
                assert flow["receive_queue"] <= WINDOW_MAX, "more held for a reader than a window can be"
            self.holds_what_it_says(core)

    @staticmethod
    def holds_what_it_says(core: Core) -> None:
        """Memory within its limit (which may have been lowered since), charged to links, and none lost."""
        memory = core.memory()
        assert memory["buffer_bytes"] <= MEMORY_MAX
        assert sum(port["buffer_bytes"] for port in core.ports()) == memory["buffer_bytes"]
        assert memory["timers"] <= memory["flows"]

    def teardown(self) -> None:
        """Mend everything, let all streams finish, and look at what has arrived."""
        if not hasattr(self, "pair"):
            return
        self.pair.gateway.core.set_memory(1 << 28)
        self.pair.change_link(Impairments(Pipe(MILLISECOND_NS)))
        for valve in self.pair.valves.values():
            valve.shut = False
        for _ in range(200):
            for made in self.connections:
                for side in ("guest", "host"):
                    end, peer = made.end(side)
                    end.read_from(peer, 1 << 20)
                    if end.stream is not None and not end.finished:
                        end.finished = True
                        end.stream.finish()
            self.pair.rest(MEND_NS // 200)
            self.adopt()
        self.pair.rest(KEEPALIVE_NS)  # whose peer's reset was lost learns of it by its keepalive, at the latest
        for made in self.connections:
            self.check_outcome(made)
        self.pair.check_empty()

    @staticmethod
    def check_outcome(made: Connection) -> None:
        closed = {end.stream.closed for end in (made.guest, made.host) if end.stream is not None}
        assert None not in closed, f"still open: {made}"
        if closed == {"closed"} and made.guest.stream is not None and made.host.stream is not None:
            assert (made.guest.received, made.host.received) == (made.host.written, made.guest.written)


Machine.TestCase.settings = settings(
    max_examples=30 * max(1, len(SEEDS) // 2), stateful_step_count=40, deadline=None, print_blob=True
)
TestMachine = pytest.mark.timeout(1200)(Machine.TestCase)
