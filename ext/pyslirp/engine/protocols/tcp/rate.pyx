"""How fast the path has carried what was sent: the sampler that BBR lives on.

A sample spans the flight of one segment: what was delivered between its departure and the news of its arrival.  Its time is
the longer of two: how long the flight took to send (ACKs may come bunched, and would say too much), and how long its ACKs
took to come.  A sample of less than the shortest round trip is no flight, and worthless.  While the sender has nothing to
send, samples say how much it wrote and not what the path bears; they are marked.  So are those of a flight that the peer's
window has kept small, which the draft does not mark: BBR would leave STARTUP for a window that was about to grow.

One sample a batch of ACKs, from the youngest segment in it.
"""

cimport cython

from pyslirp.engine.base.ints cimport ns_t, u64

cdef enum:
    SECOND = 1000000000


cdef void rate_mark(Rate *r, RateMark *mark, bint idle, ns_t now) noexcept nogil:
    if idle:
        r.first_sent = now
        r.delivered_at = now
    mark.delivered = r.delivered
    mark.delivered_at = r.delivered_at
    mark.first_sent = r.first_sent
    mark.limited = r.limited != 0


cdef void rate_delivered(Rate *r, const RateMark *mark, ns_t sent, u64 length, ns_t now) noexcept nogil:
    r.delivered += length
    r.delivered_at = now
    if not r.sampled or mark.delivered > r.mark.delivered or (mark.delivered == r.mark.delivered and sent > r.sent):
        r.sampled = True
        r.mark = mark[0]
        r.sent = sent


cdef void rate_take(Rate *r, ns_t minimum_rtt, RateSample *out) noexcept nogil:
    cdef ns_t sending, hearing
    out.bytes_per_second = 0
    out.prior = 0
    out.limited = False
    if not r.sampled:
        return
    r.sampled = False
    if r.limited and r.delivered > r.limited:
        r.limited = 0
    out.prior = r.mark.delivered
    out.limited = r.mark.limited
    sending = r.sent - r.mark.first_sent
    hearing = r.delivered_at - r.mark.delivered_at
    r.first_sent = r.sent
    if hearing < sending:
        hearing = sending
    if hearing > 0 and hearing >= minimum_rtt:
        # In microseconds, so that the product stays within 64 bits for any flight there can be.
        out.bytes_per_second = (r.delivered - r.mark.delivered) * 1000000 // <u64>(hearing // 1000 if hearing > 1000 else 1)


cdef void rate_limited(Rate *r, u64 flight) noexcept nogil:
    r.limited = r.delivered + flight if r.delivered + flight else 1


@cython.final
cdef class _Rate:
    """A sampler for the tests: segments are numbered as they leave."""

    cdef Rate r
    cdef RateMark[64] marks
    cdef ns_t[64] sent
    cdef int count

    def send(self, now: int, idle: bool = False) -> int:
        rate_mark(&self.r, &self.marks[self.count], idle, now)
        self.sent[self.count] = now
        self.count += 1
        return self.count - 1

    def deliver(self, segment: int, length: int, now: int) -> None:
        if not 0 <= segment < self.count:
            raise IndexError(segment)
        rate_delivered(&self.r, &self.marks[segment], self.sent[segment], length, now)

    def take(self, minimum_rtt: int = 0) -> tuple[int, int, bool]:
        """(bytes a second or 0, delivered before, limited by an end)."""
        cdef RateSample sample
        rate_take(&self.r, minimum_rtt, &sample)
        return sample.bytes_per_second, sample.prior, bool(sample.limited)

    def limited(self, flight: int) -> None:
        rate_limited(&self.r, flight)

    @property
    def delivered(self) -> int:
        return self.r.delivered
