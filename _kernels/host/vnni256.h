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

/* The four bytes at p, each 128 more, in every lane. */
static inline __m256i aq_splat4(const int8_t *p)
{
    int32_t quad;
    __m256i quads;

    memcpy(&quad, p, sizeof quad);
    quads = _mm256_set1_epi32(quad);
#if defined(__clang__)
    /* Else clang adds before it spreads, which takes an instruction more. */
    __asm__("" : "+x"(quads));
#endif
    return _mm256_xor_si256(quads, _mm256_set1_epi8(-128));
}

/* The same of a copy that has them added. */
static inline __m256i aq_splat_lifted(const uint8_t *p)
{
    int32_t quad;

    memcpy(&quad, p, sizeof quad);
    return _mm256_set1_epi32(quad);
}

static inline __m256i aq_splat2(const int16_t *p)
{
    int32_t pair;

    memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
}

#define AQ_NAME(x) s8_##x
#define AQ_OPERAND int8_t
#define AQ_SPLAT(p) aq_splat4(p)
#define AQ_DOT AQ_DOT4
#include "tiles.h"
#undef AQ_NAME
#undef AQ_OPERAND
#undef AQ_SPLAT

#define AQ_NAME(x) u8_##x
#define AQ_OPERAND uint8_t
#define AQ_SPLAT(p) aq_splat_lifted(p)
#include "tiles.h"
#undef AQ_NAME
#undef AQ_OPERAND
#undef AQ_SPLAT
#undef AQ_DOT

#define AQ_NAME(x) s16_##x
#define AQ_OPERAND int16_t
#define AQ_SPLAT(p) aq_splat2(p)
#define AQ_DOT AQ_DOT2
#include "tiles.h"

/* --- For depthwise_quads.h */

#define AQ_QUAD_BYTES 32
#define AQ_DOT_QUADS AQ_DOT4

typedef __m256i aq_bytes;
typedef __m256i aq_words;
typedef __m256i aq_sums4;

static inline __m256i aq_load_bytes(const void *p)
{
    return _mm256_loadu_si256(p);
}

static inline __m256i aq_all_bytes(int8_t value)
{
    return _mm256_set1_epi8(value);
}

static inline __m256i aq_all_words(int16_t value)
{
    return _mm256_set1_epi16(value);
}

static inline __m256i aq_load_sums4(const int32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline void aq_store_quarter(int32_t *p, __m256i sums)
{
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(sums));
    _mm_storeu_si128((__m128i *)(p + 16), _mm256_extracti128_si256(sums, 1));
}

static inline __attribute__((always_inline)) void aq_interleave(const int height,
        const uint8_t *const row[4], ptrdiff_t x, __m256i column[4])
{
    const __m256i a = aq_load_bytes(row[0] + x);
    const __m256i b = aq_load_bytes(row[1] + x);
    const __m256i c = aq_load_bytes(row[2] + x);
    const __m256i d = (height == 3) ? a : aq_load_bytes(row[3] + x);
    const __m256i low = _mm256_unpacklo_epi8(a, b);
    const __m256i high = _mm256_unpackhi_epi8(a, b);
    const __m256i low_next = _mm256_unpacklo_epi8(c, d);
    const __m256i high_next = _mm256_unpackhi_epi8(c, d);

    column[0] = _mm256_unpacklo_epi16(low, low_next);
    column[1] = _mm256_unpackhi_epi16(low, low_next);
    column[2] = _mm256_unpacklo_epi16(high, high_next);
    column[3] = _mm256_unpackhi_epi16(high, high_next);
}

static inline __m256i aq_shifted(__m256i sums, __m256i shift)
{
    return _mm256_srav_epi32(sums, shift);
}

static inline __attribute__((always_inline)) __m256i aq_packed(const __m256i q[4], __m256i offset)
{
    return _mm256_packs_epi16(_mm256_adds_epi16(offset, _mm256_packs_epi32(q[0], q[1])),
            _mm256_adds_epi16(offset, _mm256_packs_epi32(q[2], q[3])));
}

static inline __m256i aq_bounded(__m256i y, __m256i lower, __m256i upper)
{
    return _mm256_min_epi8(upper, _mm256_max_epi8(lower, y));
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
