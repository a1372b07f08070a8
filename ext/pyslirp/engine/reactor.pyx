"""The engine as Python drives it: a core, the edges around it, and one descriptor.

    kernel -> poller -> links, host sockets, listeners, watches -> core -> links, host sockets -> kernel
                                                                    \\-> punts -> Python -> verdicts -> flush()

A round.  Ask the poller what is ready; take it all in; let the core work on the batch (world_run); write what came of
it to the links; set the timer.  Rounds repeat while something is left to do.  A round with a punt in it ends in
Python, which decides, calls the verdicts, and then flush(), so that what follows from all of them is written at once.

Three ways to drive it, which may be mixed:

- An event loop watches fileno() (level-triggered, for reading) and calls process() when it is readable.
- A thread, or an event loop that lends its own descriptor (`watch` it), calls run(): rounds go on, sleeping in the
  kernel in between, without a word of Python until there is a punt.  That is the fast way: a round trip through a
  guest's flow is three system calls each way (wait, read, write) and no Python at all.
- A test calls process() when it likes.

Readable means work.  The set is level-triggered wherever something could be left behind (links, datagrams, listeners,
watches); streams, which are edge-triggered, leave what is undone with their flow on the core's list of dirty flows, and
while that is not empty the timer is set to now.

Time.  The timer is set to the earliest of the core's deadline, Python's (set_deadline), and the edges'; never for a
tick.

Threads.  The thread that first drives an Engine owns it; any other is refused, because the engine works without the
GIL.  close() is the exception: once nobody drives it any more, anyone may close it.
"""

cimport cython
from cpython.pythread cimport PyThread_get_thread_ident
from libc.errno cimport EACCES, EBADF, EINVAL, ENOTSOCK, EPERM
from libc.string cimport memcpy, memset

from pyslirp.engine.base.ints cimport Addr, addr_is4, ns_never, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.sys.unistd cimport close as close_descriptor
from pyslirp.engine.core.core cimport Core
from pyslirp.engine.core.datagrams cimport mapping_remove
from pyslirp.engine.core.punts cimport punts_take
from pyslirp.engine.core.run cimport world_deadline, world_flow, world_run
from pyslirp.engine.core.streams cimport stream_abort
from pyslirp.engine.edge.clock cimport clock_now
from pyslirp.engine.edge.hostdatagram cimport (
    datagram_connect, datagram_event, datagram_listen, datagram_send_to, datagrams_resume)
from pyslirp.engine.edge.hostsock cimport (
    HOST_STREAM, STALL_UNKNOWN, HostSocket, host_close, host_find, hosts_close, hosts_open)
from pyslirp.engine.edge.hoststream cimport (
    stream_adopt, stream_at_mark, stream_connect, stream_event, stream_finish, stream_inbound, stream_recv, stream_send,
    stream_send_urgent, stream_set_ds)
from pyslirp.engine.edge.linkfd cimport (
    FRAMING_OFFLOAD, FRAMING_OFFLOAD_UDP, FRAMING_PACKET, FRAMING_STREAM, link_attach, link_detach, link_event, links_area_full,
    links_close, links_open, links_trim, links_write)
from pyslirp.engine.edge.listener cimport (
    listener_attach, listener_detach, listener_event, listeners_close, listeners_open, listeners_retry)
from pyslirp.engine.edge.poller cimport (
    POLL_HOST, POLL_LINK, POLL_LISTENER, POLL_WATCH, PollTag, poll_handle, poll_tag, poller_arm, poller_close,
    poller_open, poller_wait)
from pyslirp.engine.edge.watch cimport watch_add, watch_change, watch_event, watch_remove, watches_close, watches_open
from pyslirp.engine.protocols.tcp.tcb cimport END_SHUTDOWN
from pyslirp.engine.stores.slab cimport slab_at, slab_span
from pyslirp.engine.tables.flow cimport Flow

import os

from pyslirp.errors import ClosedError

cdef enum:
    FLUSH_ROUNDS = 4            # of one flush(): a link that has taken all lets the flows behind it go on
    MILLISECOND = 1000000

_FRAMINGS = {"stream": FRAMING_STREAM, "tap": FRAMING_PACKET, "seqpacket": FRAMING_PACKET,
             "tap+vnet": FRAMING_OFFLOAD, "tap+vnet+uso": FRAMING_OFFLOAD_UDP}


cdef int _addr(bytes raw, Addr *out) except -1:
    if len(raw) != 16:
        raise ValueError(f"an engine address has 16 bytes, not {len(raw)}")
    memcpy(out.b, <const u8 *>raw, 16)
    return 0


cdef inline int _milliseconds(ns_t span) noexcept nogil:
    """Rounded up, within what epoll_wait takes."""
    if span <= 0:
        return 0
    return <int>((span + MILLISECOND - 1) // MILLISECOND) if span < <ns_t>86400000 * MILLISECOND else 86400000


cdef int _raise(int error, str what) except -1:
    raise OSError(error, f"{os.strerror(error)}: {what}")


@cython.final
@cython.no_gc_clear
cdef class Engine:
    """A core with links to guests and sockets of the host, behind one descriptor."""

    def __cinit__(self, Core core not None) -> None:
        cdef int error
        self.poller.fd = -1
        self.poller.timer_fd = -1
        self.core = core
        self.w = core.w
        self.deadline = ns_never()
        self.listening = {}
        self.watching = {}
        if self.w.tcp.host.ctx != NULL:
            raise ValueError("the core is driven by another Engine")
        error = poller_open(&self.poller)
        if not error:
            error = hosts_open(&self.hosts, self.w, &self.poller)
        if not error:
            error = links_open(&self.links, self.w, &self.poller)
        if error:
            _raise(error, "the engine's own descriptors")
        listeners_open(&self.listeners, self.w, &self.poller, &self.hosts)
        watches_open(&self.watches, self.w, &self.poller)
        self.w.tcp.host.ctx = &self.hosts
        self.w.tcp.host.send = stream_send
        self.w.tcp.host.recv = stream_recv
        self.w.tcp.host.send_urgent = stream_send_urgent
        self.w.tcp.host.set_ds = stream_set_ds
        self.w.tcp.host.at_mark = stream_at_mark
        self.w.tcp.host.finish = stream_finish
        self.w.tcp.host.close = host_close
        self.w.tcp.host.send_to = datagram_send_to
        self.open = True

    def __dealloc__(self) -> None:
        if self.open:
            self.close()
        else:                                   # closed, or never wholly opened
            hosts_close(&self.hosts)
            links_close(&self.links)
            poller_close(&self.poller)

    def close(self) -> None:
        """Reset every connection both ways, close every descriptor, free all but the core.  Twice is as once."""
        if not self.open:
            return
        self.open = False
        with nogil:
            self.end_flows()
            watches_close(&self.watches)
            listeners_close(&self.listeners)
            hosts_close(&self.hosts)
            links_close(&self.links)
            poller_close(&self.poller)
        memset(&self.w.tcp.host, 0, sizeof(self.w.tcp.host))
        punts_take(&self.w.punts)
        self.listening.clear()
        self.watching.clear()

    cdef void end_flows(self) noexcept nogil:
        cdef u32 i
        cdef HostSocket *s
        cdef Flow *flow
        self.w.now = clock_now()
        for i in range(slab_span(&self.hosts.slab)):
            s = <HostSocket *>slab_at(&self.hosts.slab, i)
            flow = world_flow(self.w, s.flow) if s != NULL else NULL
            if flow == NULL:
                continue
            if s.kind == HOST_STREAM:
                stream_abort(self.w, flow, END_SHUTDOWN, True)
            else:
                mapping_remove(self.w, flow)
        links_write(&self.links, self.w.now)    # the resets

    # -- driving ------------------------------------------------------------------------------------------------------

    cdef int check(self) except -1:
        if not self.open:
            raise ClosedError("the engine has been closed")
        if self.owner != 0 and self.owner != PyThread_get_thread_ident():
            raise RuntimeError("an Engine belongs to the thread that drives it")
        return 0

    cdef int own(self) except -1:
        self.check()
        self.owner = PyThread_get_thread_ident()
        return 0

    def fileno(self) -> int:
        """The descriptor to watch for reading, level-triggered; -1 when closed.  It stays the Engine's."""
        return self.poller.fd

    def now(self) -> int:
        """The engine's clock: nanoseconds, monotonic."""
        return clock_now()

    def set_deadline(self, when: int | None) -> None:
        """Be readable at `when` at the latest (engine clock), for timers of Python's own; None: there are none.

        Stays until it is set anew: while it lies in the past, the descriptor is readable.
        """
        self.check()
        self.deadline = ns_never() if when is None else when
        poller_arm(&self.poller, self.deadline)

    def process(self, budget: int = ROUNDS_MAX) -> list[tuple]:
        """Do what there is to do, in at most `budget` rounds, without waiting; what Python must decide comes back.

        Then the verdicts, then flush().  Where something is left, fileno() stays readable.
        """
        cdef u32 rounds = budget
        self.own()
        with nogil:
            self.drive(rounds, 0, False)
        return punts_take(&self.w.punts)

    def run(self, timeout_ns: int | None = None) -> list[tuple]:
        """As process(), but go on, asleep while there is nothing to do, until there is something for Python.

        Comes back with punts; or without any: when the deadline has come, after `timeout_ns`, after a signal, and where
        there was something to do at the latest RUN_NS after it began.
        """
        cdef ns_t end = ns_never() if timeout_ns is None else clock_now() + <ns_t>timeout_ns
        self.own()
        with nogil:
            self.drive(<u32>-1, end, True)
        return punts_take(&self.w.punts)

    def flush(self) -> None:
        """Let what was asked of the engine since process() take effect: work off, write to the links, set the timer."""
        cdef int rounds = FLUSH_ROUNDS
        cdef ns_t now = clock_now()
        cdef bint more = True
        self.check()
        with nogil:
            while more and rounds:
                more = self.work(now)
                rounds -= 1
            self.arm(more or self.w.punts.count > 0, now)

    cdef void take_in(self, int count, ns_t now) noexcept nogil:
        cdef int i
        cdef u64 handle
        cdef u32 what
        cdef PollTag tag
        cdef HostSocket *s
        self.w.now = now
        for i in range(count):
            tag = poll_tag(&self.poller.events[i])
            handle = poll_handle(&self.poller.events[i])
            what = self.poller.events[i].events
            if tag == POLL_HOST:
                s = host_find(&self.hosts, handle)
                if s == NULL:
                    continue
                if s.kind == HOST_STREAM:
                    stream_event(&self.hosts, s, what)
                else:
                    datagram_event(&self.hosts, s, what)
            elif tag == POLL_LINK:
                if links_area_full(&self.links):
                    self.run_core(now)
                link_event(&self.links, handle, what, now)
            elif tag == POLL_LISTENER:
                listener_event(&self.listeners, handle, now)
            elif tag == POLL_WATCH:
                watch_event(&self.watches, handle, what)

    cdef bint run_core(self, ns_t now) noexcept nogil:
        """The frames that were read have been worked off after this."""
        cdef bint more
        if self.w.unblock:                      # a guest may have been heard of
            datagrams_resume(&self.hosts, STALL_UNKNOWN)
        more = world_run(self.w, FLOWS_PER_RUN, now)
        self.links.area_used = 0
        return more

    cdef bint work(self, ns_t now) noexcept nogil:
        """What follows from all that was taken in; True: there is more to do at once."""
        cdef u32 port
        cdef bint more
        listeners_retry(&self.listeners, now)
        links_trim(&self.links, now)
        more = self.run_core(now)
        links_write(&self.links, now)
        if self.links.released:
            self.links.released = False
            for port in range(self.links.high):
                if self.links.port_released[port]:
                    self.links.port_released[port] = False
                    datagrams_resume(&self.hosts, port)
        return more or self.w.unblock or world_deadline(self.w) <= now

    cdef void arm(self, bint more, ns_t now) noexcept nogil:
        cdef ns_t when = now
        if not more:
            when = min(min(world_deadline(self.w), self.deadline), min(self.links.trim_at, self.listeners.retry_at))
        poller_arm(&self.poller, when)

    cdef void drive(self, u32 budget, ns_t end, bint sleep) noexcept nogil:
        """Rounds: at most `budget`, until a punt, and while there is something to do or (sleep) until `end`."""
        cdef ns_t now = clock_now(), stop = now + RUN_NS
        cdef bint more = True
        cdef int count, timeout
        while budget:
            budget -= 1
            timeout = 0
            if sleep and not more:
                self.arm(False, now)
                timeout = _milliseconds(end - now) if end != ns_never() else -1
            count = poller_wait(&self.poller, timeout)
            now = clock_now()
            if count > 0:
                self.take_in(count, now)
                self.events += <u64>count
            elif not more and not sleep:
                break
            more = self.work(now)
            self.rounds += 1
            if self.w.punts.count or (sleep and (count < 0 or self.deadline <= now or now >= end or now >= stop)):
                break
        self.arm(more, now)

    # -- links --------------------------------------------------------------------------------------------------------

    def attach_link(self, fd: int, mtu: int, framing: str = "stream", burst: int = 0) -> int:
        """A guest's link becomes a port of the switch; its number.  The descriptor is the engine's from then on.

        mtu: largest IP packet that the link carries, bytes; framing: "stream", a stream socket with QEMU's length in
        front of each frame; "tap" and "seqpacket", non-blocking, with a frame in each read and write; "tap+vnet", the
        same with a virtio-net header of 10 bytes in front; "tap+vnet+uso", where that header may say that a frame is
        several datagrams; burst: most TCP payload that the link takes in one frame, 0:
        what its framing has (a segment; with virtio-net headers 64 KiB).  When the link is lost, a KIND_LINK punt says
        why, and the port is gone.  Raises OSError; the descriptor is then still the caller's.
        """
        cdef int port
        self.check()
        if framing not in _FRAMINGS:
            raise ValueError(f"framing={framing}: one of {', '.join(_FRAMINGS)} is possible")
        port = link_attach(&self.links, fd, mtu, burst, _FRAMINGS[framing])
        if port < 0:
            _raise(-port, f"a link of descriptor {fd}")
        return port

    def detach_link(self, port: int) -> None:
        """Close a link and its port; no punt tells of it.  Does nothing where there is none."""
        self.check()
        link_detach(&self.links, port)

    def set_outbound(self, address: bytes) -> None:
        """Bind the host's sockets of flows of its family to `address` from now on; else the kernel chooses."""
        self.check()
        cdef Addr source
        _addr(address, &source)
        self.hosts.outbound[0 if addr_is4(&source) else 1] = source

    # -- verdicts -----------------------------------------------------------------------------------------------------

    cdef Flow *flow(self, u64 handle) noexcept:
        self.w.now = clock_now()
        return world_flow(self.w, handle)

    def connect_stream(self, flow: int, address: bytes, port: int, tag: int) -> int:
        """Connect this new TCP flow to `address`:`port` of the host's network; it is answered when that has succeeded.

        Returns 0, also where the flow has gone meanwhile; or the errno with which the host had no socket, and then the
        flow has been denied.  How the connect ends is the flow's own matter: open, or a KIND_CLOSED punt.
        """
        cdef Addr to
        cdef u16 to_port = port
        cdef Flow *f = self.flow(flow)
        self.check()
        _addr(address, &to)
        return stream_connect(&self.hosts, f, &to, to_port, tag) if f != NULL else 0

    def attach_stream(self, flow: int, fd: int, tag: int) -> int:
        """This connected stream socket is the target of a new TCP flow.

        Returns as connect_stream; with 0 the descriptor is the engine's, which has closed it where the flow has gone.
        """
        cdef Flow *f = self.flow(flow)
        self.check()
        if f == NULL:
            close_descriptor(fd)
            return 0
        return stream_adopt(&self.hosts, f, fd, tag)

    def open_inbound(self, fd: int, guest: bytes, guest_port: int, far: bytes, far_port: int, tag: int) -> int:
        """Connect to a guest's port for an accepted stream socket; `far` is whom the guest sees.  The flow's handle.

        0: that pair of ends is in use, there are too many flows, or `guest` is no host's address; the descriptor is then
        still the caller's.  Raises OSError for what is no stream socket.
        """
        cdef Addr g
        cdef Addr f
        cdef Flow *made = NULL
        cdef int error
        self.check()
        _addr(guest, &g)
        _addr(far, &f)
        self.w.now = clock_now()
        error = stream_inbound(&self.hosts, fd, &g, guest_port, &f, far_port, tag, &made)
        if error == EBADF or error == EINVAL or error == ENOTSOCK:
            _raise(error, f"descriptor {fd} is no stream socket")
        return 0 if error else made.slab.handle

    def connect_datagram(self, flow: int, address: bytes, port: int, tag: int) -> int:
        """Let this new UDP flow through to `address`:`port` by the guest's mapping.  Returns as connect_stream."""
        cdef Addr to
        cdef u16 to_port = port
        cdef Flow *f = self.flow(flow)
        self.check()
        _addr(address, &to)
        return datagram_connect(&self.hosts, f, &to, to_port, tag) if f != NULL else 0

    def connect_echo(self, flow: int, address: bytes, tag: int) -> int:
        """Let this new echo flow through to `address`, by a ping socket.  Returns as connect_stream.

        Raises PermissionError where the host permits no ping sockets (sysctl net.ipv4.ping_group_range); the flow then
        still waits for its verdict.
        """
        cdef Addr to
        cdef Flow *f = self.flow(flow)
        cdef int error
        self.check()
        _addr(address, &to)
        error = datagram_connect(&self.hosts, f, &to, 0, tag) if f != NULL else 0
        if error == EACCES or error == EPERM:
            _raise(error, "a ping socket; see the sysctl net.ipv4.ping_group_range")
        return error

    # -- forwarding rules and Python's own descriptors -----------------------------------------------------------------

    def add_listener(self, fd: int, token: int) -> None:
        """Accept from this listening stream socket: KIND_INBOUND punts with `token`.

        The descriptor is the engine's from then on.  Raises OSError, and then it is still the caller's.
        """
        cdef u64 handle
        cdef int error
        self.check()
        if token in self.listening:
            raise ValueError(f"token {token} is in use")
        error = listener_attach(&self.listeners, fd, token, &handle)
        if error:
            _raise(error, f"a listener of descriptor {fd}")
        self.listening[token] = (False, handle)

    def add_datagram_listener(self, fd: int, guest: bytes, guest_port: int, token: int) -> None:
        """What comes to this bound UDP socket goes to `guest`:`guest_port`, each client as a flow.  As add_listener."""
        cdef Addr g
        cdef Flow *made = NULL
        cdef int error
        self.check()
        _addr(guest, &g)
        if token in self.listening:
            raise ValueError(f"token {token} is in use")
        self.w.now = clock_now()
        error = datagram_listen(&self.hosts, fd, &g, guest_port, &made)
        if error:
            _raise(error, f"a UDP listener of descriptor {fd}")
        self.listening[token] = (True, made.slab.handle)

    def remove_listener(self, token: int) -> None:
        """Close a listener of either kind, a UDP one with its flows.  Does nothing where there is none."""
        cdef Flow *mapping
        self.check()
        datagrams, handle = self.listening.pop(token, (False, 0))
        if not datagrams:
            listener_detach(&self.listeners, handle)
            return
        mapping = self.flow(handle)
        if mapping != NULL:
            mapping_remove(self.w, mapping)

    def watch(self, fd: int, events: int, token: int) -> None:
        """Punt KIND_WATCH with `token` while `fd` is ready for `events` (EPOLLIN, EPOLLOUT; errors always).

        A watch that there is already gets other events.  The descriptor stays the caller's, who ends the watch before
        closing it.  Raises OSError.
        """
        cdef u64 handle
        cdef int error
        self.check()
        if token in self.watching:
            error = watch_change(&self.watches, self.watching[token], events)
        else:
            error = watch_add(&self.watches, fd, events, token, &handle)
            if not error:
                self.watching[token] = handle
        if error:
            _raise(error, f"a watch of descriptor {fd}")

    def unwatch(self, token: int) -> None:
        """End a watch.  Does nothing where there is none."""
        self.check()
        watch_remove(&self.watches, self.watching.pop(token, 0))

    # -- what there is ------------------------------------------------------------------------------------------------

    def descriptors(self) -> dict[int, int]:
        """The descriptor of each host socket, by the handle of the flow (of datagrams: of the mapping) that owns it."""
        cdef HostSocket *s
        cdef u32 i
        out = {}
        for i in range(slab_span(&self.hosts.slab)):
            s = <HostSocket *>slab_at(&self.hosts.slab, i)
            if s != NULL:
                out[s.flow] = s.fd
        return out

    def snapshot(self) -> dict[str, int]:
        """What is open, the limit of host sockets, and what was done so far."""
        return {"sockets": self.hosts.slab.alive, "sockets_limit": self.hosts.slab.limit,
                "links": self.links.slab.alive, "listeners": self.listeners.slab.alive,
                "watches": self.watches.slab.alive, "rounds": self.rounds, "events": self.events}
