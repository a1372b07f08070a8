"""BBR: a model of the path instead of a reaction to loss (draft-ietf-ccwg-bbr)."""

from pyslirp.engine.base.ints cimport ns_t, u8, u32, u64
from pyslirp.engine.protocols.tcp.window cimport Delivery, Window

cdef enum BbrMode:
    BBR_STARTUP = 0
    BBR_DRAIN
    BBR_PROBE_BW
    BBR_PROBE_RTT

cdef struct Bbr:
    u8 mode                     # BbrMode
    u8 phase                    # of PROBE_BW: index of its gain
    u8 flat                     # rounds in which the rate did not grow by a quarter
    bint full                   # the pipe is: startup is over
    bint conserving             # first round of a recovery: what arrives may be sent, no more
    bint recovering             # at the last batch
    bint lossy                  # the last round has lost more than an eighth
    bint restarted              # the flow begins anew after silence
    bint round_done             # of PROBE_RTT
    u32 rounds                  # round trips so far
    u64 round_end               # `total` with which this one ends
    u64 round_began             # and with which it began
    u64 round_lost
    u64[2] fastest              # delivery rate, bytes a second: most of this window of rounds, and of the one before
    u32 fastest_round           # when this window began
    ns_t rtt                    # least round trip; 0: unknown
    ns_t rtt_at
    ns_t low_until              # of PROBE_RTT; 0: the flight is not small yet
    ns_t phase_at
    u64 full_rate
    u64 kept                    # cwnd to go back to after a recovery or PROBE_RTT
    u64[2] burst                # how far ACKs ran ahead of the rate: most of this window, and of the one before
    u32 burst_round
    ns_t burst_at
    u64 burst_bytes

cdef void bbr_init(Bbr *b, ns_t now) noexcept nogil
cdef void bbr_delivered(Bbr *b, Window *w, const Delivery *d, ns_t now) noexcept nogil
cdef void bbr_lost(Bbr *b, Window *w) noexcept nogil                        # a recovery begins
cdef void bbr_timed_out(Bbr *b, Window *w, bint first) noexcept nogil
cdef void bbr_undo(Bbr *b, Window *w) noexcept nogil                        # that recovery was for nothing
cdef void bbr_restarted(Bbr *b, Window *w, ns_t now) noexcept nogil         # something is sent after silence
