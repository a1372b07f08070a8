"""<unistd.h>: what has no header of its own."""

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    ssize_t read(int fd, void *into, size_t length)
    ssize_t write(int fd, const void *data, size_t length)
