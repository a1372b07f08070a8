"""Frames that wait for a link, back to back, each behind its length in 4 bytes big-endian.

That is QEMU's stream framing (net/socket.c), so a stream link writes what waits as it is with one call; other links
walk it.  A frame is built here, but its payload may stay in the chunks of the stream that it is part of: such a frame
ends in references to pieces of them.  Bounded by `limit`: a full queue is the back-pressure that the flows behind it feel.

A stream link uses fq_waiting and fq_wrote, any other fq_front and fq_pop.  A reservation is made good by fq_commit or
fq_commit_pieces, or forgotten by the next one.
"""

from pyslirp.engine.base.ints cimport u8, u32
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.stores.chunks cimport Chunk, ChunkPiece

cdef enum:
    FRAME_PIECES = 8            # of chunks, in one frame
    FRONT_PIECES = FRAME_PIECES + 1     # of a whole frame: what was built here comes first

# Bytes of a frame that lie in a chunk.
cdef struct FramePiece:
    u8 *data
    Chunk *chunk                # with a reference
    u32 length
    u32 at                      # it comes behind the bytes of `data` up to here

cdef struct FrameQueue:
    u8 *data                    # owned: the bytes that were built here; NULL until the first frame, freed by fq_trim
    u32 head                    # the first of them not yet written
    u32 tail                    # one past the last committed one
    u32 room                    # bytes allocated; grows by doubling up to twice `limit` (see frame_queue.pyx)
    u32 limit                   # named limit of the port: bytes queued, prefixes and all
    u32 frames                  # whole or partly written frames inside
    u32 partial                 # bytes of the first frame still to be written; 0: `head` is at a prefix
    u32 reserved                # bytes behind tail handed out by fq_reserve and not yet committed
    FramePiece *pieces          # owned ring, in the order of the stream
    u32 piece_first             # slot of the first
    u32 piece_count
    u32 piece_room              # slots, a power of two; 0 when there is no ring
    u32 piece_bytes             # in all of them

cdef void fq_init(FrameQueue *q, u32 limit) noexcept nogil
cdef void fq_free(FrameQueue *q) noexcept nogil
# Room for a frame of up to `length` bytes, or NULL when full.
cdef u8 *fq_reserve(FrameQueue *q, u32 length) noexcept nogil
# Room for the first `length` bytes of a frame, behind which come at most FRAME_PIECES pieces of `behind` bytes in all.
cdef u8 *fq_reserve_head(FrameQueue *q, u32 length, u32 behind) noexcept nogil
# It really has `length` bytes (<= reserved; 0: there is none after all).  Writes the prefix.
cdef void fq_commit(FrameQueue *q, u32 length) noexcept nogil
# `length` bytes (> 0) and these pieces, none of them empty: a reference is taken to the chunk of each.
cdef void fq_commit_pieces(FrameQueue *q, u32 length, const ChunkPiece *pieces, int count) noexcept nogil
cdef inline u32 fq_bytes(const FrameQueue *q) noexcept nogil:
    return q.tail - q.head + q.piece_bytes
cdef bint fq_has_room(const FrameQueue *q, u32 length) noexcept nogil    # would fq_reserve succeed (memory permitting)?
# What waits, in order: at most `limit` pieces of it; how many.
cdef int fq_waiting(const FrameQueue *q, Piece *out, int limit) noexcept nogil
cdef void fq_wrote(FrameQueue *q, u32 length) noexcept nogil             # the first `length` bytes of it have left
# The first frame without its prefix: how many pieces (<= FRONT_PIECES), one of a frame that was built here as a whole;
# 0 when there is none, or when it has been written in part.
cdef int fq_front(const FrameQueue *q, Piece *out) noexcept nogil
cdef void fq_pop(FrameQueue *q) noexcept nogil                           # drop the first frame, or what is left of it
cdef void fq_clear(FrameQueue *q) noexcept nogil                         # drop all and give the memory back
cdef void fq_trim(FrameQueue *q) noexcept nogil                          # give the memory of a drained queue back
cdef inline u32 fq_held_bytes(const FrameQueue *q) noexcept nogil:       # that memory, without what is in chunks
    return q.room + q.piece_room * <u32>sizeof(FramePiece)
