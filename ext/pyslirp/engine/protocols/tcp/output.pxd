"""Segments out: what a connection sends, its resets, and the ACKs that answer what should not have come."""

from pyslirp.engine.base.ints cimport ns_t, u8, u32, u64
from pyslirp.engine.protocols.tcp.options cimport SACK_BLOCKS_MAX
from pyslirp.engine.protocols.tcp.receive cimport AckReport
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpEnv
from pyslirp.engine.tables.flow cimport Flow

cdef bint tcp_send(TcpEnv *env, Flow *flow, Tcp *t, u64 seq, u32 length, u8 flags, ns_t now) noexcept nogil   # one segment; False: link full
cdef bint tcp_send_report(TcpEnv *env, Flow *flow, Tcp *t, const AckReport *report, ns_t now) noexcept nogil  # a bare ACK of then
cdef void tcp_send_reset(TcpEnv *env, Flow *flow, const Tcp *t, u32 seq, u32 ack, bint with_ack, ns_t now) noexcept nogil
cdef void tcp_challenge(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil            # RFC 5961 section 7: one now and then
cdef void tcp_answer(TcpEnv *env, Tcp *t, u32 length, ns_t now) noexcept nogil               # ACK of what is not acceptable
cdef inline int tcp_sack_room(const Tcp *t) noexcept nogil:
    """Blocks that a SACK option has room for beside our other options (RFC 2018 section 3)."""
    return SACK_BLOCKS_MAX - 1 if t.timestamps else SACK_BLOCKS_MAX
