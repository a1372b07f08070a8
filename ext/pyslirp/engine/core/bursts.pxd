"""Datagrams on their way to the host, those of a flow together."""

from pyslirp.engine.base.ints cimport u8, u32
from pyslirp.engine.core.world cimport World
from pyslirp.engine.tables.flow cimport Flow

# Say to the guest that this datagram (of a ping: the ICMP message) did not get through.
cdef void datagram_refuse(World *w, Flow *flow, u8 code, const u8 *data, u32 length) noexcept nogil
cdef void datagram_send(World *w, Flow *flow, const u8 *data, u32 length, u8 ttl, u8 tos) noexcept nogil       # now
cdef void datagram_gather(World *w, Flow *flow, const u8 *data, u32 length, u8 ttl, u8 tos) noexcept nogil     # with those yet to come
cdef void datagrams_flush(World *w) noexcept nogil                                                             # what has been gathered, while its frames are there
