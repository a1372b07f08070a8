"""The one place where an errno becomes an ICMP code, and where error messages are limited."""

cimport cython
from libc.errno cimport EACCES, EHOSTDOWN, EHOSTUNREACH, EMSGSIZE, EPERM, ENOPROTOOPT, ECONNREFUSED
from libc.string cimport memcpy

from pyslirp.engine.base.endian cimport store16, store32
from pyslirp.engine.base.header.icmpv6 cimport (
    ADDRESS_UNREACHABLE, BEYOND_SCOPE, ICMPV6_ECHO, ICMPV6_PARAMETER_PROBLEM, ICMPV6_TIME_EXCEEDED, ICMPV6_TOO_BIG,
    ICMPV6_UNREACHABLE, NO_ROUTE, POLICY_FAILED, PORT_UNREACHABLE6, PROBLEM_NEXT_HEADER, PROHIBITED6, REJECT_ROUTE)
from pyslirp.engine.base.ints cimport Addr, addr_is4, i32, ns_t, u8, u32
from pyslirp.engine.codecs.build cimport build_ip, build_udp
from pyslirp.engine.codecs.parse cimport PROTO_ICMP, PROTO_ICMPV6, PROTO_UDP
from pyslirp.engine.stores.checksum cimport sum_bytes
from pyslirp.engine.tables.flow cimport FlowKey, flow_key_set

cdef enum:
    SECOND = 1000000000
    QUOTED_WORDS = 8            # bytes that every quote has behind the IP header (RFC 792)


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


cdef u8 _code_to_v6(u8 code) noexcept nogil:
    if code == UNREACHABLE_PORT:
        return PORT_UNREACHABLE6
    if code == UNREACHABLE_PROHIBITED:
        return PROHIBITED6
    if code == UNREACHABLE_NET:
        return NO_ROUTE
    if code == UNREACHABLE_ISOLATED:
        return BEYOND_SCOPE
    if code == UNREACHABLE_HOST_PROHIBITED:
        return POLICY_FAILED
    return REJECT_ROUTE if code == UNREACHABLE_NET_PROHIBITED else ADDRESS_UNREACHABLE


cdef bint icmp_to_v6(u8 *kind, u8 *code) noexcept nogil:
    if kind[0] == ICMP_TIME_EXCEEDED:
        kind[0] = ICMPV6_TIME_EXCEEDED
        return True
    if kind[0] != ICMP_UNREACHABLE:
        return False                            # a parameter problem is of the other family's header
    if code[0] == UNREACHABLE_TOO_BIG:
        kind[0] = ICMPV6_TOO_BIG
        code[0] = 0
    elif code[0] == UNREACHABLE_PROTOCOL:
        kind[0] = ICMPV6_PARAMETER_PROBLEM
        code[0] = PROBLEM_NEXT_HEADER
    else:
        kind[0] = ICMPV6_UNREACHABLE
        code[0] = _code_to_v6(code[0])
    return True


cdef u8 _code_from_v6(u8 code) noexcept nogil:
    if code == PORT_UNREACHABLE6:
        return UNREACHABLE_PORT
    if code == PROHIBITED6:
        return UNREACHABLE_PROHIBITED
    if code == NO_ROUTE:
        return UNREACHABLE_NET
    if code == BEYOND_SCOPE:
        return UNREACHABLE_ISOLATED
    if code == POLICY_FAILED:
        return UNREACHABLE_HOST_PROHIBITED
    return UNREACHABLE_NET_PROHIBITED if code == REJECT_ROUTE else UNREACHABLE_HOST


cdef bint icmp_from_v6(u8 *kind, u8 *code) noexcept nogil:
    if kind[0] == ICMPV6_TIME_EXCEEDED:
        kind[0] = ICMP_TIME_EXCEEDED
    elif kind[0] == ICMPV6_TOO_BIG:
        kind[0] = ICMP_UNREACHABLE
        code[0] = UNREACHABLE_TOO_BIG
    elif kind[0] == ICMPV6_UNREACHABLE:
        kind[0] = ICMP_UNREACHABLE
        code[0] = _code_from_v6(code[0])
    elif kind[0] == ICMPV6_PARAMETER_PROBLEM and code[0] == PROBLEM_NEXT_HEADER:
        kind[0] = ICMP_UNREACHABLE
        code[0] = UNREACHABLE_PROTOCOL
    else:
        return False
    return True


cdef u32 icmp_quote(u8 *at, u32 room, const FlowKey *key, const Quoted *q) noexcept nogil:
    cdef bint v4 = addr_is4(&key.guest), echo = key.protocol == PROTO_ICMP
    cdef u8 *l4 = at + build_ip(at, &key.guest, &key.far, <u8>PROTO_ICMPV6 if echo and not v4 else key.protocol, q.ttl, 0, 0,
                                q.bytes)
    cdef u32 head = <u32>(l4 - at) + QUOTED_WORDS, rest = min(q.rest_bytes, room - head)
    if echo:
        l4[0] = <u8>ICMP_ECHO if v4 else <u8>ICMPV6_ECHO
        l4[1] = 0
        store16(l4 + 2, 0)
        store32(l4 + 4, q.word)
    elif key.protocol == PROTO_UDP and q.word == 0:
        build_udp(l4, &key.guest, &key.far, key.guest_port, key.far_port, q.rest_bytes, sum_bytes(q.rest, q.rest_bytes, 0))
    else:
        store16(l4, key.guest_port)
        store16(l4 + 2, key.far_port)
        store32(l4 + 4, q.word)
    if rest:
        memcpy(l4 + QUOTED_WORDS, q.rest, rest)
    return head + rest


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Limit:
    """An ErrorLimit."""

    cdef ErrorLimit limit

    def allowed(self, ns_t now):
        return icmp_error_allowed(&self.limit, now)


def _code_of_errno(i32 error):
    return icmp_code_of_errno(error)


def _to_v6(u8 kind, u8 code):
    """(type, code), or None."""
    return (kind, code) if icmp_to_v6(&kind, &code) else None


def _from_v6(u8 kind, u8 code):
    return (kind, code) if icmp_from_v6(&kind, &code) else None


def _quote(tuple name not None, u8 ttl, u32 length, u32 word, bytes rest not None=b"", u32 room=64):
    """`name` as in tables/flow.pyx's _Table; length: of what was behind the IP header; room: 48 to 2048."""
    cdef FlowKey key
    cdef Quoted q = Quoted(ttl, length, word, <const u8 *>rest, <u32>len(rest))
    cdef Addr guest
    cdef Addr far
    cdef u8[2048] out
    protocol, one, guest_port, other, far_port = name
    if len(one) != 16 or len(other) != 16:
        raise ValueError("an engine address has 16 bytes")
    memcpy(guest.b, <const u8 *><bytes>one, 16)
    memcpy(far.b, <const u8 *><bytes>other, 16)
    if not 48 <= room <= sizeof(out):
        raise ValueError(f"no room of {room} bytes")
    flow_key_set(&key, protocol, &guest, guest_port, &far, far_port)
    return out[:icmp_quote(out, room, &key, &q)]
