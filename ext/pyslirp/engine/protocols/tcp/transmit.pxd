"""The sending half of a connection: the stream, the guest's window, what goes next (RFC 9293 3.8)."""

from pyslirp.engine.base.ints cimport ns_t, u8, u32, u64
from pyslirp.engine.protocols.tcp.scoreboard cimport Scoreboard
from pyslirp.engine.stores.byte_queue cimport ByteQueue
from pyslirp.engine.stores.chunks cimport ChunkPool

cdef enum:
    DUPLICATE_THRESHOLD = 3     # RFC 5681's DupThresh
    SND_BUFFER_FIRST = 131072   # send buffer of a new connection: read from the host ahead of what is sent
    SND_BUFFER_MAX = 4194304

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
    Scoreboard board            # what of it is in flight, sacked or lost
    u32 duplicates              # ACKs in a row that moved nothing and told of a segment out of order
    bint recovering             # loss recovery until una reaches `recover`
    bint timed_out              # that recovery began with a timeout
    u64 recover
    ns_t last                   # when data left last, new or again
    ns_t stalled                # since when una has not moved although something is owed; 0: nothing is

cdef void snd_init(TcpSend *s, ChunkPool *pool, u64 iss) noexcept nogil
cdef void snd_free(TcpSend *s) noexcept nogil
cdef inline u64 snd_flight(const TcpSend *s) noexcept nogil:
    """What we believe to be in the network: sent, not acknowledged, not lost (RFC 6675's pipe)."""
    cdef u64 flight = s.nxt - s.una - s.board.sacked_bytes - s.board.lost_bytes
    return flight - s.board.guessed_bytes if flight > s.board.guessed_bytes else 0
cdef inline u64 snd_edge(const TcpSend *s) noexcept nogil:
    """The first number beyond the guest's window."""
    return s.una + s.wnd
cdef inline u64 snd_data_end(const TcpSend *s) noexcept nogil:
    """Wide sequence number behind the last byte in the queue: where a FIN goes."""
    return s.iss + 1 + s.queue.tail
cdef inline bint snd_fin_sent(const TcpSend *s) noexcept nogil:
    return s.fin_wanted and s.nxt > s.iss + 1 + s.queue.tail
cdef inline bint snd_has_new(const TcpSend *s) noexcept nogil:
    """Data or a FIN that was never sent."""
    return s.nxt < s.iss + 1 + s.queue.tail or (s.fin_wanted and s.nxt == s.iss + 1 + s.queue.tail)

cdef void snd_acknowledged(TcpSend *s, u64 ack, ns_t now, AckResult *result) noexcept nogil     # una < ack <= nxt
# What to send next with this congestion window; at most `most` payload bytes; force: past SWS avoidance (persist timer).
cdef void snd_next(const TcpSend *s, u64 cwnd, u32 most, bint force, NextSegment *next) noexcept nogil
cdef bint snd_ready(TcpSend *s, const NextSegment *next) noexcept nogil                         # there is room to account for it
cdef void snd_sent(TcpSend *s, const NextSegment *next, ns_t now) noexcept nogil                # it has left; only after snd_ready
cdef bint snd_sound(const TcpSend *s) noexcept nogil                                            # does all agree?  For tests
