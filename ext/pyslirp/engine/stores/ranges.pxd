"""A sorted set of disjoint half-open ranges of stream offsets: what came out of order, what was acknowledged so."""

from pyslirp.engine.base.ints cimport u32, u64

cdef enum:
    RANGES_MAX = 512            # holes that one direction of a connection may have; beyond it new islands are refused

cdef struct Range:
    u64 start
    u64 end

cdef struct RangeSet:
    Range *items                # owned; NULL while empty; grows by doubling to RANGES_MAX
    u32 count
    u32 room

cdef void ranges_init(RangeSet *s) noexcept nogil
cdef void ranges_free(RangeSet *s) noexcept nogil                        # empties and gives the memory back
# Adds [start, end), merging what touches.
# 1: something new; 0: all of it was there; -1: refused (RANGES_MAX or no memory).
cdef int ranges_add(RangeSet *s, u64 start, u64 end) noexcept nogil
cdef void ranges_drop_below(RangeSet *s, u64 offset) noexcept nogil      # forget everything below offset
cdef u64 ranges_covered(const RangeSet *s) noexcept nogil                # bytes in the set
cdef int ranges_find(const RangeSet *s, u64 offset) noexcept nogil       # index of the one that holds offset, or -1
cdef int ranges_after(const RangeSet *s, u64 offset) noexcept nogil      # the first that ends behind offset, or count
