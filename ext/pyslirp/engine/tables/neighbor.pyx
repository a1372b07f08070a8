"""A hash of fixed size: the table is bounded, so are its chains."""

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from pyslirp.engine.base.ints cimport Addr, addr_eq, ns_t, u8, u32, u64
from pyslirp.engine.stores.siphash cimport siphash
from pyslirp.engine.stores.slab cimport slab_at, slab_free, slab_give, slab_init, slab_span, slab_take

cdef enum:
    BUCKETS = 1024
    FIRST_MTU = 1500                    # until the guest proves more (DESIGN: what the guest meets)


cdef bint neighbor_table_init(NeighborTable *t, const u64 *hash_key) noexcept nogil:
    slab_init(&t.slab, sizeof(Neighbor), NEIGHBORS_MAX)
    t.hash_key[0] = hash_key[0]
    t.hash_key[1] = hash_key[1]
    t.incomplete = 0
    t.buckets = <Neighbor **>calloc(BUCKETS, sizeof(Neighbor *))
    return t.buckets != NULL


cdef void neighbor_table_free(NeighborTable *t) noexcept nogil:
    cdef u32 i
    cdef Neighbor *n
    for i in range(slab_span(&t.slab)):
        n = <Neighbor *>slab_at(&t.slab, i)
        if n != NULL:
            free(n.waiting)
    slab_free(&t.slab)
    free(t.buckets)
    t.buckets = NULL


cdef Neighbor *neighbor_find(NeighborTable *t, const Addr *address, ns_t now) noexcept nogil:
    cdef u64 hashed = siphash(address.b, 16, t.hash_key)
    cdef Neighbor *n = t.buckets[hashed % BUCKETS]
    while n != NULL:
        if n.hash == hashed and addr_eq(&n.address, address):
            n.used = now
            return n
        n = n.chain
    return NULL


cdef Neighbor *_longest_unused(NeighborTable *t) noexcept nogil:
    cdef Neighbor *oldest = NULL
    cdef Neighbor *n
    cdef u32 i
    for i in range(slab_span(&t.slab)):
        n = <Neighbor *>slab_at(&t.slab, i)
        if n != NULL and n.state == NEIGHBOR_REACHABLE and n.flows == 0 and (oldest == NULL or n.used < oldest.used):
            oldest = n
    return oldest


cdef Neighbor *neighbor_add(NeighborTable *t, const Addr *address, ns_t now) noexcept nogil:
    cdef Neighbor *n = <Neighbor *>slab_take(&t.slab)
    if n == NULL:
        n = _longest_unused(t)
        if n == NULL:
            return NULL
        neighbor_remove(t, n)
        n = <Neighbor *>slab_take(&t.slab)
        if n == NULL:
            return NULL
    n.address = address[0]
    n.hash = siphash(address.b, 16, t.hash_key)
    n.chain = t.buckets[n.hash % BUCKETS]
    t.buckets[n.hash % BUCKETS] = n
    n.state = NEIGHBOR_INCOMPLETE
    n.probes = 0
    n.mtu = FIRST_MTU
    n.flows = 0
    n.used = now
    n.asked = now - neighbor_retry_ns()
    t.incomplete += 1
    return n


cdef bint neighbor_keep(Neighbor *n, const Addr *source, const Addr *destination, u8 protocol, u8 ttl, const u8 *head, u32 head_bytes,
                        const u8 *body, u32 body_bytes) noexcept nogil:
    cdef WaitingPacket *packet = <WaitingPacket *>malloc(sizeof(WaitingPacket) + head_bytes + body_bytes)
    if packet == NULL:
        return False
    packet.source = source[0]
    packet.destination = destination[0]
    packet.protocol = protocol
    packet.ttl = ttl
    packet.length = head_bytes + body_bytes
    memcpy(packet.data, head, head_bytes)
    memcpy(packet.data + head_bytes, body, body_bytes)
    free(n.waiting)
    n.waiting = packet
    return True


cdef WaitingPacket *neighbor_take_waiting(Neighbor *n) noexcept nogil:
    cdef WaitingPacket *packet = n.waiting
    n.waiting = NULL
    return packet


cdef void neighbor_remove(NeighborTable *t, Neighbor *n) noexcept nogil:
    cdef Neighbor **at = &t.buckets[n.hash % BUCKETS]
    while at[0] != n:
        at = &at[0].chain
    at[0] = n.chain
    if n.state == NEIGHBOR_INCOMPLETE:
        t.incomplete -= 1
    free(n.waiting)
    slab_give(&t.slab, n)
