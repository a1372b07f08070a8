"""<sys/ioctl.h>: ioctl(2)."""

cdef extern from "<sys/ioctl.h>" nogil:
    enum:
        FIONBIO
    int ioctl(int fd, unsigned long request, int *argument)
