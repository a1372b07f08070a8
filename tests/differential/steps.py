"""Random segment sequences: what a guest and an application do, drawn from a seed, the same for every stack.

Numbers are relative: the guest's sequence numbers count from its initial one, its acknowledgments from the stack's.  So a
sequence is a list of plain values that can be replayed, printed and shortened.

Either side opens: the guest, before the first step; or the stack, and then the first steps are the guest's answers to its
SYN, among them a SYN of the guest's own that crosses it (a simultaneous open).

A step is drawn with a model in mind of what a right stack has by then, so that most segments mean something (the next
bytes, a gap, its filling, what came before), and the hostile ones miss by little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

MSS = 1460
FAR_OFF = 200_000_000  #: beyond every window
WINDOW = 65535
GAP_MAX = 20_000  #: within every window
ECT, CE = 2, 3  #: of the IP header's ECN field


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
    mark: int = 0  #: ECN field of the IP header
    urgent: int = 0

    @property
    def end(self) -> int:
        return self.seq + self.length + ("S" in self.flags) + ("F" in self.flags)


@dataclass(frozen=True, slots=True)
class Write:
    """The application writes; urgent: by MSG_OOB."""

    length: int
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """The application reads all there is."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The application will write no more."""


@dataclass(frozen=True, slots=True)
class Icmp:
    """An ICMP error comes, about the stack's segment at `seq`."""

    kind: int
    code: int
    seq: int
    mtu: int = 0  #: of "fragmentation needed"
    why: str = ""


Step = Send | Icmp | Write | Read | Finish


@dataclass(frozen=True, slots=True)
class Case:
    """A connection and what happens on it."""

    seed: int
    sack: bool
    stamps: bool
    scale: int | None
    guest_isn: int
    steps: tuple[Step, ...]
    active: bool = False  #: the stack opens
    ecn: bool = False  #: the guest's SYN asks for it


@dataclass
class _Model:
    """What a right stack has by now."""

    random: Random
    opening: bool = False  #: the stack's SYN has had no good answer
    crossed: bool = False  #: but a SYN
    ecn: bool = False
    acked: int = 1  #: of the stack's bytes, the highest acknowledgment
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
    active = model.opening = random.random() < 0.3
    ecn = model.ecn = not active and random.random() < 0.3
    steps = tuple(_step(model) for _ in range(length))
    return Case(seed, sack, stamps, scale, isn, steps, active, ecn)


def _step(model: _Model) -> Step:
    kinds = OPENING if model.opening else KINDS
    step = model.random.choices(list(kinds), list(kinds.values()))[0](model)
    if isinstance(step, Send) and "." in step.flags and model.acked < step.ack <= model.sent:
        model.acked = step.ack
    return step


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


def _marked(model: _Model) -> Send:
    """Where there is no ECN, a mark means nothing."""
    sent = _in_order(model)
    return replace(sent, mark=model.random.choice([CE, CE, ECT]), why="the next bytes, with a mark")


def _reduced(model: _Model) -> Send:
    sent = _in_order(model)
    return replace(sent, flags="P.W", mark=model.random.choice([ECT, ECT, CE]), why="the next bytes, and CWR")


def _marked_otherwise(model: _Model) -> Send:
    sent = model.random.choice([_early, _old, _plain_ack, _far])(model)
    return replace(sent, mark=CE, why=f"{sent.why}, with a mark")


def _echo(model: _Model) -> Send:
    return Send(".E", model.nxt, 0, model.sent, why="an ACK with ECE")


def _urgent(model: _Model) -> Send:
    sent = _in_order(model)
    pointer = model.random.choice([0, 1, sent.length, sent.length, sent.length + 100, 65535])
    return replace(sent, flags="PU.", urgent=pointer, why="the next bytes, urgent")


def _write_urgent(model: _Model) -> Step:
    step = _write(model)
    return replace(step, urgent=True) if isinstance(step, Write) else step


def _about(model: _Model) -> tuple[int, str]:
    """A number that an ICMP error may speak of."""
    if model.acked < model.sent and model.random.random() < 0.8:
        return model.random.choice([model.acked, model.sent - 1]), "of what is in flight"
    return model.random.choice(
        [model.sent + 1000, model.sent + FAR_OFF, model.acked - 5000]
    ), "of nothing that is in flight"


def _too_big(model: _Model) -> Icmp:
    seq, what = _about(model)
    return Icmp(3, 4, seq, model.random.choice([1400, 1000, 600, 1500, 9000]), f"fragmentation needed {what}")


def _unreachable(model: _Model) -> Icmp:
    seq, what = _about(model)
    kind, code = model.random.choice([(3, 0), (3, 1), (3, 2), (3, 3), (3, 13), (11, 0)])
    return Icmp(kind, code, seq, 0, f"an error {what}")


# -- answers to the stack's SYN ---------------------------------------------------------------------------------------


def _syn_ack(model: _Model) -> Send:
    model.opening = False
    return Send("S.", 0, 0, 1, why="the SYN,ACK")


def _wrong_syn_ack(model: _Model) -> Send:
    return Send("S.", 0, 0, model.random.choice([0, 2, 1000, FAR_OFF]), why="a SYN,ACK of another SYN")


def _crossing(model: _Model) -> Send:
    model.crossed = True
    return Send("S", 0, 0, 0, why="a SYN of its own")


def _opening_ack(model: _Model) -> Send:
    ack = model.random.choice([0, 1, 1, 2, FAR_OFF])
    if model.crossed and ack == 1:
        model.opening = False
    return Send(".", model.random.choice([1, 1, 0]) if not model.crossed else 1, 0, ack, why="an ACK while opening")


def _opening_reset(model: _Model) -> Send:
    flags, ack = model.random.choice([("R", 0), ("R.", 0), ("R.", 1), ("R.", 2)])
    return Send(flags, model.random.choice([0, 1, 1000]), 0, ack, why="a reset while opening")


def _opening_error(model: _Model) -> Icmp:
    kind, code = model.random.choice([(3, 0), (3, 1), (3, 2), (3, 3), (3, 13), (11, 0), (3, 4)])
    return Icmp(kind, code, model.random.choice([0, 0, 77]), 1400, "an error while opening")


def _opening_fin(model: _Model) -> Send:
    return Send("F", 0, 0, 0, why="a FIN without an ACK while opening")


Draw = Callable[[_Model], Step]
OPENING: dict[Draw, float] = {
    _syn_ack: 6,
    _wrong_syn_ack: 1,
    _crossing: 2,
    _opening_ack: 1.5,
    _opening_reset: 0.7,
    _opening_error: 0.7,
    _opening_fin: 0.3,
}
KINDS: dict[Draw, float] = {
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
    _marked: 1,
    _reduced: 0.6,
    _marked_otherwise: 0.5,
    _echo: 0.3,
    _urgent: 0.8,
    _write_urgent: 0.5,
    _too_big: 0.8,
    _unreachable: 0.6,
}
