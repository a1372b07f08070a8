"""UDP and ping, relayed through one host socket for each guest address and port.

Two kinds of flow.  A *mapping*, named (guest, nobody), owns the host socket.  A *conversation*, named (guest, far), is
one remote that the guest speaks with; it refers to its mapping and remembers its verdict, so that policy is asked once
for each remote while the guest keeps one source port towards all of them (RFC 4787 REQ-1: endpoint-independent
mapping).  The conversation also bears the host's name of the far end (HOST_SIDE), by which an answer finds it:
127.0.0.1 answers as the gateway if it was asked as the gateway.

A datagram from a remote that the guest has not spoken to makes a conversation of its own on that mapping
(endpoint-independent filtering, RFC 4787 REQ-8's transparent choice and libslirp's).  A loopback source is shown as the
gateway; others that the guest could not answer to, of the other family or of its own net, are refused.

Both families are carried alike.  In a name a ping has ICMP's number, also where it is of ICMPv6: its addresses say which.

A forwarding rule's listening socket is a mapping too, with no name: each client is a conversation, shown as it is, or
as the gateway where the guest could not answer to that.  Where the socket is bound to every address of the host, the
conversation remembers the one that the client has sent to (`local`), and the answer leaves from there: from another one
the client would not take it.

A mapping goes with its last conversation; what holds conversations is in protocols/udp.pyx.

Several at a time.  What a batch of frames brings for the host is gathered by flow (core/bursts.pyx); what the host has
for a guest comes in groups of one remote's, and leaves as one super-frame where the guest's link takes that
(out_datagrams).
"""

from libc.stdlib cimport free

from pyslirp.engine.base.endian cimport load16, load32
from pyslirp.engine.base.header.icmpv6 cimport ICMPV6_ECHO_REPLY
from pyslirp.engine.base.ints cimport Addr, addr_eq, addr_is4, i64, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport (
    FLOW_TABLE_FULL, ICMP_TO_GUEST, ICMP_UNSUPPORTED, NEIGHBOR_UNRESOLVED, UDP_DENIED, UDP_HOST_ERROR,
    UDP_PORT_ZERO, UDP_QUEUE_FULL, UDP_TO_GUEST)
from pyslirp.engine.codecs.build cimport ICMP_HEADER, UDP_HEADER
from pyslirp.engine.codecs.parse cimport PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP, Packet
from pyslirp.engine.core.bursts cimport datagram_gather, datagram_refuse, datagram_send, datagrams_flush
from pyslirp.engine.core.flows cimport DENY_SILENT, denial_code, flow_kill, flow_new, flow_punt, flow_rearm
from pyslirp.engine.core.output cimport out_datagrams, out_icmp, out_icmp_error, out_resolve
from pyslirp.engine.core.punts cimport PUNT_MESSAGE, PUNT_STRANGER, Punt, punt_with
from pyslirp.engine.core.world cimport OUR_TTL, World, world_on_link, world_voice
from pyslirp.engine.protocols.icmp cimport (
    ICMP_ECHO_REPLY, ICMP_PARAMETER_PROBLEM, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, Quoted)
from pyslirp.engine.protocols.udp cimport (
    DatagramPeer, HeldDatagram, Mapping, datagram_deadline, datagram_drop_held, datagram_hold, datagram_release)
from pyslirp.engine.stores.counters cimport count, count_n
from pyslirp.engine.stores.slab cimport slab_at, slab_span, slab_take
from pyslirp.engine.tables.flow cimport (
    FLOW_DEAD, FLOW_NEW, FLOW_OPEN, GUEST_SIDE, HOST_SIDE, Flow, FlowKey, flow_find, flow_key_set, flow_link, flow_unlink)

cdef enum:
    DATAGRAM_EXPIRED = 11       # reason of flow_kill, beside TcpEnd
    DATAGRAM_CLOSED = 12


cdef inline DatagramPeer *_peer(Flow *flow) noexcept nogil:
    return <DatagramPeer *>flow.body


cdef inline const FlowKey *_key(const Flow *flow) noexcept nogil:
    return &flow.name[<int>GUEST_SIDE].key


cdef Flow *_conversation(World *w, const FlowKey *key, u8 ttl, u32 link) noexcept nogil:
    cdef Flow *flow = flow_new(w, key, ttl, link)
    if flow == NULL:
        return NULL
    flow.body = slab_take(&w.peer_slab)
    if flow.body == NULL:
        count(&w.counters, FLOW_TABLE_FULL)
        flow_kill(w, flow, -1)
        return NULL
    flow_rearm(w, flow, datagram_deadline(flow, _peer(flow)))
    return flow


# -- from the guest ---------------------------------------------------------------------------------------------------

cdef void _to_handler(World *w, Flow *flow, const u8 *data, u32 length) noexcept nogil:
    cdef Punt *punt = punt_with(&w.punts, PUNT_MESSAGE, data, length)
    if punt == NULL:
        count(&w.counters, UDP_QUEUE_FULL)
        return
    punt.flow = flow.slab.handle
    punt.tag = flow.tag
    _peer(flow).to_host += 1
    flow.bytes_to_host += length


cdef void datagram_input(World *w, const Packet *p, u32 port) noexcept nogil:
    cdef FlowKey key
    cdef Flow *flow
    cdef bint echo = p.protocol == PROTO_ICMP or p.protocol == PROTO_ICMPV6
    # A ping goes to the host as a whole ICMP message, header included: that is what a ping socket takes.
    cdef const u8 *data = p.l4 if echo else p.payload
    cdef u32 length = p.l4_bytes if echo else p.payload_bytes
    flow_key_set(&key, <u8>PROTO_ICMP if echo else p.protocol, &p.source, p.source_port, &p.destination, 0 if echo else p.destination_port)
    flow = flow_find(&w.flows, GUEST_SIDE, &key)
    if flow == NULL:
        flow = _conversation(w, &key, p.ttl, port)
        if flow == NULL:
            return
        datagram_hold(_peer(flow), data, length, p.ttl, p.tos)
        flow_punt(w, flow, port)
        return
    flow.last_from_guest = w.now
    flow.ttl = p.ttl
    if _peer(flow).denied:
        count(&w.counters, UDP_DENIED)
        if _peer(flow).denial != DENY_SILENT:
            datagram_refuse(w, flow, denial_code(_peer(flow).denial), data, length)
    elif flow.life == FLOW_NEW:
        if not datagram_hold(_peer(flow), data, length, p.ttl, p.tos):
            count(&w.counters, UDP_QUEUE_FULL)
    elif flow.served:
        _to_handler(w, flow, data, length)
    elif echo:
        datagram_send(w, flow, data, length, p.ttl, p.tos)
    else:
        datagram_gather(w, flow, data, length, p.ttl, p.tos)


cdef void datagram_expire(World *w, Flow *flow) noexcept nogil:
    cdef ns_t when
    if flow.is_mapping:
        return
    when = datagram_deadline(flow, _peer(flow))
    if when <= w.now:
        datagram_close(w, flow, DATAGRAM_EXPIRED)
    else:
        flow_rearm(w, flow, when)


cdef void datagram_close(World *w, Flow *flow, i64 reason) noexcept nogil:
    cdef Flow *mapping = _peer(flow).mapping
    datagrams_flush(w)                                  # what has come before its end goes out before it
    flow_kill(w, flow, reason)
    if mapping != NULL:
        _leave(w, mapping)


cdef void _leave(World *w, Flow *mapping) noexcept nogil:
    """One conversation fewer; a mapping goes with its last."""
    (<Mapping *>mapping.body).peers -= 1
    if (<Mapping *>mapping.body).peers == 0 and not (<Mapping *>mapping.body).listener:
        mapping_remove(w, mapping)


# -- verdicts ---------------------------------------------------------------------------------------------------------

cdef void datagram_deny(World *w, Flow *flow, int how) noexcept nogil:
    cdef DatagramPeer *peer = _peer(flow)
    if flow.life != FLOW_NEW:
        return
    count(&w.counters, UDP_DENIED)
    if how != DENY_SILENT and peer.held != NULL:
        datagram_refuse(w, flow, denial_code(how), peer.held.data, peer.held.length)
    flow.life = FLOW_OPEN
    peer.denied = True
    peer.denial = <u8>how
    datagram_drop_held(peer)


cdef void datagram_serve(World *w, Flow *flow, u64 tag) noexcept nogil:
    cdef HeldDatagram *held
    if flow.life != FLOW_NEW:
        return
    flow.life = FLOW_OPEN
    flow.served = True
    flow.awaited = True
    flow.tag = tag
    held = datagram_release(_peer(flow))
    while held != NULL:
        _to_handler(w, flow, held.data, held.length)
        free(held)
        held = datagram_release(_peer(flow))


cdef void datagram_allow(World *w, Flow *flow, Flow *mapping, const Addr *host, u16 port, u64 tag) noexcept nogil:
    cdef DatagramPeer *peer = _peer(flow)
    cdef HeldDatagram *held
    if flow.life != FLOW_NEW:
        return
    flow.life = FLOW_OPEN
    flow.tag = tag
    _join(w, flow, mapping, host, port)
    held = datagram_release(peer)
    while held != NULL:
        datagram_send(w, flow, held.data, held.length, held.ttl, held.tos)
        free(held)
        held = datagram_release(peer)


cdef void _join(World *w, Flow *flow, Flow *mapping, const Addr *host, u16 port) noexcept nogil:
    """Give a conversation its mapping and its name on the host's side."""
    cdef DatagramPeer *peer = _peer(flow)
    cdef FlowKey name
    if _key(flow).protocol == PROTO_ICMP:
        port = 0                                        # by whatever number the verdict has called it
    peer.mapping = mapping
    peer.local.q[0] = 0
    peer.local.q[1] = 0
    peer.host = host[0]
    peer.host_port = port
    (<Mapping *>mapping.body).peers += 1
    flow_key_set(&name, _key(flow).protocol, &_key(flow).guest, _key(flow).guest_port, host, port)
    flow_link(&w.flows, flow, HOST_SIDE, &name)


cdef void _mapping_key(FlowKey *key, const FlowKey *conversation) noexcept nogil:
    cdef Addr nobody
    nobody.q[0] = 0
    nobody.q[1] = 0
    flow_key_set(key, conversation.protocol, &conversation.guest, conversation.guest_port, &nobody, 0)


cdef Flow *mapping_of(World *w, const Flow *flow) noexcept nogil:
    cdef FlowKey key
    _mapping_key(&key, _key(flow))
    return flow_find(&w.flows, GUEST_SIDE, &key)


cdef Flow *_new_mapping(World *w, void *socket) noexcept nogil:
    cdef Flow *mapping = <Flow *>slab_take(&w.flow_slab)
    if mapping == NULL:
        count(&w.counters, FLOW_TABLE_FULL)
        return NULL
    mapping.is_mapping = True
    mapping.life = FLOW_OPEN
    mapping.opened = w.now
    mapping.body = slab_take(&w.mapping_slab)
    if mapping.body == NULL:
        count(&w.counters, FLOW_TABLE_FULL)
        flow_kill(w, mapping, -1)
        return NULL
    mapping.socket = socket
    return mapping


cdef Flow *mapping_add(World *w, const Flow *flow, void *socket) noexcept nogil:
    cdef Flow *mapping = _new_mapping(w, socket)
    cdef FlowKey key
    if mapping == NULL:
        return NULL
    _mapping_key(&key, _key(flow))
    if not flow_link(&w.flows, mapping, GUEST_SIDE, &key):
        mapping.socket = NULL
        flow_kill(w, mapping, -1)
        return NULL
    (<Mapping *>mapping.body).guest = key.guest
    (<Mapping *>mapping.body).guest_port = key.guest_port
    return mapping


cdef Flow *listener_add(World *w, const Addr *guest, u16 guest_port, void *socket) noexcept nogil:
    cdef Flow *mapping = _new_mapping(w, socket)
    if mapping == NULL:
        return NULL
    mapping.name[<int>GUEST_SIDE].key.protocol = PROTO_UDP
    (<Mapping *>mapping.body).listener = True
    (<Mapping *>mapping.body).guest = guest[0]
    (<Mapping *>mapping.body).guest_port = guest_port
    return mapping


cdef void mapping_remove(World *w, Flow *mapping) noexcept nogil:
    cdef u32 i
    cdef Flow *flow
    datagrams_flush(w)
    if (<Mapping *>mapping.body).peers:
        for i in range(slab_span(&w.flow_slab)):
            flow = <Flow *>slab_at(&w.flow_slab, i)
            if (flow != NULL and flow.life != FLOW_DEAD and not flow.is_mapping and flow.body != NULL
                    and _key(flow).protocol != PROTO_TCP and _peer(flow).mapping == mapping):
                _peer(flow).mapping = NULL
                flow_kill(w, flow, DATAGRAM_CLOSED)
    flow_kill(w, mapping, -1)


# -- from the host ----------------------------------------------------------------------------------------------------

cdef bint _is_loopback(const Addr *address) noexcept nogil:
    if addr_is4(address):
        return address.b[12] == 127 or load32(&address.b[12]) == 0
    return address.q[0] == 0 and load32(&address.b[8]) == 0 and load32(&address.b[12]) <= 1


cdef const Addr *_as_shown(const World *w, const Addr *source, const Addr *guest) noexcept nogil:
    """What `guest` sees of a remote's address: its own, or the gateway's where it could not answer to that.

    So has it nat/clients.py for TCP.  (A link-local address is of the host's link, on which the guest is not.)
    """
    if addr_is4(source) != addr_is4(guest) or _is_loopback(source) or world_on_link(w, source):
        return world_voice(w, guest)
    return source


cdef bint _may_intrude(const World *w, const Mapping *m, const Addr *source) noexcept nogil:
    """May `source` speak first?  To a rule everybody may; to a guest's own socket nobody in the gateway's name but the host
    itself, or what the guest sends to the gateway afterwards would go to him.
    """
    return m.listener or _is_loopback(source) or _as_shown(w, source, &m.guest) == source


cdef void _tell_of(World *w, const Flow *flow, const Addr *source, u16 source_port) noexcept nogil:
    """Python may want to know; when it is behind with its work it need not."""
    cdef Punt *punt = punt_with(&w.punts, PUNT_STRANGER, source.b, sizeof(Addr))
    if punt != NULL:
        punt.flow = flow.slab.handle
        punt.key = _key(flow)[0]
        punt.a = source_port


cdef Flow *_from_stranger(World *w, Flow *mapping, const Addr *source, u16 source_port, const Addr *local) noexcept nogil:
    """A remote speaks first: a rule's client, or someone whom the guest has not asked.  NULL: refused, and counted."""
    cdef Mapping *m = <Mapping *>mapping.body
    cdef FlowKey key
    cdef Flow *flow
    cdef Flow *before = NULL
    cdef bint made = False
    if not _may_intrude(w, m, source):
        count(&w.counters, UDP_DENIED)
        return NULL
    flow_key_set(&key, PROTO_UDP, &m.guest, m.guest_port, _as_shown(w, source, &m.guest), source_port)
    flow = flow_find(&w.flows, GUEST_SIDE, &key)
    if flow == NULL:
        if not out_resolve(w, &m.guest):                # the flow's link must be known; edges wait until it is
            count(&w.counters, NEIGHBOR_UNRESOLVED)
            return NULL
        flow = _conversation(w, &key, OUR_TTL, w.hop.port)
        if flow == NULL:
            return NULL
        flow.inbound = True
        flow.last_from_host = w.now
        made = True
    elif (flow.life == FLOW_NEW or flow.served or _peer(flow).denied
            or _is_loopback(&_peer(flow).host) != _is_loopback(source)):
        count(&w.counters, UDP_DENIED)
        return NULL
    else:
        # The same remote through another rule, by another address of the host, or from another loopback address: to the
        # guest it is one, and it is answered where it was heard last.
        before = _peer(flow).mapping
        flow_unlink(&w.flows, flow, HOST_SIDE)
    flow.life = FLOW_OPEN
    _join(w, flow, mapping, source, source_port)
    if local != NULL:
        _peer(flow).local = local[0]
    if before != NULL:
        _leave(w, before)
    if made:
        _tell_of(w, flow, source, source_port)
    return flow


cdef inline u8 _reply_type(const Addr *guest) noexcept nogil:
    return ICMP_ECHO_REPLY if addr_is4(guest) else ICMPV6_ECHO_REPLY


cdef inline bint _is_same_way(const Flow *flow, const Flow *mapping, const Addr *local) noexcept nogil:
    """Has this conversation's remote been heard by that socket, at that address of the host, before?"""
    cdef const DatagramPeer *peer = <const DatagramPeer *>flow.body
    return peer.mapping == mapping and (local == NULL or addr_eq(&peer.local, local))


cdef void datagrams_from_host(World *w, Flow *mapping, const Addr *source, u16 source_port, const Addr *local, const Piece *pieces,
                              int number) noexcept nogil:
    cdef Mapping *m = <Mapping *>mapping.body
    cdef FlowKey name
    cdef Flow *flow
    cdef int i
    cdef bint echo = mapping.name[<int>GUEST_SIDE].key.protocol == PROTO_ICMP
    if not echo and source_port == 0:
        count_n(&w.counters, UDP_PORT_ZERO, <u64>number)    # nothing could go back to it
        return
    flow_key_set(&name, PROTO_ICMP if echo else PROTO_UDP, &m.guest, m.guest_port, source, 0 if echo else source_port)
    flow = flow_find(&w.flows, HOST_SIDE, &name)
    if flow == NULL or not _is_same_way(flow, mapping, local):
        if echo:
            count_n(&w.counters, ICMP_UNSUPPORTED, <u64>number)
            return
        flow = _from_stranger(w, mapping, source, source_port, local)
        if flow == NULL:
            return
    if not echo:
        count_n(&w.counters, UDP_TO_GUEST, _to_guest(w, flow, pieces, number))
        return
    for i in range(number):
        if not _is_echo_reply(flow, pieces[i].data, pieces[i].length):
            count(&w.counters, ICMP_UNSUPPORTED)
        elif _echo_to_guest(w, flow, pieces[i].data, <u32>pieces[i].length):
            count(&w.counters, ICMP_TO_GUEST)


cdef void _told_guest(World *w, Flow *flow, u32 number, u64 length) noexcept nogil:
    """Account for what has gone out to the guest."""
    cdef DatagramPeer *peer = _peer(flow)
    flow.last_from_host = w.now
    flow.bytes_to_guest += length
    peer.to_guest += number
    if datagram_deadline(flow, peer) <= w.now:
        flow_rearm(w, flow, w.now)                      # a DNS exchange is over


cdef bint _echo_to_guest(World *w, Flow *flow, const u8 *data, u32 length) noexcept nogil:
    """An echo reply with the guest's identifier in place of the host's."""
    cdef const FlowKey *key = _key(flow)
    if not out_icmp(w, &key.far, &key.guest, _reply_type(&key.guest), 0, (<u32>key.guest_port << 16) | load16(data + 6),
                    data + ICMP_HEADER, length - ICMP_HEADER, OUR_TTL):
        return False
    _told_guest(w, flow, 1, length)
    return True


cdef inline bint _is_echo_reply(const Flow *flow, const u8 *data, u64 length) noexcept nogil:
    return length >= ICMP_HEADER and data[0] == _reply_type(&_key(flow).guest)


cdef u32 _to_guest(World *w, Flow *flow, const Piece *pieces, int number) noexcept nogil:
    """Datagrams of this flow; how many have gone out."""
    cdef const FlowKey *key = _key(flow)
    cdef u64 length = 0
    cdef u32 sent = out_datagrams(w, &key.far, key.far_port, &key.guest, key.guest_port, pieces, number, &length)
    if sent:
        _told_guest(w, flow, sent, length)
    return sent


cdef void datagram_error(World *w, Flow *mapping, const Addr *to, u16 port, const Addr *offender, u8 icmp_type, u8 icmp_code, u32 info,
                         const u8 *data, u32 length) noexcept nogil:
    cdef Mapping *m = <Mapping *>mapping.body
    cdef FlowKey name
    cdef Flow *flow
    cdef const Addr *source = offender
    cdef Quoted quoted
    cdef bint echo = mapping.name[<int>GUEST_SIDE].key.protocol == PROTO_ICMP
    flow_key_set(&name, PROTO_ICMP if echo else PROTO_UDP, &m.guest, m.guest_port, to, 0 if echo else port)
    flow = flow_find(&w.flows, HOST_SIDE, &name)
    count(&w.counters, UDP_HOST_ERROR)
    if flow == NULL or icmp_type not in (ICMP_UNREACHABLE, ICMP_TIME_EXCEEDED, ICMP_PARAMETER_PROBLEM):
        return
    if source != NULL:                                  # the far end itself is where the guest believes it to be
        source = &_key(flow).far if addr_eq(source, to) else _as_shown(w, source, &m.guest)
    quoted = Quoted(flow.ttl, UDP_HEADER + length, (<u32>m.guest_port << 16 | port) if echo else 0, data, length)
    out_icmp_error(w, _key(flow), source, icmp_type, icmp_code, info, &quoted)


cdef bint datagram_reply(World *w, Flow *flow, const u8 *data, u32 length) noexcept nogil:
    cdef Piece piece
    if _key(flow).protocol == PROTO_ICMP:
        return _is_echo_reply(flow, data, length) and _echo_to_guest(w, flow, data, length)
    piece.data = <u8 *>data
    piece.length = length
    return _to_guest(w, flow, &piece, 1) > 0
