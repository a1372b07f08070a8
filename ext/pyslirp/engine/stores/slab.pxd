"""Objects of one size in blocks, with a free list and handles that go stale.

A handle is (generation << 32 | index); it is what Python and the kernel's epoll data hold, so that a late event for
something already freed finds nothing instead of something else.
"""

from pyslirp.engine.base.ints cimport u8, u32, u64

cdef enum:
    SLAB_BLOCK = 64             # objects allocated at a time

# Every object in a slab begins with this head.
cdef struct SlabHead:
    u64 handle                  # generation << 32 | index; generation is odd while alive
    void *next_free             # free list, only while dead

cdef struct Slab:
    u8 **blocks                 # owned blocks of SLAB_BLOCK objects
    u32 block_count
    u32 object_bytes            # rounded up to 64: objects do not share cache lines
    u32 alive
    u32 limit                   # named limit; slab_take answers NULL beyond it
    SlabHead *free

cdef void slab_init(Slab *s, u32 object_bytes, u32 limit) noexcept nogil
cdef void slab_free(Slab *s) noexcept nogil
cdef void *slab_take(Slab *s) noexcept nogil                     # zeroed but for its head; NULL: limit, or no memory
cdef void slab_give(Slab *s, void *thing) noexcept nogil
cdef void *slab_find(const Slab *s, u64 handle) noexcept nogil   # the living object of that handle, or NULL
cdef void *slab_at(const Slab *s, u32 index) noexcept nogil      # the living object at that index, or NULL: to walk all
cdef inline u32 slab_span(const Slab *s) noexcept nogil:
    """One past the largest index ever used."""
    return s.block_count * <u32>SLAB_BLOCK
