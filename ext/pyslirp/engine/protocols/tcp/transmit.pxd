"""The sending half of a connection: what is in flight, what is lost, what goes next (RFC 9293 3.8, RFC 6675, RFC 6582)."""

from pyslirp.engine.base.ints cimport ns_t, u8, u32, u64
from pyslirp.engine.protocols.tcp.rack cimport Rack
from pyslirp.engine.protocols.tcp.rate cimport Rate, RateMark
from pyslirp.engine.stores.byte_queue cimport ByteQueue
from pyslirp.engine.stores.chunks cimport ChunkPool

cdef enum:
    RECORD_BYTES_MAX = 65536    # segments sent at one instant share a record up to this size
    DUPLICATE_THRESHOLD = 3     # RFC 5681's DupThresh
    SND_BUFFER_FIRST = 131072   # send buffer of a new connection: read from the host ahead of what is sent
    SND_BUFFER_MAX = 4194304

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

cdef enum SegmentKind:
    SEGMENT_NONE = 0            # nothing may be sent now
    SEGMENT_NEW = 1
    SEGMENT_AGAIN = 2           # a retransmission

cdef struct NextSegment:
    SegmentKind kind
    u64 seq
    u32 length                  # payload bytes
    bint syn
    bint fin
    bint push

cdef struct AckResult:
    u64 acked                   # sequence numbers newly acknowledged in order
    ns_t sample                 # RTT sample, or 0
    ns_t again                  # when the latest repetition among what is acknowledged was sent; 0: nothing was repeated
    bint syn_acked
    bint fin_acked

cdef struct TcpSend:
    u64 iss                     # wide ISN; the SYN
    u64 una                     # SND.UNA
    u64 nxt                     # SND.NXT
    u64 wnd                     # SND.WND, scaled to bytes
    u64 wl1                     # segment and acknowledgment of the last window update
    u64 wl2
    u64 wnd_max                 # largest window ever offered (sender's SWS avoidance)
    u8 scale                    # shift of the guest's windows
    u32 mss                     # payload of a full segment: the guest's MSS less our options
    ByteQueue queue             # bytes not yet acknowledged; offset = seq - iss - 1
    u32 limit                   # send buffer: how far ahead of the acknowledgment the host is read
    bint fin_wanted             # the host has ended its stream; FIN follows the last byte
    SentRecord *records         # owned; NULL while nothing is in flight
    u32 first                   # index of the oldest record
    u32 count
    u32 room
    u64 sacked_bytes            # in records with RECORD_SACKED
    u64 lost_bytes              # in records with RECORD_LOST
    u32 lost_hint               # no record before first + lost_hint is LOST
    u64 sacked_top              # highest selectively acknowledged sequence number
    u32 duplicates              # ACKs in a row that moved nothing and told of a segment out of order
    u64 guessed_bytes           # what the duplicate ACKs of a guest without SACK say has left the network
    Rack rack
    Rate rate
    ns_t heard_sent             # of what is delivered in this batch and was sent once, when the youngest had left; 0: nothing
    bint recovering             # loss recovery until una reaches `recover`
    bint timed_out              # that recovery began with a timeout
    bint repeat_now             # the first lost record goes out whatever the congestion window says
    u64 recover
    ns_t stalled                # since when una has not moved although something is owed; 0: nothing is

cdef void snd_init(TcpSend *s, ChunkPool *pool, u64 iss) noexcept nogil
cdef void snd_free(TcpSend *s) noexcept nogil
cdef inline u64 snd_flight(const TcpSend *s) noexcept nogil:
    """What we believe to be in the network: sent, not acknowledged, not lost (RFC 6675's pipe)."""
    cdef u64 flight = s.nxt - s.una - s.sacked_bytes - s.lost_bytes
    return flight - s.guessed_bytes if flight > s.guessed_bytes else 0
cdef inline u64 snd_data_end(const TcpSend *s) noexcept nogil:
    """Wide sequence number behind the last byte in the queue: where a FIN goes."""
    return s.iss + 1 + s.queue.tail
cdef inline bint snd_fin_sent(const TcpSend *s) noexcept nogil:
    return s.fin_wanted and s.nxt > s.iss + 1 + s.queue.tail
cdef inline bint snd_has_new(const TcpSend *s) noexcept nogil:
    """Data or a FIN that was never sent."""
    return s.nxt < s.iss + 1 + s.queue.tail or (s.fin_wanted and s.nxt == s.iss + 1 + s.queue.tail)

cdef void snd_acknowledged(TcpSend *s, u64 ack, ns_t now, AckResult *result) noexcept nogil     # una < ack <= nxt
cdef u64 snd_sacked(TcpSend *s, u64 start, u64 end, ns_t now) noexcept nogil                    # newly sacked bytes
# Losses by time (RFC 8985), with this reordering window; how many bytes more.  due: when there will be more unless something
# arrives, or ns_never().
cdef u64 snd_find_losses(TcpSend *s, ns_t window, ns_t now, ns_t *due) noexcept nogil
cdef u64 snd_lose_first(TcpSend *s) noexcept nogil                                              # by duplicate or partial ACKs
# By timeout: all that is not sacked; with `window`, of what was sent later than that only the first.
cdef void snd_lose_late(TcpSend *s, ns_t window, ns_t now) noexcept nogil
cdef void snd_lose_all(TcpSend *s) noexcept nogil
cdef void snd_lose_none(TcpSend *s) noexcept nogil                                              # what was held lost was not (RFC 4015)
cdef void snd_lose_last(TcpSend *s) noexcept nogil                                              # one segment, to probe with (RFC 8985 7.3)
# What to send next with this congestion window; at most `most` payload bytes; force: past SWS avoidance (persist timer).
cdef void snd_next(const TcpSend *s, u64 cwnd, u32 most, bint force, NextSegment *next) noexcept nogil
cdef bint snd_ready(TcpSend *s, const NextSegment *next) noexcept nogil                         # there is room to account for it
cdef void snd_sent(TcpSend *s, const NextSegment *next, ns_t now) noexcept nogil                # it has left; only after snd_ready
cdef bint snd_sound(const TcpSend *s) noexcept nogil                                            # does all agree?  For tests
