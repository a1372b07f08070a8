"""TCP flows over the host's sockets: connect, adopt, move bytes, tell the core what is ready.

States of a socket.  `connecting` from a connect() under way until its first event says what came of it; then open.  A
socket of this kind is in the poller once, edge-triggered, for reading, writing and the peer's end; what the edges
mean is remembered by the connection (Tcp.host_readable and the like), so no readiness is asked for twice.

An edge is spent by reading to EAGAIN or until a read is short.  Short is enough because the next byte is a new edge,
with these exceptions, in which the core is told to read on to EAGAIN or the end (HOST_HUP): a FIN or an error whose
edge has come with the bytes; urgent data, at whose mark the kernel ends a read; and unix sockets, where descriptors
that the peer passes along end one.

A unix socket tells of room whenever its peer has read anything, not only after it has been full.  To be spared that,
such a socket is in the poller for writing only while a send has fallen short (`quiet`).

Room.  The kernel sizes a receive buffer by what is read in a round trip, and loopback's is so short that a megabyte is all
it gives.  Such a buffer is always full, and each read of ours sends an ACK that makes the host's sender work, in our time.
Once a read brings BULK_BYTES the buffer is made larger by way of SO_RCVLOWAT: that gives it as much room as is asked for
(tcp_set_rcvlowat, Linux 4.18) and, other than SO_RCVBUF, leaves its sizing to the kernel and knows only tcp_rmem's bound.

A peer that is gone without a word is found by the kernel's keepalive, at the host's own times (net.ipv4.tcp_keepalive_*, after two
hours where nobody has changed them): the guest is answered here, so its own keepalive would never find it.

Traceroute over TCP.  The guest's TTL goes out with the SYN.  Where it is small the error queue is opened, and a "time
exceeded" is passed on to the guest from whoever sent it; otherwise an error of the network is the errno of the connect,
which the core turns into a reset or ICMP.  Once connected, errors of the network are again the kernel TCP's own matter.

An ICMP error enters the error queue of a connect under way, asked for or not, and wakes us before the kernel has set SO_ERROR
(tcp_v4_err, ip_icmp_error; once in some ten thousand).  Only EPOLLOUT without EPOLLHUP is a connection.
"""

from libc.errno cimport EADDRINUSE, EAGAIN, ECONNRESET, EINPROGRESS, EINTR, EINVAL, EMFILE, errno
from libc.string cimport memset

from pyslirp.engine.base.ints cimport Addr, addr_is4, i32, i64, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport HOST_ERROR, HOST_NO_DESCRIPTORS
from pyslirp.engine.base.sys.epoll cimport EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP
from pyslirp.engine.base.sys.inet cimport (
    IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPV6_TCLASS, IPV6_UNICAST_HOPS, IP_TOS, IP_TTL)
from pyslirp.engine.base.sys.ioctl cimport SIOCATMARK, ioctl
from pyslirp.engine.base.sys.socket cimport (
    AF_INET, AF_INET6, AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_OOB, SHUT_WR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM,
    SOL_SOCKET, SO_DOMAIN, SO_ERROR, SO_KEEPALIVE, SO_OOBINLINE, SO_RCVLOWAT, SO_TYPE, connect, getsockopt, msghdr, recv,
    recvmsg, send, sendmsg, setsockopt, shutdown, socket, socklen_t)
from pyslirp.engine.base.sys.tcp cimport TCP_NODELAY
from pyslirp.engine.base.sys.unistd cimport close
from pyslirp.engine.core.run cimport HOST_BROKEN, HOST_HUP, HOST_READABLE, HOST_URGENT, HOST_WRITABLE, world_flow, world_host_ready
from pyslirp.engine.core.streams cimport (
    stream_abort, stream_attach, stream_complain, stream_connected, stream_deny, stream_host_failed, stream_open)
from pyslirp.engine.edge.errqueue cimport HostError, errqueue_enable, errqueue_take
from pyslirp.engine.edge.hostsock cimport (
    HOST_STREAM, HostSocket, HostSockets, host_add, host_bind, host_close, host_denial, host_exhausted, host_ttl, hosts_full)
from pyslirp.engine.edge.iovec cimport iovec_of
from pyslirp.engine.edge.poller cimport POLL_HOST, poller_change, poller_remove
from pyslirp.engine.edge.sockaddr cimport SockAddr, sockaddr_put
from pyslirp.engine.protocols.icmp cimport ICMP_TIME_EXCEEDED
from pyslirp.engine.protocols.tcp.tcb cimport END_UNREACHABLE, Tcp
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.tables.flow cimport FLOW_NEW, GUEST_SIDE, Flow

cdef enum:
    BULK_BYTES = 262144         # of one read: it is a bulk transfer
    ROOM_BYTES = 4194304        # what the kernel is then to keep room for


cdef inline u32 _events(bint quiet) noexcept nogil:
    return EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET | (0 if quiet else EPOLLOUT)


# -- making them ------------------------------------------------------------------------------------------------------

cdef void _set(int fd, int level, int name, int value) noexcept nogil:
    """An option that is good to have; without it the socket serves all the same."""
    setsockopt(fd, level, name, &value, sizeof(int))


cdef void _set_ds(int fd, bint v6, u8 ds) noexcept nogil:
    _set(fd, IPPROTO_IP, IP_TOS, ds)            # one for IPv6 may be connected over IPv4 (mapped)
    if v6:
        _set(fd, IPPROTO_IPV6, IPV6_TCLASS, ds)


cdef void _set_up(int fd) noexcept nogil:
    _set(fd, IPPROTO_TCP, TCP_NODELAY, 1)       # the guest's TCP has done its own waiting (RFC 9293 3.7.4)
    _set(fd, SOL_SOCKET, SO_OOBINLINE, 1)       # an urgent byte stays in the stream (RFC 6093)
    _set(fd, SOL_SOCKET, SO_KEEPALIVE, 1)       # the guest's own probes end here, so ours must go on (RFC 9293 3.8.4)


cdef int _refuse(HostSockets *h, Flow *flow, int error) noexcept nogil:
    """There is no socket for this flow."""
    count(&h.world.counters, HOST_NO_DESCRIPTORS if host_exhausted(error) else HOST_ERROR)
    stream_deny(h.world, flow, host_denial(error))
    return error


cdef int stream_connect(HostSockets *h, Flow *flow, const Addr *to, u16 port, u64 tag) noexcept nogil:
    cdef bint v6 = not addr_is4(to)
    cdef SockAddr name
    cdef socklen_t length = sockaddr_put(&name, to, port, v6)
    cdef HostSocket *s
    cdef int fd, error = 0
    if flow.life != FLOW_NEW:
        return EINVAL
    if hosts_full(h):
        return _refuse(h, flow, EMFILE)
    fd = socket(AF_INET6 if v6 else AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        return _refuse(h, flow, errno)
    _set_up(fd)
    if flow.ttl != host_ttl(h, v6) and flow.ttl:
        _set(fd, IPPROTO_IPV6 if v6 else IPPROTO_IP, IPV6_UNICAST_HOPS if v6 else IP_TTL, flow.ttl)
        if flow.ttl < TRACE_TTL:
            errqueue_enable(fd, v6, True)
    if flow.ds:
        _set_ds(fd, v6, flow.ds)
    error = host_bind(h, fd, v6)
    if not error and connect(fd, &name.any, length) < 0:
        error = errno
    s = host_add(h, fd, HOST_STREAM, v6, _events(False))
    if s == NULL:
        close(fd)
        return _refuse(h, flow, EMFILE)
    s.flow = flow.slab.handle
    s.traced = flow.ttl < TRACE_TTL
    stream_attach(h.world, flow, s, tag)
    if error == EINPROGRESS:
        s.connecting = True
    elif error:
        stream_host_failed(h.world, flow, <i32>error)
    else:
        stream_connected(h.world, flow)
    return 0


cdef HostSocket *_take_over(HostSockets *h, int fd, int *error) noexcept nogil:
    """A stream socket that somebody else has connected or accepted; readiness comes as its first event."""
    cdef int family = 0, kind = 0
    cdef socklen_t length = sizeof(int)
    cdef HostSocket *s
    error[0] = 0
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0
            or getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &length) < 0):
        error[0] = errno
        return NULL
    if kind != SOCK_STREAM:
        error[0] = EINVAL
        return NULL
    s = host_add(h, fd, HOST_STREAM, family == AF_INET6, _events(family == AF_UNIX))
    if s == NULL:
        error[0] = EMFILE
        return NULL
    s.quiet = family == AF_UNIX
    if not s.quiet:
        _set_up(fd)
    return s


cdef int stream_adopt(HostSockets *h, Flow *flow, int fd, u64 tag) noexcept nogil:
    cdef int error
    cdef HostSocket *s
    if flow.life != FLOW_NEW:
        return EINVAL
    s = _take_over(h, fd, &error)
    if s == NULL:
        return _refuse(h, flow, error)
    if flow.ds:
        _set_ds(fd, s.v6, flow.ds)
    s.flow = flow.slab.handle
    flow.awaited = True                         # there may be a command behind it
    stream_attach(h.world, flow, s, tag)
    stream_connected(h.world, flow)
    return 0


cdef int stream_inbound(HostSockets *h, int fd, const Addr *guest, u16 guest_port, const Addr *far, u16 far_port,
                        u64 tag, Flow **made) noexcept nogil:
    cdef int error
    cdef HostSocket *s = _take_over(h, fd, &error)
    if s == NULL:
        count(&h.world.counters, HOST_NO_DESCRIPTORS if host_exhausted(error) else HOST_ERROR)
        return error
    made[0] = stream_open(h.world, guest, guest_port, far, far_port, s, tag)
    if made[0] == NULL:
        poller_remove(h.poller, fd)
        s.fd = -1                               # it stays the caller's
        host_close(h, s, False)
        return EADDRINUSE
    s.flow = made[0].slab.handle
    return 0


# -- what is ready ----------------------------------------------------------------------------------------------------

cdef bint _report_hop(HostSockets *h, HostSocket *s, Flow *flow) noexcept nogil:
    """Did the SYN die on its way?  The guest learns where (RFC 792 time exceeded), and then of nothing else."""
    cdef HostError e
    while errqueue_take(s.fd, &e):
        if e.kind == ICMP_TIME_EXCEEDED and e.told_offender:
            stream_complain(h.world, flow, &e.offender, e.kind, e.code)
            stream_abort(h.world, flow, END_UNREACHABLE, False)
            return True
    return False


cdef bint _connected(HostSockets *h, HostSocket *s, Flow *flow, u32 events) noexcept nogil:
    """An event of a connect under way; False: it has failed, and the socket is gone, or is still under way."""
    cdef int error = 0
    cdef socklen_t length = sizeof(int)
    if events & (EPOLLERR | EPOLLHUP):
        if s.traced and _report_hop(h, s, flow):
            return False
        getsockopt(s.fd, SOL_SOCKET, SO_ERROR, &error, &length)
        if not error and events & EPOLLHUP:
            error = ECONNRESET                  # nothing says why, but it is over
        if error:
            stream_host_failed(h.world, flow, <i32>error)
            return False
        if not events & EPOLLOUT:
            return False                        # EPOLLERR came before its error
    s.connecting = False
    if s.traced:
        s.traced = False
        errqueue_enable(s.fd, s.v6, False)
    stream_connected(h.world, flow)
    return True


cdef void stream_event(HostSockets *h, HostSocket *s, u32 events) noexcept nogil:
    cdef Flow *flow = world_flow(h.world, s.flow)
    cdef u32 what = 0
    if flow == NULL:
        return
    if s.connecting:
        if not events & (EPOLLOUT | EPOLLERR | EPOLLHUP) or not _connected(h, s, flow, events):
            return
    if events & EPOLLIN:
        what |= HOST_READABLE
    if events & EPOLLOUT:
        what |= HOST_WRITABLE
        if s.quiet:
            poller_change(h.poller, s.fd, _events(True), POLL_HOST, s.slab.handle)
    if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI) or s.quiet:
        what |= HOST_HUP
    if events & EPOLLPRI:
        what |= HOST_URGENT
    if events & (EPOLLHUP | EPOLLERR):
        what |= HOST_WRITABLE                   # a send learns of it too
    if events & EPOLLERR:
        what |= HOST_BROKEN                     # where nothing is read or sent, too
    world_host_ready(h.world, flow, what)


# -- HostOps ----------------------------------------------------------------------------------------------------------

cdef inline u64 _total(const Piece *pieces, int count) noexcept nogil:
    cdef u64 total = 0
    cdef int i
    for i in range(count):
        total += pieces[i].length
    return total


cdef i64 stream_send(void *hosts, void *socket, const Piece *pieces, int count) noexcept nogil:
    cdef HostSockets *h = <HostSockets *>hosts
    cdef HostSocket *s = <HostSocket *>socket
    cdef msghdr message
    cdef i64 sent
    memset(&message, 0, sizeof(msghdr))
    message.msg_iov = iovec_of(pieces)
    message.msg_iovlen = count
    while True:
        if count == 1:
            sent = send(s.fd, pieces.data, pieces.length, MSG_NOSIGNAL | MSG_DONTWAIT)
        else:
            sent = sendmsg(s.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
        if sent >= 0 or errno != EINTR:
            break
    if sent < 0:
        sent = -errno
    if s.quiet and (sent == -EAGAIN or (sent >= 0 and <u64>sent < _total(pieces, count))):
        poller_change(h.poller, s.fd, _events(False), POLL_HOST, s.slab.handle)
    return sent


cdef void _make_room(HostSocket *s) noexcept nogil:
    s.roomy = True
    _set(s.fd, SOL_SOCKET, SO_RCVLOWAT, ROOM_BYTES)
    _set(s.fd, SOL_SOCKET, SO_RCVLOWAT, 1)      # the room stays, and every byte is told of


cdef i64 stream_recv(void *hosts, void *socket, const Piece *pieces, int count) noexcept nogil:
    cdef HostSocket *s = <HostSocket *>socket
    cdef msghdr message
    cdef i64 got
    memset(&message, 0, sizeof(msghdr))
    message.msg_iov = iovec_of(pieces)
    message.msg_iovlen = count
    while True:
        if count == 1:
            got = recv(s.fd, pieces.data, pieces.length, MSG_DONTWAIT)
        else:
            got = recvmsg(s.fd, &message, MSG_DONTWAIT)
        if got >= 0:
            if got >= BULK_BYTES and not s.roomy:
                _make_room(s)
            return got
        if errno != EINTR:
            return -errno


cdef i64 stream_send_urgent(void *hosts, void *socket, u8 byte) noexcept nogil:
    cdef i64 sent = send((<HostSocket *>socket).fd, &byte, 1, MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT)
    return sent if sent >= 0 else -errno


cdef bint stream_at_mark(void *hosts, void *socket) noexcept nogil:
    cdef int mark = 0
    return ioctl((<HostSocket *>socket).fd, SIOCATMARK, &mark) == 0 and mark != 0


cdef void stream_set_ds(void *hosts, void *socket, u8 ds) noexcept nogil:
    _set_ds((<HostSocket *>socket).fd, (<HostSocket *>socket).v6, ds)


cdef void stream_finish(void *hosts, void *socket) noexcept nogil:
    (<HostSocket *>socket).finished = True
    shutdown((<HostSocket *>socket).fd, SHUT_WR)
