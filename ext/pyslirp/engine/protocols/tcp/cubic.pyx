"""CUBIC: a window that grows with the cube of the time since the last loss, so that it does not depend on the round trip.

After a loss the window is beta (0.7) of what it was, W_max.  It grows towards W_max, slower the nearer it comes (concave,
until K seconds have passed), and beyond it ever faster (convex).  Where Reno would be faster (short round trips), it grows as
Reno would with the same beta (4.3).  A flow that loses below its last W_max gives more way (fast convergence, 4.7).

Time during which the application and not the window was the limit does not count (5.8).  Slow start is Reno's (4.10).
Integers throughout: milliseconds and bytes, so that every machine computes the same.
"""

cimport cython

from pyslirp.engine.base.ints cimport i64, ns_t, u32, u64
from pyslirp.engine.protocols.tcp.window cimport CWND_MAX, Delivery, Window

cdef enum:
    MILLISECOND = 1000000
    BETA_PERCENT = 70
    AWAY_MS_MAX = 100000        # from K: beyond it the curve is far above CWND_MAX
    REVERSE_C = 2500000000      # 1/C in milliseconds cubed a segment: C is 0.4 segments a second cubed


cdef void cubic_init(Cubic *q) noexcept nogil:
    q.top = 0
    q.before = 0
    q.estimate = 0
    q.rest = 0
    q.epoch = 0
    q.plateau = 0
    q.paused = 0


cdef u64 _cube_root(u64 x) noexcept nogil:
    """Of the whole numbers the largest whose cube is not above x."""
    cdef u64 root = 0, bit = <u64>1 << 20
    while bit:
        root += bit
        if root * root * root > x:
            root -= bit
        bit >>= 1
    return root


cdef void _begin(Cubic *q, const Window *w, ns_t now) noexcept nogil:
    """Figure 2: K is how long the curve takes from here to W_max."""
    q.epoch = now
    q.paused = 0
    q.estimate = w.cwnd
    q.rest = 0
    if w.cwnd >= q.top:
        q.top = w.cwnd
        q.plateau = 0
    else:
        q.plateau = <ns_t>_cube_root((q.top - w.cwnd) * <u64>REVERSE_C // w.mss) * MILLISECOND


cdef u64 _curve(const Cubic *q, u32 mss, ns_t since) noexcept nogil:
    """Figure 1: W_cubic(t) = C (t - K)^3 + W_max."""
    cdef i64 away = (since - q.plateau) // MILLISECOND
    cdef u64 distance = <u64>(away if away > 0 else -away), height
    if distance > AWAY_MS_MAX:
        distance = AWAY_MS_MAX
    height = distance * distance * distance // 1000 * mss // (<u64>REVERSE_C // 1000)
    if away >= 0:
        return q.top + height
    return q.top - height if q.top > height else 0


cdef void cubic_delivered(Cubic *q, Window *w, const Delivery *d, ns_t now) noexcept nogil:
    cdef u64 target, percent
    if w.cwnd < w.ssthresh:
        if d.limited:
            w.cwnd = min(w.cwnd + d.bytes, w.ssthresh, <u64>CWND_MAX)
        return
    if not d.limited:
        if q.epoch and q.paused == 0:
            q.paused = now
        return
    if q.epoch == 0:
        _begin(q, w, now)
    elif q.paused:
        q.epoch += now - q.paused
        q.paused = 0
    # Figure 4; alpha is 3 (1 - beta) / (1 + beta) = 0.53 until Reno would have its window back, and 1 from there on.
    percent = 100 if q.estimate >= q.before else 300 * (100 - BETA_PERCENT) // (100 + BETA_PERCENT)
    q.rest += d.bytes * w.mss * percent // 100
    q.estimate += q.rest // w.cwnd
    q.rest %= w.cwnd
    target = _curve(q, w.mss, now - q.epoch + d.srtt)
    if target > w.cwnd + w.cwnd // 2:
        target = w.cwnd + w.cwnd // 2
    if target > w.cwnd:
        w.cwnd += max((target - w.cwnd) * min(d.bytes, w.cwnd) // w.cwnd, <u64>1)
    if q.estimate > w.cwnd:
        w.cwnd = q.estimate
    if w.cwnd > CWND_MAX:
        w.cwnd = CWND_MAX


cdef void cubic_lost(Cubic *q, Window *w, u64 flight) noexcept nogil:
    q.before = w.cwnd
    q.top = w.cwnd * (100 + BETA_PERCENT) // 200 if w.cwnd < q.top else w.cwnd     # 4.7
    q.epoch = 0
    w.ssthresh = max(flight * BETA_PERCENT // 100, 2 * <u64>w.mss)                  # 4.6


@cython.final
cdef class _Cubic:
    """A controller for the tests."""

    cdef Cubic q
    cdef Window w

    def __cinit__(self, mss: int, cwnd: int) -> None:
        cubic_init(&self.q)
        self.w.mss = mss
        self.w.cwnd = cwnd
        self.w.ssthresh = CWND_MAX

    def delivered(self, amount: int, now: int, srtt: int = 0, limited: bool = True) -> None:
        cdef Delivery d
        d.bytes = amount
        d.srtt = srtt
        d.limited = limited
        cubic_delivered(&self.q, &self.w, &d, now)

    def lost(self, flight: int) -> None:
        """A loss, and the recovery from it."""
        cubic_lost(&self.q, &self.w, flight)
        self.w.cwnd = self.w.ssthresh

    @property
    def cwnd(self) -> int:
        return self.w.cwnd

    @property
    def ssthresh(self) -> int:
        return self.w.ssthresh

    @property
    def plateau(self) -> int:
        return self.q.plateau


def cube_root(x: int) -> int:
    return _cube_root(x)
