"""Frames that wait for a link, back to back, each behind its length in 4 bytes big-endian.

That is QEMU's stream framing (net/socket.c), so a stream link writes the queue as it is with one write; other links
walk it.  Bounded by `limit`: a full queue is the back-pressure that the flows behind it feel.

A stream link uses fq_wrote, any other fq_front and fq_pop.  A reservation is made good by fq_commit, or forgotten by
the next fq_reserve.
"""

from pyslirp.engine.base.ints cimport u8, u32

cdef struct FrameQueue:
    u8 *data                    # owned; NULL until the first frame, freed by fq_trim when drained
    u32 head                    # first byte not yet written
    u32 tail                    # one past the last committed byte
    u32 room                    # bytes allocated; grows by doubling up to twice `limit` (see frame_queue.pyx)
    u32 limit                   # named limit of the port: bytes queued, prefixes and all
    u32 frames                  # whole or partly written frames inside
    u32 partial                 # bytes of the first frame still to be written; 0: `head` is at a prefix
    u32 reserved                # bytes behind tail handed out by fq_reserve and not yet committed

cdef void fq_init(FrameQueue *q, u32 limit) noexcept nogil
cdef void fq_free(FrameQueue *q) noexcept nogil
# Room for a frame of up to `length` bytes, or NULL when full.
cdef u8 *fq_reserve(FrameQueue *q, u32 length) noexcept nogil
# It really has `length` bytes (<= reserved; 0: there is none after all).  Writes the prefix.
cdef void fq_commit(FrameQueue *q, u32 length) noexcept nogil
cdef inline u32 fq_bytes(const FrameQueue *q) noexcept nogil:
    return q.tail - q.head
cdef bint fq_has_room(const FrameQueue *q, u32 length) noexcept nogil    # would fq_reserve succeed (memory permitting)?
cdef void fq_wrote(FrameQueue *q, u32 length) noexcept nogil             # `length` bytes from head have left
# The first frame without its prefix; NULL when there is none, or when it has been written in part.
cdef const u8 *fq_front(const FrameQueue *q, u32 *length) noexcept nogil
cdef void fq_pop(FrameQueue *q) noexcept nogil                           # drop the first frame, or what is left of it
cdef void fq_clear(FrameQueue *q) noexcept nogil                         # drop all and give the memory back
cdef void fq_trim(FrameQueue *q) noexcept nogil                          # give the memory of a drained queue back
