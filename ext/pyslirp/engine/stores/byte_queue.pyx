"""A byte stream by absolute offset: contiguous bytes in front, and room to store bytes ahead of them.

Goal: bytes are copied once in and handed out as pieces for writev; nothing is moved on growth; an idle flow holds no
buffer.  Pieces of a send buffer may outlive the queue's interest in them: frames on their way refer to its chunks
(stores/chunks), in which bq_append and bq_room write behind tail only.

    chunk number n = offset / CHUNK_BYTES, kept at chunks[n mod slots]

             head            tail                          top
    ----------|===============|........|======|.....|=======|--------> stream
      gone     contiguous      hole     ahead  hole  ahead

Invariants: head <= tail <= top <= head's chunk + slots chunks.  A chunk is there where a byte of [head, top) is stored;
a hole may have none.  Between bq_room and bq_commit there are chunks above top as well, up to `room`.  head == top:
no chunk is held, and no ring larger than RING_KEPT.

Limits: RING_MAX (of one queue), the pool's budget (of all).  Which bytes of tail..top are there the owner knows
(stores/ranges); the queue trusts bq_extend but never reads a chunk that is not there.
"""

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.ints cimport u8, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.stores.chunks cimport (
    CHUNK_BYTES, Chunk, ChunkPiece, ChunkPool, chunk_drop, chunk_pool_free, chunk_pool_init, chunk_take,
)


cdef void bq_init(ByteQueue *q, ChunkPool *pool) noexcept nogil:
    q.head = 0
    q.tail = 0
    q.top = 0
    q.room = 0
    q.chunks = NULL
    q.slots = 0
    q.held = 0
    q.pool = pool


cdef void bq_free(ByteQueue *q) noexcept nogil:
    _release(q)
    free(q.chunks)
    q.chunks = NULL
    q.slots = 0
    q.tail = q.head
    q.top = q.head


cdef bint bq_store(ByteQueue *q, u64 offset, const u8 *data, size_t length) noexcept nogil:
    cdef u64 at = offset, end = offset + length
    cdef size_t part
    if offset < q.head or end < offset:
        return False
    while at < end:                             # all memory first: a failure stores nothing
        if _chunk_for(q, at) == NULL:
            _give_back_above_top(q, end)
            return False
        at += _left_in_chunk(at)
    at = offset
    while at < end:
        part = <size_t>min(_left_in_chunk(at), end - at)
        memcpy(_byte_at(q, at), data, part)
        data += part
        at += part
    if length and end > q.top:
        q.top = end
    slirp_assert(_is_sound(q))
    return True


cdef size_t bq_append(ByteQueue *q, const u8 *data, size_t length) noexcept nogil:
    cdef size_t taken = 0, part
    while taken < length:
        if _chunk_for(q, q.tail) == NULL:
            break
        part = <size_t>min(_left_in_chunk(q.tail), <u64>(length - taken))
        memcpy(_byte_at(q, q.tail), data + taken, part)
        taken += part
        q.tail += part
    if q.tail > q.top:
        q.top = q.tail
    slirp_assert(_is_sound(q))
    return taken


cdef void bq_extend(ByteQueue *q, u64 tail) noexcept nogil:
    if tail > q.tail:
        q.tail = min(tail, q.top)


cdef void bq_consume(ByteQueue *q, u64 length) noexcept nogil:
    cdef u64 number = _number(q.head)
    q.head += min(length, q.tail - q.head)
    if q.head == q.top:
        _release(q)
    else:
        while number < _number(q.head):
            _drop_chunk(q, number)
            number += 1
    slirp_assert(_is_sound(q))


cdef void bq_pass(ByteQueue *q, u64 length) noexcept nogil:
    if q.head != q.tail:                        # what is held would come out behind what has passed it
        return
    q.tail += length
    if q.tail > q.top:
        q.top = q.tail
    bq_consume(q, length)


cdef int bq_peek(const ByteQueue *q, u64 offset, u64 length, Piece *out, int limit) noexcept nogil:
    cdef u64 at = max(offset, q.head), end = _end_of(q, offset, length)
    cdef int count = 0
    while at < end and count < limit:
        if q.chunks[_slot(q, at)] == NULL:
            break
        out[count].data = _byte_at(q, at)
        out[count].length = <size_t>min(_left_in_chunk(at), end - at)
        at += out[count].length
        count += 1
    return count


cdef int bq_peek_chunks(const ByteQueue *q, u64 offset, u64 length, ChunkPiece *out, int limit) noexcept nogil:
    cdef u64 at = max(offset, q.head), end = _end_of(q, offset, length)
    cdef int count = 0
    while at < end and count < limit:
        out[count].chunk = q.chunks[_slot(q, at)]
        if out[count].chunk == NULL:
            break
        out[count].data = _byte_at(q, at)
        out[count].length = <size_t>min(_left_in_chunk(at), end - at)
        at += out[count].length
        count += 1
    return count


cdef int bq_room(ByteQueue *q, u64 length, Piece *out, int limit) noexcept nogil:
    cdef u64 at = q.tail, end = q.tail + length
    cdef int count = 0
    while at < end and count < limit:
        if _chunk_for(q, at) == NULL:
            break
        out[count].data = _byte_at(q, at)
        out[count].length = <size_t>min(_left_in_chunk(at), end - at)
        at += out[count].length
        count += 1
    q.room = at
    return count


cdef void bq_commit(ByteQueue *q, u64 length) noexcept nogil:
    q.tail += min(length, q.room - q.tail)
    if q.tail > q.top:
        q.top = q.tail
    _give_back_above_top(q, q.room)
    q.room = q.tail
    slirp_assert(_is_sound(q))


# -- chunks and their ring ---------------------------------------------------------------------------------------------

cdef inline u64 _number(u64 offset) noexcept nogil:
    return offset // <u64>CHUNK_BYTES


cdef inline u64 _left_in_chunk(u64 offset) noexcept nogil:
    return <u64>CHUNK_BYTES - offset % <u64>CHUNK_BYTES


cdef inline u32 _slot(const ByteQueue *q, u64 offset) noexcept nogil:
    return <u32>(_number(offset) & (q.slots - 1))


cdef inline u8 *_byte_at(const ByteQueue *q, u64 offset) noexcept nogil:
    return q.chunks[_slot(q, offset)].bytes + offset % <u64>CHUNK_BYTES


cdef inline u64 _end_of(const ByteQueue *q, u64 offset, u64 length) noexcept nogil:
    """Where [offset, offset + length) ends within what may be read."""
    return offset + length if offset <= q.tail and length < q.tail - offset else q.tail


cdef Chunk *_chunk_for(ByteQueue *q, u64 offset) noexcept nogil:
    """The chunk of `offset` (>= head), made if it is not there; NULL where no memory is to be had."""
    cdef u32 slot
    if _number(offset) - _number(q.head) >= q.slots and not _grow(q, _number(offset) - _number(q.head) + 1):
        return NULL
    slot = _slot(q, offset)
    if q.chunks[slot] == NULL:
        q.chunks[slot] = chunk_take(q.pool)
        if q.chunks[slot] != NULL:
            q.held += 1
    return q.chunks[slot]


cdef bint _grow(ByteQueue *q, u64 needed) noexcept nogil:
    """A ring of at least `needed` slots, with every chunk where it belongs in it."""
    cdef u64 slots = RING_KEPT, number
    cdef Chunk **ring
    cdef u32 i
    if needed > RING_MAX:
        return False
    while slots < needed:
        slots *= 2
    ring = <Chunk **>calloc(slots, sizeof(Chunk *))
    if ring == NULL:
        return False
    for i in range(q.slots):
        number = _number(q.head) + i
        ring[number & (slots - 1)] = q.chunks[number & (q.slots - 1)]
    free(q.chunks)
    q.chunks = ring
    q.slots = <u32>slots
    return True


cdef void _drop_chunk(ByteQueue *q, u64 number) noexcept nogil:
    cdef u32 slot = <u32>(number & (q.slots - 1))
    if q.chunks[slot] != NULL:
        chunk_drop(q.chunks[slot])
        q.chunks[slot] = NULL
        q.held -= 1


cdef void _give_back_above_top(ByteQueue *q, u64 end) noexcept nogil:
    """Undo what was taken for [.., end) but holds no byte."""
    cdef u64 number
    if q.head == q.top:
        _release(q)
        return
    number = _number(q.top + CHUNK_BYTES - 1)
    while number * CHUNK_BYTES < end and number - _number(q.head) < q.slots:
        _drop_chunk(q, number)
        number += 1


cdef bint _is_sound(const ByteQueue *q) noexcept nogil:
    """The invariants at the top of this file, for slirp_assert."""
    if not q.head <= q.tail <= q.top:
        return False
    if q.head == q.top:
        return q.held == 0 and q.slots <= RING_KEPT
    return _number(q.top - 1) - _number(q.head) < q.slots and q.held <= q.slots


cdef void _release(ByteQueue *q) noexcept nogil:
    """Let go of every chunk, and of the ring if it is a large one."""
    cdef u32 slot = 0
    while q.held:
        if q.chunks[slot] != NULL:
            chunk_drop(q.chunks[slot])
            q.chunks[slot] = NULL
            q.held -= 1
        slot += 1
    if q.slots > RING_KEPT:
        free(q.chunks)
        q.chunks = NULL
        q.slots = 0


# -- for tests ---------------------------------------------------------------------------------------------------------

cdef enum:
    PIECES = 64                 # of one peek or room


@cython.final
cdef class _Queue:
    """A ByteQueue over a pool of its own."""

    cdef ChunkPool pool
    cdef ByteQueue queue

    def __cinit__(self, u64 limit_bytes):
        chunk_pool_init(&self.pool, limit_bytes)
        bq_init(&self.queue, &self.pool)

    def __dealloc__(self):
        bq_free(&self.queue)
        chunk_pool_free(&self.pool)

    def store(self, u64 offset, bytes data):
        return bq_store(&self.queue, offset, <const u8 *>data, len(data))

    def append(self, bytes data):
        return bq_append(&self.queue, <const u8 *>data, len(data))

    def extend(self, u64 tail):
        bq_extend(&self.queue, tail)

    def pass_by(self, u64 length):
        bq_pass(&self.queue, length)

    def consume(self, u64 length):
        bq_consume(&self.queue, length)

    def peek(self, u64 offset, u64 length, int limit=PIECES):
        """The readable pieces, as a list of bytes."""
        cdef Piece pieces[PIECES]
        cdef int count = bq_peek(&self.queue, offset, length, pieces, min(limit, <int>PIECES))
        return [pieces[i].data[:pieces[i].length] for i in range(count)]

    def peek_chunks(self, u64 offset, u64 length, int limit=PIECES):
        """The readable pieces, as a list of bytes and where they are: (chunk, offset in it)."""
        cdef ChunkPiece pieces[PIECES]
        cdef int count = bq_peek_chunks(&self.queue, offset, length, pieces, min(limit, <int>PIECES))
        return [(pieces[i].data[:pieces[i].length], <size_t>pieces[i].chunk, pieces[i].data - pieces[i].chunk.bytes)
                for i in range(count)]

    def fill(self, u64 length, bytes data, int limit=PIECES):
        """Ask for room of `length` bytes, fill it with `data` as far as both go, commit that; (room, committed)."""
        cdef Piece pieces[PIECES]
        cdef int count = bq_room(&self.queue, length, pieces, min(limit, <int>PIECES)), i
        cdef size_t room = 0, used = 0, part
        for i in range(count):
            room += pieces[i].length
            part = min(pieces[i].length, len(data) - used)
            memset(pieces[i].data, 0xee, pieces[i].length)
            memcpy(pieces[i].data, <const u8 *>data + used, part)
            used += part
        bq_commit(&self.queue, used)
        return room, used

    def free(self):
        bq_free(&self.queue)

    @property
    def head(self):
        return self.queue.head

    @property
    def tail(self):
        return self.queue.tail

    @property
    def top(self):
        return self.queue.top

    @property
    def held(self):
        return self.queue.held

    @property
    def slots(self):
        return self.queue.slots

    @property
    def used_bytes(self):
        return self.pool.used_bytes
