"""A byte stream by absolute offset: contiguous bytes in front, and room to store bytes ahead of them.

Send buffer and receive buffer of a connection alike.  Offsets are 64 bits and count from 0 at the first byte of the
stream, so nothing wraps.  Bytes live in chunks found through a ring of pointers: O(1) for any offset, no copy on
growth, nothing held when empty.  `tail` is the end of the contiguous bytes; bytes stored ahead of it (out of order)
become readable when the owner, who keeps the ranges, calls bq_extend.
"""

from pyslirp.engine.base.ints cimport u8, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.stores.chunks cimport Chunk, ChunkPiece, ChunkPool

cdef enum:
    RING_KEPT = 8               # slots of the smallest ring of pointers (64 bytes), which an empty queue may keep
    RING_MAX = 65536            # and of the largest: 1 GiB of stream, the largest window that RFC 7323 can announce

cdef struct ByteQueue:
    u64 head                    # offset of the first byte held
    u64 tail                    # one past the last contiguous byte
    u64 top                     # one past the last byte stored, ahead or not; head == top: nothing is held
    u64 room                    # one past what bq_room has handed out; meaningless after bq_commit
    Chunk **chunks              # owned ring of chunks, with a reference each; NULL where nothing is stored
    u32 slots                   # size of the ring, a power of two; 0 when there is none
    u32 held                    # chunks held
    ChunkPool *pool             # borrowed, outlives the queue

cdef void bq_init(ByteQueue *q, ChunkPool *pool) noexcept nogil
cdef void bq_free(ByteQueue *q) noexcept nogil                       # drops everything, gives all back
cdef inline u64 bq_length(const ByteQueue *q) noexcept nogil:
    return q.tail - q.head
# Copy `length` bytes to `offset` (>= head).  True if stored; False, and nothing stored, when out of memory.
cdef bint bq_store(ByteQueue *q, u64 offset, const u8 *data, size_t length) noexcept nogil
# The same at the tail; how many bytes were taken.
cdef size_t bq_append(ByteQueue *q, const u8 *data, size_t length) noexcept nogil
cdef void bq_extend(ByteQueue *q, u64 tail) noexcept nogil           # bytes up to `tail` (<= top) are now contiguous
# `length` bytes went by without being stored (head == tail): both move on.
cdef void bq_pass(ByteQueue *q, u64 length) noexcept nogil
cdef void bq_consume(ByteQueue *q, u64 length) noexcept nogil        # forget from the head; frees chunks
# Readable pieces of [offset, offset+length) within head..tail, at most `limit` of them; returns how many pieces.
cdef int bq_peek(const ByteQueue *q, u64 offset, u64 length, Piece *out, int limit) noexcept nogil
# The same, with the chunks: who takes a reference to them may keep the pieces.  Not for a queue that stores ahead.
cdef int bq_peek_chunks(const ByteQueue *q, u64 offset, u64 length, ChunkPiece *out, int limit) noexcept nogil
# Writable room at the tail, to be filled by one readv: pieces, at most `length` bytes and `limit` pieces.  Then commit.
# (Room that is not committed is given back by bq_commit, so every bq_room is followed by a bq_commit, maybe of 0.)
cdef int bq_room(ByteQueue *q, u64 length, Piece *out, int limit) noexcept nogil
cdef void bq_commit(ByteQueue *q, u64 length) noexcept nogil
