"""Between the engine's 16-byte addresses and the kernel's struct sockaddr.

A scope (RFC 4007) is not kept: the engine's addresses have none, so a link-local IPv6 address is no destination.
"""

from libc.string cimport memcpy, memset

from pyslirp.engine.base.endian cimport load16, store16
from pyslirp.engine.base.ints cimport Addr, addr_from4, addr_from6, u8, u16
from pyslirp.engine.base.sys.inet cimport sockaddr_in, sockaddr_in6
from pyslirp.engine.base.sys.socket cimport AF_INET, AF_INET6, socklen_t


cdef socklen_t sockaddr_put(SockAddr *out, const Addr *address, u16 port, bint v6) noexcept nogil:
    memset(out, 0, sizeof(SockAddr))
    if v6:
        out.v6.sin6_family = AF_INET6
        store16(<u8 *>&out.v6.sin6_port, port)
        memcpy(&out.v6.sin6_addr, address.b, 16)
        return sizeof(sockaddr_in6)
    out.v4.sin_family = AF_INET
    store16(<u8 *>&out.v4.sin_port, port)
    memcpy(&out.v4.sin_addr, &address.b[12], 4)
    return sizeof(sockaddr_in)


cdef bint sockaddr_get(const SockAddr *source, Addr *address, u16 *port) noexcept nogil:
    if source.any.sa_family == AF_INET:
        addr_from4(address, <const u8 *>&source.v4.sin_addr)
        port[0] = load16(<const u8 *>&source.v4.sin_port)
        return True
    if source.any.sa_family == AF_INET6:
        addr_from6(address, <const u8 *>&source.v6.sin6_addr)
        port[0] = load16(<const u8 *>&source.v6.sin6_port)
        return True
    address.q[0] = 0
    address.q[1] = 0
    port[0] = 0
    return False


# -- for tests ---------------------------------------------------------------------------------------------------------

def _put(bytes address, u16 port, bint v6):
    """The bytes of the struct sockaddr."""
    cdef SockAddr out
    cdef Addr source
    if len(address) != 16:
        raise ValueError("an engine address has 16 bytes")
    memcpy(source.b, <const u8 *>address, 16)
    return (<const u8 *>&out)[:sockaddr_put(&out, &source, port, v6)]


def _get(bytes raw):
    """(address, port) of a struct sockaddr, or None."""
    cdef SockAddr source
    cdef Addr address
    cdef u16 port
    memset(&source, 0, sizeof(SockAddr))
    memcpy(&source, <const u8 *>raw, min(<size_t>len(raw), sizeof(SockAddr)))
    return (address.b[:16], port) if sockaddr_get(&source, &address, &port) else None
