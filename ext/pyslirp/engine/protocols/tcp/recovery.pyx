"""What acknowledgments and the retransmission timer do to the sending half: RTT samples, the congestion window, loss recovery.

transmit.pyx keeps the account of what is in flight and says what an ACK did to it; congestion.pyx decides how much may be; here
the two meet.  Recovery begins with the first loss that SACK (RFC 6675), three duplicate ACKs (RFC 5681, RFC 6582) or the
timer (RFC 6298 section 5) tells of, and ends when everything that was in flight then is acknowledged.
"""

from pyslirp.engine.base.ints cimport i32, ns_never, ns_t, u64
from pyslirp.engine.base.seq cimport seq_wide
from pyslirp.engine.base.status cimport TCP_FAST_RETRANSMIT, TCP_RTO
from pyslirp.engine.protocols.tcp.congestion cimport cc_acked, cc_lost, cc_recovered, cc_timed_out
from pyslirp.engine.protocols.tcp.options cimport TcpOptions
from pyslirp.engine.protocols.tcp.rtt cimport rtt_back_off, rtt_sample, rtt_ts_clock
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpEnv
from pyslirp.engine.protocols.tcp.transmit cimport (
    DUPLICATE_THRESHOLD, AckResult, snd_acknowledged, snd_find_losses, snd_flight, snd_lose_all, snd_lose_first, snd_sacked)
from pyslirp.engine.stores.counters cimport count

cdef enum:
    MILLISECOND = 1000000


cdef void _begin(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    count(env.counters, TCP_FAST_RETRANSMIT)
    t.snd.recovering = True
    t.snd.timed_out = False
    t.snd.recover = t.snd.nxt
    t.snd.repeat_now = True
    cc_lost(&t.cc, t.snd.nxt - t.snd.una, now)


cdef void recovery_duplicate_ack(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    """A guest without SACK (RFC 5681 3.2, RFC 6582)."""
    t.snd.duplicates += 1
    if t.snd.duplicates == 3 and not t.snd.recovering:
        snd_lose_first(&t.snd)
        _begin(env, t, now)
        t.cc.cwnd += 3 * t.snd.mss              # those that the duplicates tell of
    elif t.snd.duplicates > 3 and t.snd.recovering and not t.snd.timed_out:
        t.cc.cwnd += t.snd.mss                  # a segment has left the network


cdef void recovery_sacks(TcpEnv *env, Tcp *t, const TcpOptions *o, ns_t now) noexcept nogil:
    cdef int i
    cdef u64 new = 0
    for i in range(o.sack_count):
        new += snd_sacked(&t.snd, seq_wide(t.snd.una, o.sack_start[i]), seq_wide(t.snd.una, o.sack_end[i]))
    if not new:
        return
    t.snd.duplicates += 1
    if snd_find_losses(&t.snd):
        if not t.snd.recovering:
            _begin(env, t, now)
    elif t.snd.duplicates >= DUPLICATE_THRESHOLD and not t.snd.recovering:
        snd_lose_first(&t.snd)                  # segments too small for the bytes to tell (RFC 6675 5 step 1)
        _begin(env, t, now)


cdef ns_t _echoed(const Tcp *t, const TcpOptions *o, ns_t again, ns_t now) noexcept nogil:
    """The RTT of what was repeated, by the timestamp that came back (RFC 7323 section 4.1); 0 where it does not tell.

    Only the echo of the last repetition, sent at `again`, is a sample: an older one may be that of an ACK that was lost, and
    the time until the repetition fetched another says nothing about the path.
    """
    cdef i32 age = <i32>(rtt_ts_clock(now, t.ts_offset) - o.ts_echo)
    if again == 0 or not t.timestamps or age < 0 or <i32>(o.ts_echo - rtt_ts_clock(again, t.ts_offset)) < 0:
        return 0
    return <ns_t>(age if age else 1) * MILLISECOND


cdef bint recovery_new_ack(Tcp *t, u64 ack, const TcpOptions *o, ns_t now) noexcept nogil:
    cdef AckResult result
    cdef u64 flight = snd_flight(&t.snd)
    cdef bint limited = 2 * flight >= t.cc.cwnd if t.cc.cwnd < t.cc.ssthresh else flight + t.snd.mss >= t.cc.cwnd
    snd_acknowledged(&t.snd, ack, now, &result)
    if result.sample == 0:
        result.sample = _echoed(t, o, result.again, now)
    if result.sample:
        rtt_sample(&t.rtt, result.sample)
    if not t.snd.recovering or t.snd.timed_out:
        cc_acked(&t.cc, result.acked - result.known, limited or t.snd.recovering, now)
    elif ack >= t.snd.recover:
        cc_recovered(&t.cc, now)
    elif not t.sack:                            # partial ACK: the next hole, and deflate (RFC 6582 3.2 step 5)
        snd_lose_first(&t.snd)
        t.cc.cwnd = t.cc.cwnd - result.acked + t.snd.mss if t.cc.cwnd > result.acked else t.snd.mss
    if ack >= t.snd.recover:
        t.snd.recovering = False
    t.at_retransmit = ns_never()                # set anew in tcp_run while something is in flight (RFC 6298 5.3)
    return result.fin_acked


cdef void recovery_timeout(TcpEnv *env, Tcp *t, ns_t now) noexcept nogil:
    count(env.counters, TCP_RTO)
    if t.snd.una == t.snd.iss:
        t.tries += 1                            # of the handshake: no data, nothing about a window
    else:
        cc_timed_out(&t.cc, t.snd.nxt - t.snd.una, not t.snd.timed_out or not t.snd.recovering, now)
    snd_lose_all(&t.snd)
    t.snd.recovering = True
    t.snd.timed_out = True
    t.snd.recover = t.snd.nxt
    t.snd.duplicates = 0
    rtt_back_off(&t.rtt)
