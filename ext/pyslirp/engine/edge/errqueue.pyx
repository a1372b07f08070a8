"""What a socket's error queue holds: who has said what about a packet of ours (ip(7), IP_RECVERR)."""

from libc.errno cimport EMSGSIZE
from libc.string cimport memset

from pyslirp.engine.base.ints cimport i32, u8, u16, u64
from pyslirp.engine.base.sys.errqueue cimport (
    SO_EE_OFFENDER, SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6, SO_EE_ORIGIN_LOCAL, sock_extended_err)
from pyslirp.engine.base.sys.inet cimport IPPROTO_IP, IPPROTO_IPV6, IPV6_RECVERR, IP_RECVERR
from pyslirp.engine.base.sys.socket cimport (
    CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_NXTHDR, MSG_DONTWAIT, MSG_ERRQUEUE, cmsghdr, msghdr, recvmsg, setsockopt)
from pyslirp.engine.base.sys.uio cimport iovec
from pyslirp.engine.edge.sockaddr cimport SockAddr, sockaddr_get
from pyslirp.engine.protocols.icmp cimport ICMP_UNREACHABLE, UNREACHABLE_TOO_BIG, icmp_from_v6

cdef enum:
    CONTROL_WORDS = 32          # 256 bytes; an IP_RECVERR message has at most 60


cdef bint errqueue_enable(int fd, bint v6, bint on) noexcept nogil:
    cdef int value = on
    if v6:                                      # one that takes IPv4 too (mapped) wants both
        setsockopt(fd, IPPROTO_IP, IP_RECVERR, &value, sizeof(int))
        return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &value, sizeof(int)) == 0
    return setsockopt(fd, IPPROTO_IP, IP_RECVERR, &value, sizeof(int)) == 0


cdef void _read(HostError *out, const sock_extended_err *error) noexcept nogil:
    cdef const SockAddr *offender
    cdef u16 port
    out.error = <i32>error.ee_errno
    out.info = error.ee_info
    if error.ee_origin == SO_EE_ORIGIN_ICMP:
        out.kind = error.ee_type
        out.code = error.ee_code
    elif error.ee_origin == SO_EE_ORIGIN_ICMP6:
        out.kind = error.ee_type
        out.code = error.ee_code
        if not icmp_from_v6(&out.kind, &out.code):
            out.kind = 0
    elif error.ee_origin == SO_EE_ORIGIN_LOCAL and error.ee_errno == EMSGSIZE:
        out.kind = ICMP_UNREACHABLE
        out.code = UNREACHABLE_TOO_BIG
    if error.ee_origin != SO_EE_ORIGIN_LOCAL:
        offender = <const SockAddr *>SO_EE_OFFENDER(<sock_extended_err *>error)
        out.told_offender = sockaddr_get(offender, &out.offender, &port)


cdef bint errqueue_take(int fd, HostError *out) noexcept nogil:
    cdef u64[CONTROL_WORDS] control             # words: a cmsghdr is aligned like one
    cdef SockAddr name
    cdef msghdr message
    cdef iovec piece
    cdef cmsghdr *c
    cdef ssize_t got
    memset(out, 0, sizeof(HostError))
    memset(&name, 0, sizeof(SockAddr))
    memset(&message, 0, sizeof(msghdr))
    message.msg_name = &name
    message.msg_namelen = sizeof(SockAddr)
    message.msg_control = control
    message.msg_controllen = sizeof(control)
    piece.iov_base = out.quote
    piece.iov_len = sizeof(out.quote)
    message.msg_iov = &piece
    message.msg_iovlen = 1
    got = recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT)
    if got < 0:
        return False
    out.quoted = <u32>got
    if message.msg_namelen:
        out.told_to = sockaddr_get(&name, &out.to, &out.port)
    c = CMSG_FIRSTHDR(&message)
    while c != NULL:
        if (c.cmsg_len >= CMSG_LEN(sizeof(sock_extended_err))
                and ((c.cmsg_level == IPPROTO_IP and c.cmsg_type == IP_RECVERR)
                     or (c.cmsg_level == IPPROTO_IPV6 and c.cmsg_type == IPV6_RECVERR))):
            _read(out, <const sock_extended_err *>CMSG_DATA(c))
        c = CMSG_NXTHDR(&message, c)
    return True


# -- for tests ---------------------------------------------------------------------------------------------------------

def _enable(int fd, bint v6, bint on=True):
    return errqueue_enable(fd, v6, on)


def _take(int fd):
    """(errno, type, code, info, to, port, offender, quote); to, port, offender None where unknown.  None: the queue is empty."""
    cdef HostError e
    if not errqueue_take(fd, &e):
        return None
    return (e.error, e.kind, e.code, e.info, e.to.b[:16] if e.told_to else None, e.port if e.told_to else None,
            e.offender.b[:16] if e.told_offender else None, e.quote[:e.quoted])
