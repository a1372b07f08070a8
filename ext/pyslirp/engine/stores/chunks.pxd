"""The memory of every stream buffer: equal chunks, counted by those who refer to them, one budget, one place that says no."""

from pyslirp.engine.base.ints cimport u8, u32, u64

cdef enum:
    CHUNK_BYTES = 16384         # one chunk; 16 KiB holds eleven segments of 1460 and divides a 64 KiB super-frame
    CHUNK_CACHE = 256           # free chunks kept for reuse (4 MiB); more go back to the allocator
    CHUNK_KEPT = 16             # of them kept by a pool that is idle

cdef struct Chunk:
    ChunkPool *pool             # borrowed, outlives the chunk: where it goes back to
    u64 references              # who has it: a queue that stores in it, frames that are sent from it; 0: it is free
    u8[CHUNK_BYTES] bytes

# A part of a chunk.
cdef struct ChunkPiece:
    u8 *data
    size_t length
    Chunk *chunk                # borrowed, unless a reference is said to come with it

cdef struct ChunkPool:
    Chunk *cache[CHUNK_CACHE]   # owned: free chunks, last freed first used (warm in the cache)
    u32 cached
    u32 spare                   # of the cached: those that nobody has needed since chunk_pool_trim
    u64 freed_bytes             # given back to the allocator so far
    u64 used_bytes              # of chunks that somebody refers to
    u64 limit_bytes             # named limit `memory`; chunk_take answers NULL beyond it
    u64 refused                 # how often it did
    ChunkPool *parent           # borrowed: whose share this is; NULL: nobody's.  A share has no cache and no limit of its own

cdef void chunk_pool_init(ChunkPool *pool, u64 limit_bytes) noexcept nogil
# Somebody's share of `parent`: four times as much as is still free for all.  Who takes what he can get ends with four fifths,
# two with four ninths each, and what is left is there for the others (dynamic thresholds, Choudhury and Hahne 1998).
cdef void chunk_pool_share(ChunkPool *pool, ChunkPool *parent) noexcept nogil
cdef bint chunk_pool_tight(const ChunkPool *pool) noexcept nogil         # more than half of what it may have is in use
cdef void chunk_pool_free(ChunkPool *pool) noexcept nogil                # frees the cache; used_bytes must be 0
# Give back what was spare since it was called last, but CHUNK_KEPT: a busy pool keeps what it works with.
cdef void chunk_pool_trim(ChunkPool *pool) noexcept nogil
cdef Chunk *chunk_take(ChunkPool *pool) noexcept nogil                   # with one reference, or NULL
cdef inline void chunk_hold(Chunk *chunk) noexcept nogil:                # one reference more
    chunk.references += 1
cdef void chunk_drop(Chunk *chunk) noexcept nogil                        # one less; with the last one the chunk is free
