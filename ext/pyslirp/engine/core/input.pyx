"""Dispatch of a frame: switch, ARP, IPv4, reassembly, then by protocol.  What is wrong is counted by its reason and dropped."""

from libc.string cimport memcmp, memcpy

from pyslirp.engine.base.endian cimport load16, load32
from pyslirp.engine.base.ints cimport Addr, addr_eq, addr_from4, addr_is4, mac_is_group, ns_never, ns_t, u8, u16, u32
from pyslirp.engine.base.span cimport Span, span_at
from pyslirp.engine.base.status cimport (
    ARP_ANSWERED, ARP_MALFORMED, ARP_NOT_OURS, ARP_SHORT, CLAIMED_DATAGRAM, CLAIMED_QUEUE_FULL, ETH_UNKNOWN_TYPE,
    FRAGMENT_REASSEMBLED, FRAGMENT_TABLE_FULL, ICMP_ECHO_ANSWERED, ICMP_ERROR_FROM_GUEST, ICMP_UNSUPPORTED,
    IPV4_BAD_DESTINATION, IPV4_BAD_SOURCE, IPV4_UNKNOWN_PROTOCOL, IPV6_IGNORED, NEIGHBOR_TABLE_FULL,
    NEIGHBOR_UNRESOLVED, OK, PORT_TX_FULL, Status)
from pyslirp.engine.codecs.build cimport build_arp, build_ethernet, build_padding
from pyslirp.engine.codecs.offload cimport Offload
from pyslirp.engine.codecs.parse cimport (
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETH_HEADER, PROTO_ICMP, PROTO_TCP, PROTO_UDP, Packet, parse_ethernet, parse_ip,
    parse_ip_at, parse_transport)
from pyslirp.engine.core.datagrams cimport datagram_input
from pyslirp.engine.core.output cimport out_arp_request, out_commit, out_frame, out_icmp, out_icmp_error, out_waiting
from pyslirp.engine.core.punts cimport PUNT_DATAGRAM, Punt, punt_with
from pyslirp.engine.core.streams cimport stream_abort, stream_input, streams_run
from pyslirp.engine.core.switch cimport capture_frame, switch_frame
from pyslirp.engine.core.world cimport UdpClaim, World, addr_in_net, world_next_hop, world_owns
from pyslirp.engine.protocols.icmp cimport ICMP_ECHO, ICMP_ECHO_REPLY, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE
from pyslirp.engine.protocols.tcp.tcb cimport END_UNREACHABLE
from pyslirp.engine.stores.counters cimport count, count_n
from pyslirp.engine.stores.slab cimport slab_at, slab_span
from pyslirp.engine.tables.flow cimport FLOW_DEAD, GUEST_SIDE, Flow, FlowKey, flow_key_set
from pyslirp.engine.tables.neighbor cimport (
    NEIGHBOR_INCOMPLETE, NEIGHBOR_PROBES, NEIGHBOR_REACHABLE, Neighbor, neighbor_add, neighbor_find, neighbor_give_up,
    neighbor_learn, neighbor_retry_ns)
from pyslirp.engine.tables.reassembly cimport reassembly_add, reassembly_evicted

cdef enum:
    ARP_BYTES = 28              # Ethernet and IPv4 (RFC 826)
    ARP_REQUEST = 1
    ARP_REPLY = 2


# -- neighbours -------------------------------------------------------------------------------------------------------

cdef void neighbor_learned(World *w, const Addr *address, const u8 *mac, bint replace) noexcept nogil:
    cdef Neighbor *n
    if mac_is_group(mac) or world_owns(w, address) or _is_group(w, address):
        return
    if not addr_in_net(address, &w.net, w.prefix):
        return
    n = neighbor_find(&w.neighbors, address, w.now)
    if n == NULL:
        n = neighbor_add(&w.neighbors, address, w.now)
        if n == NULL:
            count(&w.counters, NEIGHBOR_TABLE_FULL)
            return
    elif n.state == NEIGHBOR_REACHABLE and (not replace or memcmp(n.mac, mac, 6) == 0):
        return
    neighbor_learn(&w.neighbors, n, mac)
    w.hop.valid = False
    w.unblock = True
    out_waiting(w, n)


cdef void _unreachable_guest(World *w, const Addr *address) noexcept nogil:
    """Nobody answers for `address`: what the host has opened towards it fails, as a connect to a missing host does."""
    cdef u32 i
    cdef Flow *flow
    for i in range(slab_span(&w.flow_slab)):
        flow = <Flow *>slab_at(&w.flow_slab, i)
        if (flow != NULL and flow.life != FLOW_DEAD and flow.inbound and flow.last_from_guest == flow.opened
                and flow.name[<int>GUEST_SIDE].key.protocol == PROTO_TCP
                and addr_eq(world_next_hop(w, &flow.name[<int>GUEST_SIDE].key.guest), address)):
            stream_abort(w, flow, END_UNREACHABLE, False)


cdef void neighbors_check(World *w) noexcept nogil:
    cdef u32 i
    cdef Neighbor *n
    cdef Addr address
    w.neighbor_check = ns_never()
    for i in range(slab_span(&w.neighbors.slab)):
        n = <Neighbor *>slab_at(&w.neighbors.slab, i)
        if n == NULL or n.state != NEIGHBOR_INCOMPLETE or n.probes == 0:
            continue
        if w.now - n.asked >= neighbor_retry_ns():
            if n.probes >= NEIGHBOR_PROBES:
                address = n.address
                count_n(&w.counters, NEIGHBOR_UNRESOLVED, n.waiting != NULL)
                _unreachable_guest(w, &address)
                neighbor_give_up(&w.neighbors, n)
                continue
            n.probes += 1
            n.asked = w.now
            out_arp_request(w, &n.address)
        if n.asked + neighbor_retry_ns() < w.neighbor_check:
            w.neighbor_check = n.asked + neighbor_retry_ns()


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
    out_commit(w, port, build_padding(at, n))
    return ARP_ANSWERED


# -- IPv4 -------------------------------------------------------------------------------------------------------------

cdef void _hand_up(World *w, const Packet *p, u32 port) noexcept nogil:
    """A datagram, or an echo reply, to whoever in Python waits for it."""
    cdef Punt *punt = punt_with(&w.punts, PUNT_DATAGRAM, p.payload, p.payload_bytes)
    if punt == NULL:
        count(&w.counters, CLAIMED_QUEUE_FULL)
        return
    punt.link = port
    memcpy(punt.mac, p.source_mac, 6)
    flow_key_set(&punt.key, p.protocol, &p.source, p.source_port, &p.destination, p.destination_port)
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


cdef Status _icmp(World *w, const Packet *p, u32 port) noexcept nogil:
    cdef bint sent
    if p.icmp_type == ICMP_ECHO:
        if world_owns(w, &p.destination):
            # To the gateway, the DNS alias: answered here (RFC 1122 3.2.2.6), with the data as it came.
            sent = out_icmp(w, &p.destination, &p.source, ICMP_ECHO_REPLY, 0, (<u32>p.source_port << 16) | p.destination_port,
                            p.payload, p.payload_bytes, 0)
            return ICMP_ECHO_ANSWERED if sent else OK   # counted by its reason
        if not w.forwarding:
            return IPV4_BAD_DESTINATION
        datagram_input(w, p, port)
        return OK
    if p.icmp_type == ICMP_UNREACHABLE or p.icmp_type == ICMP_TIME_EXCEEDED:
        return ICMP_ERROR_FROM_GUEST
    if not w.forwarding and p.icmp_type == ICMP_ECHO_REPLY:
        _hand_up(w, p, port)                            # a host of the simulator hears the answer to its ping
        return OK
    return ICMP_UNSUPPORTED


cdef void _expired(World *w, const Packet *p) noexcept nogil:
    """A packet with no TTL left: RFC 1812 5.3.1.  (With a TTL of 1 it goes out; the first real router says so.)"""
    cdef FlowKey key
    if p.protocol == PROTO_ICMP and p.icmp_type != ICMP_ECHO:
        return                                          # no error about an error (RFC 1122 3.2.2)
    flow_key_set(&key, p.protocol, &p.source, p.source_port, &p.destination, p.destination_port)
    out_icmp_error(w, &key, NULL, ICMP_TIME_EXCEEDED, 0, 0, p.l4_bytes, load32(p.l4 + 4), 0)


cdef bint _is_group(const World *w, const Addr *address) noexcept nogil:
    """Not a host: limited broadcast, multicast, "this network", and the net's broadcast in both forms (RFC 1812 5.3.5)."""
    cdef u32 i
    cdef bint ones = True, zeros = True
    if not addr_is4(address):
        return address.b[0] == 0xff
    if address.b[12] >= 224 or address.b[12] == 0:
        return True
    if not addr_in_net(address, &w.net, w.prefix) or w.prefix >= 127:
        return False
    for i in range(w.prefix, 128):
        if address.b[i // 8] & (0x80 >> (i % 8)):
            zeros = False
        else:
            ones = False
    return ones or zeros


cdef Status _admit(const World *w, const Packet *p) noexcept nogil:
    """Is this packet between hosts, and could an answer find its sender?

    Asked of what no service has claimed: DHCP's may come from 0.0.0.0, or from an address of another network.
    """
    if _is_group(w, &p.destination) or (not w.forwarding and not world_owns(w, &p.destination)):
        return IPV4_BAD_DESTINATION
    if mac_is_group(p.destination_mac):
        return IPV4_BAD_DESTINATION                     # an Ethernet broadcast is not forwarded (RFC 1812 5.3.4)
    if _is_group(w, &p.source) or (w.forwarding and not addr_in_net(&p.source, &w.net, w.prefix)):
        return IPV4_BAD_SOURCE                          # RFC 1812 5.3.8
    return OK


cdef Status _transport(World *w, Packet *p, u32 port) noexcept nogil:
    cdef Status status = parse_transport(p)
    if status != OK:
        return status
    if p.protocol == PROTO_UDP and _claimed(w, p, port):
        return OK
    status = _admit(w, p)
    if status != OK:
        return status
    if p.ttl == 0 and not world_owns(w, &p.destination):
        _expired(w, p)
        return OK
    if p.protocol == PROTO_TCP:
        stream_input(w, p, port)
    elif p.protocol == PROTO_UDP:
        datagram_input(w, p, port)
    elif p.protocol == PROTO_ICMP:
        return _icmp(w, p, port)
    else:
        return IPV4_UNKNOWN_PROTOCOL
    return OK


cdef void _prove_mtu(World *w, const Packet *p) noexcept nogil:
    """A guest that sends a larger packet takes one too, up to what was announced (DESIGN: what the guest meets).

    A super-frame proves nothing: it never was on a wire.
    """
    cdef Neighbor *n = neighbor_find(&w.neighbors, &p.source, w.now)
    if n != NULL and n.mtu < p.l3_bytes and n.mtu < w.mtu:
        n.mtu = p.l3_bytes if p.l3_bytes < w.mtu else w.mtu
        w.hop.valid = False


cdef Status _ipv4(World *w, u32 port, Packet *p) noexcept nogil:
    cdef Status status = parse_ip(p)
    cdef const u8 *l3
    cdef u32 l3_bytes
    if status != OK:
        return status
    if world_owns(w, &p.source):
        return IPV4_BAD_SOURCE
    neighbor_learned(w, &p.source, p.source_mac, False)
    if p.l3_bytes > 1500 and (p.offload == NULL or p.offload.gso_bytes == 0):
        _prove_mtu(w, p)
    if not p.fragment:
        return _transport(w, p, port)
    status = reassembly_add(w.reassembly, p, w.now, &l3, &l3_bytes)
    count_n(&w.counters, FRAGMENT_TABLE_FULL, reassembly_evicted(w.reassembly))
    if status != FRAGMENT_REASSEMBLED:
        return status
    count(&w.counters, FRAGMENT_REASSEMBLED)
    p.checksum_good = False                             # what was said of a fragment was not said of the whole
    status = parse_ip_at(p, l3, l3_bytes)
    if status == OK:
        status = _transport(w, p, port)
    # The whole lies in the table's buffer, which the next fragment may reuse: what streams have of it they hand on now.
    if w.tcp.arena.used:
        streams_run(w)
    return status


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
        if p.ethertype == ETHERTYPE_IPV4:
            status = _ipv4(w, port, &p)
        elif p.ethertype == ETHERTYPE_ARP:
            status = _arp(w, port, &p)
        elif p.ethertype == ETHERTYPE_IPV6:
            status = IPV6_IGNORED
        else:
            status = ETH_UNKNOWN_TYPE
    if status != OK:
        count(&w.counters, status)
