"""Round-trip time and retransmission timeout (RFC 6298)."""

from pyslirp.engine.base.ints cimport ns_t, u32

cdef struct Rtt:
    ns_t srtt                   # smoothed; 0 before the first sample
    ns_t rttvar
    ns_t minimum                # least sample of the connection; 0 before the first
    ns_t latest
    ns_t first                  # the timeout before the first sample
    u32 backoff                 # doublings of the timeout since the last good sample

cdef void rtt_init(Rtt *r) noexcept nogil
cdef void rtt_sample(Rtt *r, ns_t sample) noexcept nogil         # of a segment that was sent once (Karn), or by timestamp
cdef ns_t rtt_timeout(const Rtt *r) noexcept nogil               # RTO with its backoff
cdef void rtt_lost_syn(Rtt *r) noexcept nogil                    # the handshake took more than one SYN (RFC 6298 5.7)
cdef void rtt_back_off(Rtt *r) noexcept nogil                    # the timer has expired (RFC 6298 5.5)

cdef inline u32 rtt_ts_clock(ns_t now, u32 offset) noexcept nogil:
    """Our timestamp clock (RFC 7323 section 5.4): milliseconds, from an offset that says nothing about uptime."""
    return <u32>(now // 1000000) + offset
