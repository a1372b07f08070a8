"""One TCP connection with a guest: the glue of state, receive, transmit and recovery, and the guest's half of a flow."""

from pyslirp.engine.base.ints cimport i32, ns_t, u8, u16, u32, u64
from pyslirp.engine.codecs.parse cimport Packet
from pyslirp.engine.protocols.tcp.state cimport TcpEvent
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpEnd, TcpEnv
from pyslirp.engine.stores.chunks cimport ChunkPool
from pyslirp.engine.tables.flow cimport Flow

cdef enum:
    DELAYED_ACK_MS = 40         # RFC 9293 3.8.6.3 allows 500
    TIME_WAIT_SECONDS = 10      # 2 MSL: no segment lives longer than a few seconds on a guest's link (libslirp: 10)
    HANDSHAKE_SECONDS = 190     # to finish a handshake with the guest (RFC 9293 MUST-23: SYNs for 3 minutes; the last is of 183 s)
    STALL_SECONDS = 600         # the guest acknowledges nothing (RFC 9293 3.8.3 R2: at least 100 s; a paused VM comes back)
    USER_TIMEOUT_MIN = 100      # bounds of what a guest may ask for by RFC 5482 section 3.1: RFC 9293 3.8.3 R2's least,
    USER_TIMEOUT_MAX = 86400    # and a day
    HALF_CLOSED_SECONDS = 240   # of silence before the first probe once one side has ended (RFC 5382 REQ-5: no less)
    FIN_WAIT_2_SECONDS = 7200   # a guest that answers probes may still keep its half open, without a byte, for so long
    KEEPALIVE_SECONDS = 7200    # of silence before the first probe (RFC 9293 3.8.4)
    KEEPALIVE_PROBES = 9
    KEEPALIVE_INTERVAL_SECONDS = 75

cdef void tcp_init(ChunkPool *pool, Tcp *t, u64 iss, u16 our_mss, u32 ts_offset) noexcept nogil
cdef void tcp_free(TcpEnv *env, Tcp *t) noexcept nogil                                       # memory only
cdef void tcp_hold(TcpEnv *env, Flow *flow, Tcp *t, const Packet *syn, ns_t now) noexcept nogil         # guest's SYN -> HELD
cdef void tcp_host_connected(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil       # HELD -> SYN_RCVD
cdef void tcp_open(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil                 # -> SYN_SENT
cdef void tcp_input(TcpEnv *env, Flow *flow, Tcp *t, const Packet *p, ns_t now) noexcept nogil
cdef void tcp_abort(TcpEnv *env, Flow *flow, Tcp *t, TcpEnd reason, bint tell_guest, ns_t now) noexcept nogil     # reset, both ways
cdef void tcp_host_failed(TcpEnv *env, Flow *flow, Tcp *t, i32 error, ns_t now) noexcept nogil            # connect or an open socket; errno
cdef ns_t tcp_deadline(const Tcp *t) noexcept nogil
cdef bint tcp_over(const Tcp *t) noexcept nogil                                              # nothing is left to do: the flow may be freed
cdef bint tcp_reusable(const Tcp *t, const Packet *syn) noexcept nogil                       # TIME_WAIT yields to this SYN (RFC 9293 MAY-2, RFC 6191)
cdef void tcp_end(Tcp *t, TcpEvent event) noexcept nogil                                     # `event` closes it, and all is well: END_CLOSED
# For the relay.
cdef void tcp_enter(Tcp *t, TcpEvent event) noexcept nogil
