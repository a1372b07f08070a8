"""Delivery rate: how fast the path has carried what was sent (draft-ietf-ccwg-bbr, section 4.1)."""

from pyslirp.engine.base.ints cimport ns_t, u64

# What a segment remembers of the moment it was sent.
cdef struct RateMark:
    u64 delivered               # Rate.delivered then
    ns_t delivered_at           # and when that was
    ns_t first_sent             # when the segment left whose delivery began the flight
    bint limited                # by the application or the peer's window, not by the path

cdef struct Rate:
    u64 delivered               # bytes that have reached the peer, in order or not
    ns_t delivered_at           # when the last of them was heard of
    ns_t first_sent             # when the one that gave the last sample had left
    u64 limited                 # samples tell nothing until this much is delivered; 0: they do
    bint sampled                # the sample that is being taken: has it begun?
    ns_t sent                   # when the youngest of it left
    RateMark mark

cdef struct RateSample:
    u64 bytes_per_second        # 0: there is none
    u64 prior                   # Rate.delivered when the youngest segment delivered was sent: a round has passed since
    bint limited                # by the application or the peer's window: no more than a lower bound

cdef void rate_mark(Rate *r, RateMark *mark, bint idle, ns_t now) noexcept nogil       # a segment leaves; idle: nothing is in flight
cdef void rate_delivered(Rate *r, const RateMark *mark, ns_t sent, u64 length, ns_t now) noexcept nogil
cdef void rate_take(Rate *r, ns_t minimum_rtt, RateSample *out) noexcept nogil         # of all delivered since the last call
cdef void rate_limited(Rate *r, u64 flight) noexcept nogil                             # an end lets nothing more be sent now
