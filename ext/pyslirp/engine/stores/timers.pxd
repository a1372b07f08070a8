"""Deadlines in a 4-ary heap; an entry lives inside what it wakes and is found in O(1)."""

from pyslirp.engine.base.ints cimport ns_t, u32

cdef struct TimerEntry:
    ns_t when                   # deadline on the caller's clock
    u32 slot                    # position in the heap + 1; 0: not set

cdef struct TimerHeap:
    TimerEntry **items          # owned array of borrowed entries
    u32 count
    u32 room

cdef void timers_init(TimerHeap *h) noexcept nogil
cdef void timers_free(TimerHeap *h) noexcept nogil
cdef bint timer_set(TimerHeap *h, TimerEntry *entry, ns_t when) noexcept nogil  # insert or move; False: no memory
cdef void timer_cancel(TimerHeap *h, TimerEntry *entry) noexcept nogil          # no matter whether it is set
cdef ns_t timers_next(const TimerHeap *h) noexcept nogil                        # earliest deadline, or ns_never()
cdef TimerEntry *timers_pop(TimerHeap *h, ns_t now) noexcept nogil              # one that is due, removed; or NULL
