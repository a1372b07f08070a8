"""The sockets of flows: their table, their life, and what both kinds share."""

from pyslirp.engine.base.ints cimport Addr, u8, u16, u32, u64
from pyslirp.engine.base.sys.socket cimport mmsghdr
from pyslirp.engine.base.sys.uio cimport iovec
from pyslirp.engine.core.port cimport PORTS_MAX
from pyslirp.engine.core.world cimport World
from pyslirp.engine.edge.poller cimport Poller
from pyslirp.engine.edge.sockaddr cimport SockAddr
from pyslirp.engine.protocols.udp cimport BURST_MAX
from pyslirp.engine.stores.slab cimport Slab, SlabHead
from pyslirp.engine.tables.flow cimport Flow

cdef enum:
    HOST_SOCKETS_MAX = 65536    # as many as there can be flows
    HOST_RESERVED = 64          # descriptors below RLIMIT_NOFILE that no guest gets: links, resolvers, Python
    STALL_UNKNOWN = PORTS_MAX   # behind the lists of the ports: the list of those that have a guest nobody has heard of
    STALLS = PORTS_MAX + 1
    RECEIVE_BATCH = 16          # datagrams of one recvmmsg
    RECEIVE_BYTES = 65536       # room for each: the largest UDP payload is 65,507
    RECEIVE_STRIDE = RECEIVE_BYTES + 1600   # so that short ones do not all fall on the same lines of the cache
    CONTROL_WORDS = 8           # of two control messages, a number and an address (CMSG_SPACE), aligned as a cmsghdr must be

cdef enum HostKind:
    HOST_STREAM = 1             # edge/hoststream
    HOST_DATAGRAM = 2           # edge/hostdatagram
    HOST_ECHO = 3               # edge/hostdatagram: a ping socket (icmp(7))

cdef struct HostSocket:
    SlabHead slab
    int fd                      # owned
    u8 kind                     # HostKind
    bint v6                     # a socket of AF_INET6
    bint connecting             # connect() has not said yet what came of it
    bint traced                 # its SYN goes out with so low a TTL that ICMP is expected (traceroute)
    bint finished               # shut down for writing
    bint roomy                  # a stream that has been given a large receive buffer
    bint quiet                  # AF_UNIX: told of room to write only while it is wanted
    u16 stalled                 # on one of the lists of those that are not read for the moment: its number + 1
    u8 ttl                      # of the last datagram
    u8 tos
    bint one_by_one             # the kernel does not cut super-frames for it: what it sends is sent as it is
    u64 flow                    # handle of its flow, or of its mapping
    HostSocket *stalled_before
    HostSocket *stalled_after

# Where datagrams are received: one area, because a batch is passed on before the next is read.
cdef struct ReceiveArea:
    u8 *bytes                   # owned: RECEIVE_BATCH * RECEIVE_STRIDE, of which the kernel backs what was ever used
    mmsghdr[RECEIVE_BATCH] messages
    iovec[RECEIVE_BATCH] pieces
    SockAddr[RECEIVE_BATCH] names
    u64[RECEIVE_BATCH][CONTROL_WORDS] controls

# What one sendmmsg takes: runs of datagrams that the kernel cuts itself (UDP_SEGMENT).
cdef struct SendArea:
    mmsghdr[BURST_MAX] messages
    u64[BURST_MAX][CONTROL_WORDS] controls

cdef struct HostSockets:
    Slab slab
    World *world                # borrowed
    Poller *poller              # borrowed
    HostSocket *stalled[STALLS]    # datagram sockets whose guest cannot take more now, by the port that is full
    u8 ttl_default              # net.ipv4.ip_default_ttl
    u8 hops_default             # net.ipv6.conf.all.hop_limit
    Addr[2] outbound            # that sockets of IPv4, IPv6 are bound to; all zero: the kernel chooses
    ReceiveArea area
    SendArea sending

cdef int hosts_open(HostSockets *h, World *w, Poller *p) noexcept nogil        # 0 or errno; the world's HostOps are set
cdef void hosts_close(HostSockets *h) noexcept nogil                           # an unfinished stream with a reset
cdef inline bint hosts_full(const HostSockets *h) noexcept nogil:
    return h.slab.alive >= h.slab.limit
# A socket of the table, in the poller; NULL: the table is full or the poller refuses, `fd` stays the caller's.
cdef HostSocket *host_add(HostSockets *h, int fd, HostKind kind, bint v6, u32 events) noexcept nogil
# Bind a new Internet socket to what `outbound` has for its family.  0 or errno.
cdef int host_bind(const HostSockets *h, int fd, bint v6) noexcept nogil
cdef inline u8 host_ttl(const HostSockets *h, bint v6) noexcept nogil:
    """What a new socket sends with."""
    return h.hops_default if v6 else h.ttl_default
cdef HostSocket *host_find(const HostSockets *h, u64 handle) noexcept nogil
cdef void host_close(void *hosts, void *socket, bint abort) noexcept nogil     # HostOps.close
cdef void host_stall(HostSockets *h, HostSocket *s, u32 port) noexcept nogil
cdef void host_unstall(HostSockets *h, HostSocket *s) noexcept nogil
cdef bint host_exhausted(int error) noexcept nogil                             # errno: are descriptors or memory short?
cdef int host_denial(int error) noexcept nogil                                 # Denial where a socket cannot be made
