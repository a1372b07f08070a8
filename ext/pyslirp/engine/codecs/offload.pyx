"""The virtio-net header in front of a frame (virtio 1.2 section 5.1.6).

Two things are left undone on the way between a guest's stack and ours, because nobody needs them: a transport checksum
of bytes that never leave the machine, and the cutting of a stream into segments.  The header says which; whoever passes
the frame on to a link without such headers makes up for it (offload_finish_sum, codecs/segment.pyx).

A partial checksum is the folded sum of the pseudo-header, in the checksum's own field: adding up everything from the
transport header on, that field too, gives the sum of it all.
"""

from libc.string cimport memcpy, memset

from pyslirp.engine.base.header.ethernet cimport ETH_BYTES
from pyslirp.engine.base.header.virtio_net cimport *
from pyslirp.engine.base.ints cimport u8, u16, u32
from pyslirp.engine.stores.checksum cimport sum_bytes, sum_store

cdef enum:
    SUM_BYTES = 2


cdef inline u16 _load(const u8 *at) noexcept nogil:
    cdef u16 value
    memcpy(&value, at, sizeof(u16))
    return value


cdef inline void _store(u8 *at, u32 value) noexcept nogil:
    cdef u16 narrow = <u16>value
    memcpy(at, &narrow, sizeof(u16))


cdef void offload_none(Offload *o) noexcept nogil:
    memset(o, 0, sizeof(Offload))


cdef bint offload_read(const u8 *header, u32 frame_bytes, Offload *o) noexcept nogil:
    cdef u8 flags = header[VNET_AT_FLAGS], gso = header[VNET_AT_GSO_TYPE] & ~<u8>VNET_GSO_ECN
    offload_none(o)
    if flags & VNET_NEEDS_CSUM:
        o.partial = True
        o.sum_from = _load(header + VNET_AT_SUM_FROM)
        o.sum_at = o.sum_from + _load(header + VNET_AT_SUM_OFFSET)
        if o.sum_from < ETH_BYTES or o.sum_at + SUM_BYTES > frame_bytes:
            return False
    o.good = (flags & (VNET_NEEDS_CSUM | VNET_DATA_VALID)) != 0
    if gso == VNET_GSO_NONE:
        return True
    if gso == VNET_GSO_TCPV4:
        o.gso = GSO_TCP4
    elif gso == VNET_GSO_TCPV6:
        o.gso = GSO_TCP6
    elif gso == VNET_GSO_UDP_L4:
        o.gso = GSO_UDP
    else:
        return False                            # nobody was told that we take it
    o.gso_bytes = _load(header + VNET_AT_GSO_SIZE)
    return o.gso_bytes != 0 and o.partial


cdef inline u8 _wire_type(u8 gso) noexcept nogil:
    if gso == GSO_UDP:
        return VNET_GSO_UDP_L4
    return VNET_GSO_TCPV4 if gso == GSO_TCP4 else VNET_GSO_TCPV6


cdef void offload_write(u8 *header, const Offload *o, u32 header_bytes) noexcept nogil:
    memset(header, 0, VNET_BYTES)
    if not o.partial:
        return
    header[VNET_AT_FLAGS] = VNET_NEEDS_CSUM
    _store(header + VNET_AT_SUM_FROM, o.sum_from)
    _store(header + VNET_AT_SUM_OFFSET, o.sum_at - o.sum_from)
    if o.gso == GSO_NONE:
        return
    header[VNET_AT_GSO_TYPE] = _wire_type(o.gso)
    _store(header + VNET_AT_HEADER_BYTES, header_bytes)
    _store(header + VNET_AT_GSO_SIZE, o.gso_bytes)


cdef void offload_finish_sum(u8 *frame, u32 frame_bytes, const Offload *o) noexcept nogil:
    sum_store(frame + o.sum_at, sum_bytes(frame + o.sum_from, frame_bytes - o.sum_from, 0))


# -- for tests ---------------------------------------------------------------------------------------------------------

def _read(bytes header, u32 frame_bytes):
    """(partial, good, gso, gso_bytes, sum_from, sum_at), or None where the header does not fit."""
    cdef Offload o
    if len(header) != VNET_BYTES:
        raise ValueError(f"a header has {VNET_BYTES} bytes")
    if not offload_read(<const u8 *>header, frame_bytes, &o):
        return None
    return bool(o.partial), bool(o.good), o.gso, o.gso_bytes, o.sum_from, o.sum_at


cdef Offload _offload(bint partial, int gso, u32 gso_bytes, u32 sum_from, u32 sum_at):
    cdef Offload o
    offload_none(&o)
    o.partial = partial
    o.gso = <u8>gso
    o.gso_bytes = gso_bytes
    o.sum_from = sum_from
    o.sum_at = sum_at
    return o


def _write(bint partial, int gso, u32 gso_bytes, u32 sum_from, u32 sum_at, u32 header_bytes):
    cdef Offload o = _offload(partial, gso, gso_bytes, sum_from, sum_at)
    cdef u8[VNET_BYTES] header
    memset(header, 0xee, VNET_BYTES)
    offload_write(header, &o, header_bytes)
    return header[:VNET_BYTES]


def _finish_sum(bytes frame, u32 sum_from, u32 sum_at):
    cdef Offload o = _offload(True, GSO_NONE, 0, sum_from, sum_at)
    cdef bytearray out = bytearray(frame)
    if sum_at + SUM_BYTES > <u32>len(frame) or sum_from > <u32>len(frame):
        raise ValueError("outside the frame")
    offload_finish_sum(<u8 *>out, len(frame), &o)
    return bytes(out)
