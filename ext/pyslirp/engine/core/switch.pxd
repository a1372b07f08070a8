"""The switch: every link is a port; MAC addresses are learned, groups and unknown addresses flooded (IEEE 802.1D)."""

from pyslirp.engine.base.ints cimport u8, u32
from pyslirp.engine.codecs.parse cimport Packet
from pyslirp.engine.core.world cimport World
from pyslirp.engine.stores.chunks cimport ChunkPiece

cdef int port_add(World *w, u32 mtu, u32 burst) noexcept nogil               # number, or -1 when there are too many
cdef void port_remove(World *w, u32 port) noexcept nogil
# Learns and forwards; True: the frame is (also) for us.
cdef bint switch_frame(World *w, u32 port, const Packet *p) noexcept nogil
cdef void capture_frame(World *w, u32 port, bint inbound, const u8 *frame, u32 length) noexcept nogil
# A frame to the guest, the end of which are these pieces.
cdef void capture_pieces(World *w, u32 port, const u8 *head, u32 length, const ChunkPiece *pieces, int number) noexcept nogil
cdef list captured_take(World *w)                                            # [(port, inbound, time, frame)], emptying the queue
