"""Counters by Status: one u64 each, with a name and a sentence each."""

from pyslirp.engine.base.ints cimport u64
from pyslirp.engine.base.status cimport STATUS_COUNT, Status

cdef struct Counters:
    u64 value[<int>STATUS_COUNT]

cdef inline void count(Counters *c, Status what) noexcept nogil:
    c.value[<int>what] += 1

cdef inline void count_n(Counters *c, Status what, u64 n) noexcept nogil:
    c.value[<int>what] += n

cdef dict counters_dict(const Counters *c)                                             # {name: value}, all of them
