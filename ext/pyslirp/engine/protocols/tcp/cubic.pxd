"""CUBIC (RFC 9438)."""

from pyslirp.engine.base.ints cimport ns_t, u64
from pyslirp.engine.protocols.tcp.window cimport Delivery, Window

cdef struct Cubic:
    u64 top                     # W_max, bytes: the window at the last loss
    u64 before                  # cwnd_prior: and what it was then, whatever fast convergence has made of `top`
    u64 estimate                # W_est, bytes: what Reno would have
    u64 rest                    # of its next byte, in parts of cwnd
    ns_t epoch                  # when this growth began; 0: it has not
    ns_t plateau                # K
    ns_t paused                 # since when cwnd has not been the limit; 0: it is

cdef void cubic_init(Cubic *q) noexcept nogil
cdef void cubic_delivered(Cubic *q, Window *w, const Delivery *d, ns_t now) noexcept nogil      # outside recovery
cdef void cubic_lost(Cubic *q, Window *w, u64 flight) noexcept nogil        # sets ssthresh; where cwnd goes the caller says
