"""TCP segments on their way to a guest."""

from pyslirp.engine.base.ints cimport u32
from pyslirp.engine.core.world cimport World
from pyslirp.engine.protocols.tcp.tcb cimport TcpSegment
from pyslirp.engine.tables.flow cimport Flow, FlowKey

cdef bint out_segment(void *world, Flow *flow, const TcpSegment *segment) noexcept nogil     # TcpEnv.emit
cdef u32 out_burst(void *world, Flow *flow) noexcept nogil                                   # TcpEnv.burst
# A reset for a segment that belongs to no flow (RFC 9293 3.10.7.1).
cdef bint out_reset(World *w, const FlowKey *key, u32 seq, u32 ack, bint with_ack) noexcept nogil
