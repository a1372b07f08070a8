"""A sorted set of disjoint half-open ranges of stream offsets.

Disjoint and not even touching: two neighbours always have a hole between them, so `count` islands mean `count` holes,
and RANGES_MAX bounds the memory and the work that one peer can cause by sending every other byte (CVE-2018-5390,
"SegmentSmack").  A set that is empty holds no memory.
"""

cimport cython
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.ints cimport u32, u64

cdef enum:
    RANGES_FIRST = 4            # room of the first allocation: one cache line


cdef void ranges_init(RangeSet *s) noexcept nogil:
    s.items = NULL
    s.count = 0
    s.room = 0


cdef void ranges_free(RangeSet *s) noexcept nogil:
    free(s.items)
    ranges_init(s)


cdef int ranges_add(RangeSet *s, u64 start, u64 end) noexcept nogil:
    cdef u32 first, last
    if start >= end:
        return 0
    first = _first_reaching(s, start)           # items[first:last] touch or overlap [start, end) and become one
    last = first
    while last < s.count and s.items[last].start <= end:
        last += 1
    if first == last:
        return _insert(s, first, start, end)
    if s.items[first].start <= start and end <= s.items[first].end:
        return 0
    s.items[first].start = min(start, s.items[first].start)
    s.items[first].end = max(end, s.items[last - 1].end)
    _remove(s, first + 1, last)
    slirp_assert(_is_apart(s, first))
    return 1


cdef void ranges_drop_below(RangeSet *s, u64 offset) noexcept nogil:
    cdef u32 keep = <u32>ranges_after(s, offset)
    if keep == s.count:
        ranges_free(s)
        return
    _remove(s, 0, keep)
    s.items[0].start = max(s.items[0].start, offset)


cdef u64 ranges_covered(const RangeSet *s) noexcept nogil:
    cdef u64 total = 0
    cdef u32 i
    for i in range(s.count):
        total += s.items[i].end - s.items[i].start
    return total


cdef int ranges_find(const RangeSet *s, u64 offset) noexcept nogil:
    cdef int index = ranges_after(s, offset)
    if <u32>index < s.count and s.items[index].start <= offset:
        return index
    return -1


cdef int ranges_after(const RangeSet *s, u64 offset) noexcept nogil:
    cdef u32 low = 0, high = s.count, middle
    while low < high:
        middle = (low + high) // 2
        if s.items[middle].end > offset:
            high = middle
        else:
            low = middle + 1
    return <int>low


cdef u32 _first_reaching(const RangeSet *s, u64 start) noexcept nogil:
    """Index of the first range that ends at `start` or behind it, or count."""
    # Never below 0: nothing ends at or before offset 0.
    return <u32>ranges_after(s, start - 1) if start else 0


cdef int _insert(RangeSet *s, u32 at, u64 start, u64 end) noexcept nogil:
    cdef u32 room
    cdef Range *items
    if s.count == s.room:
        room = s.room * 2 if s.room else <u32>RANGES_FIRST
        if room > RANGES_MAX:
            return -1
        items = <Range *>realloc(s.items, room * sizeof(Range))
        if items == NULL:
            return -1
        s.items = items
        s.room = room
    memmove(&s.items[at + 1], &s.items[at], (s.count - at) * sizeof(Range))
    s.items[at].start = start
    s.items[at].end = end
    s.count += 1
    slirp_assert(_is_apart(s, at))
    return 1


cdef bint _is_apart(const RangeSet *s, u32 at) noexcept nogil:
    """Is there a hole on both sides of a range?  For slirp_assert."""
    if at > 0 and s.items[at - 1].end >= s.items[at].start:
        return False
    return at + 1 == s.count or s.items[at].end < s.items[at + 1].start


cdef void _remove(RangeSet *s, u32 first, u32 last) noexcept nogil:
    if first < last:
        memmove(&s.items[first], &s.items[last], (s.count - last) * sizeof(Range))
        s.count -= last - first


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Set:
    """A RangeSet."""

    cdef RangeSet ranges

    def __cinit__(self):
        ranges_init(&self.ranges)

    def __dealloc__(self):
        ranges_free(&self.ranges)

    def add(self, u64 start, u64 end):
        return ranges_add(&self.ranges, start, end)

    def drop_below(self, u64 offset):
        ranges_drop_below(&self.ranges, offset)

    def clear(self):
        ranges_free(&self.ranges)

    def covered(self):
        return ranges_covered(&self.ranges)

    def find(self, u64 offset):
        return ranges_find(&self.ranges, offset)

    def after(self, u64 offset):
        return ranges_after(&self.ranges, offset)

    def items(self):
        """All ranges, in order: [(start, end)]."""
        return [(self.ranges.items[i].start, self.ranges.items[i].end) for i in range(self.ranges.count)]

    @property
    def room(self):
        return self.ranges.room
