"""Assertions of what the engine has itself made sure of: internal contradictions, never anything that a guest can do.

The flavours debug and fuzz (setup.py) have them and end the process at one that does not hold; in the others nothing
is left of them.  Write one comparison or one call, no `and`: Cython would work out its parts before the macro is there
to drop them.
"""

cdef extern from *:
    """
    #if PYSLIRP_DEBUG
    #undef NDEBUG
    #include <assert.h>
    #define SLIRP_DEBUG 1
    #define slirp_assert(condition) assert(condition)
    #else
    #define SLIRP_DEBUG 0
    #define slirp_assert(condition) ((void)0)
    #endif
    """
    const int SLIRP_DEBUG
    void slirp_assert(bint condition) noexcept nogil
