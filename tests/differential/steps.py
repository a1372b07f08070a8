"""Random segment sequences: what a guest and an application do, drawn from a seed, the same for every stack.

Numbers are relative: the guest's sequence numbers count from its initial one, its acknowledgments from the stack's.  So a
sequence is a list of plain values that can be replayed, printed and shortened.

A step is drawn with a model in mind of what a right stack has by then, so that most segments mean something (the next
bytes, a gap, its filling, what came before), and the hostile ones miss by little.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

MSS = 1460
FAR_OFF = 200_000_000  #: beyond every window
WINDOW = 65535
GAP_MAX = 20_000  #: within every window


@dataclass(frozen=True, slots=True)
class Send:
    """The guest sends a segment."""

    flags: str
    seq: int
    length: int = 0
    ack: int = 1
    window: int = WINDOW
    stamp: int | None = 0  #: how far its timestamp is behind the clock; None: it has none
    why: str = ""

    @property
    def end(self) -> int:
        return self.seq + self.length + ("S" in self.flags) + ("F" in self.flags)


@dataclass(frozen=True, slots=True)
class Write:
    """The application writes."""

    length: int


@dataclass(frozen=True, slots=True)
class Read:
    """The application reads all there is."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The application will write no more."""


Step = Send | Write | Read | Finish


@dataclass(frozen=True, slots=True)
class Case:
    """A connection and what happens on it."""

    seed: int
    sack: bool
    stamps: bool
    scale: int | None
    guest_isn: int
    steps: tuple[Step, ...]


@dataclass
class _Model:
    """What a right stack has by now."""

    random: Random
    nxt: int = 1
    islands: list[tuple[int, int]] = field(default_factory=list)
    written: int = 0
    finished: bool = False
    fin_at: int | None = None

    @property
    def sent(self) -> int:
        """The stack's SND.NXT, once it has sent all."""
        return 1 + self.written + self.finished

    def take(self, start: int, end: int) -> None:
        self.islands.append((start, end))
        for first, last in sorted(self.islands):
            if first <= self.nxt:
                self.nxt = max(self.nxt, last)
        self.islands = [island for island in self.islands if island[1] > self.nxt]


def case(seed: int, length: int = 25) -> Case:
    """The sequence of that seed."""
    random = Random(f"differential/{seed}")
    model = _Model(random)
    scale = random.choice([None, 0, 2, 7])
    sack, stamps = random.random() < 0.6, random.random() < 0.5
    isn = random.choice([1000, 0xFFFFFFFF - 3000, random.randrange(1 << 32)])
    steps = tuple(_step(model) for _ in range(length))
    return Case(seed, sack, stamps, scale, isn, steps)


def _step(model: _Model) -> Step:
    random = model.random
    kinds = {
        _in_order: 6,
        _early: 5,
        _fill: 4,
        _old: 3,
        _overlap: 2,
        _plain_ack: 3,
        _wrong_ack: 1,
        _far: 1,
        _no_ack: 0.5,
        _reset: 0.4,
        _exact_reset: 0.1,
        _syn: 0.6,
        _fin: 0.5,
        _keepalive: 1,
        _old_stamp: 1,
        _no_stamp: 0.4,
        _write: 3,
        _read: 2,
        _finish: 0.4,
    }
    return random.choices(list(kinds), list(kinds.values()))[0](model)


def _size(random: Random) -> int:
    return random.choice([1, 10, 100, 536, 1000, 1400])


def _in_order(model: _Model) -> Send:
    start, length = model.nxt, _size(model.random)
    if model.fin_at is None:
        model.take(start, start + length)
    return Send(model.random.choice(["P.", "."]), start, length, model.sent, why="the next bytes")


def _early(model: _Model) -> Send:
    start, length = model.nxt + model.random.randrange(1, GAP_MAX), _size(model.random)
    if model.fin_at is None:
        model.take(start, start + length)
    return Send("P.", start, length, model.sent, why="behind a gap")


def _fill(model: _Model) -> Send:
    if not model.islands:
        return _in_order(model)
    end = min(start for start, _ in model.islands)
    start = model.nxt
    end = min(end + model.random.choice([0, 0, 5]), start + 1400)
    model.take(start, end)
    return Send("P.", start, end - start, model.sent, why="into the first gap")


def _old(model: _Model) -> Send:
    length = _size(model.random)
    start = max(1, model.nxt - length - model.random.randrange(3) * 100)
    length = min(length, model.nxt - start)
    return Send("P.", start, length, model.sent, why="what has come before")


def _overlap(model: _Model) -> Send:
    back, length = model.random.randrange(1, 200), _size(model.random)
    start = max(1, model.nxt - back)
    if model.fin_at is None:
        model.take(start, start + length)
    return Send("P.", start, length, model.sent, why="partly what has come before")


def _plain_ack(model: _Model) -> Send:
    back = model.random.choice([0, 0, 0, 1, 500])
    window = model.random.choice([WINDOW, WINDOW, 30000])
    return Send(".", model.nxt, 0, max(1, model.sent - back), window, why="an ACK")


def _wrong_ack(model: _Model) -> Send:
    off = model.random.choice([1, 1000, FAR_OFF, -FAR_OFF])
    return Send(".", model.nxt, 0, model.sent + off, why="an ACK of what was never sent, or long ago")


def _far(model: _Model) -> Send:
    off = model.random.choice([FAR_OFF, -FAR_OFF])
    length = model.random.choice([0, 100])
    return Send(".", model.nxt + off, length, model.sent, why="outside every window")


def _no_ack(model: _Model) -> Send:
    return Send("P", model.nxt, 100, 0, why="data without an ACK")


def _reset(model: _Model) -> Send:
    off = model.random.choice([1, 1000, -1, -1000, FAR_OFF])
    flags = model.random.choice(["R", "R."])
    return Send(flags, model.nxt + off, 0, model.sent, why="a reset that is not at RCV.NXT")


def _exact_reset(model: _Model) -> Send:
    return Send(model.random.choice(["R", "R."]), model.nxt, 0, model.sent, why="a reset at RCV.NXT")


def _syn(model: _Model) -> Send:
    seq = model.random.choice([0, model.nxt, model.nxt + 1000, model.nxt + FAR_OFF, model.nxt - 1])
    flags = model.random.choice(["S", "S."])
    return Send(flags, seq, 0, model.sent, why="a SYN on a synchronized connection")


def _fin(model: _Model) -> Send:
    early = model.random.random() < 0.3
    last = max([model.nxt, *(end for _, end in model.islands)])  # an honest guest's end is behind all its bytes
    start, length = last + (500 if early else 0), model.random.choice([0, 0, 100])
    if model.fin_at is None and not early and not model.islands:
        model.take(start, start + length + 1)
        model.fin_at = start + length
    return Send("F.", start, length, model.sent, why="a FIN")


def _keepalive(model: _Model) -> Send:
    return Send(".", model.nxt - 1, model.random.choice([0, 1]) if model.nxt > 1 else 0, model.sent, why="a keepalive")


def _old_stamp(model: _Model) -> Send:
    length = model.random.choice([0, 100])
    return Send(".", model.nxt, length, model.sent, stamp=100_000, why="an old timestamp")


def _no_stamp(model: _Model) -> Send:
    return Send(".", model.nxt, 0, model.sent, stamp=None, why="no timestamp")


def _write(model: _Model) -> Step:
    length = model.random.choice([1, 100, 1460, 3000])
    if model.finished or model.written + length > 6000:  # within ten segments however they are cut (RFC 6928)
        return Read()
    model.written += length
    return Write(length)


def _read(model: _Model) -> Read:
    return Read()


def _finish(model: _Model) -> Step:
    if model.finished:
        return Read()
    model.finished = True
    return Finish()
