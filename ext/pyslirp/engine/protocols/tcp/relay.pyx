"""The pump of one connection, run once a flow and batch.

A run does, in this order: hand in-order bytes to the target (one send for the batch), read what the target has, send what
the windows allow, acknowledge once, set the deadlines.  Nothing here looks at a segment that came in; connection.pyx has
done that.  A target that fails resets the connection in the same run.

Urgent bytes.  The stream to the host is handed over up to the guest's urgent byte, then that byte by itself with MSG_OOB;
the stream from the host stops at its mark, and what follows is the urgent byte.  A handler reads it at its place in the stream and
is told how far ahead it is (RFC 6093 section 6: in line).

Back-pressure.  Towards the host: what a socket does not take waits in the receive queue, which closes the guest's window.
Towards the guest: a full link refuses a segment (`blocked`), an unacknowledged queue stops the reading of the host.
"""

from libc.errno cimport EAGAIN, ECONNRESET
from libc.string cimport memcpy

from pyslirp.engine.base.ints cimport i32, i64, ns_never, ns_t, u8, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport TCP_NO_MEMORY, TCP_PROBE, TCP_RETRANSMIT, TCP_TIMED_OUT
from pyslirp.engine.codecs.parse cimport TCP_ACK, TCP_FIN, TCP_PSH, TCP_SYN
from pyslirp.engine.protocols.tcp.congestion cimport cc_restarted, cc_resumed
from pyslirp.engine.protocols.tcp.connection cimport (
    DELAYED_ACK_MS, FIN_WAIT_2_SECONDS, HALF_CLOSED_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_PROBES, KEEPALIVE_SECONDS,
    STALL_SECONDS, USER_TIMEOUT_MAX, USER_TIMEOUT_MIN, tcp_abort, tcp_deadline, tcp_end, tcp_enter, tcp_host_failed, tcp_over)
from pyslirp.engine.protocols.tcp.output cimport tcp_send, tcp_send_report
from pyslirp.engine.protocols.tcp.path cimport path_timeout, path_widen
from pyslirp.engine.protocols.tcp.rate cimport rate_limited
from pyslirp.engine.protocols.tcp.receive cimport (
    AckReport, rcv_has_blocks, rcv_next_report, rcv_pending, rcv_settle, rcv_sound, rcv_took, rcv_update_due)
from pyslirp.engine.protocols.tcp.recovery cimport (
    recovery_judge, recovery_late, recovery_may_probe, recovery_probe_timeout, recovery_sent, recovery_timeout)
from pyslirp.engine.protocols.tcp.rtt cimport rtt_back_off, rtt_timeout
from pyslirp.engine.protocols.tcp.scoreboard cimport board_lose_last, board_lose_none
from pyslirp.engine.protocols.tcp.state cimport (
    CLOSED, EV_2MSL, EV_CLOSE, FIN_WAIT_2, HELD, SYN_RCVD, SYN_SENT, TIME_WAIT, TcpState, tcp_may_receive, tcp_may_send)
from pyslirp.engine.protocols.tcp.tcb cimport (
    END_NO_MEMORY, END_TIMED_OUT, NOTICE_FINISHED, NOTICE_READABLE, NOTICE_WRITABLE, Tcp, TcpEnv)
from pyslirp.engine.protocols.tcp.transmit cimport (
    SEGMENT_AGAIN, SEGMENT_NEW, SEGMENT_NONE, SND_BUFFER_MAX, NextSegment, snd_data_end, snd_edge, snd_flight, snd_has_new, snd_next,
    snd_ready, snd_sent, snd_sound)
from pyslirp.engine.protocols.tcp.window cimport CWND_MAX
from pyslirp.engine.stores.byte_queue cimport bq_append, bq_commit, bq_consume, bq_length, bq_peek, bq_room
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.tables.flow cimport Flow

cdef enum:
    MILLISECOND = 1000000
    PIECES_TO_HOST = 128        # of one sendmsg
    PIECES_FROM_HOST = 64       # of one recvmsg: 1 MiB
    READ_PER_RUN = 1048576      # bytes of one flow read from the host in one run, as many as a link holds: the others wait no longer
    NOT_SENT_MAX = 1048576      # bytes read from the host that wait to be sent; few large reads cost the host fewer ACKs
    R1 = 3                      # times that something is said again before the network is asked (RFC 9293 3.8.3)
    QUANTUM_MS = 1              # what a paced flow sends at once: fewer wake-ups, and bursts that any queue takes


cdef inline ns_t _seconds(i64 n) noexcept nogil:
    return n * <i64>1000 * MILLISECOND


# -- bytes to and from the host ---------------------------------------------------------------------------------------

cdef u64 tcp_urgent(const Tcp *t) noexcept nogil:
    cdef u64 next = t.rcv.irs + 1 + t.rcv.queue.head
    return t.urgent_in + 1 - next if t.urgent_in >= next else 0


cdef u64 _before_urgent(Tcp *t, u64 length) noexcept nogil:
    """How many of the `length` bytes that are next for the host come before the urgent one."""
    cdef u64 ahead = tcp_urgent(t)
    if ahead == 0:                              # the host has it, or there is none
        t.urgent_in = 0
        return length
    return min(length, ahead - 1)


cdef void _drain_queue(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    cdef Piece[PIECES_TO_HOST] pieces
    cdef int n
    cdef i64 taken
    cdef u64 most
    while t.host_writable and bq_length(&t.rcv.queue):
        most = _before_urgent(t, bq_length(&t.rcv.queue))
        n = bq_peek(&t.rcv.queue, t.rcv.queue.head, most if most else 1, pieces, PIECES_TO_HOST)
        if most:
            taken = env.host.send(env.host.ctx, flow.socket, pieces, n)
        else:
            taken = env.host.send_urgent(env.host.ctx, flow.socket, pieces[0].data[0])
        if taken <= 0:
            t.host_writable = False
            if taken < 0 and taken != -EAGAIN:
                t.host_error = <i32>-taken
            return
        bq_consume(&t.rcv.queue, <u64>taken)
        flow.bytes_to_host += <u64>taken
        rcv_took(&t.rcv, <u64>taken, now, t.rtt.srtt)


cdef void _to_host(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    cdef Piece[PIECES_TO_HOST] pieces
    cdef i64 taken = 0
    cdef int n
    if t.rcv.pending_bytes:
        if flow.socket != NULL and t.host_writable and bq_length(&t.rcv.queue) == 0 and t.urgent_in == 0:
            n = rcv_pending(&t.rcv, &env.arena, pieces, PIECES_TO_HOST)
            taken = env.host.send(env.host.ctx, flow.socket, pieces, n)
            if taken < 0:
                t.host_writable = False
                if taken != -EAGAIN:
                    t.host_error = <i32>-taken
                taken = 0
            elif taken:
                flow.bytes_to_host += <u64>taken
                rcv_took(&t.rcv, <u64>taken, now, t.rtt.srtt)
    if not rcv_settle(&t.rcv, &env.arena, <u64>taken):
        count(env.counters, TCP_NO_MEMORY)
        if not tcp_may_receive(<TcpState>t.state):
            # The guest's FIN was among what could not be kept, and its states have no way back.
            tcp_abort(env, flow, t, END_NO_MEMORY, True, now)
            return
        t.rcv.ack_now = True
    if flow.socket != NULL:
        _drain_queue(env, flow, t, now)
    elif flow.served and (bq_length(&t.rcv.queue) and not t.read_told or tcp_urgent(t) and not t.urgent_told):
        t.read_told = bq_length(&t.rcv.queue) != 0
        t.urgent_told = True
        env.notify(env.ctx, flow, NOTICE_READABLE)
    if t.rcv.fin and not t.host_finished and bq_length(&t.rcv.queue) == 0 and not t.host_error:
        t.host_finished = True
        if flow.socket != NULL:
            env.host.finish(env.host.ctx, flow.socket)
        elif flow.served:
            env.notify(env.ctx, flow, NOTICE_FINISHED)


cdef u64 _read_ahead(const Tcp *t) noexcept nogil:
    """How many bytes may be held for the guest: twice the congestion window, so that an ACK finds the next flight ready where
    Python writes it.  A host's socket is read when the ACK is there, so that little more than the flight is held."""
    cdef u64 wanted = 2 * t.cc.window.cwnd
    if wanted < t.snd.limit:
        wanted = t.snd.limit
    return wanted if wanted < SND_BUFFER_MAX else SND_BUFFER_MAX


cdef u64 _from_host_max(const Tcp *t) noexcept nogil:
    """Of the queue.  What the guest has sacked, and what is lost, is in it too, behind a hole, and no part of the flight."""
    cdef u64 sent = t.snd.nxt - t.snd.una
    return min(_read_ahead(t) + sent - snd_flight(&t.snd), sent + NOT_SENT_MAX, <u64>SND_BUFFER_MAX)


cdef u64 _from_host(TcpEnv *env, Flow *flow, Tcp *t, u64 budget, ns_t now) noexcept nogil:
    """Read what may soon be sent; how many bytes that was.  It ends once `budget` is reached."""
    cdef Piece[PIECES_FROM_HOST] pieces
    cdef u64 most = _from_host_max(t), offered, total = 0
    cdef i64 got
    cdef int n, i
    while t.host_readable and not t.host_ended and bq_length(&t.snd.queue) < most and total < budget:
        n = bq_room(&t.snd.queue, most - bq_length(&t.snd.queue), pieces, PIECES_FROM_HOST)
        if n == 0:
            count(env.counters, TCP_NO_MEMORY)
            return total
        offered = 0
        for i in range(n):
            offered += pieces[i].length
        if t.host_urgent and env.host.at_mark(env.host.ctx, flow.socket):
            t.host_urgent = False
            t.urgent_out = snd_data_end(&t.snd) + 1
        got = env.host.recv(env.host.ctx, flow.socket, pieces, n)
        bq_commit(&t.snd.queue, <u64>got if got > 0 else 0)
        if got > 0:
            flow.last_from_host = now
            flow.bytes_to_guest += <u64>got
            total += <u64>got
            if <u64>got < offered and not t.host_hup and not t.host_urgent:
                t.host_readable = False         # emptied; the next byte is a new edge
        elif got == 0:
            t.host_ended = True
            t.snd.fin_wanted = True
        else:
            t.host_readable = False
            if got != -EAGAIN:
                t.host_error = <i32>-got
    return total


# -- a run ------------------------------------------------------------------------------------------------------------

cdef void _spend(Tcp *t, u32 length, ns_t now) noexcept nogil:
    """`length` bytes have left.  A flow that has waited, or was woken late, may make up for one quantum."""
    cdef ns_t quantum = <ns_t>QUANTUM_MS * MILLISECOND
    if t.cc.window.pace == 0:
        return
    if t.paced < now - quantum:
        t.paced = now - quantum
    t.paced += <ns_t>(<u64>length * 1000000 // t.cc.window.pace * 1000 + <u64>length * 1000000 % t.cc.window.pace * 1000 // t.cc.window.pace)


cdef void _send_syn(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    cdef NextSegment next
    next.kind = SEGMENT_NEW
    next.seq = t.snd.iss
    next.length = 0
    next.syn = True
    next.fin = False
    if snd_ready(&t.snd, &next) and tcp_send(env, flow, t, next.seq, 0, TCP_SYN | (TCP_ACK if t.state == SYN_RCVD else 0), now):
        snd_sent(&t.snd, &next, now)


cdef u32 _most(TcpEnv *env, Flow *flow, Tcp *t) noexcept nogil:
    """Payload bytes of the largest segment that may go out now."""
    cdef u64 most = env.burst(env.ctx, flow), quantum
    if t.cc.window.pace:
        quantum = t.cc.window.pace * QUANTUM_MS // 1000
        if most > quantum:
            most = quantum
    most = most // t.snd.mss * t.snd.mss
    if rcv_has_blocks(&t.rcv) or t.urgent_out or most < t.snd.mss:
        most = t.snd.mss - (36 if t.sack and rcv_has_blocks(&t.rcv) else 0)
    return <u32>most


cdef void _resume(Tcp *t, ns_t now) noexcept nogil:
    """Something may be sent, and nothing is in flight."""
    if t.snd.queue.head and t.snd.stalled == 0 and now - t.snd.last > rtt_timeout(&t.rtt):
        cc_restarted(&t.cc, now)
    if t.snd.board.rate.limited and snd_has_new(&t.snd):
        cc_resumed(&t.cc, now)


cdef bint _limited_by_an_end(const Tcp *t) noexcept nogil:
    """More might be in flight, but the host has written no more, or the guest's window has no room: neither tells of the path."""
    cdef u64 flight = snd_flight(&t.snd)
    if snd_has_new(&t.snd):
        return t.snd.nxt + t.snd.mss > snd_edge(&t.snd) and flight + t.snd.mss <= t.cc.window.cwnd
    return (t.host_ended or not t.host_readable) and flight < t.cc.window.cwnd


cdef void _output(TcpEnv *env, Flow *flow, Tcp *t, bint force, ns_t now) noexcept nogil:
    cdef NextSegment next
    cdef u32 most
    cdef ns_t until = now
    cdef u8 flags
    t.at_pace = ns_never()
    if t.snd.nxt == t.snd.iss:
        _send_syn(env, flow, t, now)
        return
    if t.urgent_out and t.urgent_out <= t.snd.una:
        t.urgent_out = 0
    if t.snd.board.count == 0:
        _resume(t, now)
    most = _most(env, flow, t)
    while True:
        snd_next(&t.snd, t.cc.window.cwnd, min(most, t.snd.mss) if t.snd.board.lost_bytes or t.ecn.cwr else most, force, &next)
        if next.kind == SEGMENT_NONE:
            break
        if not snd_ready(&t.snd, &next):
            count(env.counters, TCP_NO_MEMORY)
            return
        # A quantum at once, and nothing more before that would have left at the pace.
        if t.cc.window.pace and t.paced > until and not force and not t.snd.board.repeat_now:
            t.at_pace = t.paced
            return
        until = now + <ns_t>QUANTUM_MS * MILLISECOND
        flags = TCP_ACK | (TCP_FIN if next.fin else 0) | (TCP_PSH if next.push and next.length else 0)
        if next.syn:
            flags = TCP_SYN | (TCP_ACK if t.state == SYN_RCVD else 0)
        if t.rcv.unacked_bytes and next.length:
            t.rcv.interactive = True            # data answers data: the next ACK may ride on the next answer
        if not tcp_send(env, flow, t, next.seq, next.length, flags, now):
            break
        if next.kind == SEGMENT_AGAIN:
            count(env.counters, TCP_RETRANSMIT)
        elif next.fin:
            tcp_enter(t, EV_CLOSE)
        snd_sent(&t.snd, &next, now)
        recovery_sent(t, next.seq, next.length, next.kind == SEGMENT_AGAIN, now)
        _spend(t, next.length, now)
        if next.kind == SEGMENT_NEW:
            t.at_probe = ns_never()             # a new flight, a new probe (RFC 8985 7.2)
    if not t.blocked and t.snd.board.lost_bytes == 0 and (t.cc.window.probing_low or _limited_by_an_end(t)):
        rate_limited(&t.snd.board.rate, snd_flight(&t.snd))


cdef void _tell_apart(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    """The ACKs that come before the one at the end of the batch, and before data that carry that one."""
    cdef const AckReport *report = rcv_next_report(&t.rcv, &env.arena)
    while report != NULL and t.state != CLOSED and tcp_send_report(env, flow, t, report, now):
        report = rcv_next_report(&t.rcv, &env.arena)
    t.rcv.first_report = 0


cdef void _acknowledge(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    """RFC 5681 4.2: every second full segment at once, less after a moment; the first ones of a sender in slow start at once."""
    cdef u32 again
    # A SYN's window is small because it is not scaled; the guest learns of the rest with the ACK of its first data.
    if not t.rcv.ack_now and t.rcv.nxt > t.rcv.irs + 1 and rcv_update_due(&t.rcv):
        t.rcv.ack_now = True
    if t.rcv.unacked_bytes and not t.rcv.ack_now:
        if t.rcv.unacked_bytes >= 2 * t.rcv.segment_bytes or (t.rcv.quick and not t.rcv.interactive):
            t.rcv.ack_now = True
            if t.rcv.quick:
                t.rcv.quick -= 1
        elif t.at_ack == ns_never():
            t.at_ack = now + <ns_t>DELAYED_ACK_MS * MILLISECOND
    again = t.rcv.duplicate_acks
    t.rcv.duplicate_acks = 0
    if t.rcv.ack_now and t.snd.nxt > t.snd.iss:
        tcp_send(env, flow, t, t.snd.nxt, 0, TCP_ACK, now)
        while again > 1 and tcp_send(env, flow, t, t.snd.nxt, 0, TCP_ACK, now):
            again -= 1


cdef void _arm(Tcp *t, ns_t now) noexcept nogil:
    """While something is in flight: the tail loss probe's timer, or the retransmission timer.  While something waits for the window
    (or memory): the persist timer."""
    if t.snd.una < t.snd.nxt:
        if recovery_may_probe(t):
            if t.at_probe == ns_never():
                t.at_probe = now + min(recovery_probe_timeout(t), rtt_timeout(&t.rtt))
            t.persisting = False
            t.at_retransmit = ns_never()        # one at a time: it is set when the probe is out (RFC 8985 7.2)
            return
        t.at_probe = ns_never()
        if t.at_retransmit == ns_never() or t.persisting:
            t.persisting = False
            t.at_retransmit = now + rtt_timeout(&t.rtt)
        return
    t.at_probe = ns_never()
    t.at_reorder = ns_never()
    if (snd_has_new(&t.snd) or (t.host_readable and not t.host_ended and bq_length(&t.snd.queue) == 0)) and t.snd.nxt > t.snd.iss:
        if not t.persisting:
            t.persisting = True
            t.at_retransmit = now + rtt_timeout(&t.rtt)
    else:
        t.persisting = False
        t.at_retransmit = ns_never()


cdef void _go_on_reading(TcpEnv *env, Flow *flow, Tcp *t, u64 total, ns_t now) noexcept nogil:
    """All that was read has been sent, and there is more: read and send by turns, up to what is a run's share.  An error is for
    the next run, which looks at such things first."""
    cdef u64 got
    while (t.host_readable and not t.host_ended and not t.host_error and flow.socket != NULL and not t.blocked
           and tcp_may_send(<TcpState>t.state) and not snd_has_new(&t.snd)):
        if total >= READ_PER_RUN:
            t.host_more = True
            return
        got = _from_host(env, flow, t, READ_PER_RUN - total, now)
        _output(env, flow, t, False, now)
        t.host_more = t.host_error != 0 or t.host_broken
        if got == 0 or t.host_more:
            return
        total += got


cdef bint _nothing_to_read(const Tcp *t) noexcept nogil:
    """A broken socket says so to whoever reads it, behind its last bytes; but is it read?  Not when it is at its end, nor
    while the guest, who may stay silent for ever, takes nothing more."""
    return t.host_ended or not t.host_readable or not tcp_may_send(<TcpState>t.state) or bq_length(&t.snd.queue) >= _from_host_max(t)


cdef void tcp_run(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    cdef u64 total = 0
    t.blocked = False
    t.host_more = False
    if t.state == HELD or tcp_over(t):
        return
    if t.state != SYN_SENT and t.state != SYN_RCVD:
        _to_host(env, flow, t, now)
        if tcp_over(t):
            return
        _tell_apart(env, flow, t, now)
        if flow.socket != NULL and not t.host_error and tcp_may_send(<TcpState>t.state):
            total = _from_host(env, flow, t, READ_PER_RUN, now)
        if t.host_broken and not t.host_error and _nothing_to_read(t):
            t.host_error = ECONNRESET
    if t.host_error:
        if tcp_may_send(<TcpState>t.state):
            _output(env, flow, t, False, now)   # its last words, as far as they may go, arrive before the reset
        tcp_host_failed(env, flow, t, t.host_error, now)
        return
    if t.state != CLOSED and t.state != TIME_WAIT:
        recovery_judge(env, t, now)
        path_widen(t, now)
        _output(env, flow, t, False, now)
        _go_on_reading(env, flow, t, total, now)
    if t.state != CLOSED and t.state != SYN_SENT:
        _acknowledge(env, flow, t, now)
    if flow.socket != NULL and t.host_ended and t.host_finished:
        env.host.close(env.host.ctx, flow.socket, False)
        flow.socket = NULL
    if flow.served and t.write_told and tcp_may_send(<TcpState>t.state) and bq_length(&t.snd.queue) * 2 <= _read_ahead(t):
        t.write_told = False
        env.notify(env.ctx, flow, NOTICE_WRITABLE)
    if t.state != CLOSED and t.state != TIME_WAIT:
        _arm(t, now)
    else:
        t.at_retransmit = ns_never()
        t.at_probe = ns_never()
        t.at_reorder = ns_never()
        t.at_pace = ns_never()


cdef ns_t _patience(const Tcp *t) noexcept nogil:
    """How long nothing need be acknowledged: ours, or what the guest has asked for within our bounds (RFC 5482 section 3.1)."""
    if t.user_timeout == 0:
        return _seconds(STALL_SECONDS)
    return _seconds(min(max(t.user_timeout, <u32>USER_TIMEOUT_MIN), <u32>USER_TIMEOUT_MAX))


cdef inline void _doubt(TcpEnv *env, Flow *flow, u32 unanswered) noexcept nogil:
    """RFC 9293 MUST-20 (b): what is said again and again may go to a MAC address that the guest has no more."""
    if unanswered >= R1:
        env.doubt(env.ctx, flow)


cdef void _retransmission_timeout(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    # A guest that answers with a closed window is alive (RFC 9293 3.8.6.1): repetitions are its probes.
    cdef ns_t limit = _patience(t)
    if t.snd.stalled and now - t.snd.stalled > limit and (t.snd.wnd or now - flow.last_from_guest > limit):
        count(env.counters, TCP_TIMED_OUT)
        tcp_abort(env, flow, t, END_TIMED_OUT, True, now)
        return
    recovery_timeout(env, t, now)
    _doubt(env, flow, t.rtt.backoff)
    path_timeout(env, flow, t, now)


cdef void _probe_tail(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    """Tail loss probe (RFC 8985 7.3): new data where there are some and the guest's window allows it, else the last segment
    again.  Its ACK tells RACK what is lost."""
    cdef NextSegment next
    cdef u32 most = min(_most(env, flow, t), t.snd.mss)
    count(env.counters, TCP_PROBE)
    t.snd.board.rack.probe_again = False
    snd_next(&t.snd, snd_flight(&t.snd) + t.snd.mss, most, False, &next)
    if next.kind != SEGMENT_NEW:
        board_lose_last(&t.snd.board, t.snd.mss)
        t.snd.board.rack.probe_again = True
        snd_next(&t.snd, t.snd.mss, most, False, &next)
    if snd_ready(&t.snd, &next) and tcp_send(
            env, flow, t, next.seq, next.length,
            TCP_ACK | (TCP_FIN if next.fin else 0) | (TCP_PSH if next.push and next.length else 0), now):
        if next.kind == SEGMENT_AGAIN:
            count(env.counters, TCP_RETRANSMIT)
        elif next.fin:
            tcp_enter(t, EV_CLOSE)
        snd_sent(&t.snd, &next, now)
        recovery_sent(t, next.seq, next.length, next.kind == SEGMENT_AGAIN, now)
        _spend(t, next.length, now)
    board_lose_none(&t.snd.board)               # what of the last segment did not go out is not lost by that
    t.snd.board.rack.probe = t.snd.nxt


cdef void _persist_timeout(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    """Zero-window probe (RFC 9293 3.8.6.1): an old sequence number, which must be answered with an ACK and the window."""
    if not snd_has_new(&t.snd):
        return                                  # it was memory that we waited for
    rtt_back_off(&t.rtt)
    _doubt(env, flow, t.rtt.backoff)
    if t.snd.wnd:
        _output(env, flow, t, True, now)        # sender's SWS avoidance gives way (RFC 9293 3.8.6.2.1)
        return
    if now - flow.last_from_guest > _patience(t):
        count(env.counters, TCP_TIMED_OUT)
        tcp_abort(env, flow, t, END_TIMED_OUT, True, now)
        return
    count(env.counters, TCP_PROBE)
    tcp_send(env, flow, t, t.snd.una - 1, 0, TCP_ACK, now)


cdef bint _idle_half(const Tcp *t, ns_t now) noexcept nogil:
    """The host's side is done, and the guest, though it answers, has nothing to say: as a kernel gives up FIN_WAIT_2."""
    return t.state == FIN_WAIT_2 and now - max(t.half_closed, t.rcv.heard) >= _seconds(FIN_WAIT_2_SECONDS)


cdef void _life_timeout(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    cdef ns_t quiet = now - flow.last_from_guest
    cdef ns_t idle = _seconds(HALF_CLOSED_SECONDS if t.half_closed else KEEPALIVE_SECONDS)
    if t.state == TIME_WAIT:
        tcp_end(t, EV_2MSL)
        return
    if t.state == SYN_SENT or t.state == SYN_RCVD:
        count(env.counters, TCP_TIMED_OUT)
        tcp_abort(env, flow, t, END_TIMED_OUT, t.state == SYN_RCVD, now)
        return
    if t.snd.una < t.snd.nxt:                   # the retransmission timer looks after that (RFC 9293 MUST-26)
        t.tries = 0
        t.at_life = now + idle
        return
    if quiet < idle and not _idle_half(t, now):
        t.tries = 0
        t.at_life = flow.last_from_guest + idle
        return
    if t.tries >= KEEPALIVE_PROBES or _idle_half(t, now):
        count(env.counters, TCP_TIMED_OUT)
        tcp_abort(env, flow, t, END_TIMED_OUT, True, now)
        return
    t.tries += 1
    _doubt(env, flow, t.tries)
    count(env.counters, TCP_PROBE)
    tcp_send(env, flow, t, t.snd.una - 1, 0, TCP_ACK, now)
    t.at_life = now + _seconds(KEEPALIVE_INTERVAL_SECONDS)


cdef void tcp_expire(TcpEnv *env, Flow *flow, Tcp *t, ns_t now) noexcept nogil:
    if t.at_ack <= now:
        t.at_ack = ns_never()
        t.rcv.ack_now = True
        t.rcv.interactive = False               # the answer did not come in time
    if t.at_life <= now:
        _life_timeout(env, flow, t, now)
    if t.at_reorder <= now:
        t.at_reorder = ns_never()
        recovery_late(env, t, now)
    if t.at_probe <= now:
        t.at_probe = ns_never()
        if recovery_may_probe(t):
            _probe_tail(env, flow, t, now)
    if t.at_retransmit <= now:
        t.at_retransmit = ns_never()
        if t.persisting:
            t.persisting = False
            _persist_timeout(env, flow, t, now)
        else:
            _retransmission_timeout(env, flow, t, now)
    tcp_run(env, flow, t, now)


cdef const char *tcp_unsound(const Flow *flow, const Tcp *t) noexcept nogil:
    cdef ns_t due = tcp_deadline(t)
    cdef bint over = t.state == CLOSED or t.state == TIME_WAIT or t.state == HELD
    if not snd_sound(&t.snd):
        return "records of what was sent"
    if not rcv_sound(&t.rcv):
        return "what was received"
    if over and (t.at_retransmit != ns_never() or t.at_probe != ns_never() or t.at_reorder != ns_never() or t.at_pace != ns_never()):
        return "a timer of the dead"
    if t.at_probe != ns_never() and t.at_retransmit != ns_never():
        return "a probe beside the retransmission timer"
    if t.at_pace != ns_never() and t.cc.window.pace == 0 and t.at_pace > t.paced:
        return "paced without a pace"
    if t.cc.window.cwnd == 0 or t.cc.window.cwnd > <u64>CWND_MAX:
        return "the congestion window"
    if not over and not t.blocked and t.snd.nxt > t.snd.iss and t.at_retransmit == ns_never() and t.at_probe == ns_never():
        if t.snd.una < t.snd.nxt:
            return "in flight without a timer"
        if snd_has_new(&t.snd):
            return "waiting for a window without a timer"
    if t.rcv.unacked_bytes and not over and t.at_ack == ns_never() and not t.blocked:
        return "an ACK is owed without a timer"
    if due != ns_never() and (flow.timer.slot == 0 or flow.timer.when > due):
        return "a deadline that nobody watches"
    return NULL


# -- a handler's side -------------------------------------------------------------------------------------------------

cdef u64 tcp_readable(const Tcp *t) noexcept nogil:
    return bq_length(&t.rcv.queue)


cdef i64 tcp_read(TcpEnv *env, Flow *flow, Tcp *t, u8 *into, u64 most, ns_t now) noexcept nogil:
    cdef Piece[PIECES_TO_HOST] pieces
    cdef int n = bq_peek(&t.rcv.queue, t.rcv.queue.head, most, pieces, PIECES_TO_HOST), i
    cdef u64 total = 0
    for i in range(n):
        memcpy(into + total, pieces[i].data, pieces[i].length)
        total += pieces[i].length
    bq_consume(&t.rcv.queue, total)
    flow.bytes_to_host += total
    if total:
        rcv_took(&t.rcv, total, now, t.rtt.srtt)
    t.read_told = False
    return <i64>total


cdef u64 tcp_write(TcpEnv *env, Flow *flow, Tcp *t, const u8 *data, u64 length, bint urgent) noexcept nogil:
    cdef u64 most = _read_ahead(t), have = bq_length(&t.snd.queue), taken = 0
    if t.snd.fin_wanted or t.state == CLOSED:
        return 0
    if have < most:
        taken = bq_append(&t.snd.queue, data, length if length < most - have else most - have)
    flow.bytes_to_guest += taken
    t.write_told = t.write_told or taken < length
    if urgent and taken and taken == length:
        t.urgent_out = snd_data_end(&t.snd)
    return taken
