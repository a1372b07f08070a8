"""The pump of one connection: bytes between the guest's TCP and the flow's target, segments out, deadlines."""

from pyslirp.engine.base.ints cimport i64, ns_t, u8, u64
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpEnv
from pyslirp.engine.tables.flow cimport Flow

cdef void tcp_run(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil                  # move bytes both ways, acknowledge, set deadlines
cdef const char *tcp_unsound(const Flow *flow, const Tcp *t) noexcept nogil    # between runs: what does not agree, or NULL.  For tests
cdef void tcp_expire(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil               # what is due at now; then run it
# A handler's side.
cdef i64 tcp_read(TcpEnv *env, Flow *flow, Tcp *t, u8 *into, u64 most, ns_t now) noexcept nogil
cdef u64 tcp_readable(const Tcp *t) noexcept nogil
cdef u64 tcp_urgent(const Tcp *t) noexcept nogil                                             # bytes up to the guest's urgent one, with it
cdef u64 tcp_write(TcpEnv *env, Flow *flow, Tcp *t, const u8 *data, u64 length, bint urgent) noexcept nogil    # how many bytes were taken;
                                                                                               # urgent: the last of them is
