"""Loss recovery: what acknowledgments and the retransmission timer do to the sending half (RFC 5681, 6298, 6582, 6675)."""

from pyslirp.engine.base.ints cimport ns_t, u64
from pyslirp.engine.protocols.tcp.options cimport TcpOptions
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpEnv

# SND.UNA < ack <= SND.NXT.  True: our FIN is acknowledged, too.
cdef bint recovery_new_ack(Tcp *t, u64 ack, const TcpOptions *o, ns_t now) noexcept nogil
cdef void recovery_sacks(TcpEnv *env, Tcp *t, const TcpOptions *o, ns_t now) noexcept nogil         # the SACK option of an ACK; after recovery_new_ack
cdef void recovery_duplicate_ack(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil                      # of a guest without SACK
cdef void recovery_timeout(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil                            # the retransmission timer has expired
