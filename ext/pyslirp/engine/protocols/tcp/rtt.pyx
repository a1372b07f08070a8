"""The estimator of RFC 6298 in nanoseconds.

Deviations.  The minimum RTO is 200 ms, not 1 s (section 2.4 says SHOULD; Linux and the issue of this project say 200 ms),
the clock granularity G is 1 ms.  The timeout before any sample is 1 s (2.1), 3 s after a lost SYN (5.7), and the cap
60 s (2.5).
"""

cimport cython

from pyslirp.engine.base.ints cimport ns_t, u32

cdef enum:
    MILLISECOND = 1000000
    RTO_MIN_MS = 200
    RTO_FIRST_MS = 1000
    RTO_LOST_SYN_MS = 3000
    RTO_MAX_MS = 60000
    BACKOFF_MAX = 9             # 200 ms << 9 is beyond the cap


cdef void rtt_init(Rtt *r) noexcept nogil:
    r.srtt = 0
    r.rttvar = 0
    r.minimum = 0
    r.latest = 0
    r.first = <ns_t>RTO_FIRST_MS * MILLISECOND
    r.backoff = 0


cdef void rtt_sample(Rtt *r, ns_t sample) noexcept nogil:
    cdef ns_t error
    if sample < 1:
        sample = 1
    r.latest = sample
    if r.minimum == 0 or sample < r.minimum:
        r.minimum = sample
    if r.srtt == 0:                             # (2.2)
        r.srtt = sample
        r.rttvar = sample // 2
    else:                                       # (2.3): beta 1/4, alpha 1/8
        error = r.srtt - sample if r.srtt > sample else sample - r.srtt
        r.rttvar += (error - r.rttvar) // 4
        r.srtt += (sample - r.srtt) // 8
    r.backoff = 0                               # (5.7): a fresh sample ends the backoff


cdef ns_t rtt_timeout(const Rtt *r) noexcept nogil:
    cdef ns_t timeout, cap = <ns_t>RTO_MAX_MS * MILLISECOND
    if r.srtt == 0:
        timeout = r.first
    else:
        timeout = r.srtt + (4 * r.rttvar if 4 * r.rttvar > MILLISECOND else MILLISECOND)
        if timeout < <ns_t>RTO_MIN_MS * MILLISECOND:
            timeout = <ns_t>RTO_MIN_MS * MILLISECOND
    timeout <<= r.backoff
    return timeout if timeout < cap else cap


cdef void rtt_lost_syn(Rtt *r) noexcept nogil:
    if r.srtt == 0:
        r.first = <ns_t>RTO_LOST_SYN_MS * MILLISECOND
        r.backoff = 0


cdef void rtt_back_off(Rtt *r) noexcept nogil:
    if r.backoff < BACKOFF_MAX:
        r.backoff += 1


@cython.final
cdef class _Rtt:
    """An estimator for the tests."""

    cdef Rtt r

    def __cinit__(self) -> None:
        rtt_init(&self.r)

    def sample(self, ns: int) -> None:
        rtt_sample(&self.r, ns)

    def back_off(self) -> None:
        rtt_back_off(&self.r)

    def lost_syn(self) -> None:
        rtt_lost_syn(&self.r)

    @property
    def timeout(self) -> int:
        return rtt_timeout(&self.r)

    @property
    def srtt(self) -> int:
        return self.r.srtt

    @property
    def rttvar(self) -> int:
        return self.r.rttvar
