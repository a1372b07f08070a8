"""<sched.h>: sched_yield(2)."""

cdef extern from "<sched.h>" nogil:
    int sched_yield()
