"""The IPv6 header and its chain of extension headers (RFC 8200)."""

from pyslirp.engine.base.ints cimport u8, u32
from pyslirp.engine.base.status cimport Status
from pyslirp.engine.codecs.packet cimport Packet

cdef enum:
    IPV6_EXTENSIONS_MAX = 8         # extension headers of one packet (RFC 8504 section 5.3 lets a host set limits)
    IPV6_HEADERS_MAX = 512          # bytes of all headers together in front of the transport's

# As parse_ip: OK up to the transport header or, where `fragment` is set, up to what only reassembly may look behind.
cdef Status parse_ipv6_at(Packet *p, const u8 *l3, u32 length) noexcept nogil
