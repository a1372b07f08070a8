"""Pieces as the kernel's vectors: base/piece.pxd promises the layout of struct iovec, here it is held to it."""

from pyslirp.engine.base.piece cimport Piece
from pyslirp.engine.base.sys.uio cimport iovec

cdef extern from *:
    """
    #include <stddef.h>
    #include <sys/uio.h>
    #define SLIRP_IOVEC(p) ({ \
        _Static_assert(sizeof(*(p)) == sizeof(struct iovec) \
                       && offsetof(__typeof__(*(p)), data) == offsetof(struct iovec, iov_base) \
                       && offsetof(__typeof__(*(p)), length) == offsetof(struct iovec, iov_len), "no iovec"); \
        (struct iovec *)(p); })
    """
    iovec *iovec_of "SLIRP_IOVEC"(const Piece *pieces) nogil
