"""Congestion control behind one interface: Reno (RFC 5681, RFC 6582), CUBIC (RFC 9438), BBR; recovery by PRR (RFC 6937)."""

from pyslirp.engine.base.ints cimport ns_t, u8, u32, u64
from pyslirp.engine.protocols.tcp.bbr cimport Bbr
from pyslirp.engine.protocols.tcp.cubic cimport Cubic
from pyslirp.engine.protocols.tcp.window cimport Delivery, Window

cdef enum CongestionKind:
    RENO = 0
    CUBIC
    BBR
    CONGESTION_KINDS

cdef union CongestionModel:
    u64 credit                  # Reno: bytes acknowledged towards the next increase (appropriate byte counting)
    Cubic[2] cubic              # now, and before the last reduction, to be restored with the windows
    Bbr bbr

cdef struct Congestion:
    u8 kind                     # CongestionKind
    Window window               # what the sender goes by
    CongestionModel model
    u64 prior_cwnd              # before the recovery, to be restored if it was for nothing; 0: nothing to restore
    u64 prior_ssthresh
    u64 prr_delivered           # of this recovery, bytes; so are the next two
    u64 prr_out
    u64 prr_flight              # RecoverFS

cdef void cc_init(Congestion *c, CongestionKind kind, u32 mss, ns_t now) noexcept nogil
cdef void cc_delivered(Congestion *c, const Delivery *d, ns_t now) noexcept nogil   # once a batch with ACKs; after cc_lost or cc_recovered
cdef void cc_sent(Congestion *c, u64 length) noexcept nogil                         # in fast recovery, with SACK
# Found by time, SACK or duplicate ACKs: once a recovery.  reduce: False where a mark has already reduced the window that it was lost from.
cdef void cc_lost(Congestion *c, u64 flight, bint reduce, ns_t now) noexcept nogil
cdef bint cc_heeds_marks(const Congestion *c) noexcept nogil                    # may data say that they are ECN-capable?
cdef void cc_marked(Congestion *c, u64 flight, ns_t now) noexcept nogil         # ECE: once a window (RFC 3168 section 6.1.2)
cdef void cc_timed_out(Congestion *c, u64 flight, bint first, ns_t now) noexcept nogil  # RTO; first: not a repeated one
cdef void cc_recovered(Congestion *c, ns_t now) noexcept nogil                  # the recovery point was acknowledged
cdef void cc_undo(Congestion *c, ns_t now) noexcept nogil                       # the recovery was for nothing (RFC 4015)
cdef void cc_restarted(Congestion *c, ns_t now) noexcept nogil                  # idle for more than an RTO (RFC 5681 section 4.1)
cdef void cc_resumed(Congestion *c, ns_t now) noexcept nogil                    # something is sent, and nothing was in flight
