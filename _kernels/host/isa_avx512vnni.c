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

/* As instructions of their own: gcc 12 copies the accumulators of the intrinsics to memory. */
#if defined(__GNUC__) && !defined(__clang__)
#define AQ_DOT4(acc, a, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w))
#define AQ_DOT2(acc, a, w) __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w))
#else
#define AQ_DOT4(acc, a, w) ((acc) = _mm512_dpbusd_epi32((acc), (a), (w)))
#define AQ_DOT2(acc, a, w) ((acc) = _mm512_dpwssd_epi32((acc), (a), (w)))
#endif

#include "finish512.h"

#define AQ_FINISH_SUMS aq_finish_sums
#define AQ_MULTIPLIERS 1

static inline __m512i aq_spread(int32_t value)
{
    return _mm512_set1_epi32(value);
}

static inline __m512i aq_128_more(__m512i x)
{
    return _mm512_xor_si512(x, _mm512_set1_epi8(-128));
}

static inline void aq_store_quarter(int32_t *p, __m512i sums)
{
    _mm_storeu_si128((__m128i *)p, _mm512_castsi512_si128(sums));
    _mm_storeu_si128((__m128i *)(p + 16), _mm512_extracti32x4_epi32(sums, 1));
    _mm_storeu_si128((__m128i *)(p + 32), _mm512_extracti32x4_epi32(sums, 2));
    _mm_storeu_si128((__m128i *)(p + 48), _mm512_extracti32x4_epi32(sums, 3));
}

static inline void aq_store_bytes(uint8_t *p, __m512i y, ptrdiff_t count)
{
    aq_store_row(4, p, y, count);
}

#define AQ_QUAD_BYTES 64
#define AQ_MM(name) _mm512_##name
#include "vnni.h"

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

#include "steps.h"
