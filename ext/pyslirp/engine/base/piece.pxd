"""A writable or readable piece of memory, laid out as the kernel's struct iovec so that an edge passes it on uncopied.

The pure floors use it without knowing of any system call; edge/iovec.pxd asserts the layout.
"""

from pyslirp.engine.base.ints cimport u8

cdef struct Piece:
    u8 *data                    # borrowed
    size_t length
