"""The scoreboard: records of what has been sent to the guest and is not acknowledged yet.

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
3.2 step 3, RFC 6675 5 step 4.3).

Who may change what: only this file touches the records and their sums.  What each delivery teaches goes to `rack` and `rate`
here, once for every number.  When losses are looked for, and what follows from them, is recovery.pyx's.
"""

cimport cython
from libc.stdlib cimport free, realloc
from libc.string cimport memmove, memset

from pyslirp.engine.base.ints cimport ns_never, ns_t, u8, u32, u64
from pyslirp.engine.protocols.tcp.rack cimport rack_delivered, rack_init, rack_older, rack_repeated
from pyslirp.engine.protocols.tcp.rate cimport rate_delivered, rate_mark

cdef enum:
    RECORDS_FIRST = 16
    RECORDS_MAX = 65536         # of one connection: 4 MiB, for as many segments in flight that each left at a time of its own


cdef void board_init(Scoreboard *b) noexcept nogil:
    rack_init(&b.rack)


cdef void board_free(Scoreboard *b) noexcept nogil:
    free(b.records)
    b.records = NULL
    b.first = 0
    b.count = 0
    b.room = 0
    b.lost_hint = 0
    b.sacked_bytes = 0
    b.lost_bytes = 0


cdef inline SentRecord *_at(const Scoreboard *b, u32 index) noexcept nogil:
    return &b.records[b.first + index]


cdef bint _make_room(Scoreboard *b) noexcept nogil:
    """Room for one more record behind the last."""
    cdef SentRecord *wider
    cdef u32 room
    if b.first + b.count < b.room:
        return True
    if b.first > b.room // 2:
        memmove(b.records, b.records + b.first, b.count * sizeof(SentRecord))
        b.first = 0
        return True
    if b.count >= RECORDS_MAX:
        return False
    room = b.room * 2 if b.room else RECORDS_FIRST
    wider = <SentRecord *>realloc(b.records, room * sizeof(SentRecord))
    if wider == NULL:
        return False
    b.records = wider
    b.room = room
    return True


cdef inline void _uncount(Scoreboard *b, const SentRecord *record) noexcept nogil:
    if record.flags & RECORD_SACKED:
        b.sacked_bytes -= record.end - record.seq
    elif record.flags & RECORD_LOST:
        b.lost_bytes -= record.end - record.seq


cdef void _delivered(Scoreboard *b, const SentRecord *record, u64 start, u64 end, ns_t now) noexcept nogil:
    """[start, end) of `record` is heard of for the first time."""
    cdef bint again = record.flags & RECORD_AGAIN
    rate_delivered(&b.rate, &record.mark, record.sent, end - start, now)
    rack_delivered(&b.rack, record.sent, end, again, now)
    if not again and record.sent > b.heard_sent:
        b.heard_sent = record.sent


cdef ns_t board_acked(Scoreboard *b, u64 ack, ns_t now, ns_t *again) noexcept nogil:
    """Pop what `ack` covers; the youngest of it gives the RTT sample, unless anything of it was sent twice (Karn): what lay
    above a hole has waited for the hole."""
    cdef SentRecord *record
    cdef ns_t sent = 0
    again[0] = 0
    while b.count:
        record = _at(b, 0)
        if record.seq >= ack:
            break
        if record.flags & RECORD_AGAIN:
            again[0] = max(again[0], record.sent)
        elif not record.flags & RECORD_SACKED:
            sent = record.sent
        if not record.flags & RECORD_SACKED:
            _delivered(b, record, record.seq, min(record.end, ack), now)
        if record.end > ack:
            if record.flags & RECORD_SACKED:
                b.sacked_bytes -= ack - record.seq
            elif record.flags & RECORD_LOST:
                b.lost_bytes -= ack - record.seq
            record.seq = ack
            break
        _uncount(b, record)
        b.first += 1
        b.count -= 1
        if b.lost_hint:
            b.lost_hint -= 1
    if b.count == 0:
        board_free(b)
    # Two events of one batch have the same time; that is still a sample.
    return 0 if sent == 0 or again[0] else (now - sent if now > sent else 1)


cdef u32 _search(const Scoreboard *b, u64 seq) noexcept nogil:
    """Index of the first record with end > seq, or count."""
    cdef u32 low = 0, high = b.count, middle
    while low < high:
        middle = (low + high) // 2
        if _at(b, middle).end > seq:
            high = middle
        else:
            low = middle + 1
    return low


cdef bint _split(Scoreboard *b, u32 index, u64 seq) noexcept nogil:
    """Cut record `index` in two at `seq`, which lies inside it."""
    if not _make_room(b):
        return False
    cdef SentRecord *record = _at(b, index)
    memmove(record + 1, record, (b.count - index) * sizeof(SentRecord))
    b.count += 1
    record[0].end = seq
    record[1].seq = seq
    if b.lost_hint > index:
        b.lost_hint += 1
    return True


cdef bint _join(Scoreboard *b, u32 index, u64 end) noexcept nogil:
    """Give the beginning of record `index`, up to `end`, to the sacked one before it, if there is one of its kind."""
    cdef SentRecord *record = _at(b, index)
    cdef SentRecord *before
    if index == 0:
        return False
    before = _at(b, index - 1)
    if before.flags != (record.flags & RECORD_AGAIN) | RECORD_SACKED:
        return False
    before.sent = max(before.sent, record.sent)
    before.end = end
    if record.flags & RECORD_LOST:
        b.lost_bytes -= end - record.seq
    record.seq = end
    return True


cdef u64 board_sacked(Scoreboard *b, u64 start, u64 end, ns_t now) noexcept nogil:
    cdef u64 new = 0, length
    cdef u32 index
    cdef SentRecord *record
    # RFC 2018 blocks lie above the cumulative ACK and below what was sent; a D-SACK (RFC 2883) or a lie does not.
    if b.count == 0 or start >= end or start < _at(b, 0).seq or end > _at(b, b.count - 1).end:
        return 0
    index = _search(b, start)
    while index < b.count:
        record = _at(b, index)
        if record.seq >= end:
            break
        if not record.flags & RECORD_SACKED:
            if record.seq < start:
                if not _split(b, index, start):
                    break
                index += 1
                record = _at(b, index)
            length = min(record.end, end) - record.seq
            _delivered(b, record, record.seq, record.seq + length, now)
            new += length
            b.sacked_bytes += length
            if record.end > end:
                if _join(b, index, end):
                    break
                if not _split(b, index, end):
                    b.sacked_bytes -= length
                    break
                record = _at(b, index)
            _uncount(b, record)
            record.flags = (record.flags & ~<u8>RECORD_LOST) | RECORD_SACKED
        index += 1
    return new


cdef u64 _lose(Scoreboard *b, u32 index) noexcept nogil:
    cdef SentRecord *record = _at(b, index)
    if record.flags & (RECORD_SACKED | RECORD_LOST):
        return 0
    record.flags |= RECORD_LOST
    b.lost_bytes += record.end - record.seq
    if index < b.lost_hint:
        b.lost_hint = index
    return record.end - record.seq


cdef u64 board_find_losses(Scoreboard *b, ns_t window, ns_t now, ns_t *due) noexcept nogil:
    cdef u64 lost = 0
    cdef u32 index
    cdef SentRecord *record
    cdef ns_t late
    due[0] = ns_never()
    for index in range(b.count):
        record = _at(b, index)
        if record.flags & (RECORD_SACKED | RECORD_LOST):
            continue
        if not rack_older(&b.rack, record.sent, record.end):
            if record.seq >= b.rack.again_top:
                break                           # from here on all was sent once, and in order
            continue
        late = record.sent + b.rack.rtt + window
        if late <= now:
            lost += _lose(b, index)
        elif late < due[0]:
            due[0] = late
    return lost


cdef u64 board_lose_first(Scoreboard *b, u32 mss) noexcept nogil:
    cdef SentRecord *record
    if b.count == 0:
        return 0
    record = _at(b, 0)
    # One segment, not the whole record: the rest of it may have arrived.
    if record.end - record.seq > mss and not _split(b, 0, record.seq + mss):
        return 0
    b.repeat_now = True
    return _lose(b, 0)


cdef bint _has_reneged(Scoreboard *b) noexcept nogil:
    """A guest that has forgotten what it sacked (RFC 2018 section 8) acknowledges up to just there, and no further.  Then
    nothing of it is believed any more."""
    cdef u32 index
    if b.count == 0 or not _at(b, 0).flags & RECORD_SACKED:
        return False
    for index in range(b.count):
        if _at(b, index).flags & RECORD_SACKED:
            _uncount(b, _at(b, index))
            _at(b, index).flags &= ~<u8>RECORD_SACKED
    return True


cdef void board_lose_all(Scoreboard *b) noexcept nogil:
    cdef u32 index
    _has_reneged(b)
    for index in range(b.count):
        _lose(b, index)
    b.lost_hint = 0
    b.guessed_bytes = 0
    b.repeat_now = False


cdef void board_lose_larger(Scoreboard *b, u32 mss) noexcept nogil:
    cdef u32 index
    for index in range(b.count):
        if _at(b, index).end - _at(b, index).seq > mss:
            _lose(b, index)
    b.guessed_bytes = 0
    b.repeat_now = False


cdef void board_lose_late(Scoreboard *b, u32 mss, ns_t window, ns_t now) noexcept nogil:
    cdef u32 index
    if _has_reneged(b) or b.rack.sent == 0:
        board_lose_all(b)
        return
    for index in range(b.count):
        if _at(b, index).sent + b.rack.rtt + window <= now:
            _lose(b, index)
    if b.count and not _at(b, 0).flags & RECORD_LOST:
        board_lose_first(b, mss)
    b.repeat_now = b.lost_bytes > 0             # whatever is young and still in flight


cdef void board_lose_none(Scoreboard *b) noexcept nogil:
    cdef u32 index
    for index in range(b.count):
        if _at(b, index).flags & RECORD_LOST:
            _at(b, index).flags &= ~<u8>RECORD_LOST
    b.lost_bytes = 0
    b.lost_hint = 0
    b.repeat_now = False


cdef void board_lose_last(Scoreboard *b, u32 mss) noexcept nogil:
    cdef u32 index = b.count
    cdef SentRecord *record
    while index and _at(b, index - 1).flags & RECORD_SACKED:
        index -= 1
    if index == 0:
        return
    index -= 1
    record = _at(b, index)
    if record.end - record.seq > mss:
        if not _split(b, index, record.end - mss):
            return
        index += 1
    b.repeat_now = True
    _lose(b, index)


cdef u32 _first_lost(const Scoreboard *b) noexcept nogil:
    cdef u32 index = b.lost_hint
    while index < b.count and not _at(b, index).flags & RECORD_LOST:
        index += 1
    return index


cdef const SentRecord *board_first_lost(const Scoreboard *b) noexcept nogil:
    return _at(b, _first_lost(b))


cdef bint board_ready(Scoreboard *b, bint again) noexcept nogil:
    # New segments leave half of the records to those that are cut in two, or what is lost could not be repeated.
    return (again or b.count < RECORDS_MAX // 2) and _make_room(b)


cdef void board_sent(Scoreboard *b, u64 seq, u64 end, bint idle, ns_t now) noexcept nogil:
    cdef SentRecord *record
    if b.count:
        record = _at(b, b.count - 1)
        if record.sent == now and record.flags == 0 and end - record.seq <= RECORD_BYTES_MAX:
            record.end = end
            return
    record = _at(b, b.count)
    b.count += 1
    record.seq = seq
    record.end = end
    record.sent = now
    rate_mark(&b.rate, &record.mark, idle, now)
    record.flags = 0


cdef void board_repeated(Scoreboard *b, u64 end, bint idle, ns_t now) noexcept nogil:
    cdef u32 index = _first_lost(b)
    cdef SentRecord *record
    if _at(b, index).end > end:
        _split(b, index, end)
    record = _at(b, index)
    b.lost_bytes -= record.end - record.seq
    record.flags = (record.flags & ~<u8>RECORD_LOST) | RECORD_AGAIN
    record.sent = now
    rate_mark(&b.rate, &record.mark, idle, now)
    rack_repeated(&b.rack, record.seq, record.end)
    b.lost_hint = index + 1 if b.lost_bytes else 0
    b.repeat_now = False


cdef bint board_sound(const Scoreboard *b, u64 una, u64 nxt) noexcept nogil:
    cdef u64 at = una, sacked = 0, lost = 0
    cdef const SentRecord *record
    cdef u32 i
    for i in range(b.count):
        record = _at(b, i)
        if record.seq != at or record.end <= at:
            return False
        at = record.end
        if record.flags & RECORD_SACKED:
            sacked += record.end - record.seq
        if record.flags & RECORD_LOST:
            lost += record.end - record.seq
            if record.flags & RECORD_SACKED or i < b.lost_hint:
                return False
    if at != nxt or sacked != b.sacked_bytes or lost != b.lost_bytes or b.guessed_bytes > nxt - una:
        return False
    return b.rack.sent == 0 or (b.rack.rtt > 0 and b.rack.minimum > 0 and b.rack.end <= nxt and b.rack.forward <= nxt)


cdef list board_conditions(const Scoreboard *b, u64 origin):
    out = []
    for i in range(b.count):
        flags = _at(b, i).flags
        word = "sacked" if flags & RECORD_SACKED else "lost" if flags & RECORD_LOST else "again" if flags & RECORD_AGAIN else "flight"
        out.append((_at(b, i).seq - origin, _at(b, i).end - origin, word))
    return out


@cython.final
cdef class _Scoreboard:
    """A scoreboard for the tests; what is sent follows on what was sent before, from number 1 on."""

    cdef Scoreboard b
    cdef u64 una, nxt
    cdef u32 mss

    def __cinit__(self, mss: int = 1000) -> None:
        memset(&self.b, 0, sizeof(Scoreboard))
        board_init(&self.b)
        self.una = 1
        self.nxt = 1
        self.mss = mss

    def __dealloc__(self) -> None:
        board_free(&self.b)

    def sent(self, length: int, now: int) -> bool:
        """A new segment leaves, where there is room to account for it."""
        if not board_ready(&self.b, False):
            return False
        board_sent(&self.b, self.nxt, self.nxt + length, self.flight == 0, now)
        self.nxt += length
        return True

    def repeat(self, now: int, most: int = 0) -> tuple[int, int] | None:
        """The first lost one leaves again, as much as one segment takes; [start, end)."""
        cdef const SentRecord *record
        if self.b.lost_bytes == 0 or not board_ready(&self.b, True):
            return None
        record = board_first_lost(&self.b)
        start, end = record.seq, min(record.end, record.seq + <u64>(most or self.mss))
        board_repeated(&self.b, end, self.flight == 0, now)
        return start, end

    def acked(self, ack: int, now: int) -> tuple[int, int]:
        """The RTT sample, and when the latest repetition of what is acknowledged had left; 0 for none."""
        cdef ns_t again
        sample = board_acked(&self.b, ack, now, &again)
        self.una = ack
        return sample, again

    def sacked(self, start: int, end: int, now: int = 0) -> int:
        return board_sacked(&self.b, start, end, now)

    def find_losses(self, now: int, window: int = 0) -> tuple[int, int | None]:
        """How many bytes more are lost, and when there will be more."""
        cdef ns_t due
        lost = board_find_losses(&self.b, window, now, &due)
        return lost, None if due == ns_never() else due

    def lose_first(self) -> int:
        return board_lose_first(&self.b, self.mss)

    def lose_all(self) -> None:
        board_lose_all(&self.b)

    def lose_late(self, now: int, window: int = 0) -> None:
        board_lose_late(&self.b, self.mss, window, now)

    def lose_last(self) -> None:
        board_lose_last(&self.b, self.mss)

    def lose_none(self) -> None:
        board_lose_none(&self.b)

    def conditions(self) -> list[tuple[int, int, str]]:
        """The records as (start, end, condition): a word of "sacked", "lost", "again" and "flight"."""
        return board_conditions(&self.b, 0)

    @property
    def repeat_now(self) -> bool:
        return bool(self.b.repeat_now)

    @property
    def flight(self) -> int:
        return self.nxt - self.una - self.b.sacked_bytes - self.b.lost_bytes

    @property
    def delivered(self) -> int:
        return self.b.rate.delivered

    @property
    def sound(self) -> bool:
        return bool(board_sound(&self.b, self.una, self.nxt))
