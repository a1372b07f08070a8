"""Which MAC has an IP address, and what we know of the guest behind it.

States.  INCOMPLETE: asked, not answered; up to NEIGHBOR_PROBES requests a NEIGHBOR_RETRY_NS apart, then what waited is
told and the entry is removed, or, if flows still bear its name, left alone until it is wanted again (`probes` is 0).
REACHABLE: learned from ARP, from DHCP, or from the first IPv4 packet of an unknown address inside the network;
INCOMPLETE again when it is wanted and its link has gone.  An ARP message replaces the MAC, an IP packet never does
(RFC 826; a guest that is moved announces itself).

An IPv6 neighbour is learned from Neighbour Discovery and DHCPv6 alone, and goes on being asked (RFC 4861 section 7.3):

    REACHABLE   it has answered within NEIGHBOR_REACHABLE_NS
    STALE       that was longer ago, or it was only heard of
    DELAY       STALE, and sent to; asked after NEIGHBOR_DELAY_NS, unless it is heard before
    PROBE       asked, up to NEIGHBOR_PROBES times; without an answer INCOMPLETE

All but INCOMPLETE are sent to.  The port is not kept here: the switch knows by MAC, so a guest that
comes back on another port is found.
"""

from pyslirp.engine.base.ints cimport Addr, ns_t, u8, u32, u64
from pyslirp.engine.stores.slab cimport Slab, SlabHead

cdef enum:
    NEIGHBORS_MAX = 4096                # entries; a new one replaces one without flows, long unused
    NEIGHBORS_LOOK = 64                 # places looked at for it: what a made-up address costs at the most
    NEIGHBOR_PROBES = 3

cdef enum NeighborState:
    NEIGHBOR_INCOMPLETE = 1
    NEIGHBOR_REACHABLE = 2
    NEIGHBOR_STALE = 3
    NEIGHBOR_DELAY = 4
    NEIGHBOR_PROBE = 5

# The packet that waits for an address, without its IP header: only the latest one (RFC 1122 section 2.3.2.2).
cdef struct WaitingPacket:
    Addr source
    Addr destination                    # beyond the neighbour, where that is a router
    u8 protocol
    u8 ttl
    u32 length
    u8[1] data                          # `length` bytes

cdef struct Neighbor:
    SlabHead slab
    Addr address
    u64 hash
    Neighbor *chain
    u8 mac[6]
    u8 state
    u8 probes                           # requests sent while INCOMPLETE or in PROBE; 0: nobody is asking
    u32 mtu                             # largest IP packet the guest has proved to take (at least 576)
    u32 flows                           # of this guest; while there are any the entry stays
    ns_t used                           # last looked up
    ns_t asked                          # last request sent; of DELAY: when it began
    ns_t confirmed                      # IPv6: when it was last known to be there
    WaitingPacket *waiting              # owned; NULL: none

cdef struct NeighborTable:
    Slab slab
    Neighbor **buckets                  # owned, fixed size
    u32 incomplete                      # how many entries wait for an answer
    u32 hand                            # where to look next for one to replace
    u64 hash_key[2]

cdef bint neighbor_table_init(NeighborTable *t, const u64 *hash_key) noexcept nogil
cdef void neighbor_table_free(NeighborTable *t) noexcept nogil
cdef Neighbor *neighbor_find(NeighborTable *t, const Addr *address, ns_t now) noexcept nogil
cdef Neighbor *neighbor_add(NeighborTable *t, const Addr *address, ns_t now) noexcept nogil    # INCOMPLETE; NULL: none found that can go
cdef bint neighbor_keep(Neighbor *n, const Addr *source, const Addr *destination, u8 protocol, u8 ttl, const u8 *head, u32 head_bytes,
                        const u8 *body, u32 body_bytes) noexcept nogil                          # False: out of memory
cdef WaitingPacket *neighbor_take_waiting(Neighbor *n) noexcept nogil                           # now the caller's to free; or NULL
cdef void neighbor_remove(NeighborTable *t, Neighbor *n) noexcept nogil
cdef void neighbor_learn(NeighborTable *t, Neighbor *n, const u8 *mac) noexcept nogil          # -> REACHABLE
cdef void neighbor_lost(NeighborTable *t, Neighbor *n) noexcept nogil                          # -> INCOMPLETE, to be asked anew
cdef void neighbor_give_up(NeighborTable *t, Neighbor *n) noexcept nogil                       # nobody has answered
cdef void neighbor_stale(NeighborTable *t, Neighbor *n, const u8 *mac) noexcept nogil          # -> STALE
cdef void neighbor_confirm(Neighbor *n, ns_t now) noexcept nogil                               # -> REACHABLE, of one not INCOMPLETE
# An IPv6 neighbour is about to be sent to: True where it has thereby begun to be in DELAY.
cdef bint neighbor_wanted(Neighbor *n, ns_t now) noexcept nogil
cdef inline bint neighbor_known(const Neighbor *n) noexcept nogil:
    """Is there a MAC address to send to?"""
    return n.state != NEIGHBOR_INCOMPLETE
cdef inline ns_t neighbor_retry_ns() noexcept nogil:
    return 1000000000                   # RFC 4861 section 10: RETRANS_TIMER
cdef inline ns_t neighbor_delay_ns() noexcept nogil:
    return 5 * <ns_t>1000000000         # DELAY_FIRST_PROBE_TIME
cdef inline ns_t neighbor_reachable_ns() noexcept nogil:
    return 30 * <ns_t>1000000000        # REACHABLE_TIME, without its random part: nobody else has our clock
