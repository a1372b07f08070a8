"""A host made of lists: HostOps that record what they are told, and give and refuse what a test has laid ready.

With it all that the core does for the sockets of an edge can be tested, fuzzed and simulated without a socket.  A
socket is a number; what an edge would do after a system call (a connect has succeeded, a datagram has come) is a
method.

It outlives its core or not, as it happens: a FakeHost that is gone leaves a host behind that refuses everything.
"""

cimport cython
from libc.errno cimport EAGAIN, EPIPE
from libc.string cimport memcpy

from pyslirp.engine.base.ints cimport Addr, i64, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.codecs.parse cimport PROTO_TCP
from pyslirp.engine.core.core cimport Core
from pyslirp.engine.core.datagrams cimport (
    datagram_allow, datagram_error, datagrams_from_host, listener_add, mapping_add, mapping_of)
from pyslirp.engine.core.run cimport (
    HOST_BROKEN, HOST_HUP, HOST_READABLE, HOST_URGENT, HOST_WRITABLE, world_host_ready)
from pyslirp.engine.core.streams cimport stream_attach, stream_connected, stream_host_failed, stream_open
from pyslirp.engine.protocols.target cimport HostOps
from pyslirp.engine.protocols.udp cimport BURST_MAX, Mapping
from pyslirp.engine.tables.flow cimport FLOW_NEW, GUEST_SIDE, Flow


cdef inline u64 _number(void *socket) noexcept nogil:
    return <u64><size_t>socket


cdef inline void *_socket(u64 number) noexcept nogil:
    return <void *><size_t>number


cdef int _addr(bytes raw, Addr *out) except -1:
    if len(raw) != 16:
        raise ValueError(f"an engine address has 16 bytes, not {len(raw)}")
    memcpy(out.b, <const u8 *>raw, 16)
    return 0


cdef bytes _joined(const Piece *pieces, int count):
    return b"".join([(<const char *>pieces[i].data)[:pieces[i].length] for i in range(count)])


# -- HostOps ----------------------------------------------------------------------------------------------------------

cdef i64 _send(void *ctx, void *socket, const Piece *pieces, int count) noexcept with gil:
    return (<FakeHost>ctx).on_send(_number(socket), _joined(pieces, count))


cdef i64 _recv(void *ctx, void *socket, const Piece *pieces, int count) noexcept with gil:
    return (<FakeHost>ctx).on_recv(_number(socket), pieces, count)


cdef i64 _send_urgent(void *ctx, void *socket, u8 byte) noexcept with gil:
    cdef FakeHost host = <FakeHost>ctx
    if "urgent" in host.errors:
        return -<i64>host.errors["urgent"]
    host.calls.append(("urgent", _number(socket), byte))
    return 1


cdef bint _at_mark(void *ctx, void *socket) noexcept with gil:
    return (<FakeHost>ctx).marks.get(_number(socket)) == 0


cdef void _set_ds(void *ctx, void *socket, u8 ds) noexcept with gil:
    (<FakeHost>ctx).calls.append(("ds", _number(socket), ds))


cdef void _finish(void *ctx, void *socket) noexcept with gil:
    (<FakeHost>ctx).calls.append(("finish", _number(socket)))


cdef void _close(void *ctx, void *socket, bint abort) noexcept with gil:
    (<FakeHost>ctx).on_close(_number(socket), abort)


cdef i64 _send_to(void *ctx, void *socket, const Addr *source, const Addr *address, u16 port, u8 ttl, u8 tos,
                  const Piece *pieces, int count) noexcept with gil:
    cdef FakeHost host = <FakeHost>ctx
    cdef bytes to = (<const char *>address.b)[:16]
    cdef tuple leaving = () if source == NULL else ((<const char *>source.b)[:16],)
    cdef int i
    if "send_to" in host.errors:
        return -<i64>host.errors["send_to"]
    for i in range(count):
        host.calls.append(("send_to", _number(socket), to, port, ttl, tos, _joined(pieces + i, 1), *leaving))
    return count


# -- nobody: what is left when a FakeHost is gone ---------------------------------------------------------------------

cdef i64 _no_send(void *ctx, void *socket, const Piece *pieces, int count) noexcept nogil:
    return -EPIPE


cdef i64 _no_urgent(void *ctx, void *socket, u8 byte) noexcept nogil:
    return -EPIPE


cdef bint _no_mark(void *ctx, void *socket) noexcept nogil:
    return False


cdef void _no_ds(void *ctx, void *socket, u8 ds) noexcept nogil:
    pass


cdef void _no_finish(void *ctx, void *socket) noexcept nogil:
    pass


cdef void _no_close(void *ctx, void *socket, bint abort) noexcept nogil:
    pass


cdef i64 _no_send_to(void *ctx, void *socket, const Addr *source, const Addr *address, u16 port, u8 ttl, u8 tos,
                     const Piece *pieces, int count) noexcept nogil:
    return -EPIPE


@cython.final
@cython.no_gc_clear
cdef class FakeHost:
    """The host of `core`.

    calls: what the core has asked for, in order, as tuples:
        ("send", socket, bytes)  ("urgent", socket, byte)  ("ds", socket, field)  ("finish", socket)  ("close", socket, abort)
        ("send_to", socket, address, port, ttl, tos, bytes), and the source where one is told
    errors: errno that "send", "urgent", "recv" or "send_to" fails with while it is in there.
    sockets: the open ones, with the bytes that wait to be read from each.
    room: bytes that "send" takes from now on, of all sockets together; None: any.
    """

    cdef Core core
    cdef readonly list calls
    cdef readonly dict errors
    cdef readonly dict sockets
    cdef readonly set ended
    cdef dict marks                             # of sockets with urgent data: how many bytes are before it
    cdef public object room
    cdef u64 last

    def __cinit__(self, Core core not None) -> None:
        cdef HostOps *ops = &core.w.tcp.host
        self.core = core
        self.calls = []
        self.errors = {}
        self.sockets = {}
        self.ended = set()
        self.marks = {}
        ops.ctx = <void *>self
        ops.send = _send
        ops.recv = _recv
        ops.send_urgent = _send_urgent
        ops.set_ds = _set_ds
        ops.at_mark = _at_mark
        ops.finish = _finish
        ops.close = _close
        ops.send_to = _send_to

    def __dealloc__(self) -> None:
        cdef HostOps *ops
        if self.core is None:
            return
        ops = &self.core.w.tcp.host
        ops.ctx = NULL
        ops.send = _no_send
        ops.recv = _no_send
        ops.send_urgent = _no_urgent
        ops.set_ds = _no_ds
        ops.at_mark = _no_mark
        ops.finish = _no_finish
        ops.close = _no_close
        ops.send_to = _no_send_to

    cdef i64 on_send(self, u64 socket, bytes data):
        if "send" in self.errors:
            return -<i64>self.errors["send"]
        if self.room is not None:
            data = data[:self.room]
            self.room -= len(data)
            if not data:
                return -EAGAIN
        self.calls.append(("send", socket, data))
        return len(data)

    cdef i64 on_recv(self, u64 socket, const Piece *pieces, int count):
        cdef bytearray waiting = self.sockets[socket]
        cdef size_t length, most, total = 0
        cdef int i
        if "recv" in self.errors:
            return -<i64>self.errors["recv"]
        if not waiting:
            return 0 if socket in self.ended else -EAGAIN
        most = len(waiting)
        if self.marks.get(socket):              # a read ends at the mark, and the next begins there
            most = self.marks[socket]
        for i in range(count):
            length = min(pieces[i].length, most - total)
            memcpy(pieces[i].data, <const u8 *>waiting + total, length)
            total += length
        del waiting[:total]
        if socket in self.marks:
            self.marks[socket] -= <i64>total
            if self.marks[socket] < 0:
                del self.marks[socket]
        return <i64>total

    cdef void on_close(self, u64 socket, bint abort):
        del self.sockets[socket]
        self.calls.append(("close", socket, bool(abort)))

    cdef Flow *stream(self, u64 flow) except NULL:
        """A TCP flow."""
        cdef Flow *f = self.core.find(flow)
        if f.name[<int>GUEST_SIDE].key.protocol != PROTO_TCP:
            raise KeyError(flow)
        return f

    cdef Flow *mapping(self, u64 handle) except NULL:
        cdef Flow *f = self.core.find(handle)
        if not f.is_mapping:
            raise KeyError(handle)
        return f

    cdef u64 new_socket(self):
        self.last += 1
        self.sockets[self.last] = bytearray()
        return self.last

    def take(self) -> list[tuple]:
        """The calls since last asked."""
        calls = list(self.calls)
        self.calls.clear()
        return calls

    # -- TCP ----------------------------------------------------------------------------------------------------------

    def attach(self, flow: int, now: int, tag: int = 0) -> int:
        """The verdict on a new TCP flow is a socket, which is now connecting; its number.  Raises KeyError for others."""
        cdef Flow *f = self.stream(flow)
        if f.life != FLOW_NEW:
            raise KeyError(flow)
        self.core.w.now = now
        socket = self.new_socket()
        stream_attach(self.core.w, f, _socket(socket), tag)
        return socket

    def connected(self, flow: int, now: int) -> None:
        """The socket of `flow` has connected."""
        self.core.w.now = now
        stream_connected(self.core.w, self.stream(flow))

    def failed(self, flow: int, error: int, now: int) -> None:
        """Its connect has failed with this errno."""
        self.core.w.now = now
        stream_host_failed(self.core.w, self.stream(flow), error)

    def open(self, guest: bytes, guest_port: int, far: bytes, far_port: int, now: int, tag: int = 0) -> tuple[int, int]:
        """A connection that a listening socket has accepted, towards a guest: (flow, socket); (0, 0): refused."""
        cdef Addr g
        cdef Addr f
        cdef Flow *flow
        _addr(guest, &g)
        _addr(far, &f)
        self.core.w.now = now
        socket = self.new_socket()
        flow = stream_open(self.core.w, &g, guest_port, &f, far_port, _socket(socket), tag)
        if flow == NULL:
            del self.sockets[socket]
            return 0, 0
        return flow.slab.handle, socket

    def feed(self, flow: int, socket: int, data: bytes, now: int, end: bool = False, urgent: bool = False) -> None:
        """Bytes, and perhaps the end of the stream, have come for a TCP flow's socket; urgent: the last byte is."""
        self.core.w.now = now
        self.sockets[socket].extend(data)
        if urgent:
            self.marks[socket] = len(self.sockets[socket]) - 1
            world_host_ready(self.core.w, self.stream(flow), HOST_URGENT | HOST_HUP)
        if end:
            self.ended.add(socket)
        world_host_ready(self.core.w, self.stream(flow), HOST_READABLE | (HOST_HUP if end else 0))

    def broken(self, flow: int, now: int) -> None:
        """A TCP flow's socket is in error, as the poller tells it."""
        self.core.w.now = now
        world_host_ready(self.core.w, self.stream(flow), HOST_READABLE | HOST_WRITABLE | HOST_HUP | HOST_BROKEN)

    def writable(self, flow: int, now: int) -> None:
        """A TCP flow's socket takes bytes again."""
        self.core.w.now = now
        world_host_ready(self.core.w, self.stream(flow), HOST_WRITABLE)

    # -- datagrams ----------------------------------------------------------------------------------------------------

    def allow(self, flow: int, host: bytes, port: int, now: int, tag: int = 0) -> int:
        """The verdict on a new UDP or ICMP flow is `host`:`port`; the handle of the mapping with its socket, or 0."""
        cdef Flow *f = self.core.find(flow)
        cdef Flow *mapping = mapping_of(self.core.w, f)
        cdef Addr h
        _addr(host, &h)
        if f.life != FLOW_NEW or f.name[<int>GUEST_SIDE].key.protocol == PROTO_TCP:
            raise KeyError(flow)
        self.core.w.now = now
        if mapping == NULL:
            socket = self.new_socket()
            mapping = mapping_add(self.core.w, f, _socket(socket))
            if mapping == NULL:
                del self.sockets[socket]
                return 0
        handle = mapping.slab.handle
        datagram_allow(self.core.w, f, mapping, &h, port, tag)
        return handle

    def listen(self, guest: bytes, guest_port: int) -> int:
        """A UDP forwarding rule's socket: the handle of its mapping."""
        cdef Addr g
        cdef Flow *mapping
        _addr(guest, &g)
        mapping = listener_add(self.core.w, &g, guest_port, _socket(self.new_socket()))
        if mapping == NULL:
            raise MemoryError
        return mapping.slab.handle

    def socket_of(self, flow: int) -> int:
        """The socket of a mapping, or of a TCP flow; 0 without one."""
        return _number(self.core.find(flow).socket)

    def peers(self, mapping: int) -> int:
        """How many conversations share a mapping."""
        return (<Mapping *>self.mapping(mapping).body).peers

    def arrive(self, mapping: int, source: bytes, port: int, data: bytes, now: int, local: bytes | None = None) -> None:
        """A datagram (ICMP: the whole message) has come by a mapping's socket; local: to that address of the host."""
        cdef Addr s
        cdef Addr l
        cdef Piece piece
        _addr(source, &s)
        if local is not None:
            _addr(local, &l)
        piece.data = <u8 *>data
        piece.length = len(data)
        self.core.w.now = now
        datagrams_from_host(self.core.w, self.mapping(mapping), &s, port, NULL if local is None else &l, &piece, 1)

    def arrive_together(self, mapping: int, source: bytes, port: int, datagrams: list[bytes], now: int) -> None:
        """Datagrams of one remote, at most 64, that an edge has read with one call."""
        cdef Piece[BURST_MAX] pieces
        cdef Addr s
        cdef int i
        cdef bytes data
        if len(datagrams) > BURST_MAX:
            raise ValueError(f"at most {BURST_MAX} datagrams")
        _addr(source, &s)
        for i, data in enumerate(datagrams):
            pieces[i].data = <u8 *>data
            pieces[i].length = len(data)
        self.core.w.now = now
        datagrams_from_host(self.core.w, self.mapping(mapping), &s, port, NULL, pieces, len(datagrams))

    def error(self, mapping: int, to: bytes, port: int, offender: bytes | None, kind: int, code: int, now: int,
              info: int = 0, data: bytes = b"") -> None:
        """The error queue of a mapping's socket tells of an ICMP error about `data` to `to`:`port`, as datagram_error has it."""
        cdef Addr t
        cdef Addr o
        _addr(to, &t)
        if offender is not None:
            _addr(offender, &o)
        self.core.w.now = now
        datagram_error(self.core.w, self.mapping(mapping), &t, port, &o if offender is not None else NULL, kind, code,
                       info, <const u8 *>data, <u32>len(data))
