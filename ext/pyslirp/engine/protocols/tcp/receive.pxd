"""The receiving half of a connection: window, reassembly, acknowledgment policy (RFC 9293 3.10.7.4, RFC 5681 4.2, RFC 2018)."""

from pyslirp.engine.base.ints cimport i32, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport Status
from pyslirp.engine.stores.byte_queue cimport ByteQueue
from pyslirp.engine.stores.chunks cimport ChunkPool
from pyslirp.engine.stores.ranges cimport RangeSet

cdef enum:
    RCV_WINDOW_FIRST = 262144   # receive window of a new connection, bytes
    RCV_WINDOW_MAX = 4194304    # where its growth ends
    RCV_SCALE = 8               # our window scale: reaches 16 MiB
    RCV_RECENT = 4              # islands reported first (RFC 2018 section 4)

# In-order payload that still lies in the frames of this batch: a list in an arena that is emptied with the batch.
cdef struct PendingPiece:
    Piece piece
    u32 next                    # index + 1; 0 ends

cdef struct PieceArena:
    PendingPiece *nodes         # owned
    u32 used
    u32 room

cdef struct TcpReceive:
    u64 irs                     # wide sequence number of the guest's SYN
    u64 nxt                     # RCV.NXT
    u64 adv                     # right edge of the window as advertised; never moves left
    u64 fin                     # sequence number of the guest's FIN; 0 while none came in order
    ByteQueue queue             # what the host has not taken yet; offset = seq - irs - 1
    RangeSet islands            # arrived out of order, in sequence numbers
    u64[RCV_RECENT] recent      # a sequence number in each of the islands heard last, newest first
    u32 first_pending           # index + 1 into the arena
    u32 last_pending
    u32 pending_bytes
    u32 limit                   # receive buffer: what may be held for the host
    u32 limit_max
    u64 taken                   # bytes the host has taken since `taken_since`
    ns_t taken_since
    u32 segment_bytes           # largest payload seen: the guest's effective MSS
    u32 unacked_bytes           # in order, not acknowledged yet
    u8 scale                    # shift of what we advertise; 0 without the option
    bint ack_now                # acknowledge at the end of this batch
    u32 duplicate_acks          # extra bare ACKs owed, one for each segment out of order, where the guest has no SACK
    u32 quick                   # segments still to be acknowledged at once (a sender in slow start waits for them)
    bint interactive            # the last data was answered with data: an ACK can wait for the answer

cdef bint arena_init(PieceArena *a) noexcept nogil
cdef void arena_free(PieceArena *a) noexcept nogil

cdef void rcv_init(TcpReceive *r, ChunkPool *pool, u64 irs, u32 first_window) noexcept nogil
cdef void rcv_free(TcpReceive *r) noexcept nogil
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
cdef u16 rcv_advertise(TcpReceive *r, bint syn) noexcept nogil                            # window field for a segment now; moves `adv`
cdef int rcv_sack_blocks(const TcpReceive *r, int most, u32 *start, u32 *end) noexcept nogil
cdef bint rcv_sound(const TcpReceive *r) noexcept nogil                                   # between batches: does all agree?  For tests
