"""What acknowledgments and timers do to the sending half: RTT samples, the congestion window, loss recovery, its undoing.

scoreboard.pyx keeps the account of what is in flight, rack.pyx says what is late, congestion.pyx how much may be in flight; here
they meet.  ACKs are taken in one by one, and judged once a batch (recovery_judge, from relay.pyx): all of a batch have the same
time, so nothing is lost by it, and the work is done once.

Recovery begins with the first loss, and ends when everything that was in flight then is acknowledged.  A guest with SACK: loss is
told by time (RACK), the end of a flight is probed (TLP), and a lost retransmission is found as well.  Without: three duplicate ACKs
(RFC 5681, RFC 6582), limited transmit (RFC 3042).  Either way the retransmission timer (RFC 6298) is the last resort.

Marks (RFC 3168) that an ACK tells of reduce the window without a recovery: until what was in flight then is acknowledged, it comes
down as in one, and a loss among that reduces nothing more.

Undoing (RFC 4015).  A retransmission was for nothing when the ACK that acknowledges it echoes a timestamp from before it (RFC 3522),
or when D-SACKs (RFC 2883) tell that the guest had all that was sent again.  Only those from the recovery's first one on count: what
an earlier recovery has sent again may still be on the way, and its ACK echoes an older timestamp, too.  Then cwnd and ssthresh are what they were, and
nothing is held lost any more.  A D-SACK also widens RACK's window, so that the same reordering is not taken for loss again.

What is not done.  F-RTO (RFC 5682): timestamps and D-SACK answer its question, and every guest has one of them.  A probe that was
sent because of a lost ACK is told from one that repaired a loss only where D-SACK or a repeated ACK says so (RFC 8985 7.4).
"""

from pyslirp.engine.base.ints cimport i32, i64, ns_never, ns_t, u32, u64
from pyslirp.engine.base.seq cimport seq_wide
from pyslirp.engine.base.status cimport TCP_ECN_REDUCED, TCP_FAST_RETRANSMIT, TCP_RTO, TCP_SPURIOUS_RECOVERY, TCP_SPURIOUS_RTO
from pyslirp.engine.protocols.tcp.congestion cimport (
    cc_delivered, cc_lost, cc_marked, cc_recovered, cc_sent, cc_timed_out, cc_undo)
from pyslirp.engine.protocols.tcp.ecn cimport ecn_reduced
from pyslirp.engine.protocols.tcp.options cimport TcpOptions
from pyslirp.engine.protocols.tcp.rack cimport (
    rack_probe_timeout, rack_recovered, rack_round, rack_spurious, rack_was_repeated, rack_window)
from pyslirp.engine.protocols.tcp.rate cimport RateSample, rate_take
from pyslirp.engine.protocols.tcp.rtt cimport rtt_back_off, rtt_sample, rtt_ts_clock
from pyslirp.engine.protocols.tcp.scoreboard cimport (
    board_find_losses, board_lose_all, board_lose_first, board_lose_late, board_lose_none, board_sacked)
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpEnv
from pyslirp.engine.protocols.tcp.transmit cimport DUPLICATE_THRESHOLD, AckResult, snd_acknowledged, snd_flight
from pyslirp.engine.protocols.tcp.window cimport Delivery
from pyslirp.engine.stores.counters cimport count

cdef enum:
    MILLISECOND = 1000000


cdef void _hear(Tcp *t) noexcept nogil:
    """Before the first ACK of a batch changes anything."""
    cdef u64 flight
    if t.heard.any:
        return
    flight = snd_flight(&t.snd)
    t.heard.any = True
    t.heard.moved = False
    t.heard.marked = False
    t.heard.repeated = False
    t.heard.before = flight
    t.heard.delivered = t.snd.board.rate.delivered
    t.heard.lost = 0
    t.heard.rtt = 0
    if t.cc.window.cwnd < t.cc.window.ssthresh:
        t.heard.limited = 2 * flight >= t.cc.window.cwnd
    else:
        t.heard.limited = flight + t.snd.mss >= t.cc.window.cwnd


cdef void recovery_began(Tcp *t) noexcept nogil:
    if t.heard.any and t.heard.rtt:
        rtt_sample(&t.rtt, t.heard.rtt)
    t.heard.any = False
    t.at_retransmit = ns_never()
    t.snd.board.rate.sampled = False
    t.undo.at = 0


# -- acknowledgments --------------------------------------------------------------------------------------------------

cdef ns_t _echoed(const Tcp *t, const TcpOptions *o, ns_t again, ns_t now) noexcept nogil:
    """The RTT of what was repeated, by the timestamp that came back (RFC 7323 section 4.1); 0 where it does not tell.

    Only the echo of the last repetition, sent at `again`, is a sample: an older one may be that of an ACK that was lost, and
    the time until the repetition fetched another says nothing about the path.
    """
    cdef i32 age = <i32>(rtt_ts_clock(now, t.ts_offset) - o.ts_echo)
    if again == 0 or not t.timestamps or age < 0 or <i32>(o.ts_echo - rtt_ts_clock(again, t.ts_offset)) < 0:
        return 0
    return <ns_t>(age if age else 1) * MILLISECOND


cdef void _undo(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    count(env.counters, TCP_SPURIOUS_RTO if t.snd.timed_out else TCP_SPURIOUS_RECOVERY)
    t.undo.at = 0
    board_lose_none(&t.snd.board)
    t.snd.recovering = False
    t.snd.timed_out = False
    t.snd.duplicates = 0
    t.snd.board.guessed_bytes = 0
    cc_undo(&t.cc, now)


cdef bint recovery_new_ack(TcpEnv *env, Tcp *t, u64 ack, const TcpOptions *o, ns_t now) noexcept nogil:
    cdef AckResult result
    _hear(t)
    t.heard.moved = True
    snd_acknowledged(&t.snd, ack, now, &result)
    t.snd.board.heard_sent = 0
    if result.sample == 0:
        result.sample = _echoed(t, o, result.again, now)
    if result.sample:
        t.heard.rtt = result.sample
    if t.undo.at and ack > t.undo.first and t.timestamps and <i32>(o.ts_echo - rtt_ts_clock(t.undo.at, t.ts_offset)) < 0:
        _undo(env, t, now)                      # Eifel: what it acknowledges had left before
    elif t.snd.recovering and ack < t.snd.recover and not t.sack and not t.snd.timed_out:
        t.heard.lost += board_lose_first(&t.snd.board, t.snd.mss)     # partial ACK: the next hole (RFC 6582 3.2 step 3)
    return result.fin_acked


cdef bint _is_repeat(u64 ack, u64 start, u64 end, u64 around, u64 around_end) noexcept nogil:
    """A D-SACK (RFC 2883 section 4): the first block lies below the cumulative ACK, or within the second."""
    return start < end and (end <= ack or (start >= around and end <= around_end and around < around_end))


cdef void _take_repeat(TcpEnv *env, Tcp *t, u64 start, u64 end, ns_t now) noexcept nogil:
    if end > t.snd.nxt or end + t.snd.wnd_max < t.snd.una:
        return                                  # nothing that was ever sent, or so old that it was sent by another
    if t.snd.board.rack.probe and end == t.snd.board.rack.probe and t.snd.board.rack.probe_again:
        t.snd.board.rack.probe = 0              # the probe was for nothing, and nothing was lost (RFC 8985 7.4.2)
        return
    if not rack_was_repeated(&t.snd.board.rack, start, end):
        return                                  # the link has doubled it, not we
    rack_spurious(&t.snd.board.rack, t.snd.nxt)
    if t.undo.at and t.undo.first <= start and end <= t.undo.top:
        t.undo.owed_bytes -= <i64>(end - start)
        if t.undo.owed_bytes <= 0:
            _undo(env, t, now)


cdef void recovery_sacks(TcpEnv *env, Tcp *t, u64 ack, const TcpOptions *o, ns_t now) noexcept nogil:
    cdef u64 start, end, new = 0, around = 0, around_end = 0
    cdef int i
    _hear(t)
    t.snd.board.heard_sent = 0
    if o.sack_count > 1:
        around = seq_wide(t.snd.una, o.sack_start[1])
        around_end = seq_wide(t.snd.una, o.sack_end[1])
    for i in range(o.sack_count):
        start = seq_wide(t.snd.una, o.sack_start[i])
        end = seq_wide(t.snd.una, o.sack_end[i])
        if i == 0 and _is_repeat(ack, start, end, around, around_end):
            _take_repeat(env, t, start, end, now)
        else:
            new += board_sacked(&t.snd.board, start, end, now)
    if new:
        t.snd.duplicates += 1
        if t.snd.board.heard_sent:
            t.heard.rtt = now - t.snd.board.heard_sent if now > t.snd.board.heard_sent else 1


cdef void recovery_marked(Tcp *t) noexcept nogil:
    _hear(t)
    t.heard.marked = True


cdef void recovery_repeated_ack(Tcp *t) noexcept nogil:
    _hear(t)
    t.heard.repeated = True


cdef void recovery_duplicate_ack(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    """Each says that one segment more has left the network (RFC 5681 3.2, RFC 3042)."""
    _hear(t)
    t.snd.duplicates += 1
    if t.snd.timed_out and t.snd.recovering:
        return                                  # they are for what was sent again without need (RFC 6582 4.1)
    if t.snd.board.guessed_bytes + t.snd.mss <= t.snd.nxt - t.snd.una - t.snd.board.lost_bytes:
        t.snd.board.guessed_bytes += t.snd.mss
    if t.snd.duplicates == DUPLICATE_THRESHOLD and not t.snd.recovering:
        t.heard.lost += board_lose_first(&t.snd.board, t.snd.mss)


# -- the judgment -----------------------------------------------------------------------------------------------------

cdef void _reduce(Tcp *t, ns_t now) noexcept nogil:
    """The congestion window, for a loss; unless it was for a mark on what was in flight together with it (RFC 3168 section 6.1.2)."""
    cc_lost(&t.cc, t.snd.nxt - t.snd.una, not t.ecn.reducing, now)
    ecn_reduced(&t.ecn, t.snd.nxt, False)


cdef void _heed_marks(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    if t.ecn.capable:
        count(env.counters, TCP_ECN_REDUCED)
        cc_marked(&t.cc, max(t.heard.before, snd_flight(&t.snd)), now)
    ecn_reduced(&t.ecn, t.snd.nxt, True)        # nothing of ours can have been marked, but CWR ends the guest's echo


cdef void _begin(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    count(env.counters, TCP_FAST_RETRANSMIT)
    t.snd.recovering = True
    t.snd.timed_out = False
    t.snd.recover = t.snd.nxt
    t.snd.board.repeat_now = True
    t.undo.at = 0
    t.undo.owed_bytes = 0
    t.undo.top = t.snd.nxt
    _reduce(t, now)
    if not t.sack:
        t.cc.prr_flight = 0                     # without SACK it is the whole reduction at once


cdef void _end(Tcp *t, ns_t now) noexcept nogil:
    if not t.snd.timed_out:
        cc_recovered(&t.cc, now)
    t.snd.recovering = False
    t.snd.timed_out = False
    t.snd.board.guessed_bytes = 0
    rack_recovered(&t.snd.board.rack)


cdef ns_t _window(const Tcp *t) noexcept nogil:
    return rack_window(&t.snd.board.rack, t.rtt.srtt, t.snd.recovering or t.snd.duplicates >= DUPLICATE_THRESHOLD
                       or t.snd.board.sacked_bytes >= DUPLICATE_THRESHOLD * <u64>t.snd.mss)


cdef void _find_losses(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    t.heard.lost += board_find_losses(&t.snd.board, _window(t), now, &t.at_reorder)


cdef void _judge_probe(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    """RFC 8985 7.4: was the probe a repair?  Then a loss was hidden by it, and the window pays."""
    if t.snd.board.rack.probe == 0 or t.snd.una < t.snd.board.rack.probe:
        return
    if not t.snd.board.rack.probe_again:
        t.snd.board.rack.probe = 0
    elif t.snd.una > t.snd.board.rack.probe:
        t.snd.board.rack.probe = 0
        if not t.snd.recovering:
            _reduce(t, now)
            cc_recovered(&t.cc, now)
    elif t.heard.repeated:
        t.snd.board.rack.probe = 0


cdef void _adapt(Tcp *t, bint ended, ns_t now) noexcept nogil:
    cdef Delivery d
    cdef RateSample sample
    rate_take(&t.snd.board.rate, t.rtt.minimum, &sample)
    d.bytes = t.snd.board.rate.delivered - t.heard.delivered
    d.total = t.snd.board.rate.delivered
    d.prior = sample.prior
    d.lost = t.heard.lost
    d.flight = snd_flight(&t.snd)
    d.before = t.heard.before
    d.rate = sample.bytes_per_second
    d.rate_limited = sample.limited
    d.limited = (t.heard.limited or t.snd.recovering) and not ended     # what ended a recovery opens no window
    d.recovering = (t.snd.recovering and not t.snd.timed_out) or t.ecn.reducing
    d.timed_out = t.snd.recovering and t.snd.timed_out
    d.rtt = t.heard.rtt
    d.srtt = t.rtt.srtt
    cc_delivered(&t.cc, &d, now)


cdef void recovery_judge(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    cdef bint news, ended = False
    if not t.heard.any:
        return
    t.heard.any = False
    news = t.heard.moved or t.snd.board.rate.delivered > t.heard.delivered
    if t.heard.rtt:
        rtt_sample(&t.rtt, t.heard.rtt)
    if t.heard.moved:
        rack_round(&t.snd.board.rack, t.snd.una)
        if t.snd.recovering and t.snd.una >= t.snd.recover:
            ended = not t.snd.timed_out
            _end(t, now)
    if t.ecn.reducing and t.snd.una >= t.ecn.point:
        t.ecn.reducing = False
        ended = True
        cc_recovered(&t.cc, now)
    _judge_probe(env, t, now)
    if t.sack and news:
        _find_losses(env, t, now)
    if t.snd.board.lost_bytes and not t.snd.recovering:
        _begin(env, t, now)
    elif t.heard.marked and not t.snd.recovering:
        _heed_marks(env, t, now)
    _adapt(t, ended, now)
    if t.heard.moved:
        t.snd.duplicates = 0                    # no duplicate (RFC 6675 section 5)
    if news:
        t.at_retransmit = ns_never()            # set anew in tcp_run while something is in flight (RFC 6298 5.3)
        t.at_probe = ns_never()


cdef void recovery_sent(Tcp *t, u64 seq, u32 length, bint again, ns_t now) noexcept nogil:
    if (t.snd.recovering and not t.snd.timed_out) or t.ecn.reducing:
        cc_sent(&t.cc, length)
    if again and t.snd.recovering:
        if t.undo.at == 0:
            t.undo.at = now
            t.undo.first = seq
        t.undo.owed_bytes += length


# -- timers -----------------------------------------------------------------------------------------------------------

cdef void recovery_timeout(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    cdef bint first = not t.snd.timed_out or not t.snd.recovering
    count(env.counters, TCP_RTO)
    if t.snd.una == t.snd.iss:
        t.tries += 1                            # of the handshake: no data, nothing about a window
    else:
        cc_timed_out(&t.cc, t.snd.nxt - t.snd.una, first and not t.ecn.reducing, now)
        ecn_reduced(&t.ecn, t.snd.nxt, False)
    if t.sack and t.snd.una > t.snd.iss:
        board_lose_late(&t.snd.board, t.snd.mss, rack_window(&t.snd.board.rack, t.rtt.srtt, True), now)
    else:
        board_lose_all(&t.snd.board)
    if first:
        t.undo.at = 0
        t.undo.owed_bytes = 0
        t.undo.top = t.snd.nxt
    t.snd.recovering = True
    t.snd.timed_out = True
    t.snd.recover = t.snd.nxt
    t.snd.duplicates = 0
    t.snd.board.guessed_bytes = 0
    t.snd.board.rack.probe = 0
    rtt_back_off(&t.rtt)


cdef void recovery_late(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    _hear(t)
    _find_losses(env, t, now)


cdef bint recovery_may_probe(const Tcp *t) noexcept nogil:
    # An RTT sample since the last one (RFC 8985 7.3) comes with what that has fetched, or with what ends the backing off.
    return (t.sack and not t.snd.recovering and t.snd.una > t.snd.iss and t.snd.board.rack.probe == 0
            and t.snd.board.sacked_bytes == 0 and snd_flight(&t.snd) > 0 and t.rtt.backoff == 0)


cdef ns_t recovery_probe_timeout(const Tcp *t) noexcept nogil:
    return rack_probe_timeout(t.rtt.srtt, snd_flight(&t.snd) <= t.snd.mss)
