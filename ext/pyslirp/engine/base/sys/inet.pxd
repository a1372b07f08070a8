"""<netinet/in.h>: addresses and options of ip(7) and ipv6(7)."""

from pyslirp.engine.base.ints cimport u8, u16, u32
from pyslirp.engine.base.sys.socket cimport sa_family_t

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_ICMP
        IPPROTO_ICMPV6
        IPPROTO_IP
        IPPROTO_IPV6
        IPPROTO_TCP
        IPPROTO_UDP
        IPV6_PKTINFO
        IPV6_RECVERR
        IPV6_RECVPKTINFO
        IPV6_TCLASS
        IPV6_UNICAST_HOPS
        IP_BIND_ADDRESS_NO_PORT
        IP_PKTINFO
        IP_RECVERR
        IP_TOS
        IP_TTL
    struct in_addr:
        u32 s_addr
    struct in6_addr:
        u8 s6_addr[16]
    struct sockaddr_in:
        sa_family_t sin_family
        u16 sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        sa_family_t sin6_family
        u16 sin6_port
        u32 sin6_flowinfo
        in6_addr sin6_addr
        u32 sin6_scope_id
    struct in_pktinfo:
        int ipi_ifindex
        in_addr ipi_spec_dst
        in_addr ipi_addr
    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex
