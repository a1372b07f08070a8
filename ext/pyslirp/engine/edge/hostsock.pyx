"""The sockets of flows: their table, their life, and what both kinds share.

A HostSocket is the edge's half of a flow.  The core knows it as an opaque pointer, calls it through HostOps
(protocols/target.pxd), and ends it with `close`: nothing else frees one.  The other way round it knows its flow by
handle, so that an event for a flow that has ended finds nothing.

Limits.  A guest cannot take the process's last descriptors: HOST_RESERVED of RLIMIT_NOFILE, as it is when the table is
opened, are not handed out to flows.  Whoever finds the table full, or the kernel out of descriptors or memory, counts
`host.no_descriptors` and refuses the new flow; those that are open go on.

Readiness.  Streams are edge-triggered and stay in the poller as they were added: the connection remembers that there
is something to read or room to write until it has seen EAGAIN or a short read.  Datagram sockets are level-triggered,
so that what is left in the kernel is told again, without a list of our own; one that must not be read for the moment
is silenced (hostdatagram.pyx).
"""

from libc.errno cimport EACCES, EHOSTUNREACH, EMFILE, ENFILE, ENETUNREACH, ENOBUFS, ENOMEM, EPERM, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from pyslirp.engine.base.ints cimport Addr, addr_is4, u8, u16, u32, u64
from pyslirp.engine.base.sys.inet cimport (
    IPPROTO_IP, IPPROTO_IPV6, IPV6_UNICAST_HOPS, IP_BIND_ADDRESS_NO_PORT, IP_TTL)
from pyslirp.engine.base.sys.resource cimport RLIMIT_NOFILE, getrlimit, rlimit
from pyslirp.engine.base.sys.socket cimport (
    AF_INET, AF_INET6, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET, SO_LINGER, bind, getsockopt, linger, setsockopt, socket, socklen_t)
from pyslirp.engine.base.sys.uio cimport iovec
from pyslirp.engine.base.sys.unistd cimport close
from pyslirp.engine.core.flows cimport DENY_HOST, DENY_NET, DENY_PROHIBITED, DENY_RESET
from pyslirp.engine.core.world cimport World
from pyslirp.engine.edge.poller cimport POLL_HOST, Poller, poller_add
from pyslirp.engine.edge.sockaddr cimport SockAddr, sockaddr_put
from pyslirp.engine.stores.slab cimport slab_at, slab_find, slab_free, slab_give, slab_init, slab_span, slab_take

cdef u8 _default_ttl(bint v6) noexcept nogil:
    """What a new socket sends with (net.ipv4.ip_default_ttl, net.ipv6.conf.all.hop_limit)."""
    cdef int ttl = 0, fd = socket(AF_INET6 if v6 else AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
    cdef socklen_t length = sizeof(int)
    if fd < 0:
        return 0                                # unknown: every socket's is set
    getsockopt(fd, IPPROTO_IPV6 if v6 else IPPROTO_IP, IPV6_UNICAST_HOPS if v6 else IP_TTL, &ttl, &length)
    close(fd)
    return <u8>ttl


cdef bint _open_area(ReceiveArea *area) noexcept nogil:
    cdef u32 i
    area.bytes = <u8 *>malloc(<size_t>RECEIVE_BATCH * RECEIVE_STRIDE)
    if area.bytes == NULL:
        return False
    for i in range(<u32>RECEIVE_BATCH):
        area.pieces[i].iov_base = area.bytes + <size_t>i * RECEIVE_STRIDE
        area.pieces[i].iov_len = RECEIVE_BYTES
        area.messages[i].msg_hdr.msg_iov = &area.pieces[i]
        area.messages[i].msg_hdr.msg_iovlen = 1
        area.messages[i].msg_hdr.msg_name = &area.names[i]
        area.messages[i].msg_hdr.msg_control = &area.controls[i]
    return True


cdef int hosts_open(HostSockets *h, World *w, Poller *p) noexcept nogil:
    cdef rlimit descriptors
    cdef u32 most = HOST_SOCKETS_MAX
    memset(h, 0, sizeof(HostSockets))
    if getrlimit(RLIMIT_NOFILE, &descriptors) == 0 and descriptors.rlim_cur < <u64>HOST_SOCKETS_MAX + HOST_RESERVED:
        most = <u32>descriptors.rlim_cur - HOST_RESERVED if descriptors.rlim_cur > HOST_RESERVED else 0
    slab_init(&h.slab, sizeof(HostSocket), most)
    h.world = w
    h.poller = p
    h.ttl_default = _default_ttl(False)
    h.hops_default = _default_ttl(True)
    return 0 if _open_area(&h.area) else ENOMEM


cdef void hosts_close(HostSockets *h) noexcept nogil:
    cdef u32 i
    cdef HostSocket *s
    for i in range(slab_span(&h.slab)):
        s = <HostSocket *>slab_at(&h.slab, i)
        if s != NULL:
            host_close(h, s, not s.finished)
    slab_free(&h.slab)
    free(h.area.bytes)
    h.area.bytes = NULL


cdef HostSocket *host_add(HostSockets *h, int fd, HostKind kind, bint v6, u32 events) noexcept nogil:
    cdef HostSocket *s = <HostSocket *>slab_take(&h.slab)
    if s == NULL:
        return NULL
    if poller_add(h.poller, fd, events, POLL_HOST, s.slab.handle):
        slab_give(&h.slab, s)
        return NULL
    s.fd = fd
    s.kind = <u8>kind
    s.v6 = v6
    s.ttl = host_ttl(h, v6)
    return s


cdef int host_bind(const HostSockets *h, int fd, bint v6) noexcept nogil:
    cdef SockAddr name
    cdef socklen_t length
    cdef int on = 1
    cdef const Addr *source = &h.outbound[1 if v6 else 0]
    if source.q[0] == 0 and source.q[1] == 0:
        return 0
    # The port is chosen by connect(), which needs one that is free towards that peer alone.
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(int))
    length = sockaddr_put(&name, source, 0, v6)
    return errno if bind(fd, &name.any, length) < 0 else 0


cdef HostSocket *host_find(const HostSockets *h, u64 handle) noexcept nogil:
    return <HostSocket *>slab_find(&h.slab, handle)


cdef void host_close(void *hosts, void *socket, bint abort) noexcept nogil:
    cdef HostSockets *h = <HostSockets *>hosts
    cdef HostSocket *s = <HostSocket *>socket
    cdef linger none
    if abort and s.kind == HOST_STREAM:
        none.l_onoff = 1                        # with no time to linger: close() sends a reset and drops what is unsent
        none.l_linger = 0
        setsockopt(s.fd, SOL_SOCKET, SO_LINGER, &none, sizeof(linger))
    host_unstall(h, s)
    if s.fd >= 0:
        close(s.fd)
    slab_give(&h.slab, s)


cdef void host_stall(HostSockets *h, HostSocket *s, u32 port) noexcept nogil:
    if s.stalled:
        return
    s.stalled = <u16>(port + 1)
    s.stalled_before = NULL
    s.stalled_after = h.stalled[port]
    if s.stalled_after != NULL:
        s.stalled_after.stalled_before = s
    h.stalled[port] = s


cdef void host_unstall(HostSockets *h, HostSocket *s) noexcept nogil:
    if not s.stalled:
        return
    if s.stalled_before != NULL:
        s.stalled_before.stalled_after = s.stalled_after
    else:
        h.stalled[s.stalled - 1] = s.stalled_after
    if s.stalled_after != NULL:
        s.stalled_after.stalled_before = s.stalled_before
    s.stalled = 0


cdef bint host_exhausted(int error) noexcept nogil:
    return error == EMFILE or error == ENFILE or error == ENOBUFS or error == ENOMEM


cdef int host_denial(int error) noexcept nogil:
    if error == EACCES or error == EPERM:
        return DENY_PROHIBITED
    if error == ENETUNREACH:
        return DENY_NET
    if error == EHOSTUNREACH:
        return DENY_HOST
    return DENY_RESET
