"""The flow table: who talks to whom, found by either name.

A flow is one conversation between a guest and something it believes to be far away.  It has two names: `GUEST_SIDE`,
the addresses as they stand in the guest's packets, and `HOST_SIDE`, the same with the far end as the host's socket
knows it (the gateway's address became 127.0.0.1).  Packets of the guest are looked up by the first, datagrams of the
host by the second; a TCP flow owns its socket and needs only the first.

Life.  NEW: made by the first packet, punted to Python, waits for a verdict.  OPEN: has a target, bytes move.  DEAD: no
longer found by name, kept until the end of the run because an event or a batch may still hold it; freed by the core.
Only the core moves a flow from one to the next.
"""

from pyslirp.engine.base.ints cimport Addr, ns_t, u8, u16, u32, u64
from pyslirp.engine.stores.slab cimport Slab, SlabHead
from pyslirp.engine.stores.timers cimport TimerEntry

cdef enum FlowSide:
    GUEST_SIDE = 0
    HOST_SIDE = 1

cdef enum FlowLife:
    FLOW_NEW = 1
    FLOW_OPEN = 2
    FLOW_DEAD = 3

# Hashed and compared as 40 plain bytes: every byte is written, `unused` with zeros.
cdef struct FlowKey:
    Addr guest
    Addr far
    u16 guest_port              # ICMP echo: the identifier
    u16 far_port                # ICMP echo: 0
    u8 protocol                 # PROTO_TCP, PROTO_UDP, PROTO_ICMP
    u8 unused[3]

cdef struct FlowName:
    FlowKey key
    u64 hash
    Flow *chain                 # next in the bucket
    bint linked

cdef struct Flow:
    SlabHead slab               # handle
    FlowName name[2]            # by FlowSide
    TimerEntry timer            # the earliest deadline of this flow
    Flow *next_blocked          # list of flows that wait for room on a link, or for a MAC address
    Flow *previous_blocked
    bint on_blocked
    Flow *next_half_open        # list of flows of one link whose handshake is not done, the oldest first
    Flow *previous_half_open
    bint half_open              # on it
    Flow *next_dirty            # list of flows with work to do in this run
    bint dirty
    u8 life                     # FlowLife
    bint inbound                # opened towards the guest
    bint is_mapping             # not a conversation: the owner of a host socket that conversations share
    bint served                 # the target is a Python handler, not a host socket
    bint awaited                # somebody in Python waits for its end, whether flows are observed or not
    u8 ttl                      # of the guest's first packet
    u8 ds                       # TCP: Differentiated Services field of the guest's SYN, and then of its latest data
    bint counted                # in its neighbour's `flows`
    u16 link                    # the port that it is charged to
    u32 link_serial             # which of that port's lives; 0: it is charged to none
    void *body                  # owned by the protocol: Tcp or DatagramPeer
    void *socket                # borrowed from the edge until host.close(); NULL without one
    ns_t opened
    ns_t last_from_guest
    ns_t last_from_host         # 0: nothing yet
    u64 bytes_to_host
    u64 bytes_to_guest
    u64 tag                     # chosen by whoever gave the verdict

cdef struct FlowTable:
    Flow **buckets[2]           # owned, by FlowSide
    u32 size[2]                 # powers of two
    u32 count[2]
    u64 hash_key[2]             # SipHash key: a guest cannot aim at one bucket

cdef bint flow_table_init(FlowTable *t, const u64 *hash_key) noexcept nogil
cdef void flow_table_free(FlowTable *t) noexcept nogil
cdef void flow_key_set(FlowKey *key, u8 protocol, const Addr *guest, u16 guest_port, const Addr *far, u16 far_port) noexcept nogil
cdef Flow *flow_find(const FlowTable *t, FlowSide side, const FlowKey *key) noexcept nogil
cdef bint flow_link(FlowTable *t, Flow *flow, FlowSide side, const FlowKey *key) noexcept nogil   # False: out of memory
cdef void flow_unlink(FlowTable *t, Flow *flow, FlowSide side) noexcept nogil
cdef inline Flow *flow_of_timer(TimerEntry *entry) noexcept nogil:
    """The flow around a timer entry."""
    return <Flow *>(<u8 *>entry - <size_t>(&(<Flow *>NULL).timer))
