"""Loss recovery: what acknowledgments and timers do to the sending half (RFC 5681, 6298, 6582, 8985, 4015)."""

from pyslirp.engine.base.ints cimport ns_t, u32, u64
from pyslirp.engine.protocols.tcp.options cimport TcpOptions
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpEnv

cdef void recovery_began(Tcp *t) noexcept nogil                 # the handshake is over: what was heard in it counts for RTT only
# Taking in, ACK by ACK.  SND.UNA < ack <= SND.NXT.  True: our FIN is acknowledged, too.
cdef bint recovery_new_ack(TcpEnv *env, Tcp *t, u64 ack, const TcpOptions *o, ns_t now) noexcept nogil
cdef void recovery_sacks(TcpEnv *env, Tcp *t, u64 ack, const TcpOptions *o, ns_t now) noexcept nogil     # the SACK option of an ACK; after recovery_new_ack
cdef void recovery_duplicate_ack(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil                  # of a guest without SACK
cdef void recovery_marked(Tcp *t) noexcept nogil                                                # an ACK tells of marks; before anything else of it
cdef void recovery_repeated_ack(Tcp *t) noexcept nogil                                          # of a guest with SACK, that tells of nothing
# Once a batch: losses, the congestion window, whether a recovery begins, ends or was for nothing.
cdef void recovery_judge(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil
cdef void recovery_sent(Tcp *t, u64 seq, u32 length, bint again, ns_t now) noexcept nogil       # a segment has left
cdef void recovery_timeout(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil                        # the retransmission timer has expired
cdef void recovery_late(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil                           # the reordering timer has
cdef bint recovery_may_probe(const Tcp *t) noexcept nogil                                       # is a tail loss probe to be armed?
cdef ns_t recovery_probe_timeout(const Tcp *t) noexcept nogil
