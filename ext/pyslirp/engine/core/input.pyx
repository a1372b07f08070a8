"""Dispatch of a frame: switch, ARP, IP, reassembly, then by protocol.  What is wrong is counted by its reason and dropped."""

from libc.string cimport memcmp, memcpy

from pyslirp.engine.base.endian cimport load16, load32
from pyslirp.engine.base.header.icmpv6 cimport (
    BEYOND_SCOPE, ICMPV6_ECHO, ICMPV6_ECHO_REPLY, ICMPV6_ERRORS, ICMPV6_PARAMETER_PROBLEM, ICMPV6_TIME_EXCEEDED,
    ICMPV6_TOO_BIG, ICMPV6_UNREACHABLE, PORT_UNREACHABLE6, PROBLEM_FIELD, PROBLEM_OPTION)
from pyslirp.engine.base.header.ipv6 cimport IPV6_AT_PAYLOAD_LENGTH, IPV6_MTU_MIN
from pyslirp.engine.base.header.ipv6_extension cimport FRAGMENT6_AT_OFFSET
from pyslirp.engine.base.ints cimport Addr, addr_eq, addr_from4, addr_is4, mac_is_group, u8, u32
from pyslirp.engine.base.span cimport Span, span_at
from pyslirp.engine.base.status cimport (
    ARP_ANSWERED, ARP_MALFORMED, ARP_NOT_OURS, ARP_SHORT, CLAIMED_DATAGRAM, CLAIMED_QUEUE_FULL, ETH_UNKNOWN_TYPE,
    FRAGMENT_MALFORMED, FRAGMENT_REASSEMBLED, FRAGMENT_TABLE_FULL, FRAGMENT_TOO_BIG, ICMP_ECHO_ANSWERED, ICMP_ERROR_FROM_GUEST,
    ICMP_UNSUPPORTED, IPV4_BAD_DESTINATION, IPV4_BAD_SOURCE, IPV4_IGNORED, IPV6_BAD_DESTINATION, IPV6_BAD_SOURCE, IPV6_IGNORED,
    IPV6_MULTICAST, LINK_BAD_OFFLOAD, OK, PORT_TX_FULL, Status)
from pyslirp.engine.codecs.build cimport UDP_HEADER, build_arp, build_ethernet, build_padding
from pyslirp.engine.codecs.offload cimport GSO_UDP, Offload
from pyslirp.engine.codecs.parse cimport (
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETH_HEADER, PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP, Packet,
    parse_ethernet, parse_ip, parse_ip_at, parse_transport)
from pyslirp.engine.codecs.quote cimport Quote, quote_parse
from pyslirp.engine.core.bursts cimport datagrams_flush
from pyslirp.engine.core.datagrams cimport datagram_input
from pyslirp.engine.core.discovery cimport discovery_input, discovery_is
from pyslirp.engine.core.neighbors cimport neighbor_learned
from pyslirp.engine.core.output cimport out_commit, out_frame, out_icmp, out_icmp_error, out_icmpv6_error
from pyslirp.engine.core.punts cimport PUNT_DATAGRAM, Punt, punt_with
from pyslirp.engine.core.streams cimport stream_icmp_error, stream_input, streams_run
from pyslirp.engine.core.switch cimport capture_frame, switch_frame
from pyslirp.engine.core.world cimport (
    UdpClaim, World, addr_is_group, addr_is_link_local, addr_is_zero, world_next_hop, world_on_link, world_owns,
    world_voice)
from pyslirp.engine.protocols.icmp cimport (
    ICMP_ECHO, ICMP_ECHO_REPLY, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, UNREACHABLE_PORT, UNREACHABLE_PROTOCOL,
    UNREACHABLE_TOO_BIG, Quoted)
from pyslirp.engine.stores.counters cimport count, count_n
from pyslirp.engine.tables.flow cimport GUEST_SIDE, FlowKey, flow_find, flow_key_set
from pyslirp.engine.tables.neighbor cimport Neighbor, neighbor_find
from pyslirp.engine.tables.reassembly cimport reassembly_add, reassembly_evicted

cdef enum:
    ARP_BYTES = 28              # Ethernet and IPv4 (RFC 826)
    ARP_REQUEST = 1
    ARP_REPLY = 2
    PATH_MTU_MIN4 = 576         # what every IPv4 host can put together (RFC 791); less is not believed
    SUPER_FRAME_DATAGRAMS = 128 # in one frame at most (Linux: UDP_MAX_SEGMENTS)


# -- ARP --------------------------------------------------------------------------------------------------------------

cdef Status _arp(World *w, u32 port, const Packet *p) noexcept nogil:
    """RFC 826 and RFC 5227: answers for our own addresses only; a probe (sender 0.0.0.0) teaches nothing."""
    cdef Span span
    cdef const u8 *a
    cdef u8 *at
    cdef Addr sender
    cdef Addr target
    cdef u32 n
    span.data = p.frame + ETH_HEADER
    span.length = p.frame_bytes - ETH_HEADER
    a = span_at(&span, 0, ARP_BYTES)
    if a == NULL:
        return ARP_SHORT
    if load16(a) != 1 or load16(a + 2) != ETHERTYPE_IPV4 or a[4] != 6 or a[5] != 4 or load16(a + 6) not in (ARP_REQUEST, ARP_REPLY):
        return ARP_MALFORMED
    addr_from4(&sender, a + 14)
    addr_from4(&target, a + 24)
    if memcmp(a + 8, p.source_mac, 6) == 0 and (a[14] | a[15] | a[16] | a[17]):
        neighbor_learned(w, &sender, a + 8, True)
    if load16(a + 6) != ARP_REQUEST:
        return OK
    if not world_owns(w, &target) or world_owns(w, &sender):
        return ARP_NOT_OURS
    at = out_frame(w, port, 64)
    if at == NULL:
        w.ports[port].tx_dropped += 1
        return PORT_TX_FULL
    n = build_ethernet(at, p.source_mac, w.mac, ETHERTYPE_ARP)
    n += build_arp(at + n, ARP_REPLY, w.mac, &target, a + 8, &sender)
    out_commit(w, port, at, build_padding(at, n))
    return ARP_ANSWERED


# -- IP ---------------------------------------------------------------------------------------------------------------

cdef void _hand_up(World *w, const Packet *p, u32 port) noexcept nogil:
    """A datagram, or an echo reply, to whoever in Python waits for it."""
    cdef Punt *punt = punt_with(&w.punts, PUNT_DATAGRAM, p.payload, p.payload_bytes)
    if punt == NULL:
        count(&w.counters, CLAIMED_QUEUE_FULL)
        return
    punt.link = port
    memcpy(punt.mac, p.source_mac, 6)
    flow_key_set(&punt.key, <u8>PROTO_ICMP if p.protocol == PROTO_ICMPV6 else p.protocol, &p.source, p.source_port, &p.destination, p.destination_port)
    count(&w.counters, CLAIMED_DATAGRAM)


cdef bint _claimed(World *w, const Packet *p, u32 port) noexcept nogil:
    """Hand a datagram to the service that has claimed it."""
    cdef u32 i
    cdef UdpClaim *claim
    for i in range(w.claim_count):
        claim = &w.claims[i]
        if claim.port == p.destination_port and (claim.any_address or addr_eq(&claim.address, &p.destination)):
            _hand_up(w, p, port)
            return True
    return False


cdef void _narrow(World *w, const Quote *quote, u32 mtu) noexcept nogil:
    """A datagram of ours was larger than a link behind the guest carries: the next are cut smaller (RFC 8201, RFC 1191).

    Believed where we do send such datagrams, and down to what every host of IPv4 puts together; over IPv6, whose every link
    carries IPV6_MTU_MIN, less is no size at all (RFC 8201 section 4: it MUST be discarded), as it is for TCP (path.pyx).
    """
    cdef FlowKey key
    cdef Neighbor *n = neighbor_find(&w.neighbors, world_next_hop(w, &quote.destination), w.now)
    flow_key_set(&key, PROTO_UDP, &quote.destination, quote.destination_port, &quote.source, quote.source_port)
    if n == NULL or flow_find(&w.flows, GUEST_SIDE, &key) == NULL:
        return
    if addr_is4(&quote.destination):
        mtu = max(mtu, <u32>PATH_MTU_MIN4)
    elif mtu < <u32>IPV6_MTU_MIN:
        return
    if mtu < n.mtu and mtu < quote.packet_bytes:
        n.mtu = mtu
        w.hop.valid = False


cdef void _icmp_error(World *w, const Packet *p) noexcept nogil:
    """To whom it concerns.  (Of datagrams it is only their size: a guest's port unreachable ends no mapping, RFC 4787 REQ-10.)"""
    cdef Quote quote
    cdef u8 code = p.icmp_code
    if not quote_parse(&quote, p.payload, p.payload_bytes):
        return
    if quote.protocol == PROTO_UDP:
        if p.v6 and p.icmp_type == ICMPV6_TOO_BIG:
            _narrow(w, &quote, load32(p.l4 + 4))
        elif not p.v6 and p.icmp_type == ICMP_UNREACHABLE and code == UNREACHABLE_TOO_BIG:
            _narrow(w, &quote, load16(p.l4 + 6))
        return
    if quote.protocol != PROTO_TCP:
        return
    if p.v6:
        if p.icmp_type == ICMPV6_TOO_BIG:
            stream_icmp_error(w, &quote, True, False, load32(p.l4 + 4))     # RFC 4443 section 3.2
        elif p.icmp_type == ICMPV6_UNREACHABLE:
            stream_icmp_error(w, &quote, False, code == PORT_UNREACHABLE6, 0)
    elif p.icmp_type == ICMP_UNREACHABLE and code == UNREACHABLE_TOO_BIG:
        stream_icmp_error(w, &quote, True, False, load16(p.l4 + 6))    # RFC 1191 section 4
    elif p.icmp_type == ICMP_UNREACHABLE:
        stream_icmp_error(w, &quote, False, code == UNREACHABLE_PORT or code == UNREACHABLE_PROTOCOL, 0)


cdef Status _icmp(World *w, const Packet *p, u32 port) noexcept nogil:
    cdef bint sent
    if p.icmp_type == (ICMPV6_ECHO if p.v6 else ICMP_ECHO):
        if world_owns(w, &p.destination):
            # To the gateway, the DNS alias: answered here (RFC 1122 3.2.2.6, RFC 4443 4.2), with the data as it came.
            sent = _echo_reply(w, p, &p.destination)
            return ICMP_ECHO_ANSWERED if sent else OK   # counted by its reason
        datagram_input(w, p, port)
        return OK
    if p.icmp_type < ICMPV6_ERRORS if p.v6 else p.icmp_type == ICMP_UNREACHABLE or p.icmp_type == ICMP_TIME_EXCEEDED:
        _icmp_error(w, p)
        return ICMP_ERROR_FROM_GUEST
    if not w.forwarding and p.icmp_type == (ICMPV6_ECHO_REPLY if p.v6 else ICMP_ECHO_REPLY):
        _hand_up(w, p, port)                            # a host of the simulator hears the answer to its ping
        return OK
    return ICMP_UNSUPPORTED


cdef bint _echo_reply(World *w, const Packet *p, const Addr *source) noexcept nogil:
    return out_icmp(w, source, &p.source, <u8>ICMPV6_ECHO_REPLY if p.v6 else <u8>ICMP_ECHO_REPLY, 0,
                    (<u32>p.source_port << 16) | p.destination_port, p.payload, p.payload_bytes, 0)


cdef void _expired(World *w, const Packet *p) noexcept nogil:
    """A packet with no TTL left: RFC 1812 5.3.1.  (With a TTL of 1 it goes out; the first real router says so.)"""
    cdef FlowKey key
    cdef Quoted quoted
    if p.v6:
        out_icmpv6_error(w, p, ICMPV6_TIME_EXCEEDED, 0, 0)
        return
    if p.protocol == PROTO_ICMP and p.icmp_type != ICMP_ECHO:
        return                                          # no error about an error (RFC 1122 3.2.2)
    flow_key_set(&key, p.protocol, &p.source, p.source_port, &p.destination, p.destination_port)
    quoted = Quoted(0, p.l4_bytes, load32(p.l4 + 4), p.l4 + 8, p.l4_bytes - 8)
    out_icmp_error(w, &key, NULL, ICMP_TIME_EXCEEDED, 0, 0, &quoted)


cdef Status _admit(const World *w, const Packet *p) noexcept nogil:
    """Is this packet between hosts, and could an answer find its sender?

    Asked of what no service has claimed: DHCP's may come from 0.0.0.0, or from an address of another network.
    """
    if p.v6 and p.destination.b[0] == 0xff:
        return IPV6_MULTICAST
    if addr_is_group(w, &p.destination) or (not w.forwarding and not world_owns(w, &p.destination)):
        return IPV6_BAD_DESTINATION if p.v6 else IPV4_BAD_DESTINATION
    if mac_is_group(p.destination_mac):                 # an Ethernet broadcast is not forwarded (RFC 1812 5.3.4)
        return IPV6_BAD_DESTINATION if p.v6 else IPV4_BAD_DESTINATION
    if addr_is_group(w, &p.source) or (w.forwarding and not world_on_link(w, &p.source)):
        return IPV6_BAD_SOURCE if p.v6 else IPV4_BAD_SOURCE     # RFC 1812 5.3.8
    return OK


cdef bint _beyond_scope(World *w, const Packet *p) noexcept nogil:
    """From a link-local address, of which nobody but us knows whose it is, to the world: RFC 4443 3.1, code 2."""
    if not p.v6 or not addr_is_link_local(&p.source) or world_owns(w, &p.destination):
        return False
    out_icmpv6_error(w, p, ICMPV6_UNREACHABLE, BEYOND_SCOPE, 0)
    return True


cdef Status _multicast_icmp(World *w, const Packet *p, u32 port) noexcept nogil:
    """ICMPv6 to a group: Neighbour Discovery, and a ping to all nodes or all routers (RFC 4443 section 4.2)."""
    cdef u8 group = p.destination.b[15]
    if p.icmp_type == ICMPV6_ECHO and not addr_is_zero(&p.source) and world_on_link(w, &p.source):
        if (p.destination.w[0] == 0x000002ff and p.destination.w[1] == 0 and p.destination.w[2] == 0
                and p.destination.b[12] == 0 and p.destination.b[13] == 0 and p.destination.b[14] == 0
                and (group == 1 or (group == 2 and w.forwarding))):
            return ICMP_ECHO_ANSWERED if _echo_reply(w, p, world_voice(w, &p.source)) else OK
    return IPV6_MULTICAST


cdef Status _transport(World *w, Packet *p, u32 port) noexcept nogil:
    cdef Status status = parse_transport(p)
    if status != OK:
        if p.v6 and _admit(w, p) == OK:
            _report_problem(w, p)
        return status
    if p.protocol == PROTO_ICMPV6 and discovery_is(p.icmp_type):
        return discovery_input(w, p, port)
    if p.protocol == PROTO_ICMPV6 and p.destination.b[0] == 0xff:
        return _multicast_icmp(w, p, port)
    if p.protocol == PROTO_UDP and p.offload != NULL and p.offload.gso == GSO_UDP:
        return _datagrams(w, p, port)
    return _deliver(w, p, port)


cdef Status _datagrams(World *w, Packet *p, u32 port) noexcept nogil:
    """A super-frame of datagrams: each as if it had come by itself."""
    cdef const u8 *payload = p.payload
    cdef u32 rest = p.payload_bytes, each = p.offload.gso_bytes
    cdef Status status = OK
    if rest > each * SUPER_FRAME_DATAGRAMS:
        return LINK_BAD_OFFLOAD
    while rest and status == OK:
        p.payload = payload
        p.payload_bytes = min(rest, each)
        p.l4_bytes = UDP_HEADER + p.payload_bytes
        status = _deliver(w, p, port)
        payload += p.payload_bytes
        rest -= p.payload_bytes
    return status


cdef Status _deliver(World *w, const Packet *p, u32 port) noexcept nogil:
    """A packet that is whole, to whoever it is for."""
    cdef Status status
    if p.protocol == PROTO_UDP and not (p.v6 and addr_is_zero(&p.source)) and _claimed(w, p, port):
        return OK
    status = _admit(w, p)
    if status != OK:
        return status
    if _beyond_scope(w, p):
        return IPV6_BAD_SOURCE
    if p.ttl == 0 and not world_owns(w, &p.destination):
        _expired(w, p)
        return OK
    if p.protocol == PROTO_TCP:
        stream_input(w, p, port)
    elif p.protocol == PROTO_UDP:
        datagram_input(w, p, port)
    else:
        return _icmp(w, p, port)                        # parse_transport has let nothing else pass
    return OK


cdef void _report_problem(World *w, const Packet *p) noexcept nogil:
    """RFC 8200 section 4: what was wrong with the headers, where it is to be reported."""
    if p.problem >= 0:
        out_icmpv6_error(w, p, ICMPV6_PARAMETER_PROBLEM, <u8>p.problem, p.problem_at)


cdef Status _refused6(World *w, Packet *p, Status status) noexcept nogil:
    """An IPv6 packet whose headers do not pass.  One with a strange option is reported to a group's sender too (RFC 4443 2.4)."""
    if p.problem >= 0 and world_on_link(w, &p.source) and not world_owns(w, &p.source):
        if p.destination.b[0] != 0xff or p.problem == PROBLEM_OPTION:
            _report_problem(w, p)
    return status


cdef void _prove_mtu(World *w, const Packet *p) noexcept nogil:
    """A guest that sends a larger packet takes one too, up to what was announced (DESIGN: what the guest meets).

    A super-frame proves nothing: it never was on a wire.
    """
    cdef Neighbor *n = neighbor_find(&w.neighbors, &p.source, w.now)
    if n != NULL and n.mtu < p.l3_bytes and n.mtu < w.mtu:
        n.mtu = p.l3_bytes if p.l3_bytes < w.mtu else w.mtu
        w.hop.valid = False


cdef Status _whole(World *w, u32 port, Packet *p) noexcept nogil:
    """A fragment; when it is the last one that was missing, the datagram."""
    cdef const u8 *l3
    cdef u32 l3_bytes
    cdef Status status = reassembly_add(w.reassembly, p, w.now, &l3, &l3_bytes)
    count_n(&w.counters, FRAGMENT_TABLE_FULL, reassembly_evicted(w.reassembly))
    if p.v6 and (status == FRAGMENT_MALFORMED or status == FRAGMENT_TOO_BIG):
        p.problem = PROBLEM_FIELD                       # RFC 8200 section 4.5
        p.problem_at = IPV6_AT_PAYLOAD_LENGTH if status == FRAGMENT_MALFORMED else p.unfragmented + FRAGMENT6_AT_OFFSET
        return _refused6(w, p, status)
    if status != FRAGMENT_REASSEMBLED:
        return status
    count(&w.counters, FRAGMENT_REASSEMBLED)
    p.checksum_good = False                             # what was said of a fragment was not said of the whole
    p.offload = NULL
    status = parse_ip_at(p, l3, l3_bytes)
    if status == OK:
        status = FRAGMENT_MALFORMED if p.fragment else _transport(w, p, port)      # no fragments of fragments
    # The whole lies in the table's buffer, which the next fragment may reuse: what streams have of it they hand on now.
    if w.tcp.arena.used:
        streams_run(w)
    datagrams_flush(w)
    return status


cdef Status _ip(World *w, u32 port, Packet *p) noexcept nogil:
    cdef Status status = parse_ip(p)
    if status != OK:
        return _refused6(w, p, status) if p.ethertype == ETHERTYPE_IPV6 else status
    if world_owns(w, &p.source):
        return IPV6_BAD_SOURCE if p.v6 else IPV4_BAD_SOURCE
    if not p.v6:
        neighbor_learned(w, &p.source, p.source_mac, False)
    if p.l3_bytes > 1500 and (p.offload == NULL or p.offload.gso_bytes == 0):
        _prove_mtu(w, p)
    return _whole(w, port, p) if p.fragment else _transport(w, p, port)


cdef Status _dispatch(World *w, u32 port, Packet *p) noexcept nogil:
    if p.ethertype == ETHERTYPE_IPV4:
        return _ip(w, port, p) if w.ipv4 else IPV4_IGNORED
    if p.ethertype == ETHERTYPE_ARP:
        return _arp(w, port, p) if w.ipv4 else IPV4_IGNORED
    if p.ethertype == ETHERTYPE_IPV6:
        return _ip(w, port, p) if w.ipv6 else IPV6_IGNORED
    return ETH_UNKNOWN_TYPE


cdef void input_frame(World *w, u32 port, const u8 *frame, u32 length, const Offload *offload) noexcept nogil:
    cdef Packet p
    cdef Status status = parse_ethernet(&p, frame, length)
    p.offload = offload
    p.checksum_good = offload != NULL and offload.good
    w.ports[port].rx_frames += 1
    w.ports[port].rx_bytes += length
    if w.capturing:
        capture_frame(w, port, True, frame, length)
    if status == OK and switch_frame(w, port, &p):
        status = _dispatch(w, port, &p)
    if status != OK:
        count(&w.counters, status)
