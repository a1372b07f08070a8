"""<sys/ioctl.h>: ioctl(2); <linux/sockios.h>: what it says of a socket."""

cdef extern from "<sys/ioctl.h>" nogil:
    enum:
        FIONBIO
    int ioctl(int fd, unsigned long request, int *argument)

cdef extern from "<linux/sockios.h>" nogil:
    enum:
        SIOCATMARK
