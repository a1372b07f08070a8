"""<netinet/tcp.h>: options of tcp(7)."""

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY
