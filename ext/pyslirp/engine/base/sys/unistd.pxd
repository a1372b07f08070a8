"""<unistd.h>: what has no header of its own."""

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
