"""A growing array of punts, turned into tuples once a run."""

from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from pyslirp.engine.base.ints cimport u8, u32
from pyslirp.engine.tables.flow cimport FlowKey


cdef void punts_init(PuntQueue *q) noexcept nogil:
    q.items = NULL
    q.count = 0
    q.room = 0
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


cdef bint punt_payload(Punt *punt, const u8 *data, u32 length) noexcept nogil:
    punt.payload = <u8 *>malloc(length if length else 1)
    if punt.payload == NULL:
        return False
    memcpy(punt.payload, data, length)
    punt.length = length
    return True


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
        elif p.kind == PUNT_INBOUND:
            out.append((p.kind, p.flow, p.a, (<char *>p.key.far.b)[:16], p.key.far_port))
        else:
            out.append((p.kind, p.flow, p.tag))
        free(p.payload)
    q.count = 0
    if q.room > PUNTS_MAX:
        free(q.items)
        q.items = NULL
        q.room = 0
    return out
