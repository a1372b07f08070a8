"""How long a datagram flow lives, and what is kept of it while its verdict is awaited.

A DNS exchange (RFC 4787 REQ-5 a) allows it) is over when as many answers as questions have passed: its socket is given back
at once, because a guest's resolver uses a fresh port for each.
"""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from pyslirp.engine.base.ints cimport i64, ns_t, u8, u16, u32
from pyslirp.engine.tables.flow cimport GUEST_SIDE, Flow


cdef inline ns_t _seconds(i64 n) noexcept nogil:
    return n * <i64>1000000000


cdef ns_t datagram_deadline(const Flow *flow, const DatagramPeer *peer) noexcept nogil:
    cdef ns_t last = flow.last_from_guest if flow.last_from_guest > flow.last_from_host else flow.last_from_host
    if flow.name[<int>GUEST_SIDE].key.far_port == PORT_DNS and peer.to_guest and peer.to_guest >= peer.to_host:
        return last
    return last + _seconds(UDP_STREAM_SECONDS if peer.to_guest and peer.to_host else UDP_IDLE_SECONDS)


cdef bint datagram_hold(DatagramPeer *peer, const u8 *data, u32 length, u8 ttl, u8 tos) noexcept nogil:
    cdef HeldDatagram *held
    if peer.held_count >= HELD_MAX or peer.held_bytes + length > HELD_BYTES:
        return False
    held = <HeldDatagram *>malloc(sizeof(HeldDatagram) + length)
    if held == NULL:
        return False
    held.next = NULL
    held.length = length
    held.ttl = ttl
    held.tos = tos
    memcpy(held.data, data, length)
    if peer.held == NULL:
        peer.held = held
    else:
        peer.held_last.next = held
    peer.held_last = held
    peer.held_count += 1
    peer.held_bytes += length
    return True


cdef HeldDatagram *datagram_release(DatagramPeer *peer) noexcept nogil:
    cdef HeldDatagram *held = peer.held
    if held != NULL:
        peer.held = held.next
        peer.held_count -= 1
        peer.held_bytes -= held.length
    return held


cdef void datagram_drop_held(DatagramPeer *peer) noexcept nogil:
    cdef HeldDatagram *held = datagram_release(peer)
    while held != NULL:
        free(held)
        held = datagram_release(peer)


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Peer:
    """A DatagramPeer and its flow."""

    cdef Flow flow
    cdef DatagramPeer peer

    def __cinit__(self, u16 far_port=9):
        memset(&self.flow, 0, sizeof(Flow))
        memset(&self.peer, 0, sizeof(DatagramPeer))
        self.flow.name[<int>GUEST_SIDE].key.far_port = far_port

    def __dealloc__(self):
        datagram_drop_held(&self.peer)

    def deadline(self, ns_t last_from_guest, ns_t last_from_host, u32 to_host, u32 to_guest):
        self.flow.last_from_guest = last_from_guest
        self.flow.last_from_host = last_from_host
        self.peer.to_host = to_host
        self.peer.to_guest = to_guest
        return datagram_deadline(&self.flow, &self.peer)

    def hold(self, bytes data not None, u8 ttl, u8 tos):
        return datagram_hold(&self.peer, <const u8 *>data, len(data), ttl, tos)

    def release(self):
        """(data, ttl, tos) of the oldest, or None."""
        cdef HeldDatagram *held = datagram_release(&self.peer)
        if held == NULL:
            return None
        made = held.data[:held.length], held.ttl, held.tos
        free(held)
        return made

    def drop(self):
        datagram_drop_held(&self.peer)

    @property
    def held_count(self):
        return self.peer.held_count
