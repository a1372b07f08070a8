"""Linear probing in twice as many places as there may be addresses; a removal moves the followers back."""

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from pyslirp.engine.base.ints cimport i32, u8, u32, u64
from pyslirp.engine.stores.siphash cimport siphash

cdef enum:
    PLACES = MACS_MAX * 2


cdef bint mac_table_init(MacTable *t, u32 ports, const u64 *hash_key) noexcept nogil:
    t.entries = <MacEntry *>calloc(PLACES, sizeof(MacEntry))
    t.per_port = <u32 *>calloc(ports, sizeof(u32))
    t.ports = ports
    t.count = 0
    t.hand = 0
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


cdef i32 mac_heard(MacTable *t, const u8 *mac) noexcept nogil:
    cdef u32 at = _place(t, mac)
    if not t.entries[at].used:
        return MAC_NONE
    t.entries[at].heard = True
    return t.entries[at].port


cdef i32 _crowded(const MacTable *t, i32 port) noexcept nogil:
    """The port that must forget an address before `port` has another, or MAC_NONE."""
    cdef u32 i, most = 0
    if t.per_port[port] >= MACS_PER_PORT:
        return port
    if t.count < MACS_MAX:
        return MAC_NONE
    for i in range(t.ports):
        if t.per_port[i] > t.per_port[most]:
            most = i
    return <i32>most


cdef void _forget_one(MacTable *t, i32 port) noexcept nogil:
    """Of a port that has some.  The second time round nothing is left that was heard, so it ends."""
    cdef MacEntry *entry
    while True:
        t.hand = (t.hand + 1) % PLACES
        entry = &t.entries[t.hand]
        if not entry.used or entry.port != port:
            continue
        if not entry.heard:
            _remove(t, t.hand)
            return
        entry.heard = False


cdef bint mac_learn(MacTable *t, const u8 *mac, i32 port) noexcept nogil:
    cdef u32 at = _place(t, mac)
    cdef i32 crowded
    if t.entries[at].used and t.entries[at].port == port:
        t.entries[at].heard = True
        return True
    if t.entries[at].used:                      # it has moved
        _remove(t, at)
    crowded = _crowded(t, port)
    if crowded != MAC_NONE:
        _forget_one(t, crowded)
    at = _place(t, mac)                         # what was removed may have moved others
    memcpy(t.entries[at].mac, mac, 6)
    t.entries[at].used = True
    t.entries[at].heard = True
    t.entries[at].port = port
    t.count += 1
    t.per_port[port] += 1
    return crowded == MAC_NONE


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


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Table:
    """A MacTable."""

    cdef MacTable table

    def __cinit__(self, u32 ports, u64 key0=0, u64 key1=0):
        cdef u64[2] key = [key0, key1]
        if not mac_table_init(&self.table, ports, key):
            raise MemoryError

    def __dealloc__(self):
        mac_table_free(&self.table)

    def find(self, bytes mac not None):
        return mac_find(&self.table, _six(mac))

    def heard(self, bytes mac not None):
        return mac_heard(&self.table, _six(mac))

    def learn(self, bytes mac not None, u32 port):
        if port >= self.table.ports:
            raise IndexError(port)
        return mac_learn(&self.table, _six(mac), <i32>port)

    def forget_port(self, u32 port):
        if port >= self.table.ports:
            raise IndexError(port)
        mac_forget_port(&self.table, <i32>port)

    def of_port(self, u32 port):
        """The addresses of a port, counted one by one and as the table has counted them."""
        cdef u32 at
        found = {self.table.entries[at].mac[:6] for at in range(PLACES)
                 if self.table.entries[at].used and self.table.entries[at].port == <i32>port}
        if port >= self.table.ports or len(found) != self.table.per_port[port]:
            raise ValueError(f"{len(found)} of port {port}, not what was counted")
        return found

    @property
    def count(self):
        return self.table.count


cdef const u8 *_six(bytes mac) except NULL:
    if len(mac) != 6:
        raise ValueError("a MAC address has six bytes")
    return <const u8 *>mac
