"""Neighbour Discovery (RFC 4861): solicitations answered, neighbours learned, routers' solicitations handed up."""

from pyslirp.engine.base.ints cimport u8, u32
from pyslirp.engine.base.status cimport Status
from pyslirp.engine.codecs.parse cimport Packet
from pyslirp.engine.core.world cimport World

cdef bint discovery_is(u8 icmp_type) noexcept nogil                          # one of its five messages?
cdef Status discovery_input(World *w, const Packet *p, u32 port) noexcept nogil      # of one that parse_transport has read
