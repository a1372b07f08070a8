"""Frames towards guests are built in place, in the queue of the port that they leave by (TCP's: core/segments).

A next hop is resolved once and remembered for the rest of the run (`hop`): the segments of a burst share it.  What
finds no MAC address asks for it and is told so; a TCP flow then waits, and so does the last datagram (RFC 1122
2.3.2.2).
"""

from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from pyslirp.engine.base.endian cimport store32
from pyslirp.engine.base.header.icmpv6 cimport (
    ICMPV6_ERRORS, ICMPV6_NEIGHBOR_ADVERTISEMENT, ICMPV6_NEIGHBOR_SOLICITATION, ND_HOP_LIMIT, ND_OPTION_SOURCE_LINK,
    ND_OPTION_TARGET_LINK)
from pyslirp.engine.base.header.ipv6 cimport IPV6_MTU_MIN
from pyslirp.engine.base.header.ipv6_extension cimport EXTENSION_FRAGMENT
from pyslirp.engine.base.header.udp cimport UDP_AT_CHECKSUM
from pyslirp.engine.base.ints cimport Addr, addr_eq, addr_is4, ns_never, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport (
    FRAGMENT_SENT, ICMP_ERROR_LIMITED, ICMP_ERROR_SENT, NEIGHBOR_TABLE_FULL, NEIGHBOR_UNRESOLVED, PORT_TOO_BIG, PORT_TX_FULL)
from pyslirp.engine.codecs.build cimport (
    ETH_MIN, FRAGMENT6_HEADER, ICMP_HEADER, ICMPV6_HEADER, IPV4_HEADER, IPV6_HEADER, NEIGHBOR_MESSAGE, UDP_HEADER,
    build_arp, build_ethernet, build_fragment6, build_icmpv6, build_ip, build_ipv4, build_neighbor, build_padding,
    build_partial_sum, build_udp)
from pyslirp.engine.codecs.offload cimport GSO_UDP, OFFLOAD_BYTES, Offload, offload_none, offload_write
from pyslirp.engine.codecs.parse cimport (
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETH_HEADER, PROTO_ICMP, PROTO_ICMPV6, PROTO_UDP, Packet)
from pyslirp.engine.core.port cimport PORTS_MAX, Port
from pyslirp.engine.core.switch cimport capture_frame, capture_pieces
from pyslirp.engine.core.world cimport OUR_TTL, World, addr_is_zero, world_next_hop, world_voice
from pyslirp.engine.protocols.icmp cimport ICMP_QUOTE_MAX, Quoted, icmp_error_allowed, icmp_quote, icmp_to_v6
from pyslirp.engine.stores.checksum cimport sum_bytes, sum_copy, sum_store
from pyslirp.engine.stores.chunks cimport ChunkPiece
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.stores.frame_queue cimport (
    fq_commit, fq_commit_pieces, fq_has_room, fq_reserve, fq_reserve_head)
from pyslirp.engine.stores.siphash cimport siphash
from pyslirp.engine.tables.flow cimport FlowKey
from pyslirp.engine.tables.mac_table cimport mac_find
from pyslirp.engine.tables.neighbor cimport (
    NEIGHBOR_REACHABLE, Neighbor, WaitingPacket, neighbor_add, neighbor_delay_ns, neighbor_find, neighbor_keep, neighbor_known,
    neighbor_lost, neighbor_reachable_ns, neighbor_retry_ns, neighbor_take_waiting, neighbor_wanted)

cdef enum:
    FRAGMENT_OVERHEAD = 80      # in a queue, at the most: its length, virtio-net, Ethernet, IP and Fragment headers
    UDP_PAYLOAD_MAX = 65507     # in an IPv4 packet of 65535 bytes
    UDP6_PAYLOAD_MAX = 65527    # in an IPv6 packet with a payload of 65535
    ERROR4_QUOTE = ICMP_QUOTE_MAX - IPV4_HEADER - ICMP_HEADER
    ERROR6_QUOTE = IPV6_MTU_MIN - IPV6_HEADER - ICMP_HEADER      # as much as the smallest link carries (RFC 4443 2.4)
    PLAIN_MTU = 1500            # what is taken for granted of a guest that is not in the neighbour table


cdef u8 *out_frame(World *w, u32 port, u32 length) noexcept nogil:
    return out_head(w, port, length if length > ETH_MIN else ETH_MIN, 0)


cdef u8 *out_head(World *w, u32 port, u32 length, u32 behind) noexcept nogil:
    cdef u32 head
    cdef u8 *at
    if port >= PORTS_MAX or not w.ports[port].alive:
        return NULL
    head = w.ports[port].head_bytes
    if behind:
        at = fq_reserve_head(&w.ports[port].tx, head + length, behind)
    else:
        at = fq_reserve(&w.ports[port].tx, head + length)
    if at != NULL and head:
        memset(at, 0, head)                             # nothing is left undone, unless the caller says so
        at += head
    return at


cdef inline void _count_frame(Port *p, u32 length) noexcept nogil:
    p.tx_frames += 1
    p.tx_bytes += length
    p.touched = True


cdef void out_commit(World *w, u32 port, const u8 *frame, u32 length) noexcept nogil:
    cdef Port *p = &w.ports[port]
    _count_frame(p, length)
    if w.capturing:
        capture_frame(w, port, False, frame, length)
    fq_commit(&p.tx, p.head_bytes + length)


cdef void out_commit_pieces(World *w, u32 port, const u8 *frame, u32 length, const ChunkPiece *pieces, int number) noexcept nogil:
    cdef Port *p = &w.ports[port]
    cdef u32 behind = 0
    cdef int i
    for i in range(number):
        behind += <u32>pieces[i].length
    _count_frame(p, length + behind)
    if w.capturing:
        capture_pieces(w, port, frame, length, pieces, number)
    fq_commit_pieces(&p.tx, p.head_bytes + length, pieces, number)


cdef void _flood_small(World *w, const u8 *frame, u32 length) noexcept nogil:
    """A frame of our own (an ARP request) to every port."""
    cdef u32 port
    cdef u8 *at
    for port in range(PORTS_MAX):
        if w.ports[port].alive:
            at = out_frame(w, port, length)
            if at == NULL:
                count(&w.counters, PORT_TX_FULL)
                continue
            memcpy(at, frame, length)
            out_commit(w, port, at, length)


cdef void out_arp_request(World *w, const Addr *target) noexcept nogil:
    cdef u8[64] frame
    cdef u8[6] everybody
    cdef u8[6] nobody
    cdef u32 n
    memset(everybody, 0xff, 6)
    memset(nobody, 0, 6)
    n = build_ethernet(frame, everybody, w.mac, ETHERTYPE_ARP)
    n += build_arp(frame + n, 1, w.mac, &w.gateway, nobody, target)
    _flood_small(w, frame, build_padding(frame, n))


cdef void _group_mac(u8 *mac, const Addr *group) noexcept nogil:
    """Of an IPv6 multicast address (RFC 2464 section 7)."""
    mac[0] = 0x33
    mac[1] = 0x33
    memcpy(mac + 2, &group.b[12], 4)


cdef void out_solicit(World *w, const Addr *target, const u8 *mac) noexcept nogil:
    cdef u8[ETH_HEADER + IPV6_HEADER + NEIGHBOR_MESSAGE] frame
    cdef u8[6] everybody
    cdef Addr to = target[0]
    cdef const Addr *source = world_voice(w, target)
    cdef int port = -1
    cdef u32 n
    cdef u8 *at
    if addr_is_zero(source):
        return                                          # a host that has no address yet asks nobody
    if mac == NULL:
        to.q[0] = 0                                     # ff02::1:ffXX:XXXX, the solicited-node group (RFC 4291 2.7.1)
        to.b[0] = 0xff
        to.b[1] = 0x02
        to.w[2] = 0
        to.b[11] = 0x01
        to.b[12] = 0xff
        _group_mac(everybody, &to)
    else:
        port = mac_find(&w.macs, mac)
    n = build_ethernet(frame, mac if mac != NULL else everybody, w.mac, ETHERTYPE_IPV6)
    n += build_ip(frame + n, source, &to, PROTO_ICMPV6, ND_HOP_LIMIT, 0, 0, NEIGHBOR_MESSAGE)
    n += build_neighbor(frame + n, source, &to, ICMPV6_NEIGHBOR_SOLICITATION, 0, target, ND_OPTION_SOURCE_LINK, w.mac)
    if port < 0:
        _flood_small(w, frame, n)
        return
    at = out_frame(w, <u32>port, n)
    if at == NULL:
        count(&w.counters, PORT_TX_FULL)
        return
    memcpy(at, frame, n)
    out_commit(w, <u32>port, at, n)


cdef bint out_advertise(World *w, u32 port, const u8 *mac, const Addr *to, u8 flags, const Addr *target) noexcept nogil:
    cdef u8[6] group
    cdef u32 n
    cdef u8 *at = out_frame(w, port, ETH_HEADER + IPV6_HEADER + NEIGHBOR_MESSAGE)
    if at == NULL:
        count(&w.counters, PORT_TX_FULL)
        w.ports[port].tx_dropped += 1
        return False
    if to.b[0] == 0xff:
        _group_mac(group, to)
        mac = group
    n = build_ethernet(at, mac, w.mac, ETHERTYPE_IPV6)
    n += build_ip(at + n, target, to, PROTO_ICMPV6, ND_HOP_LIMIT, 0, 0, NEIGHBOR_MESSAGE)
    n += build_neighbor(at + n, target, to, ICMPV6_NEIGHBOR_ADVERTISEMENT, flags, target, ND_OPTION_TARGET_LINK, w.mac)
    out_commit(w, port, at, n)
    return True


cdef void out_recheck(World *w, ns_t when) noexcept nogil:
    if when < w.neighbor_check:
        w.neighbor_check = when


cdef bint _ask(World *w, const Addr *next_hop) noexcept nogil:
    cdef Neighbor *n = neighbor_find(&w.neighbors, next_hop, w.now)
    if n == NULL:
        n = neighbor_add(&w.neighbors, next_hop, w.now)
        if n == NULL:
            count(&w.counters, NEIGHBOR_TABLE_FULL)
            return False
    if n.probes == 0:
        n.probes = 1
        n.asked = w.now
        if addr_is4(next_hop):
            out_arp_request(w, next_hop)
        else:
            out_solicit(w, next_hop, NULL)
        out_recheck(w, w.now + neighbor_retry_ns())
    return False


cdef void out_doubt(World *w, const Addr *to) noexcept nogil:
    cdef const Addr *next_hop = world_next_hop(w, to)
    cdef Neighbor *n = neighbor_find(&w.neighbors, next_hop, w.now) if addr_is4(next_hop) else NULL
    if n != NULL and n.probes == 0 and w.now - n.asked >= neighbor_retry_ns():
        n.asked = w.now
        out_arp_request(w, next_hop)


cdef bint out_resolve(World *w, const Addr *to) noexcept nogil:
    cdef const Addr *next_hop = world_next_hop(w, to)
    cdef Neighbor *n
    cdef int port
    if w.hop.valid and addr_eq(&w.hop.address, to) and w.now < w.hop.until:
        return True
    if to.b[0] == 0xff:
        return False                                    # a group has no neighbour; whoever sends to one knows its MAC address
    n = neighbor_find(&w.neighbors, next_hop, w.now)
    if n == NULL or not neighbor_known(n):
        return _ask(w, next_hop)
    port = mac_find(&w.macs, n.mac)
    if port < 0:
        neighbor_lost(&w.neighbors, n)                  # its link is gone; on whichever it is now, it will answer
        return _ask(w, next_hop)
    w.hop.until = ns_never()
    if not addr_is4(next_hop):
        if neighbor_wanted(n, w.now):
            out_recheck(w, w.now + neighbor_delay_ns())
        if n.state == NEIGHBOR_REACHABLE:
            w.hop.until = n.confirmed + neighbor_reachable_ns()
    w.hop.valid = True
    w.hop.address = to[0]
    memcpy(w.hop.mac, n.mac, 6)
    w.hop.port = <u32>port
    w.hop.mtu = min(min(n.mtu, w.mtu), w.ports[port].mtu)
    return True


# -- datagrams --------------------------------------------------------------------------------------------------------

cdef u32 _next_identification(World *w, const Addr *to) noexcept nogil:
    """Of a datagram that is cut up.  IPv6's cannot be foretold from those that others see (RFC 7739)."""
    if addr_is4(to):
        return w.ip_id
    w.ip_id6 += 1
    return w.ip_id6 + <u32>siphash(to.b, 16, w.isn_key)


cdef bint _fragment(World *w, const u8 *mac, u32 port, const Addr *source, const Addr *to, u8 protocol, u8 ttl, u32 ident,
                    bint whole, const u8 *head, u32 head_bytes, const u8 *body, u32 offset, u32 length, bint more) noexcept nogil:
    """One IP packet with bytes [offset, offset + length) of head + body; whole: that is all of them."""
    cdef bint v4 = addr_is4(to)
    cdef u32 n, from_head
    cdef u32 total = ETH_HEADER + length + (IPV4_HEADER if v4 else IPV6_HEADER + (0 if whole else FRAGMENT6_HEADER))
    cdef u8 *at = out_frame(w, port, total)
    if at == NULL:
        count(&w.counters, PORT_TX_FULL)
        w.ports[port].tx_dropped += 1
        return False
    n = build_ethernet(at, mac, w.mac, ETHERTYPE_IPV4 if v4 else ETHERTYPE_IPV6)
    if v4:
        n += build_ipv4(at + n, source, to, protocol, ttl, 0, <u16>ident, length, offset, more, False)
    elif whole:
        n += build_ip(at + n, source, to, protocol, ttl, 0, 0, length)
    else:
        n += build_ip(at + n, source, to, EXTENSION_FRAGMENT, ttl, 0, 0, FRAGMENT6_HEADER + length)
        n += build_fragment6(at + n, protocol, offset, more, ident)
    from_head = head_bytes - offset if offset < head_bytes else 0
    if from_head > length:
        from_head = length
    if from_head:
        memcpy(at + n, head + offset, from_head)
    if length > from_head:
        memcpy(at + n + from_head, body + (offset + from_head - head_bytes), length - from_head)
    out_commit(w, port, at, build_padding(at, total))
    return True


cdef bint _out_ip(World *w, const u8 *mac, u32 port, u32 mtu, const Addr *source, const Addr *to, u8 protocol, u8 ttl,
                  const u8 *head, u32 head_bytes, const u8 *body, u32 body_bytes) noexcept nogil:
    """An IP packet of two parts, in fragments where it is longer than the guest's MTU (RFC 791, RFC 8200 section 4.5): all of
    them or none.
    """
    cdef bint v4 = addr_is4(to)
    cdef u32 total = head_bytes + body_bytes, offset = 0, length, ident
    cdef u32 most = (mtu - (IPV4_HEADER if v4 else IPV6_HEADER + FRAGMENT6_HEADER)) // 8 * 8
    w.ip_id += 1
    if total + (IPV4_HEADER if v4 else IPV6_HEADER) <= mtu:
        return _fragment(w, mac, port, source, to, protocol, ttl, w.ip_id, True, head, head_bytes, body, 0, total, False)
    if not fq_has_room(&w.ports[port].tx, total + (total // most + 1) * FRAGMENT_OVERHEAD):
        count(&w.counters, PORT_TX_FULL)
        w.ports[port].tx_dropped += 1
        return False
    ident = _next_identification(w, to)
    while offset < total:
        length = total - offset if total - offset < most else most
        if not _fragment(w, mac, port, source, to, protocol, ttl, ident, False, head, head_bytes, body, offset, length,
                         offset + length < total):
            return False
        count(&w.counters, FRAGMENT_SENT)
        offset += length
    return True


cdef bint _keep(World *w, const Addr *source, const Addr *to, u8 protocol, u8 ttl, const u8 *head, u32 head_bytes,
                const u8 *body, u32 body_bytes) noexcept nogil:
    """The MAC address is being asked for: the packet waits for it."""
    cdef Neighbor *n = neighbor_find(&w.neighbors, world_next_hop(w, to), w.now)
    cdef bint had = n != NULL and n.waiting != NULL
    cdef bint kept = n != NULL and neighbor_keep(n, source, to, protocol, ttl, head, head_bytes, body, body_bytes)
    if had or not kept:
        count(&w.counters, NEIGHBOR_UNRESOLVED)         # the older one, or this one
    return kept


cdef void out_waiting(World *w, Neighbor *n) noexcept nogil:
    cdef WaitingPacket *packet = neighbor_take_waiting(n)
    if packet == NULL:
        return
    if out_resolve(w, &packet.destination):
        _out_ip(w, w.hop.mac, w.hop.port, w.hop.mtu, &packet.source, &packet.destination, packet.protocol, packet.ttl,
                packet.data, packet.length, NULL, 0)
    else:
        count(&w.counters, NEIGHBOR_UNRESOLVED)
    free(packet)


cdef bint _out(World *w, const Addr *source, const Addr *to, u8 protocol, u8 ttl, const u8 *head, u32 head_bytes,
               const u8 *body, u32 body_bytes, const u8 *mac, int port) noexcept nogil:
    """By the neighbour table, or past it to a MAC address on a port."""
    if mac == NULL or port < 0:
        if not out_resolve(w, to):
            return _keep(w, source, to, protocol, ttl, head, head_bytes, body, body_bytes)
        return _out_ip(w, w.hop.mac, w.hop.port, w.hop.mtu, source, to, protocol, ttl, head, head_bytes, body, body_bytes)
    if port >= PORTS_MAX or not w.ports[port].alive:
        count(&w.counters, NEIGHBOR_UNRESOLVED)         # the guest that it was for has gone
        return False
    return _out_ip(w, mac, <u32>port, min(<u32>PLAIN_MTU, w.ports[port].mtu), source, to, protocol, ttl, head, head_bytes,
                   body, body_bytes)


cdef bint out_udp(World *w, const Addr *source, u16 source_port, const Addr *to, u16 to_port, u8 ttl, const u8 *payload, u32 length,
                  const u8 *mac, int port) noexcept nogil:
    cdef u8[UDP_HEADER] head
    if addr_is4(source) != addr_is4(to) or length > (UDP_PAYLOAD_MAX if addr_is4(to) else UDP6_PAYLOAD_MAX):
        count(&w.counters, PORT_TOO_BIG)
        return False
    build_udp(head, source, to, source_port, to_port, length, sum_bytes(payload, length, 0))
    return _out(w, source, to, PROTO_UDP, ttl, head, UDP_HEADER, payload, length, mac, port)


cdef bint _alike(const Piece *pieces, int number) noexcept nogil:
    """May they be one super-frame: all of one length, only the last one shorter, and none empty?"""
    cdef int i
    for i in range(1, number):
        if pieces[i].length != pieces[0].length and (i + 1 < number or pieces[i].length > pieces[0].length):
            return False
    return pieces[number - 1].length > 0


cdef void _offload_datagrams(u8 *frame, const Addr *source, const Addr *to, u32 l4, u32 length, u32 each) noexcept nogil:
    """Leave the checksum to the link, and where there is more than one datagram the cutting too.  length: all payload."""
    cdef Offload offload
    offload_none(&offload)
    offload.partial = True
    offload.sum_from = l4
    offload.sum_at = l4 + UDP_AT_CHECKSUM
    if length > each:
        offload.gso = GSO_UDP
        offload.gso_bytes = each
    build_partial_sum(frame + offload.sum_at, source, to, PROTO_UDP, UDP_HEADER + length)
    offload_write(frame - OFFLOAD_BYTES, &offload, l4 + UDP_HEADER)


cdef bint _out_whole(World *w, const Addr *source, u16 source_port, const Addr *to, u16 to_port, const Piece *pieces, int number,
                     u32 length) noexcept nogil:
    """Datagrams that need no fragments, `length` bytes in all, to the hop resolved last; False: there is no room."""
    cdef bint v4 = addr_is4(to), offloading = w.ports[w.hop.port].head_bytes != 0
    cdef u32 l4 = ETH_HEADER + (IPV4_HEADER if v4 else IPV6_HEADER), offset = l4 + UDP_HEADER, total = 0
    cdef u8 *at = out_frame(w, w.hop.port, offset + length)
    cdef int i
    if at == NULL:
        return False
    w.ip_id += 1
    build_ethernet(at, w.hop.mac, w.mac, ETHERTYPE_IPV4 if v4 else ETHERTYPE_IPV6)
    if v4:
        build_ipv4(at + ETH_HEADER, source, to, PROTO_UDP, OUR_TTL, 0, w.ip_id, UDP_HEADER + length, 0, False, False)
    else:
        build_ip(at + ETH_HEADER, source, to, PROTO_UDP, OUR_TTL, 0, w.ip_id, UDP_HEADER + length)
    if offloading:
        for i in range(number):
            memcpy(at + offset, pieces[i].data, pieces[i].length)
            offset += <u32>pieces[i].length
    else:
        total = sum_copy(at + offset, pieces.data, pieces.length, 0)
    build_udp(at + l4, source, to, source_port, to_port, length, total)
    if offloading:
        w.ip_id += <u16>(number - 1)                    # the link counts up
        _offload_datagrams(at, source, to, l4, length, <u32>pieces.length)
    out_commit(w, w.hop.port, at, build_padding(at, l4 + UDP_HEADER + length))
    return True


cdef u32 out_datagrams(World *w, const Addr *source, u16 source_port, const Addr *to, u16 to_port, const Piece *pieces, int number,
                       u64 *sent_bytes) noexcept nogil:
    cdef u64 length = 0
    cdef u32 header, sent = 0
    cdef bint v4 = addr_is4(to), fitting = addr_is4(source) == v4
    cdef int i
    for i in range(number):
        length += pieces[i].length
    header = UDP_HEADER + (IPV4_HEADER if v4 else IPV6_HEADER)
    if (number > 1 and fitting and length <= UDP_PAYLOAD_MAX and out_resolve(w, to) and w.ports[w.hop.port].uso
            and pieces.length + header <= w.hop.mtu and _alike(pieces, number)
            and _out_whole(w, source, source_port, to, to_port, pieces, number, <u32>length)):
        sent_bytes[0] += length
        return <u32>number
    for i in range(number):
        if fitting and out_resolve(w, to) and pieces[i].length + header <= w.hop.mtu:
            if not _out_whole(w, source, source_port, to, to_port, pieces + i, 1, <u32>pieces[i].length):
                count(&w.counters, PORT_TX_FULL)
                w.ports[w.hop.port].tx_dropped += 1
                continue
        elif not out_udp(w, source, source_port, to, to_port, OUR_TTL, pieces[i].data, <u32>pieces[i].length, NULL, -1):
            continue
        sent += 1
        sent_bytes[0] += pieces[i].length
    return sent


cdef bint out_icmp(World *w, const Addr *source, const Addr *to, u8 kind, u8 code, u32 rest, const u8 *body, u32 length, u8 ttl) noexcept nogil:
    cdef u8[ICMP_HEADER] head
    cdef u32 total
    if addr_is4(source) != addr_is4(to):
        return False
    store32(head + 4, rest)
    if addr_is4(to):
        head[0] = kind
        head[1] = code
        head[2] = 0
        head[3] = 0
        total = sum_bytes(body, length, sum_bytes(head, ICMP_HEADER, 0))
        sum_store(head + 2, total)
    else:
        build_icmpv6(head, source, to, kind, code, 4 + length, sum_bytes(body, length, sum_bytes(head + 4, 4, 0)))
    return _out(w, source, to, PROTO_ICMP if addr_is4(to) else PROTO_ICMPV6, ttl if ttl else OUR_TTL, head, ICMP_HEADER, body,
                length, NULL, -1)


cdef bint out_icmpv6(World *w, const Addr *source, const Addr *to, u8 kind, u8 code, const u8 *body, u32 length, u8 hop_limit,
                     const u8 *mac, int port) noexcept nogil:
    cdef u8[ICMPV6_HEADER] head
    cdef u8[6] group
    cdef bint sent = False
    cdef int i
    build_icmpv6(head, source, to, kind, code, length, sum_bytes(body, length, 0))
    if to.b[0] != 0xff:
        return _out(w, source, to, PROTO_ICMPV6, hop_limit, head, ICMPV6_HEADER, body, length, mac, port)
    if mac == NULL:
        _group_mac(group, to)
        mac = group
    for i in range(PORTS_MAX):
        if w.ports[i].alive and (port < 0 or i == port):
            sent |= _out(w, source, to, PROTO_ICMPV6, hop_limit, head, ICMPV6_HEADER, body, length, mac, i)
    return sent


cdef bint _may_complain(World *w, const Addr *guest) noexcept nogil:
    """Has this guest's link not had enough errors of late?

    While its MAC address is being asked for, an error waits for that like any packet, one of them for each guest.
    """
    if not out_resolve(w, guest):
        return True
    if not icmp_error_allowed(&w.ports[w.hop.port].errors, w.now):
        count(&w.counters, ICMP_ERROR_LIMITED)
        return False
    return True


cdef bint out_icmp_error(World *w, const FlowKey *key, const Addr *source, u8 kind, u8 code, u32 rest, const Quoted *quoted) noexcept nogil:
    cdef u8[ERROR6_QUOTE] quote
    cdef bint v4 = addr_is4(&key.guest)
    cdef u32 n
    if addr_is4(&key.far) != v4 or (not v4 and not icmp_to_v6(&kind, &code)) or not _may_complain(w, &key.guest):
        return False
    n = icmp_quote(quote, <u32>ERROR4_QUOTE if v4 else <u32>ERROR6_QUOTE, key, quoted)
    if source == NULL or addr_is4(source) != v4:
        source = world_voice(w, &key.guest)
    if not out_icmp(w, source, &key.guest, kind, code, rest, quote, n, OUR_TTL):
        return False
    count(&w.counters, ICMP_ERROR_SENT)
    return True


cdef bint out_icmpv6_error(World *w, const Packet *p, u8 kind, u8 code, u32 rest) noexcept nogil:
    if (p.protocol == PROTO_ICMPV6 and p.l3_header < p.l3_bytes and p.l3[p.l3_header] < ICMPV6_ERRORS) or not _may_complain(w, &p.source):
        return False
    if not out_icmp(w, world_voice(w, &p.source), &p.source, kind, code, rest, p.l3, min(p.l3_bytes, <u32>ERROR6_QUOTE), OUR_TTL):
        return False
    count(&w.counters, ICMP_ERROR_SENT)
    return True
