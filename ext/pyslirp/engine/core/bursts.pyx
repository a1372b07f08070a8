"""Datagrams on their way to the host, those of a flow together.

What a batch of frames brings is gathered by flow and sent with one call when the batch is worked off (world_run), or
before: when a flow has BURST_MAX, when more than BURSTS_MAX flows take part, when TTL or TOS changes, and before a flow
ends.  Until then the bytes lie in the frames of the batch, which are gone after it.  Within a flow nothing changes its
order; between flows it was never promised.

An error that the host gives for one of them is told to the guest, and the others go on.
"""

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.ints cimport Addr, i32, i64, u8, u32, u64
from pyslirp.engine.base.endian cimport load32
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport ICMP_TO_HOST, UDP_HOST_ERROR, UDP_TO_HOST
from pyslirp.engine.codecs.build cimport ICMP_HEADER, UDP_HEADER
from pyslirp.engine.codecs.parse cimport PROTO_ICMP
from pyslirp.engine.core.output cimport out_icmp_error
from pyslirp.engine.core.world cimport World, addr_is_zero
from pyslirp.engine.protocols.icmp cimport ICMP_UNREACHABLE, Quoted, icmp_code_of_errno
from pyslirp.engine.protocols.udp cimport BURSTS_MAX, BURST_MAX, DatagramBurst, DatagramPeer
from pyslirp.engine.stores.counters cimport count, count_n
from pyslirp.engine.stores.slab cimport slab_find
from pyslirp.engine.tables.flow cimport FLOW_OPEN, GUEST_SIDE, Flow, FlowKey


cdef inline DatagramPeer *_peer(const Flow *flow) noexcept nogil:
    return <DatagramPeer *>flow.body


cdef inline const FlowKey *_key(const Flow *flow) noexcept nogil:
    return &flow.name[<int>GUEST_SIDE].key


cdef void datagram_refuse(World *w, Flow *flow, u8 code, const u8 *data, u32 length) noexcept nogil:
    cdef Quoted quoted
    if _key(flow).protocol == PROTO_ICMP:
        quoted = Quoted(flow.ttl, length, load32(data + 4), data + ICMP_HEADER, length - ICMP_HEADER)
    else:
        quoted = Quoted(flow.ttl, UDP_HEADER + length, 0, data, length)
    out_icmp_error(w, _key(flow), NULL, ICMP_UNREACHABLE, code, 0, &quoted)


cdef void _send(World *w, Flow *flow, const Piece *pieces, int number, u8 ttl, u8 tos) noexcept nogil:
    cdef DatagramPeer *peer = _peer(flow)
    cdef const Addr *local = NULL if addr_is_zero(&peer.local) else &peer.local
    cdef int done = 0, end
    cdef i64 sent
    while done < number:
        sent = w.tcp.host.send_to(w.tcp.host.ctx, peer.mapping.socket, local, &peer.host, peer.host_port, ttl,
                                  tos, pieces + done, number - done)
        if sent < 0:
            count(&w.counters, UDP_HOST_ERROR)
            datagram_refuse(w, flow, icmp_code_of_errno(<i32>-sent), pieces[done].data, <u32>pieces[done].length)
            done += 1
            continue
        slirp_assert(sent > 0)
        slirp_assert(sent <= number - done)
        end = done + <int>sent
        peer.to_host += <u32>sent
        count_n(&w.counters, ICMP_TO_HOST if _key(flow).protocol == PROTO_ICMP else UDP_TO_HOST, <u64>sent)
        while done < end:
            flow.bytes_to_host += pieces[done].length
            done += 1


cdef void datagram_send(World *w, Flow *flow, const u8 *data, u32 length, u8 ttl, u8 tos) noexcept nogil:
    cdef Piece piece
    piece.data = <u8 *>data
    piece.length = length
    _send(w, flow, &piece, 1, ttl, tos)


cdef void _flush(World *w, DatagramBurst *burst) noexcept nogil:
    cdef Flow *flow = <Flow *>slab_find(&w.flow_slab, burst.flow)
    cdef int number = burst.count
    burst.count = 0
    if number and flow != NULL and flow.life == FLOW_OPEN and _peer(flow).mapping != NULL:
        _send(w, flow, burst.pieces, number, burst.ttl, burst.tos)


cdef void datagrams_flush(World *w) noexcept nogil:
    cdef u32 i
    for i in range(w.burst_count):
        _flush(w, &w.bursts[i])
    w.burst_count = 0


cdef DatagramBurst *_burst(World *w, const Flow *flow, u8 ttl, u8 tos) noexcept nogil:
    """Where the flow's next datagram goes: there is room for it."""
    cdef u32 i
    cdef DatagramBurst *burst
    for i in range(w.burst_count):
        burst = &w.bursts[i]
        if burst.flow == flow.slab.handle:
            if burst.count == BURST_MAX or burst.ttl != ttl or burst.tos != tos:
                _flush(w, burst)
            break
    else:
        if w.burst_count == BURSTS_MAX:
            datagrams_flush(w)
        burst = &w.bursts[w.burst_count]
        w.burst_count += 1
        burst.flow = flow.slab.handle
        burst.count = 0
    burst.ttl = ttl
    burst.tos = tos
    return burst


cdef void datagram_gather(World *w, Flow *flow, const u8 *data, u32 length, u8 ttl, u8 tos) noexcept nogil:
    """To the host with those of this flow that are yet to come in this batch."""
    cdef DatagramBurst *burst = _burst(w, flow, ttl, tos)
    burst.pieces[burst.count].data = <u8 *>data
    burst.pieces[burst.count].length = length
    burst.count += 1
