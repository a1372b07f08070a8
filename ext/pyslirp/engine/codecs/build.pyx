"""Write headers in front of, and frames around, what is sent to a guest.

The caller has reserved the room and writes inside out or outside in, as it likes: no function here reads a byte that
another has written, but build_icmp, whose checksum covers the payload behind it.
"""

from libc.string cimport memcpy, memset

from pyslirp.engine.base.endian cimport store16, store32
from pyslirp.engine.base.header.arp cimport *
from pyslirp.engine.base.header.ethernet cimport *
from pyslirp.engine.base.header.icmp cimport *
from pyslirp.engine.base.header.icmpv6 cimport (
    ND_AT_FLAGS, ND_AT_TARGET, ND_BYTES, ND_OPTION_AT_KIND, ND_OPTION_AT_LENGTH, ND_OPTION_AT_VALUE)
from pyslirp.engine.base.header.ipv4 cimport *
from pyslirp.engine.base.header.ipv6 cimport *
from pyslirp.engine.base.header.ipv6_extension cimport (
    FRAGMENT6_AT_IDENTIFICATION, FRAGMENT6_AT_NEXT_HEADER, FRAGMENT6_AT_OFFSET, FRAGMENT6_BYTES, FRAGMENT6_MORE)
from pyslirp.engine.base.header.tcp cimport *
from pyslirp.engine.base.header.udp cimport *
from pyslirp.engine.base.ints cimport Addr, addr_is4, u8, u16, u32
from pyslirp.engine.codecs.parse cimport ETHERTYPE_IPV4, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP
from pyslirp.engine.stores.checksum cimport sum_add, sum_bytes, sum_fold, sum_pseudo, sum_store


cdef u32 build_ethernet(u8 *at, const u8 *destination, const u8 *source, u16 ethertype) noexcept nogil:
    memcpy(at + ETH_AT_DESTINATION, destination, MAC_BYTES)
    memcpy(at + ETH_AT_SOURCE, source, MAC_BYTES)
    store16(at + ETH_AT_TYPE, ethertype)
    return ETH_BYTES


cdef u32 build_ipv4(u8 *at, const Addr *source, const Addr *destination, u8 protocol, u8 ttl, u8 tos,
                    u16 identification, u32 payload_bytes, u32 fragment_offset, bint more,
                    bint dont_fragment) noexcept nogil:
    cdef u16 fragment = <u16>(fragment_offset // IPV4_FRAGMENT_UNIT)
    if more:
        fragment |= IPV4_MORE_FRAGMENTS
    if dont_fragment:
        fragment |= IPV4_DONT_FRAGMENT
    at[IPV4_AT_VERSION_IHL] = 4 << 4 | IPV4_BYTES // 4
    at[IPV4_AT_TOS] = tos
    store16(at + IPV4_AT_TOTAL_LENGTH, <u16>(IPV4_BYTES + payload_bytes))
    store16(at + IPV4_AT_IDENTIFICATION, identification)
    store16(at + IPV4_AT_FRAGMENT, fragment)
    at[IPV4_AT_TTL] = ttl
    at[IPV4_AT_PROTOCOL] = protocol
    store16(at + IPV4_AT_CHECKSUM, 0)
    memcpy(at + IPV4_AT_SOURCE, &source.b[12], 4)
    memcpy(at + IPV4_AT_DESTINATION, &destination.b[12], 4)
    sum_store(at + IPV4_AT_CHECKSUM, sum_bytes(at, IPV4_BYTES, 0))
    return IPV4_BYTES


cdef u32 build_ip(u8 *at, const Addr *source, const Addr *destination, u8 protocol, u8 ttl, u8 tos, u16 identification,
                  u32 payload_bytes) noexcept nogil:
    if addr_is4(source) and addr_is4(destination):
        return build_ipv4(at, source, destination, protocol, ttl, tos, identification, payload_bytes, 0, False, True)
    store32(at + IPV6_AT_CLASS_AND_LABEL, <u32>6 << 28 | <u32>tos << 20)
    store16(at + IPV6_AT_PAYLOAD_LENGTH, <u16>payload_bytes)
    at[IPV6_AT_NEXT_HEADER] = protocol
    at[IPV6_AT_HOP_LIMIT] = ttl
    memcpy(at + IPV6_AT_SOURCE, source.b, 16)
    memcpy(at + IPV6_AT_DESTINATION, destination.b, 16)
    return IPV6_BYTES


cdef u32 build_udp(u8 *at, const Addr *source, const Addr *destination, u16 source_port, u16 destination_port,
                   u32 payload_bytes, u32 payload_sum) noexcept nogil:
    cdef u32 length = UDP_BYTES + payload_bytes, total
    store16(at + UDP_AT_SOURCE_PORT, source_port)
    store16(at + UDP_AT_DESTINATION_PORT, destination_port)
    store16(at + UDP_AT_LENGTH, <u16>length)
    store16(at + UDP_AT_CHECKSUM, 0)
    total = sum_bytes(at, UDP_BYTES, sum_pseudo(source, destination, PROTO_UDP, length))
    total = sum_add(total, payload_sum)
    # A checksum of 0 would say that there is none; its other spelling is all ones (RFC 768).
    if sum_fold(total) == 0xffff:
        store16(at + UDP_AT_CHECKSUM, 0xffff)
    else:
        sum_store(at + UDP_AT_CHECKSUM, total)
    return UDP_BYTES


cdef u32 build_tcp(u8 *at, const Addr *source, const Addr *destination, u16 source_port, u16 destination_port, u32 seq,
                   u32 ack, u8 flags, u16 window, u16 urgent, const u8 *options, u32 option_bytes, u32 payload_bytes,
                   u32 payload_sum) noexcept nogil:
    cdef u32 header_bytes = TCP_BYTES + option_bytes, total
    store16(at + TCP_AT_SOURCE_PORT, source_port)
    store16(at + TCP_AT_DESTINATION_PORT, destination_port)
    store32(at + TCP_AT_SEQ, seq)
    store32(at + TCP_AT_ACK, ack)
    at[TCP_AT_DATA_OFFSET] = <u8>(header_bytes // 4 << 4)
    at[TCP_AT_FLAGS] = flags
    store16(at + TCP_AT_WINDOW, window)
    store16(at + TCP_AT_CHECKSUM, 0)
    store16(at + TCP_AT_URGENT, urgent)
    if option_bytes:
        memcpy(at + TCP_AT_OPTIONS, options, option_bytes)
    total = sum_bytes(at, header_bytes, sum_pseudo(source, destination, PROTO_TCP, header_bytes + payload_bytes))
    sum_store(at + TCP_AT_CHECKSUM, sum_add(total, payload_sum))
    return header_bytes


cdef void build_partial_sum(u8 *field, const Addr *source, const Addr *destination, u8 protocol,
                            u32 length) noexcept nogil:
    cdef u16 folded = sum_fold(sum_pseudo(source, destination, protocol, length))
    memcpy(field, &folded, sizeof(u16))


cdef u32 build_icmp(u8 *at, u8 kind, u8 code, u32 rest, u32 payload_bytes) noexcept nogil:
    at[ICMP_AT_TYPE] = kind
    at[ICMP_AT_CODE] = code
    store16(at + ICMP_AT_CHECKSUM, 0)
    store32(at + ICMP_AT_REST, rest)
    sum_store(at + ICMP_AT_CHECKSUM, sum_bytes(at, ICMP_BYTES + payload_bytes, 0))
    return ICMP_BYTES + payload_bytes


cdef u32 build_icmpv6(u8 *at, const Addr *source, const Addr *destination, u8 kind, u8 code, u32 length,
                      u32 body_sum) noexcept nogil:
    cdef u32 total
    at[ICMP_AT_TYPE] = kind
    at[ICMP_AT_CODE] = code
    store16(at + ICMP_AT_CHECKSUM, 0)
    total = sum_bytes(at, ICMPV6_HEADER, sum_pseudo(source, destination, PROTO_ICMPV6, ICMPV6_HEADER + length))
    sum_store(at + ICMP_AT_CHECKSUM, sum_add(total, body_sum))
    return ICMPV6_HEADER


cdef u32 build_neighbor(u8 *at, const Addr *source, const Addr *destination, u8 kind, u8 flags, const Addr *target,
                        u8 option, const u8 *mac) noexcept nogil:
    cdef u32 length = NEIGHBOR_MESSAGE - ICMPV6_HEADER
    store32(at + ND_AT_FLAGS, <u32>flags << 24)
    memcpy(at + ND_AT_TARGET, target.b, 16)
    at[ND_BYTES + ND_OPTION_AT_KIND] = option
    at[ND_BYTES + ND_OPTION_AT_LENGTH] = 1
    memcpy(at + ND_BYTES + ND_OPTION_AT_VALUE, mac, MAC_BYTES)
    build_icmpv6(at, source, destination, kind, 0, length, sum_bytes(at + ICMPV6_HEADER, length, 0))
    return NEIGHBOR_MESSAGE


cdef u32 build_fragment6(u8 *at, u8 protocol, u32 offset, bint more, u32 identification) noexcept nogil:
    at[FRAGMENT6_AT_NEXT_HEADER] = protocol
    at[FRAGMENT6_AT_NEXT_HEADER + 1] = 0
    store16(at + FRAGMENT6_AT_OFFSET, <u16>(offset | (FRAGMENT6_MORE if more else 0)))
    store32(at + FRAGMENT6_AT_IDENTIFICATION, identification)
    return FRAGMENT6_BYTES


cdef u32 build_arp(u8 *at, u16 operation, const u8 *sender_mac, const Addr *sender, const u8 *target_mac,
                   const Addr *target) noexcept nogil:
    store16(at + ARP_AT_HARDWARE, ARP_HARDWARE_ETHERNET)
    store16(at + ARP_AT_PROTOCOL, ETHERTYPE_IPV4)
    at[ARP_AT_HARDWARE_BYTES] = MAC_BYTES
    at[ARP_AT_PROTOCOL_BYTES] = 4
    store16(at + ARP_AT_OPERATION, operation)
    memcpy(at + ARP_AT_SENDER_MAC, sender_mac, MAC_BYTES)
    memcpy(at + ARP_AT_SENDER, &sender.b[12], 4)
    memcpy(at + ARP_AT_TARGET_MAC, target_mac, MAC_BYTES)
    memcpy(at + ARP_AT_TARGET, &target.b[12], 4)
    return ARP_BYTES


cdef u32 build_padding(u8 *at, u32 length) noexcept nogil:
    if length >= ETH_MIN:
        return length
    memset(at + length, 0, ETH_MIN - length)
    return ETH_MIN


# -- for tests ---------------------------------------------------------------------------------------------------------
# Addresses are the engine's 16 bytes.  Every buffer is filled with 0xee before, so that a byte not written shows.

cdef Addr _addr(bytes raw) except *:
    cdef Addr address
    if len(raw) != 16:
        raise ValueError("an engine address has 16 bytes")
    memcpy(address.b, <const u8 *>raw, 16)
    return address


cdef bytearray _room(size_t length):
    return bytearray(b"\xee" * length)


def _ethernet(bytes destination, bytes source, u16 ethertype):
    cdef bytearray out = _room(ETH_BYTES)
    return bytes(out[:build_ethernet(<u8 *>out, <const u8 *>destination, <const u8 *>source, ethertype)])


def _ipv4(bytes source, bytes destination, u8 protocol, u8 ttl, u8 tos, u16 identification, u32 payload_bytes,
          u32 fragment_offset=0, bint more=False, bint dont_fragment=False):
    cdef bytearray out = _room(IPV4_BYTES)
    cdef Addr one = _addr(source), other = _addr(destination)
    return bytes(out[:build_ipv4(<u8 *>out, &one, &other, protocol, ttl, tos, identification, payload_bytes,
                                 fragment_offset, more, dont_fragment)])


def _ip(bytes source, bytes destination, u8 protocol, u8 ttl, u8 tos, u16 identification, u32 payload_bytes):
    cdef bytearray out = _room(IPV6_BYTES)
    cdef Addr one = _addr(source), other = _addr(destination)
    return bytes(out[:build_ip(<u8 *>out, &one, &other, protocol, ttl, tos, identification, payload_bytes)])


def _udp(bytes source, bytes destination, u16 source_port, u16 destination_port, bytes payload):
    cdef bytearray out = _room(UDP_BYTES)
    cdef Addr one = _addr(source), other = _addr(destination)
    return bytes(out[:build_udp(<u8 *>out, &one, &other, source_port, destination_port, len(payload),
                                sum_bytes(<const u8 *>payload, len(payload), 0))]) + payload


def _tcp(bytes source, bytes destination, u16 source_port, u16 destination_port, u32 seq, u32 ack, u8 flags, u16 window,
         u16 urgent, bytes options, bytes payload):
    cdef bytearray out = _room(TCP_BYTES_MAX)
    cdef Addr one = _addr(source), other = _addr(destination)
    if len(options) % 4 or len(options) > TCP_BYTES_MAX - TCP_BYTES:
        raise ValueError("options of up to 40 bytes, a multiple of four")
    return bytes(out[:build_tcp(<u8 *>out, &one, &other, source_port, destination_port, seq, ack, flags, window, urgent,
                                <const u8 *>options, len(options), len(payload),
                                sum_bytes(<const u8 *>payload, len(payload), 0))]) + payload


def _partial_sum(bytes source, bytes destination, u8 protocol, u32 length):
    cdef bytearray out = _room(2)
    cdef Addr one = _addr(source), other = _addr(destination)
    build_partial_sum(<u8 *>out, &one, &other, protocol, length)
    return bytes(out)


def _icmp(u8 kind, u8 code, u32 rest, bytes payload):
    cdef bytearray out = _room(ICMP_BYTES) + payload
    return bytes(out[:build_icmp(<u8 *>out, kind, code, rest, len(payload))])


def _icmpv6(bytes source, bytes destination, u8 kind, u8 code, bytes body):
    cdef bytearray out = _room(ICMPV6_HEADER)
    cdef Addr one = _addr(source), other = _addr(destination)
    return bytes(out[:build_icmpv6(<u8 *>out, &one, &other, kind, code, len(body),
                                   sum_bytes(<const u8 *>body, len(body), 0))]) + body


def _neighbor(bytes source, bytes destination, u8 kind, u8 flags, bytes target, u8 option, bytes mac):
    cdef bytearray out = _room(NEIGHBOR_MESSAGE)
    cdef Addr one = _addr(source), other = _addr(destination), third = _addr(target)
    return bytes(out[:build_neighbor(<u8 *>out, &one, &other, kind, flags, &third, option, <const u8 *>mac)])


def _fragment6(u8 protocol, u32 offset, bint more, u32 identification):
    cdef bytearray out = _room(FRAGMENT6_BYTES)
    return bytes(out[:build_fragment6(<u8 *>out, protocol, offset, more, identification)])


def _arp(u16 operation, bytes sender_mac, bytes sender, bytes target_mac, bytes target):
    cdef bytearray out = _room(ARP_BYTES)
    cdef Addr one = _addr(sender), other = _addr(target)
    return bytes(out[:build_arp(<u8 *>out, operation, <const u8 *>sender_mac, &one, <const u8 *>target_mac, &other)])


def _padding(bytes frame):
    cdef bytearray out = bytearray(frame) + _room(ETH_MIN)
    return bytes(out[:build_padding(<u8 *>out, len(frame))])
