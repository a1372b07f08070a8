"""What a link's other end does for us, and leaves to us: the virtio-net header in front of a frame."""

from pyslirp.engine.base.ints cimport u8, u32

cdef enum:
    OFFLOAD_BYTES = 10          # of the header (VNET_BYTES)

cdef enum GsoType:
    GSO_NONE = 0
    GSO_TCP4
    GSO_TCP6
    GSO_UDP                     # several datagrams of one flow (USO), over IPv4 or IPv6

cdef struct Offload:
    bint partial                # the checksum is still to be made: over the frame from sum_from on, put at sum_at
    bint good                   # the transport checksum need not be checked
    u8 gso                      # GsoType: the frame is several segments, or datagrams, in one
    u32 gso_bytes               # payload of each of them but the last; 0 where gso is GSO_NONE
    u32 sum_from                # offsets in the frame
    u32 sum_at

cdef void offload_none(Offload *o) noexcept nogil
# The header in front of a frame of that length.  False: it does not fit the frame, which is to be dropped.
cdef bint offload_read(const u8 *header, u32 frame_bytes, Offload *o) noexcept nogil
# header_bytes: Ethernet, IP and TCP or UDP headers together, where gso is not GSO_NONE.
cdef void offload_write(u8 *header, const Offload *o, u32 header_bytes) noexcept nogil
# Make the checksum that is still to be made (`partial`), in a frame that offload_read has accepted.
cdef void offload_finish_sum(u8 *frame, u32 frame_bytes, const Offload *o) noexcept nogil
