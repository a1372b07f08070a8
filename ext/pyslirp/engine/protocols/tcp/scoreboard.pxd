"""The scoreboard: what has been sent, what of it the guest has, what is lost (RFC 6675, RFC 6582, RFC 8985)."""

from pyslirp.engine.base.ints cimport ns_t, u8, u32, u64
from pyslirp.engine.protocols.tcp.rack cimport Rack
from pyslirp.engine.protocols.tcp.rate cimport Rate, RateMark

cdef enum:
    RECORD_BYTES_MAX = 65536    # segments sent at one instant share a record up to this size

cdef enum RecordFlag:
    RECORD_SACKED = 1           # the guest has it, out of order
    RECORD_LOST = 2             # to be sent again; not counted as in flight
    RECORD_AGAIN = 4            # was sent more than once: gives no RTT sample (Karn)

# A run of sequence numbers that left at one instant; records lie end to end from una to nxt.
cdef struct SentRecord:
    u64 seq
    u64 end
    ns_t sent
    RateMark mark
    u8 flags

cdef struct Scoreboard:
    SentRecord *records         # owned; NULL while nothing is in flight
    u32 first                   # index of the oldest record
    u32 count
    u32 room
    u64 sacked_bytes            # in records with RECORD_SACKED
    u64 lost_bytes              # in records with RECORD_LOST
    u32 lost_hint               # no record before first + lost_hint is LOST
    u64 guessed_bytes           # what the duplicate ACKs of a guest without SACK say has left the network
    bint repeat_now             # the first lost record goes out whatever the congestion window says
    ns_t heard_sent             # of what is delivered in this batch and was sent once, when the youngest had left; 0: nothing
    Rack rack
    Rate rate

cdef void board_init(Scoreboard *b) noexcept nogil                                              # of zeroed memory
cdef void board_free(Scoreboard *b) noexcept nogil                                              # the records; then nothing is in flight
# una < ack <= nxt.  The RTT sample, or 0; again: when the latest repetition among what is acknowledged was sent, 0: nothing was repeated.
cdef ns_t board_acked(Scoreboard *b, u64 ack, ns_t now, ns_t *again) noexcept nogil
cdef u64 board_sacked(Scoreboard *b, u64 start, u64 end, ns_t now) noexcept nogil               # newly sacked bytes
# Losses by time (RFC 8985), with this reordering window; how many bytes more.  due: when there will be more unless something
# arrives, or ns_never().
cdef u64 board_find_losses(Scoreboard *b, ns_t window, ns_t now, ns_t *due) noexcept nogil
cdef u64 board_lose_first(Scoreboard *b, u32 mss) noexcept nogil                                # by duplicate or partial ACKs
# By timeout: all that is not sacked; with `window`, of what was sent later than that only the first.
cdef void board_lose_late(Scoreboard *b, u32 mss, ns_t window, ns_t now) noexcept nogil
cdef void board_lose_all(Scoreboard *b) noexcept nogil
cdef void board_lose_larger(Scoreboard *b, u32 mss) noexcept nogil                              # the path carries no more than that
cdef void board_lose_none(Scoreboard *b) noexcept nogil                                         # what was held lost was not (RFC 4015)
cdef void board_lose_last(Scoreboard *b, u32 mss) noexcept nogil                                # one segment, to probe with (RFC 8985 7.3)
cdef const SentRecord *board_first_lost(const Scoreboard *b) noexcept nogil                     # only while lost_bytes
cdef bint board_ready(Scoreboard *b, bint again) noexcept nogil                                 # there is room to account for a segment
# A segment has left, after board_ready: [seq, end) of new data, or the first lost record as far as `end`.  idle: nothing is in flight.
cdef void board_sent(Scoreboard *b, u64 seq, u64 end, bint idle, ns_t now) noexcept nogil
cdef void board_repeated(Scoreboard *b, u64 end, bint idle, ns_t now) noexcept nogil
# For tests: do records and sums agree?  And (start, end, condition) of each record, counted from `origin`.
cdef bint board_sound(const Scoreboard *b, u64 una, u64 nxt) noexcept nogil
cdef list board_conditions(const Scoreboard *b, u64 origin)
