"""The one place where an errno becomes an ICMP code, and where error messages are limited."""

cimport cython
from libc.errno cimport EACCES, EHOSTDOWN, EHOSTUNREACH, EMSGSIZE, EPERM, ENOPROTOOPT, ECONNREFUSED
from libc.string cimport memcpy

from pyslirp.engine.base.endian cimport store16, store32
from pyslirp.engine.base.ints cimport Addr, i32, ns_t, u8, u32
from pyslirp.engine.codecs.build cimport IPV4_HEADER, build_ipv4
from pyslirp.engine.codecs.parse cimport PROTO_ICMP
from pyslirp.engine.tables.flow cimport FlowKey, flow_key_set

cdef enum:
    SECOND = 1000000000


cdef bint icmp_error_allowed(ErrorLimit *limit, ns_t now) noexcept nogil:
    if now - limit.since >= SECOND:
        limit.since = now
        limit.sent = 0
    if limit.sent >= ICMP_ERROR_RATE:
        return False
    limit.sent += 1
    return True


cdef u8 icmp_code_of_errno(i32 error) noexcept nogil:
    if error == ECONNREFUSED:
        return UNREACHABLE_PORT
    if error == EHOSTUNREACH or error == EHOSTDOWN:
        return UNREACHABLE_HOST
    if error == EPERM or error == EACCES:
        return UNREACHABLE_PROHIBITED
    if error == ENOPROTOOPT:
        return UNREACHABLE_PROTOCOL
    if error == EMSGSIZE:
        return UNREACHABLE_TOO_BIG
    return UNREACHABLE_NET


cdef u32 icmp_quote(u8 *at, const FlowKey *key, u8 ttl, u32 payload_bytes, u32 word) noexcept nogil:
    build_ipv4(at, &key.guest, &key.far, key.protocol, ttl, 0, 0, payload_bytes, 0, False, True)
    if key.protocol == PROTO_ICMP:
        at[IPV4_HEADER] = 8
        at[IPV4_HEADER + 1] = 0
        store16(at + IPV4_HEADER + 2, 0)
    else:
        store16(at + IPV4_HEADER, key.guest_port)
        store16(at + IPV4_HEADER + 2, key.far_port)
    store32(at + IPV4_HEADER + 4, word)
    return IPV4_HEADER + 8


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Limit:
    """An ErrorLimit."""

    cdef ErrorLimit limit

    def allowed(self, ns_t now):
        return icmp_error_allowed(&self.limit, now)


def _code_of_errno(i32 error):
    return icmp_code_of_errno(error)


def _quote(tuple name not None, u8 ttl, u32 payload_bytes, u32 word):
    """`name` as in tables/flow.pyx's _Table."""
    cdef FlowKey key
    cdef Addr guest
    cdef Addr far
    cdef u8[64] out
    protocol, one, guest_port, other, far_port = name
    if len(one) != 16 or len(other) != 16:
        raise ValueError("an engine address has 16 bytes")
    memcpy(guest.b, <const u8 *><bytes>one, 16)
    memcpy(far.b, <const u8 *><bytes>other, 16)
    flow_key_set(&key, protocol, &guest, guest_port, &far, far_port)
    return out[:icmp_quote(out, &key, ttl, payload_bytes, word)]
