"""The far side of a flow, as the protocols see it: calls that the edge implements with sockets.

The core makes no system call; it calls these.  `socket` is the edge's own object, opaque here.  A flow served by a
Python handler has no socket: its two byte queues are read and written through the core instead.
"""

from pyslirp.engine.base.ints cimport Addr, i64, u8, u16
from pyslirp.engine.base.piece cimport Piece

cdef struct HostOps:
    void *ctx                   # borrowed; first argument of each call
    # Bytes taken (>= 0; fewer than offered: wait for `writable`), or -errno.
    i64 (*send)(void *ctx, void *socket, const Piece *pieces, int count) noexcept nogil
    # Bytes read; 0 at the end of the stream; -errno (-EAGAIN: wait for `readable`).
    i64 (*recv)(void *ctx, void *socket, const Piece *pieces, int count) noexcept nogil
    # One byte of urgent data (MSG_OOB); as send.
    i64 (*send_urgent)(void *ctx, void *socket, u8 byte) noexcept nogil
    # Is the next byte to be read the urgent one (SIOCATMARK)?
    bint (*at_mark)(void *ctx, void *socket) noexcept nogil
    # What is sent from now on carries this Differentiated Services field (RFC 2474; its lower two bits are 0).
    void (*set_ds)(void *ctx, void *socket, u8 ds) noexcept nogil
    # No more will be sent: shutdown(SHUT_WR).
    void (*finish)(void *ctx, void *socket) noexcept nogil
    # The socket is no longer wanted; abort: the peer is to see a reset (SO_LINGER 0).  `socket` is dead afterwards.
    void (*close)(void *ctx, void *socket, bint abort) noexcept nogil
    # Datagrams to `address`:`port`, a piece each, with the guest's TTL and TOS: how many of them, from the first on, are
    # done with (at least 1: sent, or lost on the way as datagrams are), or the -errno of the first.  source: the address of
    # the host that they leave from; NULL: as the socket is bound, or as the host's routes have it.
    i64 (*send_to)(void *ctx, void *socket, const Addr *source, const Addr *address, u16 port, u8 ttl, u8 tos, const Piece *pieces,
                   int count) noexcept nogil
