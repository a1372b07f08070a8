"""Load and store big-endian integers at any alignment.  Nobody else shifts bytes by hand."""

from pyslirp.engine.base.ints cimport u8, u16, u32, u64

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static inline uint16_t slirp_load16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return __builtin_bswap16(v); }
    static inline uint32_t slirp_load32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
    static inline void slirp_store16(uint8_t *p, uint16_t v) { v = __builtin_bswap16(v); memcpy(p, &v, 2); }
    static inline void slirp_store32(uint8_t *p, uint32_t v) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "pyslirp's engine is written for little-endian machines"
    #endif
    """
    u16 load16 "slirp_load16"(const u8 *p) noexcept nogil
    u32 load32 "slirp_load32"(const u8 *p) noexcept nogil
    void store16 "slirp_store16"(u8 *p, u16 value) noexcept nogil
    void store32 "slirp_store32"(u8 *p, u32 value) noexcept nogil
