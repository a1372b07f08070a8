"""Deadlines in a 4-ary heap; an entry lives inside what it wakes and is found in O(1).

Four children share a cache line of pointers, and the tree is half as deep as a binary one; setting a timer later, which
is what every acknowledged segment does, moves it down a level or two.  An entry knows its slot, so nothing is searched.
The heap grows with the number of entries that are set, which the tables that hold them bound.
"""

cimport cython
from libc.stdlib cimport calloc, free, realloc

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.ints cimport ns_never, ns_t, u32

cdef enum:
    ARITY = 4
    TIMERS_FIRST = 64           # room of the first allocation


cdef void timers_init(TimerHeap *h) noexcept nogil:
    h.items = NULL
    h.count = 0
    h.room = 0


cdef void timers_free(TimerHeap *h) noexcept nogil:
    # The entries are not touched: their owners may be gone already.
    free(h.items)
    timers_init(h)


cdef bint timer_set(TimerHeap *h, TimerEntry *entry, ns_t when) noexcept nogil:
    cdef u32 room
    cdef TimerEntry **items
    if entry.slot == 0:
        if h.count == h.room:
            room = h.room * 2 if h.room else <u32>TIMERS_FIRST
            items = <TimerEntry **>realloc(h.items, room * sizeof(TimerEntry *))
            if items == NULL:
                return False
            h.items = items
            h.room = room
        h.count += 1
        entry.slot = h.count
    entry.when = when
    _settle(h, entry)
    return True


cdef void timer_cancel(TimerHeap *h, TimerEntry *entry) noexcept nogil:
    cdef u32 slot = entry.slot
    cdef TimerEntry *last
    if slot == 0:
        return
    slirp_assert(slot <= h.count)
    slirp_assert(h.items[slot - 1] == entry)
    entry.slot = 0
    h.count -= 1
    last = h.items[h.count]
    if last != entry:
        last.slot = slot
        _settle(h, last)


cdef ns_t timers_next(const TimerHeap *h) noexcept nogil:
    return h.items[0].when if h.count else ns_never()


cdef TimerEntry *timers_pop(TimerHeap *h, ns_t now) noexcept nogil:
    cdef TimerEntry *entry
    if h.count == 0 or h.items[0].when > now:
        return NULL
    entry = h.items[0]
    timer_cancel(h, entry)
    return entry


cdef void _settle(TimerHeap *h, TimerEntry *entry) noexcept nogil:
    """Put `entry`, whose slot is free for it, where its deadline belongs: up, or else down."""
    cdef u32 at = entry.slot - 1, other, child, last
    slirp_assert(at < h.count)
    while at > 0:
        other = (at - 1) // ARITY
        if h.items[other].when <= entry.when:
            break
        _place(h, h.items[other], at)
        at = other
    while True:
        child = at * ARITY + 1
        if child >= h.count:
            break
        last = min(child + ARITY, h.count)
        other = child
        child += 1
        while child < last:
            if h.items[child].when < h.items[other].when:
                other = child
            child += 1
        if h.items[other].when >= entry.when:
            break
        _place(h, h.items[other], at)
        at = other
    _place(h, entry, at)


cdef inline void _place(TimerHeap *h, TimerEntry *entry, u32 at) noexcept nogil:
    h.items[at] = entry
    entry.slot = at + 1


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Heap:
    """A TimerHeap and `size` entries, known by their index."""

    cdef TimerHeap heap
    cdef TimerEntry *entries
    cdef readonly u32 size

    def __cinit__(self, u32 size):
        timers_init(&self.heap)
        self.entries = <TimerEntry *>calloc(max(size, <u32>1), sizeof(TimerEntry))
        if self.entries == NULL:
            raise MemoryError
        self.size = size

    def __dealloc__(self):
        timers_free(&self.heap)
        free(self.entries)

    cdef TimerEntry *at(self, u32 index) except NULL:
        if index >= self.size:
            raise IndexError(index)
        return &self.entries[index]

    def set(self, u32 index, ns_t when):
        return timer_set(&self.heap, self.at(index), when)

    def cancel(self, u32 index):
        timer_cancel(&self.heap, self.at(index))

    def next(self):
        return timers_next(&self.heap)

    def pop(self, ns_t now):
        """(index, deadline) of one that is due, or None."""
        cdef TimerEntry *entry = timers_pop(&self.heap, now)
        return None if entry == NULL else (entry - self.entries, entry.when)

    def is_set(self, u32 index):
        return self.at(index).slot != 0

    def slots_agree(self):
        """Does every entry in the heap know its slot?"""
        cdef u32 i
        for i in range(self.heap.count):
            if self.heap.items[i].slot != i + 1:
                return False
        return True

    @property
    def count(self):
        return self.heap.count
