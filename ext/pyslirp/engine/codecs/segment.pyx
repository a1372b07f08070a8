"""Segmentation in software: what a network card does with a super-frame (Linux: tcp_gso_segment, inet_gso_segment).

Every segment has the super-frame's headers, but: its own lengths, sequence number and checksums; IPv4's identification
counts up (RFC 6864 would let it stay, DF is set, but receivers that merge want it so); FIN and PSH are only in the last
(RFC 9293 3.1: they belong to the last byte), CWR only in the first (RFC 3168 section 6.1.2).

Datagrams in one (USO, Linux: __udp_gso_segment) differ in their lengths and checksums alone.
"""

from libc.string cimport memcpy

from pyslirp.engine.base.endian cimport load16, load32, store16, store32
from pyslirp.engine.base.header.ethernet cimport ETH_AT_TYPE, ETH_BYTES
from pyslirp.engine.base.header.ipv4 cimport (
    IPV4_AT_CHECKSUM, IPV4_AT_DESTINATION, IPV4_AT_IDENTIFICATION, IPV4_AT_PROTOCOL, IPV4_AT_SOURCE,
    IPV4_AT_TOTAL_LENGTH, IPV4_AT_VERSION_IHL, IPV4_BYTES)
from pyslirp.engine.base.header.ipv6 cimport (
    IPV6_AT_DESTINATION, IPV6_AT_PAYLOAD_LENGTH, IPV6_AT_SOURCE, IPV6_BYTES)
from pyslirp.engine.base.header.tcp cimport (
    TCP_AT_CHECKSUM, TCP_AT_DATA_OFFSET, TCP_AT_FLAGS, TCP_AT_SEQ, TCP_BYTES)
from pyslirp.engine.base.header.udp cimport UDP_AT_CHECKSUM, UDP_AT_LENGTH, UDP_BYTES
from pyslirp.engine.base.ints cimport Addr, addr_from4, addr_from6, u8, u16, u32
from pyslirp.engine.codecs.offload cimport GSO_TCP4, GSO_TCP6, GSO_UDP, Offload, offload_none
from pyslirp.engine.codecs.parse cimport (
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, PROTO_TCP, PROTO_UDP, TCP_CWR, TCP_FIN, TCP_PSH)
from pyslirp.engine.stores.checksum cimport sum_bytes, sum_fold, sum_pseudo, sum_store


cdef inline bint _has_ip(const Segmenter *s, u32 length) noexcept nogil:
    """Is there an IP header of the right version in front of the transport's, and does its length end in the frame?"""
    cdef const u8 *l3 = s.frame + ETH_BYTES
    cdef u16 ethertype = load16(s.frame + ETH_AT_TYPE)
    if s.v4:
        return (ethertype == ETHERTYPE_IPV4 and s.l4 >= ETH_BYTES + IPV4_BYTES
                and l3[IPV4_AT_PROTOCOL] == (PROTO_UDP if s.udp else PROTO_TCP)
                and (l3[IPV4_AT_VERSION_IHL] & 0x0f) * <u32>4 == s.l4 - ETH_BYTES
                and ETH_BYTES + <u32>load16(l3 + IPV4_AT_TOTAL_LENGTH) <= length)
    return (ethertype == ETHERTYPE_IPV6 and s.l4 >= ETH_BYTES + IPV6_BYTES
            and ETH_BYTES + IPV6_BYTES + <u32>load16(l3 + IPV6_AT_PAYLOAD_LENGTH) <= length)


cdef bint segment_begin(Segmenter *s, const u8 *frame, u32 length, const Offload *o) noexcept nogil:
    s.udp = o.gso == GSO_UDP
    if (o.gso not in (GSO_TCP4, GSO_TCP6, GSO_UDP) or o.gso_bytes == 0 or length < ETH_BYTES + IPV4_BYTES
            or o.sum_from + (<u32>UDP_BYTES if s.udp else <u32>TCP_BYTES) > length):
        return False
    s.frame = frame
    s.l4 = o.sum_from
    s.v4 = o.gso == GSO_TCP4 or (s.udp and load16(frame + ETH_AT_TYPE) == ETHERTYPE_IPV4)
    s.gso_bytes = o.gso_bytes
    s.at = 0
    s.count = 0
    if not _has_ip(s, length):
        return False
    s.frame_bytes = ETH_BYTES + (<u32>load16(frame + ETH_BYTES + IPV4_AT_TOTAL_LENGTH) if s.v4
                                 else IPV6_BYTES + <u32>load16(frame + ETH_BYTES + IPV6_AT_PAYLOAD_LENGTH))
    if s.udp:
        s.header_bytes = s.l4 + UDP_BYTES
    else:
        s.header_bytes = s.l4 + (frame[s.l4 + TCP_AT_DATA_OFFSET] >> 4) * <u32>4
    return s.header_bytes >= s.l4 + (<u32>UDP_BYTES if s.udp else <u32>TCP_BYTES) and s.header_bytes < s.frame_bytes


cdef void _finish_ip(const Segmenter *s, u8 *l3, u32 length) noexcept nogil:
    """Lengths and IPv4's own checksum."""
    cdef u32 header = s.l4 - ETH_BYTES
    if not s.v4:
        store16(l3 + IPV6_AT_PAYLOAD_LENGTH, <u16>(length - ETH_BYTES - IPV6_BYTES))
        return
    store16(l3 + IPV4_AT_TOTAL_LENGTH, <u16>(length - ETH_BYTES))
    store16(l3 + IPV4_AT_IDENTIFICATION, <u16>(load16(l3 + IPV4_AT_IDENTIFICATION) + s.count))
    store16(l3 + IPV4_AT_CHECKSUM, 0)
    sum_store(l3 + IPV4_AT_CHECKSUM, sum_bytes(l3, header, 0))


cdef u32 _pseudo(const Segmenter *s, const u8 *l3, u32 l4_bytes) noexcept nogil:
    """The sum of the pseudo-header."""
    cdef Addr source
    cdef Addr destination
    if s.v4:
        addr_from4(&source, l3 + IPV4_AT_SOURCE)
        addr_from4(&destination, l3 + IPV4_AT_DESTINATION)
    else:
        addr_from6(&source, l3 + IPV6_AT_SOURCE)
        addr_from6(&destination, l3 + IPV6_AT_DESTINATION)
    return sum_pseudo(&source, &destination, PROTO_UDP if s.udp else PROTO_TCP, l4_bytes)


cdef void _finish_tcp(const Segmenter *s, const u8 *l3, u8 *l4, u32 l4_bytes, bint last) noexcept nogil:
    store32(l4 + TCP_AT_SEQ, load32(l4 + TCP_AT_SEQ) + s.at)
    if not last:
        l4[TCP_AT_FLAGS] &= ~<u8>(TCP_FIN | TCP_PSH)
    if s.count:
        l4[TCP_AT_FLAGS] &= ~<u8>TCP_CWR
    store16(l4 + TCP_AT_CHECKSUM, 0)
    sum_store(l4 + TCP_AT_CHECKSUM, sum_bytes(l4, l4_bytes, _pseudo(s, l3, l4_bytes)))


cdef void _finish_udp(const Segmenter *s, const u8 *l3, u8 *l4, u32 l4_bytes) noexcept nogil:
    cdef u32 total
    store16(l4 + UDP_AT_LENGTH, <u16>l4_bytes)
    store16(l4 + UDP_AT_CHECKSUM, 0)
    total = sum_bytes(l4, l4_bytes, _pseudo(s, l3, l4_bytes))
    if sum_fold(total) == 0xffff:               # 0 would say that there is none (RFC 768)
        store16(l4 + UDP_AT_CHECKSUM, 0xffff)
    else:
        sum_store(l4 + UDP_AT_CHECKSUM, total)


cdef u32 segment_next(Segmenter *s, u8 *at) noexcept nogil:
    cdef u32 payload = s.frame_bytes - s.header_bytes, part = min(s.gso_bytes, payload - s.at)
    cdef u8 *l4 = at + s.l4
    if s.at >= payload:
        return 0
    memcpy(at, s.frame, s.header_bytes)
    memcpy(at + s.header_bytes, s.frame + s.header_bytes + s.at, part)
    _finish_ip(s, at + ETH_BYTES, s.header_bytes + part)
    if s.udp:
        _finish_udp(s, at + ETH_BYTES, l4, s.header_bytes - s.l4 + part)
    else:
        _finish_tcp(s, at + ETH_BYTES, l4, s.header_bytes - s.l4 + part, s.at + part == payload)
    s.at += part
    s.count += 1
    return s.header_bytes + part


# -- for tests ---------------------------------------------------------------------------------------------------------

def _segments(bytes frame, int gso, u32 gso_bytes, u32 sum_from):
    """The segments of a super-frame, or None where it is none."""
    cdef Segmenter s
    cdef Offload o
    cdef bytearray room
    cdef u32 length
    cdef list out = []
    offload_none(&o)
    o.partial = True
    o.gso = <u8>gso
    o.gso_bytes = gso_bytes
    o.sum_from = sum_from
    o.sum_at = sum_from + (UDP_AT_CHECKSUM if gso == GSO_UDP else TCP_AT_CHECKSUM)
    if not segment_begin(&s, <const u8 *>frame, len(frame), &o):
        return None
    while True:
        room = bytearray(b"\xee" * segment_room(&s))
        length = segment_next(&s, <u8 *>room)
        if length == 0:
            return out
        out.append(bytes(room[:length]))
