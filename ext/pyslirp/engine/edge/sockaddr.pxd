"""Between the engine's 16-byte addresses and the kernel's struct sockaddr."""

from pyslirp.engine.base.ints cimport Addr, u16
from pyslirp.engine.base.sys.inet cimport sockaddr_in, sockaddr_in6
from pyslirp.engine.base.sys.socket cimport sockaddr, socklen_t

# Any address that an Internet socket gives or takes.
cdef union SockAddr:
    sockaddr any
    sockaddr_in v4
    sockaddr_in6 v6

# Fills `out` and returns its length.  v6: for a socket of AF_INET6, which takes an IPv4 address in its mapped form.
cdef socklen_t sockaddr_put(SockAddr *out, const Addr *address, u16 port, bint v6) noexcept nogil
# False, and both are zero: an address of another family, or none.
cdef bint sockaddr_get(const SockAddr *source, Addr *address, u16 *port) noexcept nogil
