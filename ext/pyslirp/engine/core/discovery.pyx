"""Neighbour Discovery (RFC 4861), as a router that answers for its own addresses and wants to know its guests'.

What is believed.  A message counts only with hop limit 255, so that it cannot come from behind a router, with code 0 and
well-formed options (sections 6.1 and 7.1); a link-layer address only if it is that of the frame it came in, as with ARP.
An IP packet teaches nothing (unlike IPv4's: there ARP's absence has to be lived with).

    neighbour solicitation      for an address of ours: answered.  From `::`, it is duplicate address detection (RFC 4862
                                section 5.4.3): answered to all, so that the guest leaves our address alone.  Its sender
                                is learned
    neighbour advertisement     changes what is known of a neighbour as section 7.2.5 has it, and adds none
    router solicitation         its sender is learned; handed up (PUNT_SOLICITATION) to whoever advertises the router
    router advertisement, redirect      not for a router; a host of the simulator is configured otherwise
"""

from libc.string cimport memcmp, memcpy

from pyslirp.engine.base.header.icmp cimport ICMP_AT_CODE, ICMP_AT_TYPE
from pyslirp.engine.base.header.icmpv6 cimport *
from pyslirp.engine.base.ints cimport Addr, addr_from6, addr_is4, u8, u32
from pyslirp.engine.base.span cimport Span, span_at
from pyslirp.engine.base.status cimport (
    CLAIMED_QUEUE_FULL, ND_ANSWERED, ND_FOREIGN, ND_IGNORED, ND_LEARNED, ND_MALFORMED, ND_NOT_OURS, OK, Status)
from pyslirp.engine.codecs.parse cimport PROTO_ICMPV6, Packet
from pyslirp.engine.core.neighbors cimport neighbor_at, neighbor_heard, neighbor_learned
from pyslirp.engine.core.output cimport out_advertise
from pyslirp.engine.core.punts cimport PUNT_SOLICITATION, Punt, punt_add
from pyslirp.engine.core.world cimport World, addr_is_zero, world_on_link, world_owns
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.tables.flow cimport flow_key_set
from pyslirp.engine.tables.neighbor cimport (
    NEIGHBOR_INCOMPLETE, NEIGHBOR_REACHABLE, NEIGHBOR_STALE, Neighbor, neighbor_find)


cdef bint discovery_is(u8 icmp_type) noexcept nogil:
    return ICMPV6_ROUTER_SOLICITATION <= icmp_type <= ICMPV6_REDIRECT


cdef bint _read_options(const Packet *p, u32 at, u8 kind, const u8 **link) noexcept nogil:
    """The link-layer address in the option of that kind, or NULL; False where an option does not fit."""
    cdef Span span = Span(p.l4, p.l4_bytes)
    cdef const u8 *option
    cdef u32 length
    link[0] = NULL
    while at < p.l4_bytes:
        option = span_at(&span, at, ND_OPTION_UNIT)
        if option == NULL:
            return False
        length = option[ND_OPTION_AT_LENGTH] * <u32>ND_OPTION_UNIT
        if length == 0 or span_at(&span, at, length) == NULL:
            return False
        if option[ND_OPTION_AT_KIND] == kind and length == ND_OPTION_UNIT:
            link[0] = option + ND_OPTION_AT_VALUE
        at += length
    return True


cdef inline bint _is_senders(const Packet *p, const u8 *link) noexcept nogil:
    return link != NULL and memcmp(link, p.source_mac, 6) == 0


cdef bint _is_solicited_node(const Addr *group) noexcept nogil:
    """ff02::1:ff00:0/104 (RFC 4291 section 2.7.1)."""
    return (group.b[0] == 0xff and group.b[1] == 0x02 and group.w[1] == 0 and group.w[2] == 0x01000000
            and group.b[12] == 0xff and group.b[2] == 0 and group.b[3] == 0)


cdef Status _neighbor_solicitation(World *w, const Packet *p, u32 port) noexcept nogil:
    cdef Addr target
    cdef Addr everybody
    cdef const u8 *link
    cdef bint probing = addr_is_zero(&p.source)
    cdef u8 router = ND_ROUTER if w.forwarding else 0
    if p.l4_bytes < ND_BYTES or not _read_options(p, ND_BYTES, ND_OPTION_SOURCE_LINK, &link):
        return ND_MALFORMED
    addr_from6(&target, p.l4 + ND_AT_TARGET)
    if target.b[0] == 0xff or addr_is4(&target) or (probing and (link != NULL or not _is_solicited_node(&p.destination))):
        return ND_MALFORMED
    if not probing and (world_owns(w, &p.source) or not world_on_link(w, &p.source)):
        return ND_NOT_OURS
    if _is_senders(p, link):
        neighbor_learned(w, &p.source, link, True)
    if not world_owns(w, &target):
        return ND_NOT_OURS
    if not probing:
        return ND_ANSWERED if out_advertise(w, port, p.source_mac, &p.source, router | ND_SOLICITED | ND_OVERRIDE, &target) else OK
    everybody.q[0] = 0
    everybody.q[1] = 0
    everybody.b[0] = 0xff                               # ff02::1
    everybody.b[1] = 0x02
    everybody.b[15] = 0x01
    return ND_ANSWERED if out_advertise(w, port, NULL, &everybody, router | ND_OVERRIDE, &target) else OK


cdef Status _neighbor_advertisement(World *w, const Packet *p) noexcept nogil:
    """RFC 4861 section 7.2.5."""
    cdef Addr target
    cdef const u8 *link
    cdef Neighbor *n
    cdef u8 flags
    cdef bint other
    if p.l4_bytes < ND_BYTES or not _read_options(p, ND_BYTES, ND_OPTION_TARGET_LINK, &link):
        return ND_MALFORMED
    addr_from6(&target, p.l4 + ND_AT_TARGET)
    flags = p.l4[ND_AT_FLAGS]
    if target.b[0] == 0xff or addr_is4(&target) or (p.destination.b[0] == 0xff and flags & ND_SOLICITED):
        return ND_MALFORMED
    n = neighbor_find(&w.neighbors, &target, w.now)
    if n == NULL or world_owns(w, &target) or (link != NULL and not _is_senders(p, link)):
        return ND_NOT_OURS
    if n.state == NEIGHBOR_INCOMPLETE:
        if link == NULL:
            return ND_MALFORMED
        neighbor_at(w, n, link)
        n = neighbor_find(&w.neighbors, &target, w.now)
    else:
        other = memcmp(n.mac, p.source_mac, 6) != 0
        if other and (link == NULL or not flags & ND_OVERRIDE):
            if n.state == NEIGHBOR_REACHABLE:
                n.state = NEIGHBOR_STALE                # there are two; the next packet will find out
                w.hop.valid = False
            return ND_LEARNED
        if other:
            neighbor_at(w, n, link)
    if flags & ND_SOLICITED and n != NULL:
        neighbor_heard(w, n)
    return ND_LEARNED


cdef Status _router_solicitation(World *w, const Packet *p, u32 port) noexcept nogil:
    cdef const u8 *link
    cdef Punt *punt
    cdef bint nobody = addr_is_zero(&p.source)
    if not _read_options(p, RS_BYTES, ND_OPTION_SOURCE_LINK, &link) or (nobody and link != NULL):
        return ND_MALFORMED
    if not nobody and (world_owns(w, &p.source) or not world_on_link(w, &p.source)):
        return ND_NOT_OURS
    if not w.forwarding:
        return ND_IGNORED
    if _is_senders(p, link):
        neighbor_learned(w, &p.source, link, True)
    punt = punt_add(&w.punts, PUNT_SOLICITATION, False)
    if punt == NULL:
        return CLAIMED_QUEUE_FULL
    punt.link = port
    memcpy(punt.mac, p.source_mac, 6)
    flow_key_set(&punt.key, PROTO_ICMPV6, &p.source, 0, &p.destination, 0)
    return ND_LEARNED


cdef Status discovery_input(World *w, const Packet *p, u32 port) noexcept nogil:
    if p.ttl != ND_HOP_LIMIT:
        return ND_FOREIGN
    if p.icmp_code != 0:
        return ND_MALFORMED
    if p.icmp_type == ICMPV6_NEIGHBOR_SOLICITATION:
        return _neighbor_solicitation(w, p, port)
    if p.icmp_type == ICMPV6_NEIGHBOR_ADVERTISEMENT:
        return _neighbor_advertisement(w, p)
    if p.icmp_type == ICMPV6_ROUTER_SOLICITATION:
        return _router_solicitation(w, p, port)
    return ND_IGNORED
