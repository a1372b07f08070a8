"""TCP sequence-number arithmetic, modulo 2**32 (RFC 9293 section 3.4)."""

from pyslirp.engine.base.ints cimport i32, i64, u32, u64


cdef inline bint seq_lt(u32 a, u32 b) noexcept nogil:
    return <i32>(a - b) < 0


cdef inline bint seq_le(u32 a, u32 b) noexcept nogil:
    return <i32>(a - b) <= 0


cdef inline bint seq_gt(u32 a, u32 b) noexcept nogil:
    return <i32>(a - b) > 0


cdef inline bint seq_ge(u32 a, u32 b) noexcept nogil:
    return <i32>(a - b) >= 0


cdef inline u32 seq_max(u32 a, u32 b) noexcept nogil:
    return a if <i32>(a - b) > 0 else b


cdef inline u64 seq_wide(u64 near, u32 seq) noexcept nogil:
    """The 64-bit sequence number nearest to `near` whose low half is `seq`.

    The engine keeps sequence numbers 64 bits wide, begun at 2**32 + ISN, so that its own comparisons never wrap; the wire's
    32 bits are the low half.
    """
    return near + <u64><i64><i32>(seq - <u32>near)
