"""TCP flows of the world: who may open one, what becomes of it, when it is over.

A guest's SYN makes a flow in life NEW with a Tcp in state HELD, and a punt.  The verdict serves it, attaches a socket that
the edge is connecting, or denies it.  The core never answers a SYN before that.
"""

from libc.errno cimport EACCES, EHOSTUNREACH, ENETUNREACH, EPERM

from pyslirp.engine.base.ints cimport Addr, addr_is4, i32, ns_never, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.seq cimport seq_lt
from pyslirp.engine.base.status cimport (
    TCP_DENIED, TCP_EVICTED, TCP_ICMP_IGNORED, TCP_NO_FLOW, TCP_NO_MEMORY, TCP_OPENED_BY_GUEST, TCP_OPENED_BY_HOST)
from pyslirp.engine.codecs.build cimport IPV4_HEADER, IPV6_HEADER, TCP_HEADER
from pyslirp.engine.codecs.parse cimport PROTO_TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, Packet
from pyslirp.engine.codecs.quote cimport Quote
from pyslirp.engine.core.flows cimport (
    DENY_RESET, DENY_SILENT, LINK_NONE, denial_code, flow_dirty, flow_half_open, flow_kill, flow_later, flow_new, flow_next_dirty,
    flow_oldest_half_open, flow_punt, flow_rearm, flow_wait, flow_whole)
from pyslirp.engine.core.output cimport out_doubt, out_icmp_error
from pyslirp.engine.core.punts cimport (
    PUNT_CONNECTED, PUNT_FINISHED, PUNT_READABLE, PUNT_WRITABLE, Punt, PuntKind, punt_add)
from pyslirp.engine.core.port cimport PORTS_MAX
from pyslirp.engine.core.segments cimport out_burst, out_reset, out_segment
from pyslirp.engine.core.world cimport OUR_TTL, World, addr_is_group, world_next_hop
from pyslirp.engine.protocols.icmp cimport ICMP_UNREACHABLE, UNREACHABLE_PROHIBITED, Quoted, icmp_code_of_errno
from pyslirp.engine.protocols.tcp.connection cimport (
    tcp_abort, tcp_deadline, tcp_end, tcp_hold, tcp_host_connected, tcp_host_failed, tcp_init, tcp_input, tcp_open, tcp_over, tcp_reusable)
from pyslirp.engine.protocols.tcp.path cimport path_too_big
from pyslirp.engine.protocols.tcp.receive cimport arena_empty
from pyslirp.engine.protocols.tcp.relay cimport tcp_expire, tcp_run
from pyslirp.engine.protocols.tcp.state cimport CLOSED, EV_2MSL, HELD, SYN_RCVD, SYN_SENT
from pyslirp.engine.protocols.tcp.tcb cimport (
    END_DENIED, END_EVICTED, END_NONE, END_REFUSED, END_UNREACHABLE, NOTICE_CONNECTED, NOTICE_FINISHED, NOTICE_READABLE, NOTICE_WRITABLE, Tcp, TcpEnd, TcpNotice)
from pyslirp.engine.protocols.tcp.transmit cimport snd_flight
from pyslirp.engine.stores.chunks cimport ChunkPool
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.stores.siphash cimport siphash
from pyslirp.engine.stores.slab cimport slab_take
from pyslirp.engine.tables.mac_table cimport mac_find
from pyslirp.engine.tables.neighbor cimport NEIGHBOR_INCOMPLETE, Neighbor, neighbor_find
from pyslirp.engine.tables.flow cimport (
    FLOW_NEW, FLOW_OPEN, GUEST_SIDE, Flow, FlowKey, flow_find, flow_key_set, flow_unlink)

cdef enum:
    ISN_TICK_NS = 4000          # RFC 6528: the clock part of an ISN advances every 4 microseconds
    ISN_GAP = 65536             # between the numbers of a connection and of its successor out of TIME_WAIT
    DS_BITS = 0xfc              # of the TOS or traffic class; the others are for congestion (RFC 2474 section 3, RFC 3168)


cdef void _notify(void *ctx, Flow *flow, TcpNotice what) noexcept nogil:
    cdef World *w = <World *>ctx
    cdef Punt *punt
    if not flow.served:
        return
    if what == NOTICE_CONNECTED:
        punt = punt_add(&w.punts, PUNT_CONNECTED, True)
    elif what == NOTICE_READABLE:
        punt = punt_add(&w.punts, PUNT_READABLE, True)
    elif what == NOTICE_WRITABLE:
        punt = punt_add(&w.punts, PUNT_WRITABLE, True)
    else:
        punt = punt_add(&w.punts, PUNT_FINISHED, True)
    if punt != NULL:
        punt.flow = flow.slab.handle
        punt.tag = flow.tag


cdef void _doubt(void *ctx, Flow *flow) noexcept nogil:
    out_doubt(<World *>ctx, &flow.name[<int>GUEST_SIDE].key.guest)


cdef void streams_init(World *w) noexcept nogil:
    w.tcp.ctx = w
    w.tcp.emit = out_segment
    w.tcp.burst = out_burst
    w.tcp.notify = _notify
    w.tcp.doubt = _doubt
    w.tcp.counters = &w.counters


cdef ChunkPool *_share(World *w, const Addr *guest, u32 link) noexcept nogil:
    """What a flow's buffers are taken from: the share of its link; where the host opens it, of the link that the guest is on."""
    cdef Neighbor *n
    cdef int at = -1
    if link < PORTS_MAX:
        return &w.shares[link]
    n = neighbor_find(&w.neighbors, world_next_hop(w, guest), w.now)
    if n != NULL and n.state != NEIGHBOR_INCOMPLETE:
        at = mac_find(&w.macs, n.mac)
    return &w.chunks if at < 0 else &w.shares[at]


cdef Tcp *_new_tcp(World *w, const FlowKey *key, u32 link, u64 above) noexcept nogil:
    """A fresh connection: keyed ISN (RFC 6528 section 3), our MSS, a timestamp clock that tells nothing.

    above: where a connection of the same ends was in TIME_WAIT, what its successor's ISN must not lie below; else 0.
    """
    cdef Tcp *t = <Tcp *>slab_take(&w.tcp_slab)
    cdef u64 secret
    cdef u32 isn
    cdef u32 mtu = w.mtu if w.mtu < 65535 else 65535
    if t == NULL:
        count(&w.counters, TCP_NO_MEMORY)
        return NULL
    secret = siphash(<const u8 *>key, sizeof(FlowKey), w.isn_key)
    isn = <u32>(secret + <u64>(w.now // ISN_TICK_NS))
    if above and seq_lt(isn, <u32>above):
        isn = <u32>above
    tcp_init(_share(w, &key.guest, link), t, (<u64>1 << 32) | isn,
             <u16>(mtu - TCP_HEADER - (IPV4_HEADER if addr_is4(&key.guest) else IPV6_HEADER)), <u32>(secret >> 32))
    return t


cdef void _settle(World *w, Flow *flow, bint served) noexcept nogil:
    """After anything has happened to a connection: where does it stand?  served: something has gone to the guest."""
    cdef Tcp *t = <Tcp *>flow.body
    cdef ns_t when
    if tcp_over(t):
        flow_kill(w, flow, t.end)
        return
    if flow.half_open and t.state != HELD and t.state != SYN_RCVD:
        flow_whole(w, flow)
    if t.state == CLOSED and t.end != END_NONE:
        flow_unlink(&w.flows, flow, GUEST_SIDE)     # over for the guest; the host still gets its last bytes
    if t.blocked:
        flow_wait(w, flow, served)
    elif t.host_more:
        flow_later(w, flow)
    when = tcp_deadline(t)
    if when != ns_never():
        flow_rearm(w, flow, when)


cdef void stream_run(World *w, Flow *flow) noexcept nogil:
    cdef Tcp *t = <Tcp *>flow.body
    cdef u64 before = snd_flight(&t.snd)
    tcp_run(&w.tcp, flow, t, w.now)
    _settle(w, flow, snd_flight(&t.snd) > before)


cdef void streams_run(World *w) noexcept nogil:
    """Run every stream that has something to do, within a batch: the memory that pending pieces lie in is about to go."""
    cdef Flow *flow = flow_next_dirty(w)
    while flow != NULL:
        if flow.name[<int>GUEST_SIDE].key.protocol == PROTO_TCP:
            stream_run(w, flow)
        flow = flow_next_dirty(w)
    arena_empty(&w.tcp.arena)


cdef void stream_expire(World *w, Flow *flow) noexcept nogil:
    cdef Tcp *t = <Tcp *>flow.body
    cdef u64 before = snd_flight(&t.snd)
    tcp_expire(&w.tcp, flow, t, w.now)
    _settle(w, flow, snd_flight(&t.snd) > before)


cdef void _make_way(World *w, u32 link) noexcept nogil:
    """For one more handshake of this link."""
    cdef Flow *oldest = flow_oldest_half_open(w, link)
    if oldest != NULL:
        count(&w.counters, TCP_EVICTED)
        stream_abort(w, oldest, END_EVICTED, False)


cdef void _opened_by_guest(World *w, const FlowKey *key, const Packet *p, u32 port, u64 above) noexcept nogil:
    cdef Flow *flow
    _make_way(w, port)
    flow = flow_new(w, key, p.ttl, port)
    if flow == NULL:
        return                                          # counted; the guest's SYN will come again
    flow.body = _new_tcp(w, key, port, above)
    if flow.body == NULL:
        flow_kill(w, flow, -1)
        return
    flow.ds = p.tos & DS_BITS
    count(&w.counters, TCP_OPENED_BY_GUEST)
    flow_half_open(w, flow)
    tcp_hold(&w.tcp, flow, <Tcp *>flow.body, p, w.now)
    flow_punt(w, flow, port)


cdef inline void _take_ds(World *w, Flow *flow, const Packet *p) noexcept nogil:
    """RFC 9293 3.9.1.9: what the guest has marked leaves the host marked.  (What is no data says little: resets carry none.)"""
    if p.payload_bytes and p.tos & DS_BITS != flow.ds:
        flow.ds = p.tos & DS_BITS
        if flow.socket != NULL:
            w.tcp.host.set_ds(w.tcp.host.ctx, flow.socket, flow.ds)


cdef void stream_input(World *w, const Packet *p, u32 port) noexcept nogil:
    cdef FlowKey key
    cdef Flow *flow
    cdef u32 length
    cdef u64 above = 0
    flow_key_set(&key, PROTO_TCP, &p.source, p.source_port, &p.destination, p.destination_port)
    flow = flow_find(&w.flows, GUEST_SIDE, &key)
    if flow != NULL and p.tcp_flags & TCP_SYN and not p.tcp_flags & TCP_ACK and tcp_reusable(<Tcp *>flow.body, p):
        above = (<Tcp *>flow.body).snd.nxt + ISN_GAP
        tcp_end(<Tcp *>flow.body, EV_2MSL)
        _settle(w, flow, False)                         # gone, or without its name until the host has its last bytes
        flow = NULL
    if flow != NULL:
        flow.last_from_guest = w.now
        _take_ds(w, flow, p)
        tcp_input(&w.tcp, flow, <Tcp *>flow.body, p, w.now)
        flow_dirty(w, flow)
        return
    if p.tcp_flags & TCP_SYN and not p.tcp_flags & (TCP_ACK | TCP_RST | TCP_FIN):
        _opened_by_guest(w, &key, p, port, above)
        return
    count(&w.counters, TCP_NO_FLOW)
    if p.tcp_flags & TCP_RST:
        return
    if p.tcp_flags & TCP_ACK:
        out_reset(w, &key, p.ack, 0, False)
    else:
        length = p.payload_bytes + (1 if p.tcp_flags & TCP_SYN else 0) + (1 if p.tcp_flags & TCP_FIN else 0)
        out_reset(w, &key, 0, p.seq + length, True)


cdef void stream_icmp_error(World *w, const Quote *quote, bint too_big, bint refused, u32 mtu) noexcept nogil:
    cdef FlowKey key
    cdef Flow *flow
    cdef Tcp *t
    flow_key_set(&key, PROTO_TCP, &quote.destination, quote.destination_port, &quote.source, quote.source_port)
    flow = flow_find(&w.flows, GUEST_SIDE, &key)
    t = <Tcp *>flow.body if flow != NULL else NULL
    if flow == NULL:
        count(&w.counters, TCP_ICMP_IGNORED)
    elif too_big and path_too_big(&w.tcp, flow, t, quote.word, mtu, quote.packet_bytes, w.now):
        flow_dirty(w, flow)
    elif not too_big and t.state == SYN_SENT and quote.word == <u32>t.snd.iss:
        # No answer but this one will come (RFC 5461 section 4.1); later it would be a soft error (RFC 5927 section 5).
        stream_abort(w, flow, END_REFUSED if refused else END_UNREACHABLE, False)
    else:
        count(&w.counters, TCP_ICMP_IGNORED)


# -- verdicts ---------------------------------------------------------------------------------------------------------

cdef void stream_serve(World *w, Flow *flow, u64 tag) noexcept nogil:
    if flow.life != FLOW_NEW:
        return
    flow.life = FLOW_OPEN
    flow.served = True
    flow.awaited = True
    flow.tag = tag
    tcp_host_connected(&w.tcp, flow, <Tcp *>flow.body, w.now)
    flow_dirty(w, flow)


cdef void stream_attach(World *w, Flow *flow, void *socket, u64 tag) noexcept nogil:
    flow.life = FLOW_OPEN
    flow.socket = socket
    flow.tag = tag


cdef void stream_complain(World *w, Flow *flow, const Addr *source, u8 kind, u8 code) noexcept nogil:
    cdef Quoted quoted = Quoted(flow.ttl, TCP_HEADER, <u32>(<Tcp *>flow.body).rcv.irs, NULL, 0)
    out_icmp_error(w, &flow.name[<int>GUEST_SIDE].key, source, kind, code, 0, &quoted)


cdef void stream_deny(World *w, Flow *flow, int how) noexcept nogil:
    cdef Tcp *t = <Tcp *>flow.body
    if flow.life != FLOW_NEW:
        return
    count(&w.counters, TCP_DENIED)
    if how != DENY_RESET and how != DENY_SILENT:
        stream_complain(w, flow, NULL, ICMP_UNREACHABLE, denial_code(how))
    tcp_abort(&w.tcp, flow, t, END_DENIED, how == DENY_RESET, w.now)
    flow_kill(w, flow, END_DENIED)


cdef Flow *stream_open(World *w, const Addr *guest, u16 guest_port, const Addr *far, u16 far_port, void *socket, u64 tag) noexcept nogil:
    cdef FlowKey key
    cdef Flow *flow
    cdef Tcp *t
    flow_key_set(&key, PROTO_TCP, guest, guest_port, far, far_port)
    if addr_is_group(w, guest) or flow_find(&w.flows, GUEST_SIDE, &key) != NULL:       # RFC 9293 MUST-46
        return NULL
    flow = flow_new(w, &key, OUR_TTL, LINK_NONE)
    if flow == NULL:
        return NULL
    t = _new_tcp(w, &key, LINK_NONE, 0)
    if t == NULL:
        flow_kill(w, flow, -1)
        return NULL
    flow.body = t
    flow.life = FLOW_OPEN
    flow.inbound = True
    flow.served = socket == NULL
    flow.awaited = True
    flow.socket = socket
    flow.tag = tag
    t.host_readable = socket != NULL
    t.host_writable = socket != NULL
    count(&w.counters, TCP_OPENED_BY_HOST)
    tcp_open(&w.tcp, flow, t, w.now)
    flow_dirty(w, flow)
    return flow


cdef void stream_abort(World *w, Flow *flow, TcpEnd reason, bint tell_guest) noexcept nogil:
    tcp_abort(&w.tcp, flow, <Tcp *>flow.body, reason, tell_guest, w.now)
    _settle(w, flow, False)


# -- from the edge ----------------------------------------------------------------------------------------------------

cdef void stream_connected(World *w, Flow *flow) noexcept nogil:
    tcp_host_connected(&w.tcp, flow, <Tcp *>flow.body, w.now)
    flow_dirty(w, flow)


cdef void stream_host_failed(World *w, Flow *flow, i32 error) noexcept nogil:
    cdef Tcp *t = <Tcp *>flow.body
    if t.state == HELD and (error == EHOSTUNREACH or error == ENETUNREACH or error == EACCES or error == EPERM):
        stream_complain(w, flow, NULL, ICMP_UNREACHABLE, icmp_code_of_errno(error))
        tcp_abort(&w.tcp, flow, t, END_UNREACHABLE, False, w.now)
    else:
        tcp_host_failed(&w.tcp, flow, t, error, w.now)
    _settle(w, flow, False)
