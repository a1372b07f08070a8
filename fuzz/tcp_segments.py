"""Invariant tested: whatever happens to the segments between two cores, both stay sound, and bytes that arrive are those sent.

An input is a sequence of steps of four bytes: what to do, and three arguments.  The two cores are connected, and frames
wait in a queue for each direction.  A step lets one pass, drops it, doubles it, lets it overtake, changes a field of it
(with the checksums made right again, so that it is looked at), writes, reads, finishes or resets a stream, or lets time
pass.  A changed segment may do anything to the stream that a forger could, but nothing to the state's agreement with itself,
to the bounds of memory, or to the number of answers.  Where none was changed, each side reads exactly what the other wrote.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address

from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import MILLISECOND_NS, START_NS
from pyslirp.sim.guest import Guest
from pyslirp.sim.host import Gateway, Port
from pyslirp.sim.segment import FLAGS, BadFrameError, Options, Segment, build_frame, read_frame
from pyslirp.sim.stream import Stream

STEPS_MAX = 400
STEP_BYTES = 4
ROUNDS_MAX = 200  #: runs at one instant
ANSWERS_MAX = 800  #: frames for one step: what a mebibyte of queue holds of full ones
FAR, PORT = IPv4Address("192.0.2.1"), 80
OPTIONS = (
    Options(),
    Options(timestamps=(1, 1)),
    Options(timestamps=(0xFFFFFFFF, 0)),
    Options(sack=[(0, 1), (1, 0xFFFFFFFF)]),
    Options(mss=0, scale=255, sack_permitted=True),
    Options(raw=b"\x08\x02\x05\x03\x00\x02\x02\x01"),
    Options(raw=b"\x05\xff\x00\x00"),
)


class Pair:
    """A gateway and a guest that are being connected, the frames between them, and what was written and read."""

    def __init__(self) -> None:
        self.now = START_NS
        self.gateway, self.guest = Gateway(), Guest(address=IPv4Address("10.0.2.15"), router=IPv4Address("10.0.2.2"))
        self.ends: tuple[Port | Guest, Port | Guest] = (self.gateway.attach(), self.guest)
        self.queues: tuple[list[bytes], list[bytes]] = ([], [])  # towards each end
        self.gateway.listen(PORT)
        self.streams: list[Stream | None] = [None, self.guest.connect(FAR, PORT, self.now)]
        self.written, self.read = [0, 0], [0, 0]
        self.forged = False
        self.settle()
        for _ in range(4):  # ARP, and the SYN behind it
            self.deliver_all()

    def settle(self) -> None:
        """Run both cores until they rest, and look at them."""
        for _ in range(ROUNDS_MAX):
            for node in (self.gateway, self.guest):
                node.run(self.now)
            moved = 0
            for side, end in enumerate(self.ends):
                frames = end.collect()
                moved += len(frames)
                self.queues[1 - side].extend(frames)
            if not moved:
                break
        else:
            raise AssertionError("the cores do not come to rest")
        while self.gateway.accepted:
            accepted = self.gateway.accepted.popleft()
            self.streams[0] = self.streams[0] or accepted
        for node in (self.gateway, self.guest):
            unsound = node.core._unsound()  # noqa: SLF001  (made for tests)
            assert not unsound, unsound
            memory = node.core.memory()
            assert memory["flows"] <= STEPS_MAX
            assert memory["buffer_bytes"] <= memory["buffer_limit_bytes"]

    def deliver_all(self) -> None:
        """Everything that waits, as one batch for each side."""
        for side, end in enumerate(self.ends):
            frames = self.queues[side][:]
            self.queues[side].clear()
            if frames:
                end.deliver(frames, self.now)
        self.settle()

    def pass_on(self, side: int, frames: list[bytes]) -> None:
        """Frames arrive at one end."""
        before = len(self.queues[1 - side])
        self.ends[side].deliver(frames, self.now)
        self.settle()
        assert len(self.queues[1 - side]) - before <= ANSWERS_MAX, "a storm"

    def read_some(self, side: int, most: int) -> None:
        """Read, and compare with what the other side wrote."""
        stream = self.streams[side]
        if stream is None:
            return
        data = stream.read(most)
        if not self.forged:
            assert data == pattern(1 - side, len(data), self.read[side])
            assert self.read[side] + len(data) <= self.written[1 - side]
        self.read[side] += len(data)

    def write_some(self, side: int, length: int) -> None:
        """Write the next bytes of this side's pattern."""
        stream = self.streams[side]
        if stream is not None:
            self.written[side] += stream.write(pattern(side, length, self.written[side]))


def forged(frame: bytes, field: int, value: int) -> bytes:
    """The frame with one field of its segment changed and its checksums made right."""
    try:
        found = read_frame(frame)
    except BadFrameError:
        return frame
    if found is None:
        return frame
    segment, way = found
    signed = value - 256 if value > 127 else value
    changed: dict[int, Segment] = {
        0: replace(segment, flags="".join(letter for letter, bit in FLAGS.items() if value & bit)),
        1: replace(segment, seq=(segment.seq + signed) % 2**32),
        2: replace(segment, seq=(segment.seq + (signed << 24)) % 2**32),
        3: replace(segment, ack=(segment.ack + signed) % 2**32),
        4: replace(segment, ack=(segment.ack + (signed << 24)) % 2**32),
        5: replace(segment, window=value * 257),
        6: replace(segment, options=OPTIONS[value % len(OPTIONS)]),
        7: replace(segment, payload=segment.payload[: value * 8] if value % 2 else segment.payload + bytes(value)),
        8: replace(segment, urgent=value),
    }
    return build_frame(changed[field % 9], way)


def step(pair: Pair, kind: int, one: int, two: int, three: int) -> None:
    """One step of an input."""
    side = kind & 1
    queue = pair.queues[side]
    what = (kind >> 1) % 11
    if what == 0:
        pair.now += (one << 8 | two) * MILLISECOND_NS // (1 + three)
        pair.settle()
    elif what == 1:
        pair.write_some(side, one << 8 | two)
        pair.settle()
    elif what == 2:
        pair.read_some(side, one << 8 | two)
        pair.settle()
    elif what == 3 and (stream := pair.streams[side]) is not None:
        stream.finish() if one else stream.reset()
        pair.settle()
    elif what == 4:
        pair.deliver_all()
    elif what >= 5 and queue:
        index = one % len(queue)
        if what == 5:
            del queue[index]
        elif what == 6:
            pair.pass_on(side, [queue[index]] * (1 + two % 4))
        elif what == 7:
            pair.pass_on(side, [queue.pop(index)])
        else:
            pair.forged = True
            pair.pass_on(side, [forged(queue.pop(index), two, three)])


def fuzz(data: bytes) -> Hashable:
    """One input; what it gives is which states and counters of both cores it has reached."""
    pair = Pair()
    reached: set[Hashable] = set()
    for steps, (kind, one, two, three) in enumerate(in_steps(data)):
        if steps == STEPS_MAX:
            break
        step(pair, kind, one, two, three)
        reached |= {flow["state"] for node in (pair.gateway, pair.guest) for flow in node.core.flows()}
    for name, node in (("gateway", pair.gateway), ("guest", pair.guest)):
        reached |= {(name, counter) for counter, value in node.core.counters().items() if value}
    return frozenset(reached)


def in_steps(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Four bytes each; a shorter rest is left out."""
    for at in range(0, len(data) - STEP_BYTES + 1, STEP_BYTES):
        kind, one, two, three = data[at : at + STEP_BYTES]
        yield kind, one, two, three
