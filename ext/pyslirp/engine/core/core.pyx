"""Core: a whole network without a socket and without a clock.

Frames go in by `deliver`, come out by `collect`; what Python must decide comes out by `punts`; `run` does the work that is
due; `next_deadline` says when there will be more.  The reactor drives the same World from C, the simulator through this.

Addresses are the engine's 16 bytes (pyslirp.addresses.pack), times nanoseconds, flows the handles that punts carry.
A handle that has gone stale raises KeyError where something is asked of it and is ignored where something is told to it.
"""

cimport cython
from libc.string cimport memcpy, memset

from pyslirp.engine.base.ints cimport Addr, addr_is4, ns_never, ns_t, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.codecs.parse cimport PROTO_TCP
from pyslirp.engine.codecs.offload cimport OFFLOAD_BYTES
from pyslirp.engine.core.datagrams cimport datagram_close, datagram_deny, datagram_reply, datagram_serve, mapping_remove
from pyslirp.engine.core.flows cimport (
    DENY_HOST, DENY_NET, DENY_PORT, DENY_PROHIBITED, DENY_RESET, DENY_SILENT, flow_dirty)
from pyslirp.engine.core.neighbors cimport neighbor_learned
from pyslirp.engine.core.output cimport out_icmp, out_icmpv6, out_udp
from pyslirp.engine.core.port cimport PORT_MTU_MIN, PORTS_MAX, Port
from pyslirp.engine.core.punts cimport (
    PUNT_CLOSED, PUNT_CONNECT, PUNT_CONNECTED, PUNT_DATAGRAM, PUNT_FINISHED, PUNT_FLOW, PUNT_INBOUND, PUNT_LINK, PUNT_MESSAGE,
    PUNT_READABLE, PUNT_SOLICITATION, PUNT_STRANGER, PUNT_WATCH, PUNT_WRITABLE, punts_take)
from pyslirp.engine.core.run cimport world_deadline, world_deliver, world_flow, world_free, world_new, world_run
from pyslirp.engine.core.streams cimport stream_abort, stream_deny, stream_open, stream_serve
from pyslirp.engine.core.switch cimport captured_take, port_add, port_remove
from pyslirp.engine.core.world cimport (
    ADDRESSES_MAX, CLAIMS_MAX, FLOWS_MAX, World, addr_is_link_local, addr_is_zero, world_owns)
from pyslirp.engine.protocols.tcp.congestion cimport CongestionKind
from pyslirp.engine.protocols.tcp.tcb cimport END_SHUTDOWN, Tcp
from pyslirp.engine.protocols.tcp.relay cimport tcp_read, tcp_readable, tcp_unsound, tcp_urgent, tcp_write
from pyslirp.engine.protocols.udp cimport DatagramPeer, datagram_deadline
from pyslirp.engine.stores.byte_queue cimport bq_length
from pyslirp.engine.stores.chunks cimport CHUNK_BYTES
from pyslirp.engine.stores.counters cimport counters_dict
from pyslirp.engine.stores.frame_queue cimport FRONT_PIECES, fq_bytes, fq_front, fq_pop
from pyslirp.engine.stores.slab cimport slab_at, slab_span
from pyslirp.engine.tables.flow cimport FLOW_NEW, FLOW_DEAD, GUEST_SIDE, Flow, FlowKey
from pyslirp.engine.tables.neighbor cimport Neighbor, neighbor_known
from pyslirp.engine.tables.reassembly cimport reassembly_bytes, reassembly_count

from pyslirp.engine.protocols.tcp.congestion import NAMES as _CONGESTION
from pyslirp.engine.protocols.tcp.state import NAMES as TCP_STATES

cdef enum:
    FLOW_BUDGET = 1024          # flows worked on in one run

KIND_FLOW, KIND_DATAGRAM, KIND_CONNECTED, KIND_READABLE = PUNT_FLOW, PUNT_DATAGRAM, PUNT_CONNECTED, PUNT_READABLE
KIND_WRITABLE, KIND_FINISHED, KIND_CLOSED, KIND_MESSAGE = PUNT_WRITABLE, PUNT_FINISHED, PUNT_CLOSED, PUNT_MESSAGE
KIND_LINK, KIND_WATCH, KIND_INBOUND, KIND_CONNECT = PUNT_LINK, PUNT_WATCH, PUNT_INBOUND, PUNT_CONNECT
KIND_STRANGER = PUNT_STRANGER
KIND_SOLICITATION = PUNT_SOLICITATION
REFUSE_RESET, REFUSE_PORT, REFUSE_HOST, REFUSE_NET = DENY_RESET, DENY_PORT, DENY_HOST, DENY_NET
REFUSE_PROHIBITED, REFUSE_SILENT = DENY_PROHIBITED, DENY_SILENT

# By the number in a CLOSED punt: TcpEnd, then the two of datagram flows.
REASONS = ("", "closed", "reset by guest", "reset by host", "refused", "unreachable", "timed out", "denied", "no memory",
           "shut down", "evicted", "expired", "closed")
NEIGHBOR_STATES = ("", "incomplete", "reachable", "stale", "delay", "probe")        # by NeighborState (RFC 4861 section 7.3.2)
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}


cdef int _addr(bytes raw, Addr *out) except -1:
    if len(raw) != 16:
        raise ValueError(f"an engine address has 16 bytes, not {len(raw)}")
    memcpy(out.b, <const u8 *>raw, 16)
    return 0


cdef inline bytes _raw(const Addr *address):
    return (<const char *>address.b)[:16]


@cython.final
cdef class Core:
    """A network: switch, gateway, flows.  `forwarding` False makes it a single host instead (the simulator's guest).

    seed: 16 bytes, from which hashes and initial sequence numbers are keyed; mac: our MAC address, 6 bytes; mtu: what the
    network announces and uses at most, 576 to 65535 bytes.
    """

    def __cinit__(self, seed: bytes, mac: bytes, *, mtu: int = 1500, forwarding: bool = True) -> None:
        if len(seed) != 16:
            raise ValueError("the seed has 16 bytes")
        if len(mac) != 6:
            raise ValueError("a MAC address has six bytes")
        if not 68 <= mtu <= 65535:
            raise ValueError("the MTU is 68 to 65535")
        self.w = world_new(seed)
        if self.w == NULL:
            raise MemoryError
        memcpy(self.w.mac, <const u8 *>mac, 6)
        self.w.mtu = mtu
        self.w.forwarding = forwarding

    def __dealloc__(self) -> None:
        if self.w != NULL:
            world_free(self.w)
            self.w = NULL

    # -- topology -----------------------------------------------------------------------------------------------------

    def set_families(self, ipv4: bool, ipv6: bool) -> None:
        """Which are spoken: IPv4 alone at first.  Packets of the other are dropped and counted."""
        self.w.ipv4 = ipv4
        self.w.ipv6 = ipv6

    def set_network(self, net: bytes, prefix: int) -> None:
        """The network on the link, one of each family: an engine address, and its prefix length counted in 128 (an IPv4 /24
        is 120).
        """
        cdef Addr a
        if not 0 <= prefix <= 128:
            raise ValueError("a prefix length is 0 to 128")
        _addr(net, &a)
        if addr_is4(&a) or addr_is_zero(&a):
            self.w.net = a
            self.w.prefix = prefix
        else:
            self.w.net6 = a
            self.w.prefix6 = prefix
        self.w.hop.valid = False

    def set_router(self, router: bytes) -> None:
        """Next hop of its family for what is not on the network; without one everything is taken to be on the link."""
        cdef Addr a
        _addr(router, &a)
        if addr_is4(&a) or addr_is_zero(&a):
            self.w.router = a
        if not addr_is4(&a):
            self.w.router6 = a                          # all zero: there is none of either
        self.w.hop.valid = False

    def set_mtu(self, mtu: int) -> None:
        """What connections and datagrams from now on reckon with."""
        if not 68 <= mtu <= 65535:
            raise ValueError("the MTU is 68 to 65535")
        self.w.mtu = mtu
        self.w.hop.valid = False

    def set_congestion(self, name: str) -> None:
        """The congestion control of connections from now on: "reno" (where nothing is said), "cubic" or "bbr"."""
        if name not in _CONGESTION:
            raise ValueError(f"congestion control is one of {', '.join(_CONGESTION)}")
        self.w.tcp.congestion = <CongestionKind><int>_CONGESTION.index(name)

    def set_ecn(self, asks: bool) -> None:
        """Do our SYNs ask for explicit congestion notification (RFC 3168), from now on?  Where nothing is said they do not;
        a peer that asks is told yes in any case."""
        self.w.tcp.asks_ecn = asks

    def add_address(self, address: bytes) -> None:
        """One more address of our own: answered by ARP or Neighbour Discovery, and echo.

        The first one of IPv4, the first of IPv6 and the first link-local one (fe80::/10) speak in ICMP errors and requests.
        """
        cdef Addr a
        cdef Addr *voice
        _addr(address, &a)
        if world_owns(self.w, &a):
            return
        if self.w.address_count == ADDRESSES_MAX:
            raise ValueError(f"more than {ADDRESSES_MAX} addresses")
        self.w.addresses[self.w.address_count] = a
        self.w.address_count += 1
        voice = &self.w.gateway if addr_is4(&a) else &self.w.link_local if addr_is_link_local(&a) else &self.w.gateway6
        if addr_is_zero(voice):
            voice[0] = a

    def clear_addresses(self) -> None:
        """Give all own addresses up (a host that has lost its lease)."""
        self.w.address_count = 0
        memset(&self.w.gateway, 0, sizeof(Addr))
        memset(&self.w.gateway6, 0, sizeof(Addr))
        memset(&self.w.link_local, 0, sizeof(Addr))

    def claim_udp(self, address: bytes | None, port: int) -> None:
        """Datagrams to `port` of `address` (None: any) are punted as KIND_DATAGRAM."""
        if self.w.claim_count == CLAIMS_MAX:
            raise ValueError(f"more than {CLAIMS_MAX} claims")
        if not 0 < port < 65536:
            raise ValueError("a port is 1 to 65535")
        self.w.claims[self.w.claim_count].any_address = address is None
        if address is not None:
            _addr(address, &self.w.claims[self.w.claim_count].address)
        self.w.claims[self.w.claim_count].port = port
        self.w.claim_count += 1

    def add_port(self, mtu: int, burst: int = 0, offload: bool = False, uso: bool = False) -> int:
        """A new port of the switch; mtu: largest IP packet of its link, at least 68 bytes.  Raises OverflowError when there are
        PORTS_MAX.

        burst: most TCP payload in one frame, 0: a segment; offload: a virtio-net header is in front of each frame;
        uso: with it a frame may be several datagrams.
        """
        if mtu < PORT_MTU_MIN:
            raise ValueError(f"every link carries {PORT_MTU_MIN} bytes (RFC 791), not {mtu}")
        number = port_add(self.w, mtu, burst)
        if number < 0:
            raise OverflowError(f"more than {PORTS_MAX} links")
        self.w.ports[number].head_bytes = OFFLOAD_BYTES if offload else 0
        self.w.ports[number].uso = offload and uso
        return number

    def remove_port(self, port: int) -> None:
        port_remove(self.w, port)

    # -- frames and time ----------------------------------------------------------------------------------------------

    def deliver(self, port: int, frames: list[bytes], now: int) -> None:
        """Frames that a guest has sent, then what follows from them at once."""
        cdef bytes frame
        cdef ns_t at = now
        for frame in frames:
            world_deliver(self.w, port, frame, <u32>len(frame), at)
        world_run(self.w, FLOW_BUDGET, at)

    def run(self, now: int, budget: int = FLOW_BUDGET) -> bool:
        """Do what is due, for at most `budget` flows; True when there is more."""
        return world_run(self.w, budget, now)

    def next_deadline(self) -> int | None:
        """When `run` is next wanted, or None while nothing is waited for."""
        cdef ns_t when = world_deadline(self.w)
        if self.w.dirty_first != NULL or self.w.unblock:
            return self.w.now
        return None if when == ns_never() else when

    def collect(self, port: int, most: int = 1 << 30) -> list[bytes]:
        """Take at most `most` frames that wait for the link of `port`."""
        cdef Piece[FRONT_PIECES] frame
        cdef int pieces, i
        cdef list out = []
        if not 0 <= port < PORTS_MAX or not self.w.ports[port].alive:
            raise KeyError(port)
        pieces = fq_front(&self.w.ports[port].tx, frame)
        while pieces and len(out) < most:
            out.append(b"".join([frame[i].data[:frame[i].length] for i in range(pieces)]))
            fq_pop(&self.w.ports[port].tx)
            pieces = fq_front(&self.w.ports[port].tx, frame)
        self.w.ports[port].touched = False
        self.w.ports[port].congested = False
        if out and self.w.blocked_first != NULL:
            self.w.unblock = True
        return out

    def punts(self) -> list[tuple]:
        """Take what waits for Python, in order (see the stub for the tuples)."""
        return punts_take(&self.w.punts)

    @property
    def observed(self) -> bool:
        """Is every flow's end told of (KIND_CLOSED)?  Else of flows without a verdict, and of those that Python serves,
        attached a socket to, or opened towards a guest.  True at first."""
        return self.w.observed

    @observed.setter
    def observed(self, value: bool) -> None:
        self.w.observed = value

    @property
    def capturing(self) -> bool:
        """Are frames copied for `captured`?"""
        return self.w.capturing

    @capturing.setter
    def capturing(self, value: bool) -> None:
        self.w.capturing = value

    def captured(self) -> tuple[list[tuple[int, bool, int, bytes]], int]:
        """Take the captured frames as (port, from the guest, time, frame), and how many were lost so far."""
        return captured_take(self.w), self.w.capture_lost

    # -- verdicts and flows -------------------------------------------------------------------------------------------

    cdef Flow *find(self, u64 handle) except NULL:
        cdef Flow *flow = world_flow(self.w, handle)
        if flow == NULL:
            raise KeyError(handle)
        return flow

    def serve(self, flow: int, tag: int, now: int) -> None:
        """A Python handler is the target of this new flow."""
        cdef Flow *f = world_flow(self.w, flow)
        if f == NULL:
            return
        self.w.now = now
        if f.name[<int>GUEST_SIDE].key.protocol == PROTO_TCP:
            stream_serve(self.w, f, tag)
        else:
            datagram_serve(self.w, f, tag)

    def deny(self, flow: int, how: int, now: int) -> None:
        """Refuse this new flow: REFUSE_RESET, _PORT, _HOST, _NET, _PROHIBITED or _SILENT."""
        cdef Flow *f = world_flow(self.w, flow)
        if f == NULL:
            return
        self.w.now = now
        if f.name[<int>GUEST_SIDE].key.protocol == PROTO_TCP:
            stream_deny(self.w, f, how)
        else:
            datagram_deny(self.w, f, how)

    def open(self, guest: bytes, guest_port: int, far: bytes, far_port: int, tag: int, now: int) -> int:
        """Connect to a guest from `far`, for a Python handler; the flow's handle, or 0 when that pair of ends is in use,
        the table is full or `guest` is no host's address.  KIND_CONNECTED or KIND_CLOSED follows."""
        cdef Addr g
        cdef Addr f
        cdef Flow *flow
        _addr(guest, &g)
        _addr(far, &f)
        self.w.now = now
        flow = stream_open(self.w, &g, guest_port, &f, far_port, NULL, tag)
        return 0 if flow == NULL else flow.slab.handle

    cdef Tcp *stream(self, u64 handle) except NULL:
        cdef Flow *flow = self.find(handle)
        if flow.name[<int>GUEST_SIDE].key.protocol != PROTO_TCP or not flow.served:
            raise KeyError(handle)
        return <Tcp *>flow.body

    def stream_read(self, flow: int, most: int, now: int) -> bytes:
        """Up to `most` bytes of what the guest has sent; b"" when there is nothing (KIND_READABLE says when there is)."""
        cdef Tcp *t = self.stream(flow)
        cdef u64 have = tcp_readable(t)
        cdef bytearray room = bytearray(have if have < <u64>most else most)
        cdef u8 *into = room
        cdef u64 got, total = 0
        while total < <u64>len(room):
            got = <u64>tcp_read(&self.w.tcp, self.find(flow), t, into + total, <u64>len(room) - total, now)
            if got == 0:
                break
            total += got
        if total:
            flow_dirty(self.w, self.find(flow))
        return bytes(room[:total])

    def stream_write(self, flow: int, data: bytes, urgent: bool = False) -> int:
        """Queue bytes for the guest; how many were taken (KIND_WRITABLE says when there is room for more).

        urgent: the last byte is urgent data (RFC 9293 3.8.5), if all are taken.
        """
        cdef Tcp *t = self.stream(flow)
        cdef u64 taken = tcp_write(&self.w.tcp, self.find(flow), t, data, <u64>len(data), urgent)
        if taken:
            flow_dirty(self.w, self.find(flow))
        return taken

    def stream_urgent(self, flow: int) -> int:
        """Bytes that are still to be read up to the guest's last urgent one, that one included (RFC 9293 3.8.5); 0: none is
        urgent.  More than have come where the guest says so ahead; KIND_READABLE comes when it does."""
        return tcp_urgent(self.stream(flow))

    def stream_waiting(self, flow: int) -> int:
        """Bytes written and not yet acknowledged by the guest."""
        return bq_length(&self.stream(flow).snd.queue)

    def stream_finish(self, flow: int) -> None:
        """No more will be written: FIN follows the last byte."""
        cdef Tcp *t = self.stream(flow)
        t.host_ended = True
        t.snd.fin_wanted = True
        flow_dirty(self.w, self.find(flow))

    def close_flow(self, flow: int, now: int) -> None:
        """End any flow at once: TCP by a reset to both sides."""
        cdef Flow *f = world_flow(self.w, flow)
        if f == NULL:
            return
        self.w.now = now
        if f.is_mapping:
            mapping_remove(self.w, f)
        elif f.name[<int>GUEST_SIDE].key.protocol == PROTO_TCP:
            stream_abort(self.w, f, END_SHUTDOWN, True)
        else:
            datagram_close(self.w, f, END_SHUTDOWN)

    def datagram_reply(self, flow: int, data: bytes, now: int) -> bool:
        """Send a datagram on a served flow; False when the link is full or the guest's MAC address is not known."""
        cdef Flow *f = self.find(flow)
        if f.name[<int>GUEST_SIDE].key.protocol == PROTO_TCP:
            raise KeyError(flow)
        self.w.now = now
        return datagram_reply(self.w, f, data, <u32>len(data))

    # -- single packets -----------------------------------------------------------------------------------------------

    def send_udp(self, source: bytes, source_port: int, to: bytes, to_port: int, payload: bytes, now: int,
                 mac: bytes | None = None, port: int = -1) -> bool:
        """A UDP datagram to a guest; mac and port (both or neither) go past the neighbour table.  False: not sent."""
        cdef Addr s
        cdef Addr d
        cdef const u8 *at = NULL
        _addr(source, &s)
        _addr(to, &d)
        if mac is not None:
            if len(mac) != 6:
                raise ValueError("a MAC address has six bytes")
            at = mac
        self.w.now = now
        return out_udp(self.w, &s, source_port, &d, to_port, 64, payload, <u32>len(payload), at, port)

    def send_icmp(self, source: bytes, to: bytes, kind: int, code: int, rest: int, body: bytes, now: int) -> bool:
        """An ICMP message; rest: the second word of its header.  False: not sent."""
        cdef Addr s
        cdef Addr d
        _addr(source, &s)
        _addr(to, &d)
        self.w.now = now
        return out_icmp(self.w, &s, &d, kind, code, rest, body, <u32>len(body), 64)

    def send_icmp6(self, source: bytes, to: bytes, kind: int, code: int, body: bytes, now: int, mac: bytes | None = None,
                    port: int = -1) -> bool:
        """An ICMPv6 message with hop limit 255, as Neighbour Discovery wants it; body: what is behind type, code and checksum.

        To a group: by `port`, or by every one; mac and port (both or neither) go past the neighbour table.  False: not sent.
        """
        cdef Addr s
        cdef Addr d
        cdef const u8 *at = NULL
        _addr(source, &s)
        _addr(to, &d)
        if addr_is4(&s) or addr_is4(&d):
            raise ValueError("ICMPv6 is between IPv6 addresses")
        if mac is not None:
            if len(mac) != 6:
                raise ValueError("a MAC address has six bytes")
            at = mac
        self.w.now = now
        return out_icmpv6(self.w, &s, &d, kind, code, body, <u32>len(body), 255, at, port)

    def learn(self, address: bytes, mac: bytes, now: int) -> None:
        """`address` is at `mac`, as DHCP knows before any ARP."""
        cdef Addr a
        _addr(address, &a)
        if len(mac) != 6:
            raise ValueError("a MAC address has six bytes")
        self.w.now = now
        neighbor_learned(self.w, &a, mac, True)

    # -- what there is ------------------------------------------------------------------------------------------------

    def counters(self) -> dict[str, int]:
        """Every counter by name."""
        return counters_dict(&self.w.counters)

    def memory(self) -> dict[str, int]:
        """Bytes and objects in use, and their limits; buffer_spare_bytes: free and kept for the next; stream_bytes: of one TCP
        flow that holds no buffer."""
        return {"buffer_bytes": self.w.chunks.used_bytes, "buffer_limit_bytes": self.w.chunks.limit_bytes,
                "buffer_refused": self.w.chunks.refused, "buffer_spare_bytes": self.w.chunks.cached * CHUNK_BYTES,
                "stream_bytes": self.w.flow_slab.object_bytes + self.w.tcp_slab.object_bytes,
                "flows": self.w.flow_slab.alive, "flows_limit": self.w.flow_slab.limit,
                "timers": self.w.timers.count, "reassembly_datagrams": reassembly_count(self.w.reassembly),
                "reassembly_bytes": reassembly_bytes(self.w.reassembly), "punts_refused": self.w.punts.refused,
                "capture_lost": self.w.capture_lost}

    def set_memory(self, limit: int) -> None:
        """Bytes that all stream buffers together may hold; beyond it senders wait.  What is held already stays."""
        self.w.chunks.limit_bytes = limit

    def _unsound(self) -> list[tuple[int, str]]:
        """For tests, between runs: the TCP flows whose state contradicts itself, and how."""
        cdef Flow *flow
        cdef const char *what
        cdef u32 i
        out = []
        for i in range(slab_span(&self.w.flow_slab)):
            flow = <Flow *>slab_at(&self.w.flow_slab, i)
            if flow == NULL or flow.life == FLOW_DEAD or flow.name[<int>GUEST_SIDE].key.protocol != PROTO_TCP:
                continue
            what = tcp_unsound(flow, <Tcp *>flow.body)
            if what != NULL:
                out.append((flow.slab.handle, (<bytes>what).decode()))
        return out

    def ports(self) -> list[dict]:
        """Living ports with their counters."""
        cdef Port *p
        out = []
        for number in range(PORTS_MAX):
            p = &self.w.ports[number]
            if p.alive:
                out.append({"port": number, "mtu": p.mtu, "rx_frames": p.rx_frames, "rx_bytes": p.rx_bytes,
                            "tx_frames": p.tx_frames, "tx_bytes": p.tx_bytes, "tx_dropped": p.tx_dropped,
                            "tx_waiting_bytes": fq_bytes(&p.tx),
                            "buffer_bytes": self.w.shares[number].used_bytes, "buffer_refused": self.w.shares[number].refused})
        return out

    def neighbors(self) -> list[dict]:
        """Who is at which MAC address."""
        cdef Neighbor *n
        cdef u32 i
        out = []
        for i in range(slab_span(&self.w.neighbors.slab)):
            n = <Neighbor *>slab_at(&self.w.neighbors.slab, i)
            if n != NULL:
                out.append({"address": _raw(&n.address), "mac": (<char *>n.mac)[:6], "reachable": neighbor_known(n),
                            "state": NEIGHBOR_STATES[n.state],
                            "mtu": n.mtu, "flows": n.flows})
        return out

    def flows(self, most: int = FLOWS_MAX) -> list[dict]:
        """Every conversation, but `most` at most, with its ends, state and counts.  `expires`: of one of datagrams, when
        it is forgotten unless something passes; `mapping`: the handle of what owns its socket, 0 without one."""
        cdef Flow *flow
        cdef u32 i
        out = []
        for i in range(slab_span(&self.w.flow_slab)):
            if len(out) >= most:
                break
            flow = <Flow *>slab_at(&self.w.flow_slab, i)
            if flow != NULL and flow.life != FLOW_DEAD and not flow.is_mapping:
                out.append(_describe(flow))
        return out

    def flow(self, flow: int) -> dict:
        """One flow as in `flows`."""
        return _describe(self.find(flow))


cdef dict _describe(Flow *flow):
    cdef const FlowKey *key = &flow.name[<int>GUEST_SIDE].key
    cdef Tcp *t
    cdef DatagramPeer *peer
    out = {"flow": flow.slab.handle, "protocol": PROTOCOLS[key.protocol], "guest": _raw(&key.guest), "guest_port": key.guest_port,
           "far": _raw(&key.far), "far_port": key.far_port, "inbound": bool(flow.inbound), "served": bool(flow.served),
           "tag": flow.tag, "waiting": flow.life == FLOW_NEW, "opened": flow.opened, "last_from_guest": flow.last_from_guest,
           "bytes_to_host": flow.bytes_to_host, "bytes_to_guest": flow.bytes_to_guest}
    if key.protocol == PROTO_TCP:
        t = <Tcp *>flow.body
        out.update(state=TCP_STATES[t.state], receive_queue=bq_length(&t.rcv.queue), send_queue=bq_length(&t.snd.queue),
                   receive_limit=t.rcv.limit, ecn=bool(t.ecn.agreed), user_timeout=t.user_timeout, srtt=t.rtt.srtt, cwnd=t.cc.window.cwnd,
                   ssthresh=t.cc.window.ssthresh, pace=t.cc.window.pace, snd_wnd=t.snd.wnd, rcv_wnd=t.rcv.adv - t.rcv.nxt,
                   mss=t.snd.mss, sack=bool(t.sack), timestamps=bool(t.timestamps), in_flight=t.snd.nxt - t.snd.una,
                   urgent=tcp_urgent(t))
    else:
        peer = <DatagramPeer *>flow.body
        out.update(state="denied" if peer.denied else "open", host=_raw(&peer.host), host_port=peer.host_port,
                   datagrams_to_host=peer.to_host, datagrams_to_guest=peer.to_guest, expires=datagram_deadline(flow, peer),
                   mapping=peer.mapping.slab.handle if peer.mapping != NULL else 0)
    return out
