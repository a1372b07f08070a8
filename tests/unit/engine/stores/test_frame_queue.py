from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyslirp.engine.stores.frame_queue import _Queue
from tests.oracle import framing

PREFIX = 4


def push(queue: _Queue, frame: bytes) -> bool:
    if not queue.reserve(len(frame)):
        return False
    queue.commit(frame)
    return True


def test_what_waits_is_a_qemu_stream() -> None:
    queue = _Queue(10_000)
    frames = [bytes([value]) * (14 + value) for value in range(20)]
    for frame in frames:
        assert push(queue, frame)
    assert framing.split(queue.waiting()) == framing.Split(frames, b"", None)
    assert queue.frames == 20


def test_a_frame_may_be_shorter_than_its_reservation_or_not_come_at_all() -> None:
    queue = _Queue(10_000)
    assert queue.reserve(1000)
    queue.commit(b"short")
    assert queue.reserve(1000)
    queue.commit(b"")
    assert queue.reserve(1000)  # forgotten by the next
    assert push(queue, b"next")
    assert queue.waiting() == framing.join([b"short", b"next"])
    assert queue.frames == 2


def test_a_reservation_stays_where_it_is_while_the_queue_drains() -> None:
    queue = _Queue(10_000)
    push(queue, bytes(100))
    assert queue.reserve(50)
    queue.wrote(104)
    queue.commit(b"written after the drain")
    assert queue.waiting() == framing.join([b"written after the drain"])


@pytest.mark.parametrize("length", [96, 97, 2**31, 2**32 - 1])
def test_the_limit_counts_prefixes(length: int) -> None:
    queue = _Queue(100)
    assert queue.has_room(96)
    assert queue.has_room(length) == (length <= 96)
    if length > 96:
        assert not queue.reserve(length)
    assert push(queue, bytes(93))
    assert not queue.has_room(1)
    assert not queue.reserve(1)
    queue.wrote(1)
    assert not queue.reserve(1)
    queue.wrote(PREFIX)
    assert push(queue, b"x")


def test_a_partly_written_frame_survives_growth_and_compaction() -> None:
    queue = _Queue(200_000)
    frames = [bytes([value]) * 1000 for value in range(60)]
    sent = b""
    for frame in frames:
        assert push(queue, frame)
        sent += queue.waiting()[:700]
        queue.wrote(700)
    assert queue.partial
    assert sent + queue.waiting() == framing.join(frames)


@pytest.mark.parametrize("written", range(1, PREFIX + 10))
def test_no_front_while_a_write_is_pending(written: int) -> None:
    queue = _Queue(1000)
    push(queue, b"0123456789")
    push(queue, b"second")
    assert queue.front() == b"0123456789"
    queue.wrote(written)
    assert queue.front() is None
    assert (queue.frames, queue.partial) == (2, PREFIX + 10 - written)
    queue.wrote(PREFIX + 10 - written)
    assert queue.front() == b"second"
    assert queue.frames == 1


def test_frames_are_popped_one_by_one() -> None:
    queue = _Queue(1000)
    push(queue, b"one")
    push(queue, b"two")
    queue.pop()
    assert queue.front() == b"two"
    queue.pop()
    queue.pop()
    assert queue.front() is None
    assert (queue.frames, queue.waiting()) == (0, b"")


def test_popping_a_partly_written_frame_drops_its_rest() -> None:
    queue = _Queue(1000)
    push(queue, b"one")
    push(queue, b"two")
    queue.wrote(2)
    queue.pop()
    assert queue.front() == b"two"


def test_memory_goes_back() -> None:
    queue = _Queue(100_000)
    assert queue.room == 0
    push(queue, bytes(50_000))
    assert queue.room >= 50_004
    queue.trim()
    assert queue.room, "not drained yet"
    queue.wrote(50_004)
    assert queue.reserve(10)
    queue.trim()
    assert queue.room, "a reservation is pending"
    queue.commit(b"")
    queue.trim()
    assert queue.room == 0
    push(queue, b"again")
    queue.clear()
    assert (queue.room, queue.frames, queue.waiting()) == (0, 0, b"")


@pytest.mark.parametrize("limit", [0, 3, 4, 5])
def test_the_smallest_limits(limit: int) -> None:
    queue = _Queue(limit)
    assert push(queue, b"x") == (limit >= 5)


def test_memory_stays_within_twice_the_limit() -> None:
    queue = _Queue(40_000)
    for _ in range(300):
        while push(queue, bytes(1460)):
            pass
        queue.wrote(3000)
        assert queue.room <= 80_000


lengths = st.one_of(st.integers(1, 60), st.integers(1, 9_000))


class FrameQueueMachine(RuleBasedStateMachine):
    """A stream link: any mixture of frames in and short writes out."""

    limit = 30_000

    def __init__(self) -> None:
        super().__init__()
        self.queue = _Queue(self.limit)
        self.waiting = b""
        self.ends: list[int] = []  # where each frame in `waiting` ends
        self.reserved: int | None = None
        self.salt = 0

    @rule(length=lengths)
    def reserve(self, length: int) -> None:
        fits = len(self.waiting) + PREFIX + length <= self.limit
        assert self.queue.has_room(length) == fits
        assert self.queue.reserve(length) == fits
        if fits:
            self.reserved = length

    @precondition(lambda self: self.reserved is not None)
    @rule(part=st.floats(0, 1))
    def commit(self, part: float) -> None:
        assert self.reserved is not None
        self.salt = (self.salt + 1) % 256
        frame = bytes([self.salt]) * int(part * self.reserved)
        self.queue.commit(frame)
        if frame:
            self.waiting += framing.join([frame])
            self.ends.append(len(self.waiting))
        self.reserved = None

    @rule(length=st.integers(0, 12_000))
    def wrote(self, length: int) -> None:
        self.queue.wrote(length)
        self.drop(min(length, len(self.waiting)))

    @precondition(lambda self: self.ends)
    @rule()
    def pop(self) -> None:
        self.queue.pop()
        self.drop(self.ends[0])

    @precondition(lambda self: self.reserved is None)
    @rule()
    def trim(self) -> None:
        self.queue.trim()
        assert (self.queue.room == 0) <= (not self.waiting)

    def drop(self, length: int) -> None:
        self.waiting = self.waiting[length:]
        self.ends = [end - length for end in self.ends if end > length]

    @invariant()
    def same(self) -> None:
        assert self.queue.waiting() == self.waiting
        assert self.queue.frames == len(self.ends)
        assert self.queue.room <= 2 * self.limit

    @invariant()
    def front_is_the_first_whole_frame(self) -> None:
        front = self.queue.front()
        if not self.ends or self.queue.partial:
            assert front is None
        else:
            assert front == self.waiting[PREFIX : self.ends[0]]


TestFrameQueue = FrameQueueMachine.TestCase
TestFrameQueue.settings = settings(max_examples=80, stateful_step_count=40)
