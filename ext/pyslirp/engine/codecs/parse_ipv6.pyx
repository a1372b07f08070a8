"""The IPv6 header and its chain of extension headers (RFC 8200), as the node that a packet is for reads them.

The chain is walked once, in order, at most IPV6_EXTENSIONS_MAX headers and IPV6_HEADERS_MAX bytes:

    hop-by-hop options      only directly behind the IPv6 header; else a parameter problem, code 1
    destination options     options as below
    routing                 with segments left 0 skipped, whatever its type; else a parameter problem, code 0: nobody is
                            routed through here (RFC 5095 has taken the one type that once did it away)
    fragment                once.  One that is the whole datagram is gone through like any other header (RFC 6946), also
                            where fragments of that identification are waiting.  The first of several must have the
                            whole chain up to and with the transport header (RFC 7112); of the others only their place
                            is known
    anything else           is the transport, or what parse_transport refuses

An option that is not known is skipped, or the packet dropped with or without a parameter problem, as the option's two
highest bits say (section 4.2).

Addresses.  What the engine's tables would take for an IPv4 address (::ffff:0:0/96) or what never is on a wire (::1) is
refused as source and destination; `::` may send, as in duplicate address detection, and the caller knows what.
"""

from pyslirp.engine.base.endian cimport load16, load32
from pyslirp.engine.base.header.icmp cimport ICMP_BYTES
from pyslirp.engine.base.header.icmpv6 cimport (
    PROBLEM_FIELD, PROBLEM_FIRST_FRAGMENT, PROBLEM_NEXT_HEADER, PROBLEM_OPTION)
from pyslirp.engine.base.header.ipv6 cimport *
from pyslirp.engine.base.header.ipv6_extension cimport *
from pyslirp.engine.base.header.tcp cimport TCP_BYTES
from pyslirp.engine.base.header.udp cimport UDP_BYTES
from pyslirp.engine.base.ints cimport Addr, addr_from6, i32, u8, u16, u32
from pyslirp.engine.base.span cimport Span, span_at, span_cut
from pyslirp.engine.base.status cimport (
    IPV6_BAD_DESTINATION, IPV6_BAD_EXTENSION, IPV6_BAD_LENGTH, IPV6_BAD_OPTION, IPV6_BAD_SOURCE, IPV6_BAD_VERSION,
    IPV6_SHORT, IPV6_SOURCE_ROUTE, OK, Status)
from pyslirp.engine.codecs.packet cimport PROTO_ICMPV6, PROTO_TCP, PROTO_UDP, Packet


cdef Status parse_ipv6_at(Packet *p, const u8 *l3, u32 length) noexcept nogil:
    cdef Span span = Span(l3, length)
    cdef const u8 *header = span_at(&span, 0, IPV6_BYTES)
    cdef u32 total
    p.v6 = True
    p.problem = -1
    p.protocol = EXTENSION_NONE
    if header == NULL:
        return IPV6_SHORT
    if header[IPV6_AT_CLASS_AND_LABEL] >> 4 != 6:
        return IPV6_BAD_VERSION
    total = IPV6_BYTES + <u32>load16(header + IPV6_AT_PAYLOAD_LENGTH)
    if not span_cut(&span, 0, total):
        return IPV6_BAD_LENGTH
    p.l3 = l3
    p.l3_bytes = total
    p.tos = <u8>(load16(header + IPV6_AT_CLASS_AND_LABEL) >> 4)
    p.ttl = header[IPV6_AT_HOP_LIMIT]
    p.fragment = False
    p.fragment_offset = 0
    p.more_fragments = False
    p.dont_fragment = True                      # routers never do
    p.identification = 0
    p.unfragmented = 0
    p.fragment_named_at = 0
    p.problem_at = 0
    addr_from6(&p.source, header + IPV6_AT_SOURCE)
    addr_from6(&p.destination, header + IPV6_AT_DESTINATION)
    if not _may_send(&p.source):
        return IPV6_BAD_SOURCE
    if _is_special(&p.destination):
        return IPV6_BAD_DESTINATION
    return _walk(p, &span, header[IPV6_AT_NEXT_HEADER])


cdef inline bint _is_special(const Addr *address) noexcept nogil:
    """`::`, `::1` and IPv4 addresses written as IPv6 ones, mapped (::ffff:0:0/96) or compatible (::/96)."""
    return (address.q[0] == 0 and address.b[8] == 0 and address.b[9] == 0
            and ((address.b[10] == 0 and address.b[11] == 0) or (address.b[10] == 0xff and address.b[11] == 0xff)))


cdef inline bint _may_send(const Addr *address) noexcept nogil:
    if address.q[0] == 0 and address.q[1] == 0:
        return True
    return address.b[0] != 0xff and not _is_special(address)


# -- the chain ---------------------------------------------------------------------------------------------------------

cdef inline Status _problem(Packet *p, Status status, i32 code, u32 at) noexcept nogil:
    p.problem = code
    p.problem_at = at
    return status


cdef Status _walk(Packet *p, const Span *span, u8 kind) noexcept nogil:
    cdef u32 at = IPV6_BYTES, named_at = IPV6_AT_NEXT_HEADER, size, count = 0
    cdef const u8 *header
    cdef Status status
    cdef bint had_fragment = False
    p.l3_header = 0
    while kind in (EXTENSION_HOP_BY_HOP, EXTENSION_ROUTING, EXTENSION_FRAGMENT, EXTENSION_DESTINATION):
        if kind == EXTENSION_HOP_BY_HOP and at != IPV6_BYTES:
            return _problem(p, IPV6_BAD_EXTENSION, PROBLEM_NEXT_HEADER, named_at)
        count += 1
        header = span_at(span, at, EXTENSION_UNIT)
        if header == NULL or count > IPV6_EXTENSIONS_MAX:
            return _cut_off(p)
        size = FRAGMENT6_BYTES
        if kind == EXTENSION_FRAGMENT:
            if had_fragment:
                return IPV6_BAD_EXTENSION
            had_fragment = True
            _fragment(p, header, at, named_at)
            if p.fragment_offset:
                p.named_at = at
                p.protocol = header[FRAGMENT6_AT_NEXT_HEADER]
                return OK
        else:
            size = (header[EXTENSION_AT_LENGTH] + <u32>1) * EXTENSION_UNIT
            if at + size > IPV6_HEADERS_MAX or span_at(span, at, size) == NULL:
                return _cut_off(p)
            status = _routing(p, header, at) if kind == EXTENSION_ROUTING else _options(p, span, at, at + size)
            if status != OK:
                return status
        kind = header[EXTENSION_AT_NEXT_HEADER]
        named_at = at
        at += size
    p.named_at = named_at
    if not p.fragment:
        p.protocol = kind
        p.l3_header = at
    elif span_at(span, at, _shortest(kind)) == NULL:
        return _cut_off(p)
    return OK


cdef inline u32 _shortest(u8 protocol) noexcept nogil:
    """Bytes of a transport header without options."""
    if protocol == PROTO_TCP:
        return TCP_BYTES
    if protocol == PROTO_UDP:
        return UDP_BYTES
    return ICMP_BYTES if protocol == PROTO_ICMPV6 else 0


cdef inline Status _cut_off(Packet *p) noexcept nogil:
    if p.fragment:
        return _problem(p, IPV6_BAD_EXTENSION, PROBLEM_FIRST_FRAGMENT, 0)
    return IPV6_BAD_EXTENSION


cdef void _fragment(Packet *p, const u8 *header, u32 at, u32 named_at) noexcept nogil:
    cdef u16 place = load16(header + FRAGMENT6_AT_OFFSET)
    p.identification = load32(header + FRAGMENT6_AT_IDENTIFICATION)
    p.fragment_offset = place & FRAGMENT6_OFFSET_MASK
    p.more_fragments = (place & FRAGMENT6_MORE) != 0
    p.fragment = p.more_fragments or p.fragment_offset != 0
    if p.fragment:
        p.protocol = header[FRAGMENT6_AT_NEXT_HEADER]
        p.unfragmented = at
        p.fragment_named_at = named_at
        p.l3_header = at + FRAGMENT6_BYTES


cdef inline Status _routing(Packet *p, const u8 *header, u32 at) noexcept nogil:
    if header[ROUTING_AT_SEGMENTS_LEFT] == 0:
        return OK
    return _problem(p, IPV6_SOURCE_ROUTE, PROBLEM_FIELD, at + ROUTING_AT_TYPE)


cdef Status _options(Packet *p, const Span *span, u32 start, u32 end) noexcept nogil:
    """The options of the header at [start, end), which the span holds."""
    cdef u32 at = start + EXTENSION_AT_OPTIONS
    cdef const u8 *option
    cdef u8 action
    while at < end:
        option = span_at(span, at, 1)
        if option[0] == OPTION6_PAD1:
            at += 1
            continue
        if at + 2 > end:
            return IPV6_BAD_EXTENSION
        option = span_at(span, at, 2)
        if option[1] > end - at - 2:
            return IPV6_BAD_EXTENSION
        if option[0] not in (OPTION6_PADN, OPTION6_ROUTER_ALERT):
            action = option[0] & OPTION6_ACTION
            if action == OPTION6_REPORT or (action == OPTION6_REPORT_UNICAST and p.destination.b[0] != 0xff):
                return _problem(p, IPV6_BAD_OPTION, PROBLEM_OPTION, at)
            if action != OPTION6_SKIP:
                return IPV6_BAD_OPTION
        at += 2 + <u32>option[1]
    return OK
