"""Hash chains over FlowName; the buckets double when there is more than one flow to a bucket.

Of flows that bear the same name on the host's side (the guest knows one remote by two addresses) the youngest is found.
"""

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from pyslirp.engine.base.ints cimport Addr, u8, u16, u32, u64
from pyslirp.engine.stores.siphash cimport siphash
from pyslirp.engine.stores.slab cimport Slab, slab_find, slab_free, slab_give, slab_init, slab_take

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
    cdef Flow **low                             # where the next flow of either half goes: chains keep their order
    cdef Flow **high
    cdef Flow *flow
    if wider == NULL:
        return                                  # longer chains, still right
    for i in range(old):
        low = &wider[i]
        high = &wider[i + old]
        flow = t.buckets[<int>side][i]
        while flow != NULL:
            if flow.name[<int>side].hash & old:
                high[0] = flow
                high = &flow.name[<int>side].chain
            else:
                low[0] = flow
                low = &flow.name[<int>side].chain
            flow = flow.name[<int>side].chain
        low[0] = NULL
        high[0] = NULL
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


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Table:
    """A FlowTable and flows, known by their handle.  A name is (protocol, guest, its port, far end, its port)."""

    cdef FlowTable table
    cdef Slab slab

    def __cinit__(self, u64 key0=0, u64 key1=0):
        cdef u64[2] key = [key0, key1]
        slab_init(&self.slab, sizeof(Flow), 100000)
        if not flow_table_init(&self.table, key):
            raise MemoryError

    def __dealloc__(self):
        flow_table_free(&self.table)
        slab_free(&self.slab)

    cdef Flow *living(self, u64 handle) except NULL:
        cdef Flow *flow = <Flow *>slab_find(&self.slab, handle)
        if flow == NULL:
            raise KeyError(handle)
        return flow

    def new(self):
        """The handle of a flow without a name."""
        cdef Flow *flow = <Flow *>slab_take(&self.slab)
        if flow == NULL:
            raise MemoryError
        return flow.slab.handle

    def give(self, u64 handle):
        slab_give(&self.slab, self.living(handle))

    def link(self, u64 handle, int side, tuple name):
        cdef FlowKey key = _key(name)
        return flow_link(&self.table, self.living(handle), <FlowSide>(side & 1), &key)

    def unlink(self, u64 handle, int side):
        flow_unlink(&self.table, self.living(handle), <FlowSide>(side & 1))

    def find(self, int side, tuple name):
        """The handle of the flow of that name, or 0."""
        cdef FlowKey key = _key(name)
        cdef Flow *flow = flow_find(&self.table, <FlowSide>(side & 1), &key)
        return flow.slab.handle if flow != NULL else 0

    def of_timer(self, u64 handle):
        """Is the flow around its timer found again?"""
        cdef Flow *flow = self.living(handle)
        return flow_of_timer(&flow.timer) == flow

    def count(self, int side):
        return self.table.count[side & 1]

    def buckets(self, int side):
        """How many flows there are in each bucket."""
        cdef Flow *flow
        cdef u32 i
        lengths = []
        for i in range(self.table.size[side & 1]):
            flow = self.table.buckets[side & 1][i]
            length = 0
            while flow != NULL:
                length += 1
                flow = flow.name[side & 1].chain
            lengths.append(length)
        return lengths


cdef FlowKey _key(tuple name) except *:
    cdef FlowKey key
    cdef Addr guest
    cdef Addr far
    protocol, one, guest_port, other, far_port = name
    if len(one) != 16 or len(other) != 16:
        raise ValueError("an engine address has 16 bytes")
    memcpy(guest.b, <const u8 *><bytes>one, 16)
    memcpy(far.b, <const u8 *><bytes>other, 16)
    key.unused[0] = 0xee                        # flow_key_set has to write every byte
    flow_key_set(&key, protocol, &guest, guest_port, &far, far_port)
    return key
