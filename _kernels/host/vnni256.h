/* VNNI on vectors of 256 bits: 8 sums of four products of uint8 and int8 in one instruction.
 *
 * Included by isa_NAME.c for each encoding of these instructions, which defines AQ_DOT4(acc, a, w),
 * acc += products of bytes, and AQ_DOT2(acc, a, w), of int16.  16 registers are enough.
 */
#include <immintrin.h>
#include <string.h>

#include "engine.h"
#include "tile_rows.h"

#include "finish256.h"

#define AQ_LANES 8
#define AQ_VECTORS 2
#define AQ_S8_DIRECT 1
#define AQ_S8_SHIFTED 128
/* 12 sums, 2 vectors of weights, one of data, and that which adds 128. */
#define AQ_ROWS(V) (((V) == 2) ? 6 : 12)
#define AQ_EACH_TILE(X) AQ_ROWS_12(X, 1) AQ_ROWS_6(X, 2)

#define AQ_VEC __m256i
#define AQ_W __m256i
#define AQ_SPLATTED __m256i
#define AQ_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define AQ_STORE(p, v) _mm256_storeu_si256((__m256i *)(p), (v))
#define AQ_LOAD_W(p) _mm256_loadu_si256((const __m256i *)(p))

static inline __m256i aq_spread(int32_t value)
{
    __m256i x = _mm256_set1_epi32(value);

#if defined(__clang__)
    /* Else clang adds 128 before it spreads, which takes an instruction more. */
    __asm__("" : "+x"(x));
#endif
    return x;
}

static inline __m256i aq_128_more(__m256i x)
{
    return _mm256_xor_si256(x, _mm256_set1_epi8(-128));
}

static inline void aq_store_quarter(int32_t *p, __m256i sums)
{
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(sums));
    _mm_storeu_si128((__m128i *)(p + 16), _mm256_extracti128_si256(sums, 1));
}

static inline __attribute__((always_inline)) void aq_store_bytes(uint8_t *p, __m256i y,
        ptrdiff_t count)
{
    __m128i left = _mm256_castsi256_si128(y);

    if (count == 32) {
        _mm256_storeu_si256((__m256i *)p, y);
        return;
    }
    if (count & 16) {
        _mm_storeu_si128((__m128i *)p, left);
        left = _mm256_extracti128_si256(y, 1);
        p += 16;
    }
    if (count & 8) {
        _mm_storel_epi64((__m128i *)p, left);
        left = _mm_unpackhi_epi64(left, left);
        p += 8;
    }
    for (ptrdiff_t i = 0; i < (count & 7); i++) {
        p[i] = (uint8_t)((uint64_t)_mm_cvtsi128_si64(left) >> (8 * i));
    }
}

#define AQ_QUAD_BYTES 32
#define AQ_MM(name) _mm256_##name
#include "vnni.h"
