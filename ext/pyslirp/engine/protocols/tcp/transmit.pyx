"""What goes to the guest: the stream in `queue`, and what of it is sent next.

What has been sent and is not acknowledged is in the scoreboard's account (scoreboard.pyx).

What is sent next: a lost record first, then new data within the guest's window and the congestion window, whole segments
unless it is the last of the data (Nagle is off: the host's writer has decided) or half of the largest window (sender's
SWS avoidance, RFC 9293 3.8.6.2.1).
"""

cimport cython
from libc.string cimport memset

from pyslirp.engine.base.ints cimport ns_never, ns_t, u32, u64
from pyslirp.engine.protocols.tcp.scoreboard cimport (
    SentRecord, board_acked, board_conditions, board_find_losses, board_first_lost, board_free, board_init, board_lose_all,
    board_lose_first, board_lose_last, board_lose_late, board_lose_none, board_ready, board_repeated, board_sacked, board_sent,
    board_sound)
from pyslirp.engine.stores.byte_queue cimport bq_append, bq_consume, bq_free, bq_init
from pyslirp.engine.stores.chunks cimport ChunkPool, chunk_pool_free, chunk_pool_init


cdef void snd_init(TcpSend *s, ChunkPool *pool, u64 iss) noexcept nogil:
    s.iss = iss
    s.una = iss
    s.nxt = iss
    bq_init(&s.queue, pool)
    s.limit = SND_BUFFER_FIRST
    board_init(&s.board)


cdef void snd_free(TcpSend *s) noexcept nogil:
    bq_free(&s.queue)
    board_free(&s.board)


cdef void snd_acknowledged(TcpSend *s, u64 ack, ns_t now, AckResult *result) noexcept nogil:
    cdef u64 data_end = snd_data_end(s), data_start = s.iss + 1 + s.queue.head
    result.acked = ack - s.una
    result.syn_acked = s.una == s.iss
    result.fin_acked = s.fin_wanted and ack > data_end
    result.sample = board_acked(&s.board, ack, now, &result.again)
    s.una = ack
    if ack > data_end:
        ack = data_end
    if ack > data_start:
        bq_consume(&s.queue, ack - data_start)
    s.duplicates = 0
    # A partial ACK is for a retransmission and for segments that duplicates have told of (RFC 6582 3.2 step 3).
    if result.acked < s.board.guessed_bytes + s.mss:
        s.board.guessed_bytes -= result.acked - s.mss if result.acked > s.mss else 0
    else:
        s.board.guessed_bytes = 0
    s.stalled = now if s.una < s.nxt else 0


cdef void _again(const TcpSend *s, u32 most, NextSegment *next) noexcept nogil:
    cdef const SentRecord *record = board_first_lost(&s.board)
    cdef u64 seq = record.seq, end = record.end, edge = snd_edge(s), data_end = snd_data_end(s)
    next.kind = SEGMENT_AGAIN
    next.seq = seq
    next.syn = seq == s.iss
    if next.syn:
        next.length = 0
        return
    if end - seq > most:
        end = seq + most
    if seq < edge < end:                        # a guest that has shrunk its window may drop all of what does not fit
        end = edge
    next.fin = s.fin_wanted and end > data_end
    next.length = <u32>(end - seq) - (1 if next.fin else 0)
    next.push = end >= data_end


cdef void snd_next(const TcpSend *s, u64 cwnd, u32 most, bint force, NextSegment *next) noexcept nogil:
    cdef u64 flight = snd_flight(s), available, room, edge = snd_edge(s), data_end = snd_data_end(s)
    cdef u64 unit = s.mss if s.mss < most else most         # a full segment, with the options it carries now
    next.kind = SEGMENT_NONE
    next.length = 0
    next.syn = False
    next.fin = False
    next.push = False
    if s.board.lost_bytes:
        if flight == 0 or flight + unit <= cwnd or s.board.repeat_now:
            _again(s, most, next)
        return
    if s.una == s.iss or not snd_has_new(s):    # nothing before the SYN is acknowledged
        return
    available = data_end - s.nxt if data_end > s.nxt else 0
    room = edge - s.nxt if edge > s.nxt else 0
    next.seq = s.nxt
    if available == 0:                          # a FIN alone: one sequence number
        if room:
            next.kind = SEGMENT_NEW
            next.fin = True
        return
    if room > most:
        room = most
    if cwnd > flight and room > cwnd - flight and cwnd - flight >= unit:
        room = (cwnd - flight) // unit * unit
    elif flight and cwnd < flight + (available if available < unit else unit):
        return
    if room == 0:
        return
    if room >= available:
        next.length = <u32>available
        next.push = True
        next.fin = s.fin_wanted and edge > s.nxt + available
    elif room >= unit:
        next.length = <u32>(room // unit * unit)
    elif force or 2 * room >= s.wnd_max:
        next.length = <u32>room
    else:
        return
    next.kind = SEGMENT_NEW


cdef bint snd_ready(TcpSend *s, const NextSegment *next) noexcept nogil:
    return board_ready(&s.board, next.kind == SEGMENT_AGAIN)


cdef void snd_sent(TcpSend *s, const NextSegment *next, ns_t now) noexcept nogil:
    cdef u64 end = next.seq + next.length + (1 if next.syn else 0) + (1 if next.fin else 0)
    cdef bint idle = snd_flight(s) == 0
    s.last = now
    if next.kind == SEGMENT_AGAIN:
        board_repeated(&s.board, end, idle, now)
        return
    if s.stalled == 0:
        s.stalled = now
    board_sent(&s.board, next.seq, end, idle, now)
    s.nxt = end


cdef bint snd_sound(const TcpSend *s) noexcept nogil:
    return (board_sound(&s.board, s.una, s.nxt) and s.nxt <= snd_data_end(s) + 1
            and (s.una <= s.iss or s.queue.head == min(s.una - s.iss - 1, s.queue.tail)))


@cython.final
cdef class _Send:
    """A sending half over a pool of its own, for the tests.  Numbers count from our ISN; the SYN is acknowledged already."""

    cdef ChunkPool pool
    cdef TcpSend s
    cdef NextSegment next

    def __cinit__(self, mss: int = 1000, window: int = 1 << 20) -> None:
        cdef AckResult result
        chunk_pool_init(&self.pool, 1 << 30)
        memset(&self.s, 0, sizeof(TcpSend))
        snd_init(&self.s, &self.pool, <u64>1 << 32)
        self.s.mss = mss
        self.s.wnd = window
        self.s.wnd_max = window
        self.next.kind = SEGMENT_NEW
        self.next.seq = self.s.iss
        self.next.length = 0
        self.next.syn = True
        self.next.fin = False
        if not snd_ready(&self.s, &self.next):
            raise MemoryError
        snd_sent(&self.s, &self.next, 0)
        snd_acknowledged(&self.s, self.s.iss + 1, 0, &result)

    def __dealloc__(self) -> None:
        snd_free(&self.s)
        chunk_pool_free(&self.pool)

    def write(self, data: bytes) -> None:
        bq_append(&self.s.queue, data, <size_t>len(data))

    def finish(self) -> None:
        self.s.fin_wanted = True

    def send(self, cwnd: int, now: int, most: int = 0, force: bool = False) -> tuple[int, int, bool, bool] | None:
        """Send what is next: (number, payload bytes, FIN, again), or None where nothing may be sent."""
        snd_next(&self.s, cwnd, most or self.s.mss, force, &self.next)
        if self.next.kind == SEGMENT_NONE or not snd_ready(&self.s, &self.next):
            return None
        snd_sent(&self.s, &self.next, now)
        return self.next.seq - self.s.iss, self.next.length, bool(self.next.fin), self.next.kind == SEGMENT_AGAIN

    def acknowledged(self, ack: int, now: int) -> tuple[int, int, bool]:
        """What one ACK has told: (numbers newly acknowledged, RTT sample or 0, was it our FIN's)."""
        cdef AckResult result
        snd_acknowledged(&self.s, self.s.iss + ack, now, &result)
        return result.acked, result.sample, bool(result.fin_acked)

    def sacked(self, start: int, end: int, now: int = 0) -> int:
        return board_sacked(&self.s.board, self.s.iss + start, self.s.iss + end, now)

    def find_losses(self, now: int, window: int = 0) -> tuple[int, int | None]:
        """How many bytes more are lost, and when there will be more."""
        cdef ns_t due
        lost = board_find_losses(&self.s.board, window, now, &due)
        return lost, None if due == ns_never() else due

    def lose_late(self, now: int, window: int = 0) -> None:
        board_lose_late(&self.s.board, self.s.mss, window, now)

    def lose_last(self) -> None:
        board_lose_last(&self.s.board, self.s.mss)

    def lose_none(self) -> None:
        board_lose_none(&self.s.board)

    def guess(self, amount: int) -> None:
        self.s.board.guessed_bytes += amount

    @property
    def delivered(self) -> int:
        return self.s.board.rate.delivered - 1        # the SYN's number

    def lose_first(self) -> None:
        board_lose_first(&self.s.board, self.s.mss)

    def lose_all(self) -> None:
        board_lose_all(&self.s.board)

    def set_window(self, window: int) -> None:
        self.s.wnd = window

    def conditions(self) -> list[tuple[int, int, str]]:
        """The records as (start, end, condition): a word of "sacked", "lost", "again" and "flight"."""
        return board_conditions(&self.s.board, self.s.iss)

    @property
    def sound(self) -> bool:
        return snd_sound(&self.s)

    @property
    def una(self) -> int:
        return self.s.una - self.s.iss

    @property
    def nxt(self) -> int:
        return self.s.nxt - self.s.iss

    @property
    def flight(self) -> int:
        return snd_flight(&self.s)

    @property
    def used_bytes(self) -> int:
        return self.pool.used_bytes
