"""Reading and writing of TCP options.  The reader trusts no length; the writer keeps 4-byte alignment (RFC 7323 appendix A)."""

from libc.string cimport memset

from pyslirp.engine.base.endian cimport load16, load32, store16, store32
from pyslirp.engine.base.ints cimport u8, u16, u32
from pyslirp.engine.base.span cimport Span, span_at
from pyslirp.engine.base.status cimport OK, TCP_BAD_OPTIONS, Status


cdef void _take(TcpOptions *o, u8 kind, const u8 *body, u32 length) noexcept nogil:
    """One well-bounded option: `length` bytes of body behind kind and length."""
    cdef u32 i
    if kind == OPTION_MSS and length == 2:
        o.mss = load16(body)
    elif kind == OPTION_WINDOW_SCALE and length == 1:
        o.has_window_scale = True
        o.window_scale = body[0] if body[0] < WINDOW_SCALE_MAX else WINDOW_SCALE_MAX
    elif kind == OPTION_SACK_PERMITTED and length == 0:
        o.sack_permitted = True
    elif kind == OPTION_TIMESTAMPS and length == 8:
        o.has_timestamps = True
        o.ts_value = load32(body)
        o.ts_echo = load32(body + 4)
    elif kind == OPTION_USER_TIMEOUT and length == 2:
        # The high bit says minutes (RFC 5482 section 3.1); a zero is to be ignored.
        o.user_timeout = (load16(body) & 0x7fff) * (60 if load16(body) & 0x8000 else 1)
    elif kind == OPTION_SACK and length % 8 == 0 and length // 8 <= SACK_BLOCKS_MAX:
        o.sack_count = <int>(length // 8)
        for i in range(length // 8):
            o.sack_start[i] = load32(body + 8 * i)
            o.sack_end[i] = load32(body + 8 * i + 4)


cdef Status options_parse(TcpOptions *o, const u8 *data, u32 length) noexcept nogil:
    cdef Span span
    cdef u32 at = 0
    cdef const u8 *head
    memset(o, 0, sizeof(TcpOptions))
    span.data = data
    span.length = length
    # The form that all but a few segments have: NOP NOP TIMESTAMPS (RFC 7323 appendix A).
    if length == 12 and load32(data) == 0x0101080a:
        o.has_timestamps = True
        o.ts_value = load32(data + 4)
        o.ts_echo = load32(data + 8)
        return OK
    while at < length:
        head = span_at(&span, at, 1)
        if head[0] == OPTION_END:
            return OK
        if head[0] == OPTION_NOP:
            at += 1
            continue
        head = span_at(&span, at, 2)
        if head == NULL or head[1] < 2 or span_at(&span, at, head[1]) == NULL:
            return TCP_BAD_OPTIONS
        _take(o, head[0], head + 2, head[1] - 2)
        at += head[1]
    return OK


cdef u32 options_put_syn(u8 *at, u16 mss, bint window_scale, u8 scale, bint sack, bint timestamps, u32 value, u32 echo) noexcept nogil:
    cdef u32 n = 4
    at[0] = OPTION_MSS
    at[1] = 4
    store16(at + 2, mss)
    if timestamps:
        # SACK-permitted takes the place of the two NOPs, as everybody does it.
        at[n] = OPTION_SACK_PERMITTED if sack else OPTION_NOP
        at[n + 1] = 2 if sack else OPTION_NOP
        at[n + 2] = OPTION_TIMESTAMPS
        at[n + 3] = 10
        store32(at + n + 4, value)
        store32(at + n + 8, echo)
        n += 12
    elif sack:
        at[n] = OPTION_NOP
        at[n + 1] = OPTION_NOP
        at[n + 2] = OPTION_SACK_PERMITTED
        at[n + 3] = 2
        n += 4
    if window_scale:
        at[n] = OPTION_NOP
        at[n + 1] = OPTION_WINDOW_SCALE
        at[n + 2] = 3
        at[n + 3] = scale
        n += 4
    return n


cdef u32 options_put_timestamps(u8 *at, u32 value, u32 echo) noexcept nogil:
    store32(at, 0x0101080a)
    store32(at + 4, value)
    store32(at + 8, echo)
    return 12


cdef u32 options_put_sack(u8 *at, int count, const u32 *start, const u32 *end) noexcept nogil:
    cdef int i
    at[0] = OPTION_NOP
    at[1] = OPTION_NOP
    at[2] = OPTION_SACK
    at[3] = <u8>(2 + 8 * count)
    for i in range(count):
        store32(at + 4 + 8 * i, start[i])
        store32(at + 8 + 8 * i, end[i])
    return <u32>(4 + 8 * count)


def _testhelper_parse(data: bytes) -> dict | None:
    """The options in `data` as a dict, or None where it is malformed."""
    cdef TcpOptions o
    if options_parse(&o, data, <u32>len(data)) != OK:
        return None
    return {"mss": o.mss, "window_scale": o.window_scale if o.has_window_scale else None, "sack_permitted": bool(o.sack_permitted),
            "timestamps": (o.ts_value, o.ts_echo) if o.has_timestamps else None,
            "user_timeout": o.user_timeout, "sack": [(o.sack_start[i], o.sack_end[i]) for i in range(o.sack_count)]}


def _testhelper_syn(mss: int, scale: int | None, sack: bool, timestamps: tuple[int, int] | None) -> bytes:
    """The options of a SYN."""
    cdef u8[OPTIONS_MAX] room
    value, echo = timestamps or (0, 0)
    cdef u32 n = options_put_syn(room, mss, scale is not None, scale or 0, sack, timestamps is not None, value, echo)
    return (<char *>room)[:n]
