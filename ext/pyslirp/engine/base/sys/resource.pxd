"""<sys/resource.h>: getrlimit(2)."""

cdef extern from "<sys/resource.h>" nogil:
    enum:
        RLIMIT_NOFILE
    ctypedef unsigned long rlim_t
    struct rlimit:
        rlim_t rlim_cur
        rlim_t rlim_max
    int getrlimit(int resource, rlimit *limits)
