"""<linux/errqueue.h>: what MSG_ERRQUEUE gives (ip(7), IP_RECVERR)."""

from pyslirp.engine.base.ints cimport u8, u32
from pyslirp.engine.base.sys.socket cimport sockaddr

cdef extern from "<linux/errqueue.h>" nogil:
    enum:
        SO_EE_ORIGIN_LOCAL
        SO_EE_ORIGIN_ICMP
        SO_EE_ORIGIN_ICMP6
    struct sock_extended_err:
        u32 ee_errno
        u8 ee_origin
        u8 ee_type
        u8 ee_code
        u32 ee_info
    sockaddr *SO_EE_OFFENDER(sock_extended_err *error)
