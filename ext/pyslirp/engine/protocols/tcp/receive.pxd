"""The receiving half of a connection: window, reassembly, acknowledgment policy
(RFC 9293 3.10.7.4, RFC 5681 4.2, RFC 2018, RFC 2883)."""

from pyslirp.engine.base.ints cimport i32, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport Status
from pyslirp.engine.stores.byte_queue cimport ByteQueue
from pyslirp.engine.stores.chunks cimport ChunkPool
from pyslirp.engine.stores.ranges cimport RangeSet

cdef enum:
    RCV_WINDOW_FIRST = 262144   # receive window of a new connection, bytes
    RCV_SCALE = 8               # our window scale
    RCV_WINDOW_MAX = 16776960   # where its growth ends: 65535 << RCV_SCALE, 16 MiB but for a step
    RCV_IDLE_SECONDS = 10       # of silence, after which a large buffer has to be earned again
    SACK_BLOCKS = 4             # options.pxd's SACK_BLOCKS_MAX, which siblings do not share
    RCV_RECENT = 8              # islands remembered by when they were heard, to be reported in that order (RFC 2018 section 4)

# In-order payload that still lies in the frames of this batch: a list in an arena that is emptied with the batch.
cdef struct PendingPiece:
    Piece piece
    u32 next                    # index + 1; 0 ends

# An ACK that is owed for a segment of this batch and tells of nothing behind it.
cdef struct AckReport:
    u64 nxt                     # RCV.NXT then
    u32 next                    # index + 1; 0 ends
    int blocks
    u32[SACK_BLOCKS] start
    u32[SACK_BLOCKS] end

cdef struct PieceArena:
    PendingPiece *nodes         # owned
    u32 used
    u32 room
    AckReport *reports          # owned; NULL until there is one
    u32 reports_used
    u32 reports_room

cdef struct TcpReceive:
    u64 irs                     # wide sequence number of the guest's SYN
    u64 nxt                     # RCV.NXT
    u64 adv                     # right edge of the window as advertised; never moves left
    u64 fin                     # sequence number of the guest's FIN; 0 while none came in order
    u64 fin_early               # that of a FIN that came before what is in front of it; 0: none did
    ByteQueue queue             # what the host has not taken yet; offset = seq - irs - 1
    RangeSet islands            # arrived out of order, in sequence numbers
    u64[RCV_RECENT] recent      # a sequence number in each of the islands heard last, newest first
    bint unreported             # no SACK option has told of what the newest of them is since
    u8 sack_blocks              # most that an option has room for; 0: the guest does not know them
    u32 first_report            # index + 1 into the arena: ACKs owed before the one at the end of the batch
    u32 last_report
    u64 again_start             # arrived a second time and not reported yet (RFC 2883); empty: nothing did
    u64 again_end
    u32 first_pending           # index + 1 into the arena
    u32 last_pending
    u32 pending_bytes
    u32 limit                   # receive buffer: what may be held for the host
    u32 limit_first             # what it begins with, and again after a silence
    u32 limit_max
    u64 granted                 # an edge promised before the buffer shrank; it holds until it is used up
    u64 taken                   # bytes the host has taken since `taken_since`, in a round trip at most
    ns_t taken_since
    u32 segment_bytes           # largest payload seen: the guest's effective MSS
    u32 unacked_bytes           # in order, not acknowledged yet
    u8 scale                    # shift of what we advertise; 0 without the option
    bint ack_now                # acknowledge at the end of this batch
    u32 duplicate_acks          # extra bare ACKs owed, one for each segment out of order, where the guest has no SACK
    ns_t heard                  # when payload last came
    u32 quick                   # segments still to be acknowledged at once (a sender in slow start waits for them)
    bint interactive            # the last data was answered with data: an ACK can wait for the answer

cdef bint arena_init(PieceArena *a) noexcept nogil
cdef void arena_free(PieceArena *a) noexcept nogil
cdef inline bint arena_busy(const PieceArena *a) noexcept nogil:
    """Is there anything of this batch that its connections have to be run for?"""
    return a.used != 0 or a.reports_used != 0
cdef inline void arena_empty(PieceArena *a) noexcept nogil:
    a.used = 0
    a.reports_used = 0

cdef void rcv_init(TcpReceive *r, ChunkPool *pool, u64 irs, u32 first_window) noexcept nogil
cdef void rcv_free(TcpReceive *r) noexcept nogil
# Payload has come at `now`.  After more than `idle` of silence the sender begins anew, and so do we: its first segments are
# acknowledged at once; and after RCV_IDLE_SECONDS the buffer is as small as at first.
cdef void rcv_heard(TcpReceive *r, ns_t now, ns_t idle) noexcept nogil
cdef void rcv_hurry(TcpReceive *r) noexcept nogil                                        # acknowledge the next segments at once
# [start, end) has come, of which all below RCV.NXT came before: said in the next SACK option (RFC 2883).
cdef void rcv_duplicate(TcpReceive *r, PieceArena *a, u64 start, u64 end) noexcept nogil
cdef bint rcv_acceptable(const TcpReceive *r, u64 seq, u32 length) noexcept nogil        # RFC 9293 3.10.7.4 table 6
# Takes payload (and FIN) of an acceptable segment.  OK: in order; else DUPLICATE, OUT_OF_ORDER, PAST_FIN, REASSEMBLY_FULL, NO_MEMORY.
cdef Status rcv_segment(TcpReceive *r, PieceArena *a, u64 seq, const u8 *payload, u32 length, bint fin) noexcept nogil
# The pending pieces, oldest first, at most `limit`; returns how many there are.
cdef int rcv_pending(const TcpReceive *r, const PieceArena *a, Piece *out, int limit) noexcept nogil
# The host has taken `taken` of the pending bytes; the rest is kept in the queue.  False: out of memory, and what could not be
# kept is as if it had never come (RCV.NXT goes back; none of it was acknowledged).
cdef bint rcv_settle(TcpReceive *r, const PieceArena *a, u64 taken) noexcept nogil
cdef void rcv_took(TcpReceive *r, u64 length, ns_t now, ns_t rtt) noexcept nogil          # host has taken from the queue or directly
cdef u64 rcv_data_end(const TcpReceive *r) noexcept nogil                                 # wide sequence number behind the last data byte in order
cdef bint rcv_update_due(const TcpReceive *r) noexcept nogil                              # the window has opened enough to say so (RFC 9293 3.8.6.2.2)
cdef u16 rcv_advertise(TcpReceive *r, u64 ack, bint syn) noexcept nogil                   # window field beside this ACK; moves `adv`
cdef inline bint rcv_has_blocks(const TcpReceive *r) noexcept nogil:
    """Is there anything for a SACK option?"""
    return r.islands.count != 0 or r.again_end > r.again_start
# The ACKs that are owed for segments of this batch before the one at its end, oldest first; NULL: no more.
cdef const AckReport *rcv_next_report(TcpReceive *r, const PieceArena *a) noexcept nogil
cdef int rcv_sack_blocks(const TcpReceive *r, int most, u32 *start, u32 *end) noexcept nogil
cdef inline void rcv_reported(TcpReceive *r) noexcept nogil:
    """A SACK option has left: a duplicate is told of once (RFC 2883 section 4)."""
    r.again_end = r.again_start
    r.unreported = False
cdef bint rcv_sound(const TcpReceive *r) noexcept nogil                                   # between batches: does all agree?  For tests
