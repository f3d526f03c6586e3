/* The requantizations of int8 networks on vectors of 512 bits; a part of isa_avx512vnni.c, before its
 * tiles.
 */
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
