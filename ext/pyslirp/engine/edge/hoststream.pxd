"""TCP flows over the host's sockets: connect, adopt, move bytes, tell the core what is ready."""

from pyslirp.engine.base.ints cimport Addr, i64, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.edge.hostsock cimport HostSocket, HostSockets
from pyslirp.engine.tables.flow cimport Flow

cdef enum:
    TRACE_TTL = 32              # a SYN with less than this may be traceroute's: who reports it is wanted

# The verdict on a new TCP flow: connect it to that address.  0, or the errno with which the host has no socket for it;
# the flow has then been denied accordingly.  What becomes of the connect, at once or later, the core is told.
cdef int stream_connect(HostSockets *h, Flow *flow, const Addr *to, u16 port, u64 tag) noexcept nogil
# The verdict on a new TCP flow: this connected stream socket is its target.  Ownership passes with 0.
cdef int stream_adopt(HostSockets *h, Flow *flow, int fd, u64 tag) noexcept nogil
# An accepted stream socket becomes a flow towards the guest.  Ownership passes with 0, and `made` is the flow.
cdef int stream_inbound(HostSockets *h, int fd, const Addr *guest, u16 guest_port, const Addr *far, u16 far_port,
                        u64 tag, Flow **made) noexcept nogil
cdef void stream_event(HostSockets *h, HostSocket *s, u32 events) noexcept nogil
# HostOps
cdef i64 stream_send(void *hosts, void *socket, const Piece *pieces, int count) noexcept nogil
cdef i64 stream_recv(void *hosts, void *socket, const Piece *pieces, int count) noexcept nogil
cdef i64 stream_send_urgent(void *hosts, void *socket, u8 byte) noexcept nogil
cdef bint stream_at_mark(void *hosts, void *socket) noexcept nogil
cdef void stream_set_ds(void *hosts, void *socket, u8 ds) noexcept nogil
cdef void stream_finish(void *hosts, void *socket) noexcept nogil
