"""BBR, version 1's state machine with ideas of version 3: send at the rate at which the path delivers, keep two flights' worth at most.

The model is two numbers: the most the path has delivered (of the last 8 to 16 round trips) and its least round trip (of the
last ten seconds).  Their product is the pipe.  Loss changes neither, which is what a lossy link needs.

  STARTUP    doubles the rate each round until three rounds bring no quarter more
  DRAIN      lets the queue go that STARTUP has made
  PROBE_BW   eight phases of a round trip: a quarter faster, a quarter slower, six at the rate
  PROBE_RTT  every ten seconds without a new least round trip: half the pipe for 200 ms, to see it

What may be in flight is twice the pipe, for ACKs that come late or bunched; what ACKs were seen to run ahead of the rate is
added, and three pacing quanta.  A recovery conserves packets for its first round, then the model rules again.

Deviations from version 1.  PROBE_RTT keeps half the pipe and not four segments, as version 3 does: the loss of throughput
is not needed.  The phase with which PROBE_BW begins comes from the byte count instead of a random number: the core has none.
No long-term sampling against policers: between a guest and its host there are none.

A near path, that answers within a millisecond, is this machine's own: its queue is our link's, which holds us back
without losing anything, and a round trip there measures when a process was scheduled.  It is neither paced nor held to
less than a mebibyte, unless a round has lost more than an eighth.  PROBE_RTT is not for it, either.

Fairness.  Between BBR flows it comes from the probing phases (tests/sim/snapshots/fairness*.txt).  Beside Reno or CUBIC in a
short queue BBR takes more than its share; on a guest's link all senders are of one kind.
"""

cimport cython

from pyslirp.engine.base.ints cimport ns_t, u8, u32, u64
from pyslirp.engine.protocols.tcp.window cimport CWND_MAX, INITIAL_SEGMENTS, Delivery, Window

cdef enum:
    MILLISECOND = 1000000
    UNIT = 256                  # gains are in parts of it
    GAIN_HIGH = 739             # 2/ln 2: the least that doubles the rate each round
    GAIN_DRAIN = 88             # its inverse
    GAIN_CWND = 512
    PHASES = 8
    FASTEST_ROUNDS = 8          # two such windows: every maximum outlives a cycle of PROBE_BW
    BURST_ROUNDS = 5
    BURST_MS = 100              # of the rate: most that is granted for bunched ACKs
    FLAT_ROUNDS = 3
    LEAST_SEGMENTS = 4
    RTT_SECONDS = 10
    LOW_MS = 200                # of PROBE_RTT
    QUANTUM_MS = 1              # relay.pyx sends this much at once
    NEAR_MS = 1
    NEAR_WINDOW = 1048576


cdef void bbr_init(Bbr *b, ns_t now) noexcept nogil:
    b.mode = BBR_STARTUP
    b.phase = 0
    b.flat = 0
    b.full = False
    b.conserving = False
    b.recovering = False
    b.lossy = False
    b.restarted = False
    b.round_done = False
    b.rounds = 0
    b.round_end = 0
    b.round_began = 0
    b.round_lost = 0
    b.fastest[0] = 0
    b.fastest[1] = 0
    b.fastest_round = 0
    b.rtt = 0
    b.rtt_at = now
    b.low_until = 0
    b.phase_at = now
    b.full_rate = 0
    b.kept = 0
    b.burst[0] = 0
    b.burst[1] = 0
    b.burst_round = 0
    b.burst_at = now
    b.burst_bytes = 0


# -- the model --------------------------------------------------------------------------------------------------------

cdef inline u64 _rate(const Bbr *b) noexcept nogil:
    return b.fastest[0] if b.fastest[0] > b.fastest[1] else b.fastest[1]


cdef inline bint _near(const Bbr *b) noexcept nogil:
    return 0 < b.rtt < <ns_t>NEAR_MS * MILLISECOND and not b.lossy


cdef u64 _pipe(const Bbr *b, const Window *w, u32 gain) noexcept nogil:
    """Bytes in flight of the path's product, times gain."""
    if b.rtt == 0 or _rate(b) == 0:
        return <u64>INITIAL_SEGMENTS * w.mss
    return _rate(b) * <u64>(b.rtt // 1000 + 1) // 1000000 * gain // UNIT


cdef bint _round(Bbr *b, const Delivery *d) noexcept nogil:
    """Has a round trip passed?  It has when something sent after the last one began is delivered."""
    if d.prior < b.round_end or d.bytes == 0:
        b.round_lost += d.lost
        return False
    b.lossy = b.round_lost * 8 > d.total - b.round_began
    b.round_lost = d.lost
    b.round_began = d.total
    b.round_end = d.total
    b.rounds += 1
    b.conserving = False
    return True


cdef void _learn_rate(Bbr *b, const Delivery *d) noexcept nogil:
    if b.rounds - b.fastest_round >= FASTEST_ROUNDS:
        b.fastest_round = b.rounds
        b.fastest[1] = b.fastest[0]
        b.fastest[0] = 0
    if d.rate > b.fastest[0] and (not d.rate_limited or d.rate >= _rate(b)):
        b.fastest[0] = d.rate
    if b.fastest[0] == 0 and d.rate_limited:
        b.fastest[0] = b.fastest[1]             # a limited flow learns nothing, and forgets nothing


cdef void _learn_burst(Bbr *b, const Window *w, const Delivery *d, ns_t now) noexcept nogil:
    """How far ACKs run ahead of the rate: what a receiver or a link that bunches them has us wait for."""
    cdef u64 expected = _rate(b) * <u64>((now - b.burst_at) // 1000) // 1000000, ahead
    if b.rounds - b.burst_round >= BURST_ROUNDS:
        b.burst_round = b.rounds
        b.burst[1] = b.burst[0]
        b.burst[0] = 0
    if b.burst_bytes <= expected:
        b.burst_at = now
        b.burst_bytes = 0
        expected = 0
    b.burst_bytes += d.bytes
    ahead = b.burst_bytes - expected
    if ahead > w.cwnd:
        ahead = w.cwnd
    if ahead > b.burst[0]:
        b.burst[0] = ahead


# -- modes ------------------------------------------------------------------------------------------------------------

cdef inline u32 _gain(const Bbr *b) noexcept nogil:
    """Of the pacing rate."""
    if b.mode == BBR_STARTUP:
        return GAIN_HIGH
    if b.mode == BBR_DRAIN:
        return GAIN_DRAIN
    if b.mode == BBR_PROBE_BW:
        return UNIT * 5 // 4 if b.phase == 0 else UNIT * 3 // 4 if b.phase == 1 else UNIT
    return UNIT


cdef void _probe_bandwidth(Bbr *b, const Delivery *d, ns_t now) noexcept nogil:
    b.mode = BBR_PROBE_BW
    b.phase = 2 + <u8>(d.total // 1024 % (PHASES - 2))     # never with the slow phase: there is no queue to drain
    b.phase_at = now


cdef void _next_phase(Bbr *b, const Window *w, const Delivery *d, ns_t now) noexcept nogil:
    cdef bint over = now - b.phase_at > b.rtt
    if b.phase == 0:                            # until it is known whether more goes through
        over = over and (d.lost or d.before >= _pipe(b, w, UNIT * 5 // 4))
    elif b.phase == 1:                          # until the queue of that is gone
        over = over or d.before <= _pipe(b, w, UNIT)
    if over:
        b.phase = (b.phase + 1) % PHASES
        b.phase_at = now


cdef void _next_mode(Bbr *b, const Window *w, const Delivery *d, bint round, ns_t now) noexcept nogil:
    if not b.full and round and not d.rate_limited:
        if _rate(b) >= b.full_rate + b.full_rate // 4:
            b.full_rate = _rate(b)
            b.flat = 0
        else:
            b.flat += 1
            b.full = b.flat >= FLAT_ROUNDS
    if b.mode == BBR_STARTUP and b.full:
        b.mode = BBR_DRAIN
    if b.mode == BBR_DRAIN and d.flight <= _pipe(b, w, UNIT):
        _probe_bandwidth(b, d, now)
    elif b.mode == BBR_PROBE_BW:
        _next_phase(b, w, d, now)


cdef void _learn_rtt(Bbr *b, Window *w, const Delivery *d, bint round, ns_t now) noexcept nogil:
    cdef bint old = now - b.rtt_at > <ns_t>RTT_SECONDS * 1000 * MILLISECOND
    cdef bint near = _near(b)
    if d.rtt and (b.rtt == 0 or d.rtt <= b.rtt or (old and near)):
        b.rtt = d.rtt
        b.rtt_at = now
    elif old and not b.restarted and b.mode != BBR_PROBE_RTT and b.rtt:
        b.mode = BBR_PROBE_RTT
        b.kept = max(w.cwnd, b.kept) if b.recovering else w.cwnd
        b.low_until = 0
        if d.rtt:
            b.rtt = d.rtt                       # the old one no longer holds, whatever comes of this
    if b.mode == BBR_PROBE_RTT:
        w.probing_low = True
        if b.low_until == 0:
            if d.flight <= _low(b, w):
                b.low_until = now + <ns_t>LOW_MS * MILLISECOND
                b.round_done = False
                b.round_end = d.total
        else:
            b.round_done = b.round_done or round
            if b.round_done and now >= b.low_until:
                b.rtt_at = now
                w.cwnd = max(w.cwnd, b.kept)
                w.probing_low = False
                if b.full:
                    _probe_bandwidth(b, d, now)
                else:
                    b.mode = BBR_STARTUP
    b.restarted = False


# -- the controls -----------------------------------------------------------------------------------------------------

cdef inline u64 _low(const Bbr *b, const Window *w) noexcept nogil:
    return max(_pipe(b, w, UNIT // 2), <u64>LEAST_SEGMENTS * w.mss)


cdef void _set_pace(Bbr *b, Window *w) noexcept nogil:
    cdef u64 rate
    if _near(b) or b.rtt == 0 or _rate(b) == 0:
        w.pace = 0
        return
    rate = _rate(b) * _gain(b) // UNIT
    if b.mode != BBR_STARTUP:
        rate -= rate // 100                     # a little less than the path bears, or its queue would never empty
    if b.full or rate > w.pace:
        w.pace = max(rate, <u64>1)


cdef u64 _target(const Bbr *b, const Window *w) noexcept nogil:
    """What may be in flight when all is well."""
    cdef u64 target = _pipe(b, w, GAIN_HIGH if b.mode == BBR_STARTUP else GAIN_CWND), extra, most
    target += 3 * max(w.pace * QUANTUM_MS // 1000, 2 * <u64>w.mss)
    if b.full:
        extra = max(b.burst[0], b.burst[1])
        most = _rate(b) * BURST_MS // 1000
        target += min(extra, most)
    if _near(b) and target < NEAR_WINDOW:
        target = NEAR_WINDOW
    return min(target, <u64>CWND_MAX)


cdef void _set_window(Bbr *b, Window *w, const Delivery *d) noexcept nogil:
    cdef u64 target = _target(b, w)
    cdef bint recovering = d.recovering or d.timed_out
    if d.lost and recovering:                   # what is lost has left the network, and nothing takes its place yet
        w.cwnd = max(w.cwnd - d.lost if w.cwnd > d.lost else 0, <u64>w.mss)
    if d.recovering and not b.recovering:
        b.conserving = True
        b.round_end = d.total                   # its round begins with what is sent from here on
        w.cwnd = d.flight + d.bytes
    elif b.recovering and not recovering:
        b.conserving = False
        w.cwnd = max(w.cwnd, b.kept)
    b.recovering = recovering
    if b.conserving:
        w.cwnd = max(w.cwnd, d.flight + d.bytes)
    elif b.full:
        w.cwnd = min(w.cwnd + d.bytes, target)
    elif w.cwnd < target or d.total < <u64>INITIAL_SEGMENTS * w.mss:
        w.cwnd += d.bytes
    w.cwnd = max(w.cwnd, <u64>LEAST_SEGMENTS * w.mss)
    if b.mode == BBR_PROBE_RTT:
        w.cwnd = min(w.cwnd, _low(b, w))
    w.cwnd = min(w.cwnd, <u64>CWND_MAX)


cdef void bbr_delivered(Bbr *b, Window *w, const Delivery *d, ns_t now) noexcept nogil:
    cdef bint round = _round(b, d)
    _learn_rate(b, d)
    _learn_burst(b, w, d, now)
    _next_mode(b, w, d, round, now)
    _learn_rtt(b, w, d, round, now)
    _set_pace(b, w)
    _set_window(b, w, d)


cdef inline void _keep(Bbr *b, const Window *w) noexcept nogil:
    if not b.recovering and b.mode != BBR_PROBE_RTT:
        b.kept = w.cwnd
    elif w.cwnd > b.kept:
        b.kept = w.cwnd


cdef void bbr_lost(Bbr *b, Window *w) noexcept nogil:
    _keep(b, w)


cdef void bbr_timed_out(Bbr *b, Window *w, bint first) noexcept nogil:
    if first:
        _keep(b, w)
    b.recovering = True
    b.conserving = False
    b.full_rate = 0                             # the path may be another one
    b.flat = 0
    w.cwnd = w.mss


cdef void bbr_undo(Bbr *b, Window *w) noexcept nogil:
    b.recovering = False
    b.conserving = False
    w.cwnd = max(w.cwnd, b.kept)


cdef void bbr_restarted(Bbr *b, Window *w, ns_t now) noexcept nogil:
    b.restarted = True
    b.burst_at = now
    b.burst_bytes = 0
    if b.mode == BBR_PROBE_BW:
        b.phase = 2                             # at the rate
        b.phase_at = now
    elif b.mode == BBR_PROBE_RTT and b.low_until and now >= b.low_until:
        b.rtt_at = now                          # silence was as good as a small flight
        b.mode = BBR_PROBE_BW if b.full else BBR_STARTUP
        b.phase = 2
        b.phase_at = now
        w.cwnd = max(w.cwnd, b.kept)
        w.probing_low = False


@cython.final
cdef class _Bbr:
    """A controller for the tests; times are nanoseconds, rates bytes a second."""

    cdef Bbr b
    cdef Window w

    def __cinit__(self, mss: int, now: int = 0) -> None:
        self.w.mss = mss
        self.w.cwnd = INITIAL_SEGMENTS * mss
        self.w.ssthresh = CWND_MAX
        bbr_init(&self.b, now)

    def delivered(self, amount: int, now: int, *, total: int, prior: int, rate: int = 0, rtt: int = 0, flight: int = 0, lost: int = 0,
                  limited: bool = False, recovering: bool = False, timed_out: bool = False) -> None:
        cdef Delivery d
        d.bytes = amount
        d.total = total
        d.prior = prior
        d.rate = rate
        d.rtt = rtt
        d.flight = flight
        d.before = flight + amount
        d.lost = lost
        d.rate_limited = limited
        d.limited = True
        d.recovering = recovering
        d.timed_out = timed_out
        d.srtt = rtt
        bbr_delivered(&self.b, &self.w, &d, now)

    def lost(self) -> None:
        bbr_lost(&self.b, &self.w)

    def timed_out(self, first: bool = True) -> None:
        bbr_timed_out(&self.b, &self.w, first)

    def undo(self) -> None:
        bbr_undo(&self.b, &self.w)

    def restarted(self, now: int) -> None:
        bbr_restarted(&self.b, &self.w, now)

    @property
    def mode(self) -> str:
        return ("startup", "drain", "probe_bw", "probe_rtt")[self.b.mode]

    @property
    def phase(self) -> int:
        return self.b.phase

    @property
    def rate(self) -> int:
        return _rate(&self.b)

    @property
    def rtt(self) -> int:
        return self.b.rtt

    @property
    def cwnd(self) -> int:
        return self.w.cwnd

    @property
    def pace(self) -> int:
        return self.w.pace
