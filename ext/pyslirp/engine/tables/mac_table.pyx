"""Linear probing in twice as many places as there may be addresses; a removal moves the followers back."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from pyslirp.engine.base.ints cimport i32, ns_t, u8, u32, u64
from pyslirp.engine.stores.siphash cimport siphash

cdef enum:
    PLACES = MACS_MAX * 2


cdef bint mac_table_init(MacTable *t, u32 ports, const u64 *hash_key) noexcept nogil:
    t.entries = <MacEntry *>calloc(PLACES, sizeof(MacEntry))
    t.per_port = <u32 *>calloc(ports, sizeof(u32))
    t.ports = ports
    t.count = 0
    t.hash_key[0] = hash_key[0]
    t.hash_key[1] = hash_key[1]
    return t.entries != NULL and t.per_port != NULL


cdef void mac_table_free(MacTable *t) noexcept nogil:
    free(t.entries)
    free(t.per_port)
    t.entries = NULL
    t.per_port = NULL


cdef inline u32 _home(const MacTable *t, const u8 *mac) noexcept nogil:
    return <u32>(siphash(mac, 6, t.hash_key) % PLACES)


cdef u32 _place(const MacTable *t, const u8 *mac) noexcept nogil:
    """Where `mac` is, or the free place where it would go (there always is one: half are free)."""
    cdef u32 at = _home(t, mac)
    while t.entries[at].used and memcmp(t.entries[at].mac, mac, 6) != 0:
        at = (at + 1) % PLACES
    return at


cdef i32 mac_find(const MacTable *t, const u8 *mac) noexcept nogil:
    cdef u32 at = _place(t, mac)
    return t.entries[at].port if t.entries[at].used else MAC_NONE


cdef bint mac_learn(MacTable *t, const u8 *mac, i32 port, ns_t now) noexcept nogil:
    cdef u32 at = _place(t, mac)
    cdef MacEntry *entry = &t.entries[at]
    if entry.used:
        if entry.port != port:
            if t.per_port[port] >= MACS_PER_PORT:
                return False
            t.per_port[entry.port] -= 1
            t.per_port[port] += 1
            entry.port = port
        entry.heard = now
        return True
    if t.count >= MACS_MAX or t.per_port[port] >= MACS_PER_PORT:
        return False
    memcpy(entry.mac, mac, 6)
    entry.used = True
    entry.port = port
    entry.heard = now
    t.count += 1
    t.per_port[port] += 1
    return True


cdef void _remove(MacTable *t, u32 at) noexcept nogil:
    cdef u32 hole = at, look = at, home
    t.per_port[t.entries[at].port] -= 1
    t.count -= 1
    t.entries[hole].used = False
    while True:
        look = (look + 1) % PLACES
        if not t.entries[look].used:
            return
        home = _home(t, t.entries[look].mac)
        # It may move into the hole unless its home lies between the hole (exclusive) and where it is.
        if (look - home) % PLACES >= (look - hole) % PLACES:
            t.entries[hole] = t.entries[look]
            t.entries[look].used = False
            hole = look


cdef void mac_forget_port(MacTable *t, i32 port) noexcept nogil:
    cdef u32 at = 0
    while at < PLACES and t.per_port[port]:
        if t.entries[at].used and t.entries[at].port == port:
            _remove(t, at)                      # a follower may have moved here: look again
        else:
            at += 1
