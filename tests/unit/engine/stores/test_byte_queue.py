from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyslirp.engine.stores.byte_queue import _Queue
from pyslirp.engine.stores.chunks import _Pool
from tests.oracle.byte_queue import Stream

CHUNK = 16384
RING_KEPT = 8
RING_MAX = 65536
PLENTY = 2**30
EVERYTHING = 2**64 - 1
PATTERN = bytes(range(251)) * 600  # a prime period: no shift by a chunk goes unseen


def piece(length: int, salt: int = 0) -> bytes:
    return PATTERN[salt : salt + length]


def content(queue: _Queue) -> bytes:
    return b"".join(queue.peek(queue.head, EVERYTHING))


# -- one thing at a time -----------------------------------------------------------------------------------------------


def test_an_idle_queue_holds_nothing() -> None:
    queue = _Queue(PLENTY)
    assert (queue.held, queue.slots, queue.used_bytes) == (0, 0, 0)
    assert queue.append(b"hello") == 5
    assert (queue.held, queue.used_bytes) == (1, CHUNK)
    queue.consume(5)
    assert (queue.held, queue.used_bytes, queue.head, queue.tail) == (0, 0, 5, 5)
    assert queue.slots <= RING_KEPT


def test_a_large_ring_is_given_back_with_its_chunks() -> None:
    queue = _Queue(PLENTY)
    queue.store(40 * CHUNK, b"x")
    assert queue.slots == 64
    assert queue.held == 1
    queue.append(piece(100_000))
    assert queue.held == 8
    for at in range(100_000, 40 * CHUNK, 20_000):
        queue.append(piece(min(20_000, 40 * CHUNK - at)))
    queue.extend(40 * CHUNK + 1)
    queue.consume(EVERYTHING)
    assert (queue.head, queue.held, queue.slots) == (40 * CHUNK + 1, 0, 0)


def test_a_chunk_goes_as_soon_as_its_last_byte_is_consumed() -> None:
    queue = _Queue(PLENTY)
    queue.append(piece(3 * CHUNK))
    for consumed, held in ((CHUNK - 1, 3), (1, 2), (1, 2), (CHUNK - 1, 1)):
        queue.consume(consumed)
        assert queue.held == held


def test_pieces_do_not_cross_chunks_and_are_limited() -> None:
    queue = _Queue(PLENTY)
    queue.append(piece(3 * CHUNK))
    queue.consume(100)
    assert [len(part) for part in queue.peek(100, EVERYTHING)] == [CHUNK - 100, CHUNK, CHUNK]
    assert [len(part) for part in queue.peek(100, EVERYTHING, 2)] == [CHUNK - 100, CHUNK]
    assert queue.peek(CHUNK - 1, 2) == [piece(3 * CHUNK)[CHUNK - 1 : CHUNK], piece(3 * CHUNK)[CHUNK : CHUNK + 1]]


def test_a_piece_may_be_kept_with_a_reference_to_its_chunk() -> None:
    queue, counting = _Queue(PLENTY), _Pool(0)
    queue.append(piece(CHUNK + 100))
    assert queue.peek_chunks(200, CHUNK, 1) == [(piece(CHUNK)[200:], queue.peek_chunks(0, 1)[0][1], 200)]
    (first, one, at), (second, other, start) = queue.peek_chunks(200, EVERYTHING)
    assert [first, second] == queue.peek(200, EVERYTHING)
    assert (at, start) == (200, 0)
    counting.hold(other)
    queue.append(piece(CHUNK)[:100])  # the same chunk is filled on
    assert queue.peek_chunks(CHUNK, EVERYTHING) == [(second + piece(CHUNK)[:100], other, 0)]
    queue.consume(EVERYTHING)
    assert (queue.held, queue.used_bytes) == (0, CHUNK)
    queue.append(b"new")
    assert queue.peek_chunks(queue.head, 3) == [(b"new", one, queue.head % CHUNK)]
    counting.drop(other)
    assert queue.used_bytes == CHUNK


def test_what_is_outside_is_not_readable() -> None:
    queue = _Queue(PLENTY)
    queue.append(b"abcdef")
    queue.consume(2)
    queue.store(10, b"ahead")
    assert queue.peek(0, 3) == [b"c"]
    assert queue.peek(4, 100) == [b"ef"]
    assert queue.peek(6, 1) == []
    assert queue.peek(10, 5) == []
    assert queue.peek(EVERYTHING, EVERYTHING) == []
    assert queue.peek(3, EVERYTHING) == [b"def"]
    assert [part for part, _, _ in queue.peek_chunks(4, 100)] == [b"ef"]
    assert queue.peek_chunks(EVERYTHING, EVERYTHING) == []


def test_bytes_stored_ahead_become_readable_when_the_hole_is_filled() -> None:
    queue = _Queue(PLENTY)
    assert queue.store(20_000, b"world")
    assert (queue.tail, queue.top, queue.held) == (0, 20_005, 1)
    assert queue.append(piece(20_000)) == 20_000
    queue.extend(20_005)
    assert content(queue) == piece(20_000) + b"world"


def test_a_queue_with_bytes_ahead_keeps_them_when_the_front_is_consumed() -> None:
    queue = _Queue(PLENTY)
    queue.store(3, b"def")
    queue.append(b"abc")
    queue.consume(3)
    assert queue.held == 1
    queue.extend(6)
    assert content(queue) == b"def"


def test_bytes_may_go_by_without_being_stored() -> None:
    queue = _Queue(PLENTY)
    queue.pass_by(100 * CHUNK + 1)
    assert queue.head == queue.tail == queue.top == 100 * CHUNK + 1
    assert (queue.held, queue.slots) == (0, 0)
    queue.store(100 * CHUNK + 11, b"ahead")
    queue.pass_by(12)
    assert (queue.held, queue.top - queue.head) == (1, 3)
    queue.extend(queue.top)
    assert content(queue) == b"ead"
    queue.pass_by(5)
    assert content(queue) == b"ead", "bytes that wait are not overtaken"


def test_extend_goes_no_further_than_what_was_stored() -> None:
    queue = _Queue(PLENTY)
    queue.append(b"abc")
    queue.extend(1000)
    assert queue.tail == 3
    queue.extend(1)
    assert queue.tail == 3


def test_bytes_behind_the_head_are_refused() -> None:
    queue = _Queue(PLENTY)
    queue.append(b"abc")
    queue.consume(2)
    assert not queue.store(1, b"xy")
    assert not queue.store(EVERYTHING - 1, b"wrap")
    assert content(queue) == b"c"


def test_the_ring_grows_around_the_wrap() -> None:
    queue = _Queue(PLENTY)
    queue.append(piece(5 * CHUNK))
    queue.consume(5 * CHUNK - 1)
    queue.append(piece(7 * CHUNK))
    assert (queue.slots, queue.held) == (RING_KEPT, 8)
    queue.append(piece(5 * CHUNK, 9))
    assert queue.slots == 2 * RING_KEPT
    assert content(queue) == piece(5 * CHUNK)[-1:] + piece(7 * CHUNK) + piece(5 * CHUNK, 9)


def test_storing_nothing_moves_nothing() -> None:
    queue = _Queue(PLENTY)
    assert queue.store(1000, b"")
    assert (queue.top, queue.held) == (0, 0)
    assert queue.append(b"") == 0
    assert queue.fill(0, b"") == (0, 0)


def test_beyond_the_largest_ring_nothing_is_stored() -> None:
    queue = _Queue(PLENTY)
    assert not queue.store(RING_MAX * CHUNK, b"x")
    assert queue.store(RING_MAX * CHUNK - 1, b"x")
    assert not queue.store(RING_MAX * CHUNK - 1, b"xy")
    queue.free()
    assert (queue.held, queue.slots, queue.used_bytes) == (0, 0, 0)


def test_a_store_that_does_not_fit_stores_nothing_and_keeps_nothing() -> None:
    queue = _Queue(2 * CHUNK)
    assert not queue.store(0, piece(2 * CHUNK + 1))
    assert (queue.top, queue.held, queue.used_bytes) == (0, 0, 0)
    assert queue.append(b"abc") == 3
    assert not queue.store(3, piece(2 * CHUNK))
    assert (queue.top, queue.held) == (3, 1)
    assert content(queue) == b"abc"


def test_append_takes_what_fits() -> None:
    queue = _Queue(2 * CHUNK)
    queue.append(b"abc")
    assert queue.append(piece(3 * CHUNK)) == 2 * CHUNK - 3
    assert queue.append(b"x") == 0
    assert content(queue) == b"abc" + piece(2 * CHUNK - 3)


@pytest.mark.parametrize("committed", [0, 1, CHUNK - 10, CHUNK, 2 * CHUNK, 4 * CHUNK])
def test_room_that_is_not_committed_is_given_back(committed: int) -> None:
    queue = _Queue(PLENTY)
    queue.append(b"0123456789")
    assert queue.fill(4 * CHUNK, piece(committed)) == (4 * CHUNK, committed)
    assert content(queue) == b"0123456789" + piece(committed)
    assert queue.held == -(-(10 + committed) // CHUNK)


def test_room_for_an_empty_queue_is_given_back_whole() -> None:
    queue = _Queue(PLENTY)
    queue.append(piece(100))
    queue.consume(100)
    assert queue.fill(3 * CHUNK, b"") == (3 * CHUNK, 0)
    assert (queue.held, queue.used_bytes) == (0, 0)


def test_room_ends_where_memory_or_pieces_do() -> None:
    queue = _Queue(3 * CHUNK)
    assert queue.fill(10 * CHUNK, b"", 2) == (2 * CHUNK, 0)
    assert queue.fill(10 * CHUNK, piece(5)) == (3 * CHUNK, 5)
    assert queue.fill(10 * CHUNK, b"") == (3 * CHUNK - 5, 0)
    assert queue.held == 1


def test_offsets_far_beyond_32_bits() -> None:
    queue = _Queue(PLENTY)
    for _ in range(400):
        queue.append(piece(100_000))
        queue.consume(100_000)
    assert queue.head == 40_000_000
    assert queue.held == 0


# -- against the twin --------------------------------------------------------------------------------------------------

lengths = st.one_of(st.integers(0, 50), st.sampled_from([1460, CHUNK - 1, CHUNK, CHUNK + 1]), st.integers(0, 3 * CHUNK))
salts = st.integers(0, 250)


class ByteQueueMachine(RuleBasedStateMachine):
    """Any order of operations under a budget that is too small for some of them."""

    limit = 10 * CHUNK

    def __init__(self) -> None:
        super().__init__()
        self.queue = _Queue(self.limit)
        self.stream = Stream()

    @rule(ahead=st.one_of(lengths, st.integers(0, 20 * CHUNK)), length=lengths, salt=salts)
    def store(self, ahead: int, length: int, salt: int) -> None:
        offset, free = self.stream.tail + ahead, self.limit - self.queue.used_bytes
        chunks = (offset + length - 1) // CHUNK - offset // CHUNK + 1 if length else 0
        if self.queue.store(offset, piece(length, salt)):
            self.stream.store(offset, piece(length, salt))
        else:
            assert chunks * CHUNK > free

    @rule(length=lengths, salt=salts)
    def append(self, length: int, salt: int) -> None:
        taken = self.queue.append(piece(length, salt))
        assert taken == length or self.queue.used_bytes == self.limit
        self.stream.append(piece(length, salt)[:taken])

    @rule(room=lengths, length=lengths, salt=salts)
    def fill(self, room: int, length: int, salt: int) -> None:
        got, committed = self.queue.fill(room, piece(length, salt))
        assert committed == min(got, length)
        self.stream.append(piece(committed, salt))
        # What lay ahead in the room handed out is overwritten: nobody asks for room in a queue that stores ahead.
        behind = min(self.stream.tail + got - committed, self.stream.top)
        if behind > self.stream.tail:
            self.stream.store(self.stream.tail, b"\xee" * (behind - self.stream.tail))

    @precondition(lambda self: self.stream.contiguous() > self.stream.tail)
    @rule(part=st.floats(0, 1))
    def extend(self, part: float) -> None:
        tail = self.stream.tail + int(part * (self.stream.contiguous() - self.stream.tail))
        self.queue.extend(tail)
        self.stream.extend(tail)

    @precondition(lambda self: self.stream.head == self.stream.tail)
    @rule(length=lengths)
    def pass_by(self, length: int) -> None:
        self.queue.pass_by(length)
        self.stream.pass_by(length)

    @rule(length=lengths)
    def consume(self, length: int) -> None:
        self.queue.consume(length)
        self.stream.consume(length)

    @rule(offset=lengths, length=lengths)
    def peek(self, offset: int, length: int) -> None:
        at = self.stream.head + offset
        assert b"".join(self.queue.peek(at, length)) == self.stream.read(at, length)

    @invariant()
    def same(self) -> None:
        queue, stream = self.queue, self.stream
        assert (queue.head, queue.tail, queue.top) == (stream.head, stream.tail, stream.top)
        assert content(queue) == stream.read(stream.head, EVERYTHING)

    @invariant()
    def holds_no_more_than_it_must(self) -> None:
        queue = self.queue
        spanned = -(-queue.top // CHUNK) - queue.head // CHUNK if queue.top > queue.head else 0
        assert queue.held <= spanned
        assert queue.used_bytes == queue.held * CHUNK <= self.limit
        assert spanned or queue.slots <= RING_KEPT


TestByteQueue = ByteQueueMachine.TestCase
TestByteQueue.settings = settings(max_examples=60, stateful_step_count=30)
