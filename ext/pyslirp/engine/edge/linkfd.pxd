"""Links: the descriptors by which guests' frames come and go."""

from pyslirp.engine.base.ints cimport i64, ns_t, u8, u32, u64
from pyslirp.engine.core.port cimport PORTS_MAX
from pyslirp.engine.core.world cimport World
from pyslirp.engine.edge.poller cimport Poller
from pyslirp.engine.stores.slab cimport Slab, SlabHead

cdef enum:
    LINK_READ_BYTES = 262144    # of one read: what a unix socket's buffer holds at most by default, and some
    READ_AREA_BYTES = 1048576   # frames of one batch; when another read would not fit, the batch is worked off first
    LINK_KEPT_BYTES = 65536     # of an idle link's queue; a larger one is given back
    LINK_BURST_BYTES = 65455    # TCP payload of a super-frame: an IPv4 packet with the longest TCP header
    LINK_IDLE_NS = 1000000000   # once it has been drained for this long
    FREED_BYTES = 1048576       # after that much has been freed the allocator is asked to let go of it, too

# How frames lie in what the descriptor gives.
cdef enum Framing:
    FRAMING_STREAM = 1          # QEMU's length in front of each (codecs/framing.pxd), on a stream socket
    FRAMING_PACKET = 2          # one in each read and write (edge/tapfd): a tap, a SEQPACKET socket
    FRAMING_OFFLOAD = 3         # the same, each behind a virtio-net header (codecs/offload): a tap with IFF_VNET_HDR
    FRAMING_OFFLOAD_UDP = 4     # and with datagrams of one flow in one frame (GSO_UDP): Linux since 6.2

cdef struct Link:
    SlabHead slab
    int fd                      # owned
    u32 port
    u8 framing
    bint full                   # the kernel takes no more for now
    bint wants_room             # in the poller for writing too
    u8 *held                    # owned: the beginning of a frame whose end has not come; NULL between frames
    u32 held_bytes

cdef struct Links:
    Slab slab
    World *world                # borrowed
    Poller *poller              # borrowed
    Link *by_port[PORTS_MAX]    # NULL where a port has no link of ours
    u32 high                    # one past the highest port that ever had one
    u8 *area                    # owned: what was read in this batch
    u32 area_used
    ns_t trim_at                # when memory that a load has left behind is given back; ns_never()
    u64 trimmed_bytes           # of what queues and chunks have freed: what the allocator has been asked about
    u64 freed_bytes             # by queues
    bint released               # some port is: whoever waits for one looks again
    bint[PORTS_MAX] port_released       # its queue has room again, or it is gone

cdef int links_open(Links *l, World *w, Poller *p) noexcept nogil                  # 0 or errno
cdef void links_close(Links *l) noexcept nogil
# A new port of the switch on this descriptor.  Ownership passes with a port number (>= 0); else -errno.
cdef int link_attach(Links *l, int fd, u32 mtu, u32 burst, Framing framing) noexcept nogil
cdef bint link_detach(Links *l, u32 port) noexcept nogil                           # False: there is no such link
cdef void link_event(Links *l, u64 handle, u32 events, ns_t now) noexcept nogil
cdef inline bint links_area_full(const Links *l) noexcept nogil:
    """Is there no room for another read?  Then world_run, and area_used = 0."""
    return l.area_used > READ_AREA_BYTES - LINK_READ_BYTES
cdef void links_write(Links *l, ns_t now) noexcept nogil                           # what the core has queued
cdef void links_trim(Links *l, ns_t now) noexcept nogil
