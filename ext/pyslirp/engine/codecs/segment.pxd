"""Cutting a super-frame into the segments or datagrams that it stands for, for a link that carries no super-frames."""

from pyslirp.engine.base.ints cimport u8, u32
from pyslirp.engine.codecs.offload cimport Offload

cdef struct Segmenter:
    const u8 *frame             # borrowed
    u32 frame_bytes             # without padding
    u32 l4                      # offset of the TCP or UDP header
    u32 header_bytes            # all headers: what every segment begins with
    u32 gso_bytes
    bint v4
    bint udp                    # datagrams, not segments of TCP
    u32 at                      # payload bytes that earlier segments have
    u32 count                   # earlier segments

# False: the frame is not what its offload says, and is to be dropped.
cdef bint segment_begin(Segmenter *s, const u8 *frame, u32 length, const Offload *o) noexcept nogil
cdef inline u32 segment_room(const Segmenter *s) noexcept nogil:
    """Bytes of the longest of them."""
    return s.header_bytes + s.gso_bytes
# The next one is written at `at`, whole with its checksums: its length; 0 when there are no more.
cdef u32 segment_next(Segmenter *s, u8 *at) noexcept nogil
