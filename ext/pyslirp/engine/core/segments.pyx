"""TCP segments on their way to a guest.

The payload of a segment lies in the chunks of its connection's send buffer, where a retransmission would look for it
too.  A long one is sent from there: the frame in the port's queue is its headers, and references to the pieces.  It is
read once, for the checksum; not even that where the link has the kernel do it.  A short one is copied behind its
headers, which costs less than to count a reference and to hand the kernel one more piece.
"""

from libc.string cimport memcpy

from pyslirp.engine.base.header.tcp cimport TCP_AT_CHECKSUM
from pyslirp.engine.base.ints cimport addr_is4, u8, u32, u64
from pyslirp.engine.base.status cimport NEIGHBOR_UNRESOLVED, TCP_RST_SENT
from pyslirp.engine.codecs.build cimport (
    IPV4_HEADER, IPV6_HEADER, TCP_HEADER, build_ethernet, build_ip, build_padding, build_partial_sum, build_tcp)
from pyslirp.engine.codecs.offload cimport GSO_TCP4, GSO_TCP6, OFFLOAD_BYTES, Offload, offload_none, offload_write
from pyslirp.engine.codecs.parse cimport ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETH_HEADER, PROTO_TCP, TCP_ACK, TCP_RST
from pyslirp.engine.core.output cimport out_commit, out_commit_pieces, out_frame, out_head, out_resolve
from pyslirp.engine.core.port cimport PORT_TX_BYTES, Port
from pyslirp.engine.core.world cimport OUR_TTL, World
from pyslirp.engine.protocols.tcp.tcb cimport Tcp, TcpSegment
from pyslirp.engine.stores.checksum cimport sum_add, sum_bytes, sum_copy, sum_odd
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.stores.frame_queue cimport fq_bytes
from pyslirp.engine.tables.flow cimport GUEST_SIDE, Flow, FlowKey

cdef enum:
    HEADROOM = 128              # Ethernet, IP and TCP headers with all options: 14 + 40 + 60
    REFER_FROM = 512            # bytes of payload that are not copied any more; with 1448 it costs the same either way (measured)


cdef u32 out_burst(void *world, Flow *flow) noexcept nogil:
    cdef World *w = <World *>world
    cdef Tcp *t = <Tcp *>flow.body
    if out_resolve(w, &flow.name[<int>GUEST_SIDE].key.guest) and w.ports[w.hop.port].burst > t.snd.mss:
        return w.ports[w.hop.port].burst
    return t.snd.mss


cdef u32 _payload_sum(const TcpSegment *segment, u8 *copy_to) noexcept nogil:
    """Add the payload up, and copy it on the way unless copy_to is NULL.  A piece at an odd offset has its sum turned."""
    cdef u32 total = 0, partial
    cdef u64 offset = 0
    cdef int i
    for i in range(segment.piece_count):
        if copy_to == NULL:
            partial = sum_bytes(segment.pieces[i].data, segment.pieces[i].length, 0)
        else:
            partial = sum_copy(copy_to + offset, segment.pieces[i].data, segment.pieces[i].length, 0)
        total = sum_add(total, sum_odd(partial) if offset & 1 else partial)
        offset += segment.pieces[i].length
    return total


cdef void _copy_payload(const TcpSegment *segment, u8 *copy_to) noexcept nogil:
    cdef int i
    for i in range(segment.piece_count):
        memcpy(copy_to, segment.pieces[i].data, segment.pieces[i].length)
        copy_to += segment.pieces[i].length


cdef void _offload_segment(u8 *frame, const FlowKey *key, const TcpSegment *segment, u32 l4) noexcept nogil:
    """Leave the checksum, and the cutting into segments, to the link, whose header is in front of the frame."""
    cdef u32 header_bytes = TCP_HEADER + segment.option_bytes
    cdef Offload offload
    offload_none(&offload)
    offload.partial = True
    offload.sum_from = l4
    offload.sum_at = l4 + TCP_AT_CHECKSUM
    if segment.payload_bytes > segment.mss:
        offload.gso = GSO_TCP4 if addr_is4(&key.guest) else GSO_TCP6
        offload.gso_bytes = segment.mss
    build_partial_sum(frame + offload.sum_at, &key.far, &key.guest, PROTO_TCP, header_bytes + segment.payload_bytes)
    offload_write(frame - OFFLOAD_BYTES, &offload, l4 + header_bytes)


cdef bint out_segment(void *world, Flow *flow, const TcpSegment *segment) noexcept nogil:
    cdef World *w = <World *>world
    cdef Port *port
    cdef const FlowKey *key = &flow.name[<int>GUEST_SIDE].key
    cdef bint v4 = addr_is4(&key.guest), referring = segment.payload_bytes >= REFER_FROM
    cdef u32 headers = ETH_HEADER + (IPV4_HEADER if v4 else IPV6_HEADER) + TCP_HEADER + segment.option_bytes, n
    cdef u32 total = 0
    cdef u8 *at
    if not out_resolve(w, &key.guest):
        return False
    port = &w.ports[w.hop.port]
    # Else a flow whose data has just been acknowledged would fill the room before those that wait are let go at all.
    if segment.payload_bytes and port.congested:
        return False
    if referring:
        at = out_head(w, w.hop.port, headers, segment.payload_bytes)
    else:
        at = out_frame(w, w.hop.port, headers + segment.payload_bytes)
    if at == NULL:
        port.congested = fq_bytes(&port.tx) > PORT_TX_BYTES // 2
        return False
    if port.head_bytes == 0:
        total = _payload_sum(segment, NULL if referring else at + headers)
    elif not referring:
        _copy_payload(segment, at + headers)
    w.ip_id += 1
    n = build_ethernet(at, w.hop.mac, w.mac, ETHERTYPE_IPV4 if v4 else ETHERTYPE_IPV6)
    n += build_ip(at + n, &key.far, &key.guest, PROTO_TCP, OUR_TTL, segment.tos, w.ip_id,
                  TCP_HEADER + segment.option_bytes + segment.payload_bytes)
    build_tcp(at + n, &key.far, &key.guest, key.far_port, key.guest_port, segment.seq, segment.ack, segment.flags,
              segment.window, segment.urgent, segment.options, segment.option_bytes, segment.payload_bytes, total)
    if port.head_bytes:
        _offload_segment(at, key, segment, n)
    if referring:
        out_commit_pieces(w, w.hop.port, at, headers, segment.pieces, segment.piece_count)
    else:
        out_commit(w, w.hop.port, at, build_padding(at, headers + segment.payload_bytes))
    return True


cdef bint out_reset(World *w, const FlowKey *key, u32 seq, u32 ack, bint with_ack) noexcept nogil:
    cdef bint v4 = addr_is4(&key.guest)
    cdef u8 *at
    cdef u32 n
    if not out_resolve(w, &key.guest):
        count(&w.counters, NEIGHBOR_UNRESOLVED)
        return False
    at = out_frame(w, w.hop.port, HEADROOM)
    if at == NULL:
        return False
    n = build_ethernet(at, w.hop.mac, w.mac, ETHERTYPE_IPV4 if v4 else ETHERTYPE_IPV6)
    n += build_ip(at + n, &key.far, &key.guest, PROTO_TCP, OUR_TTL, 0, 0, TCP_HEADER)
    n += build_tcp(at + n, &key.far, &key.guest, key.far_port, key.guest_port, seq, ack, TCP_RST | (TCP_ACK if with_ack else 0),
                   0, 0, NULL, 0, 0, 0)
    out_commit(w, w.hop.port, at, build_padding(at, n))
    count(&w.counters, TCP_RST_SENT)
    return True
