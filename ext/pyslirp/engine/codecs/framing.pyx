"""Cut frames out of a byte stream: QEMU's 4-byte big-endian length in front of each (net/net.c:net_fill_rstate)."""

from pyslirp.engine.base.endian cimport load32
from pyslirp.engine.base.ints cimport u8, u32


cdef DeframeResult deframe_stream(const u8 *data, u32 have, const u8 **at, u32 *length, u32 *used) noexcept nogil:
    at[0] = NULL
    length[0] = 0
    used[0] = 0
    if have < STREAM_PREFIX:
        return DEFRAME_MORE
    length[0] = load32(data)
    if not FRAME_MIN <= length[0] <= FRAME_MAX:
        return DEFRAME_BAD                      # at once: nobody waits for 4 GiB that a prefix promises (CVE-2007-5730)
    if have - STREAM_PREFIX < length[0]:
        return DEFRAME_MORE
    at[0] = data + STREAM_PREFIX
    used[0] = STREAM_PREFIX + length[0]
    return DEFRAME_FRAME


# -- for tests ---------------------------------------------------------------------------------------------------------

def _deframe(bytes data):
    """(result, frame or None, length, used)."""
    cdef const u8 *at
    cdef u32 length, used
    cdef DeframeResult result = deframe_stream(<const u8 *>data, len(data), &at, &length, &used)
    return <int>result, None if at == NULL else at[:length], length, used
