"""One pass from the Ethernet frame to the transport header.

Every read is behind span_at, which is the only place where an offset is compared with what is really there: a header is
asked for as a whole, once, and read by its named offsets.  What a length field says is believed only after it was found
to lie within what came; from there on the packet is that long, and padding behind it does not exist.

Nothing is copied: a Packet points into the frame, for as long as the batch lasts.  Each function sets the fields that
parse.pxd lists under its name and no other; `checksum_good` is the link's to set, before parse_transport.

Refusals are the Status to be counted.  RFC 1122 section 3.2.1 lists what a host must discard without a word.
"""

from libc.string cimport memset

from pyslirp.engine.base.endian cimport load16, load32
from pyslirp.engine.base.header.ethernet cimport *
from pyslirp.engine.base.header.icmp cimport *
from pyslirp.engine.base.header.icmpv6 cimport ICMPV6_ECHO, ICMPV6_ECHO_REPLY, PROBLEM_NEXT_HEADER
from pyslirp.engine.base.header.ipv4 cimport *
from pyslirp.engine.base.header.ipv6_extension cimport EXTENSION_NONE
from pyslirp.engine.base.header.tcp cimport *
from pyslirp.engine.base.header.udp cimport *
from pyslirp.engine.base.ints cimport addr_from4, i32, u8, u16, u32
from pyslirp.engine.base.span cimport Span, span_at, span_cut
from pyslirp.engine.base.status cimport *
from pyslirp.engine.codecs.parse_ipv6 cimport parse_ipv6_at
from pyslirp.engine.stores.checksum cimport sum_bytes, sum_is_good, sum_pseudo


cdef Status parse_ethernet(Packet *p, const u8 *frame, u32 length) noexcept nogil:
    cdef Span span = Span(frame, length)
    cdef const u8 *header = span_at(&span, 0, ETH_BYTES)
    if header == NULL:
        return ETH_SHORT
    p.frame = frame
    p.frame_bytes = length
    p.destination_mac = header + ETH_AT_DESTINATION
    p.source_mac = header + ETH_AT_SOURCE
    p.ethertype = load16(header + ETH_AT_TYPE)
    return OK


cdef Status parse_ip(Packet *p) noexcept nogil:
    if p.ethertype == ETHERTYPE_IPV6:
        return parse_ipv6_at(p, p.frame + ETH_BYTES, p.frame_bytes - ETH_BYTES)
    if p.ethertype != ETHERTYPE_IPV4:
        return ETH_UNKNOWN_TYPE
    return _parse_ipv4_at(p, p.frame + ETH_BYTES, p.frame_bytes - ETH_BYTES)


cdef Status parse_ip_at(Packet *p, const u8 *l3, u32 length) noexcept nogil:
    cdef Span span = Span(l3, length)
    cdef const u8 *version = span_at(&span, 0, 1)
    if version != NULL and version[0] >> 4 == 6:
        return parse_ipv6_at(p, l3, length)
    return _parse_ipv4_at(p, l3, length)


cdef Status _parse_ipv4_at(Packet *p, const u8 *l3, u32 length) noexcept nogil:
    cdef Span span = Span(l3, length)
    cdef const u8 *header = span_at(&span, 0, IPV4_BYTES)
    cdef u32 header_bytes, total
    cdef u16 fragment
    if header == NULL:
        return IPV4_SHORT
    if header[IPV4_AT_VERSION_IHL] >> 4 != 4:
        return IPV4_BAD_VERSION
    header_bytes = (header[IPV4_AT_VERSION_IHL] & 0x0f) * 4
    if header_bytes < IPV4_BYTES or span_at(&span, 0, header_bytes) == NULL:
        return IPV4_BAD_HEADER_LENGTH
    total = load16(header + IPV4_AT_TOTAL_LENGTH)
    if total < header_bytes or not span_cut(&span, 0, total):
        return IPV4_BAD_TOTAL_LENGTH
    # Also where the link vouches for checksums: virtio-net means the transport's, never this one.
    if not sum_is_good(sum_bytes(header, header_bytes, 0)):
        return IPV4_BAD_CHECKSUM
    p.v6 = False
    p.problem = -1
    p.l3 = l3
    p.l3_bytes = total
    p.l3_header = header_bytes
    p.tos = header[IPV4_AT_TOS]
    p.ttl = header[IPV4_AT_TTL]
    p.protocol = header[IPV4_AT_PROTOCOL]
    p.identification = load16(header + IPV4_AT_IDENTIFICATION)
    fragment = load16(header + IPV4_AT_FRAGMENT)
    p.dont_fragment = (fragment & IPV4_DONT_FRAGMENT) != 0
    p.more_fragments = (fragment & IPV4_MORE_FRAGMENTS) != 0
    p.fragment_offset = (fragment & IPV4_OFFSET_MASK) * <u32>IPV4_FRAGMENT_UNIT
    p.fragment = p.more_fragments or p.fragment_offset != 0
    addr_from4(&p.source, header + IPV4_AT_SOURCE)
    addr_from4(&p.destination, header + IPV4_AT_DESTINATION)
    if not _may_send(load32(header + IPV4_AT_SOURCE)):
        return IPV4_BAD_SOURCE
    if not _may_be_sent_to(load32(header + IPV4_AT_DESTINATION)):
        return IPV4_BAD_DESTINATION
    return _check_options(&span, header_bytes)


cdef Status parse_transport(Packet *p) noexcept nogil:
    cdef Span span = Span(p.l3, p.l3_bytes)
    if p.fragment or not span_cut(&span, p.l3_header, p.l3_bytes - p.l3_header):
        return FRAGMENT_MALFORMED               # a fragment has no transport header that could be believed
    p.l4 = span.data
    p.l4_bytes = <u32>span.length
    if p.protocol == PROTO_TCP:
        return _parse_tcp(p, &span)
    if p.protocol == PROTO_UDP:
        return _parse_udp(p, &span)
    if p.protocol == (PROTO_ICMPV6 if p.v6 else PROTO_ICMP):
        return _parse_icmp(p, &span)
    if not p.v6:
        return IPV4_UNKNOWN_PROTOCOL
    if p.protocol != EXTENSION_NONE:            # "no next header" is nothing to complain of (RFC 8200 section 4.7)
        p.problem = PROBLEM_NEXT_HEADER
        p.problem_at = p.named_at
    return IPV6_UNKNOWN_HEADER


# -- IPv4 --------------------------------------------------------------------------------------------------------------

cdef inline bint _may_send(u32 address) noexcept nogil:
    """RFC 1122 section 3.2.1.3: no multicast, no broadcast, no loopback; of 0/8 only 0.0.0.0, which DHCP needs."""
    if address >> 24 == 0:
        return address == 0
    return address >> 24 != 127 and address >> 28 != 0xe and address != <u32>0xffffffff


cdef inline bint _may_be_sent_to(u32 address) noexcept nogil:
    return address >> 24 != 0 and address >> 24 != 127


cdef Status _check_options(const Span *span, u32 header_bytes) noexcept nogil:
    """Options are skipped, but they must be whole, and a guest does not choose the route (RFC 7126 section 4)."""
    cdef u32 at = IPV4_BYTES
    cdef const u8 *option
    while at < header_bytes:
        option = span_at(span, at, 1)
        if option[0] == IPV4_OPTION_END:
            break
        if option[0] == IPV4_OPTION_NOP:
            at += 1
            continue
        if at + 2 > header_bytes:
            return IPV4_BAD_HEADER_LENGTH
        option = span_at(span, at, 2)
        if option[0] == IPV4_OPTION_LSRR or option[0] == IPV4_OPTION_SSRR:
            return IPV4_SOURCE_ROUTE
        if option[1] < 2 or option[1] > header_bytes - at:
            return IPV4_BAD_HEADER_LENGTH
        at += option[1]
    return OK


# -- transport ---------------------------------------------------------------------------------------------------------

cdef inline bint _sum_is_good(const Packet *p) noexcept nogil:
    """Over pseudo-header and all of l4, unless the link has vouched for it."""
    if p.checksum_good:
        return True
    return sum_is_good(sum_bytes(p.l4, p.l4_bytes, sum_pseudo(&p.source, &p.destination, p.protocol, p.l4_bytes)))


cdef Status _parse_udp(Packet *p, Span *span) noexcept nogil:
    cdef const u8 *header = span_at(span, 0, UDP_BYTES)
    cdef u32 length
    if header == NULL:
        return UDP_SHORT
    length = load16(header + UDP_AT_LENGTH)
    if length < UDP_BYTES or not span_cut(span, 0, length):
        return UDP_BAD_LENGTH
    p.l4_bytes = length
    p.source_port = load16(header + UDP_AT_SOURCE_PORT)
    p.destination_port = load16(header + UDP_AT_DESTINATION_PORT)
    p.payload = header + UDP_BYTES
    p.payload_bytes = length - UDP_BYTES
    # RFC 768 lets the source port be 0 where no reply is wanted; libslirp crashed on it (CVE-2014-3640), and a flow
    # that nothing can come back to is not worth a socket.
    if p.source_port == 0 or p.destination_port == 0:
        return UDP_PORT_ZERO
    # Without a checksum nothing would protect IPv6's addresses, so there it is not optional (RFC 8200 section 8.1).
    if load16(header + UDP_AT_CHECKSUM) == 0 and not p.checksum_good:
        return UDP_BAD_CHECKSUM if p.v6 else OK
    return OK if _sum_is_good(p) else UDP_BAD_CHECKSUM


cdef Status _parse_tcp(Packet *p, const Span *span) noexcept nogil:
    cdef const u8 *header = span_at(span, 0, TCP_BYTES)
    cdef u32 header_bytes
    if header == NULL:
        return TCP_SHORT
    header_bytes = (header[TCP_AT_DATA_OFFSET] >> 4) * 4
    if header_bytes < TCP_BYTES or span_at(span, 0, header_bytes) == NULL:
        return TCP_BAD_OFFSET
    p.source_port = load16(header + TCP_AT_SOURCE_PORT)
    p.destination_port = load16(header + TCP_AT_DESTINATION_PORT)
    p.seq = load32(header + TCP_AT_SEQ)
    p.ack = load32(header + TCP_AT_ACK)
    p.tcp_flags = header[TCP_AT_FLAGS]
    p.window = load16(header + TCP_AT_WINDOW)
    p.urgent = load16(header + TCP_AT_URGENT)
    p.options = header + TCP_AT_OPTIONS
    p.option_bytes = header_bytes - TCP_BYTES
    p.payload = header + header_bytes
    p.payload_bytes = p.l4_bytes - header_bytes
    if p.source_port == 0 or p.destination_port == 0:
        return TCP_PORT_ZERO
    if not _sum_is_good(p):
        return TCP_BAD_CHECKSUM
    return OK


cdef inline bint _is_echo(const Packet *p) noexcept nogil:
    if p.v6:
        return p.icmp_type == ICMPV6_ECHO or p.icmp_type == ICMPV6_ECHO_REPLY
    return p.icmp_type == ICMP_ECHO or p.icmp_type == ICMP_ECHO_REPLY


cdef Status _parse_icmp(Packet *p, const Span *span) noexcept nogil:
    cdef const u8 *header = span_at(span, 0, ICMP_BYTES)
    if header == NULL:
        return ICMP_SHORT
    p.icmp_type = header[ICMP_AT_TYPE]
    p.icmp_code = header[ICMP_AT_CODE]
    p.source_port = 0
    p.destination_port = 0
    if _is_echo(p):
        p.source_port = load16(header + ICMP_AT_IDENTIFIER)
        p.destination_port = load16(header + ICMP_AT_SEQUENCE)
    p.payload = header + ICMP_BYTES
    p.payload_bytes = p.l4_bytes - ICMP_BYTES
    if p.v6:                                    # with a pseudo-header (RFC 4443 section 2.3), as TCP and UDP have it
        return OK if _sum_is_good(p) else ICMP_BAD_CHECKSUM
    # No pseudo-header in ICMP for IPv4 (RFC 792); no link offload covers it either.
    return OK if sum_is_good(sum_bytes(p.l4, p.l4_bytes, 0)) else ICMP_BAD_CHECKSUM


# -- for tests ---------------------------------------------------------------------------------------------------------

def _parse(bytes frame, bint checksum_good=False, bint from_ip=False):
    """(status, fields) of a frame, or with from_ip of a datagram, taken as far as it goes.

    The last stage reached is "ethernet", "ip" or "transport"; fields are those that the stages passed have set.
    """
    cdef Packet p
    cdef Status status
    memset(&p, 0xee, sizeof(p))                 # what a stage fails to set shows
    p.checksum_good = checksum_good
    if from_ip:
        status = parse_ip_at(&p, <const u8 *>frame, len(frame))
    else:
        status = parse_ethernet(&p, <const u8 *>frame, len(frame))
        if status != OK:
            return <int>status, {"stage": "ethernet"}
        status = parse_ip(&p)
    fields = {} if from_ip else {
        "destination_mac": p.destination_mac[:MAC_BYTES], "source_mac": p.source_mac[:MAC_BYTES],
        "ethertype": p.ethertype}
    if status != OK:
        if p.problem not in (-1, <i32>0xeeeeeeee):
            fields |= {"problem": (p.problem, p.problem_at)}
        return <int>status, fields | {"stage": "ip"}
    fields |= {
        "header_bytes": p.l3_header, "ttl": p.ttl, "tos": p.tos, "protocol": p.protocol, "fragment": bool(p.fragment),
        "fragment_offset": p.fragment_offset, "more_fragments": bool(p.more_fragments),
        "dont_fragment": bool(p.dont_fragment), "identification": p.identification, "source": bytes(p.source.b[:16]),
        "destination": bytes(p.destination.b[:16]), "l3": p.l3[:p.l3_bytes]}
    if p.fragment:
        return <int>status, fields | {"stage": "ip"}
    status = parse_transport(&p)
    if p.problem >= 0:
        fields |= {"problem": (p.problem, p.problem_at)}
    return <int>status, fields | (_transport_fields(&p) if status == OK else {}) | {"stage": "transport"}


cdef dict _transport_fields(const Packet *p):
    fields = {"l4": p.l4[:p.l4_bytes], "payload": p.payload[:p.payload_bytes], "source_port": p.source_port,
              "destination_port": p.destination_port}
    if p.protocol == PROTO_TCP:
        fields |= {"seq": p.seq, "ack": p.ack, "window": p.window, "urgent": p.urgent, "flags": p.tcp_flags,
                   "options": p.options[:p.option_bytes]}
    elif p.protocol in (PROTO_ICMP, PROTO_ICMPV6):
        fields |= {"type": p.icmp_type, "code": p.icmp_code}
    return fields


def _parse_fragment_as_transport(bytes datagram):
    """The status of parse_transport for a fragment, which nobody should ask it for."""
    cdef Packet p
    if parse_ip_at(&p, <const u8 *>datagram, len(datagram)) != OK or not p.fragment:
        raise ValueError("not a fragment")
    return <int>parse_transport(&p)
