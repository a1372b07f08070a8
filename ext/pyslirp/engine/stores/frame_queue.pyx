"""Frames that wait for a link, back to back, each behind its length in 4 bytes big-endian.

    data                head                          tail                            room
    |  gone             |  prefix frame prefix frame  |  (prefix) reserved            |

Goal: a stream link writes everything between head and tail with one call, and a frame is built where it will be sent
from.  So frames are contiguous, and room at the end is made by moving what waits back to the start of the buffer.  That
is done only when at least as much has gone as waits, so that no byte is moved more than once on the average; otherwise
the buffer grows, at most to twice the limit.

State: `partial` tells how much of the first frame is still to go after a short write.  The start of that frame is gone
for good, so only fq_wrote may end it: fq_front shows nothing meanwhile, and no compaction touches what follows head.
"""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.endian cimport load32, store32
from pyslirp.engine.base.ints cimport u8, u32, u64

cdef enum:
    PREFIX = 4                  # net/socket.c of QEMU: length of what follows, big-endian
    ROOM_FIRST = 16384          # bytes of the first allocation: a handful of full segments


cdef void fq_init(FrameQueue *q, u32 limit) noexcept nogil:
    q.data = NULL
    q.head = 0
    q.tail = 0
    q.room = 0
    q.limit = min(limit, <u32>0x7fffffff)       # twice the limit is still a u32
    q.frames = 0
    q.partial = 0
    q.reserved = 0


cdef void fq_free(FrameQueue *q) noexcept nogil:
    free(q.data)
    fq_init(q, q.limit)


cdef u8 *fq_reserve(FrameQueue *q, u32 length) noexcept nogil:
    if not fq_has_room(q, length) or not _make_room(q, PREFIX + length):
        return NULL
    slirp_assert(q.tail + PREFIX + length <= q.room)
    q.reserved = length
    return q.data + q.tail + PREFIX


cdef void fq_commit(FrameQueue *q, u32 length) noexcept nogil:
    slirp_assert(length <= q.reserved)
    length = min(length, q.reserved)
    q.reserved = 0
    if length == 0:
        return
    store32(q.data + q.tail, length)
    q.tail += PREFIX + length
    q.frames += 1


cdef bint fq_has_room(const FrameQueue *q, u32 length) noexcept nogil:
    return <u64>fq_bytes(q) + PREFIX + length <= q.limit


cdef void fq_wrote(FrameQueue *q, u32 length) noexcept nogil:
    cdef u32 part
    slirp_assert(q.partial <= fq_bytes(q))
    length = min(length, fq_bytes(q))
    while length:
        if q.partial == 0:
            q.partial = PREFIX + load32(q.data + q.head)
        part = min(length, q.partial)
        q.head += part
        q.partial -= part
        length -= part
        if q.partial == 0:
            q.frames -= 1
    slirp_assert((q.frames == 0) == (q.head == q.tail))
    _rewind(q)


cdef const u8 *fq_front(const FrameQueue *q, u32 *length) noexcept nogil:
    if q.frames == 0 or q.partial:
        return NULL
    length[0] = load32(q.data + q.head)
    return q.data + q.head + PREFIX


cdef void fq_pop(FrameQueue *q) noexcept nogil:
    if q.frames:
        fq_wrote(q, q.partial if q.partial else PREFIX + load32(q.data + q.head))


cdef void fq_clear(FrameQueue *q) noexcept nogil:
    fq_free(q)


cdef void fq_trim(FrameQueue *q) noexcept nogil:
    if q.head == q.tail and q.reserved == 0:
        fq_free(q)


cdef inline void _rewind(FrameQueue *q) noexcept nogil:
    if q.head == q.tail and q.reserved == 0:    # a reservation lies behind tail: it must not be moved away from
        q.head = 0
        q.tail = 0


cdef bint _make_room(FrameQueue *q, u32 needed) noexcept nogil:
    """`needed` bytes behind tail; within the limit, as the caller has checked."""
    cdef u32 waiting = fq_bytes(q)
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
    q.head = 0
    q.tail = waiting
    return True


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Queue:
    """A FrameQueue."""

    cdef FrameQueue queue
    cdef u8 *reserved           # what fq_reserve has answered last

    def __cinit__(self, u32 limit):
        fq_init(&self.queue, limit)
        self.reserved = NULL

    def __dealloc__(self):
        fq_free(&self.queue)

    def reserve(self, u32 length):
        """Reserve and write all over it; False when full."""
        self.reserved = fq_reserve(&self.queue, length)
        if self.reserved == NULL:
            return False
        memset(self.reserved, 0xee, length)
        return True

    def commit(self, bytes frame):
        """The reserved frame becomes `frame`."""
        if <u32>len(frame) > self.queue.reserved:
            raise ValueError("more than was reserved")
        if frame:
            memcpy(self.reserved, <const u8 *>frame, len(frame))
        fq_commit(&self.queue, len(frame))

    def has_room(self, u32 length):
        return fq_has_room(&self.queue, length)

    def waiting(self):
        """What a stream link would write."""
        return self.queue.data[self.queue.head:self.queue.tail] if self.queue.data != NULL else b""

    def wrote(self, u32 length):
        fq_wrote(&self.queue, length)

    def front(self):
        cdef u32 length = 0
        cdef const u8 *frame = fq_front(&self.queue, &length)
        return None if frame == NULL else frame[:length]

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
