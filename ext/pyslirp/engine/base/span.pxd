"""The one checked read of untrusted bytes.

A Span borrows; it never owns.  Whoever reads what a guest has sent takes its pointer from `span_at`, which is the only
place where a length is compared with what is really there.
"""

from pyslirp.engine.base.ints cimport u8

cdef struct Span:
    const u8 *data              # borrowed from the frame that is being worked on
    size_t length               # bytes that may be read


cdef inline const u8 *span_at(const Span *span, size_t offset, size_t length) noexcept nogil:
    """A pointer to `length` readable bytes at `offset`, or NULL where the span does not hold them."""
    if offset > span.length or length > span.length - offset:
        return NULL
    return span.data + offset


cdef inline bint span_cut(Span *span, size_t offset, size_t length) noexcept nogil:
    """Narrow the span to `length` bytes at `offset`; False, and nothing changed, where it does not hold them."""
    if offset > span.length or length > span.length - offset:
        return False
    span.data += offset
    span.length = length
    return True
