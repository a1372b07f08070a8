"""Congestion control behind one interface.  Reno (RFC 5681, RFC 6582) now; CUBIC and BBR take their places beside it."""

from pyslirp.engine.base.ints cimport ns_t, u8, u32, u64

cdef enum CongestionKind:
    RENO = 0

cdef struct Congestion:
    u8 kind                     # CongestionKind
    u32 mss                     # bytes of a full segment
    u64 cwnd                    # bytes
    u64 ssthresh                # bytes
    u64 credit                  # bytes acknowledged towards the next increase (appropriate byte counting)

cdef void cc_init(Congestion *c, CongestionKind kind, u32 mss) noexcept nogil
# `acked` new bytes were acknowledged outside recovery; limited: cwnd, and not the application or the peer's window, held us back.
cdef void cc_acked(Congestion *c, u64 acked, bint limited, ns_t now) noexcept nogil
cdef void cc_lost(Congestion *c, u64 flight, ns_t now) noexcept nogil          # loss found by SACK or duplicate ACKs: once a recovery
cdef void cc_timed_out(Congestion *c, u64 flight, bint first, ns_t now) noexcept nogil   # RTO; first: not a repeated one
cdef void cc_recovered(Congestion *c, ns_t now) noexcept nogil                 # the recovery point was acknowledged
cdef void cc_restarted(Congestion *c, ns_t now) noexcept nogil                 # idle for more than an RTO (RFC 5681 section 4.1)
