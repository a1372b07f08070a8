"""UDP and ICMP echo flows, and the mappings whose host sockets they share (RFC 4787: endpoint-independent mapping)."""

from pyslirp.engine.base.ints cimport Addr, i64, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.codecs.parse cimport Packet
from pyslirp.engine.core.world cimport World
from pyslirp.engine.tables.flow cimport Flow

cdef void datagram_input(World *w, const Packet *p, u32 port) noexcept nogil               # of UDP, or an ICMP echo request
cdef void datagram_expire(World *w, Flow *flow) noexcept nogil
# Verdicts.
cdef void datagram_deny(World *w, Flow *flow, int how) noexcept nogil
cdef void datagram_serve(World *w, Flow *flow, u64 tag) noexcept nogil
cdef void datagram_allow(World *w, Flow *flow, Flow *mapping, const Addr *host, u16 port, u64 tag) noexcept nogil
cdef Flow *mapping_of(World *w, const Flow *flow) noexcept nogil                           # the guest's mapping, or NULL: open a socket and mapping_add
cdef Flow *mapping_add(World *w, const Flow *flow, void *socket) noexcept nogil            # NULL: table full
cdef Flow *listener_add(World *w, const Addr *guest, u16 guest_port, void *socket) noexcept nogil    # of a UDP forwarding rule
cdef void mapping_remove(World *w, Flow *mapping) noexcept nogil                           # with all its flows
cdef void datagram_close(World *w, Flow *flow, i64 reason) noexcept nogil                  # end a conversation, and its mapping with the last one
# From the edge: datagrams (ICMP: messages) that came in by a mapping's socket one after the other, a piece each; local: to which
# address of the host, or NULL where the socket has but one, or none is told.
cdef void datagrams_from_host(World *w, Flow *mapping, const Addr *source, u16 source_port, const Addr *local, const Piece *pieces,
                              int count) noexcept nogil
# From the edge: an error of the socket's error queue about a datagram to `to`:`port` (of an echo request: its sequence number);
# offender NULL where unknown.  data: what is left of what was sent, of an echo request behind its ICMP header.
cdef void datagram_error(World *w, Flow *mapping, const Addr *to, u16 port, const Addr *offender, u8 icmp_type, u8 icmp_code, u32 info,
                         const u8 *data, u32 length) noexcept nogil
# From a handler; of an echo flow a whole ICMP message, as it was handed up.
cdef bint datagram_reply(World *w, Flow *flow, const u8 *data, u32 length) noexcept nogil
