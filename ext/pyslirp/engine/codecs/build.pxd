"""Write headers in front of, and frames around, what is sent to a guest.  The caller has reserved the room."""

from pyslirp.engine.base.ints cimport Addr, u8, u16, u32

cdef enum:
    IPV4_HEADER = 20
    IPV6_HEADER = 40
    UDP_HEADER = 8
    TCP_HEADER = 20
    ICMP_HEADER = 8
    ICMPV6_HEADER = 4           # what every message begins with: type, code, checksum
    FRAGMENT6_HEADER = 8
    NEIGHBOR_MESSAGE = 32        # build_neighbor's
    ETH_MIN = 60                # shortest frame without FCS (IEEE 802.3); shorter ones are padded with zeros

cdef u32 build_ethernet(u8 *at, const u8 *destination, const u8 *source, u16 ethertype) noexcept nogil      # returns 14
# IPv4 header without options, checksum made.  fragment_offset in bytes (a multiple of 8).  Returns 20.
cdef u32 build_ipv4(u8 *at, const Addr *source, const Addr *destination, u8 protocol, u8 ttl, u8 tos,
                    u16 identification, u32 payload_bytes, u32 fragment_offset, bint more,
                    bint dont_fragment) noexcept nogil
# IPv4 or IPv6 header by the addresses' family, not fragmented, DF set where IPv4.  Returns 20 or 40.
cdef u32 build_ip(u8 *at, const Addr *source, const Addr *destination, u8 protocol, u8 ttl, u8 tos, u16 identification,
                  u32 payload_bytes) noexcept nogil
# UDP header with checksum over header and payload; payload_sum is sum_bytes of the payload.  Returns 8.
cdef u32 build_udp(u8 *at, const Addr *source, const Addr *destination, u16 source_port, u16 destination_port,
                   u32 payload_bytes, u32 payload_sum) noexcept nogil
# TCP header; options (a multiple of 4 bytes) are copied behind it; payload_sum as above.  Returns 20 + option_bytes.
cdef u32 build_tcp(u8 *at, const Addr *source, const Addr *destination, u16 source_port, u16 destination_port, u32 seq,
                   u32 ack, u8 flags, u16 window, u16 urgent, const u8 *options, u32 option_bytes, u32 payload_bytes,
                   u32 payload_sum) noexcept nogil
# The sum of the pseudo-header alone, where a checksum is left to the link (codecs/offload.pxd).  length: of header and
# payload.
cdef void build_partial_sum(u8 *field, const Addr *source, const Addr *destination, u8 protocol,
                            u32 length) noexcept nogil
# ICMP(v4): type, code, rest-of-header word, checksum over all; the payload already lies at `at` + 8.
# Returns 8 + payload_bytes.
cdef u32 build_icmp(u8 *at, u8 kind, u8 code, u32 rest, u32 payload_bytes) noexcept nogil
# ICMPv6: type, code, checksum with a pseudo-header over them and `length` bytes of body, whose sum is body_sum.  Returns 4.
cdef u32 build_icmpv6(u8 *at, const Addr *source, const Addr *destination, u8 kind, u8 code, u32 length,
                      u32 body_sum) noexcept nogil
# A neighbour solicitation or advertisement with one link-layer address option (RFC 4861 section 4.3), whole.  Returns 32.
cdef u32 build_neighbor(u8 *at, const Addr *source, const Addr *destination, u8 kind, u8 flags, const Addr *target,
                        u8 option, const u8 *mac) noexcept nogil
# IPv6 Fragment header; offset in bytes (a multiple of 8).  Returns 8.
cdef u32 build_fragment6(u8 *at, u8 protocol, u32 offset, bint more, u32 identification) noexcept nogil
# ARP for IPv4 over Ethernet (RFC 826), 28 bytes.
cdef u32 build_arp(u8 *at, u16 operation, const u8 *sender_mac, const Addr *sender, const u8 *target_mac,
                   const Addr *target) noexcept nogil
# Pads a frame of `length` bytes at `at` to ETH_MIN with zeros; returns its length then.
cdef u32 build_padding(u8 *at, u32 length) noexcept nogil
