"""SipHash-1-3: the keyed hash of every table that a guest can fill."""

from pyslirp.engine.base.ints cimport u8, u64

cdef u64 siphash(const u8 *data, size_t length, const u64 *key) noexcept nogil        # key: two words
