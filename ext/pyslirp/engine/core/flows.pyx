"""The life of a flow, whatever its protocol, and its places on the world's lists.

A flow is on the dirty list when something has happened to it in this run, and on the blocked list when it waits for
room on a link or for a MAC address.  A flow that is killed is off its names, its timer and the blocked list at once;
the dirty list, which is worked off before the run ends, frees it when it comes to it, so that it never holds a
dangling pointer.

Whose turn it is.  When something has changed for the blocked, all are tried in order.  Who then gets nothing keeps its
place in front; who has sent something and is blocked again waits behind them.  So where only a little drains at a
time, the flows of a link take turns.

Who may have how many.  A flow that a guest opens is charged to the link that it came by, because a guest can make up
addresses but not links.  A link may have as many flows as are still free for all: one that takes what it can get ends
with half of FLOWS_MAX, two with a third each, and the last third is there for the others (dynamic thresholds,
Choudhury and Hahne 1998).  A link that is made anew begins with none.

Who may be opening how many.  A handshake costs a flow, a verdict and a descriptor of the host before anything is proven, so
a link has HALF_OPEN_MAX of them at the most: one more, and its oldest is dropped without a word, as if its SYN had been
lost.  A flood of SYNs drives itself out, and harms neither other links nor what is established.
"""

from pyslirp.engine.base.ints cimport i64, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.status cimport CLAIMED_QUEUE_FULL, FLOW_CLOSED, FLOW_GUEST_LIMIT, FLOW_OPENED, FLOW_TABLE_FULL
from pyslirp.engine.codecs.parse cimport PROTO_TCP
from pyslirp.engine.core.port cimport PORTS_MAX
from pyslirp.engine.core.punts cimport PUNT_CLOSED, PUNT_FLOW, Punt, punt_add
from pyslirp.engine.core.world cimport FLOWS_MAX, HALF_OPEN_MAX, HalfOpen, World
from pyslirp.engine.protocols.icmp cimport (
    UNREACHABLE_HOST, UNREACHABLE_NET, UNREACHABLE_PORT, UNREACHABLE_PROHIBITED)
from pyslirp.engine.protocols.tcp.connection cimport tcp_free
from pyslirp.engine.protocols.tcp.tcb cimport Tcp
from pyslirp.engine.protocols.udp cimport DatagramPeer, Mapping, datagram_drop_held
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.stores.slab cimport slab_give, slab_take
from pyslirp.engine.stores.timers cimport timer_cancel, timer_set
from pyslirp.engine.tables.flow cimport FLOW_DEAD, FLOW_NEW, GUEST_SIDE, HOST_SIDE, Flow, FlowKey, flow_link, flow_unlink
from pyslirp.engine.tables.neighbor cimport Neighbor, neighbor_find


cdef Flow *flow_new(World *w, const FlowKey *key, u8 ttl, u32 link) noexcept nogil:
    cdef Flow *flow
    if link < PORTS_MAX and w.ports[link].flows >= FLOWS_MAX - w.flow_slab.alive:
        count(&w.counters, FLOW_GUEST_LIMIT)
        return NULL
    flow = <Flow *>slab_take(&w.flow_slab)
    if flow == NULL:
        count(&w.counters, FLOW_TABLE_FULL)
        return NULL
    if not flow_link(&w.flows, flow, GUEST_SIDE, key):
        count(&w.counters, FLOW_TABLE_FULL)
        slab_give(&w.flow_slab, flow)
        return NULL
    flow.life = FLOW_NEW
    flow.ttl = ttl
    flow.opened = w.now
    flow.last_from_guest = w.now
    _charge(w, flow, link)
    count(&w.counters, FLOW_OPENED)
    return flow


cdef void _charge(World *w, Flow *flow, u32 link) noexcept nogil:
    cdef Neighbor *n = neighbor_find(&w.neighbors, &flow.name[<int>GUEST_SIDE].key.guest, w.now)
    if n != NULL:
        n.flows += 1
        flow.counted = True
    if link < PORTS_MAX and w.ports[link].alive:
        w.ports[link].flows += 1
        flow.link = <u16>link
        flow.link_serial = w.ports[link].serial


cdef void _discharge(World *w, Flow *flow) noexcept nogil:
    cdef Neighbor *n
    if flow.counted:
        n = neighbor_find(&w.neighbors, &flow.name[<int>GUEST_SIDE].key.guest, w.now)
        if n != NULL and n.flows:
            n.flows -= 1
    if flow.link_serial and w.ports[flow.link].serial == flow.link_serial:
        w.ports[flow.link].flows -= 1


cdef inline void _append(Flow **first, Flow **last, Flow *flow) noexcept nogil:
    """To a list of those with work to do, unless it is on one already."""
    if flow.dirty:
        return
    flow.dirty = True
    flow.next_dirty = NULL
    if last[0] == NULL:
        first[0] = flow
    else:
        last[0].next_dirty = flow
    last[0] = flow


cdef void flow_dirty(World *w, Flow *flow) noexcept nogil:
    _append(&w.dirty_first, &w.dirty_last, flow)


cdef void flow_later(World *w, Flow *flow) noexcept nogil:
    _append(&w.later_first, &w.later_last, flow)


cdef void _go_on_with(World *w, Flow *first, Flow *last) noexcept nogil:
    """Those of a list of their own come behind those of the dirty list."""
    if first == NULL:
        return
    if w.dirty_last == NULL:
        w.dirty_first = first
    else:
        w.dirty_last.next_dirty = first
    w.dirty_last = last


cdef void flows_later(World *w) noexcept nogil:
    _go_on_with(w, w.later_first, w.later_last)
    w.later_first = NULL
    w.later_last = NULL


cdef void _free_if_dead(World *w, Flow *flow) noexcept nogil:
    if flow.life == FLOW_DEAD and not flow.dirty:
        slab_give(&w.flow_slab, flow)


cdef Flow *flow_next_dirty(World *w) noexcept nogil:
    cdef Flow *flow
    while w.dirty_first != NULL:
        flow = w.dirty_first
        w.dirty_first = flow.next_dirty
        if w.dirty_first == NULL:
            w.dirty_last = NULL
        flow.dirty = False
        if flow.life != FLOW_DEAD:
            return flow
        _free_if_dead(w, flow)
    return NULL


cdef void flow_wait(World *w, Flow *flow, bint served) noexcept nogil:
    cdef Flow *before = w.blocked_last if served else w.blocked_unserved
    if flow.on_blocked:
        return
    flow.on_blocked = True
    flow.previous_blocked = before
    flow.next_blocked = w.blocked_first if before == NULL else before.next_blocked
    if before == NULL:
        w.blocked_first = flow
    else:
        before.next_blocked = flow
    if flow.next_blocked == NULL:
        w.blocked_last = flow
    else:
        flow.next_blocked.previous_blocked = flow
    if not served:
        w.blocked_unserved = flow


cdef void _wait_no_more(World *w, Flow *flow) noexcept nogil:
    if not flow.on_blocked:
        return
    flow.on_blocked = False
    if w.blocked_unserved == flow:
        w.blocked_unserved = flow.previous_blocked
    if flow.previous_blocked == NULL:
        w.blocked_first = flow.next_blocked
    else:
        flow.previous_blocked.next_blocked = flow.next_blocked
    if flow.next_blocked == NULL:
        w.blocked_last = flow.previous_blocked
    else:
        flow.next_blocked.previous_blocked = flow.previous_blocked


cdef Flow *_take_unblocked(World *w, Flow **last) noexcept nogil:
    """Empty the dirty list: those of it that are not blocked, in order, as a list of their own."""
    cdef Flow *flow = w.dirty_first
    cdef Flow *first = NULL
    cdef Flow *after
    last[0] = NULL
    w.dirty_first = NULL
    w.dirty_last = NULL
    while flow != NULL:
        after = flow.next_dirty
        flow.next_dirty = NULL
        if flow.on_blocked:
            flow.dirty = False
        elif last[0] == NULL:
            first = flow
            last[0] = flow
        else:
            last[0].next_dirty = flow
            last[0] = flow
        flow = after
    return first


cdef void flows_unblock(World *w) noexcept nogil:
    cdef Flow *last
    cdef Flow *first = _take_unblocked(w, &last)
    cdef Flow *flow = w.blocked_first
    w.unblock = False
    while flow != NULL:
        _wait_no_more(w, flow)
        flow_dirty(w, flow)
        flow = w.blocked_first
    # Who has just been acknowledged is behind those that wait, or it would fill the room that its own bytes have left.
    _go_on_with(w, first, last)


cdef void flow_half_open(World *w, Flow *flow) noexcept nogil:
    cdef HalfOpen *them = &w.half_open[flow.link]
    if not flow.link_serial:
        return
    flow.half_open = True
    flow.next_half_open = NULL
    flow.previous_half_open = them.last
    if them.last == NULL:
        them.first = flow
    else:
        them.last.next_half_open = flow
    them.last = flow
    them.count += 1


cdef void flow_whole(World *w, Flow *flow) noexcept nogil:
    cdef HalfOpen *them = &w.half_open[flow.link]
    if not flow.half_open:
        return
    flow.half_open = False
    if flow.previous_half_open == NULL:
        them.first = flow.next_half_open
    else:
        flow.previous_half_open.next_half_open = flow.next_half_open
    if flow.next_half_open == NULL:
        them.last = flow.previous_half_open
    else:
        flow.next_half_open.previous_half_open = flow.previous_half_open
    them.count -= 1


cdef Flow *flow_oldest_half_open(World *w, u32 link) noexcept nogil:
    return w.half_open[link].first if link < PORTS_MAX and w.half_open[link].count >= HALF_OPEN_MAX else NULL


cdef void flow_rearm(World *w, Flow *flow, ns_t when) noexcept nogil:
    # An entry that fires early finds nothing due and is set anew: cheaper than to move it with every segment.
    if flow.timer.slot == 0 or when < flow.timer.when:
        timer_set(&w.timers, &flow.timer, when)


cdef void flow_punt(World *w, Flow *flow, u32 port) noexcept nogil:
    cdef Punt *punt = punt_add(&w.punts, PUNT_FLOW, False)
    if punt == NULL:
        count(&w.counters, CLAIMED_QUEUE_FULL)
        flow_kill(w, flow, -1)
        return
    punt.flow = flow.slab.handle
    punt.key = flow.name[<int>GUEST_SIDE].key
    punt.ttl = flow.ttl
    punt.link = port


cdef void _free_body(World *w, Flow *flow) noexcept nogil:
    cdef DatagramPeer *peer
    if flow.body == NULL:
        return
    if flow.name[<int>GUEST_SIDE].key.protocol == PROTO_TCP:
        tcp_free(&w.tcp, <Tcp *>flow.body)
        slab_give(&w.tcp_slab, flow.body)
    elif flow.is_mapping:
        slab_give(&w.mapping_slab, flow.body)
    else:
        peer = <DatagramPeer *>flow.body
        datagram_drop_held(peer)
        slab_give(&w.peer_slab, peer)
    flow.body = NULL


cdef void flow_kill(World *w, Flow *flow, i64 reason) noexcept nogil:
    cdef Punt *punt
    if flow.life == FLOW_DEAD:
        return
    # Without a listener the end of most flows is no news, and a turn of Python is what a short connection costs most.
    if reason >= 0 and not flow.is_mapping and (w.observed or flow.awaited or flow.life == FLOW_NEW):
        punt = punt_add(&w.punts, PUNT_CLOSED, True)
        if punt != NULL:
            punt.flow = flow.slab.handle
            punt.tag = flow.tag
            punt.key = flow.name[<int>GUEST_SIDE].key
            punt.inbound = flow.inbound
            punt.a = reason
            punt.b = <i64>flow.bytes_to_host
            punt.c = <i64>flow.bytes_to_guest
    if not flow.is_mapping:
        _discharge(w, flow)
        count(&w.counters, FLOW_CLOSED)
    if flow.socket != NULL:                             # whoever wanted it to end otherwise has done so
        w.tcp.host.close(w.tcp.host.ctx, flow.socket, False)
        flow.socket = NULL
    flow.life = FLOW_DEAD
    _wait_no_more(w, flow)
    flow_whole(w, flow)
    flow_unlink(&w.flows, flow, GUEST_SIDE)
    flow_unlink(&w.flows, flow, HOST_SIDE)
    timer_cancel(&w.timers, &flow.timer)
    _free_body(w, flow)
    _free_if_dead(w, flow)


cdef u8 denial_code(int how) noexcept nogil:
    if how == DENY_HOST:
        return UNREACHABLE_HOST
    if how == DENY_NET:
        return UNREACHABLE_NET
    if how == DENY_PROHIBITED:
        return UNREACHABLE_PROHIBITED
    return UNREACHABLE_PORT
