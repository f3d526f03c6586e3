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

#define AQ_FINISH_TILE aq_finish_tile_vectors
#include "finish.h"

/* --- Through memory: the other forms of int8 networks; the loops of all sets for the rest */

/* Write the masked values of 32 bits as int8.  Narrowing stores and masks are slow on some
 * machines: whole vectors do without.
 */
static inline void aq_store8(int8_t *y, __m512i t, __mmask16 mask)
{
    const __m128i bytes = _mm512_cvtepi32_epi8(t);

    if (mask == 0xFFFF) {
        _mm_storeu_si128((__m128i *)y, bytes);
    } else {
        _mm_mask_storeu_epi8(y, mask, bytes);
    }
}

/* Half up: (t * scale + half) >> shift of the even or of the odd lanes, held within int32. */
static inline __attribute__((always_inline)) __m512i aq_scaled(__m512i t, __m512i scale,
        __m512i half, __m512i shift)
{
    const __m512i product = _mm512_add_epi64(_mm512_mul_epi32(t, scale), half);
    const __m512i low = _mm512_set1_epi64(INT32_MIN);
    const __m512i high = _mm512_set1_epi64(INT32_MAX);

    return _mm512_min_epi64(_mm512_max_epi64(_mm512_srav_epi64(product, shift), low), high);
}

/* One vector of channels of every row, as int8. */
static inline __attribute__((always_inline)) void aq_finish_vectors(const int multiplied,
        const int added, const aq_finish *f, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t columns,
        ptrdiff_t width, const int32_t *acc, const int8_t *r, int8_t *y, ptrdiff_t stride)
{
    const __m512i offset = _mm512_set1_epi32(f->offset);
    const __m512i lower = _mm512_set1_epi32(f->lower);
    const __m512i one = _mm512_set1_epi64(1);

    for (ptrdiff_t j = 0; j < columns; j += 16) {
        const __mmask16 mask = (columns - j >= 16) ? 0xFFFF
                : (__mmask16)((1U << (columns - j)) - 1U);
        const __m512i shift = _mm512_loadu_si512(f->shift + first + j);
        const __m512i upper = _mm512_loadu_si512(f->upper + first + j);
        const __m512i factor = added ? _mm512_loadu_si512(f->factor + first + j) : one;
        const __m512i scale = multiplied ? _mm512_loadu_si512(f->multiplier + first + j) : one;
        const __m512i odd_scale = _mm512_srli_epi64(scale, 32);
        const __m512i even_shift = _mm512_and_si512(shift, _mm512_set1_epi64(0xFFFFFFFF));
        const __m512i odd_shift = _mm512_srli_epi64(shift, 32);
        const __m512i even_half = _mm512_srli_epi64(_mm512_sllv_epi64(one, even_shift), 1);
        const __m512i odd_half = _mm512_srli_epi64(_mm512_sllv_epi64(one, odd_shift), 1);
        /* Bounds of int8 less the offset cannot leave int32, nor can a sum that is within them. */
        const __m512i least = _mm512_sub_epi32(lower, offset);
        const __m512i most = _mm512_sub_epi32(upper, offset);

        for (ptrdiff_t i = 0; i < rows; i++) {
            __m512i t = _mm512_loadu_si512(acc + (i * width) + j);
            if (added) {
                const int8_t *from = r + (i * stride) + j;
                const __m128i bytes = (mask == 0xFFFF) ? _mm_loadu_si128((const __m128i *)from)
                        : _mm_maskz_loadu_epi8(mask, from);
                t = _mm512_add_epi32(t, _mm512_mullo_epi32(_mm512_cvtepi8_epi32(bytes), factor));
            }
            if (multiplied) {
                const __m512i even = aq_scaled(t, scale, even_half, even_shift);
                const __m512i odd = aq_scaled(_mm512_srli_epi64(t, 32), odd_scale, odd_half,
                        odd_shift);
                t = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
            } else {
                t = _mm512_srav_epi32(t, shift);
            }
            t = _mm512_min_epi32(_mm512_max_epi32(t, least), most);
            aq_store8(y + (i * stride) + j, _mm512_add_epi32(t, offset), mask);
        }
    }
}

#include "finish_vectors.h"

/* --- In registers: what int8 networks mostly have */

/* Multipliers of 16 lanes with shifts of 31 or more, which no result leaves int32 with: products of
 * the even and of the odd lanes, and the shifts that leave the result in the lower and in the upper
 * half; for the latter a shift of 31 is one to the left, for which its product has room.
 */
typedef struct aq_multiplier {
    __m512i even, odd, even_half, odd_half, even_shift, odd_left, odd_shift;
} aq_multiplier;

static inline __attribute__((always_inline)) aq_multiplier aq_multiplier_of(
        const int32_t *multiplier, const int32_t *shift)
{
    const __m512i factor = _mm512_loadu_si512(multiplier);
    const __m512i n = _mm512_loadu_si512(shift);
    const __m512i least = _mm512_set1_epi64(31);
    const __m512i half = _mm512_set1_epi64(INT64_C(1) << 30);
    const __m512i even_shift = _mm512_and_si512(n, _mm512_set1_epi64(0xFFFFFFFF));
    const __m512i more = _mm512_sub_epi64(_mm512_srli_epi64(n, 32), least);
    const __m512i odd_shift = _mm512_max_epi64(_mm512_sub_epi64(more, _mm512_set1_epi64(1)),
            _mm512_setzero_si512());
    const __m512i odd_left = _mm512_sub_epi64(_mm512_set1_epi64(1),
            _mm512_min_epi64(more, _mm512_set1_epi64(1)));

    return (aq_multiplier){factor, _mm512_srli_epi64(factor, 32),
        _mm512_sllv_epi64(half, _mm512_sub_epi64(even_shift, least)),
        _mm512_sllv_epi64(half, more), even_shift, odd_left, odd_shift};
}

static inline __attribute__((always_inline)) __m512i aq_multiplied(__m512i t, aq_multiplier m)
{
    const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(t, m.even), m.even_half);
    const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(t, 32), m.odd),
            m.odd_half);

    return _mm512_mask_blend_epi32(0xAAAA, _mm512_srav_epi64(even, m.even_shift),
            _mm512_srav_epi64(_mm512_sllv_epi64(odd, m.odd_left), m.odd_shift));
}

/* Whether a requantization is one of those. */
static inline int aq_in_registers(const aq_finish *f)
{
    return f->output_size == 1 && f->residual_size <= 1 && aq_small_offset(f)
            && (f->form == AQ_RIGHT_SHIFTS || (f->form == AQ_MULTIPLIER_HALF_UP && f->wide));
}

/* Narrow four vectors of 16 values, each plus the offset, to 64 bytes in order. */
static inline __attribute__((always_inline)) __m512i aq_narrowed(__m512i a, __m512i b, __m512i c,
        __m512i d, __m512i offset)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(a, b), offset);
    const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(c, d), offset);

    return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high));
}

/* Write the first `count` of 16 * V bytes. */
static inline __attribute__((always_inline)) void aq_store_row(const int V, uint8_t *y,
        __m512i bytes, ptrdiff_t count)
{
    if (count != 16 * V || V == 3) {
        _mm512_mask_storeu_epi8(y, (UINT64_C(1) << count) - 1, bytes);
    } else if (V == 4) {
        _mm512_storeu_si512(y, bytes);
    } else if (V == 2) {
        _mm256_storeu_si256((__m256i *)y, _mm512_castsi512_si256(bytes));
    } else {
        _mm_storeu_si128((__m128i *)y, _mm512_castsi512_si128(bytes));
    }
}

static inline __attribute__((always_inline)) int aq_finish_sums(const int M, const int V,
        __m512i sums[AQ_TILE_ROWS][AQ_TILE_VECTORS], const aq_sink *sink)
{
    const aq_finish *f = sink->finish;
    const __m512i offset = _mm512_set1_epi16((short)f->offset);
    const __m512i lower = _mm512_set1_epi8((char)f->lower);
    const ptrdiff_t stride = sink->stride;
    const ptrdiff_t columns = sink->columns;
    /* Rows that 64 bytes hold, and vector k of those from row i on. */
    const int together = (V == 3) ? 1 : (4 / V);
#define AQ_UPPER(k) _mm512_loadu_si512(f->upper + sink->first + (((k) % V) * AQ_LANES))
#define AQ_SUM(k) sums[(i + ((k) / V) < M) ? (i + ((k) / V)) : (M - 1)][(k) % V]
    const __m512i upper = aq_narrowed(AQ_UPPER(0), AQ_UPPER(1), AQ_UPPER(2), AQ_UPPER(3),
            _mm512_setzero_si512());

    if (!aq_in_registers(f)) {
        return 0;
    }
    if (f->residual_size) {
        const uint8_t *r = sink->residual + sink->index;

        AQ_UNROLL for (int j = 0; j < V; j++) {
            const __m512i factor = _mm512_loadu_si512(f->factor + sink->first + (j * AQ_LANES));

            AQ_UNROLL for (int i = 0; i < M; i++) {
                const __m128i bytes = _mm_loadu_si128((const __m128i *)(r + (i * stride)
                        + (j * AQ_LANES)));
                sums[i][j] = _mm512_add_epi32(sums[i][j],
                        _mm512_mullo_epi32(_mm512_cvtepi8_epi32(bytes), factor));
            }
        }
    }
    AQ_UNROLL for (int j = 0; j < V; j++) {
        const ptrdiff_t first = sink->first + (j * AQ_LANES);

        if (f->form == AQ_RIGHT_SHIFTS) {
            const __m512i shift = _mm512_loadu_si512(f->shift + first);

            AQ_UNROLL for (int i = 0; i < M; i++) {
                sums[i][j] = _mm512_srav_epi32(sums[i][j], shift);
            }
        } else {
            const aq_multiplier m = aq_multiplier_of(f->multiplier + first, f->shift + first);

            AQ_UNROLL for (int i = 0; i < M; i++) {
                sums[i][j] = aq_multiplied(sums[i][j], m);
            }
        }
    }
    AQ_UNROLL for (int i = 0; i < M; i += together) {
        uint8_t *y = sink->target + sink->index + (i * stride);
        __m512i bytes = aq_narrowed(AQ_SUM(0), AQ_SUM(1), AQ_SUM(2), AQ_SUM(3), offset);

        bytes = _mm512_min_epi8(_mm512_max_epi8(bytes, lower), upper);
        if (together > 1 && i + together <= M && columns == stride && columns == 16 * V) {
            _mm512_storeu_si512(y, bytes);
            continue;
        }
        aq_store_row(V, y, bytes, columns);
        if (together > 1 && i + 1 < M) {
            aq_store_row(V, y + stride, (V == 2) ? _mm512_shuffle_i64x2(bytes, bytes, 0xEE)
                    : _mm512_shuffle_i64x2(bytes, bytes, 0x55), columns);
        }
        if (together > 2 && i + 2 < M) {
            aq_store_row(V, y + (2 * stride), _mm512_shuffle_i64x2(bytes, bytes, 0xAA), columns);
        }
        if (together > 2 && i + 3 < M) {
            aq_store_row(V, y + (3 * stride), _mm512_shuffle_i64x2(bytes, bytes, 0xFF), columns);
        }
    }
#undef AQ_UPPER
#undef AQ_SUM
    return 1;
}

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
