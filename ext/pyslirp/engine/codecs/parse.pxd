"""One pass from the Ethernet frame to the transport header (codecs/packet.pxd says what comes of it)."""

from pyslirp.engine.base.ints cimport u8, u32
from pyslirp.engine.base.status cimport Status
from pyslirp.engine.codecs.packet cimport (
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETH_HEADER, PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP, Packet,
    TCP_ACK, TCP_CWR, TCP_ECE, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG)

cdef Status parse_ethernet(Packet *p, const u8 *frame, u32 length) noexcept nogil
cdef Status parse_ip(Packet *p) noexcept nogil                   # IP header(s), IPv4's checksum, addresses, fragment fields
cdef Status parse_ip_at(Packet *p, const u8 *l3, u32 length) noexcept nogil   # the same for a datagram of either version
cdef Status parse_transport(Packet *p) noexcept nogil            # TCP, UDP or ICMP(v6), its checksum too; no fragments
