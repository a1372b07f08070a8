"""Reno with appropriate byte counting.

cwnd starts at ten segments (RFC 6928).  Slow start adds what was acknowledged, at most two segments an ACK's worth of it
(RFC 3465, L=2 per segment acknowledged, so that one ACK for a batch grows as many ACKs would); congestion avoidance adds
one segment a window.  Loss halves what is in flight (RFC 5681 equation 4).  A window that was not used is not grown
(RFC 7661's reason: it says nothing about the path).
"""

cimport cython

from pyslirp.engine.base.ints cimport ns_t, u32, u64

cdef enum:
    INITIAL_SEGMENTS = 10
    CWND_MAX = 67108864         # 64 MiB: four times the largest window there is


cdef void cc_init(Congestion *c, CongestionKind kind, u32 mss) noexcept nogil:
    c.kind = kind
    c.mss = mss
    c.cwnd = <u64>INITIAL_SEGMENTS * mss
    c.ssthresh = CWND_MAX
    c.credit = 0


cdef void cc_acked(Congestion *c, u64 acked, bint limited, ns_t now) noexcept nogil:
    if not limited:
        return
    if c.cwnd < c.ssthresh:
        c.cwnd += acked
        if c.cwnd > c.ssthresh:
            c.cwnd = c.ssthresh
    else:
        c.credit += acked
        if c.credit >= c.cwnd:
            c.credit -= c.cwnd
            c.cwnd += c.mss
    if c.cwnd > CWND_MAX:
        c.cwnd = CWND_MAX


cdef inline u64 _half(const Congestion *c, u64 flight) noexcept nogil:
    return flight // 2 if flight // 2 > 2 * <u64>c.mss else 2 * <u64>c.mss


cdef void cc_lost(Congestion *c, u64 flight, ns_t now) noexcept nogil:
    c.ssthresh = _half(c, flight)
    c.cwnd = c.ssthresh
    c.credit = 0


cdef void cc_timed_out(Congestion *c, u64 flight, bint first, ns_t now) noexcept nogil:
    if first:
        c.ssthresh = _half(c, flight)
    c.cwnd = c.mss
    c.credit = 0


cdef void cc_recovered(Congestion *c, ns_t now) noexcept nogil:
    if c.cwnd < c.ssthresh:
        return                                  # after a timeout slow start goes on
    c.cwnd = c.ssthresh
    c.credit = 0


cdef void cc_restarted(Congestion *c, ns_t now) noexcept nogil:
    cdef u64 first = <u64>INITIAL_SEGMENTS * c.mss
    if c.cwnd > first:
        c.ssthresh = c.cwnd if c.cwnd > c.ssthresh or c.ssthresh >= CWND_MAX else c.ssthresh
        c.cwnd = first


@cython.final
cdef class _Congestion:
    """A controller for the tests."""

    cdef Congestion c

    def __cinit__(self, mss: int) -> None:
        cc_init(&self.c, RENO, mss)

    def acked(self, acked: int, limited: bool = True, now: int = 0) -> None:
        cc_acked(&self.c, acked, limited, now)

    def lost(self, flight: int, now: int = 0) -> None:
        cc_lost(&self.c, flight, now)

    def timed_out(self, flight: int, first: bool = True, now: int = 0) -> None:
        cc_timed_out(&self.c, flight, first, now)

    def recovered(self, now: int = 0) -> None:
        cc_recovered(&self.c, now)

    def restarted(self, now: int = 0) -> None:
        cc_restarted(&self.c, now)

    @property
    def cwnd(self) -> int:
        return self.c.cwnd

    @property
    def ssthresh(self) -> int:
        return self.c.ssthresh
