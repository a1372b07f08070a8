"""Objects of one size in blocks, with a free list and handles that go stale.

Blocks never move and are never given back before slab_free, so a pointer to an object stays good while it lives, and
reading the head of a dead one is harmless: that is how a stale handle is told.  The last object given is the next taken
(warm in the cache); its generation has moved on by then, so handles repeat after 2**31 uses of one place.

Generation: even when free, odd while alive.  Handle 0 (index 0, generation 0) is never alive: it means "none".
"""

cimport cython
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.ints cimport u8, u32, u64

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size) noexcept

cdef enum:
    CACHE_LINE = 64
    BLOCKS_FIRST = 4            # room for block pointers of the first allocation


cdef inline u64 _generation() noexcept nogil:
    """One generation, as it is added to a handle; also the bit that tells alive from free."""
    return <u64>1 << 32


cdef void slab_init(Slab *s, u32 object_bytes, u32 limit) noexcept nogil:
    memset(s, 0, sizeof(Slab))
    s.object_bytes = (object_bytes + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
    s.limit = limit


cdef void slab_free(Slab *s) noexcept nogil:
    cdef u32 i
    for i in range(s.block_count):
        free(s.blocks[i])
    free(s.blocks)
    slab_init(s, s.object_bytes, s.limit)


cdef void *slab_take(Slab *s) noexcept nogil:
    cdef SlabHead *head
    if s.alive >= s.limit or (s.free == NULL and not _add_block(s)):
        return NULL
    head = s.free
    s.free = <SlabHead *>head.next_free
    memset(<u8 *>head + sizeof(SlabHead), 0, s.object_bytes - sizeof(SlabHead))
    head.next_free = NULL
    head.handle += _generation()
    s.alive += 1
    return head


cdef void slab_give(Slab *s, void *thing) noexcept nogil:
    cdef SlabHead *head = <SlabHead *>thing
    slirp_assert(slab_find(s, head.handle) == thing)
    head.handle += _generation()
    head.next_free = s.free
    s.free = head
    s.alive -= 1


cdef void *slab_find(const Slab *s, u64 handle) noexcept nogil:
    cdef SlabHead *head = <SlabHead *>slab_at(s, <u32>handle)
    return head if head != NULL and head.handle == handle else NULL


cdef void *slab_at(const Slab *s, u32 index) noexcept nogil:
    cdef SlabHead *head
    if index >= slab_span(s):
        return NULL
    head = _head(s, index)
    return head if head.handle & _generation() else NULL


cdef inline SlabHead *_head(const Slab *s, u32 index) noexcept nogil:
    return <SlabHead *>(s.blocks[index // SLAB_BLOCK] + <size_t>(index % SLAB_BLOCK) * s.object_bytes)


cdef bint _add_block(Slab *s) noexcept nogil:
    cdef u8 **blocks
    cdef u8 *block
    cdef u32 i, base = slab_span(s)
    cdef SlabHead *head
    # The array of pointers grows when the count of blocks is a power of two, so its room need not be remembered.
    if s.block_count == 0 or (s.block_count >= BLOCKS_FIRST and s.block_count & (s.block_count - 1) == 0):
        blocks = <u8 **>realloc(s.blocks, max(<size_t>BLOCKS_FIRST, <size_t>s.block_count * 2) * sizeof(u8 *))
        if blocks == NULL:
            return False
        s.blocks = blocks
    block = <u8 *>aligned_alloc(CACHE_LINE, <size_t>s.object_bytes * SLAB_BLOCK)
    if block == NULL:
        return False
    s.blocks[s.block_count] = block
    s.block_count += 1
    for i in range(<u32>SLAB_BLOCK):            # linked backwards, so that index base is taken first
        head = _head(s, base + SLAB_BLOCK - 1 - i)
        head.handle = base + SLAB_BLOCK - 1 - i
        head.next_free = s.free
        s.free = head
    return True


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Slab:
    """A Slab; objects are known by their handle."""

    cdef Slab slab

    def __cinit__(self, u32 object_bytes, u32 limit):
        slab_init(&self.slab, object_bytes, limit)

    def __dealloc__(self):
        slab_free(&self.slab)

    cdef u8 *living(self, u64 handle) except NULL:
        cdef u8 *thing = <u8 *>slab_find(&self.slab, handle)
        if thing == NULL:
            raise KeyError(handle)
        return thing

    def take(self):
        """The handle of a new object, or 0."""
        cdef SlabHead *head = <SlabHead *>slab_take(&self.slab)
        return head.handle if head != NULL else 0

    def give(self, u64 handle):
        slab_give(&self.slab, self.living(handle))

    def find(self, u64 handle):
        """The address of the living object of that handle, or 0."""
        return <size_t>slab_find(&self.slab, handle)

    def at(self, u32 index):
        """The handle of the living object at that index, or 0."""
        cdef SlabHead *head = <SlabHead *>slab_at(&self.slab, index)
        return head.handle if head != NULL else 0

    def read(self, u64 handle):
        """The object's bytes behind its head."""
        return self.living(handle)[sizeof(SlabHead):self.slab.object_bytes]

    def fill(self, u64 handle, u8 value):
        memset(self.living(handle) + sizeof(SlabHead), value, self.slab.object_bytes - sizeof(SlabHead))

    @property
    def alive(self):
        return self.slab.alive

    @property
    def span(self):
        return slab_span(&self.slab)

    @property
    def object_bytes(self):
        return self.slab.object_bytes
