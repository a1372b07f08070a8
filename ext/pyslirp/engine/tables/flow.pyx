"""Hash chains over FlowName; the buckets double when there is more than one flow to a bucket."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from pyslirp.engine.base.ints cimport Addr, u8, u16, u32, u64
from pyslirp.engine.stores.siphash cimport siphash

cdef enum:
    FIRST_SIZE = 64


cdef bint flow_table_init(FlowTable *t, const u64 *hash_key) noexcept nogil:
    cdef int side
    t.hash_key[0] = hash_key[0]
    t.hash_key[1] = hash_key[1]
    for side in range(2):
        t.count[side] = 0
        t.size[side] = FIRST_SIZE
        t.buckets[side] = <Flow **>calloc(FIRST_SIZE, sizeof(Flow *))
    return t.buckets[0] != NULL and t.buckets[1] != NULL


cdef void flow_table_free(FlowTable *t) noexcept nogil:
    cdef int side
    for side in range(2):
        free(t.buckets[side])
        t.buckets[side] = NULL
        t.size[side] = 0


cdef void flow_key_set(FlowKey *key, u8 protocol, const Addr *guest, u16 guest_port, const Addr *far, u16 far_port) noexcept nogil:
    key.guest = guest[0]
    key.far = far[0]
    key.guest_port = guest_port
    key.far_port = far_port
    key.protocol = protocol
    key.unused[0] = 0
    key.unused[1] = 0
    key.unused[2] = 0


cdef Flow *flow_find(const FlowTable *t, FlowSide side, const FlowKey *key) noexcept nogil:
    cdef u64 hashed = siphash(<const u8 *>key, sizeof(FlowKey), t.hash_key)
    cdef Flow *flow = t.buckets[<int>side][hashed & (t.size[<int>side] - 1)]
    while flow != NULL:
        if flow.name[<int>side].hash == hashed and memcmp(&flow.name[<int>side].key, key, sizeof(FlowKey)) == 0:
            return flow
        flow = flow.name[<int>side].chain
    return NULL


cdef void _grow(FlowTable *t, FlowSide side) noexcept nogil:
    cdef u32 old = t.size[<int>side], new = old * 2, i
    cdef Flow **wider = <Flow **>calloc(new, sizeof(Flow *))
    cdef Flow *flow
    cdef Flow *after
    if wider == NULL:
        return                                  # longer chains, still right
    for i in range(old):
        flow = t.buckets[<int>side][i]
        while flow != NULL:
            after = flow.name[<int>side].chain
            flow.name[<int>side].chain = wider[flow.name[<int>side].hash & (new - 1)]
            wider[flow.name[<int>side].hash & (new - 1)] = flow
            flow = after
    free(t.buckets[<int>side])
    t.buckets[<int>side] = wider
    t.size[<int>side] = new


cdef bint flow_link(FlowTable *t, Flow *flow, FlowSide side, const FlowKey *key) noexcept nogil:
    cdef FlowName *name = &flow.name[<int>side]
    cdef u64 hashed
    cdef Flow **bucket
    if t.buckets[<int>side] == NULL:
        return False
    if t.count[<int>side] >= t.size[<int>side]:
        _grow(t, side)
    hashed = siphash(<const u8 *>key, sizeof(FlowKey), t.hash_key)
    bucket = &t.buckets[<int>side][hashed & (t.size[<int>side] - 1)]
    name.key = key[0]
    name.hash = hashed
    name.chain = bucket[0]
    name.linked = True
    bucket[0] = flow
    t.count[<int>side] += 1
    return True


cdef void flow_unlink(FlowTable *t, Flow *flow, FlowSide side) noexcept nogil:
    cdef FlowName *name = &flow.name[<int>side]
    cdef Flow **at
    if not name.linked:
        return
    at = &t.buckets[<int>side][name.hash & (t.size[<int>side] - 1)]
    while at[0] != flow:
        at = &at[0].name[<int>side].chain
    at[0] = name.chain
    name.chain = NULL
    name.linked = False
    t.count[<int>side] -= 1
