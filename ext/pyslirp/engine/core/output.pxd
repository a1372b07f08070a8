"""From the core to a guest: next hop, headers, fragments; ARP requests and ICMP errors."""

from pyslirp.engine.base.ints cimport Addr, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.codecs.parse cimport Packet
from pyslirp.engine.core.world cimport World
from pyslirp.engine.protocols.icmp cimport Quoted
from pyslirp.engine.stores.chunks cimport ChunkPiece
from pyslirp.engine.tables.flow cimport FlowKey
from pyslirp.engine.tables.neighbor cimport Neighbor

cdef u8 *out_frame(World *w, u32 port, u32 length) noexcept nogil            # room for a frame on that port; NULL: full (counted by the caller)
cdef void out_commit(World *w, u32 port, const u8 *frame, u32 length) noexcept nogil
# The same for `length` bytes of a frame and, behind them, `behind` bytes in at most FRAME_PIECES pieces; not less than ETH_MIN in all.
cdef u8 *out_head(World *w, u32 port, u32 length, u32 behind) noexcept nogil
cdef void out_commit_pieces(World *w, u32 port, const u8 *frame, u32 length, const ChunkPiece *pieces, int number) noexcept nogil
cdef bint out_resolve(World *w, const Addr *to) noexcept nogil               # fills w.hop; False: asked, not known yet
cdef void out_arp_request(World *w, const Addr *target) noexcept nogil
cdef void out_solicit(World *w, const Addr *target, const u8 *mac) noexcept nogil            # NS (RFC 4861); mac NULL: to everybody
# NA for our address `target`, to the guest at `mac` or to the group `to`.
cdef bint out_advertise(World *w, u32 port, const u8 *mac, const Addr *to, u8 flags, const Addr *target) noexcept nogil
# Ask once more for the MAC address of a guest that does not answer; until it does, the one that is known holds.  (IPv6: RFC 4861
# section 7.3 asks of itself.)
cdef void out_doubt(World *w, const Addr *to) noexcept nogil
cdef void out_recheck(World *w, ns_t when) noexcept nogil                    # neighbors_check is wanted no later than `when`
# A UDP datagram, fragmented at the guest's MTU.  mac and port (>= 0) go past the neighbour table.
cdef bint out_udp(World *w, const Addr *source, u16 source_port, const Addr *to, u16 to_port, u8 ttl, const u8 *payload, u32 length,
                  const u8 *mac, int port) noexcept nogil
# UDP datagrams to the guest `to`, a piece each: in one frame where the link takes that (GSO_UDP).  Returns how many have
# gone out, and adds their bytes to `sent_bytes`.
cdef u32 out_datagrams(World *w, const Addr *source, u16 source_port, const Addr *to, u16 to_port, const Piece *pieces, int number,
                       u64 *sent_bytes) noexcept nogil
# An ICMP(v6) message, by the addresses' family: echo replies.  `rest` is the second header word, body what is behind it.
cdef bint out_icmp(World *w, const Addr *source, const Addr *to, u8 kind, u8 code, u32 rest, const u8 *body, u32 length, u8 ttl) noexcept nogil
# An ICMPv6 message; body is what is behind its first four bytes.  To a group: by `port`, or (-1) by every one.  mac and port
# (>= 0) go past the neighbour table.
cdef bint out_icmpv6(World *w, const Addr *source, const Addr *to, u8 kind, u8 code, const u8 *body, u32 length, u8 hop_limit,
                     const u8 *mac, int port) noexcept nogil
# An ICMPv6 error about this very packet, whose source is a guest's (RFC 4443 section 2.4).
cdef bint out_icmpv6_error(World *w, const Packet *p, u8 kind, u8 code, u32 rest) noexcept nogil
# An ICMP error about a packet of the flow named `key`, from `source` (NULL: our own address); in the words of ICMP, which
# become ICMPv6's where the guest's address is of IPv6.  `rest` is the second header word.
cdef bint out_icmp_error(World *w, const FlowKey *key, const Addr *source, u8 kind, u8 code, u32 rest, const Quoted *quoted) noexcept nogil
# The packet that has waited for this neighbour's MAC address, now that it is known.
cdef void out_waiting(World *w, Neighbor *n) noexcept nogil
