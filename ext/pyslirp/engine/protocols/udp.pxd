"""A datagram flow (UDP, or ICMP echo): who answers whom through which socket, and when it is forgotten (RFC 4787)."""

from pyslirp.engine.base.ints cimport Addr, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.stores.slab cimport SlabHead
from pyslirp.engine.tables.flow cimport Flow

cdef enum:
    UDP_IDLE_SECONDS = 30           # while only one side has spoken (Linux nf_conntrack_udp_timeout)
    UDP_STREAM_SECONDS = 120        # once both have (nf_conntrack_udp_timeout_stream; RFC 4787 REQ-5: at least 120)
    UDP_MAX_PAYLOAD = 65507
    HELD_MAX = 128                  # datagrams kept while a verdict is awaited: what a guest sends in one batch ...
    HELD_BYTES = 131072             # ... and their payload (two of the largest fit)
    PORT_DNS = 53
    BURSTS_MAX = 8                  # flows whose datagrams are gathered at a time
    BURST_MAX = 64                  # datagrams gathered of one flow (Linux: UDP_MAX_SEGMENTS of a super-frame)

cdef struct HeldDatagram:
    HeldDatagram *next
    u32 length
    u8 ttl
    u8 tos
    u8[1] data                      # `length` bytes

# The body of a datagram flow.  The flow named (guest, far) is one conversation; its `mapping` is the flow named
# (guest, nobody) that owns the host socket, shared by all conversations of that guest address and port.
cdef struct DatagramPeer:
    SlabHead slab
    Flow *mapping                   # borrowed; NULL before the verdict, and of a served flow
    Addr local                      # the host's address that the remote has sent to, and is answered from; zero: not known
    Addr host                       # where it really goes
    u16 host_port
    u32 to_host                     # datagrams
    u32 to_guest
    HeldDatagram *held              # owned, oldest first
    HeldDatagram *held_last         # of the same list; only while there is one
    u32 held_count
    u32 held_bytes
    bint denied                     # remembered verdict: drop (with `denial` each time) until it is idle
    u8 denial

# The body of a mapping.
cdef struct Mapping:
    SlabHead slab
    u32 peers                       # flows that use it
    bint listener                   # a host forwarding rule's: not closed when the last peer goes
    Addr guest                      # of a listener: where new clients' datagrams go
    u16 guest_port

# Datagrams of one flow that have come in this batch and go to the host together; their bytes still lie in its frames.
cdef struct DatagramBurst:
    u64 flow                        # handle
    u8 ttl
    u8 tos
    int count
    Piece[BURST_MAX] pieces

cdef ns_t datagram_deadline(const Flow *flow, const DatagramPeer *peer) noexcept nogil
cdef bint datagram_hold(DatagramPeer *peer, const u8 *data, u32 length, u8 ttl, u8 tos) noexcept nogil    # False: too many, or no memory
cdef HeldDatagram *datagram_release(DatagramPeer *peer) noexcept nogil                                    # the oldest, now the caller's to free
cdef void datagram_drop_held(DatagramPeer *peer) noexcept nogil
