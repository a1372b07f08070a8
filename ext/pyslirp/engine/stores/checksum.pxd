"""The Internet checksum (RFC 1071), by wide arithmetic."""

from pyslirp.engine.base.ints cimport Addr, u8, u16, u32

# A running sum is a plain u32 that has been added up in memory order; `sum_fold` gives the 16 bits to be stored with
# memcpy-like semantics (sum_store), so no byte is swapped on the way.  A piece that begins at an odd offset of the
# message has its partial sum rotated: sum_at_odd().
cdef u32 sum_bytes(const u8 *data, size_t length, u32 start) noexcept nogil             # over any length
cdef u32 sum_copy(u8 *to, const u8 *source, size_t length, u32 start) noexcept nogil    # copy and add up in one pass
cdef u32 sum_odd(u32 partial) noexcept nogil                # the same bytes, one position on
cdef u32 sum_add(u32 one, u32 other) noexcept nogil         # end-around carry
cdef u16 sum_fold(u32 partial) noexcept nogil               # 16 bits in memory order, NOT complemented
cdef void sum_store(u8 *field, u32 partial) noexcept nogil  # writes the complement at `field`
cdef bint sum_is_good(u32 partial) noexcept nogil           # folded sum is 0xffff (under PYSLIRP_FUZZ: always True)
# Pseudo-header of RFC 9293 section 3.1 and RFC 768 (IPv4) or RFC 8200 section 8.1 (IPv6), by the addresses' family.
cdef u32 sum_pseudo(const Addr *source, const Addr *destination, u8 protocol, u32 length) noexcept nogil
