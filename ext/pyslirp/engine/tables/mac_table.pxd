"""The switch's memory: which port a MAC address was last heard on (IEEE 802.1D learning)."""

from pyslirp.engine.base.ints cimport i32, ns_t, u8, u32, u64

cdef enum:
    MACS_MAX = 4096                     # addresses remembered
    MACS_PER_PORT = 512                 # of one port, so that one guest cannot push out the others'
    MAC_NONE = -1

cdef struct MacEntry:
    u8 mac[6]
    bint used
    i32 port
    ns_t heard

cdef struct MacTable:
    MacEntry *entries                   # owned; open addressing, MACS_MAX * 2 places
    u32 count
    u32 *per_port                       # owned, by port number
    u32 ports
    u64 hash_key[2]

cdef bint mac_table_init(MacTable *t, u32 ports, const u64 *hash_key) noexcept nogil
cdef void mac_table_free(MacTable *t) noexcept nogil
cdef i32 mac_find(const MacTable *t, const u8 *mac) noexcept nogil                       # port, or MAC_NONE
cdef bint mac_learn(MacTable *t, const u8 *mac, i32 port, ns_t now) noexcept nogil       # False: no room for a new address
cdef void mac_forget_port(MacTable *t, i32 port) noexcept nogil                          # the port has gone
