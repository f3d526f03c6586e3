/* AVX-512 with VNNI: 16 sums of four products of uint8 and int8 in one instruction. */
#include <immintrin.h>
#include <string.h>

#include "engine.h"
#include "tile_rows.h"

#define AQ_ISA aq_avx512vnni
#define AQ_ISA_NAME "avx512vnni"
#define AQ_LANES 16
#define AQ_VECTORS 4
#define AQ_S8_DIRECT 1
#define AQ_S8_SHIFTED 128
#define AQ_ROWS(V) (((V) == 4) ? 6 : (((V) == 3) ? 8 : 12))
#define AQ_EACH_TILE(X) AQ_ROWS_12(X, 1) AQ_ROWS_12(X, 2) AQ_ROWS_8(X, 3) AQ_ROWS_6(X, 4)

static int aq_isa_available(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
            && __builtin_cpu_supports("avx512vnni");
}

#define AQ_VEC __m512i
#define AQ_W __m512i
#define AQ_SPLATTED __m512i
#define AQ_LOAD(p) _mm512_loadu_si512(p)
#define AQ_STORE(p, v) _mm512_storeu_si512((p), (v))
#define AQ_LOAD_W(p) _mm512_loadu_si512(p)

/* The four bytes at p, each 128 more, in every lane. */
static inline __m512i aq_splat4(const int8_t *p)
{
    int32_t quad;

    memcpy(&quad, p, sizeof quad);
    return _mm512_xor_si512(_mm512_set1_epi32(quad), _mm512_set1_epi8(-128));
}

/* The same of a copy that has them added. */
static inline __m512i aq_splat_lifted(const uint8_t *p)
{
    int32_t quad;

    memcpy(&quad, p, sizeof quad);
    return _mm512_set1_epi32(quad);
}

static inline __m512i aq_splat2(const int16_t *p)
{
    int32_t pair;

    memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
}

/* As instructions of their own: gcc 12 copies the accumulators of the intrinsics to memory. */
#if defined(__GNUC__) && !defined(__clang__)
#define AQ_DOT4(acc, a, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w))
#define AQ_DOT2(acc, a, w) __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w))
#else
#define AQ_DOT4(acc, a, w) ((acc) = _mm512_dpbusd_epi32((acc), (a), (w)))
#define AQ_DOT2(acc, a, w) ((acc) = _mm512_dpwssd_epi32((acc), (a), (w)))
#endif

#include "finish512.h"

/* --- Tiles */

#define AQ_NAME(x) s8_##x
#define AQ_OPERAND int8_t
#define AQ_SPLAT(p) aq_splat4(p)
#define AQ_DOT AQ_DOT4
#define AQ_FINISH_SUMS aq_finish_sums
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
#undef AQ_FINISH_SUMS

#define AQ_NAME(x) s16_##x
#define AQ_OPERAND int16_t
#define AQ_SPLAT(p) aq_splat2(p)
#define AQ_DOT AQ_DOT2
#include "tiles.h"

/* --- Sums of multiples: pairs of values times pairs of factors */

static inline __attribute__((always_inline)) ptrdiff_t aq_sums_of(const int multiplied,
        const aq_elementwise *s, const uint8_t *a, const uint8_t *b, ptrdiff_t i, ptrdiff_t stop,
        uint8_t *y)
{
    const aq_finish *f = &s->finish;
    const int32_t second = b ? s->factors[1] : 0;
    const __m512i factors = _mm512_set1_epi32((int32_t)(((uint32_t)second << 16)
            | ((uint32_t)s->factors[0] & 0xFFFF)));
    const __m512i bias = _mm512_set1_epi32(s->bias);
    const __m128i shift = _mm_cvtsi32_si128(f->shift[0]);
    const aq_multiplier m = aq_multiplier_of(f->multiplier, f->shift);
    const __m512i offset = _mm512_set1_epi16((short)f->offset);
    const __m512i lower = _mm512_set1_epi8((char)f->lower);
    const __m512i upper = _mm512_set1_epi8((char)f->upper[0]);
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);

    for (; i + 64 <= stop; i += 64) {
        __m512i halves[2];

        AQ_UNROLL for (int h = 0; h < 2; h++) {
            const ptrdiff_t at = i + (32 * h);
            const __m512i u = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(a + at)));
            const __m512i v = b ? _mm512_cvtepi8_epi16(
                    _mm256_loadu_si256((const __m256i *)(b + at))) : _mm512_setzero_si512();
            const __m512i low = _mm512_unpacklo_epi16(u, v);
            const __m512i high = _mm512_unpackhi_epi16(u, v);
            __m512i first = bias;
            __m512i last = bias;

            AQ_DOT2(first, low, factors);
            AQ_DOT2(last, high, factors);
            first = multiplied ? aq_multiplied(first, m) : _mm512_sra_epi32(first, shift);
            last = multiplied ? aq_multiplied(last, m) : _mm512_sra_epi32(last, shift);
            halves[h] = _mm512_adds_epi16(offset, _mm512_packs_epi32(first, last));
        }
        const __m512i bytes = _mm512_permutexvar_epi64(order,
                _mm512_packs_epi16(halves[0], halves[1]));
        _mm512_storeu_si512(y + i, _mm512_min_epi8(_mm512_max_epi8(bytes, lower), upper));
    }
    return i;
}

/* Write as many bytes from i to before `stop` as whole vectors hold, and return where they end;
 * none of other types and forms.  The factors of a network fit 16 bits.
 */
static ptrdiff_t aq_sum_bytes(const aq_elementwise *s, const uint8_t *a, const uint8_t *b,
        ptrdiff_t i, ptrdiff_t stop, uint8_t *y)
{
    if (s->size != 1 || !aq_in_registers(&s->finish)) {
        return i;
    }
    if (s->finish.form == AQ_RIGHT_SHIFTS) {
        return aq_sums_of(0, s, a, b, i, stop, y);
    }
    return aq_sums_of(1, s, a, b, i, stop, y);
}

#define AQ_SUM_BYTES aq_sum_bytes

/* --- For depthwise_quads.h */

#define AQ_QUAD_BYTES 64
#define AQ_DOT_QUADS AQ_DOT4
#define AQ_MULTIPLIERS 1

typedef __m512i aq_bytes;
typedef __m512i aq_words;
typedef __m512i aq_sums4;

static inline __m512i aq_load_bytes(const void *p)
{
    return _mm512_loadu_si512(p);
}

static inline __m512i aq_load_sums4(const int32_t *p)
{
    return _mm512_loadu_si512(p);
}

static inline __m512i aq_all_bytes(int8_t value)
{
    return _mm512_set1_epi8(value);
}

static inline __m512i aq_all_words(int16_t value)
{
    return _mm512_set1_epi16(value);
}

static inline void aq_store_quarter(int32_t *p, __m512i sums)
{
    _mm_storeu_si128((__m128i *)p, _mm512_castsi512_si128(sums));
    _mm_storeu_si128((__m128i *)(p + 16), _mm512_extracti32x4_epi32(sums, 1));
    _mm_storeu_si128((__m128i *)(p + 32), _mm512_extracti32x4_epi32(sums, 2));
    _mm_storeu_si128((__m128i *)(p + 48), _mm512_extracti32x4_epi32(sums, 3));
}

static inline __attribute__((always_inline)) void aq_interleave(const int height,
        const uint8_t *const row[4], ptrdiff_t x, __m512i column[4])
{
    const __m512i a = _mm512_loadu_si512(row[0] + x);
    const __m512i b = _mm512_loadu_si512(row[1] + x);
    const __m512i c = _mm512_loadu_si512(row[2] + x);
    const __m512i d = (height == 3) ? a : _mm512_loadu_si512(row[3] + x);
    const __m512i low = _mm512_unpacklo_epi8(a, b);
    const __m512i high = _mm512_unpackhi_epi8(a, b);
    const __m512i low_next = _mm512_unpacklo_epi8(c, d);
    const __m512i high_next = _mm512_unpackhi_epi8(c, d);

    column[0] = _mm512_unpacklo_epi16(low, low_next);
    column[1] = _mm512_unpackhi_epi16(low, low_next);
    column[2] = _mm512_unpacklo_epi16(high, high_next);
    column[3] = _mm512_unpackhi_epi16(high, high_next);
}

static inline __m512i aq_shifted(__m512i sums, __m512i shift)
{
    return _mm512_srav_epi32(sums, shift);
}

static inline __attribute__((always_inline)) __m512i aq_packed(const __m512i q[4], __m512i offset)
{
    return _mm512_packs_epi16(_mm512_adds_epi16(offset, _mm512_packs_epi32(q[0], q[1])),
            _mm512_adds_epi16(offset, _mm512_packs_epi32(q[2], q[3])));
}

static inline __m512i aq_bounded(__m512i y, __m512i lower, __m512i upper)
{
    return _mm512_min_epi8(upper, _mm512_max_epi8(lower, y));
}

static inline void aq_store_bytes(uint8_t *p, __m512i y, ptrdiff_t count)
{
    aq_store_row(4, p, y, count);
}

#include "steps.h"
