"""What the core hands up to Python, in order."""

from pyslirp.engine.base.ints cimport i64, u8, u16, u32, u64
from pyslirp.engine.tables.flow cimport FlowKey

cdef enum:
    PUNTS_MAX = 4096            # waiting; beyond it what can be refused is refused
    PUNT_BYTES_MAX = 4194304    # of datagrams that wait

cdef enum PuntKind:
    PUNT_FLOW = 1               # a new flow waits for a verdict
    PUNT_DATAGRAM = 2           # a datagram that a service has claimed
    PUNT_CONNECTED = 3          # a served flow is established
    PUNT_READABLE = 4
    PUNT_WRITABLE = 5
    PUNT_FINISHED = 6
    PUNT_CLOSED = 7             # a flow is gone
    PUNT_MESSAGE = 8            # a datagram of a served flow
    PUNT_LINK = 9               # a port has lost its link: `a` says why (0: end of file, -1: bad length `b`, else errno)
    PUNT_WATCH = 10             # a watched descriptor is ready: `a` events, `flow` token
    PUNT_INBOUND = 11           # a forwarding listener has accepted: `a` descriptor, `flow` token of the rule
    PUNT_CONNECT = 12           # the host's connect of a flow has ended: `a` errno (0: it has succeeded)
    PUNT_STRANGER = 13          # a remote has begun a datagram flow: the payload is its address, `a` its port
    PUNT_SOLICITATION = 14      # a guest looks for routers (RFC 4861 section 4.1)

cdef struct Punt:
    u8 kind
    u8 ttl
    bint inbound
    u32 link
    u64 flow
    u64 tag
    FlowKey key
    u8[6] mac
    i64 a
    i64 b
    i64 c
    u8 *payload                 # owned
    u32 length

cdef struct PuntQueue:
    Punt *items                 # owned
    u32 count
    u32 room
    u64 bytes                   # of all payloads
    u64 refused

cdef void punts_init(PuntQueue *q) noexcept nogil
cdef void punts_free(PuntQueue *q) noexcept nogil
# A blank punt at the end of the queue, or NULL when it is full (or out of memory); must: beyond PUNTS_MAX too, because
# something is freed with it.
cdef Punt *punt_add(PuntQueue *q, PuntKind kind, bint must) noexcept nogil
# One with a payload (copied), which can be refused.
cdef Punt *punt_with(PuntQueue *q, PuntKind kind, const u8 *data, u32 length) noexcept nogil
cdef list punts_take(PuntQueue *q)                              # as tuples (see pyslirp/engine/core/core.pyi), emptying the queue
