"""<netinet/udp.h>: options of udp(7)."""

cdef extern from "<netinet/udp.h>" nogil:
    enum:
        UDP_GRO
        UDP_SEGMENT
