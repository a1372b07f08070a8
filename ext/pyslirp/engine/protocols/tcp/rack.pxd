"""RACK-TLP (RFC 8985): loss by time.  What it knows of a connection; the segments themselves are in scoreboard.pyx."""

from pyslirp.engine.base.ints cimport ns_t, u8, u32, u64

cdef enum:
    PROBE_FLOOR_MS = 20         # a guest's processor may not run for so long
    PROBE_FIRST_MS = 1000       # before any RTT sample (RFC 8985 7.2)
    ACK_DELAY_MS = 200          # how long a lone segment may wait for its ACK (WCDelAckT; RFC 8985 7.2)
    REPEATS_KEPT = 16           # runs of retransmissions that a D-SACK can be about

cdef struct Rack:
    ns_t sent                   # RACK.xmit_ts: of what is delivered, when that which was sent last had left; 0: nothing yet
    u64 end                     # RACK.end_seq: and where it ends
    ns_t rtt                    # RACK.rtt: its round trip
    ns_t minimum                # least round trip
    u64 forward                 # RACK.fack: the highest number delivered
    bint reordered              # RACK.reordering_seen
    u32 steps                   # RACK.reo_wnd_mult
    u8 rounds                   # RACK.reo_wnd_persist: recoveries until `steps` falls back to one
    u64 round_end               # RACK.dsack_round: one step a round trip; 0: none has been taken in this one
    u64 again_top               # no number from here on was ever sent twice
    u32[REPEATS_KEPT] repeat_start  # what was sent again last, in runs; numbers as they are on the wire
    u32[REPEATS_KEPT] repeat_end
    u8 repeat_last              # the run that was added to last
    u64 probe                   # TLP.end_seq; 0: no probe is out
    bint probe_again            # TLP.is_retrans

cdef void rack_init(Rack *r) noexcept nogil
# Step 2 and 3: a segment that left at `sent` and ends at `end` is delivered; again: it was sent more than once.
cdef void rack_delivered(Rack *r, ns_t sent, u64 end, bint again, ns_t now) noexcept nogil
cdef void rack_repeated(Rack *r, u64 seq, u64 end) noexcept nogil       # a retransmission has left
cdef bint rack_was_repeated(const Rack *r, u64 start, u64 end) noexcept nogil   # was anything of this?
cdef void rack_spurious(Rack *r, u64 nxt) noexcept nogil                # step 4: a D-SACK says that a retransmission was for nothing
cdef void rack_round(Rack *r, u64 una) noexcept nogil                   # step 4: SND.UNA has moved
cdef void rack_recovered(Rack *r) noexcept nogil                        # step 4: a recovery has ended
cdef ns_t rack_window(const Rack *r, ns_t srtt, bint certain) noexcept nogil    # RACK.reo_wnd; certain: it need not wait where no reordering was seen
cdef inline bint rack_older(const Rack *r, ns_t sent, u64 end) noexcept nogil:
    """Was this sent before that which is known to have arrived?  (RACK_sent_after)"""
    return sent < r.sent or (sent == r.sent and end < r.end)
cdef ns_t rack_probe_timeout(ns_t srtt, bint alone) noexcept nogil      # PTO; alone: one segment is in flight
