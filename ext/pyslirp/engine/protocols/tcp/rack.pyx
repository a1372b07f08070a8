"""RACK-TLP's figures (RFC 8985): which round trip a segment may be late against, and by how much.

A segment is lost when one that was sent later has arrived, and the reordering window has passed since it could have: loss is
told by time and not by counting, so a lost retransmission is found like any other, and so is the last segment of a flight once
a tail loss probe (section 7) has fetched an ACK.

The window is nothing in recovery or once three segments are sacked, as long as this path was never seen to reorder (6.2.4);
then it is a quarter of the least round trip, one step more for every round trip with a D-SACK, for sixteen recoveries, and at
most SRTT.  A D-SACK counts where it is about something that was sent again not long ago: a link that doubles segments causes
them as well, and says nothing by it.  The scan for segments that are late, and the timers, are with those who have them (scoreboard.pyx, recovery.pyx).

Deviations.  Of a retransmission that seems delivered sooner than any round trip is long, nothing is learned (6.2.2, second
condition); its timestamp is not looked at (first condition), because above a hole the peer echoes that of the last segment in
order, however old.  A D-SACK counts as reordering seen: what arrived behind its own retransmission cannot be seen otherwise.  A probe waits at least 20 ms, since a guest is not scheduled by the microsecond.
"""

cimport cython
from libc.string cimport memset

from pyslirp.engine.base.ints cimport i32, ns_t, u8, u32, u64

cdef enum:
    MILLISECOND = 1000000
    PERSIST = 16                # recoveries that a widened window lasts (6.2.4)
    STEPS_MAX = 64              # SRTT bounds the window long before


cdef void rack_init(Rack *r) noexcept nogil:
    r.sent = 0
    r.end = 0
    r.rtt = 0
    r.minimum = 0
    r.forward = 0
    r.reordered = False
    r.steps = 1
    r.rounds = 0
    r.round_end = 0
    r.again_top = 0
    r.repeat_last = 0
    memset(r.repeat_start, 0, sizeof(r.repeat_start))
    memset(r.repeat_end, 0, sizeof(r.repeat_end))
    r.probe = 0


cdef void rack_delivered(Rack *r, ns_t sent, u64 end, bint again, ns_t now) noexcept nogil:
    cdef ns_t rtt = now - sent if now > sent else 1
    if again and rtt < r.minimum:
        return                                  # the ACK of what was sent first
    if r.minimum == 0 or (not again and rtt < r.minimum):
        r.minimum = rtt
    if sent > r.sent or (sent == r.sent and end > r.end):
        r.sent = sent
        r.end = end
        r.rtt = rtt
    if end > r.forward:
        r.forward = end
    elif end < r.forward and not again:
        r.reordered = True


cdef void rack_repeated(Rack *r, u64 seq, u64 end) noexcept nogil:
    if end > r.again_top:
        r.again_top = end
    if r.repeat_end[r.repeat_last] != <u32>seq:
        r.repeat_last = (r.repeat_last + 1) % <u8>REPEATS_KEPT
        r.repeat_start[r.repeat_last] = <u32>seq
    r.repeat_end[r.repeat_last] = <u32>end


cdef bint rack_was_repeated(const Rack *r, u64 start, u64 end) noexcept nogil:
    cdef int i
    for i in range(REPEATS_KEPT):
        if (r.repeat_start[i] != r.repeat_end[i] and <i32>(<u32>start - r.repeat_end[i]) < 0
                and <i32>(<u32>end - r.repeat_start[i]) > 0):
            return True
    return False


cdef void rack_spurious(Rack *r, u64 nxt) noexcept nogil:
    r.reordered = True
    if r.round_end == 0:
        r.round_end = nxt
        if r.steps < STEPS_MAX:
            r.steps += 1
        r.rounds = PERSIST


cdef void rack_round(Rack *r, u64 una) noexcept nogil:
    if r.round_end and una >= r.round_end:
        r.round_end = 0


cdef void rack_recovered(Rack *r) noexcept nogil:
    if r.rounds:
        r.rounds -= 1
        if r.rounds == 0:
            r.steps = 1


cdef ns_t rack_window(const Rack *r, ns_t srtt, bint certain) noexcept nogil:
    cdef ns_t window
    if not r.reordered and certain:
        return 0
    window = r.steps * (r.minimum // 4)
    return window if window < srtt else srtt


cdef ns_t rack_probe_timeout(ns_t srtt, bint alone) noexcept nogil:
    cdef ns_t timeout
    if srtt == 0:
        return <ns_t>PROBE_FIRST_MS * MILLISECOND
    timeout = 2 * srtt
    if timeout < <ns_t>PROBE_FLOOR_MS * MILLISECOND:
        timeout = <ns_t>PROBE_FLOOR_MS * MILLISECOND
    return timeout + <ns_t>ACK_DELAY_MS * MILLISECOND if alone else timeout


@cython.final
cdef class _Rack:
    """The figures for the tests; times are nanoseconds."""

    cdef Rack r

    def __cinit__(self) -> None:
        rack_init(&self.r)

    def delivered(self, sent: int, end: int, now: int, again: bool = False) -> None:
        rack_delivered(&self.r, sent, end, again, now)

    def repeated(self, seq: int, end: int) -> None:
        rack_repeated(&self.r, seq, end)

    def was_repeated(self, start: int, end: int) -> bool:
        return bool(rack_was_repeated(&self.r, start, end))

    def spurious(self, nxt: int) -> None:
        rack_spurious(&self.r, nxt)

    def round(self, una: int) -> None:
        rack_round(&self.r, una)

    def recovered(self) -> None:
        rack_recovered(&self.r)

    def window(self, srtt: int, certain: bool = False) -> int:
        return rack_window(&self.r, srtt, certain)

    def older(self, sent: int, end: int) -> bool:
        return bool(rack_older(&self.r, sent, end))

    @property
    def rtt(self) -> int:
        return self.r.rtt

    @property
    def reordered(self) -> bool:
        return bool(self.r.reordered)


def probe_timeout(srtt: int, alone: bool) -> int:
    return rack_probe_timeout(srtt, alone)
