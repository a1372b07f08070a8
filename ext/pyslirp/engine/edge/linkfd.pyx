"""Links: the descriptors by which guests' frames come and go.

In.  Whatever a link has is read with one call into an area that all links share, cut into frames in place, and
delivered to the core, which may refer to the frames until world_run has worked the batch off.  The start of a frame
whose rest has not come is copied aside (`held`) and put in front of the next read, so a quiet link holds nothing.
Links are level-triggered: what a read has left is told again, and nobody's stream of frames holds up the others for
more than one read.

Out.  After each run what the core has queued for a link is written with one call, from where it lies: the queue has the
framing of the stream already (stores/frame_queue).  When the kernel takes less, the link is `full`: nothing is tried
before the poller has told of room.  Its queue fills, the flows behind it wait (PORT_TX_BYTES), and other links go on.
Once the queue has fallen below half, those flows are let go.

The end.  A length that no frame has, end of file, or an error loses the link: its port is closed, the reason punted
(PUNT_LINK), the half frame forgotten.  A link that is made again is a new port and begins with a clean frame.

Another kind of descriptor is another Framing with its own read and write: edge/tapfd.
"""

from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOMEM, ENOSPC, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from pyslirp.engine.base.ints cimport i64, ns_never, ns_t, u8, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport LINK_BAD_LENGTH, LINK_BROKEN
from pyslirp.engine.base.sys.epoll cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from pyslirp.engine.base.sys.inet cimport IPPROTO_TCP
from pyslirp.engine.base.sys.malloc cimport slirp_malloc_trim
from pyslirp.engine.base.sys.socket cimport (
    MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_STREAM, SOL_SOCKET, SO_TYPE, getsockopt, msghdr, recv, send, sendmsg, setsockopt, socklen_t)
from pyslirp.engine.base.sys.tcp cimport TCP_NODELAY
from pyslirp.engine.base.sys.unistd cimport close
from pyslirp.engine.codecs.framing cimport DEFRAME_BAD, DEFRAME_FRAME, DeframeResult, deframe_stream
from pyslirp.engine.codecs.offload cimport OFFLOAD_BYTES
from pyslirp.engine.core.port cimport PORT_TX_BYTES, PORTS_MAX
from pyslirp.engine.core.punts cimport PUNT_LINK, Punt, punt_add
from pyslirp.engine.core.run cimport world_deliver, world_link_drained
from pyslirp.engine.core.switch cimport port_add, port_remove
from pyslirp.engine.core.world cimport World
from pyslirp.engine.edge.iovec cimport iovec_of
from pyslirp.engine.edge.poller cimport POLL_LINK, Poller, poller_add, poller_change
from pyslirp.engine.edge.tapfd cimport tap_read, tap_write
from pyslirp.engine.stores.chunks cimport CHUNK_KEPT, chunk_pool_trim
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.stores.frame_queue cimport FrameQueue, fq_bytes, fq_held_bytes, fq_trim, fq_waiting, fq_wrote
from pyslirp.engine.stores.slab cimport slab_find, slab_free, slab_give, slab_init, slab_take

# Why a link was lost, as PUNT_LINK has it; else an errno.
cdef enum:
    LOST_END_OF_FILE = 0
    LOST_BAD_LENGTH = -1

cdef enum:
    SEND_PIECES = 1024          # of one call: the most that Linux takes (IOV_MAX)


cdef int links_open(Links *l, World *w, Poller *p) noexcept nogil:
    memset(l, 0, sizeof(Links))
    l.world = w
    l.poller = p
    l.trim_at = ns_never()
    slab_init(&l.slab, sizeof(Link), PORTS_MAX)
    l.area = <u8 *>malloc(READ_AREA_BYTES)
    return 0 if l.area != NULL else ENOMEM


cdef void links_close(Links *l) noexcept nogil:
    cdef u32 port
    for port in range(l.high):
        link_detach(l, port)
    slab_free(&l.slab)
    free(l.area)
    l.area = NULL


cdef inline bint _has_header(Framing framing) noexcept nogil:
    return framing == FRAMING_OFFLOAD or framing == FRAMING_OFFLOAD_UDP


cdef int link_attach(Links *l, int fd, u32 mtu, u32 burst, Framing framing) noexcept nogil:
    cdef int kind = 0, port, error, on = 1
    cdef socklen_t length = sizeof(int)
    cdef Link *link
    if framing == FRAMING_STREAM:
        if getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &length) < 0:
            return -errno
        if kind != SOCK_STREAM:
            return -EINVAL
    if burst == 0 and _has_header(framing):
        burst = LINK_BURST_BYTES
    port = port_add(l.world, mtu, burst)
    if port < 0:
        return -ENOSPC
    link = <Link *>slab_take(&l.slab)
    error = ENOMEM if link == NULL else poller_add(l.poller, fd, EPOLLIN, POLL_LINK, link.slab.handle)
    if error:
        if link != NULL:
            slab_give(&l.slab, link)
        port_remove(l.world, <u32>port)
        return -error
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(int))      # fails where it has no meaning
    link.fd = fd
    link.port = <u32>port
    link.framing = <u8>framing
    if _has_header(framing):
        l.world.ports[port].head_bytes = OFFLOAD_BYTES
        l.world.ports[port].uso = framing == FRAMING_OFFLOAD_UDP
    l.by_port[port] = link
    if l.high <= <u32>port:
        l.high = <u32>port + 1
    return port


cdef void _release(Links *l, u32 port) noexcept nogil:
    l.port_released[port] = True
    l.released = True


cdef bint link_detach(Links *l, u32 port) noexcept nogil:
    cdef Link *link = l.by_port[port] if port < l.high else NULL
    if link == NULL:
        return False
    l.by_port[port] = NULL
    _release(l, port)
    port_remove(l.world, port)
    close(link.fd)
    free(link.held)
    slab_give(&l.slab, link)
    return True


cdef void _lost(Links *l, Link *link, i64 reason, i64 detail) noexcept nogil:
    cdef Punt *punt = punt_add(&l.world.punts, PUNT_LINK, True)
    if punt != NULL:
        punt.link = link.port
        punt.a = reason
        punt.b = detail
    if reason == LOST_BAD_LENGTH:
        count(&l.world.counters, LINK_BAD_LENGTH)
    elif reason != LOST_END_OF_FILE or link.held != NULL:
        count(&l.world.counters, LINK_BROKEN)
    link_detach(l, link.port)


# -- from the guest ---------------------------------------------------------------------------------------------------

cdef i64 _read(Links *l, Link *link) noexcept nogil:
    """What was held and what has come now, at l.area + l.area_used: bytes, 0 at end of file, or -errno."""
    cdef u8 *into = l.area + l.area_used
    cdef i64 got
    while True:
        got = recv(link.fd, into + link.held_bytes, LINK_READ_BYTES - link.held_bytes, MSG_DONTWAIT)
        if got >= 0 or errno != EINTR:
            break
    if got < 0:
        return -errno
    if got == 0:
        return 0
    if link.held != NULL:
        memcpy(into, link.held, link.held_bytes)
        got += link.held_bytes
        free(link.held)
        link.held = NULL
        link.held_bytes = 0
    return got


cdef bint _hold(Link *link, const u8 *data, u32 length) noexcept nogil:
    link.held = <u8 *>malloc(length)
    if link.held == NULL:
        return False
    memcpy(link.held, data, length)
    link.held_bytes = length
    return True


cdef void _deframe(Links *l, Link *link, u32 have, ns_t now) noexcept nogil:
    cdef const u8 *data = l.area + l.area_used
    cdef const u8 *frame
    cdef u32 at = 0, length = 0, used = 0
    cdef DeframeResult result = deframe_stream(data, have, &frame, &length, &used)
    while result == DEFRAME_FRAME:
        world_deliver(l.world, link.port, frame, length, now)
        at += used
        result = deframe_stream(data + at, have - at, &frame, &length, &used)
    l.area_used += at
    if result == DEFRAME_BAD:
        _lost(l, link, LOST_BAD_LENGTH, length)
    elif at < have and not _hold(link, data + at, have - at):
        _lost(l, link, ENOMEM, 0)


cdef void _read_packets(Links *l, Link *link, ns_t now) noexcept nogil:
    cdef u32 used = 0
    cdef int error = tap_read(l.world, link.port, link.fd, l.area + l.area_used, LINK_READ_BYTES, &used, now)
    l.area_used += used
    if error != EAGAIN:
        _lost(l, link, error, 0)


cdef void _readable(Links *l, Link *link, ns_t now) noexcept nogil:
    cdef i64 got
    if link.framing != FRAMING_STREAM:
        _read_packets(l, link, now)
        return
    got = _read(l, link)
    if got > 0:
        _deframe(l, link, <u32>got, now)
    elif got == 0:
        _lost(l, link, LOST_END_OF_FILE, 0)
    elif got != -EAGAIN:
        _lost(l, link, -got, 0)


cdef void link_event(Links *l, u64 handle, u32 events, ns_t now) noexcept nogil:
    cdef Link *link = <Link *>slab_find(&l.slab, handle)
    if link == NULL:
        return
    if events & EPOLLOUT:
        link.full = False                       # written with the others, after the run
    if events & (EPOLLIN | EPOLLHUP | EPOLLERR):
        _readable(l, link, now)


# -- to the guest -----------------------------------------------------------------------------------------------------

cdef void _want_room(Links *l, Link *link, bint wanted) noexcept nogil:
    if link.wants_room != wanted:
        link.wants_room = wanted
        poller_change(l.poller, link.fd, EPOLLIN | (EPOLLOUT if wanted else 0), POLL_LINK, link.slab.handle)


cdef int _send(int fd, FrameQueue *q) noexcept nogil:
    """0, or the errno that has left something in the queue."""
    cdef Piece[SEND_PIECES] pieces
    cdef msghdr message
    cdef i64 sent
    cdef u64 offered
    cdef int n, i
    memset(&message, 0, sizeof(msghdr))
    message.msg_iov = iovec_of(pieces)
    while fq_bytes(q):
        n = fq_waiting(q, pieces, SEND_PIECES)
        offered = 0
        for i in range(n):
            offered += pieces[i].length
        message.msg_iovlen = n
        if n == 1:
            sent = send(fd, pieces[0].data, pieces[0].length, MSG_NOSIGNAL | MSG_DONTWAIT)
        else:
            sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
        if sent >= 0:
            fq_wrote(q, <u32>sent)
            if <u64>sent < offered:
                return EAGAIN
        elif errno != EINTR:
            return errno
    return 0


cdef void _write(Links *l, Link *link, FrameQueue *q) noexcept nogil:
    cdef u32 before = fq_bytes(q)
    cdef int error = _send(link.fd, q) if link.framing == FRAMING_STREAM else tap_write(l.world, link.port, link.fd)
    if error and error != EAGAIN:
        _lost(l, link, error, 0)
        return
    link.full = fq_bytes(q) > 0
    _want_room(l, link, link.full)
    if before > PORT_TX_BYTES // 2 and fq_bytes(q) <= PORT_TX_BYTES // 2:
        world_link_drained(l.world, link.port)
        _release(l, link.port)


cdef void links_write(Links *l, ns_t now) noexcept nogil:
    cdef u32 port
    cdef Link *link
    cdef FrameQueue *q
    for port in range(l.high):
        link = l.by_port[port]
        if link == NULL:
            continue
        q = &l.world.ports[port].tx
        l.world.ports[port].touched = False
        if fq_bytes(q) and not link.full:
            _write(l, link, q)
        if l.trim_at == ns_never() and fq_bytes(q) == 0 and fq_held_bytes(q) > LINK_KEPT_BYTES:
            l.trim_at = now + LINK_IDLE_NS
    if l.trim_at == ns_never() and (l.world.chunks.cached > CHUNK_KEPT or _freed(l) >= FREED_BYTES):
        l.trim_at = now + LINK_IDLE_NS


cdef inline u64 _freed(const Links *l) noexcept nogil:
    """Bytes that were freed and may still be the allocator's."""
    return l.freed_bytes + l.world.chunks.freed_bytes - l.trimmed_bytes


cdef void links_trim(Links *l, ns_t now) noexcept nogil:
    """Give the memory of drained queues back, and chunks that nobody has needed for a while.  A busy link pays with one
    allocation a second.

    What is freed lies between what is not, so the allocator would keep it: at most once a second it is told otherwise.
    """
    cdef u32 port, held
    cdef FrameQueue *q
    if now < l.trim_at:
        return
    l.trim_at = ns_never()
    for port in range(l.high):
        if l.by_port[port] != NULL:
            q = &l.world.ports[port].tx
            held = fq_held_bytes(q)
            fq_trim(q)
            l.freed_bytes += held - fq_held_bytes(q)
    chunk_pool_trim(&l.world.chunks)
    if l.world.chunks.cached > CHUNK_KEPT:
        l.trim_at = now + LINK_IDLE_NS          # in use until now, perhaps no more
    if _freed(l) >= FREED_BYTES:
        l.trimmed_bytes += _freed(l)
        slirp_malloc_trim(0)
