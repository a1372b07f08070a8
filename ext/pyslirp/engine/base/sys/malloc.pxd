"""What glibc's allocator does beyond the standard.  Elsewhere it does nothing: musl gives back what is freed by itself."""

cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef __GLIBC__
    #include <malloc.h>
    #define slirp_malloc_trim(pad) malloc_trim(pad)
    #else
    #define slirp_malloc_trim(pad) ((void)(pad), 0)
    #endif
    """
    int slirp_malloc_trim(size_t pad) noexcept nogil    # give whole free pages back to the kernel, all but `pad` bytes at the top
