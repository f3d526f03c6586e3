/* What the instruction sets of aarch64 share: vectors of 8 sums, products of int16, and the
 * finishing of int8 outputs.  Included by isa_neon.c and isa_neondot.c before steps.h.
 *
 * Two registers make a vector of sums: a multiplication of one register of weights by one value
 * then needs no more of them than there are sums.
 */
#include <arm_neon.h>
#include <string.h>

#include "engine.h"
#include "tile_rows.h"

#define AQ_LANES 8
#define AQ_VECTORS 2

typedef struct aq_sums {
    int32x4_t low, high;
} aq_sums;

static inline __attribute__((always_inline)) aq_sums aq_load_sums(const int32_t *p)
{
    return (aq_sums){vld1q_s32(p), vld1q_s32(p + 4)};
}

static inline __attribute__((always_inline)) void aq_store_sums(int32_t *p, aq_sums sums)
{
    vst1q_s32(p, sums.low);
    vst1q_s32(p + 4, sums.high);
}

#define AQ_VEC aq_sums
#define AQ_LOAD(p) aq_load_sums(p)
#define AQ_STORE(p, v) aq_store_sums((p), (v))

/* Weights of two steps, for 8 channels each. */
typedef struct aq_pairs {
    int16x8_t first, second;
} aq_pairs;

static inline __attribute__((always_inline)) aq_pairs aq_load_pairs(const uint8_t *p)
{
    const int16x8x2_t pairs = vld2q_s16((const int16_t *)(const void *)p);

    return (aq_pairs){pairs.val[0], pairs.val[1]};
}

/* The four bytes at p; a product takes one lane of them. */
static inline __attribute__((always_inline)) uint32x2_t aq_load_quad(const void *p)
{
    uint32_t quad;

    memcpy(&quad, p, sizeof quad);
    return vset_lane_u32(quad, vdup_n_u32(0), 0);
}

static inline __attribute__((always_inline)) aq_sums aq_dot2(aq_sums sums, int16x4_t a,
        aq_pairs w)
{
    sums.low = vmlal_lane_s16(sums.low, vget_low_s16(w.first), a, 0);
    sums.high = vmlal_high_lane_s16(sums.high, w.first, a, 0);
    sums.low = vmlal_lane_s16(sums.low, vget_low_s16(w.second), a, 1);
    sums.high = vmlal_high_lane_s16(sums.high, w.second, a, 1);
    return sums;
}

#define AQ_FINISH_TILE aq_finish_tile_vectors
#include "finish.h"

/* Half up: (t * scale + half) >> shift, held within int32; the sum in between does not wrap. */
static inline __attribute__((always_inline)) int32x4_t aq_scaled(int32x4_t t, int32x4_t scale,
        int32x4_t left)
{
    const int64x2_t low = vmull_s32(vget_low_s32(t), vget_low_s32(scale));
    const int64x2_t high = vmull_high_s32(t, scale);
    const int32x2_t narrow = vqmovn_s64(vrshlq_s64(low, vmovl_s32(vget_low_s32(left))));

    return vqmovn_high_s64(narrow, vrshlq_s64(high, vmovl_high_s32(left)));
}

/* What one register of sums becomes, as 32 bits less the offset. */
static inline __attribute__((always_inline)) int32x4_t aq_finished(const int multiplied,
        const int added, const aq_finish *f, ptrdiff_t c, int32x4_t t, int16x4_t residual)
{
    const int32x4_t offset = vdupq_n_s32(f->offset);
    const int32x4_t left = vnegq_s32(vld1q_s32(f->shift + c));
    /* Bounds of int8 less the offset cannot leave int32, nor can a sum that is within them. */
    const int32x4_t least = vsubq_s32(vdupq_n_s32(f->lower), offset);
    const int32x4_t most = vsubq_s32(vld1q_s32(f->upper + c), offset);

    if (added) {
        t = vmlaq_s32(t, vmovl_s16(residual), vld1q_s32(f->factor + c));
    }
    t = multiplied ? aq_scaled(t, vld1q_s32(f->multiplier + c), left) : vshlq_s32(t, left);
    return vaddq_s32(vminq_s32(vmaxq_s32(t, least), most), offset);
}

/* Eight channels of every row, as int8, then the next eight. */
static inline __attribute__((always_inline)) void aq_finish_vectors(const int multiplied,
        const int added, const aq_finish *f, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t columns,
        ptrdiff_t width, const int32_t *acc, const int8_t *r, int8_t *y, ptrdiff_t stride)
{
    for (ptrdiff_t j = 0; j < columns; j += 8) {
        for (ptrdiff_t i = 0; i < rows; i++) {
            const int32_t *sums = acc + (i * width) + j;
            /* May read behind the last channel: engine.py leaves room there. */
            const int16x8_t residual = added ? vmovl_s8(vld1_s8(r + (i * stride) + j))
                    : vdupq_n_s16(0);
            const int32x4_t low = aq_finished(multiplied, added, f, first + j, vld1q_s32(sums),
                    vget_low_s16(residual));
            const int32x4_t high = aq_finished(multiplied, added, f, first + j + 4,
                    vld1q_s32(sums + 4), vget_high_s16(residual));
            const int8x8_t bytes = vmovn_s16(vmovn_high_s32(vmovn_s32(low), high));

            if (columns - j >= 8) {
                vst1_s8(y + (i * stride) + j, bytes);
            } else {
                int8_t some[8];

                vst1_s8(some, bytes);
                for (ptrdiff_t k = 0; k < columns - j; k++) {
                    y[(i * stride) + j + k] = some[k];
                }
            }
        }
    }
}

#include "finish_vectors.h"

/* --- Tiles of int16 */

#define AQ_NAME(x) s16_##x
#define AQ_OPERAND int16_t
#define AQ_W aq_pairs
#define AQ_LOAD_W(p) aq_load_pairs(p)
#define AQ_SPLATTED int16x4_t
#define AQ_SPLAT(p) vreinterpret_s16_u32(aq_load_quad(p))
#define AQ_DOT(acc, a, w) ((acc) = aq_dot2((acc), (a), (w)))
#include "tiles.h"
#undef AQ_NAME
#undef AQ_OPERAND
#undef AQ_W
#undef AQ_LOAD_W
#undef AQ_SPLATTED
#undef AQ_SPLAT
#undef AQ_DOT
