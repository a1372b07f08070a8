"""The transmission control block (RFC 9293 3.3.1): one connection's state, and what it needs of the floor above.

The parts are the structs of receive, transmit, rtt and congestion; recovery, connection and relay work on the whole.
"""

from pyslirp.engine.base.ints cimport i32, i64, ns_t, u8, u16, u32, u64
from pyslirp.engine.protocols.target cimport HostOps
from pyslirp.engine.protocols.tcp.congestion cimport Congestion, CongestionKind
from pyslirp.engine.protocols.tcp.ecn cimport Ecn
from pyslirp.engine.protocols.tcp.options cimport OPTIONS_MAX
from pyslirp.engine.protocols.tcp.receive cimport PieceArena, TcpReceive
from pyslirp.engine.protocols.tcp.rtt cimport Rtt
from pyslirp.engine.protocols.tcp.transmit cimport TcpSend
from pyslirp.engine.stores.chunks cimport ChunkPiece
from pyslirp.engine.stores.counters cimport Counters
from pyslirp.engine.stores.slab cimport SlabHead
from pyslirp.engine.tables.flow cimport Flow

cdef enum:
    SEGMENT_PIECES = 8          # a segment of 64 KiB lies in at most six chunks; of one frame (stores/frame_queue)

# Why a connection ended; names in core/core.pyx, shown in events and snapshots.
cdef enum TcpEnd:
    END_NONE = 0
    END_CLOSED                  # both sides closed, all bytes delivered
    END_RESET_BY_GUEST
    END_RESET_BY_HOST
    END_REFUSED                 # by the host (guest opened) or by the guest (host opened)
    END_UNREACHABLE
    END_TIMED_OUT
    END_DENIED
    END_NO_MEMORY
    END_SHUTDOWN                # by the caller
    END_EVICTED                 # half-open for too long while others wanted to open (HALF_OPEN_MAX)
    END_COUNT

# What a flow with a Python handler is told.
cdef enum TcpNotice:
    NOTICE_CONNECTED = 1
    NOTICE_READABLE = 2
    NOTICE_WRITABLE = 3
    NOTICE_FINISHED = 4         # the guest will send no more, and all it sent has been read

# One segment on its way to the guest.
cdef struct TcpSegment:
    u32 seq
    u32 ack
    u8 flags
    u16 window
    u8[OPTIONS_MAX] options
    u32 option_bytes
    ChunkPiece[SEGMENT_PIECES] pieces
    int piece_count
    u32 payload_bytes
    u16 urgent                  # pointer field; only with TCP_URG
    u8 tos                      # of the IP header: ECT(0) or 0
    u32 mss                     # where payload_bytes is larger, the link (or the core for it) cuts it into these

# What a connection needs of the floor above; the core fills it in.
cdef struct TcpEnv:
    void *ctx
    # False: the link is full or the guest's MAC is not known yet; the connection will be run again when that changes.
    bint (*emit)(void *ctx, Flow *flow, const TcpSegment *segment) noexcept nogil
    void (*notify)(void *ctx, Flow *flow, TcpNotice what) noexcept nogil
    void (*doubt)(void *ctx, Flow *flow) noexcept nogil         # the guest may be elsewhere: RFC 1122 3.3.1.4's negative advice
    u32 (*burst)(void *ctx, Flow *flow) noexcept nogil          # most payload bytes the link takes in one segment
    HostOps host
    Counters *counters
    CongestionKind congestion   # of connections from now on
    bint asks_ecn               # our SYN asks for ECN; of connections from now on, too
    PieceArena arena

# What ACKs have told since the last run; recovery_judge draws the conclusions, once a batch.
cdef struct Heard:
    bint any
    bint moved                  # SND.UNA has
    bint marked                 # packets of ours were, since the congestion window was last reduced (RFC 3168)
    bint repeated               # an ACK that moved nothing, and told of nothing new (RFC 8985 7.4.2)
    bint limited                # cwnd was the limit when the batch began
    u64 before                  # in flight when the batch began
    u64 delivered               # Rate.delivered when the batch began
    u64 lost                    # bytes found lost
    ns_t rtt                    # best sample; 0: none

# The recovery or the timeout that may yet prove to have been for nothing.
cdef struct Undo:
    ns_t at                     # its first retransmission; 0: none was sent, or it is too late
    u64 first                   # sequence number of that: what is acknowledged before was sent again by an earlier recovery
    i64 owed_bytes              # of retransmissions, those that no D-SACK has told of
    u64 top                     # SND.NXT when it began: D-SACKs below tell of it

cdef struct Tcp:
    SlabHead slab
    u8 state                    # TcpState
    u8 end                      # TcpEnd, once it is over
    bint timestamps             # agreed on both sides (RFC 7323)
    bint sack                   # agreed
    bint scaling                # the guest offered window scale
    u32 ts_recent               # RFC 7323 TS.Recent
    ns_t ts_recent_at
    u32 ts_offset               # added to our clock: says nothing about uptime
    u64 last_ack_sent           # wide; for TS.Recent (RFC 7323 section 4.3)
    u16 our_mss                 # what our SYN announces
    u32 secret                  # of the ISN
    TcpReceive rcv
    TcpSend snd
    Rtt rtt
    Congestion cc
    Heard heard
    Undo undo
    ns_t paced                  # when what has been sent will have left at the pace
    ns_t at_retransmit          # deadlines; ns_never() when not set.  Retransmission or persist timer
    bint persisting             # at_retransmit is the persist timer
    ns_t at_probe               # tail loss probe, before at_retransmit is set (RFC 8985 7.2)
    ns_t at_reorder             # what is late will be lost (RFC 8985 6.2 step 5)
    ns_t at_pace                # the pace lets more go
    ns_t at_ack                 # delayed ACK
    ns_t at_life                # handshake limit, keepalive, 2MSL
    u32 tries                   # handshake retransmissions, or keepalive probes without an answer
    Ecn ecn
    u64 urgent_in               # wide sequence number of the guest's last urgent byte; 0: none (whether it is still due: tcp_urgent)
    u64 urgent_out              # SND.UP: one past the host's last urgent byte, until the guest has it; 0: none
    u32 mss_whole               # what the handshake gave, while the path carries less (path.pyx); 0: it carries all
    ns_t mss_until              # when that is tried again
    bint holes                  # it was smaller for a black hole before
    u32 user_timeout            # seconds that the guest wants us to try for (RFC 5482); 0: it has not said
    ns_t half_closed            # since when one side has ended its stream; 0: both are open
    ns_t challenged             # last challenge ACK, or answer to an ACK outside the window; 0: none yet
    bint host_readable          # the socket may have data: read until EAGAIN
    bint host_writable          # the socket takes data
    bint host_more              # the last run has read its share, and there may be more and room for it
    bint host_hup               # the host's end of stream is known to be behind the data: a short read is not the last
    bint host_urgent            # urgent data is in the socket or on its way: look for the mark
    bint host_broken            # the socket is in error, told even where nothing can be read or written
    i32 host_error              # errno of a socket that has failed; 0
    bint host_ended             # recv said 0, or the handler has finished writing
    bint host_finished          # we have shut its writing side down, or told the handler
    bint read_told              # the handler has been told that there is something to read
    bint urgent_told            # and that `urgent_in` has moved
    bint write_told             # the handler waits for room
    bint blocked                # the last emit failed: on the list of those to run when the link drains
