/* The requantizations of int8 networks on vectors of 256 bits; a part of vnni256.h and isa_avx2.c,
 * before steps.h.
 */
#define AQ_FINISH_TILE aq_finish_tile_vectors
#include "finish.h"

/* Four lanes that are scaled in 64 bits, half up, as aq_half_up: sums are lifted by 2**62 before an
 * unsigned shift, so are the bounds behind it, and `back` takes the lift away and adds the offset.
 */
typedef struct aq_scaling {
    __m256i scale, added, shift, least, most, back;
} aq_scaling;

/* Of the lanes 0, 2, 4 and 6 of each. */
static inline __attribute__((always_inline)) aq_scaling aq_scaling_of(__m256i scale, __m256i shift,
        int32_t lower, __m256i upper, int32_t offset)
{
    const __m256i lift = _mm256_set1_epi64x(INT64_C(1) << 62);
    const __m256i low = _mm256_set1_epi64x(0xFFFFFFFF);
    const __m256i n = _mm256_and_si256(shift, low);
    const __m256i lifted = _mm256_srlv_epi64(lift, n);
    const __m256i half = _mm256_srli_epi64(_mm256_sllv_epi64(_mm256_set1_epi64x(1), n), 1);
    const __m256i back = _mm256_sub_epi64(lifted, _mm256_set1_epi64x(offset));
    /* `upper` as 64 bits: its sign goes to the upper half, and back to 0 again. */
    const __m256i sign = _mm256_set1_epi64x(INT64_C(1) << 31);
    const __m256i wide = _mm256_sub_epi64(
            _mm256_xor_si256(_mm256_and_si256(upper, low), sign), sign);

    return (aq_scaling){scale, _mm256_add_epi64(lift, half), n,
        _mm256_add_epi64(back, _mm256_set1_epi64x(lower)), _mm256_add_epi64(back, wide), back};
}

/* Outputs of the lanes 0, 2, 4 and 6, which have 64 bits each. */
static inline __attribute__((always_inline)) __m256i aq_scaled(__m256i t, const aq_scaling *s)
{
    t = _mm256_srlv_epi64(_mm256_add_epi64(_mm256_mul_epi32(t, s->scale), s->added), s->shift);
    t = _mm256_blendv_epi8(t, s->least, _mm256_cmpgt_epi64(s->least, t));
    t = _mm256_blendv_epi8(t, s->most, _mm256_cmpgt_epi64(t, s->most));
    return _mm256_sub_epi64(t, s->back);
}

/* Write the first `count` of 8 values of 32 bits, all within int8. */
static inline __attribute__((always_inline)) void aq_store8(int8_t *y, __m256i t, ptrdiff_t count)
{
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(t),
            _mm256_extracti128_si256(t, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);

    if (count >= 8) {
        _mm_storel_epi64((__m128i *)y, bytes);
    } else {
        int8_t some[8];

        _mm_storel_epi64((__m128i *)some, bytes);
        for (ptrdiff_t i = 0; i < count; i++) {
            y[i] = some[i];
        }
    }
}

/* One vector of channels of every row, as int8, then the next. */
static inline __attribute__((always_inline)) void aq_finish_vectors(const int multiplied,
        const int added, const aq_finish *f, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t columns,
        ptrdiff_t width, const int32_t *acc, const int8_t *r, int8_t *y, ptrdiff_t stride)
{
    const __m256i offset = _mm256_set1_epi32(f->offset);

    for (ptrdiff_t j = 0; j < columns; j += 8) {
        const ptrdiff_t c = first + j;
        const __m256i shift = _mm256_loadu_si256((const __m256i *)(f->shift + c));
        const __m256i upper = _mm256_loadu_si256((const __m256i *)(f->upper + c));
        const __m256i factor = _mm256_loadu_si256((const __m256i *)(f->factor + c));
        const __m256i scale = _mm256_loadu_si256((const __m256i *)(f->multiplier + c));
        const aq_scaling even = aq_scaling_of(scale, shift, f->lower, upper, f->offset);
        const aq_scaling odd = aq_scaling_of(_mm256_srli_epi64(scale, 32),
                _mm256_srli_epi64(shift, 32), f->lower, _mm256_srli_epi64(upper, 32), f->offset);
        /* Bounds of int8 less the offset cannot leave int32, nor can a sum that is within them. */
        const __m256i least = _mm256_sub_epi32(_mm256_set1_epi32(f->lower), offset);
        const __m256i most = _mm256_sub_epi32(upper, offset);

        for (ptrdiff_t i = 0; i < rows; i++) {
            __m256i t = _mm256_loadu_si256((const __m256i *)(acc + (i * width) + j));
            if (added) {
                /* May read behind the last channel: engine.py leaves room there. */
                const __m128i bytes = _mm_loadl_epi64((const __m128i *)(r + (i * stride) + j));
                t = _mm256_add_epi32(t, _mm256_mullo_epi32(_mm256_cvtepi8_epi32(bytes), factor));
            }
            if (multiplied) {
                t = _mm256_blend_epi32(aq_scaled(t, &even),
                        _mm256_slli_epi64(aq_scaled(_mm256_srli_epi64(t, 32), &odd), 32), 0xAA);
            } else {
                t = _mm256_srav_epi32(t, shift);
                t = _mm256_add_epi32(_mm256_min_epi32(_mm256_max_epi32(t, least), most), offset);
            }
            aq_store8(y + (i * stride) + j, t, columns - j);
        }
    }
}

#include "finish_vectors.h"
