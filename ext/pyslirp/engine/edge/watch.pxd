"""Descriptors that Python owns and wants to hear of by the one descriptor."""

from pyslirp.engine.base.ints cimport u32, u64
from pyslirp.engine.core.world cimport World
from pyslirp.engine.edge.poller cimport Poller
from pyslirp.engine.stores.slab cimport Slab, SlabHead

cdef enum:
    WATCHES_MAX = 4096

cdef struct Watch:
    SlabHead slab
    int fd                      # borrowed
    u64 token                   # for PUNT_WATCH

cdef struct Watches:
    Slab slab
    World *world                # borrowed
    Poller *poller              # borrowed

cdef void watches_open(Watches *ws, World *w, Poller *p) noexcept nogil
cdef void watches_close(Watches *ws) noexcept nogil
cdef int watch_add(Watches *ws, int fd, u32 events, u64 token, u64 *handle) noexcept nogil     # 0 or errno
cdef int watch_change(Watches *ws, u64 handle, u32 events) noexcept nogil                      # 0 or errno
cdef void watch_remove(Watches *ws, u64 handle) noexcept nogil
cdef void watch_event(Watches *ws, u64 handle, u32 events) noexcept nogil
