"""The switch's memory: which port a MAC address was last heard on (IEEE 802.1D learning).

Limits.  A port may have MACS_PER_PORT addresses, all ports together MACS_MAX.  Where one is reached an address is
forgotten to make room: one of the port's own, or, when the table is full, one of the port that has most.  So every
guest can be learned at any time, and one that makes addresses up forgets its own.  What goes is the first one round
the table that has not been heard since the last time round (the clock algorithm, which approximates the 802.1D ageing
time without a timer).
"""

from pyslirp.engine.base.ints cimport i32, u8, u32, u64

cdef enum:
    MACS_MAX = 4096                     # addresses remembered
    MACS_PER_PORT = 512                 # of one port
    MAC_NONE = -1

cdef struct MacEntry:
    u8[6] mac
    bint used
    bint heard                          # since the hand has last passed
    i32 port

cdef struct MacTable:
    MacEntry *entries                   # owned; open addressing, MACS_MAX * 2 places
    u32 count
    u32 hand                            # of the clock
    u32 *per_port                       # owned, by port number
    u32 ports
    u64[2] hash_key

cdef bint mac_table_init(MacTable *t, u32 ports, const u64 *hash_key) noexcept nogil
cdef void mac_table_free(MacTable *t) noexcept nogil
cdef i32 mac_find(const MacTable *t, const u8 *mac) noexcept nogil           # port, or MAC_NONE
cdef i32 mac_heard(MacTable *t, const u8 *mac) noexcept nogil                # the same, and it has been heard
cdef bint mac_learn(MacTable *t, const u8 *mac, i32 port) noexcept nogil     # False: another was forgotten for it
cdef void mac_forget_port(MacTable *t, i32 port) noexcept nogil              # the port has gone
