"""A connection with a guest: RFC 9293 on the guest's side, two byte queues, and a target that takes and gives bytes.

What is done here and what is left to others.  Both ends of a relayed connection are real: the guest's TCP, and the host
kernel's TCP behind the socket.  This one terminates the guest's connection completely (every state, every timer), because
what lies between us and the guest may lose and delay (a UDP link, a busy host).  Pacing, path MTU and congestion towards
the far server are the host kernel's.  What couples the two is flow control: a window is offered to the guest only for
what the host takes, the host is read only for what the guest takes; the ends: FIN becomes shutdown(SHUT_WR) once all
bytes before it are delivered, the host's end of stream becomes FIN, a reset on one side is a reset on the other; and
urgent data: the byte before the guest's urgent pointer (as everybody counts it, RFC 6093 section 3.1) goes out with MSG_OOB,
the host's mark becomes an urgent pointer, and a Python handler is told where in the stream it is.

Asked for, not offered: explicit congestion notification (RFC 3168; ecn.pyx) and a user timeout (RFC 5482).

Life.  Guest opens: tcp_hold (HELD) - the core asks for a verdict and connects - tcp_host_connected (SYN_RCVD) - the guest's
ACK (ESTABLISHED).  Host opens: tcp_open (SYN_SENT) - SYN,ACK (ESTABLISHED).  The end: CLOSED by the table in state.pyx, and
then tcp_over() is true once the host has got all its bytes.  The core owns the Flow and the Tcp and frees them.

Who calls what.  tcp_input only takes a segment in; it sends nothing but what the RFC wants at once (a reset, a challenge
ACK).  tcp_run, once a flow and batch, moves bytes both ways, sends segments and one acknowledgment, and sets the deadlines.
What a segment of either looks like is output.pyx's.

Units: sequence numbers are 64 bits wide (base/seq.pxd), times nanoseconds of the caller's clock.
"""

from libc.errno cimport ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT

from pyslirp.engine.base.ints cimport i32, i64, ns_never, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.seq cimport seq_wide
from pyslirp.engine.base.status cimport (
    OK, TCP_BAD_ACK, TCP_BAD_OPTIONS, TCP_OLD_TIMESTAMP, TCP_OUT_OF_ORDER, TCP_OUT_OF_WINDOW, TCP_RST_INVALID, TCP_RST_RECEIVED, Status)
from pyslirp.engine.codecs.parse cimport TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, TCP_URG, Packet
from pyslirp.engine.protocols.tcp.congestion cimport RENO, cc_heeds_marks, cc_init
from pyslirp.engine.protocols.tcp.ecn cimport ecn_established, ecn_heard_syn, ecn_received, ecn_told
from pyslirp.engine.protocols.tcp.options cimport MSS_DEFAULT, MSS_DEFAULT6, MSS_MIN, TcpOptions, options_parse
from pyslirp.engine.protocols.tcp.output cimport tcp_answer, tcp_challenge, tcp_sack_room, tcp_send_reset
from pyslirp.engine.protocols.tcp.receive cimport (
    RCV_SCALE, RCV_WINDOW_FIRST, rcv_acceptable, rcv_duplicate, rcv_free, rcv_heard, rcv_hurry, rcv_init, rcv_segment)
from pyslirp.engine.protocols.tcp.recovery cimport (
    recovery_began, recovery_duplicate_ack, recovery_marked, recovery_new_ack, recovery_repeated_ack, recovery_sacks)
from pyslirp.engine.protocols.tcp.rtt cimport rtt_init, rtt_lost_syn, rtt_sample, rtt_timeout
from pyslirp.engine.protocols.tcp.scoreboard cimport board_lose_all
from pyslirp.engine.protocols.tcp.state cimport (
    CLOSED, CLOSE_WAIT, CLOSING, EV_ABORT, EV_ACK_OF_FIN, EV_ACK_OF_SYN, EV_CONNECT, EV_FIN, EV_HOLD, EV_HOST_CONNECTED, EV_SYN,
    EV_SYN_ACK, FIN_WAIT_2, HELD, SYN_RCVD, SYN_SENT, TIME_WAIT, TcpEvent, TcpState, tcp_next)
from pyslirp.engine.protocols.tcp.tcb cimport (
    END_CLOSED, END_NONE, END_REFUSED, END_RESET_BY_GUEST, END_RESET_BY_HOST, END_TIMED_OUT, END_UNREACHABLE, NOTICE_CONNECTED,
    Tcp, TcpEnd, TcpEnv)
from pyslirp.engine.protocols.tcp.transmit cimport AckResult, snd_acknowledged, snd_data_end, snd_free, snd_init
from pyslirp.engine.stores.chunks cimport ChunkPool
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.tables.flow cimport Flow

cdef enum:
    MILLISECOND = 1000000


cdef inline ns_t _seconds(i64 n) noexcept nogil:
    return n * <i64>1000 * MILLISECOND


cdef void tcp_enter(Tcp *t, TcpEvent event) noexcept nogil:
    t.state = <u8>tcp_next(<TcpState>t.state, event)


# -- making and ending ------------------------------------------------------------------------------------------------

cdef void tcp_init(ChunkPool *pool, Tcp *t, u64 iss, u16 our_mss, u32 ts_offset) noexcept nogil:
    t.state = CLOSED
    t.our_mss = our_mss
    t.ts_offset = ts_offset
    t.snd.mss = our_mss if our_mss < MSS_DEFAULT else MSS_DEFAULT
    snd_init(&t.snd, pool, iss)
    rtt_init(&t.rtt)
    cc_init(&t.cc, RENO, t.snd.mss, 0)      # anew with the guest's SYN, and as the network is told
    rcv_init(&t.rcv, pool, 0, _first_window(t))
    t.at_retransmit = ns_never()
    t.at_ack = ns_never()
    t.at_life = ns_never()
    t.at_probe = ns_never()
    t.at_reorder = ns_never()
    t.at_pace = ns_never()


cdef inline u32 _first_window(const Tcp *t) noexcept nogil:
    """A few segments at least, however large the link's MTU is."""
    return RCV_WINDOW_FIRST if 8 * <u32>t.our_mss < <u32>RCV_WINDOW_FIRST else 8 * <u32>t.our_mss


cdef void tcp_free(TcpEnv *env, Tcp *t) noexcept nogil:
    rcv_free(&t.rcv)
    snd_free(&t.snd)


cdef void _learn_syn(TcpEnv *env, Tcp *t, const Packet *syn, ns_t now) noexcept nogil:
    """Numbers and options of the guest's SYN or SYN,ACK."""
    cdef TcpOptions o
    cdef u32 mss
    if options_parse(&o, syn.options, syn.option_bytes) != OK:
        count(env.counters, TCP_BAD_OPTIONS)        # what was read before the bad one counts
    rcv_init(&t.rcv, t.rcv.queue.pool, (<u64>1 << 32) | syn.seq, _first_window(t))
    mss = o.mss
    if mss == 0:
        mss = MSS_DEFAULT6 if syn.v6 else MSS_DEFAULT
    if mss < MSS_MIN:
        mss = MSS_MIN
    if mss > t.our_mss:
        mss = t.our_mss
    t.scaling = o.has_window_scale
    t.snd.scale = o.window_scale if t.scaling else 0
    t.rcv.scale = RCV_SCALE if t.scaling else 0
    if not t.scaling:
        t.rcv.limit_max = 65535
        t.rcv.limit = min(t.rcv.limit, <u32>65535)
        t.rcv.limit_first = t.rcv.limit
    t.user_timeout = o.user_timeout
    ecn_heard_syn(&t.ecn, syn.tcp_flags)
    t.sack = o.sack_permitted
    t.timestamps = o.has_timestamps
    t.rcv.sack_blocks = <u8>tcp_sack_room(t) if t.sack else 0
    if t.timestamps:
        t.ts_recent = o.ts_value
        t.ts_recent_at = now
        mss -= 12
    t.snd.mss = mss
    t.snd.wnd = syn.window                          # never scaled in a SYN (RFC 7323 section 2.2)
    t.snd.wnd_max = syn.window
    t.snd.wl1 = t.rcv.irs
    t.snd.wl2 = t.snd.iss
    cc_init(&t.cc, env.congestion, mss, now)


cdef void tcp_hold(TcpEnv *env, Flow *flow, Tcp *t, const Packet *syn, ns_t now) noexcept nogil:
    _learn_syn(env, t, syn, now)
    tcp_enter(t, EV_HOLD)


cdef void tcp_host_connected(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    if t.state != HELD:
        return
    t.host_writable = True
    t.at_life = now + _seconds(HANDSHAKE_SECONDS)
    tcp_enter(t, EV_HOST_CONNECTED)


cdef void tcp_open(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    t.at_life = now + _seconds(HANDSHAKE_SECONDS)
    t.scaling = True
    t.sack = True
    t.timestamps = True
    t.ecn.asks = env.asks_ecn
    tcp_enter(t, EV_CONNECT)


cdef void tcp_abort(TcpEnv *env, Flow *flow, Tcp *t, TcpEnd reason, bint tell_guest, ns_t now) noexcept nogil:
    if tcp_over(t):
        return
    if tell_guest:
        if t.state == HELD:
            tcp_send_reset(env, flow, t, 0, <u32>(t.rcv.irs + 1), True, now)
        elif t.state != CLOSED and t.state != SYN_SENT and t.state != TIME_WAIT:
            tcp_send_reset(env, flow, t, <u32>t.snd.nxt, <u32>t.rcv.nxt, True, now)
    if flow.socket != NULL:
        env.host.close(env.host.ctx, flow.socket, True)
        flow.socket = NULL
    t.end = <u8>reason
    t.host_finished = True
    t.rcv.first_pending = 0
    t.rcv.first_report = 0
    t.at_retransmit = ns_never()
    t.at_probe = ns_never()
    t.at_reorder = ns_never()
    t.at_pace = ns_never()
    t.at_ack = ns_never()
    t.at_life = ns_never()
    tcp_enter(t, EV_ABORT)


cdef void tcp_host_failed(TcpEnv *env, Flow *flow, Tcp *t, i32 error, ns_t now) noexcept nogil:
    cdef bint held = t.state == HELD
    t.host_error = error
    if error == ECONNREFUSED and held:
        tcp_abort(env, flow, t, END_REFUSED, True, now)
    elif held and (error == EHOSTUNREACH or error == ENETUNREACH):
        tcp_abort(env, flow, t, END_UNREACHABLE, False, now)    # the core says it with ICMP
    elif held and error == ETIMEDOUT:
        tcp_abort(env, flow, t, END_TIMED_OUT, False, now)      # no answer is no answer
    else:
        tcp_abort(env, flow, t, END_RESET_BY_HOST, True, now)


cdef bint tcp_over(const Tcp *t) noexcept nogil:
    return t.state == CLOSED and t.end != END_NONE and t.host_finished


cdef bint tcp_reusable(const Tcp *t, const Packet *syn) noexcept nogil:
    cdef TcpOptions o
    if t.state != TIME_WAIT:
        return False
    if options_parse(&o, syn.options, syn.option_bytes) == OK and o.has_timestamps:     # RFC 6191 section 2
        if not t.timestamps:
            return True                             # what is left of the old one has none: the new one drops it
        if o.ts_value != t.ts_recent:
            return <i32>(o.ts_value - t.ts_recent) > 0
    return seq_wide(t.rcv.nxt, syn.seq) > t.rcv.nxt


cdef void tcp_end(Tcp *t, TcpEvent event) noexcept nogil:
    tcp_enter(t, event)
    t.end = END_CLOSED
    t.at_life = ns_never()


cdef ns_t tcp_deadline(const Tcp *t) noexcept nogil:
    cdef ns_t first = min(t.at_retransmit, t.at_probe, t.at_reorder, t.at_pace)
    if t.at_ack < first:
        first = t.at_ack
    return t.at_life if t.at_life < first else first


# -- a segment in -----------------------------------------------------------------------------------------------------

cdef void _established(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    # What the timer did to the handshake says nothing about data; only when it fired more than once do they begin with a
    # single segment (RFC 6928 section 2), and with a longer timeout (RFC 6298 5.7).
    cc_init(&t.cc, env.congestion, t.snd.mss, now)
    ecn_established(&t.ecn, cc_heeds_marks(&t.cc))
    recovery_began(t)
    if t.tries > 1:
        t.cc.window.cwnd = t.snd.mss
    if t.tries:
        rtt_lost_syn(&t.rtt)
    t.snd.recovering = False
    t.snd.timed_out = False
    t.tries = 0
    t.at_life = now + _seconds(KEEPALIVE_SECONDS)
    env.notify(env.ctx, flow, NOTICE_CONNECTED)


cdef void _take_window(Tcp *t, const Packet *p, u64 seq, u64 ack) noexcept nogil:
    """RFC 9293 3.10.7.4: an old segment does not change the window.  One that moves SND.UNA is not old, whatever its number (it
    is a repetition); one that acknowledges less than SND.UNA is, and its window begins elsewhere."""
    if ack > t.snd.una or (ack == t.snd.una and (t.snd.wl1 < seq or (t.snd.wl1 == seq and t.snd.wl2 <= ack))):
        t.snd.wnd = <u64>p.window << (0 if p.tcp_flags & TCP_SYN else t.snd.scale)
        t.snd.wl1 = seq
        t.snd.wl2 = ack
        if t.snd.wnd > t.snd.wnd_max:
            t.snd.wnd_max = t.snd.wnd
        if t.persisting and t.snd.wnd:
            t.persisting = False
            t.rtt.backoff = 0
            t.at_retransmit = ns_never()


cdef void _fin_acknowledged(Tcp *t, ns_t now) noexcept nogil:
    if tcp_next(<TcpState>t.state, EV_ACK_OF_FIN) == CLOSED:
        tcp_end(t, EV_ACK_OF_FIN)
        return
    tcp_enter(t, EV_ACK_OF_FIN)
    _half_closed(t, now)


cdef void _half_closed(Tcp *t, ns_t now) noexcept nogil:
    """One side has ended, or the other too."""
    if t.state == TIME_WAIT:
        t.at_life = now + _seconds(TIME_WAIT_SECONDS)
    elif t.state == FIN_WAIT_2 or t.state == CLOSE_WAIT:
        t.half_closed = now
        t.at_life = now + _seconds(HALF_CLOSED_SECONDS)


cdef bint _take_ack(TcpEnv *env, Flow *flow, Tcp *t, const Packet *p, const TcpOptions *o, u64 seq, ns_t now) noexcept nogil:
    """RFC 9293 3.10.7.4 fifth; False: the segment is not to be looked at further."""
    cdef u64 ack = seq_wide(t.snd.una, p.ack)
    cdef u64 wnd = t.snd.wnd
    if t.state == SYN_RCVD:
        if ack <= t.snd.una or ack > t.snd.nxt:
            tcp_send_reset(env, flow, t, p.ack, 0, False, now)
            return False
        tcp_enter(t, EV_ACK_OF_SYN)
        recovery_new_ack(env, t, ack, o, now)
        _take_window(t, p, seq, ack)
        _established(env, flow, t, now)
        return True
    if ack > t.snd.nxt or ack + t.snd.wnd_max < t.snd.una:
        count(env.counters, TCP_BAD_ACK)
        tcp_challenge(env, flow, t, now)           # RFC 5961 section 5.2
        return False
    _take_window(t, p, seq, ack)
    if ack >= t.snd.una and ecn_told(&t.ecn, p.tcp_flags, ack):
        recovery_marked(t)
    if ack > t.snd.una:
        if recovery_new_ack(env, t, ack, o, now):
            _fin_acknowledged(t, now)
        if t.sack and o.sack_count:
            recovery_sacks(env, t, ack, o, now)
    elif t.sack and o.sack_count:               # an old one, too: a later one may have overtaken it, and had no room for all blocks
        recovery_sacks(env, t, ack, o, now)     # a D-SACK may come when nothing is in flight any more
    elif ack == t.snd.una and t.snd.nxt > t.snd.una:
        if t.sack and p.payload_bytes == 0 and wnd == t.snd.wnd:
            recovery_repeated_ack(t)
        elif not t.sack and p.payload_bytes == 0 and wnd == t.snd.wnd and not p.tcp_flags & (TCP_FIN | TCP_SYN):
            recovery_duplicate_ack(env, t, now)
    return True


cdef void _input_syn_sent(TcpEnv *env, Flow *flow, Tcp *t, const Packet *p, ns_t now) noexcept nogil:
    """RFC 9293 3.10.7.3."""
    cdef u64 ack = seq_wide(t.snd.una, p.ack)
    cdef AckResult result
    if p.tcp_flags & TCP_ACK and (ack <= t.snd.iss or ack > t.snd.nxt):
        if not p.tcp_flags & TCP_RST:
            tcp_send_reset(env, flow, t, p.ack, 0, False, now)
        return
    if p.tcp_flags & TCP_RST:
        if p.tcp_flags & TCP_ACK:
            count(env.counters, TCP_RST_RECEIVED)
            tcp_abort(env, flow, t, END_REFUSED, False, now)
        return
    if not p.tcp_flags & TCP_SYN:
        return
    _learn_syn(env, t, p, now)
    t.rcv.ack_now = True
    if p.tcp_flags & TCP_ACK:
        snd_acknowledged(&t.snd, ack, now, &result)
        if result.sample:
            rtt_sample(&t.rtt, result.sample)
        t.snd.wl2 = ack
        t.at_retransmit = ns_never()
        tcp_enter(t, EV_SYN_ACK)
        _established(env, flow, t, now)
    else:
        tcp_enter(t, EV_SYN)
        board_lose_all(&t.snd.board)            # the SYN goes out again, now as SYN,ACK


cdef bint _is_old(const Tcp *t, const TcpOptions *o, ns_t now) noexcept nogil:
    """PAWS (RFC 7323 section 5.3, R1): an old duplicate, unless the connection was idle for so long that timestamps wrap."""
    return <i32>(o.ts_value - t.ts_recent) < 0 and now - t.ts_recent_at < _seconds(24 * 86400)


cdef bint _take_overtaken(TcpEnv *env, Tcp *t, const Packet *p, const TcpOptions *o, u64 seq, u32 length, ns_t now) noexcept nogil:
    """An ACK by itself that a younger one has overtaken on its way, by its timestamp a round trip ago at most.

    By the letter of RFC 7323 5.3 it is an old duplicate, and what it tells is lost; on a path that reorders that is every second one, and
    no retransmission would be told from a loss.  What it says of the guest's window is old; what has arrived has arrived.
    """
    cdef u64 ack = seq_wide(t.snd.una, p.ack)
    cdef ns_t age = <ns_t><u32>(t.ts_recent - o.ts_value) * MILLISECOND
    if (length or t.state <= SYN_RCVD or not p.tcp_flags & TCP_ACK or seq != t.rcv.nxt or ack > t.snd.una
            or ack + t.snd.wnd_max < t.snd.una or age > rtt_timeout(&t.rtt)):
        return False
    if t.sack and o.sack_count:
        recovery_sacks(env, t, ack, o, now)
    return True


cdef void _take_reset(TcpEnv *env, Flow *flow, Tcp *t, u64 seq, ns_t now) noexcept nogil:
    """RFC 5961 section 3.2: only the exact number resets."""
    if seq == t.rcv.nxt and t.state >= CLOSING and t.snd.una >= snd_data_end(&t.snd):
        # Both sides have said all, and all but our FIN was acknowledged: nothing is lost by it (RFC 9293 3.10.7.4 tells
        # nobody either), so the host keeps what is still on its way to it.
        count(env.counters, TCP_RST_RECEIVED)
        tcp_end(t, EV_ABORT)
    elif seq == t.rcv.nxt:
        count(env.counters, TCP_RST_RECEIVED)
        tcp_abort(env, flow, t, END_REFUSED if t.state == SYN_RCVD and flow.inbound else END_RESET_BY_GUEST, False, now)
    else:
        count(env.counters, TCP_RST_INVALID)
        tcp_challenge(env, flow, t, now)


cdef void _take_urgent(Tcp *t, const Packet *p, u64 seq) noexcept nogil:
    """RFC 9293 3.10.7.4 sixth."""
    if p.tcp_flags & TCP_URG and p.urgent and seq + p.urgent > t.rcv.nxt and seq + p.urgent - 1 > t.urgent_in:
        t.urgent_in = seq + p.urgent - 1
        t.urgent_told = False


cdef void _not_acceptable(TcpEnv *env, Flow *flow, Tcp *t, const Packet *p, const TcpOptions *o, u64 seq, u32 length, ns_t now) noexcept nogil:
    """Outside the window: an ACK answers it; where the window is closed its own ACK and urgent pointer count (RFC 9293 3.10.7.4)."""
    count(env.counters, TCP_OUT_OF_WINDOW)
    if t.state == SYN_RCVD and p.tcp_flags & TCP_SYN and seq == t.rcv.irs:
        t.rcv.ack_now = True
        ecn_heard_syn(&t.ecn, p.tcp_flags)
        if not p.tcp_flags & TCP_ACK:
            board_lose_all(&t.snd.board)        # our SYN,ACK was lost
        elif seq_wide(t.snd.una, p.ack) == t.snd.nxt:
            _take_ack(env, flow, t, p, o, seq, now)         # the second half of a simultaneous open
        return
    if p.tcp_flags & TCP_SYN:
        tcp_challenge(env, flow, t, now)           # RFC 5961 section 4.2
        return
    if t.state == TIME_WAIT and p.tcp_flags & TCP_FIN:
        t.at_life = now + _seconds(TIME_WAIT_SECONDS)       # our last ACK was lost: 2MSL anew
    if p.tcp_flags & TCP_ACK and seq == t.rcv.nxt:
        if not _take_ack(env, flow, t, p, o, seq, now):
            return
        _take_urgent(t, p, seq)                 # RFC 9293 MUST-66
    rcv_duplicate(&t.rcv, &env.arena, seq, seq + length)
    tcp_answer(env, t, length, now)


cdef void _take_text(TcpEnv *env, Tcp *t, const Packet *p, u64 seq, ns_t now) noexcept nogil:
    """RFC 9293 3.10.7.4 seventh and eighth: payload and FIN."""
    cdef bint gap = t.rcv.islands.count != 0
    cdef u32 segment_bytes = t.rcv.segment_bytes
    cdef Status status
    if p.payload_bytes:
        rcv_heard(&t.rcv, now, rtt_timeout(&t.rtt))
    ecn_received(&t.ecn, p.tcp_flags, p.tos, p.payload_bytes)
    status = rcv_segment(&t.rcv, &env.arena, seq, p.payload, p.payload_bytes, p.tcp_flags & TCP_FIN != 0)
    if p.offload != NULL and p.offload.gso_bytes:           # several segments in one
        t.rcv.segment_bytes = max(segment_bytes, p.offload.gso_bytes)
    if status != OK:
        count(env.counters, status)
        t.rcv.ack_now = True                    # RFC 5681 4.2: at once, so that the sender learns of the gap
        rcv_hurry(&t.rcv)                       # and it will be in slow start, or near it
        if status == TCP_OUT_OF_ORDER and not t.sack:
            t.rcv.duplicate_acks += 1
        return
    if gap:
        t.rcv.ack_now = True                    # it has filled a gap, or part of it
    if t.rcv.fin:                               # its own, or one that was early
        t.rcv.ack_now = True
        tcp_enter(t, EV_FIN)
        _half_closed(t, now)


cdef void tcp_input(TcpEnv *env, Flow *flow, Tcp *t, const Packet *p, ns_t now) noexcept nogil:
    cdef TcpOptions o
    cdef u64 seq
    cdef u32 length = p.payload_bytes + (1 if p.tcp_flags & TCP_SYN else 0) + (1 if p.tcp_flags & TCP_FIN else 0)
    cdef bint reset = p.tcp_flags & TCP_RST != 0
    if t.state == HELD:
        if reset and seq_wide(t.rcv.nxt, p.seq) == t.rcv.nxt:
            tcp_abort(env, flow, t, END_RESET_BY_GUEST, False, now)
        elif p.tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN) == TCP_SYN:
            _learn_syn(env, t, p, now)          # the same again, or that of a guest that has begun anew: nothing was answered
        return
    if t.state == SYN_SENT:
        _input_syn_sent(env, flow, t, p, now)
        return
    if t.state == CLOSED:
        return
    if options_parse(&o, p.options, p.option_bytes) != OK:
        count(env.counters, TCP_BAD_OPTIONS)
        return
    seq = seq_wide(t.rcv.nxt, p.seq)
    if t.timestamps and not reset:              # a reset is exempt (RFC 7323 section 5.2)
        if not o.has_timestamps or _is_old(t, &o, now):
            if o.has_timestamps and _take_overtaken(env, t, p, &o, seq, length, now):
                return
            count(env.counters, TCP_OLD_TIMESTAMP)
            if o.has_timestamps:                # without any: dropped in silence (section 3.2)
                tcp_answer(env, t, length, now)
            return
    # A reset goes by its number, whatever data it carries: it counts at a closed window, too (RFC 9293 MUST-66, RFC 5961 section 3.2).
    if not rcv_acceptable(&t.rcv, seq, 0 if reset else length):
        if reset:
            count(env.counters, TCP_RST_INVALID)
        else:
            _not_acceptable(env, flow, t, p, &o, seq, length, now)
        return
    if reset:
        _take_reset(env, flow, t, seq, now)
        return
    # Only of what is acceptable (RFC 7323 section 5.3, R3 behind R2), or one forged segment would make all others look old.
    if t.timestamps and seq <= t.last_ack_sent:
        t.ts_recent = o.ts_value
        t.ts_recent_at = now
    if p.tcp_flags & TCP_SYN:
        tcp_challenge(env, flow, t, now)           # RFC 5961 section 4.2
        return
    if o.user_timeout:
        t.user_timeout = o.user_timeout
    if not p.tcp_flags & TCP_ACK or not _take_ack(env, flow, t, p, &o, seq, now):
        return
    _take_urgent(t, p, seq)
    if length and t.state != CLOSED and t.state != TIME_WAIT:
        _take_text(env, t, p, seq, now)
    elif length and t.state == TIME_WAIT:
        tcp_answer(env, t, length, now)            # data behind the FIN: nonsense
