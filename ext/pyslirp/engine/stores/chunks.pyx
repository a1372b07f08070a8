"""The memory of every stream buffer: equal chunks, one budget, one place that says no."""

cimport cython
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from pyslirp.engine.base.debug cimport slirp_assert
from pyslirp.engine.base.ints cimport u8, u32, u64


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


cdef u8 *_take_share(ChunkPool *pool) noexcept nogil:
    cdef ChunkPool *whole = pool.parent
    cdef u8 *chunk = NULL
    if pool.used_bytes < SHARE * _free(whole):
        chunk = chunk_take(whole)
    else:
        whole.refused += 1
    if chunk == NULL:
        pool.refused += 1
    else:
        pool.used_bytes += CHUNK_BYTES
    return chunk


cdef void chunk_pool_free(ChunkPool *pool) noexcept nogil:
    slirp_assert(pool.used_bytes == 0)
    while pool.cached:
        pool.cached -= 1
        free(pool.cache[pool.cached])


cdef u8 *chunk_take(ChunkPool *pool) noexcept nogil:
    cdef u8 *chunk = NULL
    if pool.parent != NULL:
        return _take_share(pool)
    if pool.used_bytes + CHUNK_BYTES <= pool.limit_bytes:
        if pool.cached:
            pool.cached -= 1
            pool.spare = min(pool.spare, pool.cached)
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
    if pool.parent != NULL:
        chunk_give(pool.parent, chunk)
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
        cdef u8 *chunk = chunk_take(&self.pool)
        if chunk != NULL:
            memset(chunk, 0x55, CHUNK_BYTES)
        return <size_t>chunk

    def give(self, size_t address):
        chunk_give(&self.pool, <u8 *>address)

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
