"""UDP and ping over the host's sockets: one unconnected socket for each mapping (core/datagrams.pyx).

Sending.  The guest's TTL and TOS are the socket's, set when they change.  A socket reports the errors of earlier
datagrams before it takes a new one, so a send that fails is tried once more; what the error was about comes from the
error queue.

Those of one flow that came in one batch go with one sendmmsg, in which a run of the same length is one message that the
kernel cuts (UDP_SEGMENT), or the network card: it passes through the host's stack once.  Where the kernel will not have
that (the path's MTU is smaller than the datagrams), the socket sends each as it is from then on.

A receiver on this machine has a buffer for some 90 datagrams, and where it shares a processor with us it cannot empty
it while we go on.  So the processor is offered to it after each larger batch.  Measured on two cores, a guest sending
1400 bytes as fast as it could: of what was read from its tap 45 % arrived without that, and 90 % with it.

Receiving.  A recvmmsg takes up to RECEIVE_BATCH messages, or fewer where the queue of the guest's link has not room for
that many of the largest.  So none is taken from the kernel that would then be dropped.  While they come back full, some
more follow in the same event.  A message is a datagram, or several of one remote that the host has put together
(UDP_GRO); those of one remote in a row go to the core together.  A socket asks for more of a buffer than the host's
default, which is some 90 datagrams: a sender on this machine fills that in less than a millisecond, while we sleep or
have not the processor.  When there is no room, or the guest's MAC address is not known yet, the socket is stalled:
silenced in the poller, and left alone until that link has drained or a neighbour has been learned
(datagrams_resume).  Meanwhile the kernel's receive buffer holds what comes and drops what is too much, as for any slow
reader.

A ping socket (icmp(7)) takes and gives whole ICMP messages; the kernel puts its own identifier into them and checks
that replies bear it.  The core maps it back.  No permission is EACCES: net.ipv4.ping_group_range.
"""

from libc.errno cimport (
    EACCES, EAFNOSUPPORT, EAGAIN, EINVAL, EIO, EMFILE, EMSGSIZE, ENOBUFS, EOPNOTSUPP, EPERM, errno)
from libc.string cimport memcpy, memset

from pyslirp.engine.base.endian cimport load16
from pyslirp.engine.base.ints cimport Addr, addr_eq, addr_from4, addr_from6, addr_is4, i64, u8, u16, u32, u64
from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.status cimport HOST_ERROR, HOST_NO_DESCRIPTORS, UDP_QUEUE_FULL
from pyslirp.engine.base.sys.epoll cimport EPOLLERR, EPOLLIN
from pyslirp.engine.base.sys.inet cimport (
    IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPV6_PKTINFO, IPV6_RECVPKTINFO, IPV6_TCLASS,
    IPV6_UNICAST_HOPS, IP_PKTINFO, IP_TOS, IP_TTL, in6_pktinfo, in_pktinfo)
from pyslirp.engine.base.sys.socket cimport (
    AF_INET, AF_INET6, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOL_SOCKET, SO_DOMAIN,
    CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_NXTHDR, CMSG_SPACE, SO_ERROR, SO_RCVBUF, SO_TYPE, cmsghdr, getsockname,
    getsockopt, msghdr, recvmmsg,
    sendmmsg, setsockopt, socket, socklen_t)
from pyslirp.engine.base.sys.sched cimport sched_yield
from pyslirp.engine.base.sys.udp cimport UDP_GRO, UDP_SEGMENT
from pyslirp.engine.base.sys.unistd cimport close
from pyslirp.engine.codecs.build cimport ICMP_HEADER
from pyslirp.engine.codecs.parse cimport PROTO_ICMP
from pyslirp.engine.core.datagrams cimport (
    datagram_allow, datagram_deny, datagram_error, datagrams_from_host, listener_add, mapping_add, mapping_of)
from pyslirp.engine.core.output cimport out_resolve
from pyslirp.engine.core.port cimport PORT_TX_BYTES
from pyslirp.engine.core.run cimport world_flow
from pyslirp.engine.core.world cimport World, addr_is_zero
from pyslirp.engine.edge.errqueue cimport HostError, errqueue_enable, errqueue_take
from pyslirp.engine.edge.hostsock cimport (
    HOST_DATAGRAM, HOST_ECHO, RECEIVE_BATCH, STALL_UNKNOWN, HostSocket, HostSockets, SendArea, host_add, host_bind, host_close,
    host_denial, host_exhausted, host_stall, host_unstall, hosts_full)
from pyslirp.engine.edge.iovec cimport iovec_of
from pyslirp.engine.edge.poller cimport POLL_HOST, poller_change, poller_remove
from pyslirp.engine.edge.sockaddr cimport SockAddr, sockaddr_get, sockaddr_put
from pyslirp.engine.protocols.udp cimport BURST_MAX, Mapping
from pyslirp.engine.stores.counters cimport count
from pyslirp.engine.stores.frame_queue cimport fq_bytes
from pyslirp.engine.tables.flow cimport FLOW_NEW, GUEST_SIDE, Flow

cdef enum:
    ERRORS_BATCH = 16           # of one socket and event; more are there next time
    RECEIVES_MAX = 4            # recvmmsg of one socket and event
    WAITING_BYTES = 1048576     # that a socket may hold until they are read: some milliseconds of the fastest sender
    GRO_MAX = 64                # datagrams that the host puts together (Linux: UDP_GRO_CNT_MAX)
    YIELD_FROM = 16             # datagrams after which a receiver on this machine gets its turn
    RUN_BYTES_MAX = 65000       # payload of a message that the kernel is to cut
    FRAME_OVERHEAD = 80         # of one packet on a link: prefix, virtio-net, Ethernet, IP and Fragment headers
    IP_BYTES_MAX = 65535


# -- making them ------------------------------------------------------------------------------------------------------

cdef int _refuse(HostSockets *h, Flow *flow, int error) noexcept nogil:
    """There is no socket for this flow."""
    count(&h.world.counters, HOST_NO_DESCRIPTORS if host_exhausted(error) else HOST_ERROR)
    datagram_deny(h.world, flow, host_denial(error))
    return error


cdef void _set_up(int fd) noexcept nogil:
    """What the host has put together on the way in need not be taken apart for us; and it may wait until we come."""
    cdef int on = 1, most = WAITING_BYTES
    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(int))      # Linux since 5.0
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &most, sizeof(int))   # no more than net.core.rmem_max, without an error


cdef HostSocket *_new_socket(HostSockets *h, bint echo, bint v6, int *error) noexcept nogil:
    cdef int protocol = 0, fd
    cdef HostSocket *s
    error[0] = EMFILE
    if hosts_full(h):
        return NULL
    if echo:
        protocol = IPPROTO_ICMPV6 if v6 else IPPROTO_ICMP
    fd = socket(AF_INET6 if v6 else AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol)
    if fd < 0:
        error[0] = errno
        return NULL
    error[0] = host_bind(h, fd, v6)
    if error[0]:
        close(fd)
        return NULL
    error[0] = EMFILE
    errqueue_enable(fd, v6, True)
    if not echo:
        _set_up(fd)
    s = host_add(h, fd, HOST_ECHO if echo else HOST_DATAGRAM, v6, EPOLLIN)
    if s == NULL:
        close(fd)
    return s


cdef int datagram_connect(HostSockets *h, Flow *flow, const Addr *to, u16 port, u64 tag) noexcept nogil:
    cdef Flow *mapping
    cdef HostSocket *s
    cdef bint echo = flow.name[<int>GUEST_SIDE].key.protocol == PROTO_ICMP
    cdef int error
    if flow.life != FLOW_NEW:
        return EINVAL
    mapping = mapping_of(h.world, flow)
    if mapping == NULL:
        s = _new_socket(h, echo, not addr_is4(to), &error)
        if s == NULL:
            return error if echo and (error == EACCES or error == EPERM) else _refuse(h, flow, error)
        mapping = mapping_add(h.world, flow, s)
        if mapping == NULL:
            host_close(h, s, False)
            return _refuse(h, flow, ENOBUFS)
        s.flow = mapping.slab.handle
    datagram_allow(h.world, flow, mapping, to, port, tag)
    return 0


cdef bint _is_everywhere(int fd) noexcept nogil:
    """Is it bound to every address of the host?"""
    cdef SockAddr name
    cdef Addr address
    cdef u16 port
    cdef socklen_t length = sizeof(SockAddr)
    if getsockname(fd, &name.any, &length) < 0 or not sockaddr_get(&name, &address, &port):
        return False
    return address.w[3] == 0 and (addr_is4(&address) or addr_is_zero(&address))


cdef int datagram_listen(HostSockets *h, int fd, const Addr *guest, u16 guest_port, Flow **made) noexcept nogil:
    cdef int family = 0, kind = 0, on = 1
    cdef socklen_t length = sizeof(int)
    cdef HostSocket *s
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0
            or getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &length) < 0):
        return errno
    if kind != SOCK_DGRAM or (family != AF_INET and family != AF_INET6):
        return EINVAL
    s = host_add(h, fd, HOST_DATAGRAM, family == AF_INET6, EPOLLIN)
    if s == NULL:
        return EMFILE
    made[0] = listener_add(h.world, guest, guest_port, s)
    if made[0] == NULL:
        poller_remove(h.poller, fd)
        s.fd = -1                               # it stays the caller's
        host_close(h, s, False)
        return ENOBUFS
    errqueue_enable(fd, s.v6, True)
    _set_up(fd)
    if _is_everywhere(fd):
        setsockopt(fd, IPPROTO_IPV6 if s.v6 else IPPROTO_IP, IPV6_RECVPKTINFO if s.v6 else IP_PKTINFO, &on, sizeof(int))
    s.flow = made[0].slab.handle
    return 0


# -- to the host ------------------------------------------------------------------------------------------------------

cdef void _set_ttl_and_tos(HostSocket *s, u8 ttl, u8 tos) noexcept nogil:
    cdef int level = IPPROTO_IPV6 if s.v6 else IPPROTO_IP, value
    if ttl and ttl != s.ttl:
        value = ttl
        setsockopt(s.fd, level, IPV6_UNICAST_HOPS if s.v6 else IP_TTL, &value, sizeof(int))
        s.ttl = ttl
    if tos != s.tos:
        value = tos
        setsockopt(s.fd, level, IPV6_TCLASS if s.v6 else IP_TOS, &value, sizeof(int))
        s.tos = tos


cdef int _run(const Piece *pieces, int number) noexcept nogil:
    """How many of them the kernel takes as one message: all of one length, only the last one shorter."""
    cdef size_t total = pieces[0].length
    cdef int n = 1
    while (n < number and pieces[n - 1].length == pieces[0].length and 0 < pieces[n].length <= pieces[0].length
           and total + pieces[n].length <= RUN_BYTES_MAX):
        total += pieces[n].length
        n += 1
    return n


cdef void *_control(msghdr *message, void *area, int level, int kind, size_t length) noexcept nogil:
    """Room for one more control message of that kind; `area` has enough for two (CONTROL_WORDS)."""
    cdef cmsghdr *control = <cmsghdr *>(<u8 *>area + message.msg_controllen)
    control.cmsg_level = level
    control.cmsg_type = kind
    control.cmsg_len = CMSG_LEN(length)
    message.msg_control = area
    message.msg_controllen += CMSG_SPACE(length)
    return CMSG_DATA(control)


cdef void _leave_from(msghdr *message, void *area, const Addr *source, bint v6) noexcept nogil:
    """From that address of the host (ip(7) IP_PKTINFO, RFC 3542 section 6.2)."""
    cdef in_pktinfo *info4
    cdef in6_pktinfo *info6
    if v6:
        info6 = <in6_pktinfo *>_control(message, area, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(in6_pktinfo))
        memset(info6, 0, sizeof(in6_pktinfo))
        memcpy(&info6.ipi6_addr, source.b, 16)
    else:
        info4 = <in_pktinfo *>_control(message, area, IPPROTO_IP, IP_PKTINFO, sizeof(in_pktinfo))
        memset(info4, 0, sizeof(in_pktinfo))
        memcpy(&info4.ipi_spec_dst, &source.b[12], 4)


cdef int _compose(SendArea *area, SockAddr *name, socklen_t name_bytes, const Addr *source, const Piece *pieces, int number,
                  const HostSocket *s) noexcept nogil:
    """Messages for all of the pieces; how many they are."""
    cdef int at = 0, messages = 0, n
    cdef msghdr *message
    while at < number:
        n = 1 if s.one_by_one else _run(pieces + at, number - at)
        message = &area.messages[messages].msg_hdr
        memset(message, 0, sizeof(msghdr))
        message.msg_name = name
        message.msg_namelen = name_bytes
        message.msg_iov = iovec_of(pieces + at)
        message.msg_iovlen = n
        if n > 1:
            (<u16 *>_control(message, &area.controls[messages], IPPROTO_UDP, UDP_SEGMENT, sizeof(u16)))[0] = <u16>pieces[at].length
        if source != NULL:
            _leave_from(message, &area.controls[messages], source, s.v6)
        messages += 1
        at += n
    return messages


cdef i64 _send_many(HostSockets *h, HostSocket *s, SockAddr *name, socklen_t name_bytes, const Addr *source,
                    const Piece *pieces, int number) noexcept nogil:
    """How many are done with; 0: the first message has failed."""
    cdef int sent, i
    cdef i64 done = 0
    cdef int messages = _compose(&h.sending, name, name_bytes, source, pieces, number, s)
    sent = sendmmsg(s.fd, h.sending.messages, <u32>messages, MSG_NOSIGNAL | MSG_DONTWAIT)
    if number >= YIELD_FROM:
        sched_yield()
    for i in range(sent):
        done += <i64>h.sending.messages[i].msg_hdr.msg_iovlen
    return done


cdef i64 datagram_send_to(void *hosts, void *socket, const Addr *source, const Addr *address, u16 port, u8 ttl, u8 tos,
                          const Piece *pieces, int number) noexcept nogil:
    cdef HostSockets *h = <HostSockets *>hosts
    cdef HostSocket *s = <HostSocket *>socket
    cdef SockAddr name
    cdef socklen_t name_bytes
    cdef int attempt
    cdef i64 done
    if not s.v6 and not addr_is4(address):
        return -EAFNOSUPPORT
    _set_ttl_and_tos(s, ttl, tos)
    name_bytes = sockaddr_put(&name, address, port, s.v6)
    for attempt in range(2):                    # the first error may be an earlier datagram's
        done = _send_many(h, s, &name, name_bytes, source, pieces, number)
        if done > 0:
            return done
    if not s.one_by_one and _run(pieces, number) > 1 and errno in (EINVAL, EIO, EMSGSIZE, EOPNOTSUPP):
        s.one_by_one = True
        done = _send_many(h, s, &name, name_bytes, source, pieces, number)
        if done > 0:
            return done
    if errno == EAGAIN or errno == ENOBUFS:
        count(&h.world.counters, UDP_QUEUE_FULL)        # lost on the way, like any datagram
        return 1
    return -errno


# -- from the host ----------------------------------------------------------------------------------------------------

# Datagrams of one remote in a row, alike but for the last one.
cdef struct Group:
    u64 mapping                 # handle
    Addr source
    u16 port
    Addr local                  # to which address of the host; zero: not told
    int count
    Piece[BURST_MAX] pieces


cdef int _room(World *w, const Flow *mapping) noexcept nogil:
    """How many of the largest datagrams the guest's link takes now (w.hop says which link); -1: it is not known."""
    cdef Addr guest = (<Mapping *>mapping.body).guest
    cdef u32 queued, packets
    if not out_resolve(w, &guest):
        return -1
    queued = fq_bytes(&w.ports[w.hop.port].tx)
    packets = IP_BYTES_MAX // (w.hop.mtu - 56) + 1      # 56: headers, and what alignment to 8 bytes may cost
    packets = max(packets, <u32>GRO_MAX)
    if queued >= PORT_TX_BYTES:
        return 0
    return <int>((PORT_TX_BYTES - queued) // (IP_BYTES_MAX + packets * FRAME_OVERHEAD))


cdef u32 _read_controls(msghdr *message, u32 length, Addr *local) noexcept nogil:
    """Bytes of each datagram in a message of `length` bytes, and to which address it came (zero: not told, or to a group)."""
    cdef cmsghdr *control = CMSG_FIRSTHDR(message)
    cdef u32 each = length
    local.q[0] = 0
    local.q[1] = 0
    while control != NULL:
        if control.cmsg_level == IPPROTO_UDP and control.cmsg_type == UDP_GRO:
            if 0 < (<int *>CMSG_DATA(control))[0] < <int>length:
                each = <u32>(<int *>CMSG_DATA(control))[0]
        elif control.cmsg_level == IPPROTO_IP and control.cmsg_type == IP_PKTINFO:
            addr_from4(local, <const u8 *>&(<in_pktinfo *>CMSG_DATA(control)).ipi_spec_dst)
        elif control.cmsg_level == IPPROTO_IPV6 and control.cmsg_type == IPV6_PKTINFO:
            if (<const u8 *>CMSG_DATA(control))[0] != 0xff:
                addr_from6(local, <const u8 *>&(<in6_pktinfo *>CMSG_DATA(control)).ipi6_addr)
        control = CMSG_NXTHDR(message, control)
    return each


cdef void _hand_over(HostSockets *h, Group *group) noexcept nogil:
    """The datagrams of one remote that have been gathered."""
    cdef Flow *mapping = world_flow(h.world, group.mapping)
    if group.count and mapping != NULL:
        datagrams_from_host(h.world, mapping, &group.source, group.port, NULL if addr_is_zero(&group.local) else &group.local,
                            group.pieces, group.count)
    group.count = 0


cdef void _gather(HostSockets *h, Group *group, int i) noexcept nogil:
    """Message `i` of the batch, as its datagrams."""
    cdef Addr source
    cdef Addr local
    cdef u32 rest = h.area.messages[i].msg_len, each = _read_controls(&h.area.messages[i].msg_hdr, rest, &local)
    cdef u8 *data = <u8 *>h.area.pieces[i].iov_base
    cdef u16 port
    sockaddr_get(&h.area.names[i], &source, &port)
    if group.count and (port != group.port or each != group.pieces[0].length or not addr_eq(&source, &group.source)
                        or not addr_eq(&local, &group.local)):
        _hand_over(h, group)
    group.source = source
    group.local = local
    group.port = port
    while True:
        if group.count == BURST_MAX:
            _hand_over(h, group)
        group.pieces[group.count].data = data
        group.pieces[group.count].length = min(rest, each)
        group.count += 1
        if rest <= each:
            break
        data += each
        rest -= each
    if rest < each:                             # a shorter one is the last of its super-frame
        _hand_over(h, group)


cdef int _receive_batch(HostSockets *h, HostSocket *s, u64 mapping, int most) noexcept nogil:
    """At most `most` messages; how many have come."""
    cdef Group group
    cdef int n, i
    for i in range(most):
        h.area.messages[i].msg_hdr.msg_namelen = sizeof(SockAddr)
        h.area.messages[i].msg_hdr.msg_controllen = sizeof(h.area.controls[i])
    n = recvmmsg(s.fd, h.area.messages, <u32>most, MSG_DONTWAIT, NULL)
    group.mapping = mapping
    group.count = 0
    for i in range(n):
        _gather(h, &group, i)
    _hand_over(h, &group)
    return n


cdef void _receive(HostSockets *h, HostSocket *s, Flow *mapping) noexcept nogil:
    cdef int most, turn
    cdef u64 handle = mapping.slab.handle
    for turn in range(RECEIVES_MAX):
        most = _room(h.world, mapping)
        if most <= 0:
            poller_change(h.poller, s.fd, 0, POLL_HOST, s.slab.handle)
            host_stall(h, s, STALL_UNKNOWN if most < 0 else h.world.hop.port)
            return
        most = min(most, <int>RECEIVE_BATCH)
        if _receive_batch(h, s, handle, most) < most or world_flow(h.world, handle) == NULL:
            return


cdef void _take_errors(HostSockets *h, HostSocket *s, Flow *mapping) noexcept nogil:
    cdef HostError e
    cdef int i, error
    cdef u32 head
    cdef socklen_t length = sizeof(int)
    for i in range(ERRORS_BATCH):
        if not errqueue_take(s.fd, &e):
            getsockopt(s.fd, SOL_SOCKET, SO_ERROR, &error, &length)     # or it would be told for ever
            return
        head = min(<u32>ICMP_HEADER, e.quoted) if s.kind == HOST_ECHO else 0
        if head == ICMP_HEADER:
            e.port = load16(e.quote + 6)        # which of the pings it is about: its sequence number
        if e.kind and e.told_to:
            datagram_error(h.world, mapping, &e.to, e.port, &e.offender if e.told_offender else NULL, e.kind, e.code,
                           e.info, e.quote + head, e.quoted - head)


cdef void datagram_event(HostSockets *h, HostSocket *s, u32 events) noexcept nogil:
    cdef Flow *mapping = world_flow(h.world, s.flow)
    if mapping == NULL:
        return
    if events & EPOLLERR:
        _take_errors(h, s, mapping)
    if events & EPOLLIN:
        _receive(h, s, mapping)


cdef void datagrams_resume(HostSockets *h, u32 port) noexcept nogil:
    cdef HostSocket *s = h.stalled[port]
    while s != NULL:
        host_unstall(h, s)
        poller_change(h.poller, s.fd, EPOLLIN, POLL_HOST, s.slab.handle)
        s = h.stalled[port]
