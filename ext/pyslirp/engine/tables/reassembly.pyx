"""Reassembly of IPv4 and IPv6: bounded in datagrams, bytes, pieces and time; a contradiction drops the whole datagram.

Goal: put together what an honest guest sends, in any order and with duplicates, and let a hostile one gain nothing: no
memory beyond its limits, no ambiguity about what a datagram said, no piece of it seen by anyone before it is whole.

A datagram is known by (source, destination, identification, protocol), RFC 791 section 3.2; in IPv6 without the protocol
(RFC 8200 section 4.5), because what follows is said by the first fragment alone.  Its payload is written to where it belongs in one buffer, with room for the header in front, so that the whole datagram lies there when the last
piece has come.  Pieces are kept as a sorted list of (start, end).  They never overlap, so the datagram is whole when
their lengths add up to its end; RFC 815's holes are not needed.

States of a datagram:
    collecting   pieces come in
    dropped      contradicted: the buffer is gone, the key stays until the deadline, so that a later piece cannot start
                 the same datagram anew

    piece                                                          outcome
    no payload, or not the last and not a multiple of 8            FRAGMENT_MALFORMED, this piece only
    end over 65535 with the header (ping of death)                 FRAGMENT_TOO_BIG, dropped
        IPv6: with what is in front of its Fragment header, but without the 40 bytes of the IPv6 header
    same start and end and bytes as one before                     FRAGMENT_RECEIVED, nothing changed
    overlaps one before in any other way (teardrop)                FRAGMENT_OVERLAP, dropped
    a second end, or bytes past the end                            FRAGMENT_OVERLAP, dropped
    more than REASSEMBLY_PIECES                                    FRAGMENT_TABLE_FULL, dropped

RFC 8200 section 4.5 demands that overlaps drop everything (RFC 5722 tells why), and allows exact duplicates to be
ignored.  That a duplicate must also have the same bytes is ours: what differs is not the same datagram (identifications
repeat after 65,536 datagrams), and a mixture of two must not be delivered.

Limits.  Where one is reached, room is made, never refused: the oldest datagram goes, of that source if the source has
REASSEMBLY_PER_SOURCE, else of the source that has most.  Refusing would let a guest that fills the table (addresses are
free to it) shut it to others for REASSEMBLY_SECONDS; so it must keep sending, and takes mostly from itself.  Looking
for the victim takes 64 times 64 steps at the worst.  REASSEMBLY_BYTES counts buffers; the lists of pieces, at most
8 KiB each, come on top.

Time: the deadline counts from the first piece and is the same for all, so the list in order of arrival is in order of
deadline, and the oldest is at its head.  No ICMP time exceeded is sent on expiry (libslirp sends none; RFC 1122 section
3.3.2 would).
"""

cimport cython
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.endian cimport store16
from pyslirp.engine.base.header.ipv4 cimport *
from pyslirp.engine.base.header.ipv6 cimport IPV6_AT_PAYLOAD_LENGTH, IPV6_BYTES
from pyslirp.engine.base.ints cimport Addr, addr_eq, ns_never, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.status cimport *
from pyslirp.engine.codecs.parse cimport Packet, parse_ip_at
from pyslirp.engine.codecs.parse_ipv6 cimport IPV6_HEADERS_MAX
from pyslirp.engine.stores.checksum cimport sum_bytes, sum_store
from pyslirp.engine.stores.siphash cimport siphash

cdef enum:
    BUCKETS = 128               # twice REASSEMBLY_DATAGRAMS, a power of two
    HEADROOM = IPV6_HEADERS_MAX  # in front of the payload, for the headers of the first fragment
    BUFFER_FIRST = 4096         # bytes of a buffer to begin with; it grows by doubling
    BUFFER_MAX = HEADROOM + IPV4_TOTAL_MAX
    PIECES_FIRST = 8

cdef struct Key:
    Addr source
    Addr destination
    u32 identification
    u32 protocol                # wide, so that there is no padding to hash; of IPv6 always 0

cdef struct Extent:
    u16 start                   # offset in the payload of the datagram
    u16 end

cdef struct Datagram:
    Key key
    ns_t deadline
    Datagram *chain             # next in the bucket
    Datagram *older             # list in order of arrival
    Datagram *newer
    bint dropped
    u8 *buffer                  # owned: HEADROOM, then payload; NULL when dropped
    u32 room                    # bytes of it
    Extent *pieces               # owned, sorted
    u32 piece_count
    u32 piece_room
    u32 got                     # bytes of payload that have come
    u32 end                     # bytes of payload there will be; 0: not known yet
    u32 header_bytes            # of the first fragment, whose headers are used; 0: not come yet
    u8 protocol                 # IPv6: what the first fragment's Fragment header announces
    u32 named_at                # IPv6: where in the headers that is written in place of the Fragment header's number
    bint v6

cdef struct Reassembly:
    u64 hash_key[2]
    Datagram *buckets[BUCKETS]
    Datagram *oldest
    Datagram *newest
    u32 count
    u64 bytes                   # sum of `room`
    u8 *finished                # owned: the buffer of the datagram handed out last
    u32 expired                 # not reported yet
    u32 evicted                 # not reported yet


cdef Reassembly *reassembly_new(const u64 *hash_key) noexcept nogil:
    cdef Reassembly *r = <Reassembly *>calloc(1, sizeof(Reassembly))
    if r != NULL:
        memcpy(r.hash_key, hash_key, sizeof(r.hash_key))
    return r


cdef void reassembly_free(Reassembly *r) noexcept nogil:
    if r == NULL:
        return
    while r.oldest != NULL:
        _forget(r, r.oldest)
    slirp_assert(r.bytes == 0)
    free(r.finished)
    free(r)


cdef Status reassembly_add(Reassembly *r, const Packet *p, ns_t now, const u8 **l3, u32 *l3_bytes) noexcept nogil:
    cdef u32 start = p.fragment_offset, length = p.l3_bytes - p.l3_header
    cdef Datagram *d
    cdef Status status
    free(r.finished)
    r.finished = NULL
    if length == 0 or (p.more_fragments and length % IPV4_FRAGMENT_UNIT):
        return FRAGMENT_MALFORMED
    d = _find_or_make(r, p, now)
    if d == NULL:
        return FRAGMENT_TABLE_FULL
    if d.dropped:
        return FRAGMENT_OVERLAP
    status = _take(r, d, p, start, start + length)
    if status != FRAGMENT_RECEIVED:
        _drop(r, d)
        return status
    if d.end == 0 or d.got < d.end:
        return FRAGMENT_RECEIVED
    # Whole: no hole is left, so the first fragment is there and with it the header.
    l3[0] = _finish(r, d, l3_bytes)
    return FRAGMENT_REASSEMBLED


cdef ns_t reassembly_deadline(const Reassembly *r) noexcept nogil:
    return r.oldest.deadline if r.oldest != NULL else ns_never()


cdef u32 reassembly_expire(Reassembly *r, ns_t now) noexcept nogil:
    cdef u32 count
    while r.oldest != NULL and r.oldest.deadline <= now:
        if not r.oldest.dropped:                # a dropped one has been counted already
            r.expired += 1
        _forget(r, r.oldest)
    count = r.expired
    r.expired = 0
    return count


cdef u32 reassembly_evicted(Reassembly *r) noexcept nogil:
    cdef u32 count = r.evicted
    r.evicted = 0
    return count


cdef u32 reassembly_count(const Reassembly *r) noexcept nogil:
    return r.count


cdef u64 reassembly_bytes(const Reassembly *r) noexcept nogil:
    return r.bytes


# -- one datagram ------------------------------------------------------------------------------------------------------

cdef Status _take(Reassembly *r, Datagram *d, const Packet *p, u32 start, u32 end) noexcept nogil:
    """Put the payload where it belongs; anything but FRAGMENT_RECEIVED dooms the datagram."""
    cdef const u8 *payload = p.l3 + p.l3_header
    cdef u32 header_bytes = _kept(p) if start == 0 else d.header_bytes
    cdef u32 at
    if _counted(p.v6, header_bytes) + max(end, _highest(d)) > IPV4_TOTAL_MAX:
        return FRAGMENT_TOO_BIG
    if not _agrees_on_the_end(d, end, p.more_fragments):
        return FRAGMENT_OVERLAP
    at = _piece_at(d, start)
    if at < d.piece_count and d.pieces[at].start == start and d.pieces[at].end == end:
        if memcmp(d.buffer + HEADROOM + start, payload, end - start) == 0:
            return FRAGMENT_RECEIVED
        return FRAGMENT_OVERLAP
    if (at < d.piece_count and d.pieces[at].start < end) or (at > 0 and d.pieces[at - 1].end > start):
        return FRAGMENT_OVERLAP
    if not _make_space(r, d, HEADROOM + end) or not _insert_piece(d, at, start, end):
        return FRAGMENT_TABLE_FULL
    memcpy(d.buffer + HEADROOM + start, payload, end - start)
    d.got += end - start
    if not p.more_fragments:
        d.end = end
    if start == 0:
        d.header_bytes = header_bytes
        d.protocol = p.protocol
        d.named_at = p.fragment_named_at
        memcpy(d.buffer + HEADROOM - header_bytes, p.l3, header_bytes)
    return FRAGMENT_RECEIVED


cdef inline u32 _kept(const Packet *p) noexcept nogil:
    """Bytes of header that the whole datagram has too."""
    return p.unfragmented if p.v6 else p.l3_header


cdef inline u32 _counted(bint v6, u32 header_bytes) noexcept nogil:
    """How much of them the 16-bit length of the whole counts."""
    if not v6:
        return max(header_bytes, <u32>IPV4_BYTES)
    return header_bytes - IPV6_BYTES if header_bytes > IPV6_BYTES else 0


cdef const u8 *_finish(Reassembly *r, Datagram *d, u32 *l3_bytes) noexcept nogil:
    """The whole datagram, with a header that says so; the entry is gone then."""
    cdef u8 *header = d.buffer + HEADROOM - d.header_bytes
    l3_bytes[0] = d.header_bytes + d.end
    if d.v6:
        header[d.named_at] = d.protocol
        store16(header + IPV6_AT_PAYLOAD_LENGTH, <u16>(l3_bytes[0] - IPV6_BYTES))
    else:
        store16(header + IPV4_AT_TOTAL_LENGTH, <u16>l3_bytes[0])
        store16(header + IPV4_AT_FRAGMENT, 0)
        store16(header + IPV4_AT_CHECKSUM, 0)
        sum_store(header + IPV4_AT_CHECKSUM, sum_bytes(header, d.header_bytes, 0))
    r.finished = d.buffer
    r.bytes -= d.room
    d.buffer = NULL
    d.room = 0
    _forget(r, d)
    return header


cdef inline u32 _highest(const Datagram *d) noexcept nogil:
    """Where the payload that has come ends; that of the datagram, if its last fragment is among it."""
    return d.pieces[d.piece_count - 1].end if d.piece_count else 0


cdef bint _agrees_on_the_end(const Datagram *d, u32 end, bint more) noexcept nogil:
    if more:
        return d.end == 0 or end < d.end
    return end == d.end if d.end else end > _highest(d)


cdef u32 _piece_at(const Datagram *d, u32 start) noexcept nogil:
    """Index of the first piece that starts at `start` or behind it, or piece_count."""
    cdef u32 low = 0, high = d.piece_count, middle
    if high and d.pieces[high - 1].start < start:   # in order, as nearly always
        return high
    while low < high:
        middle = (low + high) // 2
        if d.pieces[middle].start >= start:
            high = middle
        else:
            low = middle + 1
    return low


cdef bint _insert_piece(Datagram *d, u32 at, u32 start, u32 end) noexcept nogil:
    cdef u32 room
    cdef Extent *pieces
    if d.piece_count == d.piece_room:
        room = d.piece_room * 2 if d.piece_room else <u32>PIECES_FIRST
        if room > REASSEMBLY_PIECES:
            return False
        pieces = <Extent *>realloc(d.pieces, room * sizeof(Extent))
        if pieces == NULL:
            return False
        d.pieces = pieces
        d.piece_room = room
    slirp_assert(end <= IPV4_TOTAL_MAX)
    memmove(&d.pieces[at + 1], &d.pieces[at], (d.piece_count - at) * sizeof(Extent))
    d.pieces[at].start = <u16>start
    d.pieces[at].end = <u16>end
    d.piece_count += 1
    return True


cdef bint _make_space(Reassembly *r, Datagram *d, u32 needed) noexcept nogil:
    """A buffer of at least `needed` bytes, within the budget of all."""
    cdef u32 room = d.room if d.room else <u32>BUFFER_FIRST
    cdef u8 *buffer
    while room < needed:
        room = min(room * 2, <u32>BUFFER_MAX)
    if room == d.room:
        return True
    while r.bytes - d.room + room > REASSEMBLY_BYTES:
        if not _evict(r, NULL, d):
            return False
    buffer = <u8 *>realloc(d.buffer, room)
    if buffer == NULL:
        return False
    r.bytes += room - d.room
    d.buffer = buffer
    d.room = room
    return True


cdef void _drop(Reassembly *r, Datagram *d) noexcept nogil:
    """Keep the key, and nothing else, until the deadline."""
    r.bytes -= d.room
    free(d.buffer)
    free(d.pieces)
    d.buffer = NULL
    d.room = 0
    d.pieces = NULL
    d.piece_count = 0
    d.piece_room = 0
    d.dropped = True


# -- the table ---------------------------------------------------------------------------------------------------------

cdef u32 _bucket(const Reassembly *r, const Key *key) noexcept nogil:
    return <u32>(siphash(<const u8 *>key, sizeof(Key), r.hash_key) & (BUCKETS - 1))


cdef Datagram *_find_or_make(Reassembly *r, const Packet *p, ns_t now) noexcept nogil:
    cdef Key key
    cdef Datagram *d
    cdef u32 bucket
    memset(&key, 0, sizeof(key))
    key.source = p.source
    key.destination = p.destination
    key.identification = p.identification
    key.protocol = 0 if p.v6 else p.protocol
    bucket = _bucket(r, &key)
    d = r.buckets[bucket]
    while d != NULL and memcmp(&d.key, &key, sizeof(key)):
        d = d.chain
    if d != NULL and d.deadline > now:
        return d
    if d != NULL:                               # past its deadline, though nobody has called reassembly_expire yet
        r.expired += not d.dropped
        _forget(r, d)
    _evict_for(r, &key.source)
    d = <Datagram *>calloc(1, sizeof(Datagram))
    if d == NULL:
        return NULL
    d.key = key
    d.v6 = p.v6
    d.deadline = now + <ns_t>REASSEMBLY_SECONDS * 1000000000
    d.chain = r.buckets[bucket]
    r.buckets[bucket] = d
    d.older = r.newest
    if r.newest != NULL:
        r.newest.newer = d
    else:
        r.oldest = d
    r.newest = d
    r.count += 1
    return d


cdef void _evict_for(Reassembly *r, const Addr *source) noexcept nogil:
    """Room for one more datagram of `source`."""
    if _count_of(r, source) >= REASSEMBLY_PER_SOURCE:
        _evict(r, source, NULL)
    elif r.count >= REASSEMBLY_DATAGRAMS:
        _evict(r, NULL, NULL)


cdef u32 _count_of(const Reassembly *r, const Addr *source) noexcept nogil:
    cdef const Datagram *d = r.oldest
    cdef u32 count = 0
    while d != NULL:
        count += addr_eq(&d.key.source, source)
        d = d.newer
    return count


cdef bint _evict(Reassembly *r, const Addr *source, const Datagram *spared) noexcept nogil:
    """Give up the oldest datagram of `source`, or if NULL of the source that has most; False if there is none."""
    cdef Datagram *d = r.oldest
    cdef Datagram *victim = NULL
    cdef u32 most = 0, count
    while d != NULL:
        if d != spared:
            if source != NULL and addr_eq(&d.key.source, source):
                victim = d
                break
            if source == NULL:
                count = _count_of(r, &d.key.source)
                if count > most:
                    most = count
                    victim = d
        d = d.newer
    if victim == NULL:
        return False
    r.evicted += not victim.dropped
    _forget(r, victim)
    return True


cdef void _forget(Reassembly *r, Datagram *d) noexcept nogil:
    cdef Datagram **link = &r.buckets[_bucket(r, &d.key)]
    while link[0] != d:
        link = &link[0].chain
    link[0] = d.chain
    if d.older != NULL:
        d.older.newer = d.newer
    else:
        r.oldest = d.newer
    if d.newer != NULL:
        d.newer.older = d.older
    else:
        r.newest = d.older
    slirp_assert(r.bytes >= d.room)
    r.count -= 1
    r.bytes -= d.room
    free(d.buffer)
    free(d.pieces)
    free(d)


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Table:
    """A Reassembly, fed with datagrams as bytes."""

    cdef Reassembly *table

    def __cinit__(self, u64 key0=0, u64 key1=0):
        cdef u64 key[2]
        key[0] = key0
        key[1] = key1
        self.table = reassembly_new(key)
        if self.table == NULL:
            raise MemoryError

    def __dealloc__(self):
        reassembly_free(self.table)

    def add(self, bytes datagram, ns_t now):
        """(status, whole datagram or None); whatever parse_ip_at refuses has its status."""
        cdef Packet p
        cdef const u8 *l3 = NULL
        cdef u32 l3_bytes = 0
        cdef Status status
        memset(&p, 0, sizeof(p))
        status = parse_ip_at(&p, <const u8 *>datagram, len(datagram))
        if status != OK:
            return <int>status, None
        if not p.fragment:
            raise ValueError("not a fragment")
        status = reassembly_add(self.table, &p, now, &l3, &l3_bytes)
        return <int>status, None if l3 == NULL else l3[:l3_bytes]

    def deadline(self):
        return reassembly_deadline(self.table)

    def expire(self, ns_t now):
        return reassembly_expire(self.table, now)

    def evicted(self):
        return reassembly_evicted(self.table)

    @property
    def count(self):
        return reassembly_count(self.table)

    @property
    def held_bytes(self):
        return reassembly_bytes(self.table)
