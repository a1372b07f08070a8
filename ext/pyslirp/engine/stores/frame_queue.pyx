"""Frames that wait for a link, back to back, each behind its length in 4 bytes big-endian.

    data                head                          tail                            room
    |  gone             |  prefix frame prefix head | prefix frame  |  (prefix) reserved            |
                                                    ^
    pieces              of chunks, by where they come in: |piece|piece|piece|

Goal: a stream link writes everything that waits with one call, and no byte is copied between the buffer of a stream and
that call.  So a frame is built where it will be sent from, as far as there is something to build: its headers, and its
payload where that is short.  A longer payload stays in the chunks that it was received into (stores/chunks), and the
frame has references to them.  A reference holds its chunk, not the queue of bytes: what the guest acknowledges, even
before it was written, and the end of the connection take nothing away from a frame.

What is built here is contiguous, and room at the end is made by moving what waits back to the start of `data`.  That is
done only when at least as much has gone as waits, so that no byte is moved more than once on the average; otherwise the
buffer grows, at most to twice the limit.  With the payload elsewhere it is headers that are moved.

Limits: `limit` counts every byte, wherever it lies, and with it the number of pieces: none is empty, and each frame has
FRAME_PIECES at most.  What the chunks are charged to is a matter of stores/chunks.

State: `partial` tells how much of the first frame is still to go after a short write.  The start of that frame is gone
for good, so only fq_wrote may end it: fq_front shows nothing meanwhile, and no compaction touches what follows head.
A piece that has left in part begins where its rest does.
"""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.endian cimport load32, store32
from pyslirp.engine.base.ints cimport u8, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.stores.chunks cimport (
    CHUNK_BYTES, Chunk, ChunkPiece, ChunkPool, chunk_drop, chunk_hold, chunk_pool_free, chunk_pool_init, chunk_take)

cdef enum:
    PREFIX = 4                  # net/socket.c of QEMU: length of what follows, big-endian
    ROOM_FIRST = 16384          # bytes of the first allocation: a handful of full segments, or many heads
    PIECES_FIRST = 64           # slots of the first ring of pieces


cdef void fq_init(FrameQueue *q, u32 limit) noexcept nogil:
    memset(q, 0, sizeof(FrameQueue))
    q.limit = min(limit, <u32>0x7fffffff)       # twice the limit is still a u32


cdef void fq_free(FrameQueue *q) noexcept nogil:
    _drop_pieces(q)
    free(q.data)
    free(q.pieces)
    fq_init(q, q.limit)


cdef u8 *fq_reserve(FrameQueue *q, u32 length) noexcept nogil:
    if not fq_has_room(q, length) or not _make_room(q, PREFIX + length):
        return NULL
    slirp_assert(q.tail + PREFIX + length <= q.room)
    q.reserved = length
    return q.data + q.tail + PREFIX


cdef u8 *fq_reserve_head(FrameQueue *q, u32 length, u32 behind) noexcept nogil:
    if length > q.limit or behind > q.limit or not fq_has_room(q, length + behind) or not _make_slots(q):
        return NULL
    return fq_reserve(q, length)


cdef void fq_commit(FrameQueue *q, u32 length) noexcept nogil:
    slirp_assert(length <= q.reserved)
    length = min(length, q.reserved)
    q.reserved = 0
    if length == 0:
        return
    store32(q.data + q.tail, length)
    q.tail += PREFIX + length
    q.frames += 1


cdef void fq_commit_pieces(FrameQueue *q, u32 length, const ChunkPiece *pieces, int count) noexcept nogil:
    cdef FramePiece *piece
    cdef u32 start = q.tail, behind = 0
    cdef int i
    slirp_assert(length > 0)
    slirp_assert(q.piece_count + <u32>count <= q.piece_room)
    fq_commit(q, length)
    for i in range(count):
        piece = _piece(q, q.piece_count)
        piece.data = pieces[i].data
        piece.chunk = pieces[i].chunk
        piece.length = <u32>pieces[i].length
        piece.at = q.tail
        chunk_hold(piece.chunk)
        slirp_assert(piece.length > 0)
        behind += piece.length
        q.piece_count += 1
    q.piece_bytes += behind
    store32(q.data + start, length + behind)
    slirp_assert(fq_bytes(q) <= q.limit)


cdef bint fq_has_room(const FrameQueue *q, u32 length) noexcept nogil:
    return <u64>fq_bytes(q) + PREFIX + length <= q.limit


cdef int fq_waiting(const FrameQueue *q, Piece *out, int limit) noexcept nogil:
    return _gather(q, q.head, fq_bytes(q), out, limit)


cdef void fq_wrote(FrameQueue *q, u32 length) noexcept nogil:
    cdef u32 part
    slirp_assert(q.partial <= fq_bytes(q))
    if length >= fq_bytes(q):                   # as a rule all of it
        _drop_pieces(q)
        q.head = q.tail
        q.frames = 0
        q.partial = 0
        length = 0
    while length:
        if q.partial == 0:
            q.partial = PREFIX + load32(q.data + q.head)
        part = min(length, q.partial)
        _advance(q, part)
        q.partial -= part
        length -= part
        if q.partial == 0:
            q.frames -= 1
    slirp_assert((q.frames == 0) == (fq_bytes(q) == 0))
    _rewind(q)


cdef int fq_front(const FrameQueue *q, Piece *out) noexcept nogil:
    if q.frames == 0 or q.partial:
        return 0
    return _gather(q, q.head + PREFIX, load32(q.data + q.head), out, FRONT_PIECES)


cdef void fq_pop(FrameQueue *q) noexcept nogil:
    if q.frames:
        fq_wrote(q, q.partial if q.partial else PREFIX + load32(q.data + q.head))


cdef void fq_clear(FrameQueue *q) noexcept nogil:
    fq_free(q)


cdef void fq_trim(FrameQueue *q) noexcept nogil:
    if fq_bytes(q) == 0 and q.reserved == 0:
        fq_free(q)


# -- the stream of what was built here and what lies in chunks ---------------------------------------------------------

cdef inline FramePiece *_piece(const FrameQueue *q, u32 number) noexcept nogil:
    return &q.pieces[(q.piece_first + number) & (q.piece_room - 1)]


cdef int _gather(const FrameQueue *q, u32 at, u32 length, Piece *out, int limit) noexcept nogil:
    """`length` bytes of the stream from `at` in `data` on, no piece being before it; how many pieces."""
    cdef FramePiece *piece = NULL
    cdef u32 number = 0, part
    cdef int count = 0
    while length and count < limit:
        part = length
        if number < q.piece_count:
            piece = _piece(q, number)
            part = min(part, piece.at - at)
        if part:
            out[count].data = q.data + at
            at += part
        else:
            part = min(length, piece.length)
            out[count].data = piece.data
            number += 1
        out[count].length = part
        length -= part
        count += 1
    return count


cdef void _advance(FrameQueue *q, u32 length) noexcept nogil:
    """`length` bytes have left."""
    cdef FramePiece *piece
    cdef u32 part
    while length:
        part = length
        piece = NULL
        if q.piece_count:
            piece = _piece(q, 0)
            part = min(part, piece.at - q.head)
        if part:
            q.head += part
        else:
            part = min(length, piece.length)
            piece.data += part
            piece.length -= part
            q.piece_bytes -= part
            if piece.length == 0:
                chunk_drop(piece.chunk)
                q.piece_first += 1
                q.piece_count -= 1
        length -= part


cdef void _drop_pieces(FrameQueue *q) noexcept nogil:
    cdef u32 i
    for i in range(q.piece_count):
        chunk_drop(_piece(q, i).chunk)
    q.piece_first = 0
    q.piece_count = 0
    q.piece_bytes = 0


# -- memory ------------------------------------------------------------------------------------------------------------

cdef inline void _rewind(FrameQueue *q) noexcept nogil:
    if fq_bytes(q) == 0 and q.reserved == 0:    # a reservation lies behind tail: it must not be moved away from
        q.head = 0
        q.tail = 0


cdef bint _make_room(FrameQueue *q, u32 needed) noexcept nogil:
    """`needed` bytes behind tail; within the limit, as the caller has checked."""
    cdef u32 waiting = q.tail - q.head, i
    cdef u64 room
    cdef u8 *data
    q.reserved = 0
    _rewind(q)
    if needed <= q.room - q.tail:
        return True
    if waiting <= q.head and needed <= q.room - waiting:
        memmove(q.data, q.data + q.head, waiting)
    else:
        room = max(<u64>ROOM_FIRST, <u64>q.room * 2)
        while room < <u64>waiting + needed:
            room *= 2
        room = min(room, <u64>q.limit * 2)
        data = <u8 *>malloc(room)
        if data == NULL:
            return False
        if waiting:
            memcpy(data, q.data + q.head, waiting)
        free(q.data)
        q.data = data
        q.room = <u32>room
    for i in range(q.piece_count):
        _piece(q, i).at -= q.head
    q.head = 0
    q.tail = waiting
    return True


cdef bint _make_slots(FrameQueue *q) noexcept nogil:
    """Slots for the pieces of one more frame."""
    cdef u32 room = max(<u32>PIECES_FIRST, q.piece_room * 2), i
    cdef FramePiece *pieces
    if q.piece_count + FRAME_PIECES <= q.piece_room:
        return True
    pieces = <FramePiece *>malloc(room * sizeof(FramePiece))
    if pieces == NULL:
        return False
    for i in range(q.piece_count):
        pieces[i] = _piece(q, i)[0]
    free(q.pieces)
    q.pieces = pieces
    q.piece_first = 0
    q.piece_room = room
    return True


# -- for tests ---------------------------------------------------------------------------------------------------------

cdef enum:
    PIECES = 4096               # of one look at what waits


@cython.final
cdef class _Queue:
    """A FrameQueue, and a pool of chunks for the pieces of its frames; chunks are known by their address."""

    cdef FrameQueue queue
    cdef ChunkPool pool
    cdef u8 *reserved           # what fq_reserve has last given

    def __cinit__(self, u32 limit):
        fq_init(&self.queue, limit)
        chunk_pool_init(&self.pool, <u64>1 << 30)
        self.reserved = NULL

    def __dealloc__(self):
        fq_free(&self.queue)
        chunk_pool_free(&self.pool)

    def reserve(self, u32 length, u32 behind=0):
        """Reserve and write all over it; False when full.  behind: bytes in pieces."""
        cdef u8 *at = fq_reserve_head(&self.queue, length, behind) if behind else fq_reserve(&self.queue, length)
        if at == NULL:                          # an older reservation stays what it is
            return False
        self.reserved = at
        memset(at, 0xee, length)
        return True

    def chunk(self, bytes data):
        """A chunk that begins with `data`, and a reference to it: to be dropped by drop()."""
        cdef Chunk *chunk = chunk_take(&self.pool)
        if chunk == NULL or len(data) > CHUNK_BYTES:
            raise ValueError("a chunk does not hold that much")
        memcpy(chunk.bytes, <const u8 *>data, len(data))
        return <size_t>chunk

    def drop(self, size_t chunk):
        chunk_drop(<Chunk *>chunk)

    def commit(self, bytes frame, pieces=()):
        """The reserved frame becomes `frame`, and behind it pieces of chunks: (chunk, offset in it, length)."""
        cdef ChunkPiece[FRAME_PIECES] parts
        cdef size_t chunk
        cdef int i
        if <u32>len(frame) > self.queue.reserved or len(pieces) > FRAME_PIECES:
            raise ValueError("more than was reserved")
        if frame:
            memcpy(self.reserved, <const u8 *>frame, len(frame))
        if not pieces:
            fq_commit(&self.queue, len(frame))
            return
        for i in range(len(pieces)):
            chunk = pieces[i][0]
            parts[i].chunk = <Chunk *>chunk
            parts[i].data = (<Chunk *>chunk).bytes + <size_t>pieces[i][1]
            parts[i].length = pieces[i][2]
        fq_commit_pieces(&self.queue, len(frame), parts, len(pieces))

    def has_room(self, u32 length):
        return fq_has_room(&self.queue, length)

    def waiting(self, int limit=PIECES):
        """What a stream link would write, of at most `limit` pieces."""
        cdef Piece[PIECES] pieces
        cdef int count = fq_waiting(&self.queue, pieces, min(limit, <int>PIECES))
        return b"".join([pieces[i].data[:pieces[i].length] for i in range(count)])

    def wrote(self, u32 length):
        fq_wrote(&self.queue, length)

    def front(self):
        cdef Piece[FRONT_PIECES] pieces
        cdef int count = fq_front(&self.queue, pieces)
        return None if count == 0 else b"".join([pieces[i].data[:pieces[i].length] for i in range(count)])

    def pop(self):
        fq_pop(&self.queue)

    def clear(self):
        fq_clear(&self.queue)

    def trim(self):
        fq_trim(&self.queue)

    @property
    def frames(self):
        return self.queue.frames

    @property
    def partial(self):
        return self.queue.partial

    @property
    def room(self):
        return self.queue.room

    @property
    def waiting_bytes(self):
        return fq_bytes(&self.queue)

    @property
    def held_bytes(self):
        return fq_held_bytes(&self.queue)

    @property
    def chunk_bytes(self):
        """Of all chunks that somebody refers to."""
        return self.pool.used_bytes
