"""Descriptors with a frame in each read and write: a tap, a SEQPACKET socket.

In.  A tap has no way to read many frames with one call, so they are read one by one, back to back into the area of the
batch, until the kernel has no more.  What then still comes is told again (links are level-triggered).

Out.  One write a frame, of as many pieces as it waits in.  A tap takes every frame at once, as a network card does: its
other end is the guest's own network stack, which works inside our write.  Only a socket is ever full.

A frame that the descriptor refuses (the guest has set its interface down: EIO) is lost as on an Ethernet without a
cable, and counted with the port; the link goes on.  It ends with the interface, or with the peer of a socket.
"""

from libc.errno cimport EAGAIN, EBADF, EBADFD, ECONNRESET, EINTR, ENODEV, ENOTCONN, ENXIO, EPIPE, errno

from pyslirp.engine.base.ints cimport i64, ns_t, u8, u32
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport LINK_REFUSED
from pyslirp.engine.base.sys.uio cimport writev
from pyslirp.engine.base.sys.unistd cimport read, write
from pyslirp.engine.core.port cimport Port
from pyslirp.engine.core.run cimport world_deliver
from pyslirp.engine.core.world cimport World
from pyslirp.engine.edge.iovec cimport iovec_of
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.stores.frame_queue cimport FRONT_PIECES, fq_front, fq_pop


cdef inline bint _is_gone(int error) noexcept nogil:
    """Is it the descriptor that is at its end, rather than this frame?"""
    return error in (EBADF, EBADFD, ENODEV, ENXIO, EPIPE, ECONNRESET, ENOTCONN)


cdef int tap_read(World *w, u32 port, int fd, u8 *area, u32 room, u32 *used, ns_t now) noexcept nogil:
    cdef i64 got
    used[0] = 0
    while room - used[0] >= TAP_FRAME_BYTES:
        got = read(fd, area + used[0], TAP_FRAME_BYTES)
        if got == 0:
            return 0
        if got < 0:
            if errno == EINTR:
                continue
            return errno
        world_deliver(w, port, area + used[0], <u32>got, now)
        used[0] += <u32>got
    return EAGAIN


cdef int tap_write(World *w, u32 port, int fd) noexcept nogil:
    cdef Port *p = &w.ports[port]
    cdef Piece[FRONT_PIECES] frame
    cdef int pieces = fq_front(&p.tx, frame)
    while pieces:
        if (write(fd, frame[0].data, frame[0].length) if pieces == 1 else writev(fd, iovec_of(frame), pieces)) < 0:
            if errno == EINTR:
                continue
            if errno == EAGAIN or _is_gone(errno):
                return errno
            p.tx_dropped += 1
            count(&w.counters, LINK_REFUSED)
        fq_pop(&p.tx)
        pieces = fq_front(&p.tx, frame)
    return 0
