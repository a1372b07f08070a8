/*
 * The loops of the Internet checksum (RFC 1071): plain C for any machine, AVX2 where the processor has it.
 *
 * One's complement addition does not care about word size (RFC 1071 section 2, B and C): 2^16, 2^32 and 2^64 are all 1
 * modulo 2^16 - 1.  So eight bytes are loaded at a time, their 32-bit halves go to two 64-bit accumulators, which no
 * real length can overflow (2^32 additions), and only the end folds.  Bytes are never swapped: a sum of words in memory
 * order is the sum in network order with its two bytes in memory order (RFC 1071 section 2, B).
 *
 * The choice is made by __builtin_cpu_supports, not by target_clones: an ifunc resolver runs before AddressSanitizer
 * is up, and musl has none.
 */
#ifndef PYSLIRP_CSRC_CHECKSUM_H
#define PYSLIRP_CSRC_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* A fuzzer cannot guess checksums: in its build every sum is right. */
#if PYSLIRP_FUZZ
#define SLIRP_SUMS_PASS 1
#else
#define SLIRP_SUMS_PASS 0
#endif

#define SLIRP_SUM_INLINE static inline __attribute__((always_inline))
#define SLIRP_SUM_BLOCK 128 /* bytes that one turn of the wide loop takes */

static inline uint32_t slirp_sum_fold32(uint64_t sum)
{
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    return (uint32_t)sum;
}

/* `to` is NULL where there is nothing to copy; it is a constant at every call, so the test vanishes. */
SLIRP_SUM_INLINE uint64_t slirp_sum_narrow(uint8_t *to, const uint8_t *from, size_t length, uint64_t sum)
{
    uint64_t low = 0, high = 0, word;

    while (length >= 8) {
        memcpy(&word, from, 8);
        if (to) {
            memcpy(to, &word, 8);
            to += 8;
        }
        low += (uint32_t)word;
        high += word >> 32;
        from += 8;
        length -= 8;
    }
    /* The rest by its bits: a memcpy of a length unknown to the compiler costs more than a whole IPv4 header. */
    if (length & 4) {
        uint32_t four;
        memcpy(&four, from, 4);
        if (to) {
            memcpy(to, &four, 4);
            to += 4;
        }
        low += four;
        from += 4;
    }
    if (length & 2) {
        uint16_t two;
        memcpy(&two, from, 2);
        if (to) {
            memcpy(to, &two, 2);
            to += 2;
        }
        low += two;
        from += 2;
    }
    if (length & 1) {
        if (to)
            *to = *from;
        low += *from; /* the byte behind it counts as zero */
    }
    return sum + low + high;
}

#if defined(__x86_64__)

/* Sums whole blocks only. */
__attribute__((target("avx2")))
SLIRP_SUM_INLINE uint64_t slirp_sum_blocks(uint8_t *to, const uint8_t *from, size_t blocks)
{
    const __m256i mask = _mm256_set1_epi64x(0xffffffff);
    __m256i low[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    uint64_t lanes[4];

    for (; blocks; blocks--, from += SLIRP_SUM_BLOCK) {
        __m256i a = _mm256_loadu_si256((const __m256i *)from);
        __m256i b = _mm256_loadu_si256((const __m256i *)(from + 32));
        __m256i c = _mm256_loadu_si256((const __m256i *)(from + 64));
        __m256i d = _mm256_loadu_si256((const __m256i *)(from + 96));
        if (to) {
            _mm256_storeu_si256((__m256i *)to, a);
            _mm256_storeu_si256((__m256i *)(to + 32), b);
            _mm256_storeu_si256((__m256i *)(to + 64), c);
            _mm256_storeu_si256((__m256i *)(to + 96), d);
            to += SLIRP_SUM_BLOCK;
        }
        low[0] = _mm256_add_epi64(low[0], _mm256_and_si256(a, mask));
        high[0] = _mm256_add_epi64(high[0], _mm256_srli_epi64(a, 32));
        low[1] = _mm256_add_epi64(low[1], _mm256_and_si256(b, mask));
        high[1] = _mm256_add_epi64(high[1], _mm256_srli_epi64(b, 32));
        low[0] = _mm256_add_epi64(low[0], _mm256_and_si256(c, mask));
        high[0] = _mm256_add_epi64(high[0], _mm256_srli_epi64(c, 32));
        low[1] = _mm256_add_epi64(low[1], _mm256_and_si256(d, mask));
        high[1] = _mm256_add_epi64(high[1], _mm256_srli_epi64(d, 32));
    }
    low[0] = _mm256_add_epi64(_mm256_add_epi64(low[0], low[1]), _mm256_add_epi64(high[0], high[1]));
    _mm256_storeu_si256((__m256i *)lanes, low[0]);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

__attribute__((target("avx2"), noinline))
static uint64_t slirp_sum_avx2(const uint8_t *from, size_t blocks)
{
    return slirp_sum_blocks(NULL, from, blocks);
}

__attribute__((target("avx2"), noinline))
static uint64_t slirp_sum_copy_avx2(uint8_t *to, const uint8_t *from, size_t blocks)
{
    return slirp_sum_blocks(to, from, blocks);
}

#endif /* __x86_64__ */

static inline uint32_t slirp_sum_bytes(const uint8_t *data, size_t length, uint32_t start)
{
    uint64_t sum = start;

#if defined(__x86_64__)
    if (length >= SLIRP_SUM_BLOCK && __builtin_cpu_supports("avx2")) {
        size_t blocks = length / SLIRP_SUM_BLOCK;
        sum += slirp_sum_avx2(data, blocks);
        data += blocks * SLIRP_SUM_BLOCK;
        length -= blocks * SLIRP_SUM_BLOCK;
    }
#endif
    return slirp_sum_fold32(slirp_sum_narrow(NULL, data, length, sum));
}

static inline uint32_t slirp_sum_copy(uint8_t *to, const uint8_t *source, size_t length, uint32_t start)
{
    uint64_t sum = start;

#if defined(__x86_64__)
    if (length >= SLIRP_SUM_BLOCK && __builtin_cpu_supports("avx2")) {
        size_t blocks = length / SLIRP_SUM_BLOCK;
        sum += slirp_sum_copy_avx2(to, source, blocks);
        to += blocks * SLIRP_SUM_BLOCK;
        source += blocks * SLIRP_SUM_BLOCK;
        length -= blocks * SLIRP_SUM_BLOCK;
    }
#endif
    return slirp_sum_fold32(slirp_sum_narrow(to, source, length, sum));
}

#endif
