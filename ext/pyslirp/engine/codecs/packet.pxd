"""What is known of a frame once it has been read.  Whoever holds a Packet may read all it points at."""

from pyslirp.engine.base.ints cimport Addr, i32, u8, u16, u32
from pyslirp.engine.codecs.offload cimport Offload

cdef enum:
    ETHERTYPE_IPV4 = 0x0800
    ETHERTYPE_ARP = 0x0806
    ETHERTYPE_IPV6 = 0x86dd
    PROTO_ICMP = 1
    PROTO_TCP = 6
    PROTO_UDP = 17
    PROTO_ICMPV6 = 58
    ETH_HEADER = 14
    TCP_FIN = 0x01
    TCP_SYN = 0x02
    TCP_RST = 0x04
    TCP_PSH = 0x08
    TCP_ACK = 0x10
    TCP_URG = 0x20
    TCP_ECE = 0x40
    TCP_CWR = 0x80

cdef struct Packet:
    # Ethernet; set by parse_ethernet
    const u8 *frame             # the whole frame, borrowed until the end of the batch
    u32 frame_bytes
    const u8 *destination_mac
    const u8 *source_mac
    u16 ethertype
    # IP; set by parse_ip
    bint v6
    const u8 *l3                # IP header
    u32 l3_bytes                # header and payload, as the total length says (frame padding cut off)
    u32 l3_header               # bytes of the IP header with options or extension headers
    u8 ttl                      # TTL or hop limit
    u8 tos                      # TOS or traffic class
    u8 protocol
    bint fragment               # more fragments or an offset: only reassembly may look behind the IP header
    u32 fragment_offset         # bytes
    bint more_fragments
    bint dont_fragment
    u32 identification
    u32 unfragmented            # IPv6 fragment: bytes in front of its Fragment header, which every fragment repeats
    u32 fragment_named_at       # IPv6 fragment: offset of the next-header byte that announces the Fragment header
    i32 problem                 # IPv6, of a packet that is refused: code of the parameter problem to report; -1: none
    u32 problem_at              # offset of what is wrong
    u32 named_at                # IPv6: offset of the next-header byte that names `protocol`
    Addr source
    Addr destination
    # transport; set by parse_transport
    const u8 *l4
    u32 l4_bytes
    const u8 *payload
    u32 payload_bytes
    u16 source_port             # ICMP echo: the identifier
    u16 destination_port        # ICMP echo: the sequence number
    # TCP
    u32 seq
    u32 ack
    u16 window                  # as sent, not scaled
    u16 urgent
    u8 tcp_flags
    const u8 *options
    u32 option_bytes
    # ICMP
    u8 icmp_type
    u8 icmp_code
    # said by a link whose other end vouches for it (virtio-net NEEDS_CSUM or DATA_VALID): sums are not checked again
    bint checksum_good
    const Offload *offload      # all that the link has said; NULL: nothing
