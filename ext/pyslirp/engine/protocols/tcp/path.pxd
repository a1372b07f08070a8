"""What size of packet the path to the guest carries (RFC 1191, RFC 8201, RFC 2923, RFC 5927)."""

from pyslirp.engine.base.ints cimport ns_t, u32
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpEnv
from pyslirp.engine.tables.flow cimport Flow

# An ICMP error says that a packet of ours with sequence number `seq`, `packet_bytes` long, was too big for a link with this
# MTU (0: it does not say).  False: not believed.
cdef bint path_too_big(TcpEnv *env, Flow *flow, Tcp *t, u32 seq, u32 mtu, u32 packet_bytes, ns_t now) noexcept nogil
cdef void path_timeout(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil     # the retransmission timer has expired
cdef void path_widen(Tcp *t, ns_t now) noexcept nogil                                # is it time to try the full size again?
