"""Making and ending flows of any kind, and the lists on which they wait for work."""

from pyslirp.engine.base.ints cimport i64, ns_t, u8, u32, u64
from pyslirp.engine.core.world cimport World
from pyslirp.engine.tables.flow cimport Flow, FlowKey

# How a verdict refuses.
cdef enum Denial:
    DENY_RESET = 1              # TCP: a reset; else port unreachable
    DENY_PORT = 2               # ICMP unreachable, by code
    DENY_HOST = 3
    DENY_NET = 4
    DENY_PROHIBITED = 5
    DENY_SILENT = 6

cdef enum:
    LINK_NONE = 0xffff          # flow_new: charged to no link

# Linked by GUEST_SIDE, charged to the link that it came in by; NULL: full (counted).
cdef Flow *flow_new(World *w, const FlowKey *key, u8 ttl, u32 link) noexcept nogil
cdef void flow_dirty(World *w, Flow *flow) noexcept nogil
cdef void flow_later(World *w, Flow *flow) noexcept nogil                                 # dirty again when this run is over
cdef void flows_later(World *w) noexcept nogil                                            # it is over
cdef Flow *flow_next_dirty(World *w) noexcept nogil                          # takes one off; frees the dead on the way
cdef void flow_wait(World *w, Flow *flow, bint served) noexcept nogil        # on the list of the blocked; served: it has sent something
cdef void flows_unblock(World *w) noexcept nogil
cdef void flow_rearm(World *w, Flow *flow, ns_t when) noexcept nogil         # wake no later than `when`
cdef void flow_punt(World *w, Flow *flow, u32 port) noexcept nogil           # ask for a verdict
# Ends a flow: tells Python (told: it had been heard of there), takes it off names and timers, frees it when no list holds it.
# A flow that a guest is opening; it is open now; who has to go for one more of this link, or NULL.
cdef void flow_half_open(World *w, Flow *flow) noexcept nogil
cdef void flow_whole(World *w, Flow *flow) noexcept nogil
cdef Flow *flow_oldest_half_open(World *w, u32 link) noexcept nogil
cdef void flow_kill(World *w, Flow *flow, i64 reason) noexcept nogil
cdef u8 denial_code(int how) noexcept nogil                                  # code of ICMP unreachable
