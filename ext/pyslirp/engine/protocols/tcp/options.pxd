"""TCP options: MSS (RFC 9293), window scale and timestamps (RFC 7323), SACK (RFC 2018), user timeout (RFC 5482)."""

from pyslirp.engine.base.ints cimport u8, u16, u32, u64
from pyslirp.engine.base.status cimport Status

cdef enum:
    OPTION_END = 0
    OPTION_NOP = 1
    OPTION_MSS = 2
    OPTION_WINDOW_SCALE = 3
    OPTION_SACK_PERMITTED = 4
    OPTION_SACK = 5
    OPTION_TIMESTAMPS = 8
    OPTION_USER_TIMEOUT = 28
    OPTIONS_MAX = 40            # bytes behind the fixed header
    SACK_BLOCKS_MAX = 4
    WINDOW_SCALE_MAX = 14       # RFC 7323 section 2.3: larger is taken as 14
    MSS_DEFAULT = 536           # RFC 9293 MUST-15, where the peer sends none
    MSS_DEFAULT6 = 1220
    MSS_MIN = 64                # a smaller one would make us send nothing but headers (and divides by zero elsewhere)

cdef struct TcpOptions:
    u16 mss                     # 0: none came
    bint has_window_scale
    u8 window_scale
    bint sack_permitted
    bint has_timestamps
    u32 ts_value
    u32 ts_echo
    u32 user_timeout            # seconds; 0: none came
    int sack_count
    u32[SACK_BLOCKS_MAX] sack_start
    u32[SACK_BLOCKS_MAX] sack_end

# OK, or TCP_BAD_OPTIONS for a length that runs out of the header or is under 2.  An option of a known kind with a wrong
# length is ignored, as an unknown one is (RFC 9293 MUST-6).
cdef Status options_parse(TcpOptions *o, const u8 *data, u32 length) noexcept nogil
# What goes out; each returns how many bytes it wrote (multiples of 4).
cdef u32 options_put_syn(u8 *at, u16 mss, bint window_scale, u8 scale, bint sack, bint timestamps, u32 value, u32 echo) noexcept nogil
cdef u32 options_put_timestamps(u8 *at, u32 value, u32 echo) noexcept nogil
cdef u32 options_put_sack(u8 *at, int count, const u32 *start, const u32 *end) noexcept nogil
