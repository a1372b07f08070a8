"""TCP flows: from the first SYN, over the verdict, to the last byte."""

from pyslirp.engine.base.ints cimport Addr, i32, ns_t, u8, u16, u32, u64
from pyslirp.engine.codecs.parse cimport Packet
from pyslirp.engine.codecs.quote cimport Quote
from pyslirp.engine.core.world cimport World
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpEnd
from pyslirp.engine.tables.flow cimport Flow, FlowKey

cdef void streams_init(World *w) noexcept nogil
cdef void stream_input(World *w, const Packet *p, u32 port) noexcept nogil
cdef void stream_run(World *w, Flow *flow) noexcept nogil
cdef void streams_run(World *w) noexcept nogil                                              # all that have something to do, within a batch
cdef void stream_expire(World *w, Flow *flow) noexcept nogil
# A guest, or a router behind one, has sent an ICMP error about a segment of ours.  too_big: with this MTU (0: not told);
# else it is lost for good, and refused tells whether by the guest itself or by the way.
cdef void stream_icmp_error(World *w, const Quote *quote, bint too_big, bint refused, u32 mtu) noexcept nogil
# Verdicts; each is for a flow with life FLOW_NEW and does nothing for another.
cdef void stream_serve(World *w, Flow *flow, u64 tag) noexcept nogil                       # a Python handler takes it
cdef void stream_attach(World *w, Flow *flow, void *socket, u64 tag) noexcept nogil        # the edge connects this socket for it
cdef void stream_deny(World *w, Flow *flow, int how) noexcept nogil                        # Denial
# Say to the guest what ICMP says of a flow's SYN: `source` (NULL: we) reports it, kind and code are of ICMP.
cdef void stream_complain(World *w, Flow *flow, const Addr *source, u8 kind, u8 code) noexcept nogil
# Towards the guest; NULL when the table is full.  socket NULL: served.
cdef Flow *stream_open(World *w, const Addr *guest, u16 guest_port, const Addr *far, u16 far_port, void *socket, u64 tag) noexcept nogil
cdef void stream_abort(World *w, Flow *flow, TcpEnd reason, bint tell_guest) noexcept nogil
# From the edge.
cdef void stream_connected(World *w, Flow *flow) noexcept nogil
cdef void stream_host_failed(World *w, Flow *flow, i32 error) noexcept nogil
