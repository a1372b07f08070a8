"""Who is at which MAC address: what is learned, who is asked again, who is given up.

How it is asked differs by family (ARP, RFC 826; Neighbour Discovery, RFC 4861), how long it takes does not.  The states
are tables/neighbor.pxd's.  An address of ours, one of another network and a group are nobody's, whoever says so.
"""

from libc.string cimport memcmp

from pyslirp.engine.base.ints cimport Addr, addr_eq, addr_is4, mac_is_group, ns_never, ns_t, u8, u32
from pyslirp.engine.base.status cimport NEIGHBOR_TABLE_FULL, NEIGHBOR_UNRESOLVED
from pyslirp.engine.codecs.parse cimport PROTO_TCP
from pyslirp.engine.core.output cimport out_arp_request, out_recheck, out_solicit, out_waiting
from pyslirp.engine.core.streams cimport stream_abort
from pyslirp.engine.core.world cimport World, addr_is_group, world_next_hop, world_on_link, world_owns
from pyslirp.engine.protocols.tcp.tcb cimport END_UNREACHABLE
from pyslirp.engine.stores.counters cimport count, count_n
from pyslirp.engine.stores.slab cimport slab_at, slab_span
from pyslirp.engine.tables.flow cimport FLOW_DEAD, GUEST_SIDE, Flow
from pyslirp.engine.tables.neighbor cimport (
    NEIGHBOR_DELAY, NEIGHBOR_INCOMPLETE, NEIGHBOR_PROBE, NEIGHBOR_PROBES, Neighbor, neighbor_add, neighbor_confirm,
    neighbor_delay_ns, neighbor_find, neighbor_give_up, neighbor_known, neighbor_learn, neighbor_lost, neighbor_retry_ns,
    neighbor_stale)


# -- learning ---------------------------------------------------------------------------------------------------------

cdef void neighbor_at(World *w, Neighbor *n, const u8 *mac) noexcept nogil:
    if addr_is4(&n.address):
        neighbor_learn(&w.neighbors, n, mac)
    else:
        neighbor_stale(&w.neighbors, n, mac)            # heard of; whether it hears us is to be seen
    w.hop.valid = False
    w.unblock = True
    out_waiting(w, n)


cdef void neighbor_learned(World *w, const Addr *address, const u8 *mac, bint replace) noexcept nogil:
    cdef Neighbor *n
    if mac_is_group(mac) or world_owns(w, address) or addr_is_group(w, address) or not world_on_link(w, address):
        return
    n = neighbor_find(&w.neighbors, address, w.now)
    if n == NULL:
        n = neighbor_add(&w.neighbors, address, w.now)
        if n == NULL:
            count(&w.counters, NEIGHBOR_TABLE_FULL)
            return
    elif neighbor_known(n) and (not replace or memcmp(n.mac, mac, 6) == 0):
        return
    neighbor_at(w, n, mac)


cdef void neighbor_heard(World *w, Neighbor *n) noexcept nogil:
    if neighbor_known(n):
        neighbor_confirm(n, w.now)
        w.hop.valid = False


# -- asking -----------------------------------------------------------------------------------------------------------

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


cdef void _give_up(World *w, Neighbor *n) noexcept nogil:
    cdef Addr address = n.address
    w.hop.valid = False
    if n.state == NEIGHBOR_PROBE:
        neighbor_lost(&w.neighbors, n)                  # asked for anew when it is wanted, perhaps at another MAC address
        return
    count_n(&w.counters, NEIGHBOR_UNRESOLVED, n.waiting != NULL)
    _unreachable_guest(w, &address)
    neighbor_give_up(&w.neighbors, n)


cdef void _ask_again(World *w, Neighbor *n) noexcept nogil:
    n.probes += 1
    n.asked = w.now
    if addr_is4(&n.address):
        out_arp_request(w, &n.address)
    else:
        out_solicit(w, &n.address, n.mac if n.state == NEIGHBOR_PROBE else NULL)


cdef inline ns_t _pause(const Neighbor *n) noexcept nogil:
    return neighbor_delay_ns() if n.state == NEIGHBOR_DELAY else neighbor_retry_ns()


cdef inline bint _is_asked(const Neighbor *n) noexcept nogil:
    return n.state in (NEIGHBOR_DELAY, NEIGHBOR_PROBE) or (n.state == NEIGHBOR_INCOMPLETE and n.probes != 0)


cdef void neighbors_check(World *w) noexcept nogil:
    cdef u32 i
    cdef Neighbor *n
    w.neighbor_check = ns_never()
    for i in range(slab_span(&w.neighbors.slab)):
        n = <Neighbor *>slab_at(&w.neighbors.slab, i)
        if n == NULL or not _is_asked(n):
            continue
        if w.now - n.asked >= _pause(n):
            if n.state == NEIGHBOR_DELAY:
                n.state = NEIGHBOR_PROBE
                n.probes = 0
            elif n.probes >= NEIGHBOR_PROBES:
                _give_up(w, n)
                continue
            _ask_again(w, n)
        out_recheck(w, n.asked + _pause(n))
