"""The Internet checksum (RFC 1071), by wide arithmetic.

The loops are C (csrc/checksum.h), because only there can a function be compiled for AVX2 in a module that is not.
Here is what gives them meaning: pseudo-headers, odd offsets, the complement.  A sum of bytes that are not all zero is
never 0, as adding up with end-around carry cannot come back to it; so 0xffff is the only folded sum of a good message.
"""

from libc.string cimport memcpy

from pyslirp.engine.base.endian cimport store16, store32
from pyslirp.engine.base.ints cimport Addr, addr_is4, u8, u16, u32, u64

cdef extern from "pyslirp/engine/csrc/checksum.h" nogil:
    const int SLIRP_SUMS_PASS
    u32 slirp_sum_bytes(const u8 *data, size_t length, u32 start) noexcept
    u32 slirp_sum_copy(u8 *to, const u8 *source, size_t length, u32 start) noexcept


cdef u32 sum_bytes(const u8 *data, size_t length, u32 start) noexcept nogil:
    return slirp_sum_bytes(data, length, start)


cdef u32 sum_copy(u8 *to, const u8 *source, size_t length, u32 start) noexcept nogil:
    return slirp_sum_copy(to, source, length, start)


cdef u32 sum_odd(u32 partial) noexcept nogil:
    # One position on is a factor of 2**8, which modulo 2**32 - 1 is a rotation.
    return (partial << 8) | (partial >> 24)


cdef u32 sum_add(u32 one, u32 other) noexcept nogil:
    cdef u64 sum = <u64>one + other
    return <u32>(sum + (sum >> 32))


cdef u16 sum_fold(u32 partial) noexcept nogil:
    partial = (partial & 0xffff) + (partial >> 16)
    return <u16>(partial + (partial >> 16))


cdef void sum_store(u8 *field, u32 partial) noexcept nogil:
    cdef u16 complement = ~sum_fold(partial)
    memcpy(field, &complement, 2)


cdef bint sum_is_good(u32 partial) noexcept nogil:
    return SLIRP_SUMS_PASS or sum_fold(partial) == 0xffff


cdef u32 sum_pseudo(const Addr *source, const Addr *destination, u8 protocol, u32 length) noexcept nogil:
    cdef u8 tail[8]
    cdef u32 sum
    if addr_is4(source) and addr_is4(destination):
        # zero, protocol, 16-bit length
        tail[0] = 0
        tail[1] = protocol
        store16(&tail[2], <u16>length)
        sum = sum_add(source.w[3], destination.w[3])
        return slirp_sum_bytes(tail, 4, sum)
    # 32-bit length, three zeros, next header
    store32(&tail[0], length)
    store32(&tail[4], protocol)
    sum = slirp_sum_bytes(source.b, 16, 0)
    sum = slirp_sum_bytes(destination.b, 16, sum)
    return slirp_sum_bytes(tail, 8, sum)


# -- for tests ---------------------------------------------------------------------------------------------------------

def _sum_bytes(bytes data, size_t offset=0, u32 start=0):
    """sum_bytes of data[offset:], read where it lies, so that every alignment can be tried."""
    if offset > <size_t>len(data):
        raise ValueError("offset behind the data")
    return sum_bytes(<const u8 *>data + offset, len(data) - offset, start)


def _sum_copy(bytes data, size_t offset=0, u32 start=0):
    """(copy, sum) of data[offset:]."""
    if offset > <size_t>len(data):
        raise ValueError("offset behind the data")
    cdef bytearray copy = bytearray(b"\xaa" * (len(data) - offset + 1))
    cdef u32 total = sum_copy(<u8 *>copy, <const u8 *>data + offset, len(data) - offset, start)
    if copy.pop() != 0xaa:
        raise AssertionError("sum_copy wrote past the end")
    return bytes(copy), total


def _sum_odd(u32 partial):
    return sum_odd(partial)


def _sum_add(u32 one, u32 other):
    return sum_add(one, other)


def _sum_fold(u32 partial):
    return sum_fold(partial)


def _sum_store(u32 partial):
    cdef u8 field[2]
    sum_store(field, partial)
    return bytes(field[:2])


def _sum_is_good(u32 partial):
    return sum_is_good(partial)


def _sum_pseudo(bytes source, bytes destination, u8 protocol, u32 length):
    """sum_pseudo of two addresses of 16 bytes."""
    cdef Addr one, other
    if len(source) != 16 or len(destination) != 16:
        raise ValueError("an engine address has 16 bytes")
    memcpy(one.b, <const u8 *>source, 16)
    memcpy(other.b, <const u8 *>destination, 16)
    return sum_pseudo(&one, &other, protocol, length)
