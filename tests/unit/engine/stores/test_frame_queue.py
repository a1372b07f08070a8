from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyslirp.engine.stores.frame_queue import _Queue
from tests.oracle import framing

PREFIX = 4
CHUNK = 16384
FRAME_PIECES = 8
EVERYTHING = 2**32 - 1
PATTERN = bytes(range(251)) * 66  # a prime period: no shift goes unseen


def push(queue: _Queue, frame: bytes) -> bool:
    if not queue.reserve(len(frame)):
        return False
    queue.commit(frame)
    return True


def push_pieces(queue: _Queue, frame: bytes, *pieces: tuple[int, int, int]) -> bool:
    if not queue.reserve(len(frame), sum(length for _, _, length in pieces)):
        return False
    queue.commit(frame, pieces)
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


# -- frames whose end is in chunks -------------------------------------------------------------------------------------


def test_a_frame_goes_on_in_its_pieces() -> None:
    queue = _Queue(100_000)
    one, other = queue.chunk(PATTERN[:CHUNK]), queue.chunk(b"0123456789")
    assert push(queue, b"before")
    assert push_pieces(queue, b"head", (one, 100, 1000), (other, 3, 4))
    assert push(queue, b"between")
    assert push_pieces(queue, b"again", (one, 1099, 1))
    frames = [b"before", b"head" + PATTERN[100:1100] + b"3456", b"between", b"again" + PATTERN[1099:1100]]
    assert queue.waiting() == framing.join(frames)
    assert (queue.frames, queue.waiting_bytes) == (4, len(framing.join(frames)))
    seen = []
    while (front := queue.front()) is not None:
        seen.append(front)
        queue.pop()
    assert seen == frames
    assert (queue.frames, queue.waiting_bytes) == (0, 0)
    queue.drop(one)
    queue.drop(other)
    assert queue.chunk_bytes == 0


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 11, 19, 40, 41])
def test_short_writes_anywhere_across_pieces(step: int) -> None:
    queue = _Queue(10_000)
    chunk = queue.chunk(b"abcdefghijklmnopqrstuvwxyz")
    assert push_pieces(queue, b"H", (chunk, 0, 3), (chunk, 10, 1), (chunk, 20, 6))
    assert push(queue, b"I")
    assert push_pieces(queue, b"J", (chunk, 5, 2))
    queue.drop(chunk)
    expected = framing.join([b"Habckuvwxyz", b"I", b"Jfg"])
    sent = b""
    while queue.waiting_bytes:
        assert queue.chunk_bytes == (CHUNK if len(sent) < len(expected) else 0)
        sent += queue.waiting()[:step]
        queue.wrote(step)
        assert queue.waiting() == expected[len(sent) :]
    assert sent == expected
    assert (queue.frames, queue.chunk_bytes) == (0, 0)


def test_a_chunk_is_held_until_the_last_frame_of_it_has_left() -> None:
    queue = _Queue(10_000)
    chunk = queue.chunk(b"abc")
    for _ in range(2):
        assert push_pieces(queue, b"head", (chunk, 0, 3))
    queue.drop(chunk)  # acknowledged
    queue.wrote(PREFIX + 4 + 2)
    assert queue.chunk_bytes == CHUNK
    queue.wrote(1)
    assert queue.front() == b"headabc"
    assert queue.chunk_bytes == CHUNK
    queue.pop()
    assert queue.chunk_bytes == 0


@pytest.mark.parametrize("written", [0, 2, 6, 9, 12])
def test_clearing_lets_go_of_chunks(written: int) -> None:
    queue = _Queue(10_000)
    chunk = queue.chunk(b"abcdef")
    push_pieces(queue, b"head", (chunk, 0, 3), (chunk, 3, 3))
    push_pieces(queue, b"head", (chunk, 0, 6))
    queue.drop(chunk)
    queue.wrote(written)
    queue.clear()
    assert (queue.chunk_bytes, queue.held_bytes, queue.frames, queue.waiting()) == (0, 0, 0, b"")


def test_the_end_of_a_queue_lets_go_of_chunks() -> None:
    queue = _Queue(10_000)
    chunk = queue.chunk(b"abcdef")
    push_pieces(queue, b"head", (chunk, 0, 3))
    queue.drop(chunk)
    del queue  # the debug flavour looks for what is left in the pool


def test_a_frame_with_pieces_may_not_come_after_all() -> None:
    queue = _Queue(10_000)
    chunk = queue.chunk(b"abcdef")
    assert queue.reserve(4, 6)
    queue.commit(b"")
    assert queue.reserve(4, 6)
    assert push_pieces(queue, b"next", (chunk, 0, 6))
    queue.drop(chunk)
    assert queue.waiting() == framing.join([b"nextabcdef"])


@pytest.mark.parametrize(("length", "behind"), [(60, 36), (60, 37), (1, EVERYTHING), (EVERYTHING, 1), (2**31, 2**31)])
def test_the_limit_counts_pieces(length: int, behind: int) -> None:
    queue = _Queue(100)
    assert queue.reserve(length, behind) == (length + behind <= 96)
    chunk = queue.chunk(bytes(92))
    assert push_pieces(queue, b"x", (chunk, 0, 90))
    queue.drop(chunk)
    assert not queue.has_room(2)
    assert queue.has_room(1)
    assert not queue.reserve(1, 1)
    queue.wrote(PREFIX)
    assert queue.reserve(1, 1)


def test_what_waits_may_be_looked_at_in_parts() -> None:
    queue = _Queue(10_000)
    chunk = queue.chunk(b"abcdef")
    for _ in range(3):
        push_pieces(queue, b"head", (chunk, 0, 3), (chunk, 3, 3))
    queue.drop(chunk)
    assert [len(queue.waiting(limit)) for limit in range(10)] == [0, 8, 11, 14, 22, 25, 28, 36, 39, 42]


def test_pieces_survive_growth_and_compaction() -> None:
    queue = _Queue(200_000)
    chunk = queue.chunk(PATTERN[:CHUNK])
    frames = [bytes([number]) * 500 + PATTERN[number : number + 600] for number in range(100)]
    sent = b""
    for number, frame in enumerate(frames):
        cuts = [(chunk, number + at, 100) for at in range(0, 600, 100)]
        assert push_pieces(queue, frame[:500], *cuts)
        sent += queue.waiting()[:700]
        queue.wrote(700)
    assert queue.partial
    assert sent + queue.waiting() == framing.join(frames)
    queue.drop(chunk)
    queue.clear()
    assert queue.chunk_bytes == 0


def test_heads_alone_are_moved_and_memory_stays_small() -> None:
    queue = _Queue(1_000_000)
    chunk = queue.chunk(PATTERN[:CHUNK])
    for _ in range(2000):
        while push_pieces(queue, bytes(66), *[(chunk, 0, CHUNK)] * 4):
            pass
        queue.wrote(300_000)
        assert queue.room <= 16_384
        assert queue.held_bytes <= 16_384 + 128 * 24
    queue.drop(chunk)
    queue.trim()
    assert queue.room
    queue.wrote(EVERYTHING)
    queue.trim()
    assert (queue.held_bytes, queue.chunk_bytes) == (0, 0)


lengths = st.one_of(st.integers(1, 60), st.integers(1, 9_000))
cut = st.tuples(st.integers(0, 1), st.integers(0, CHUNK - 1), st.integers(1, 3_000))


class FrameQueueMachine(RuleBasedStateMachine):
    """A stream link: any mixture of frames in, with and without pieces, and short writes out."""

    limit = 30_000

    def __init__(self) -> None:
        super().__init__()
        self.queue = _Queue(self.limit)
        self.content = [PATTERN[:CHUNK], PATTERN[::-1][:CHUNK]]
        self.chunks = [self.queue.chunk(content) for content in self.content]
        self.ours = True  # do we have references of our own to them?
        self.waiting = b""
        self.ends: list[int] = []  # where each frame in `waiting` ends
        self.last = [0, 0]  # where in `waiting` the last piece of each chunk ends
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
            self.append(frame)
        self.reserved = None

    @precondition(lambda self: self.ours)
    @rule(length=st.integers(1, 200), cuts=st.lists(cut, min_size=1, max_size=FRAME_PIECES))
    def push_pieces(self, length: int, cuts: list[tuple[int, int, int]]) -> None:
        self.salt = (self.salt + 1) % 256
        frame = bytes([self.salt]) * length
        cuts = [(which, start, min(length, CHUNK - start)) for which, start, length in cuts]
        behind = sum(length for _, _, length in cuts)
        fits = len(self.waiting) + PREFIX + length + behind <= self.limit
        pieces = [(self.chunks[which], start, length) for which, start, length in cuts]
        assert push_pieces(self.queue, frame, *pieces) == fits
        if fits:
            self.reserved = None
            self.append(frame)
            for which, start, size in cuts:
                self.waiting += self.content[which][start : start + size]
                self.last[which] = len(self.waiting)
            total = length + behind
            at = len(self.waiting) - total - PREFIX
            self.waiting = self.waiting[:at] + total.to_bytes(PREFIX) + self.waiting[at + PREFIX :]
            self.ends[-1] = len(self.waiting)

    @precondition(lambda self: self.ours)
    @rule()
    def let_go(self) -> None:
        self.ours = False
        for chunk in self.chunks:
            self.queue.drop(chunk)

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

    def append(self, frame: bytes) -> None:
        self.waiting += framing.join([frame])
        self.ends.append(len(self.waiting))

    def drop(self, length: int) -> None:
        self.waiting = self.waiting[length:]
        self.ends = [end - length for end in self.ends if end > length]
        self.last = [max(0, end - length) for end in self.last]

    def teardown(self) -> None:
        if self.ours:
            self.let_go()
        self.queue.clear()
        assert self.queue.chunk_bytes == 0

    @invariant()
    def same(self) -> None:
        assert self.queue.waiting() == self.waiting
        assert self.queue.waiting_bytes == len(self.waiting)
        assert self.queue.frames == len(self.ends)
        assert self.queue.room <= 2 * self.limit

    @invariant()
    def front_is_the_first_whole_frame(self) -> None:
        front = self.queue.front()
        if not self.ends or self.queue.partial:
            assert front is None
        else:
            assert front == self.waiting[PREFIX : self.ends[0]]

    @invariant()
    def chunks_are_held_as_long_as_a_piece_of_them_waits(self) -> None:
        assert self.queue.chunk_bytes == sum(CHUNK for end in self.last if self.ours or end)


TestFrameQueue = FrameQueueMachine.TestCase
TestFrameQueue.settings = settings(max_examples=80, stateful_step_count=40)
