"""The inline leaves of base/, callable from Python: base has no module of its own, and its tests need a door.

Nothing but tests/unit/engine/base uses it; tests/unit/engine/stores/test_leaves.py sees to it that no leaf is missing.
"""

from libc.string cimport memcpy

from pyslirp.engine.base.debug cimport SLIRP_DEBUG, slirp_assert
from pyslirp.engine.base.endian cimport load16, load32, store16, store32
from pyslirp.engine.base.ints cimport (
    Addr, addr_eq, addr_from4, addr_from6, addr_is4, mac_is_group, ns_never, u8, u16, u32, u64,
)
from pyslirp.engine.base.seq cimport seq_ge, seq_gt, seq_le, seq_lt, seq_max, seq_wide
from pyslirp.engine.base.span cimport Span, span_at, span_cut


# -- endian ------------------------------------------------------------------------------------------------------------

cdef const u8 *_at(bytes data, size_t offset, size_t length) except NULL:
    if offset > <size_t>len(data) or length > len(data) - offset:
        raise IndexError(offset)
    return <const u8 *>data + offset


def _load16(bytes data, size_t offset=0):
    return load16(_at(data, offset, 2))


def _load32(bytes data, size_t offset=0):
    return load32(_at(data, offset, 4))


def _store16(u16 value):
    cdef u8 out[2]
    store16(out, value)
    return bytes(out[:2])


def _store32(u32 value):
    cdef u8 out[4]
    store32(out, value)
    return bytes(out[:4])


# -- debug -------------------------------------------------------------------------------------------------------------

def _slirp_assert(bint condition):
    """Whether assertions are on; the process ends where they are and `condition` is not."""
    slirp_assert(condition)
    return bool(SLIRP_DEBUG)


# -- ints --------------------------------------------------------------------------------------------------------------

cdef Addr _addr(bytes raw) except *:
    cdef Addr address
    memcpy(address.b, _at(raw, 0, 16), 16)
    return address


def _addr_eq(bytes one, bytes other):
    cdef Addr a = _addr(one), b = _addr(other)
    return addr_eq(&a, &b)


def _addr_is4(bytes raw):
    cdef Addr address = _addr(raw)
    return addr_is4(&address)


def _addr_from4(bytes four):
    cdef Addr address
    addr_from4(&address, _at(four, 0, 4))
    return bytes(address.b[:16])


def _addr_from6(bytes sixteen):
    cdef Addr address
    addr_from6(&address, _at(sixteen, 0, 16))
    return bytes(address.b[:16])


def _mac_is_group(bytes mac):
    return mac_is_group(_at(mac, 0, 6))


def _ns_never():
    return ns_never()


# -- seq ---------------------------------------------------------------------------------------------------------------

def _seq_lt(u32 a, u32 b):
    return seq_lt(a, b)


def _seq_le(u32 a, u32 b):
    return seq_le(a, b)


def _seq_gt(u32 a, u32 b):
    return seq_gt(a, b)


def _seq_ge(u32 a, u32 b):
    return seq_ge(a, b)


def _seq_max(u32 a, u32 b):
    return seq_max(a, b)


def _seq_wide(u64 near, u32 seq):
    return seq_wide(near, seq)


# -- span --------------------------------------------------------------------------------------------------------------

def _span_at(bytes data, size_t offset, size_t length):
    """The `length` bytes at `offset`, or None where they are not all there."""
    cdef Span span = Span(<const u8 *>data, len(data))
    cdef const u8 *found = span_at(&span, offset, length)
    return None if found == NULL else found[:length]


def _span_cut(bytes data, size_t offset, size_t length):
    """What the span holds after the cut, or None where nothing was changed."""
    cdef Span span = Span(<const u8 *>data, len(data))
    if not span_cut(&span, offset, length):
        if span.data != <const u8 *>data or span.length != <size_t>len(data):
            raise AssertionError("span_cut refused and changed the span")
        return None
    return span.data[:span.length]
