"""Fixed-width names, and the 16-byte address that every table of the engine uses."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

ctypedef uint8_t u8
ctypedef uint16_t u16
ctypedef uint32_t u32
ctypedef uint64_t u64
ctypedef int32_t i32
ctypedef int64_t i64
ctypedef int64_t ns_t           # nanoseconds on the caller's monotonic clock; also a duration

cdef enum:
    NEVER_HIGH = 0x7fffffff     # upper half of NS_NEVER

cdef inline ns_t ns_never() noexcept nogil:
    """A deadline that does not come."""
    return <ns_t>0x7fffffffffffffff


# An IP address: IPv6 as it is, IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), bytes in network order.
cdef union Addr:
    u8 b[16]
    u32 w[4]
    u64 q[2]


cdef inline bint addr_eq(const Addr *one, const Addr *other) noexcept nogil:
    return one.q[0] == other.q[0] and one.q[1] == other.q[1]


cdef inline bint addr_is4(const Addr *address) noexcept nogil:
    return address.q[0] == 0 and address.b[8] == 0 and address.b[9] == 0 and address.b[10] == 0xff and address.b[11] == 0xff


cdef inline void addr_from4(Addr *address, const u8 *four) noexcept nogil:
    address.q[0] = 0
    address.q[1] = 0
    address.b[10] = 0xff
    address.b[11] = 0xff
    memcpy(&address.b[12], four, 4)


cdef inline void addr_from6(Addr *address, const u8 *sixteen) noexcept nogil:
    memcpy(address.b, sixteen, 16)


cdef inline bint mac_is_group(const u8 *mac) noexcept nogil:
    """Broadcast or multicast: the I/G bit of IEEE 802."""
    return mac[0] & 1
