"""A growing array of punts, turned into tuples once a run."""

cimport cython
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from pyslirp.engine.base.ints cimport i64, u8, u32, u64
from pyslirp.engine.tables.flow cimport FlowKey


cdef void punts_init(PuntQueue *q) noexcept nogil:
    q.items = NULL
    q.count = 0
    q.room = 0
    q.bytes = 0
    q.refused = 0


cdef void punts_free(PuntQueue *q) noexcept nogil:
    cdef u32 i
    for i in range(q.count):
        free(q.items[i].payload)
    free(q.items)
    punts_init(q)


cdef Punt *punt_add(PuntQueue *q, PuntKind kind, bint must) noexcept nogil:
    cdef Punt *wider
    cdef u32 room
    if q.count >= PUNTS_MAX and not must:
        q.refused += 1
        return NULL
    if q.count == q.room:
        room = q.room * 2 if q.room else 64
        wider = <Punt *>realloc(q.items, room * sizeof(Punt))
        if wider == NULL:
            q.refused += 1
            return NULL
        q.items = wider
        q.room = room
    memset(&q.items[q.count], 0, sizeof(Punt))
    q.items[q.count].kind = <u8>kind
    q.count += 1
    return &q.items[q.count - 1]


cdef Punt *punt_with(PuntQueue *q, PuntKind kind, const u8 *data, u32 length) noexcept nogil:
    cdef Punt *punt = NULL
    cdef u8 *payload = NULL
    if q.bytes + length <= PUNT_BYTES_MAX:
        payload = <u8 *>malloc(length if length else 1)
    if payload == NULL:
        q.refused += 1
        return NULL
    punt = punt_add(q, kind, False)
    if punt == NULL:
        free(payload)
        return NULL
    memcpy(payload, data, length)
    punt.payload = payload
    punt.length = length
    q.bytes += length
    return punt


cdef tuple _key(const FlowKey *key):
    return (key.protocol, (<const char *>key.guest.b)[:16], key.guest_port, (<const char *>key.far.b)[:16], key.far_port)


cdef list punts_take(PuntQueue *q):
    cdef u32 i
    cdef Punt *p
    cdef list out = []
    for i in range(q.count):
        p = &q.items[i]
        if p.kind == PUNT_FLOW:
            out.append((p.kind, p.flow, _key(&p.key), p.ttl, p.link))
        elif p.kind == PUNT_DATAGRAM:
            out.append((p.kind, p.link, (<char *>p.mac)[:6], _key(&p.key), (<char *>p.payload)[:p.length]))
        elif p.kind == PUNT_MESSAGE:
            out.append((p.kind, p.flow, p.tag, (<char *>p.payload)[:p.length]))
        elif p.kind == PUNT_CLOSED:
            out.append((p.kind, p.flow, p.tag, _key(&p.key), p.a, p.b, p.c, bool(p.inbound)))
        elif p.kind == PUNT_LINK:
            out.append((p.kind, p.link, p.a, p.b))
        elif p.kind == PUNT_WATCH or p.kind == PUNT_CONNECT:
            out.append((p.kind, p.flow, p.a))
        elif p.kind == PUNT_STRANGER:
            out.append((p.kind, p.flow, _key(&p.key), (<char *>p.payload)[:p.length], p.a))
        elif p.kind == PUNT_SOLICITATION:
            out.append((p.kind, p.link, (<char *>p.mac)[:6], (<char *>p.key.guest.b)[:16]))
        elif p.kind == PUNT_INBOUND:
            out.append((p.kind, p.flow, p.a, (<char *>p.key.far.b)[:16], p.key.far_port))
        else:
            out.append((p.kind, p.flow, p.tag))
        free(p.payload)
    q.count = 0
    q.bytes = 0
    if q.room > PUNTS_MAX:
        free(q.items)
        q.items = NULL
        q.room = 0
    return out


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Queue:
    """A PuntQueue."""

    cdef PuntQueue queue

    def __cinit__(self):
        punts_init(&self.queue)

    def __dealloc__(self):
        punts_free(&self.queue)

    def add(self, PuntKind kind, bint must=False, u64 flow=0, i64 a=0, i64 b=0, i64 c=0, u32 link=0, u64 tag=0):
        """False where it is refused."""
        cdef Punt *punt = punt_add(&self.queue, kind, must)
        if punt == NULL:
            return False
        punt.flow = flow
        punt.tag = tag
        punt.link = link
        punt.a = a
        punt.b = b
        punt.c = c
        return True

    def add_with(self, PuntKind kind, bytes data not None, u64 flow=0):
        cdef Punt *punt = punt_with(&self.queue, kind, <const u8 *>data, <u32>len(data))
        if punt == NULL:
            return False
        punt.flow = flow
        return True

    def take(self):
        return punts_take(&self.queue)

    @property
    def count(self):
        return self.queue.count

    @property
    def room(self):
        return self.queue.room

    @property
    def held_bytes(self):
        return self.queue.bytes

    @property
    def refused(self):
        return self.queue.refused
