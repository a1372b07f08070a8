"""UDP and ping over the host's sockets: one unconnected socket for each mapping (core/datagrams.pyx)."""

from pyslirp.engine.base.ints cimport Addr, i64, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.edge.hostsock cimport HostSocket, HostSockets
from pyslirp.engine.tables.flow cimport Flow

# The verdict on a new UDP or echo flow: let it through to that address (echo: port 0), by the guest's mapping, which is
# made if there is none.  0, or the errno with which the host has no socket for it; the flow has then been denied
# accordingly, but for a ping socket that is not permitted (EACCES, EPERM): that is the caller's to deny, and to say.
cdef int datagram_connect(HostSockets *h, Flow *flow, const Addr *to, u16 port, u64 tag) noexcept nogil
# A bound UDP socket of a forwarding rule.  Ownership passes with 0, and `made` is its mapping.
cdef int datagram_listen(HostSockets *h, int fd, const Addr *guest, u16 guest_port, Flow **made) noexcept nogil
cdef void datagram_event(HostSockets *h, HostSocket *s, u32 events) noexcept nogil
# The link of that port has room again, or (STALL_UNKNOWN) a neighbour has been learned: read those that were left.
cdef void datagrams_resume(HostSockets *h, u32 port) noexcept nogil
# HostOps
cdef i64 datagram_send_to(void *hosts, void *socket, const Addr *source, const Addr *address, u16 port, u8 ttl, u8 tos,
                          const Piece *pieces, int count) noexcept nogil
