"""Listening sockets of forwarding rules: what connects to them goes to Python, which knows the rule.

An accepted descriptor travels in a punt (PUNT_INBOUND) and is then Python's, which gives it back with the guest that
it is for (Engine.open_inbound) or closes it.  Nothing is accepted that could not be held: while the table of host
sockets is full, while the queue of punts is full, or while the kernel has no descriptor, connections wait in the
listener's backlog.  A listener is level-triggered; out of descriptors it would be told of the same connection for
ever, so it is paused for ACCEPT_RETRY_NS.
"""

from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENOSPC, EPROTO, errno
from libc.string cimport memset

from pyslirp.engine.base.ints cimport ns_never, ns_t, u32, u64
from pyslirp.engine.base.status cimport HOST_ERROR, HOST_NO_DESCRIPTORS
from pyslirp.engine.base.sys.epoll cimport EPOLLIN
from pyslirp.engine.base.sys.ioctl cimport FIONBIO, ioctl
from pyslirp.engine.base.sys.socket cimport SOCK_CLOEXEC, SOCK_NONBLOCK, accept4, socklen_t
from pyslirp.engine.base.sys.unistd cimport close
from pyslirp.engine.core.punts cimport PUNT_INBOUND, PUNTS_MAX, Punt, punt_add
from pyslirp.engine.core.world cimport World
from pyslirp.engine.edge.hostsock cimport HostSockets, host_exhausted, hosts_full
from pyslirp.engine.edge.poller cimport POLL_LISTENER, Poller, poller_add, poller_remove
from pyslirp.engine.edge.sockaddr cimport SockAddr, sockaddr_get
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.stores.slab cimport slab_at, slab_find, slab_free, slab_give, slab_init, slab_span, slab_take


cdef void listeners_open(Listeners *l, World *w, Poller *p, HostSockets *h) noexcept nogil:
    memset(l, 0, sizeof(Listeners))
    l.world = w
    l.poller = p
    l.hosts = h
    l.retry_at = ns_never()
    slab_init(&l.slab, sizeof(Listener), LISTENERS_MAX)


cdef void listeners_close(Listeners *l) noexcept nogil:
    cdef u32 i
    cdef Listener *listener
    for i in range(slab_span(&l.slab)):
        listener = <Listener *>slab_at(&l.slab, i)
        if listener != NULL:
            listener_detach(l, listener.slab.handle)
    slab_free(&l.slab)


cdef int listener_attach(Listeners *l, int fd, u64 token, u64 *handle) noexcept nogil:
    cdef Listener *listener = <Listener *>slab_take(&l.slab)
    cdef int error, on = 1
    if listener == NULL:
        return ENOSPC
    error = errno if ioctl(fd, FIONBIO, &on) < 0 else 0         # accept() has no MSG_DONTWAIT
    if not error:
        error = poller_add(l.poller, fd, EPOLLIN, POLL_LISTENER, listener.slab.handle)
    if error:
        slab_give(&l.slab, listener)
        return error
    listener.fd = fd
    listener.token = token
    handle[0] = listener.slab.handle
    return 0


cdef bint listener_detach(Listeners *l, u64 handle) noexcept nogil:
    cdef Listener *listener = <Listener *>slab_find(&l.slab, handle)
    if listener == NULL:
        return False
    close(listener.fd)
    slab_give(&l.slab, listener)
    return True


cdef void _pause(Listeners *l, Listener *listener, int error, ns_t now) noexcept nogil:
    count(&l.world.counters, HOST_NO_DESCRIPTORS if host_exhausted(error) else HOST_ERROR)
    poller_remove(l.poller, listener.fd)        # not merely silenced: an error would be told all the same
    listener.paused = True
    if l.retry_at == ns_never():
        l.retry_at = now + ACCEPT_RETRY_NS


cdef bint _accept(Listeners *l, Listener *listener, ns_t now) noexcept nogil:
    """One connection; False: there is none, or it has to wait."""
    cdef SockAddr name
    cdef socklen_t length = sizeof(SockAddr)
    cdef Punt *punt
    cdef int fd
    memset(&name, 0, sizeof(SockAddr))
    fd = accept4(listener.fd, &name.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd < 0:
        if errno == EINTR or errno == ECONNABORTED or errno == EPROTO:
            return True                         # that one is gone; the next may be there
        if errno != EAGAIN:
            _pause(l, listener, errno, now)
        return False
    punt = punt_add(&l.world.punts, PUNT_INBOUND, True)
    if punt == NULL:
        close(fd)
        return False
    punt.flow = listener.token
    punt.a = fd
    sockaddr_get(&name, &punt.key.far, &punt.key.far_port)      # of a unix socket: nobody
    return True


cdef void listener_event(Listeners *l, u64 handle, ns_t now) noexcept nogil:
    cdef Listener *listener = <Listener *>slab_find(&l.slab, handle)
    cdef int i
    if listener == NULL:
        return
    if hosts_full(l.hosts):
        _pause(l, listener, EMFILE, now)
        return
    for i in range(ACCEPT_BATCH):
        if l.world.punts.count >= PUNTS_MAX or not _accept(l, listener, now):
            return


cdef void listeners_retry(Listeners *l, ns_t now) noexcept nogil:
    cdef u32 i
    cdef Listener *listener
    if now < l.retry_at:
        return
    l.retry_at = ns_never()
    for i in range(slab_span(&l.slab)):
        listener = <Listener *>slab_at(&l.slab, i)
        if listener != NULL and listener.paused:
            listener.paused = poller_add(l.poller, listener.fd, EPOLLIN, POLL_LISTENER, listener.slab.handle) != 0
