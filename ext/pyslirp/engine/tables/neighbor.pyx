"""A hash of fixed size: the table is bounded, so are its chains."""

cimport cython
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
    t.hand = 0
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
    """Of the next NEIGHBORS_LOOK; NULL: none of them can go."""
    cdef Neighbor *oldest = NULL
    cdef Neighbor *n
    cdef u32 i
    for i in range(<u32>NEIGHBORS_LOOK):
        n = <Neighbor *>slab_at(&t.slab, t.hand)
        t.hand = (t.hand + 1) % NEIGHBORS_MAX
        if n == NULL or n.flows or (n.state == NEIGHBOR_INCOMPLETE and n.probes):
            continue
        if oldest == NULL or n.used < oldest.used:
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


cdef void neighbor_learn(NeighborTable *t, Neighbor *n, const u8 *mac) noexcept nogil:
    if n.state == NEIGHBOR_INCOMPLETE:
        t.incomplete -= 1
    n.state = NEIGHBOR_REACHABLE
    n.probes = 0
    memcpy(n.mac, mac, 6)


cdef void neighbor_stale(NeighborTable *t, Neighbor *n, const u8 *mac) noexcept nogil:
    neighbor_learn(t, n, mac)
    n.state = NEIGHBOR_STALE


cdef void neighbor_confirm(Neighbor *n, ns_t now) noexcept nogil:
    n.state = NEIGHBOR_REACHABLE
    n.probes = 0
    n.confirmed = now


cdef bint neighbor_wanted(Neighbor *n, ns_t now) noexcept nogil:
    if n.state == NEIGHBOR_REACHABLE and now - n.confirmed >= neighbor_reachable_ns():
        n.state = NEIGHBOR_STALE
    if n.state != NEIGHBOR_STALE:
        return False
    n.state = NEIGHBOR_DELAY
    n.asked = now
    return True


cdef void neighbor_lost(NeighborTable *t, Neighbor *n) noexcept nogil:
    if n.state != NEIGHBOR_INCOMPLETE:
        t.incomplete += 1
    n.state = NEIGHBOR_INCOMPLETE
    n.probes = 0


cdef void neighbor_give_up(NeighborTable *t, Neighbor *n) noexcept nogil:
    free(n.waiting)
    n.waiting = NULL
    n.probes = 0
    if n.flows == 0:
        neighbor_remove(t, n)


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Table:
    """A NeighborTable; an entry is known by its address, which must be there where something is told to it."""

    cdef NeighborTable table

    def __cinit__(self, u64 key0=0, u64 key1=0):
        cdef u64[2] key = [key0, key1]
        if not neighbor_table_init(&self.table, key):
            raise MemoryError

    def __dealloc__(self):
        neighbor_table_free(&self.table)

    cdef Neighbor *at(self, bytes address, ns_t now) except NULL:
        cdef Addr raw = _addr(address)
        cdef Neighbor *n = neighbor_find(&self.table, &raw, now)
        if n == NULL:
            raise KeyError(address)
        return n

    def add(self, bytes address not None, ns_t now):
        """False where there is no room."""
        cdef Addr raw = _addr(address)
        if neighbor_find(&self.table, &raw, now) != NULL:
            raise ValueError("it is there already")
        return neighbor_add(&self.table, &raw, now) != NULL

    def find(self, bytes address not None, ns_t now):
        """What is known of it, or None."""
        cdef Addr raw = _addr(address)
        cdef Neighbor *n = neighbor_find(&self.table, &raw, now)
        if n == NULL:
            return None
        return {"reachable": neighbor_known(n), "state": n.state, "confirmed": n.confirmed, "mac": n.mac[:6], "probes": n.probes, "flows": n.flows, "mtu": n.mtu,
                "used": n.used, "asked": n.asked}

    def change(self, bytes address not None, ns_t now, u8 probes, u32 flows):
        cdef Neighbor *n = self.at(address, now)
        n.probes = probes
        n.flows = flows

    def learn(self, bytes address not None, ns_t now, bytes mac not None):
        if len(mac) != 6:
            raise ValueError("a MAC address has six bytes")
        neighbor_learn(&self.table, self.at(address, now), <const u8 *>mac)

    def stale(self, bytes address not None, ns_t now, bytes mac not None):
        neighbor_stale(&self.table, self.at(address, now), <const u8 *>mac)

    def confirm(self, bytes address not None, ns_t now):
        neighbor_confirm(self.at(address, now), now)

    def wanted(self, bytes address not None, ns_t now):
        return neighbor_wanted(self.at(address, now), now)

    def lose(self, bytes address not None, ns_t now):
        neighbor_lost(&self.table, self.at(address, now))

    def give_up(self, bytes address not None, ns_t now):
        neighbor_give_up(&self.table, self.at(address, now))

    def remove(self, bytes address not None, ns_t now):
        neighbor_remove(&self.table, self.at(address, now))

    def keep(self, bytes address not None, ns_t now, bytes head not None, bytes body not None):
        """A packet waits, from `address` to itself, of protocol 17 with a TTL of 9."""
        cdef Addr raw = _addr(address)
        return neighbor_keep(self.at(address, now), &raw, &raw, 17, 9, <const u8 *>head, len(head), <const u8 *>body, len(body))

    def take_waiting(self, bytes address not None, ns_t now):
        """Protocol, TTL and bytes of what waited, or None."""
        cdef WaitingPacket *packet = neighbor_take_waiting(self.at(address, now))
        if packet == NULL:
            return None
        made = packet.protocol, packet.ttl, packet.data[:packet.length]
        free(packet)
        return made

    @property
    def count(self):
        return self.table.slab.alive

    @property
    def incomplete(self):
        return self.table.incomplete


cdef Addr _addr(bytes raw) except *:
    cdef Addr address
    if len(raw) != 16:
        raise ValueError("an engine address has 16 bytes")
    memcpy(address.b, <const u8 *>raw, 16)
    return address
