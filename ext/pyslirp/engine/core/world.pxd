"""Everything the core knows, as one struct; and the calls by which the edge drives it.

Nothing here reads a clock: every entry takes `now`.  Each call does bounded work.  Same calls, same seed: same frames.
"""

from pyslirp.engine.base.ints cimport Addr, addr_is4, i32, i64, ns_t, u8, u16, u32, u64
from pyslirp.engine.codecs.parse cimport Packet
from pyslirp.engine.core.port cimport PORTS_MAX, Port
from pyslirp.engine.core.punts cimport PuntQueue
from pyslirp.engine.protocols.tcp.tcb cimport TcpEnv
from pyslirp.engine.protocols.udp cimport BURSTS_MAX, DatagramBurst
from pyslirp.engine.stores.chunks cimport ChunkPool
from pyslirp.engine.stores.counters cimport Counters
from pyslirp.engine.stores.frame_queue cimport FrameQueue
from pyslirp.engine.stores.slab cimport Slab
from pyslirp.engine.stores.timers cimport TimerHeap
from pyslirp.engine.tables.flow cimport Flow, FlowTable
from pyslirp.engine.tables.mac_table cimport MacTable
from pyslirp.engine.tables.neighbor cimport NeighborTable
from pyslirp.engine.tables.reassembly cimport Reassembly

cdef enum:
    ADDRESSES_MAX = 64          # addresses of our own: gateway, DNS alias, guestfwd ...
    CLAIMS_MAX = 64             # UDP ports that services have claimed
    FLOWS_MAX = 65536           # flows of all kinds (mappings included); of one link: as many as are still free
    HALF_OPEN_MAX = 1024        # handshakes under way of one link; one more, and the oldest goes
    OUR_TTL = 64                # of what we send ourselves (RFC 1700's default)
    CAPTURE_BYTES = 8388608     # captured frames waiting for the writer; more are counted and lost
    CAPTURE_HEAD = 16           # link, direction and time in front of each

cdef struct UdpClaim:
    bint any_address
    Addr address
    u16 port

# Where the last frame went: the next one of the same run mostly goes there too.
cdef struct Hop:
    bint valid
    Addr address
    u8[6] mac
    u32 port
    u32 mtu
    ns_t until                  # IPv6: when it must be looked up anew, to see whether its neighbour is still there

# Flows whose handshake is not done, in the order in which they came.
cdef struct HalfOpen:
    Flow *first
    Flow *last
    u32 count

cdef struct World:
    u8[6] mac                   # our MAC address
    bint forwarding             # we are the gateway: packets to any address are ours.  Else a host: only to our own
    u32 mtu                     # of the network: what is announced
    bint ipv4                   # the families that are spoken; what is of another is dropped
    bint ipv6
    Addr net
    u32 prefix                  # bits of `net`, counted in 128
    Addr net6
    u32 prefix6                 # bits of `net6`; 0: there is none, only fe80::/10 is on the link
    Addr router                 # next hop for what is not on the net; all zero: everything is on the link
    Addr router6
    Addr[ADDRESSES_MAX] addresses
    u32 address_count
    Addr gateway                # the first of them that is of IPv4: it speaks in ARP and ICMP errors; all zero: there is none
    Addr gateway6               # the first of IPv6 that is not link-local
    Addr link_local             # the first in fe80::/10: what speaks to such addresses
    UdpClaim[CLAIMS_MAX] claims
    u32 claim_count
    u64[2] hash_key
    u64[2] isn_key
    u16 ip_id
    u32 ip_id6                  # added to what is the destination's own (RFC 7739 section 5.3)
    Counters counters
    ChunkPool chunks
    ChunkPool[PORTS_MAX] shares     # of it, of the flows of each link
    Port[PORTS_MAX] ports
    u32 port_serial             # of the port made last
    MacTable macs
    NeighborTable neighbors
    ns_t neighbor_check         # when neighbours that have not answered are asked again; ns_never()
    FlowTable flows
    Slab flow_slab
    Slab tcp_slab
    Slab peer_slab
    Slab mapping_slab
    TimerHeap timers
    Flow *dirty_first           # flows with work to do, in order
    Flow *dirty_last
    Flow *later_first           # those that have had their share of this run, and have more to do
    Flow *later_last
    Flow *blocked_first         # flows that wait for a link or a MAC address; see flows.pyx
    Flow *blocked_last
    Flow *blocked_unserved      # the last of those at its front that the present round has given nothing
    bint unblock                # something has changed for them
    HalfOpen[PORTS_MAX] half_open   # opened by guests, by the link that they are charged to
    Reassembly *reassembly
    TcpEnv tcp
    DatagramBurst[BURSTS_MAX] bursts    # on their way to the host: those of this batch's frames
    u32 burst_count
    PuntQueue punts
    Hop hop
    ns_t now                    # of the call in progress
    bint observed               # Python is told of the end of every flow
    bint capturing
    FrameQueue captured
    u64 capture_lost

cdef inline bint addr_in_net(const Addr *address, const Addr *net, u32 prefix) noexcept nogil:
    """Do the first `prefix` (of 128) bits agree?"""
    cdef u32 i
    for i in range(prefix // 8):
        if address.b[i] != net.b[i]:
            return False
    return prefix % 8 == 0 or (address.b[prefix // 8] ^ net.b[prefix // 8]) >> (8 - prefix % 8) == 0

cdef inline bint addr_is_group(const World *w, const Addr *address) noexcept nogil:
    """Not a host: limited broadcast, multicast, "this network", and the net's broadcast in both forms (RFC 1812 5.3.5)."""
    cdef u32 i
    cdef bint ones = True, zeros = True
    if not addr_is4(address):
        return address.b[0] == 0xff or (address.q[0] == 0 and address.q[1] == 0)
    if address.b[12] >= 224 or address.b[12] == 0:
        return True
    if not addr_in_net(address, &w.net, w.prefix) or w.prefix >= 127:
        return False
    for i in range(w.prefix, 128):
        if address.b[i // 8] & (0x80 >> (i % 8)):
            zeros = False
        else:
            ones = False
    return ones or zeros

cdef inline bint world_owns(const World *w, const Addr *address) noexcept nogil:
    """Is it one of our own addresses?"""
    cdef u32 i
    for i in range(w.address_count):
        if w.addresses[i].q[1] == address.q[1] and w.addresses[i].q[0] == address.q[0]:
            return True
    return False

cdef inline bint addr_is_zero(const Addr *address) noexcept nogil:
    return address.q[0] == 0 and address.q[1] == 0

cdef inline bint addr_is_link_local(const Addr *address) noexcept nogil:
    """fe80::/10 (RFC 4291 section 2.5.6)."""
    return address.b[0] == 0xfe and address.b[1] & 0xc0 == 0x80

cdef inline bint world_on_link(const World *w, const Addr *address) noexcept nogil:
    """Is it an address of the network, whose owner would be on one of the links?"""
    if addr_is4(address):
        return addr_in_net(address, &w.net, w.prefix)
    return addr_is_link_local(address) or (w.prefix6 != 0 and addr_in_net(address, &w.net6, w.prefix6))

cdef inline const Addr *world_next_hop(const World *w, const Addr *to) noexcept nogil:
    """Whose MAC address a packet to `to` needs: the router's, where there is one and `to` is not on the net."""
    cdef const Addr *router = &w.router if addr_is4(to) else &w.router6
    return to if addr_is_zero(router) or world_on_link(w, to) else router

cdef inline const Addr *world_voice(const World *w, const Addr *to) noexcept nogil:
    """The address of ours that speaks to `to` in our own name: of its family, and of its scope where we have one."""
    if addr_is4(to):
        return &w.gateway
    if addr_is_zero(&w.gateway6) or (addr_is_link_local(to) and not addr_is_zero(&w.link_local)):
        return &w.link_local
    return &w.gateway6
