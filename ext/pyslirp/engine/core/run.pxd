"""The entries by which an edge, or the simulator, drives the world."""

from pyslirp.engine.base.ints cimport i32, ns_t, u8, u32, u64
from pyslirp.engine.core.world cimport World
from pyslirp.engine.tables.flow cimport Flow

# What an edge says of a flow's socket.
cdef enum HostReady:
    HOST_READABLE = 1
    HOST_WRITABLE = 2
    HOST_HUP = 4                # the host will send no more behind what is there to read
    HOST_URGENT = 8             # urgent data has come, or is announced: look for the mark
    HOST_BROKEN = 16            # the socket is in error: reset, or given up by the kernel

cdef World *world_new(const u8 *seed) noexcept nogil                         # 16 bytes; NULL: out of memory
cdef void world_free(World *w) noexcept nogil
# A frame, behind its virtio-net header where the port has head_bytes; it stays valid until world_run.
cdef void world_deliver(World *w, u32 port, const u8 *frame, u32 length, ns_t now) noexcept nogil
cdef bint world_run(World *w, u32 budget, ns_t now) noexcept nogil           # at most `budget` flows; True: there is more to do
cdef ns_t world_deadline(const World *w) noexcept nogil
cdef Flow *world_flow(const World *w, u64 handle) noexcept nogil             # a living flow or NULL
cdef void world_host_ready(World *w, Flow *flow, u32 what) noexcept nogil    # of a TCP flow
cdef void world_link_drained(World *w, u32 port) noexcept nogil              # a link that was full has room again
