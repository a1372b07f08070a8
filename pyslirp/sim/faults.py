"""What may befall frames on their way: stages around a path, each with its own seeded generator.

    path = Loss(Duplicate(Wire(pipe, seed), 0.01, seed), Bernoulli(0.02), seed)

drops two frames in a hundred and doubles one in a hundred of the rest.  `impaired` builds the usual chain from one
`Impairments`.  A stage counts what it has done in `hits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from pyslirp.sim.link import ETH_HEADER_BYTES, Link, Path, Pipe, Wire, mark

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32

Matches = Callable[[bytes], bool]


class LossModel(Protocol):
    """Decides which frames are lost."""

    def lost(self, random: Random, now: int) -> bool:
        """Is the next frame lost?"""


@dataclass
class Bernoulli:
    """Each frame is lost with the same probability, whatever became of the others."""

    probability: float

    def lost(self, random: Random, now: int) -> bool:
        """Is the next frame lost?"""
        del now
        return random.random() < self.probability


@dataclass
class GilbertElliott:
    """Loss in bursts: a good and a bad state, each with its own loss (Gilbert 1960, Elliott 1963).

    The states last for times, not for numbers of frames (exponentially distributed about the given means), so that a
    sender that waits finds the burst over, as on a radio link.
    """

    good_ns: int  #: mean time in the good state
    bad_ns: int  #: and in the bad one
    loss_bad: float = 1.0
    loss_good: float = 0.0
    bad: bool = field(default=True, init=False)
    _until: int = field(default=0, init=False)

    def lost(self, random: Random, now: int) -> bool:
        """Is the next frame lost?"""
        while now >= self._until:
            self.bad = not self.bad
            begin = self._until or now
            self._until = begin + 1 + round(random.expovariate(1 / (self.bad_ns if self.bad else self.good_ns)))
        return random.random() < (self.loss_bad if self.bad else self.loss_good)


class Stage:
    """A path around a path: `through` says what becomes of each frame."""

    def __init__(self, path: Path, seed: str | int = 0) -> None:
        self.path = path
        self.hits = 0  #: frames that it has done something to
        self.random = Random(f"{seed}/{type(self).__name__}")

    def through(self, frame: bytes, now: int) -> Iterable[bytes]:
        """What is handed on of one frame."""
        del now
        return (frame,)

    def push(self, frames: Sequence[bytes], now: int) -> None:
        """Hand on what is left of the frames."""
        self.path.push([kept for frame in frames for kept in self.through(frame, now)], now)

    def due(self, now: int) -> list[bytes]:
        """Take the frames that have arrived by `now`."""
        return self.path.due(now)

    def next_deadline(self) -> int | None:
        """When the next frame arrives."""
        return self.path.next_deadline()


class Loss(Stage):
    """Frames are lost by a model."""

    def __init__(self, path: Path, model: LossModel, seed: str | int = 0) -> None:
        super().__init__(path, seed)
        self.model = model

    def through(self, frame: bytes, now: int) -> Iterable[bytes]:
        """The frame, or nothing."""
        if self.model.lost(self.random, now):
            self.hits += 1
            return ()
        return (frame,)


class Duplicate(Stage):
    """Some frames arrive twice."""

    def __init__(self, path: Path, probability: float, seed: str | int = 0) -> None:
        super().__init__(path, seed)
        self.probability = probability

    def through(self, frame: bytes, now: int) -> Iterable[bytes]:
        """The frame, once or twice."""
        del now
        if self.random.random() < self.probability:
            self.hits += 1
            return (frame, frame)
        return (frame,)


class Corrupt(Stage):
    """In some frames one bit behind the Ethernet header is turned over: a checksum must find it.

    The Ethernet header is spared: its FCS, which no link of ours carries, would have been checked before.
    """

    def __init__(self, path: Path, probability: float, seed: str | int = 0) -> None:
        super().__init__(path, seed)
        self.probability = probability

    def through(self, frame: bytes, now: int) -> Iterable[bytes]:
        """The frame, or a frame with one wrong bit."""
        del now
        if len(frame) <= ETH_HEADER_BYTES or self.random.random() >= self.probability:
            return (frame,)
        self.hits += 1
        wrong = bytearray(frame)
        wrong[self.random.randrange(ETH_HEADER_BYTES, len(frame))] ^= 1 << self.random.randrange(8)
        return (bytes(wrong),)


class Mark(Stage):
    """Some frames are marked as a congested router does, where their sender takes part (RFC 3168)."""

    def __init__(self, path: Path, probability: float, seed: str | int = 0) -> None:
        super().__init__(path, seed)
        self.probability = probability

    def through(self, frame: bytes, now: int) -> Iterable[bytes]:
        """The frame, marked or not."""
        del now
        marked = mark(frame) if self.random.random() < self.probability else None
        self.hits += marked is not None
        return (marked or frame,)


@dataclass(frozen=True, slots=True)
class Outage:
    """Between two times, frames that match are lost: "at 3 s drop SYN,ACKs for 500 ms"."""

    begin_ns: int
    end_ns: int
    matches: Matches = lambda _: True
    most: int | None = None  #: at most so many frames; None: all


class Outages(Stage):
    """Scheduled losses."""

    def __init__(self, path: Path, outages: Iterable[Outage]) -> None:
        super().__init__(path)
        self._left = [(outage, outage.most) for outage in outages]

    def through(self, frame: bytes, now: int) -> Iterable[bytes]:
        """The frame, or nothing."""
        for index, (outage, left) in enumerate(self._left):
            if outage.begin_ns <= now < outage.end_ns and left != 0 and outage.matches(frame):
                self._left[index] = (outage, None if left is None else left - 1)
                self.hits += 1
                return ()
        return (frame,)


class Tap(Stage):
    """Shows every frame to somebody, before what follows on the path befalls it."""

    def __init__(self, path: Path, see: Callable[[bytes, int], None]) -> None:
        super().__init__(path)
        self._see = see

    def through(self, frame: bytes, now: int) -> Iterable[bytes]:
        """The frame as it is."""
        self.hits += 1
        self._see(frame, now)
        return (frame,)


def tcp_flags(frame: bytes) -> int | None:
    """The flags of an IPv4 TCP segment in `frame`; None for anything else."""
    at = ETH_HEADER_BYTES + (frame[ETH_HEADER_BYTES] & 15) * 4 if len(frame) > ETH_HEADER_BYTES + 20 else 0
    if not at or frame[12:14] != b"\x08\x00" or frame[23] != 6 or len(frame) < at + 20:
        return None
    return frame[at + 13]


def is_syn_ack(frame: bytes) -> bool:
    """Is it the second segment of a handshake?"""
    flags = tcp_flags(frame)
    return flags is not None and flags & (SYN | ACK) == SYN | ACK


def has_flags(flags: int) -> Matches:
    """Matches TCP segments that have all these flags."""
    return lambda frame: (tcp_flags(frame) or 0) & flags == flags


@dataclass(frozen=True, slots=True)
class Impairments:
    """Everything that can be wrong with one direction, with a fault's chance for each frame."""

    pipe: Pipe = field(default_factory=Pipe)
    loss: float = 0.0
    bursts: tuple[int, int] | None = None  #: GilbertElliott's times, on top of `loss`
    duplicate: float = 0.0
    corrupt: float = 0.0
    outages: tuple[Outage, ...] = ()
    mark: float = 0.0

    def path(self, seed: str | int) -> Path:
        """The chain of stages: outages, loss, bursts, corruption, duplication, marks, wire."""
        path: Path = Wire(self.pipe, seed)
        if self.mark:
            path = Mark(path, self.mark, seed)
        if self.duplicate:
            path = Duplicate(path, self.duplicate, seed)
        if self.corrupt:
            path = Corrupt(path, self.corrupt, seed)
        if self.bursts is not None:
            path = Loss(path, GilbertElliott(*self.bursts), f"{seed}/bursts")
        if self.loss:
            path = Loss(path, Bernoulli(self.loss), seed)
        return Outages(path, self.outages) if self.outages else path


def impaired(both: Impairments, seed: str | int, *, back: Impairments | None = None) -> Link:
    """A link whose directions suffer alike but not in step; back: from b to a, where it differs."""
    return Link(both.path(f"{seed}/there"), (back or both).path(f"{seed}/back"))
