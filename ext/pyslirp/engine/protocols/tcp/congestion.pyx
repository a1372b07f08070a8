"""The controllers behind one door, and Reno, the plainest of them.

Reno.  cwnd starts at ten segments (RFC 6928).  Slow start adds what was acknowledged (RFC 3465 without its limit an ACK, so that one
ACK for a batch grows as many ACKs would); congestion avoidance adds one segment a window.  Loss halves what is in
flight (RFC 5681 equation 4).  A window that was not used is not grown (RFC 7661's reason: it says nothing about the path).

Recovery of Reno and CUBIC.  With SACK the window follows proportional rate reduction (RFC 6937 with its successor's rule:
the slow-start bound only while SND.UNA moves and nothing more is lost): for what is delivered a share is sent, so that the
flight has come down to ssthresh when the recovery ends, without a pause first.  Without SACK it is ssthresh at once.

A mark (RFC 3168) reduces as a loss does, by the same way down (RFC 5681 for Reno, RFC 9438 4.6 for CUBIC), and is never taken back.
BBR does not heed marks, see ecn.pyx.

A recovery that was for nothing is taken back (RFC 4015): cwnd and ssthresh are what they were, and CUBIC's curve (RFC 9438 4.9.2).

BBR is in bbr.pyx, CUBIC's growth in cubic.pyx.  Only BBR paces.
"""

cimport cython

from pyslirp.engine.base.ints cimport ns_t, u32, u64
from pyslirp.engine.protocols.tcp.bbr cimport bbr_delivered, bbr_init, bbr_lost, bbr_restarted, bbr_timed_out, bbr_undo
from pyslirp.engine.protocols.tcp.cubic cimport cubic_delivered, cubic_init, cubic_lost
from pyslirp.engine.protocols.tcp.window cimport CWND_MAX, INITIAL_SEGMENTS, Delivery, Window

NAMES = ("reno", "cubic", "bbr")                # by CongestionKind


cdef void cc_init(Congestion *c, CongestionKind kind, u32 mss, ns_t now) noexcept nogil:
    c.kind = kind
    c.window.mss = mss
    c.window.cwnd = <u64>INITIAL_SEGMENTS * mss
    c.window.ssthresh = CWND_MAX
    c.window.pace = 0
    c.window.probing_low = False
    c.prior_cwnd = 0
    c.prior_ssthresh = 0
    c.prr_delivered = 0
    c.prr_out = 0
    c.prr_flight = 0
    if kind == BBR:
        bbr_init(&c.model.bbr, now)
    elif kind == CUBIC:
        cubic_init(&c.model.cubic[0])
        cubic_init(&c.model.cubic[1])
    else:
        c.model.credit = 0


cdef void _reno(Congestion *c, const Delivery *d) noexcept nogil:
    cdef Window *w = &c.window
    if not d.limited:
        return
    if w.cwnd < w.ssthresh:
        w.cwnd = min(w.cwnd + d.bytes, w.ssthresh, <u64>CWND_MAX)
        return
    c.model.credit += d.bytes
    if c.model.credit >= w.cwnd:
        c.model.credit -= w.cwnd
        w.cwnd = min(w.cwnd + w.mss, <u64>CWND_MAX)


cdef void _reduce(Congestion *c, const Delivery *d) noexcept nogil:
    """Proportional rate reduction: cwnd is what is in flight and what may be added to it now."""
    cdef Window *w = &c.window
    cdef u64 may, most
    c.prr_delivered += d.bytes
    if d.flight > w.ssthresh:
        may = (c.prr_delivered * w.ssthresh + c.prr_flight - 1) // c.prr_flight
        may = may - c.prr_out if may > c.prr_out else 0
    else:
        most = max(c.prr_delivered - c.prr_out if c.prr_delivered > c.prr_out else 0, d.bytes)
        if d.lost == 0:
            most += w.mss
        may = min(w.ssthresh - d.flight, most)
    w.cwnd = max(d.flight + may, <u64>w.mss)


cdef void cc_delivered(Congestion *c, const Delivery *d, ns_t now) noexcept nogil:
    if c.kind == BBR:
        bbr_delivered(&c.model.bbr, &c.window, d, now)
    elif d.recovering:
        if c.prr_flight:
            _reduce(c, d)
    elif d.bytes:
        if c.kind == CUBIC:
            cubic_delivered(&c.model.cubic[0], &c.window, d, now)
        else:
            _reno(c, d)


cdef void cc_sent(Congestion *c, u64 length) noexcept nogil:
    c.prr_out += length


cdef void _reduced(Congestion *c, u64 flight) noexcept nogil:
    """ssthresh after a loss."""
    c.prior_cwnd = c.window.cwnd
    c.prior_ssthresh = c.window.ssthresh
    if c.kind == CUBIC:
        c.model.cubic[1] = c.model.cubic[0]
        cubic_lost(&c.model.cubic[0], &c.window, flight)
    elif c.kind == RENO:
        c.window.ssthresh = max(flight // 2, 2 * <u64>c.window.mss)
        c.model.credit = 0


cdef void _come_down(Congestion *c, u64 flight) noexcept nogil:
    """To ssthresh, by proportional rate reduction from here."""
    c.window.cwnd = c.window.ssthresh
    c.prr_delivered = 0
    c.prr_out = 0
    c.prr_flight = max(flight, <u64>1)


cdef void cc_lost(Congestion *c, u64 flight, bint reduce, ns_t now) noexcept nogil:
    if reduce:
        _reduced(c, flight)
    if c.kind == BBR:
        bbr_lost(&c.model.bbr, &c.window)
    else:
        _come_down(c, flight)


cdef bint cc_heeds_marks(const Congestion *c) noexcept nogil:
    return c.kind != BBR


cdef void cc_marked(Congestion *c, u64 flight, ns_t now) noexcept nogil:
    if c.kind == BBR:
        return
    _reduced(c, flight)
    c.prior_cwnd = c.window.ssthresh            # no retransmission can prove it needless
    c.prior_ssthresh = c.window.ssthresh
    if c.kind == CUBIC:
        c.model.cubic[1] = c.model.cubic[0]
    _come_down(c, flight)


cdef void cc_timed_out(Congestion *c, u64 flight, bint first, ns_t now) noexcept nogil:
    if first:
        _reduced(c, flight)
    if c.kind == BBR:
        bbr_timed_out(&c.model.bbr, &c.window, first)
    c.window.cwnd = c.window.mss
    c.prr_flight = 0


cdef void cc_recovered(Congestion *c, ns_t now) noexcept nogil:
    c.prr_flight = 0
    if c.kind != BBR:
        c.window.cwnd = c.window.ssthresh


cdef void cc_undo(Congestion *c, ns_t now) noexcept nogil:
    cdef bint reducing = c.prr_flight != 0
    c.prr_flight = 0
    if c.prior_cwnd == 0:
        return
    if c.kind == BBR:
        bbr_undo(&c.model.bbr, &c.window)
    elif c.kind == CUBIC:
        c.model.cubic[0] = c.model.cubic[1]
    c.window.cwnd = c.prior_cwnd if reducing else max(c.window.cwnd, c.prior_cwnd)
    c.window.ssthresh = max(c.window.ssthresh, c.prior_ssthresh)
    c.prior_cwnd = 0


cdef void cc_restarted(Congestion *c, ns_t now) noexcept nogil:
    cdef Window *w = &c.window
    cdef u64 first = <u64>INITIAL_SEGMENTS * w.mss
    if c.kind != BBR and w.cwnd > first:
        w.ssthresh = w.cwnd if w.cwnd > w.ssthresh or w.ssthresh >= CWND_MAX else w.ssthresh
        w.cwnd = first


cdef void cc_resumed(Congestion *c, ns_t now) noexcept nogil:
    if c.kind == BBR:
        bbr_restarted(&c.model.bbr, &c.window, now)


@cython.final
cdef class _Congestion:
    """A controller for the tests."""

    cdef Congestion c

    def __cinit__(self, mss: int, kind: str = "reno") -> None:
        cc_init(&self.c, <CongestionKind><int>NAMES.index(kind), mss, 0)

    def acked(self, acked: int, limited: bool = True, now: int = 0, *, flight: int = 0, lost: int = 0, recovering: bool = False,
              srtt: int = 0) -> None:
        cdef Delivery d
        d.bytes = acked
        d.total = acked
        d.prior = 0
        d.lost = lost
        d.flight = flight
        d.before = flight + acked
        d.rate = 0
        d.rate_limited = not limited
        d.limited = limited
        d.recovering = recovering
        d.timed_out = False
        d.rtt = 0
        d.srtt = srtt
        cc_delivered(&self.c, &d, now)

    def sent(self, length: int) -> None:
        cc_sent(&self.c, length)

    def lost(self, flight: int, now: int = 0, *, reduce: bool = True) -> None:
        cc_lost(&self.c, flight, reduce, now)

    def marked(self, flight: int, now: int = 0) -> None:
        cc_marked(&self.c, flight, now)

    def timed_out(self, flight: int, first: bool = True, now: int = 0) -> None:
        cc_timed_out(&self.c, flight, first, now)

    def recovered(self, now: int = 0) -> None:
        cc_recovered(&self.c, now)

    def undo(self, now: int = 0) -> None:
        cc_undo(&self.c, now)

    def restarted(self, now: int = 0) -> None:
        cc_restarted(&self.c, now)

    @property
    def cwnd(self) -> int:
        return self.c.window.cwnd

    @property
    def ssthresh(self) -> int:
        return self.c.window.ssthresh
