"""Descriptors that Python owns and wants to hear of by the one descriptor.

Level-triggered: a descriptor that is ready is punted (PUNT_WATCH) once each time that Python is entered, as long as
it is ready.  Nothing is lost if Python takes only a part; nothing spins inside the engine, because a round with a
punt in it ends in Python.  A descriptor has to be taken out before it is closed: the number may be used again at
once.
"""

from libc.errno cimport EBADF, ENOSPC
from libc.string cimport memset

from pyslirp.engine.base.ints cimport u32, u64
from pyslirp.engine.core.punts cimport PUNT_WATCH, Punt, punt_add
from pyslirp.engine.core.world cimport World
from pyslirp.engine.edge.poller cimport POLL_WATCH, Poller, poller_add, poller_change, poller_remove
from pyslirp.engine.stores.slab cimport slab_at, slab_find, slab_free, slab_give, slab_init, slab_span, slab_take


cdef void watches_open(Watches *ws, World *w, Poller *p) noexcept nogil:
    memset(ws, 0, sizeof(Watches))
    ws.world = w
    ws.poller = p
    slab_init(&ws.slab, sizeof(Watch), WATCHES_MAX)


cdef void watches_close(Watches *ws) noexcept nogil:
    cdef u32 i
    cdef Watch *watch
    for i in range(slab_span(&ws.slab)):
        watch = <Watch *>slab_at(&ws.slab, i)
        if watch != NULL:
            watch_remove(ws, watch.slab.handle)
    slab_free(&ws.slab)


cdef int watch_add(Watches *ws, int fd, u32 events, u64 token, u64 *handle) noexcept nogil:
    cdef Watch *watch = <Watch *>slab_take(&ws.slab)
    cdef int error
    if watch == NULL:
        return ENOSPC
    error = poller_add(ws.poller, fd, events, POLL_WATCH, watch.slab.handle)
    if error:
        slab_give(&ws.slab, watch)
        return error
    watch.fd = fd
    watch.token = token
    handle[0] = watch.slab.handle
    return 0


cdef int watch_change(Watches *ws, u64 handle, u32 events) noexcept nogil:
    cdef Watch *watch = <Watch *>slab_find(&ws.slab, handle)
    return EBADF if watch == NULL else poller_change(ws.poller, watch.fd, events, POLL_WATCH, handle)


cdef void watch_remove(Watches *ws, u64 handle) noexcept nogil:
    cdef Watch *watch = <Watch *>slab_find(&ws.slab, handle)
    if watch == NULL:
        return
    poller_remove(ws.poller, watch.fd)
    slab_give(&ws.slab, watch)


cdef void watch_event(Watches *ws, u64 handle, u32 events) noexcept nogil:
    cdef Watch *watch = <Watch *>slab_find(&ws.slab, handle)
    cdef Punt *punt
    if watch == NULL:
        return
    punt = punt_add(&ws.world.punts, PUNT_WATCH, False)     # full: told again with the next round
    if punt != NULL:
        punt.flow = watch.token
        punt.a = events
