"""What goes to the guest: the stream in `queue`, and records of what has been sent of it.

Goal: one account of every byte in flight, from which loss recovery with and without SACK, RTT samples and the
congestion controller's figures are all taken, in O(1) for what is new and O(log n) for what is repaired.

A record is a run of sequence numbers that left at one instant.  Records lie end to end from una to nxt; SYN and FIN are
in them like bytes.  Each is in one of three conditions: in flight; SACKED (the guest has it); LOST (to be sent again).
Sending a lost one puts it in flight again with AGAIN set.  `sacked_bytes` and `lost_bytes` are the sums over records.

Loss is found three ways.  With SACK: by time, when what was sent later has arrived (RFC 8985, rack.pyx); a lost retransmission
like any other.  Without: on the third duplicate ACK, and on each partial ACK of the recovery, the first one is lost (RFC
6582); that a duplicate ACK means one segment less in the network is kept in `guessed_bytes`, which is what inflates the
window of RFC 5681 3.2 and what RFC 3042 sends new data for.  By timeout: all that is not sacked (RFC 5681 3.1), with SACK
only what is late by RACK's measure (RFC 8985 6.3); the sacked, too, where the guest has taken that back.  The first
retransmission of a recovery, and that of a partial ACK, waits for no window (`repeat_now`; RFC 5681 3.2 step 3, RFC 6582
3.2 step 5, RFC 6675 5 step 4.3).

What is sent next: a lost record first, then new data within the guest's window and the congestion window, whole segments
unless it is the last of the data (Nagle is off: the host's writer has decided) or half of the largest window (sender's
SWS avoidance, RFC 9293 3.8.6.2.1).
"""

cimport cython
from libc.stdlib cimport free, realloc
from libc.string cimport memmove, memset

from pyslirp.engine.base.ints cimport ns_never, ns_t, u8, u32, u64
from pyslirp.engine.protocols.tcp.rack cimport rack_delivered, rack_init, rack_older, rack_repeated
from pyslirp.engine.protocols.tcp.rate cimport rate_delivered, rate_mark
from pyslirp.engine.stores.byte_queue cimport bq_append, bq_consume, bq_free, bq_init
from pyslirp.engine.stores.chunks cimport ChunkPool, chunk_pool_free, chunk_pool_init

cdef enum:
    RECORDS_FIRST = 16
    RECORDS_MAX = 65536         # of one connection: 4 MiB, for as many segments in flight that each left at a time of its own


cdef void snd_init(TcpSend *s, ChunkPool *pool, u64 iss) noexcept nogil:
    s.iss = iss
    s.una = iss
    s.nxt = iss
    bq_init(&s.queue, pool)
    s.limit = SND_BUFFER_FIRST
    rack_init(&s.rack)


cdef void snd_free(TcpSend *s) noexcept nogil:
    bq_free(&s.queue)
    _drop_records(s)


cdef void _drop_records(TcpSend *s) noexcept nogil:
    free(s.records)
    s.records = NULL
    s.first = 0
    s.count = 0
    s.room = 0
    s.lost_hint = 0
    s.sacked_bytes = 0
    s.lost_bytes = 0


cdef inline SentRecord *_at(const TcpSend *s, u32 index) noexcept nogil:
    return &s.records[s.first + index]


cdef bint _make_room(TcpSend *s) noexcept nogil:
    """Room for one more record behind the last."""
    cdef SentRecord *wider
    cdef u32 room
    if s.first + s.count < s.room:
        return True
    if s.first > s.room // 2:
        memmove(s.records, s.records + s.first, s.count * sizeof(SentRecord))
        s.first = 0
        return True
    if s.count >= RECORDS_MAX:
        return False
    room = s.room * 2 if s.room else RECORDS_FIRST
    wider = <SentRecord *>realloc(s.records, room * sizeof(SentRecord))
    if wider == NULL:
        return False
    s.records = wider
    s.room = room
    return True


cdef inline void _uncount(TcpSend *s, const SentRecord *record) noexcept nogil:
    if record.flags & RECORD_SACKED:
        s.sacked_bytes -= record.end - record.seq
    elif record.flags & RECORD_LOST:
        s.lost_bytes -= record.end - record.seq


cdef void _delivered(TcpSend *s, const SentRecord *record, u64 start, u64 end, ns_t now) noexcept nogil:
    """[start, end) of `record` is heard of for the first time."""
    cdef bint again = record.flags & RECORD_AGAIN
    rate_delivered(&s.rate, &record.mark, record.sent, end - start, now)
    rack_delivered(&s.rack, record.sent, end, again, now)
    if not again and record.sent > s.heard_sent:
        s.heard_sent = record.sent


cdef void _acked_samples(TcpSend *s, u64 ack, ns_t now, AckResult *result) noexcept nogil:
    """Pop what `ack` covers; the youngest of it gives the RTT sample, unless anything of it was sent twice (Karn): what lay
    above a hole has waited for the hole."""
    cdef SentRecord *record
    cdef ns_t sent = 0
    result.again = 0
    while s.count:
        record = _at(s, 0)
        if record.seq >= ack:
            break
        if record.flags & RECORD_AGAIN:
            result.again = max(result.again, record.sent)
        elif not record.flags & RECORD_SACKED:
            sent = record.sent
        if not record.flags & RECORD_SACKED:
            _delivered(s, record, record.seq, min(record.end, ack), now)
        if record.end > ack:
            if record.flags & RECORD_SACKED:
                s.sacked_bytes -= ack - record.seq
            elif record.flags & RECORD_LOST:
                s.lost_bytes -= ack - record.seq
            record.seq = ack
            break
        _uncount(s, record)
        s.first += 1
        s.count -= 1
        if s.lost_hint:
            s.lost_hint -= 1
    # Two events of one batch have the same time; that is still a sample.
    result.sample = 0 if sent == 0 or result.again else (now - sent if now > sent else 1)


cdef void snd_acknowledged(TcpSend *s, u64 ack, ns_t now, AckResult *result) noexcept nogil:
    cdef u64 data_end = snd_data_end(s), data_start = s.iss + 1 + s.queue.head
    result.acked = ack - s.una
    result.syn_acked = s.una == s.iss
    result.fin_acked = s.fin_wanted and ack > data_end
    _acked_samples(s, ack, now, result)
    s.una = ack
    if s.sacked_top < ack:
        s.sacked_top = ack
    if ack > data_end:
        ack = data_end
    if ack > data_start:
        bq_consume(&s.queue, ack - data_start)
    if s.count == 0:
        _drop_records(s)
    s.duplicates = 0
    # A partial ACK is for a retransmission and for segments that duplicates have told of (RFC 6582 3.2 step 5).
    if result.acked < s.guessed_bytes + s.mss:
        s.guessed_bytes -= result.acked - s.mss if result.acked > s.mss else 0
    else:
        s.guessed_bytes = 0
    s.stalled = now if s.una < s.nxt else 0


cdef u32 _search(const TcpSend *s, u64 seq) noexcept nogil:
    """Index of the first record with end > seq, or count."""
    cdef u32 low = 0, high = s.count, middle
    while low < high:
        middle = (low + high) // 2
        if _at(s, middle).end > seq:
            high = middle
        else:
            low = middle + 1
    return low


cdef bint _split(TcpSend *s, u32 index, u64 seq) noexcept nogil:
    """Cut record `index` in two at `seq`, which lies inside it."""
    if not _make_room(s):
        return False
    cdef SentRecord *record = _at(s, index)
    memmove(record + 1, record, (s.count - index) * sizeof(SentRecord))
    s.count += 1
    record[0].end = seq
    record[1].seq = seq
    if s.lost_hint > index:
        s.lost_hint += 1
    return True


cdef bint _join(TcpSend *s, u32 index, u64 end) noexcept nogil:
    """Give the beginning of record `index`, up to `end`, to the sacked one before it, if there is one of its kind."""
    cdef SentRecord *record = _at(s, index)
    cdef SentRecord *before
    if index == 0:
        return False
    before = _at(s, index - 1)
    if before.flags != (record.flags & RECORD_AGAIN) | RECORD_SACKED:
        return False
    before.sent = max(before.sent, record.sent)
    before.end = end
    if record.flags & RECORD_LOST:
        s.lost_bytes -= end - record.seq
    record.seq = end
    return True


cdef u64 snd_sacked(TcpSend *s, u64 start, u64 end, ns_t now) noexcept nogil:
    cdef u64 new = 0, length
    cdef u32 index
    cdef SentRecord *record
    # RFC 2018 blocks lie above the cumulative ACK and below what was sent; a D-SACK (RFC 2883) or a lie does not.
    if start >= end or start < s.una or end > s.nxt:
        return 0
    index = _search(s, start)
    while index < s.count:
        record = _at(s, index)
        if record.seq >= end:
            break
        if not record.flags & RECORD_SACKED:
            if record.seq < start:
                if not _split(s, index, start):
                    break
                index += 1
                record = _at(s, index)
            length = min(record.end, end) - record.seq
            _delivered(s, record, record.seq, record.seq + length, now)
            new += length
            s.sacked_bytes += length
            if record.end > end:
                if _join(s, index, end):
                    break
                if not _split(s, index, end):
                    s.sacked_bytes -= length
                    break
                record = _at(s, index)
            _uncount(s, record)
            record.flags = (record.flags & ~<u8>RECORD_LOST) | RECORD_SACKED
        index += 1
    if new and end > s.sacked_top:
        s.sacked_top = end
    return new


cdef u64 _lose(TcpSend *s, u32 index) noexcept nogil:
    cdef SentRecord *record = _at(s, index)
    if record.flags & (RECORD_SACKED | RECORD_LOST):
        return 0
    record.flags |= RECORD_LOST
    s.lost_bytes += record.end - record.seq
    if index < s.lost_hint:
        s.lost_hint = index
    return record.end - record.seq


cdef u64 snd_find_losses(TcpSend *s, ns_t window, ns_t now, ns_t *due) noexcept nogil:
    cdef u64 lost = 0
    cdef u32 index
    cdef SentRecord *record
    cdef ns_t late
    due[0] = ns_never()
    for index in range(s.count):
        record = _at(s, index)
        if record.flags & (RECORD_SACKED | RECORD_LOST):
            continue
        if not rack_older(&s.rack, record.sent, record.end):
            if record.seq >= s.rack.again_top:
                break                           # from here on all was sent once, and in order
            continue
        late = record.sent + s.rack.rtt + window
        if late <= now:
            lost += _lose(s, index)
        elif late < due[0]:
            due[0] = late
    return lost


cdef u64 snd_lose_first(TcpSend *s) noexcept nogil:
    cdef SentRecord *record
    if s.count == 0:
        return 0
    record = _at(s, 0)
    # One segment, not the whole record: the rest of it may have arrived.
    if record.end - record.seq > s.mss and not _split(s, 0, record.seq + s.mss):
        return 0
    s.repeat_now = True
    return _lose(s, 0)


cdef bint _has_reneged(TcpSend *s) noexcept nogil:
    """A guest that has forgotten what it sacked (RFC 2018 section 8) acknowledges up to just there, and no further.  Then
    nothing of it is believed any more."""
    cdef u32 index
    if s.count == 0 or not _at(s, 0).flags & RECORD_SACKED:
        return False
    for index in range(s.count):
        if _at(s, index).flags & RECORD_SACKED:
            _uncount(s, _at(s, index))
            _at(s, index).flags &= ~<u8>RECORD_SACKED
    return True


cdef void snd_lose_all(TcpSend *s) noexcept nogil:
    cdef u32 index
    _has_reneged(s)
    for index in range(s.count):
        _lose(s, index)
    s.lost_hint = 0
    s.guessed_bytes = 0
    s.repeat_now = False


cdef void snd_lose_late(TcpSend *s, ns_t window, ns_t now) noexcept nogil:
    cdef u32 index
    if _has_reneged(s) or s.rack.sent == 0:
        snd_lose_all(s)
        return
    for index in range(s.count):
        if _at(s, index).sent + s.rack.rtt + window <= now:
            _lose(s, index)
    if s.count and not _at(s, 0).flags & RECORD_LOST:
        snd_lose_first(s)
    s.repeat_now = s.lost_bytes > 0             # whatever is young and still in flight


cdef void snd_lose_none(TcpSend *s) noexcept nogil:
    cdef u32 index
    for index in range(s.count):
        if _at(s, index).flags & RECORD_LOST:
            _at(s, index).flags &= ~<u8>RECORD_LOST
    s.lost_bytes = 0
    s.lost_hint = 0
    s.repeat_now = False


cdef void snd_lose_last(TcpSend *s) noexcept nogil:
    cdef u32 index = s.count
    cdef SentRecord *record
    while index and _at(s, index - 1).flags & RECORD_SACKED:
        index -= 1
    if index == 0:
        return
    index -= 1
    record = _at(s, index)
    if record.end - record.seq > s.mss:
        if not _split(s, index, record.end - s.mss):
            return
        index += 1
    s.repeat_now = True
    _lose(s, index)


cdef u32 _first_lost(const TcpSend *s) noexcept nogil:
    cdef u32 index = s.lost_hint
    while index < s.count and not _at(s, index).flags & RECORD_LOST:
        index += 1
    return index


cdef void _again(const TcpSend *s, u32 most, NextSegment *next) noexcept nogil:
    cdef const SentRecord *record = _at(s, _first_lost(s))
    cdef u64 seq = record.seq, end = record.end, data_end = snd_data_end(s)
    next.kind = SEGMENT_AGAIN
    next.seq = seq
    next.syn = seq == s.iss
    if next.syn:
        next.length = 0
        return
    if end - seq > most:
        end = seq + most
    next.fin = s.fin_wanted and end > data_end
    next.length = <u32>(end - seq) - (1 if next.fin else 0)
    next.push = end >= data_end


cdef void snd_next(const TcpSend *s, u64 cwnd, u32 most, bint force, NextSegment *next) noexcept nogil:
    cdef u64 flight = snd_flight(s), available, room, edge = s.una + s.wnd, data_end = snd_data_end(s)
    cdef u64 unit = s.mss if s.mss < most else most         # a full segment, with the options it carries now
    next.kind = SEGMENT_NONE
    next.length = 0
    next.syn = False
    next.fin = False
    next.push = False
    if s.lost_bytes:
        if flight == 0 or flight + unit <= cwnd or s.repeat_now:
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
    # New segments leave half of the records to those that are cut in two, or what is lost could not be repeated.
    return (next.kind == SEGMENT_AGAIN or s.count < RECORDS_MAX // 2) and _make_room(s)


cdef void snd_sent(TcpSend *s, const NextSegment *next, ns_t now) noexcept nogil:
    cdef u64 end = next.seq + next.length + (1 if next.syn else 0) + (1 if next.fin else 0)
    cdef SentRecord *record
    cdef u32 index
    cdef bint idle = snd_flight(s) == 0
    if next.kind == SEGMENT_AGAIN:
        index = _first_lost(s)
        if _at(s, index).end > end:
            _split(s, index, end)
        record = _at(s, index)
        s.lost_bytes -= record.end - record.seq
        record.flags = (record.flags & ~<u8>RECORD_LOST) | RECORD_AGAIN
        record.sent = now
        rate_mark(&s.rate, &record.mark, idle, now)
        rack_repeated(&s.rack, record.seq, record.end)
        s.lost_hint = index + 1 if s.lost_bytes else 0
        s.repeat_now = False
        return
    if s.stalled == 0:
        s.stalled = now
    if s.count:
        record = _at(s, s.count - 1)
        if record.sent == now and record.flags == 0 and record.seq != s.iss and end - record.seq <= RECORD_BYTES_MAX:
            record.end = end
            s.nxt = end
            return
    record = _at(s, s.count)
    s.count += 1
    record.seq = next.seq
    record.end = end
    record.sent = now
    rate_mark(&s.rate, &record.mark, idle, now)
    record.flags = 0
    s.nxt = end


cdef bint snd_sound(const TcpSend *s) noexcept nogil:
    cdef u64 at = s.una, sacked = 0, lost = 0
    cdef const SentRecord *record
    cdef u32 i
    for i in range(s.count):
        record = _at(s, i)
        if record.seq != at or record.end <= at:
            return False
        at = record.end
        if record.flags & RECORD_SACKED:
            sacked += record.end - record.seq
        if record.flags & RECORD_LOST:
            lost += record.end - record.seq
            if record.flags & RECORD_SACKED or i < s.lost_hint:
                return False
    if at != s.nxt or sacked != s.sacked_bytes or lost != s.lost_bytes or s.guessed_bytes > s.nxt - s.una:
        return False
    if s.rack.sent > 0 and (s.rack.rtt <= 0 or s.rack.minimum <= 0 or s.rack.end > s.nxt or s.rack.forward > s.nxt):
        return False
    return s.nxt <= snd_data_end(s) + 1 and (s.una <= s.iss or s.queue.head == min(s.una - s.iss - 1, s.queue.tail))


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
        return snd_sacked(&self.s, self.s.iss + start, self.s.iss + end, now)

    def find_losses(self, now: int, window: int = 0) -> tuple[int, int | None]:
        """How many bytes more are lost, and when there will be more."""
        cdef ns_t due
        lost = snd_find_losses(&self.s, window, now, &due)
        return lost, None if due == ns_never() else due

    def lose_late(self, now: int, window: int = 0) -> None:
        snd_lose_late(&self.s, window, now)

    def lose_last(self) -> None:
        snd_lose_last(&self.s)

    def lose_none(self) -> None:
        snd_lose_none(&self.s)

    def guess(self, amount: int) -> None:
        self.s.guessed_bytes += amount

    @property
    def delivered(self) -> int:
        return self.s.rate.delivered - 1        # the SYN's number

    def lose_first(self) -> None:
        snd_lose_first(&self.s)

    def lose_all(self) -> None:
        snd_lose_all(&self.s)

    def set_window(self, window: int) -> None:
        self.s.wnd = window

    def conditions(self) -> list[tuple[int, int, str]]:
        """The records as (start, end, condition): a word of "sacked", "lost", "again" and "flight"."""
        out = []
        for i in range(self.s.count):
            flags = _at(&self.s, i).flags
            word = "sacked" if flags & RECORD_SACKED else "lost" if flags & RECORD_LOST else "again" if flags & RECORD_AGAIN else "flight"
            out.append((_at(&self.s, i).seq - self.s.iss, _at(&self.s, i).end - self.s.iss, word))
        return out

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
