"""What leaves a connection: one segment with everything in it that its flags and the connection's state ask for.

Whoever calls says what is sent: number, length, flags.  Here it gets its acknowledgment, window, options, urgent pointer and
codepoint, and the state learns that an acknowledgment has left.  A link without room takes nothing: the connection is `blocked`
and what was to go is asked for again, except resets, which are not sent twice.

The answers that anybody may provoke, with numbers that lie outside of what the connection expects, are limited here (RFC 5961 section 7).
"""

from libc.string cimport memset

from pyslirp.engine.base.ints cimport ns_never, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.status cimport TCP_CHALLENGE_ACK, TCP_CHALLENGE_LIMITED, TCP_RST_SENT
from pyslirp.engine.codecs.parse cimport TCP_ACK, TCP_RST, TCP_SYN, TCP_URG
from pyslirp.engine.protocols.tcp.ecn cimport ecn_flags, ecn_syn_flags
from pyslirp.engine.protocols.tcp.options cimport SACK_BLOCKS_MAX, options_put_sack, options_put_syn, options_put_timestamps
from pyslirp.engine.protocols.tcp.receive cimport RCV_SCALE, AckReport, rcv_advertise, rcv_has_blocks, rcv_reported, rcv_sack_blocks
from pyslirp.engine.protocols.tcp.rtt cimport rtt_ts_clock
from pyslirp.engine.protocols.tcp.state cimport SYN_RCVD
from pyslirp.engine.protocols.tcp.tcb cimport SEGMENT_PIECES, Tcp, TcpEnv, TcpSegment
from pyslirp.engine.stores.byte_queue cimport bq_peek_chunks
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.tables.flow cimport Flow

cdef enum:
    MILLISECOND = 1000000
    CHALLENGE_MS = 500          # at most one ACK in this time for what carries no data and should not have come (RFC 5961 section 7)


cdef u32 _put_options(Tcp *t, TcpSegment *segment, const AckReport *report, ns_t now) noexcept nogil:
    cdef u32 n = 0
    cdef int blocks
    cdef u32[SACK_BLOCKS_MAX] start
    cdef u32[SACK_BLOCKS_MAX] end
    if segment.flags & TCP_SYN:
        return options_put_syn(segment.options, t.our_mss, t.scaling, RCV_SCALE, t.sack, t.timestamps, rtt_ts_clock(now, t.ts_offset), t.ts_recent)
    if t.timestamps:
        n = options_put_timestamps(segment.options, rtt_ts_clock(now, t.ts_offset), t.ts_recent)
    if report != NULL:
        n += options_put_sack(segment.options + n, report.blocks, report.start, report.end)
    elif t.sack and rcv_has_blocks(&t.rcv):
        blocks = rcv_sack_blocks(&t.rcv, t.rcv.sack_blocks, start, end)
        n += options_put_sack(segment.options + n, blocks, start, end)
    return n


cdef bint tcp_send(TcpEnv *env, Flow *flow, Tcp *t, u64 seq, u32 length, u8 flags, ns_t now) noexcept nogil:
    """One segment with `length` bytes of the send queue; False when the link has no room."""
    cdef TcpSegment segment
    cdef bint fresh = length and seq >= t.snd.nxt
    segment.tos = 0
    segment.urgent = 0
    if flags & TCP_SYN:
        flags |= ecn_syn_flags(&t.ecn, flags & TCP_ACK, t.tries)
    elif t.ecn.agreed:
        flags |= ecn_flags(&t.ecn, fresh, &segment.tos)
    if t.urgent_out > seq and not flags & TCP_SYN:
        flags |= TCP_URG
        segment.urgent = <u16>min(t.urgent_out - seq, <u64>65535)
    segment.seq = <u32>seq
    segment.flags = flags
    segment.ack = <u32>t.rcv.nxt if flags & TCP_ACK else 0
    segment.window = rcv_advertise(&t.rcv, t.rcv.nxt, flags & TCP_SYN)
    segment.option_bytes = _put_options(t, &segment, NULL, now)
    segment.payload_bytes = length
    segment.mss = t.snd.mss
    segment.piece_count = (
        bq_peek_chunks(&t.snd.queue, seq - t.snd.iss - 1, length, segment.pieces, SEGMENT_PIECES) if length else 0)
    if not env.emit(env.ctx, flow, &segment):
        t.blocked = True
        # A segment with data will come again; an ACK that nobody waits for need not go before it.
        t.rcv.ack_now = t.rcv.ack_now or (flags & TCP_ACK != 0 and (length == 0 or t.rcv.unacked_bytes != 0))
        return False
    if fresh:
        t.ecn.cwr = False
    if flags & TCP_ACK:
        t.rcv.ack_now = False
        t.rcv.unacked_bytes = 0
        t.at_ack = ns_never()
        t.last_ack_sent = t.rcv.nxt
        rcv_reported(&t.rcv)
    return True


cdef bint tcp_send_report(TcpEnv *env, Flow *flow, Tcp *t, const AckReport *report, ns_t now) noexcept nogil:
    cdef TcpSegment segment
    segment.tos = 0
    segment.urgent = 0
    segment.seq = <u32>t.snd.nxt
    segment.flags = TCP_ACK | (ecn_flags(&t.ecn, False, &segment.tos) if t.ecn.agreed else 0)
    segment.ack = <u32>report.nxt
    segment.window = rcv_advertise(&t.rcv, report.nxt, False)
    segment.option_bytes = _put_options(t, &segment, report, now)
    segment.payload_bytes = 0
    segment.piece_count = 0
    segment.mss = t.snd.mss
    if not env.emit(env.ctx, flow, &segment):
        t.blocked = True
        t.rcv.ack_now = True
        return False
    t.last_ack_sent = report.nxt
    return True


cdef bint _limited(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    """Has such an answer been given just now?"""
    if t.challenged and now - t.challenged < <ns_t>CHALLENGE_MS * MILLISECOND:
        count(env.counters, TCP_CHALLENGE_LIMITED)
        return True
    t.challenged = now
    return False


cdef void tcp_challenge(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    """RFC 5961: an ACK that a real peer corrects itself by and that tells a forger nothing."""
    if not _limited(env, t, now):
        count(env.counters, TCP_CHALLENGE_ACK)
        tcp_send(env, flow, t, t.snd.nxt, 0, TCP_ACK, now)


cdef void tcp_answer(TcpEnv *env, Tcp *t, u32 length, ns_t now) noexcept nogil:
    """An ACK for a segment that is not acceptable.  Without data or FIN it is limited: two ends that disagree would answer
    one another's ACKs for ever (Linux: tcp_invalid_ratelimit)."""
    if length or not _limited(env, t, now):
        t.rcv.ack_now = True


cdef void tcp_send_reset(TcpEnv *env, Flow *flow, const Tcp *t, u32 seq, u32 ack, bint with_ack, ns_t now) noexcept nogil:
    cdef TcpSegment segment
    memset(&segment, 0, sizeof(TcpSegment))
    segment.seq = seq
    segment.ack = ack
    segment.flags = TCP_RST | (TCP_ACK if with_ack else 0)
    if t.timestamps and t.state >= SYN_RCVD:        # agreed on by then; without an ACK there is nothing to echo (RFC 7323 section 3.2)
        segment.option_bytes = options_put_timestamps(segment.options, rtt_ts_clock(now, t.ts_offset), t.ts_recent if with_ack else 0)
    count(env.counters, TCP_RST_SENT)
    env.emit(env.ctx, flow, &segment)               # a reset that finds the link full is lost; the guest's next segment gets another
