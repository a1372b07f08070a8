"""Reads what an ICMP error quotes.  Everything in it may be made up; whoever uses it holds it against what he has sent."""

from libc.string cimport memset

from pyslirp.engine.base.endian cimport load16, load32
from pyslirp.engine.base.header.ipv4 cimport *
from pyslirp.engine.base.header.ipv6 cimport *
from pyslirp.engine.base.ints cimport addr_from4, addr_from6, u8, u32
from pyslirp.engine.base.span cimport Span, span_at

cdef enum:
    TRANSPORT_BYTES = 8         # RFC 792: the first 64 bits behind the IP header


cdef u32 _ipv4(Quote *q, const Span *span) noexcept nogil:
    """The bytes of its IPv4 header; 0: refused."""
    cdef const u8 *header = span_at(span, 0, IPV4_BYTES)
    cdef u32 header_bytes
    if header == NULL:
        return 0
    header_bytes = (header[IPV4_AT_VERSION_IHL] & 0x0f) * 4
    if header_bytes < IPV4_BYTES or load16(header + IPV4_AT_FRAGMENT) & IPV4_OFFSET_MASK:
        return 0
    q.protocol = header[IPV4_AT_PROTOCOL]
    q.packet_bytes = load16(header + IPV4_AT_TOTAL_LENGTH)
    addr_from4(&q.source, header + IPV4_AT_SOURCE)
    addr_from4(&q.destination, header + IPV4_AT_DESTINATION)
    return header_bytes


cdef u32 _ipv6(Quote *q, const Span *span) noexcept nogil:
    cdef const u8 *header = span_at(span, 0, IPV6_BYTES)
    if header == NULL:
        return 0
    q.protocol = header[IPV6_AT_NEXT_HEADER]
    q.packet_bytes = IPV6_BYTES + load16(header + IPV6_AT_PAYLOAD_LENGTH)
    addr_from6(&q.source, header + IPV6_AT_SOURCE)
    addr_from6(&q.destination, header + IPV6_AT_DESTINATION)
    return IPV6_BYTES


cdef bint quote_parse(Quote *q, const u8 *data, u32 length) noexcept nogil:
    cdef Span span = Span(data, length)
    cdef const u8 *at = span_at(&span, 0, 1)
    cdef u32 header_bytes = 0
    memset(q, 0, sizeof(Quote))
    if at == NULL:
        return False
    if at[0] >> 4 == 4:
        header_bytes = _ipv4(q, &span)
    elif at[0] >> 4 == 6:
        header_bytes = _ipv6(q, &span)
    at = span_at(&span, header_bytes, TRANSPORT_BYTES)
    if header_bytes == 0 or at == NULL:
        return False
    q.source_port = load16(at)
    q.destination_port = load16(at + 2)
    q.word = load32(at + 4)
    return True


# -- for tests ---------------------------------------------------------------------------------------------------------

def _quote_parse(bytes data not None):
    """The fields of a quote as a dict, or None where it is refused."""
    cdef Quote q
    if not quote_parse(&q, data, <u32>len(data)):
        return None
    return {"protocol": q.protocol, "source": (<const char *>q.source.b)[:16], "destination": (<const char *>q.destination.b)[:16],
            "source_port": q.source_port, "destination_port": q.destination_port, "word": q.word,
            "packet_bytes": q.packet_bytes}
