"""Cut frames out of a byte stream: QEMU's 4-byte big-endian length in front of each (net/net.c:net_fill_rstate).

A Deframer keeps no bytes: it is run over the reader's buffer and says how far it came.  Pure; the edge moves the bytes.
"""

from pyslirp.engine.base.ints cimport u8, u32

cdef enum:
    FRAME_MIN = 14              # an Ethernet header; a shorter frame closes the port
    FRAME_MAX = 69632           # QEMU's NET_BUFSIZE (4096 + 65536); a longer one closes the port
    STREAM_PREFIX = 4

cdef enum DeframeResult:
    DEFRAME_FRAME = 1           # *at and *length describe a frame, *used is what it took of the input with its prefix
    DEFRAME_MORE = 0            # the input ends inside a prefix or a frame; *length is the frame's, 0 if not yet known
    DEFRAME_BAD = -1            # *length is under FRAME_MIN or over FRAME_MAX; the stream is beyond repair

cdef DeframeResult deframe_stream(const u8 *data, u32 have, const u8 **at, u32 *length, u32 *used) noexcept nogil
