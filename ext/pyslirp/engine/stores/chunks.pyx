"""The memory of every stream buffer: equal chunks, counted by those who refer to them, one budget, one place that says no.

Goal: bytes that wait in a stream's buffer are sent from where they lie.  So a chunk belongs to nobody; a byte queue has
one reference to each of its chunks, and every frame that waits for a link one to each chunk that it is sent from.  What
has been stored in a chunk does not change while the chunk is referred to; a queue that goes on to fill it writes behind.

Memory is charged to the pool that a chunk was taken from until its last reference goes: a guest that acknowledges what
it has not fetched yet gets no more of it than its share.  Pools outlive chunks: the shares of a World lie in it.
"""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.ints cimport u64


cdef enum:
    SHARE = 4                   # times what is free for all: the most that one may have


cdef void chunk_pool_init(ChunkPool *pool, u64 limit_bytes) noexcept nogil:
    pool.cached = 0
    pool.spare = 0
    pool.freed_bytes = 0
    pool.used_bytes = 0
    pool.limit_bytes = limit_bytes
    pool.refused = 0
    pool.parent = NULL


cdef inline u64 _free(const ChunkPool *whole) noexcept nogil:
    return whole.limit_bytes - min(whole.used_bytes, whole.limit_bytes)


cdef void chunk_pool_share(ChunkPool *pool, ChunkPool *parent) noexcept nogil:
    chunk_pool_init(pool, 0)
    pool.parent = parent


cdef bint chunk_pool_tight(const ChunkPool *pool) noexcept nogil:
    cdef const ChunkPool *whole = pool
    if pool.parent != NULL:
        whole = pool.parent
    if pool != whole and 2 * pool.used_bytes > SHARE * _free(whole):
        return True
    return 2 * whole.used_bytes > whole.limit_bytes


cdef Chunk *_take_share(ChunkPool *pool) noexcept nogil:
    cdef ChunkPool *whole = pool.parent
    cdef Chunk *chunk = NULL
    if pool.used_bytes < SHARE * _free(whole):
        chunk = chunk_take(whole)
    else:
        whole.refused += 1
    if chunk == NULL:
        pool.refused += 1
    else:
        chunk.pool = pool
        pool.used_bytes += CHUNK_BYTES
    return chunk


cdef void chunk_pool_free(ChunkPool *pool) noexcept nogil:
    slirp_assert(pool.used_bytes == 0)
    while pool.cached:
        pool.cached -= 1
        free(pool.cache[pool.cached])


cdef Chunk *chunk_take(ChunkPool *pool) noexcept nogil:
    cdef Chunk *chunk = NULL
    if pool.parent != NULL:
        return _take_share(pool)
    if pool.used_bytes + CHUNK_BYTES <= pool.limit_bytes:
        if pool.cached:
            pool.cached -= 1
            pool.spare = min(pool.spare, pool.cached)
            chunk = pool.cache[pool.cached]
        else:
            chunk = <Chunk *>malloc(sizeof(Chunk))
    if chunk == NULL:
        pool.refused += 1
        return NULL
    chunk.pool = pool
    chunk.references = 1
    pool.used_bytes += CHUNK_BYTES
    return chunk


cdef void chunk_drop(Chunk *chunk) noexcept nogil:
    slirp_assert(chunk.references > 0)
    chunk.references -= 1
    if chunk.references == 0:
        _give(chunk.pool, chunk)


cdef void _give(ChunkPool *pool, Chunk *chunk) noexcept nogil:
    slirp_assert(pool.used_bytes >= CHUNK_BYTES)
    pool.used_bytes -= CHUNK_BYTES
    if pool.parent != NULL:
        _give(pool.parent, chunk)
    elif pool.cached < CHUNK_CACHE:
        pool.cache[pool.cached] = chunk
        pool.cached += 1
    else:
        free(chunk)
        pool.freed_bytes += CHUNK_BYTES


cdef void chunk_pool_trim(ChunkPool *pool) noexcept nogil:
    while pool.spare and pool.cached > CHUNK_KEPT:
        pool.spare -= 1
        pool.cached -= 1
        free(pool.cache[pool.cached])
        pool.freed_bytes += CHUNK_BYTES
    pool.spare = pool.cached


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Pool:
    """A ChunkPool; chunks are known by their address."""

    cdef ChunkPool pool
    cdef _Pool whole                            # that this one is a share of, or None

    def __cinit__(self, u64 limit_bytes, _Pool whole=None):
        self.whole = whole
        if whole is None:
            chunk_pool_init(&self.pool, limit_bytes)
        else:
            chunk_pool_share(&self.pool, &whole.pool)

    def __dealloc__(self):
        chunk_pool_free(&self.pool)

    def take(self):
        """The address of a chunk that has been written all over, or 0."""
        cdef Chunk *chunk = chunk_take(&self.pool)
        if chunk != NULL:
            memset(chunk.bytes, 0x55, CHUNK_BYTES)
        return <size_t>chunk

    def hold(self, size_t address):
        chunk_hold(<Chunk *>address)

    def drop(self, size_t address):
        chunk_drop(<Chunk *>address)

    def trim(self):
        chunk_pool_trim(&self.pool)

    @property
    def freed_bytes(self):
        return self.pool.freed_bytes

    @property
    def tight(self):
        return chunk_pool_tight(&self.pool)

    @property
    def cached(self):
        return self.pool.cached

    @property
    def used_bytes(self):
        return self.pool.used_bytes

    @property
    def refused(self):
        return self.pool.refused
