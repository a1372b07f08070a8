"""Listening sockets of forwarding rules: what connects to them goes to Python, which knows the rule."""

from pyslirp.engine.base.ints cimport ns_t, u64
from pyslirp.engine.core.world cimport World
from pyslirp.engine.edge.hostsock cimport HostSockets
from pyslirp.engine.edge.poller cimport Poller
from pyslirp.engine.stores.slab cimport Slab, SlabHead

cdef enum:
    LISTENERS_MAX = 4096
    ACCEPT_BATCH = 64           # connections accepted from one listener before others have their turn
    ACCEPT_RETRY_NS = 100000000 # after the kernel had no descriptor for us

cdef struct Listener:
    SlabHead slab
    int fd                      # owned
    u64 token                   # of the rule, for PUNT_INBOUND
    bint paused                 # out of descriptors: not heard until retry_at

cdef struct Listeners:
    Slab slab
    World *world                # borrowed
    Poller *poller              # borrowed
    HostSockets *hosts          # borrowed: where there must be room for what is accepted
    ns_t retry_at               # ns_never(): none is paused

cdef void listeners_open(Listeners *l, World *w, Poller *p, HostSockets *h) noexcept nogil
cdef void listeners_close(Listeners *l) noexcept nogil
# Ownership of the descriptor passes with 0, and `handle` is the listener's; else errno.
cdef int listener_attach(Listeners *l, int fd, u64 token, u64 *handle) noexcept nogil
cdef bint listener_detach(Listeners *l, u64 handle) noexcept nogil                 # False: there is no such listener
cdef void listener_event(Listeners *l, u64 handle, ns_t now) noexcept nogil
cdef void listeners_retry(Listeners *l, ns_t now) noexcept nogil
