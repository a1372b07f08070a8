"""The world's own clockwork: frames in, timers, flows with work to do, deadlines out."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from pyslirp.engine.base.ints cimport Addr, ns_never, ns_t, u8, u32, u64
from pyslirp.engine.base.status cimport FRAGMENT_EXPIRED, LINK_BAD_OFFLOAD
from pyslirp.engine.codecs.offload cimport OFFLOAD_BYTES, Offload, offload_read
from pyslirp.engine.codecs.parse cimport PROTO_TCP
from pyslirp.engine.core.bursts cimport datagrams_flush
from pyslirp.engine.core.datagrams cimport datagram_expire
from pyslirp.engine.core.flows cimport flow_dirty, flow_kill, flow_next_dirty, flows_later, flows_unblock
from pyslirp.engine.core.input cimport input_frame
from pyslirp.engine.core.neighbors cimport neighbors_check
from pyslirp.engine.core.port cimport PORTS_MAX
from pyslirp.engine.core.punts cimport punts_free, punts_init
from pyslirp.engine.core.streams cimport stream_expire, stream_run, streams_init
from pyslirp.engine.core.switch cimport port_remove
from pyslirp.engine.core.world cimport CAPTURE_BYTES, FLOWS_MAX, World
from pyslirp.engine.protocols.tcp.tcb cimport Tcp
from pyslirp.engine.protocols.tcp.receive cimport arena_busy, arena_empty, arena_free, arena_init
from pyslirp.engine.protocols.udp cimport DatagramPeer, Mapping
from pyslirp.engine.stores.chunks cimport chunk_pool_free, chunk_pool_init, chunk_pool_share
from pyslirp.engine.stores.counters cimport count, count_n
from pyslirp.engine.stores.frame_queue cimport fq_free, fq_init
from pyslirp.engine.stores.slab cimport slab_at, slab_find, slab_free, slab_init, slab_span
from pyslirp.engine.stores.timers cimport TimerEntry, timers_free, timers_init, timers_next, timers_pop
from pyslirp.engine.tables.flow cimport (
    FLOW_DEAD, FLOW_OPEN, GUEST_SIDE, Flow, flow_of_timer, flow_table_free, flow_table_init)
from pyslirp.engine.tables.mac_table cimport mac_table_free, mac_table_init
from pyslirp.engine.tables.neighbor cimport neighbor_table_free, neighbor_table_init
from pyslirp.engine.tables.reassembly cimport (
    reassembly_deadline, reassembly_expire, reassembly_free, reassembly_new)

cdef enum:
    MEMORY_BYTES = 268435456    # of all stream buffers together (256 MiB); beyond it senders wait


cdef World *world_new(const u8 *seed) noexcept nogil:
    cdef World *w = <World *>calloc(1, sizeof(World))
    cdef u32 port
    if w == NULL:
        return NULL
    memcpy(w.hash_key, seed, 16)
    w.isn_key[0] = w.hash_key[0] ^ <u64>0x736c697270697373
    w.isn_key[1] = w.hash_key[1] ^ <u64>0x6e6b657973656564
    w.mtu = 1500
    w.prefix = 120
    w.forwarding = True
    w.observed = True
    w.ipv4 = True
    w.ip_id6 = <u32>(w.isn_key[1] >> 32)
    w.neighbor_check = ns_never()
    chunk_pool_init(&w.chunks, MEMORY_BYTES)
    for port in range(PORTS_MAX):
        chunk_pool_share(&w.shares[port], &w.chunks)
    slab_init(&w.flow_slab, sizeof(Flow), FLOWS_MAX)
    slab_init(&w.tcp_slab, sizeof(Tcp), FLOWS_MAX)
    slab_init(&w.peer_slab, sizeof(DatagramPeer), FLOWS_MAX)
    slab_init(&w.mapping_slab, sizeof(Mapping), FLOWS_MAX)
    timers_init(&w.timers)
    punts_init(&w.punts)
    fq_init(&w.captured, CAPTURE_BYTES)
    streams_init(w)
    w.reassembly = reassembly_new(w.hash_key)
    if (w.reassembly == NULL or not arena_init(&w.tcp.arena) or not flow_table_init(&w.flows, w.hash_key)
            or not mac_table_init(&w.macs, PORTS_MAX, w.hash_key) or not neighbor_table_init(&w.neighbors, w.hash_key)):
        world_free(w)
        return NULL
    return w


cdef void _end_all(World *w) noexcept nogil:
    """Every socket is closed and every body freed; nobody is told."""
    cdef u32 i
    cdef Flow *flow
    for i in range(slab_span(&w.flow_slab)):
        flow = <Flow *>slab_at(&w.flow_slab, i)
        if flow == NULL or flow.life == FLOW_DEAD:
            continue
        if flow.socket != NULL and w.tcp.host.close != NULL:
            w.tcp.host.close(w.tcp.host.ctx, flow.socket, True)
        flow.socket = NULL
        flow_kill(w, flow, -1)


cdef void world_free(World *w) noexcept nogil:
    cdef u32 port
    _end_all(w)
    for port in range(PORTS_MAX):
        if w.ports[port].alive:
            port_remove(w, port)
    punts_free(&w.punts)
    fq_free(&w.captured)
    timers_free(&w.timers)
    flow_table_free(&w.flows)
    mac_table_free(&w.macs)
    neighbor_table_free(&w.neighbors)
    if w.reassembly != NULL:
        reassembly_free(w.reassembly)
    slab_free(&w.flow_slab)
    slab_free(&w.tcp_slab)
    slab_free(&w.peer_slab)
    slab_free(&w.mapping_slab)
    arena_free(&w.tcp.arena)
    chunk_pool_free(&w.chunks)
    free(w)


cdef void world_deliver(World *w, u32 port, const u8 *frame, u32 length, ns_t now) noexcept nogil:
    cdef Offload offload
    w.now = now
    if port >= PORTS_MAX or not w.ports[port].alive:
        return
    if w.ports[port].head_bytes == 0:
        input_frame(w, port, frame, length, NULL)
    elif length >= OFFLOAD_BYTES and offload_read(frame, length - OFFLOAD_BYTES, &offload):
        input_frame(w, port, frame + OFFLOAD_BYTES, length - OFFLOAD_BYTES, &offload)
    else:
        count(&w.counters, LINK_BAD_OFFLOAD)


cdef inline bint _is_stream(const Flow *flow) noexcept nogil:
    return flow.name[<int>GUEST_SIDE].key.protocol == PROTO_TCP


cdef void _timers(World *w, u32 budget) noexcept nogil:
    cdef Flow *flow
    while budget:
        flow = flow_of_timer_or_null(w)
        if flow == NULL:
            return
        budget -= 1
        if _is_stream(flow):
            stream_expire(w, flow)
        else:
            datagram_expire(w, flow)


cdef inline Flow *flow_of_timer_or_null(World *w) noexcept nogil:
    cdef void *entry = timers_pop(&w.timers, w.now)
    return NULL if entry == NULL else flow_of_timer(<TimerEntry *>entry)


cdef bint world_run(World *w, u32 budget, ns_t now) noexcept nogil:
    cdef Flow *flow
    w.now = now
    if w.unblock:
        flows_unblock(w)
    datagrams_flush(w)
    # Flows that have bytes in this batch's frames come first and all: the frames are gone after this call.
    while budget or arena_busy(&w.tcp.arena):
        flow = flow_next_dirty(w)
        if flow == NULL:
            break
        if _is_stream(flow):
            stream_run(w, flow)
        if budget:
            budget -= 1
    arena_empty(&w.tcp.arena)
    if timers_next(&w.timers) <= now:
        _timers(w, budget if budget > 64 else 64)
    if w.neighbor_check <= now:
        neighbors_check(w)
    if reassembly_deadline(w.reassembly) <= now:
        count_n(&w.counters, FRAGMENT_EXPIRED, reassembly_expire(w.reassembly, now))
    flows_later(w)
    return w.dirty_first != NULL or w.unblock or timers_next(&w.timers) <= now


cdef ns_t world_deadline(const World *w) noexcept nogil:
    cdef ns_t first = timers_next(&w.timers), other = reassembly_deadline(w.reassembly)
    if other < first:
        first = other
    return w.neighbor_check if w.neighbor_check < first else first


cdef Flow *world_flow(const World *w, u64 handle) noexcept nogil:
    cdef Flow *flow = <Flow *>slab_find(&w.flow_slab, handle)
    return flow if flow != NULL and flow.life != FLOW_DEAD else NULL


cdef void world_host_ready(World *w, Flow *flow, u32 what) noexcept nogil:
    cdef Tcp *t = <Tcp *>flow.body
    if t == NULL or not _is_stream(flow):
        return
    if what & HOST_READABLE:
        t.host_readable = True
    if what & HOST_HUP:
        t.host_readable = True
        t.host_hup = True
    if what & HOST_WRITABLE:
        t.host_writable = True
    if what & HOST_URGENT:
        t.host_urgent = True
    if what & HOST_BROKEN:
        t.host_broken = True
    flow_dirty(w, flow)


cdef void world_link_drained(World *w, u32 port) noexcept nogil:
    w.ports[port].congested = False
    w.unblock = True
