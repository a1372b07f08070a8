"""SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"), as in Linux, Rust and CPython's tables.

One round a word and three at the end: enough for a table whose keys come from a guest that never sees a hash.
"""

from libc.string cimport memcpy

from pyslirp.engine.base.ints cimport u8, u64


cdef inline u64 _rotate(u64 value, int bits) noexcept nogil:
    return (value << bits) | (value >> (64 - bits))


cdef inline void _round(u64 *v) noexcept nogil:
    v[0] += v[1]
    v[1] = _rotate(v[1], 13) ^ v[0]
    v[0] = _rotate(v[0], 32)
    v[2] += v[3]
    v[3] = _rotate(v[3], 16) ^ v[2]
    v[0] += v[3]
    v[3] = _rotate(v[3], 21) ^ v[0]
    v[2] += v[1]
    v[1] = _rotate(v[1], 17) ^ v[2]
    v[2] = _rotate(v[2], 32)


cdef u64 siphash(const u8 *data, size_t length, const u64 *key) noexcept nogil:
    cdef u64 v[4]
    cdef u64 word
    cdef size_t left = length
    v[0] = key[0] ^ <u64>0x736f6d6570736575
    v[1] = key[1] ^ <u64>0x646f72616e646f6d
    v[2] = key[0] ^ <u64>0x6c7967656e657261
    v[3] = key[1] ^ <u64>0x7465646279746573
    while left >= 8:
        memcpy(&word, data, 8)
        v[3] ^= word
        _round(v)
        v[0] ^= word
        data += 8
        left -= 8
    word = 0
    if left:
        memcpy(&word, data, left)
    word |= <u64>(length & 0xff) << 56
    v[3] ^= word
    _round(v)
    v[0] ^= word
    v[2] ^= 0xff
    _round(v)
    _round(v)
    _round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


# -- for tests ---------------------------------------------------------------------------------------------------------

def _siphash(bytes data, u64 key0, u64 key1):
    cdef u64 key[2]
    key[0] = key0
    key[1] = key1
    return siphash(<const u8 *>data, len(data), key)
