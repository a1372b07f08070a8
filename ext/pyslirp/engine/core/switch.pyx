"""Learning, forwarding, flooding; and the capture of what passes a port.

Our own MAC address belongs to no port: a guest that uses it as its source is not listened to.
"""

from libc.string cimport memcmp, memcpy, memset

from pyslirp.engine.base.ints cimport mac_is_group, ns_t, u8, u32
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport (
    LINK_BAD_OFFLOAD, PORT_TOO_BIG, PORT_TX_FULL, SWITCH_BAD_SOURCE, SWITCH_FILTERED, SWITCH_FLOODED, SWITCH_FORWARDED,
    SWITCH_TABLE_FULL, Status)
from pyslirp.engine.codecs.build cimport ETH_MIN, build_padding
from pyslirp.engine.codecs.offload cimport GSO_UDP, Offload, offload_finish_sum, offload_none, offload_write
from pyslirp.engine.codecs.parse cimport ETH_HEADER, Packet
from pyslirp.engine.codecs.segment cimport Segmenter, segment_begin, segment_next, segment_room
from pyslirp.engine.core.port cimport PORT_MTU_MIN, PORT_SWITCHED_BYTES, PORT_TX_BYTES, PORTS_MAX, Port
from pyslirp.engine.core.world cimport CAPTURE_HEAD, World
from pyslirp.engine.protocols.icmp cimport ErrorLimit
from pyslirp.engine.stores.chunks cimport ChunkPiece
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.stores.frame_queue cimport (
    FRONT_PIECES, fq_bytes, fq_clear, fq_commit, fq_free, fq_front, fq_init, fq_pop, fq_reserve)
from pyslirp.engine.tables.mac_table cimport mac_find, mac_forget_port, mac_heard, mac_learn


cdef int port_add(World *w, u32 mtu, u32 burst) noexcept nogil:
    cdef int number
    for number in range(PORTS_MAX):
        if not w.ports[number].alive:
            w.ports[number].alive = True
            w.ports[number].touched = False
            w.ports[number].congested = False
            w.ports[number].mtu = max(mtu, <u32>PORT_MTU_MIN)
            w.ports[number].burst = burst
            w.ports[number].head_bytes = 0
            w.ports[number].uso = False
            w.ports[number].rx_frames = 0
            w.ports[number].rx_bytes = 0
            w.ports[number].tx_frames = 0
            w.ports[number].tx_bytes = 0
            w.ports[number].tx_dropped = 0
            w.ports[number].flows = 0
            w.port_serial += 1
            w.ports[number].serial = w.port_serial
            memset(&w.ports[number].errors, 0, sizeof(ErrorLimit))
            fq_init(&w.ports[number].tx, PORT_TX_BYTES)
            return number
    return -1


cdef void port_remove(World *w, u32 port) noexcept nogil:
    if port < PORTS_MAX and w.ports[port].alive:
        fq_free(&w.ports[port].tx)
        w.ports[port].alive = False
        w.ports[port].serial = 0                        # its flows are charged to nobody from now on
        w.hop.valid = False
        mac_forget_port(&w.macs, <int>port)


cdef void _drop(World *w, Port *port, Status reason) noexcept nogil:
    count(&w.counters, reason)
    port.tx_dropped += 1


cdef u8 *_reserve(World *w, Port *port, u32 length) noexcept nogil:
    """Room for a frame, behind that for its virtio-net header; NULL: there is none, the frame is dropped."""
    cdef u8 *at = NULL
    if fq_bytes(&port.tx) + port.head_bytes + length <= PORT_SWITCHED_BYTES:
        at = fq_reserve(&port.tx, port.head_bytes + length)
    if at == NULL:
        _drop(w, port, PORT_TX_FULL)
        return NULL
    return at + port.head_bytes


cdef void _commit(World *w, u32 to, const u8 *frame, u32 length) noexcept nogil:
    cdef Port *port = &w.ports[to]
    fq_commit(&port.tx, port.head_bytes + length)
    port.tx_frames += 1
    port.tx_bytes += length
    port.touched = True
    if w.capturing:
        capture_frame(w, to, False, frame, length)


cdef void _copy_segments(World *w, u32 to, Segmenter *segments) noexcept nogil:
    """To a link that carries no super-frames of this kind."""
    cdef Port *port = &w.ports[to]
    cdef u8 *at = _reserve(w, port, max(segment_room(segments), <u32>ETH_MIN))
    cdef u32 length
    while at != NULL:
        length = segment_next(segments, at)
        if length == 0:
            return
        if port.head_bytes:
            memset(at - port.head_bytes, 0, port.head_bytes)    # nothing is left undone
        _commit(w, to, at, build_padding(at, length))
        at = _reserve(w, port, max(segment_room(segments), <u32>ETH_MIN))


cdef void _copy_to(World *w, u32 to, const Packet *p) noexcept nogil:
    cdef Port *port = &w.ports[to]
    cdef Segmenter segments
    cdef Offload plain
    cdef const Offload *offload = p.offload
    cdef u32 longest = p.frame_bytes
    cdef u8 *at
    if offload == NULL:
        offload_none(&plain)
        offload = &plain
    segments.header_bytes = 0
    if offload.gso_bytes:
        if not segment_begin(&segments, p.frame, p.frame_bytes, offload):
            _drop(w, port, LINK_BAD_OFFLOAD)
            return
        longest = segment_room(&segments)
    if longest > port.mtu + ETH_HEADER + 4:             # 4: a VLAN tag
        _drop(w, port, PORT_TOO_BIG)
        return
    if offload.gso_bytes and (port.head_bytes == 0 or (offload.gso == GSO_UDP and not port.uso)):
        _copy_segments(w, to, &segments)
        return
    at = _reserve(w, port, p.frame_bytes)
    if at == NULL:
        return
    memcpy(at, p.frame, p.frame_bytes)
    if port.head_bytes:
        offload_write(at - port.head_bytes, offload, segments.header_bytes)
    elif offload.partial:
        offload_finish_sum(at, p.frame_bytes, offload)
    _commit(w, to, at, p.frame_bytes)


cdef void _flood(World *w, u32 port, const Packet *p) noexcept nogil:
    cdef u32 other
    for other in range(PORTS_MAX):
        if other != port and w.ports[other].alive:
            _copy_to(w, other, p)
    count(&w.counters, SWITCH_FLOODED)


cdef bint switch_frame(World *w, u32 port, const Packet *p) noexcept nogil:
    cdef int to
    if mac_is_group(p.source_mac) or memcmp(p.source_mac, w.mac, 6) == 0:
        count(&w.counters, SWITCH_BAD_SOURCE)
        return False
    to = mac_heard(&w.macs, p.source_mac)
    if to != <int>port:
        if not mac_learn(&w.macs, p.source_mac, <int>port):
            count(&w.counters, SWITCH_TABLE_FULL)
        w.hop.valid = False
        w.unblock = True                                # a guest that has come back: what waited for it goes on
    if memcmp(p.destination_mac, w.mac, 6) == 0:
        return True
    if mac_is_group(p.destination_mac):
        _flood(w, port, p)
        return True
    to = mac_find(&w.macs, p.destination_mac)
    if to < 0:
        _flood(w, port, p)
    elif to != <int>port:
        _copy_to(w, <u32>to, p)
        count(&w.counters, SWITCH_FORWARDED)
    else:
        count(&w.counters, SWITCH_FILTERED)
    return False


cdef u8 *_capture(World *w, u32 port, bint inbound, u32 length) noexcept nogil:
    """Room for a captured frame; NULL: there is none, and it is lost."""
    cdef u8 *at = fq_reserve(&w.captured, CAPTURE_HEAD + length)
    cdef u32 way = 1 if inbound else 0
    if at == NULL:
        w.capture_lost += 1
        return NULL
    memcpy(at, &port, 4)
    memcpy(at + 4, &way, 4)
    memcpy(at + 8, &w.now, 8)
    return at + CAPTURE_HEAD


cdef void capture_frame(World *w, u32 port, bint inbound, const u8 *frame, u32 length) noexcept nogil:
    cdef u8 *at = _capture(w, port, inbound, length)
    if at != NULL:
        memcpy(at, frame, length)
        fq_commit(&w.captured, CAPTURE_HEAD + length)


cdef void capture_pieces(World *w, u32 port, const u8 *head, u32 length, const ChunkPiece *pieces, int number) noexcept nogil:
    cdef u32 total = length
    cdef u8 *at
    cdef int i
    for i in range(number):
        total += <u32>pieces[i].length
    at = _capture(w, port, False, total)
    if at == NULL:
        return
    memcpy(at, head, length)
    for i in range(number):
        memcpy(at + length, pieces[i].data, pieces[i].length)
        length += <u32>pieces[i].length
    fq_commit(&w.captured, CAPTURE_HEAD + total)


cdef list captured_take(World *w):
    cdef list out = []
    cdef Piece[FRONT_PIECES] frame                      # copied as a whole, so one piece
    cdef u32 port, way
    cdef ns_t when
    while fq_front(&w.captured, frame):
        memcpy(&port, frame[0].data, 4)
        memcpy(&way, frame[0].data + 4, 4)
        memcpy(&when, frame[0].data + 8, 8)
        out.append((port, way == 1, when, frame[0].data[CAPTURE_HEAD:frame[0].length]))
        fq_pop(&w.captured)
    fq_clear(&w.captured)
    return out
