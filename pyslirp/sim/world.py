"""A world of nodes and links that jumps from one deadline to the next.

A *node* has work and deadlines (`run`, `next_deadline`); an *end* takes and gives frames (`deliver`, `collect`).  A guest
is both; a gateway is one node with an end for each of its ports.  `World` lets everything happen that can happen at one
instant, then advances the clock to the earliest deadline of anyone.  Ten minutes of loss take a moment, and the same
seeds give the same run.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Protocol

from pyslirp.sim.clock import Clock
from pyslirp.sim.link import Link

ROUNDS_MAX = 10_000  #: rounds at one instant; more is an endless loop (two nodes that answer each other without delay)


class Node(Protocol):
    """Something with work of its own."""

    def run(self, now: int) -> None:
        """Do what is due at `now`."""

    def next_deadline(self) -> int | None:
        """When `run` is next wanted, or None."""


class End(Protocol):
    """One end of a link."""

    def deliver(self, frames: list[bytes], now: int) -> None:
        """Frames have arrived."""

    def collect(self) -> list[bytes]:
        """Take the frames that wait to be sent."""


class LivelockError(AssertionError):
    """Nodes keep one another busy without time passing."""


class World:
    """Nodes, links between ends, scheduled actions, one clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.jumps = 0  #: how often the clock was advanced: what an idle world must not do
        self._nodes: list[Node] = []
        self._cables: list[tuple[End, End, Link]] = []
        self._actions: list[tuple[int, int, Callable[[], None]]] = []
        self._scheduled = 0

    @property
    def now(self) -> int:
        """Nanoseconds."""
        return self.clock.now

    def add(self, *nodes: Node) -> None:
        """Nodes to run."""
        self._nodes += nodes

    def connect(self, a: End, b: End, link: Link) -> None:
        """Join two ends."""
        self._cables.append((a, b, link))

    def replace(self, old: Link, new: Link) -> None:
        """Exchange a link; what is under way on the old one is lost.  Raises ValueError where there is no such link."""
        for index, (a, b, link) in enumerate(self._cables):
            if link is old:
                self._cables[index] = (a, b, new)
                return
        raise ValueError("no such link")

    def at(self, when: int, action: Callable[[], None]) -> None:
        """Call `action` when the clock shows `when` (or at once where that is past)."""
        self._scheduled += 1
        heapq.heappush(self._actions, (when, self._scheduled, action))

    # -- running ------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything happen that happens now.  Raises LivelockError where that never ends."""
        for _ in range(ROUNDS_MAX):
            if not self._round():
                return
        raise LivelockError(f"after {ROUNDS_MAX} rounds there is still work at {self.now} ns")

    def _round(self) -> bool:
        """One round; is there more to do at this instant?"""
        now, busy = self.now, False
        while self._actions and self._actions[0][0] <= now:
            heapq.heappop(self._actions)[2]()
            busy = True
        for node in self._nodes:
            node.run(now)
        for a, b, link in self._cables:
            for sender, path, receiver in ((a, link.to_b, b), (b, link.to_a, a)):
                frames = sender.collect()
                if frames:
                    path.push(frames, now)
                arrived = path.due(now)
                if arrived:
                    receiver.deliver(arrived, now)
                busy = busy or bool(frames or arrived)
        due = self.next_deadline()
        return busy or (due is not None and due <= now)

    def next_deadline(self) -> int | None:
        """The earliest deadline of any node, frame or action; None: nothing will ever happen."""
        deadlines = [node.next_deadline() for node in self._nodes]
        for _, _, link in self._cables:
            deadlines += [link.to_a.next_deadline(), link.to_b.next_deadline()]
        if self._actions:
            deadlines.append(self._actions[0][0])
        return min((due for due in deadlines if due is not None), default=None)

    def run_until(self, predicate: Callable[[], bool], limit_ns: int) -> bool:
        """Run until `predicate` holds; False where it does not within `limit_ns`, or nothing more would ever happen."""
        end = self.now + limit_ns
        while True:
            self.settle()
            if predicate():
                return True
            due = self.next_deadline()
            if due is None or due > end:
                self.clock.advance(end)
                return False
            self.clock.advance(due)
            self.jumps += 1

    def run_for(self, duration_ns: int) -> None:
        """Let `duration_ns` pass."""
        self.run_until(lambda: False, duration_ns)
        self.settle()
