"""What comes from the guest, in order or not, on its way to the host.

Goal: in-order payload goes from the frame that it came in straight to the host's socket, in one call for a batch; only
what the socket does not take, and what came too early, is copied.

How the parts lie.  The stream from the first unconsumed byte on is: `queue` (head to tail, copied), then `pending` (still
in the frames of this batch), then islands (copied ahead of their turn into the queue's chunks).  `nxt` is the end of
queue + pending + whatever island has become contiguous.  Pending pieces never outlive a batch: rcv_settle turns them into
bytes the host has taken and bytes in the queue.

Window.  What is held may not exceed `limit` by more than a step of the scale.  The right edge is head + limit, rounded up
to the scale so that it never moves left; only where rounding would exceed that bound (a stalled host and segments that are
no multiple of the step) is it rounded down, and the edge that the guest reckons with moves left by less than a step, while
`adv` remembers what was promised and is honoured (RFC 7323 section 2.4).

Right-sizing.  `limit` begins small and is kept at two to four times what moves in a round trip: what the host takes, or
what waits behind a hole.  Ahead of need: a sender in start-up sends two to three times as much in the next round trip, and
one that meets the window there takes it for the path (BBR sees the delivery rate stand still, and leaves start-up for good).  A slow reader never gets a large buffer; nor does anybody while half of the memory is in use.  After a
silence it is small again.  What was promised before (`granted`) holds: the edge stays where it was until the guest has used
it up.

Out of order.  Islands are bounded by the window and by RANGES_MAX; when memory runs out the segment is as if lost.

Twice.  Of a segment that brings what was there already, that part is remembered (`again`) for the next SACK option, where it
stands first and once (RFC 2883): the guest learns that it has repeated too much.

ACKs of a batch.  One at its end would do for what is in order.  But a sender goes by the order in which it is told (RFC 8985):
that something sent later has come, and an island before it not, means to it that the island is lost.  So each ACK tells of all
that had come when it was owed, and of nothing else: a segment that is not of the island heard last, or the second one in a row
that has come twice, has the state before it kept as a report, with the RCV.NXT of then.  Each island is told of about three times
so (RFC 2018 section 4), and each duplicate once.  Reports outlive a batch no more than pending pieces do.
"""

cimport cython
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from pyslirp.engine.base.ints cimport ns_t, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport (
    OK, TCP_DUPLICATE, TCP_NO_MEMORY, TCP_OUT_OF_ORDER, TCP_PAST_FIN, TCP_REASSEMBLY_FULL, Status)
from pyslirp.engine.stores.byte_queue cimport bq_consume, bq_extend, bq_free, bq_init, bq_length, bq_pass, bq_peek, bq_store
from pyslirp.engine.stores.chunks cimport ChunkPool, chunk_pool_free, chunk_pool_init, chunk_pool_tight
from pyslirp.engine.stores.ranges cimport (
    RANGES_MAX, Range, ranges_add, ranges_after, ranges_drop_below, ranges_find, ranges_free, ranges_init)

cdef enum:
    ARENA_FIRST = 256
    ARENA_MAX = 65536           # pieces of one batch; beyond it a segment is treated as lost
    REPORTS_FIRST = 64
    REPORTS_MAX = 4096          # of one batch; beyond it fewer ACKs tell of the same
    QUICK_FIRST = 16            # Linux's TCP_MAX_QUICKACKS
    HEADROOM = 2                # the window is at least this many times what moves in a round trip
    ROUND_FLOOR_MS = 25         # but at least this long: a wake-up here can take longer than a round trip
    MILLISECOND = 1000000


cdef bint arena_init(PieceArena *a) noexcept nogil:
    arena_empty(a)
    a.reports = NULL
    a.reports_room = 0
    a.room = ARENA_FIRST
    a.nodes = <PendingPiece *>malloc(ARENA_FIRST * sizeof(PendingPiece))
    return a.nodes != NULL


cdef void arena_free(PieceArena *a) noexcept nogil:
    free(a.nodes)
    free(a.reports)
    a.nodes = NULL
    a.reports = NULL
    a.room = 0
    a.reports_room = 0


cdef u32 _arena_take(PieceArena *a, const u8 *data, u32 length) noexcept nogil:
    """Index + 1 of a new node, or 0 when there are too many."""
    cdef PendingPiece *wider
    if a.used == a.room:
        if a.room >= ARENA_MAX:
            return 0
        wider = <PendingPiece *>realloc(a.nodes, 2 * a.room * sizeof(PendingPiece))
        if wider == NULL:
            return 0
        a.nodes = wider
        a.room *= 2
    a.nodes[a.used].piece.data = <u8 *>data
    a.nodes[a.used].piece.length = length
    a.nodes[a.used].next = 0
    a.used += 1
    return a.used


cdef void rcv_init(TcpReceive *r, ChunkPool *pool, u64 irs, u32 first_window) noexcept nogil:
    r.irs = irs
    r.nxt = irs + 1
    r.adv = irs + 1
    r.fin = 0
    r.fin_early = 0
    bq_init(&r.queue, pool)
    ranges_init(&r.islands)
    r.first_pending = 0
    r.last_pending = 0
    r.pending_bytes = 0
    r.unreported = False
    r.first_report = 0
    r.last_report = 0
    r.again_start = 0
    r.again_end = 0
    r.limit = first_window
    r.limit_first = first_window
    r.granted = 0
    r.limit_max = first_window if first_window > RCV_WINDOW_MAX else RCV_WINDOW_MAX
    r.quick = QUICK_FIRST


cdef void rcv_free(TcpReceive *r) noexcept nogil:
    bq_free(&r.queue)
    ranges_free(&r.islands)


cdef void rcv_hurry(TcpReceive *r) noexcept nogil:
    r.quick = QUICK_FIRST
    r.interactive = False


cdef void rcv_heard(TcpReceive *r, ns_t now, ns_t idle) noexcept nogil:
    cdef ns_t silence = now - r.heard
    if r.heard and silence > idle:
        rcv_hurry(r)
    if r.heard and silence > <ns_t>RCV_IDLE_SECONDS * 1000 * MILLISECOND and r.limit > r.limit_first:
        if r.adv > r.granted:
            r.granted = r.adv
        r.limit = r.limit_first
        r.taken = 0
        r.taken_since = now
    r.heard = now


cdef void _report(TcpReceive *r, PieceArena *a) noexcept nogil:
    """Keep what an ACK would say now, for rcv_next_report.  Where there is no room the next ACK says it with the rest."""
    cdef AckReport *wider
    cdef AckReport *report
    cdef u32 room = 2 * a.reports_room if a.reports_room else REPORTS_FIRST
    if r.sack_blocks == 0 or (a.reports_used == a.reports_room and room > REPORTS_MAX):
        return
    if a.reports_used == a.reports_room:
        wider = <AckReport *>realloc(a.reports, room * sizeof(AckReport))
        if wider == NULL:
            return
        a.reports = wider
        a.reports_room = room
    report = &a.reports[a.reports_used]
    a.reports_used += 1
    report.nxt = r.nxt
    report.next = 0
    report.blocks = rcv_sack_blocks(r, r.sack_blocks, report.start, report.end)
    if r.first_report:
        a.reports[r.last_report - 1].next = a.reports_used
    else:
        r.first_report = a.reports_used
    r.last_report = a.reports_used
    rcv_reported(r)


cdef const AckReport *rcv_next_report(TcpReceive *r, const PieceArena *a) noexcept nogil:
    cdef const AckReport *report
    if r.first_report == 0:
        return NULL
    report = &a.reports[r.first_report - 1]
    r.first_report = report.next
    return report


cdef void _again(TcpReceive *r, PieceArena *a, u64 start, u64 end) noexcept nogil:
    if r.again_end > r.again_start:
        _report(r, a)
    r.again_start = start
    r.again_end = end


cdef void rcv_duplicate(TcpReceive *r, PieceArena *a, u64 start, u64 end) noexcept nogil:
    if end > r.nxt:
        end = r.nxt
    if r.irs < start < end:                     # below the SYN nothing ever came, whatever this is
        _again(r, a, start, end)


cdef void _early_duplicate(TcpReceive *r, PieceArena *a, u64 seq, u64 end) noexcept nogil:
    """What of an early segment lies in an island already: the first piece of it (RFC 2883 section 4)."""
    cdef int at = ranges_after(&r.islands, seq)
    if at < <int>r.islands.count and r.islands.items[at].start < end:
        _again(r, a, max(seq, r.islands.items[at].start), min(end, r.islands.items[at].end))


cdef bint rcv_acceptable(const TcpReceive *r, u64 seq, u32 length) noexcept nogil:
    # A bare ACK may lie on the right edge: a sender that has filled the window sends it from there.
    if length == 0:
        return r.nxt <= seq <= r.adv
    if r.adv == r.nxt:
        return False
    return seq < r.adv and seq + length > r.nxt


cdef u64 rcv_data_end(const TcpReceive *r) noexcept nogil:
    return r.nxt - 1 if r.fin else r.nxt


cdef void _remember(TcpReceive *r, u64 seq) noexcept nogil:
    """`seq` is in the island heard last: report it first, and each other one in the order in which it was heard last."""
    cdef int i, n = 1
    cdef const Range *island = &r.islands.items[ranges_find(&r.islands, seq)]
    cdef u64 kept[RCV_RECENT]
    r.unreported = True
    memset(kept, 0, sizeof(kept))
    kept[0] = seq
    for i in range(RCV_RECENT):
        if n < RCV_RECENT and not island.start <= r.recent[i] < island.end:
            kept[n] = r.recent[i]
            n += 1
    for i in range(RCV_RECENT):
        r.recent[i] = kept[i]


cdef bint _elsewhere(const TcpReceive *r, u64 seq, u64 end) noexcept nogil:
    """Is it of another island than the one that was heard last?"""
    cdef int at = ranges_find(&r.islands, r.recent[0])
    return at >= 0 and (end < r.islands.items[at].start or seq > r.islands.items[at].end)


cdef Status _store_early(TcpReceive *r, PieceArena *a, u64 seq, const u8 *payload, u32 length) noexcept nogil:
    cdef int at = ranges_find(&r.islands, seq)
    if r.unreported and _elsewhere(r, seq, seq + length):
        _report(r, a)
    _early_duplicate(r, a, seq, seq + length)
    if at >= 0 and r.islands.items[at].end >= seq + length:
        _remember(r, seq)
        return TCP_DUPLICATE
    if r.islands.count == RANGES_MAX:
        return TCP_REASSEMBLY_FULL
    if not bq_store(&r.queue, seq - r.irs - 1, payload, length):
        return TCP_NO_MEMORY
    if ranges_add(&r.islands, seq, seq + length) < 0:
        return TCP_NO_MEMORY
    _remember(r, seq)
    _outgrow(r, seq + length)
    return TCP_OUT_OF_ORDER


cdef void _grow(TcpReceive *r, u64 moved) noexcept nogil:
    """Give headroom over `moved` bytes in a round trip."""
    while HEADROOM * moved >= r.limit and r.limit < r.limit_max and not chunk_pool_tight(r.queue.pool):
        r.limit = r.limit * 2 if r.limit * 2 < r.limit_max else r.limit_max


cdef void _outgrow(TcpReceive *r, u64 end) noexcept nogil:
    """A hole keeps the host from what follows, however fast it reads; but it lasts a round trip, and what waits behind it is
    what came in that."""
    if bq_length(&r.queue) == 0 and r.pending_bytes == 0:
        _grow(r, end - r.nxt)


cdef void _join(TcpReceive *r) noexcept nogil:
    """Islands that have become contiguous count as arrived."""
    cdef int at = ranges_find(&r.islands, r.nxt)
    if at >= 0:
        r.nxt = r.islands.items[at].end
    ranges_drop_below(&r.islands, r.nxt)


cdef Status rcv_segment(TcpReceive *r, PieceArena *a, u64 seq, const u8 *payload, u32 length, bint fin) noexcept nogil:
    cdef u32 cut, node
    cdef bint told = seq < r.nxt
    if told:
        rcv_duplicate(r, a, seq, seq + length)
    if r.fin:
        return TCP_PAST_FIN if seq + length + (1 if fin else 0) > r.nxt else TCP_DUPLICATE
    if seq + length > r.adv:                    # beyond the window: keep what fits; the FIN is not there then
        length = <u32>(r.adv - seq) if r.adv > seq else 0
        fin = False
    if seq < r.nxt:
        cut = <u32>(r.nxt - seq)
        if cut > length or (cut == length and not fin):
            return TCP_DUPLICATE
        seq += cut
        payload += cut
        length -= cut
    if length > r.segment_bytes:
        r.segment_bytes = length
    if seq > r.nxt:
        if fin:
            r.fin_early = seq + length          # not in SACK blocks: a guest that repeats it does no harm
        return _store_early(r, a, seq, payload, length) if length else TCP_OUT_OF_ORDER
    if length and r.islands.count:
        if not told:
            _early_duplicate(r, a, seq, seq + length)
        # Not by the islands: in-order bytes must find a place when there is no more for islands.
        if not bq_store(&r.queue, seq - r.irs - 1, payload, length):
            return TCP_NO_MEMORY
        r.nxt += length
        _join(r)
        if r.nxt != seq + length:
            fin = False
    elif length and r.nxt - r.irs - 1 != r.queue.tail + r.pending_bytes:
        # An island was joined in this batch: what follows it is copied behind it.
        if not bq_store(&r.queue, seq - r.irs - 1, payload, length):
            return TCP_NO_MEMORY
        r.nxt += length
    elif length:
        node = _arena_take(a, payload, length)
        if node == 0:
            return TCP_NO_MEMORY
        if r.last_pending:
            a.nodes[r.last_pending - 1].next = node
        else:
            r.first_pending = node
        r.last_pending = node
        r.pending_bytes += length
        r.nxt += length
    r.unacked_bytes += length
    if fin or r.nxt == r.fin_early:
        r.fin = r.nxt
        r.nxt += 1
        ranges_free(&r.islands)                 # what lay behind the end is not part of the stream
        if r.adv < r.nxt:                       # it was one beyond a window that its payload has filled
            r.adv = r.nxt
    return OK


cdef int rcv_pending(const TcpReceive *r, const PieceArena *a, Piece *out, int limit) noexcept nogil:
    cdef int n = 0
    cdef u32 node = r.first_pending
    while node and n < limit:
        out[n] = a.nodes[node - 1].piece
        node = a.nodes[node - 1].next
        n += 1
    return n


cdef bint rcv_settle(TcpReceive *r, const PieceArena *a, u64 taken) noexcept nogil:
    cdef u64 at = r.queue.tail, skip = taken
    cdef u32 node = r.first_pending
    cdef const Piece *piece
    cdef bint kept = True
    if taken:
        bq_pass(&r.queue, taken)
    while node:
        piece = &a.nodes[node - 1].piece
        if skip >= piece.length:
            skip -= piece.length
        elif kept:
            kept = bq_store(&r.queue, at + skip, piece.data + skip, piece.length - skip)
            if kept:
                skip = 0
            else:
                # The bytes from here on never came, and islands that have joined them in this batch are forgotten with
                # them (reneging, which RFC 2018 section 8 allows); those that have not joined stay.
                r.fin = 0
                r.fin_early = 0
                r.first_report = 0
                r.nxt = r.irs + 1 + at + skip
                break
        at += piece.length
        node = a.nodes[node - 1].next
    r.first_pending = 0
    r.last_pending = 0
    r.pending_bytes = 0
    bq_extend(&r.queue, rcv_data_end(r) - r.irs - 1)
    return kept


cdef void rcv_took(TcpReceive *r, u64 length, ns_t now, ns_t rtt) noexcept nogil:
    if now - r.taken_since > max(rtt, <ns_t>ROUND_FLOOR_MS * MILLISECOND):
        r.taken_since = now
        r.taken = 0
    r.taken += length
    _grow(r, r.taken)


cdef inline u64 _edge(const TcpReceive *r) noexcept nogil:
    """Where the window may reach: as far ahead of what the host has taken as the buffer is large."""
    cdef u64 edge = r.irs + 1 + r.queue.head + r.limit
    return edge if edge > r.adv else r.adv


cdef bint rcv_update_due(const TcpReceive *r) noexcept nogil:
    # Receiver's SWS avoidance as Linux has it (tcp_cleanup_rbuf): only when the guest has less than half a buffer left
    # and is to learn of at least twice as much; the first full segment of a closed window counts always.
    cdef u64 edge = _edge(r), known = r.adv - r.nxt, least = r.segment_bytes
    if r.fin:
        return False
    if least == 0 or least > r.limit // 2:
        least = r.limit // 2
    return 2 * known <= r.limit and edge - r.nxt >= 2 * known and edge - r.adv >= least


cdef u16 rcv_advertise(TcpReceive *r, u64 ack, bint syn) noexcept nogil:
    cdef u32 shift = 0 if syn else r.scale
    cdef u64 edge = _edge(r), step = (<u64>1 << shift) - 1
    cdef u64 most = max(r.irs + 1 + r.queue.head + r.limit, r.granted) + step
    cdef u64 field = (edge - ack + step) >> shift
    if ack + (field << shift) > most and field:
        field -= 1
    if field > 65535:
        field = 65535
    edge = ack + (field << shift)
    if edge > r.adv:
        r.adv = edge
    return <u16>field


cdef bint rcv_sound(const TcpReceive *r) noexcept nogil:
    cdef u64 step = <u64>1 << r.scale, before = r.nxt
    cdef u32 i
    for i in range(r.islands.count):
        # Never touching: what touches has joined.
        if r.islands.items[i].start <= before or r.islands.items[i].end <= r.islands.items[i].start:
            return False
        before = r.islands.items[i].end
    return (before <= r.adv and r.first_pending == 0 and r.first_report == 0 and r.queue.tail == rcv_data_end(r) - r.irs - 1
            and r.adv <= max(r.irs + 1 + r.queue.head + r.limit, r.granted) + step)


cdef int rcv_sack_blocks(const TcpReceive *r, int most, u32 *start, u32 *end) noexcept nogil:
    cdef int n = 0, i, at
    cdef u32 k
    cdef u64 reported[RCV_RECENT + 1]
    if r.again_end > r.again_start and most:
        start[n] = <u32>r.again_start
        end[n] = <u32>r.again_end
        reported[n] = 0                         # an island of the same beginning is told of, too (RFC 2883 section 4)
        n += 1
        at = ranges_find(&r.islands, r.again_start)
        if at >= 0 and n < most:                # the island around it comes next, so that it is known for what it is
            reported[n] = r.islands.items[at].start
            start[n] = <u32>r.islands.items[at].start
            end[n] = <u32>r.islands.items[at].end
            n += 1
    for i in range(RCV_RECENT):
        if n == most:
            return n
        at = ranges_find(&r.islands, r.recent[i])
        if at < 0 or _in(reported, n, r.islands.items[at].start):
            continue
        reported[n] = r.islands.items[at].start
        start[n] = <u32>r.islands.items[at].start
        end[n] = <u32>r.islands.items[at].end
        n += 1
    for k in range(r.islands.count):
        if n == most:
            return n
        if not _in(reported, n, r.islands.items[k].start):
            reported[n] = r.islands.items[k].start
            start[n] = <u32>r.islands.items[k].start
            end[n] = <u32>r.islands.items[k].end
            n += 1
    return n


cdef inline bint _in(const u64 *list, int n, u64 value) noexcept nogil:
    cdef int i
    for i in range(n):
        if list[i] == value:
            return True
    return False


@cython.final
cdef class _Receive:
    """A receiving half over a pool of its own, for the tests.  Numbers count from the guest's ISN."""

    cdef ChunkPool pool
    cdef PieceArena arena
    cdef TcpReceive r
    cdef list batch                             # keeps the payloads of pending pieces alive

    def __cinit__(self, isn: int = 0, window: int = 65535, scale: int = 0, memory: int = 1 << 30, most_blocks: int = 0) -> None:
        chunk_pool_init(&self.pool, memory)
        if not arena_init(&self.arena):
            raise MemoryError
        memset(&self.r, 0, sizeof(TcpReceive))
        rcv_init(&self.r, &self.pool, (<u64>1 << 32) | <u32>isn, window)
        self.r.scale = scale
        self.r.limit_max = window
        self.r.sack_blocks = most_blocks
        rcv_advertise(&self.r, self.r.nxt, False)
        self.batch = []

    def __dealloc__(self) -> None:
        rcv_free(&self.r)
        arena_free(&self.arena)
        chunk_pool_free(&self.pool)

    def acceptable(self, seq: int, length: int) -> bool:
        return rcv_acceptable(&self.r, self.r.irs + seq, length)

    def segment(self, seq: int, payload: bytes, fin: bool = False) -> int:
        """The Status of an acceptable segment."""
        self.batch.append(payload)
        return rcv_segment(&self.r, &self.arena, self.r.irs + seq, payload, <u32>len(payload), fin)

    def pending(self) -> bytes:
        cdef Piece pieces[128]
        cdef int n = rcv_pending(&self.r, &self.arena, pieces, 128)
        return b"".join([(<const char *>pieces[i].data)[:pieces[i].length] for i in range(n)])

    def settle(self, taken: int = 0) -> bool:
        """The end of a batch; `taken` of the pending bytes went to the host directly."""
        kept = rcv_settle(&self.r, &self.arena, taken)
        self.r.first_report = 0
        arena_empty(&self.arena)
        self.batch.clear()
        return kept

    def read(self, most: int) -> bytes:
        cdef Piece pieces[128]
        cdef int n = bq_peek(&self.r.queue, self.r.queue.head, most, pieces, 128)
        data = b"".join([(<const char *>pieces[i].data)[:pieces[i].length] for i in range(n)])
        bq_consume(&self.r.queue, <u64>len(data))
        return data

    def took(self, length: int, now: int, rtt: int = 0) -> None:
        rcv_took(&self.r, length, now, rtt)

    def advertise(self, syn: bool = False) -> int:
        """The window field of a segment that is sent now."""
        return rcv_advertise(&self.r, self.r.nxt, syn)

    def sack_blocks(self, most: int = 4) -> list[tuple[int, int]]:
        cdef u32 start[SACK_BLOCKS]
        cdef u32 end[SACK_BLOCKS]
        cdef int n = rcv_sack_blocks(&self.r, min(most, <int>SACK_BLOCKS), start, end)
        return [(<u32>(start[i] - <u32>self.r.irs), <u32>(end[i] - <u32>self.r.irs)) for i in range(n)]

    def reports(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """The ACKs owed before the one at the end of the batch: what each acknowledges, and its blocks."""
        cdef const AckReport *report = rcv_next_report(&self.r, &self.arena)
        cdef u32 irs = <u32>self.r.irs
        out = []
        while report != NULL:
            blocks = [(<u32>(report.start[i] - irs), <u32>(report.end[i] - irs)) for i in range(report.blocks)]
            out.append((report.nxt - self.r.irs, blocks))
            report = rcv_next_report(&self.r, &self.arena)
        return out

    def reported(self) -> None:
        """A SACK option has left."""
        rcv_reported(&self.r)

    def duplicate(self, start: int, end: int) -> None:
        rcv_duplicate(&self.r, &self.arena, self.r.irs + start, self.r.irs + end)

    def heard(self, now: int, idle: int) -> None:
        rcv_heard(&self.r, now, idle)

    def set_quick(self, quick: int) -> None:
        self.r.quick = quick

    def set_memory(self, memory: int) -> None:
        self.pool.limit_bytes = memory

    def set_limit_max(self, limit: int) -> None:
        self.r.limit_max = limit

    @property
    def sound(self) -> bool:
        return rcv_sound(&self.r)

    @property
    def update_due(self) -> bool:
        return rcv_update_due(&self.r)

    @property
    def nxt(self) -> int:
        return self.r.nxt - self.r.irs

    @property
    def edge(self) -> int:
        return self.r.adv - self.r.irs

    @property
    def limit(self) -> int:
        return self.r.limit

    @property
    def quick(self) -> int:
        return self.r.quick

    @property
    def islands(self) -> int:
        return self.r.islands.count

    @property
    def used_bytes(self) -> int:
        return self.pool.used_bytes
