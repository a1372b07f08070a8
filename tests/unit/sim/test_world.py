from __future__ import annotations

import pytest

from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.link import Link
from pyslirp.sim.world import LivelockError, World


class Host:
    """Sends what is put into `outbox`, notes what comes, and answers it after `think_ns` if there is an answer."""

    def __init__(self, answer: bytes | None = None, think_ns: int = 0) -> None:
        self.outbox: list[bytes] = []
        self.heard: list[tuple[int, bytes]] = []
        self.runs = 0
        self._answer = answer
        self._think_ns = think_ns
        self._due: int | None = None

    def run(self, now: int) -> None:
        self.runs += 1
        if self._due is not None and self._due <= now and self._answer is not None:
            self._due = None
            self.outbox.append(self._answer)

    def next_deadline(self) -> int | None:
        return self._due

    def deliver(self, frames: list[bytes], now: int) -> None:
        self.heard += [(now, frame) for frame in frames]
        if self._answer is not None:
            self._due = now + self._think_ns

    def collect(self) -> list[bytes]:
        taken, self.outbox = self.outbox, []
        return taken


def pair(asked: Host, delay_ns: int = 10) -> tuple[World, Host]:
    world, asking = World(), Host()
    world.add(asking, asked)
    world.connect(asking, asked, Link.plain(delay_ns=delay_ns))
    return world, asking


def test_it_jumps_from_deadline_to_deadline() -> None:
    world, asking = pair(Host(b"yes", think_ns=5 * SECOND_NS))
    began = world.now
    asking.outbox.append(b"really?")
    assert world.run_until(lambda: bool(asking.heard), 10 * SECOND_NS)
    assert asking.heard == [(began + 5 * SECOND_NS + 20, b"yes")]
    assert world.jumps == 3
    assert asking.runs < 20


def test_what_never_comes_is_not_waited_for_longer_than_said() -> None:
    world, asking = pair(Host())
    began = world.now
    asking.outbox.append(b"really?")
    assert not world.run_until(lambda: bool(asking.heard), SECOND_NS)
    assert world.now == began + SECOND_NS


def test_actions_happen_at_their_time() -> None:
    world, asking = pair(Host(b"yes"))
    began, seen = world.now, list[int]()
    world.at(began + 50, lambda: asking.outbox.append(b"late"))
    world.at(began + 30, lambda: seen.append(world.now))
    world.run_for(SECOND_NS)
    assert seen == [began + 30]
    assert asking.heard == [(began + 70, b"yes")]


def test_a_link_is_replaced() -> None:
    world, asking = World(), Host()
    other = Host()
    world.add(asking, other)
    old, new = Link.plain(delay_ns=10), Link.plain()
    world.connect(asking, other, old)
    asking.outbox.append(b"lost")
    world.settle()
    world.replace(old, new)
    asking.outbox.append(b"kept")
    world.run_for(100)
    assert [frame for _, frame in other.heard] == [b"kept"]
    with pytest.raises(ValueError, match="no such link"):
        world.replace(old, new)


def test_two_that_never_stop_are_stopped() -> None:
    world = World()
    one, other = Host(b"ping"), Host(b"pong")
    world.add(one, other)
    world.connect(one, other, Link.plain())
    one.outbox.append(b"ping")
    with pytest.raises(LivelockError):
        world.settle()
