"""The memory of every stream buffer: equal chunks, one budget, one place that says no."""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.ints cimport u8, u32, u64


cdef void chunk_pool_init(ChunkPool *pool, u64 limit_bytes) noexcept nogil:
    pool.cached = 0
    pool.used_bytes = 0
    pool.limit_bytes = limit_bytes
    pool.refused = 0


cdef void chunk_pool_free(ChunkPool *pool) noexcept nogil:
    slirp_assert(pool.used_bytes == 0)
    while pool.cached:
        pool.cached -= 1
        free(pool.cache[pool.cached])


cdef u8 *chunk_take(ChunkPool *pool) noexcept nogil:
    cdef u8 *chunk = NULL
    if pool.used_bytes + CHUNK_BYTES <= pool.limit_bytes:
        if pool.cached:
            pool.cached -= 1
            chunk = pool.cache[pool.cached]
        else:
            chunk = <u8 *>malloc(CHUNK_BYTES)
    if chunk == NULL:
        pool.refused += 1
        return NULL
    pool.used_bytes += CHUNK_BYTES
    return chunk


cdef void chunk_give(ChunkPool *pool, u8 *chunk) noexcept nogil:
    slirp_assert(pool.used_bytes >= CHUNK_BYTES)
    pool.used_bytes -= CHUNK_BYTES
    if pool.cached < CHUNK_CACHE:
        pool.cache[pool.cached] = chunk
        pool.cached += 1
    else:
        free(chunk)


# -- for tests ---------------------------------------------------------------------------------------------------------

@cython.final
cdef class _Pool:
    """A ChunkPool; chunks are known by their address."""

    cdef ChunkPool pool

    def __cinit__(self, u64 limit_bytes):
        chunk_pool_init(&self.pool, limit_bytes)

    def __dealloc__(self):
        chunk_pool_free(&self.pool)

    def take(self):
        """The address of a chunk that has been written all over, or 0."""
        cdef u8 *chunk = chunk_take(&self.pool)
        if chunk != NULL:
            memset(chunk, 0x55, CHUNK_BYTES)
        return <size_t>chunk

    def give(self, size_t address):
        chunk_give(&self.pool, <u8 *>address)

    @property
    def cached(self):
        return self.pool.cached

    @property
    def used_bytes(self):
        return self.pool.used_bytes

    @property
    def refused(self):
        return self.pool.refused
