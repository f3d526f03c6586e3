/* The multiply-accumulate loop of the affine layers.
 *
 * Every partial sum fits in int32: the caller's overflow proof bounds the sum of the absolute
 * values.  A product of two int16 fits as well; weights are symmetric, so that -32768 * -32768
 * never meets its own kind in a pair.
 */
#ifndef AQ_MATMUL_H
#define AQ_MATMUL_H

#include <stddef.h>
#include <stdint.h>

#include "multiversion.h"

/* acc[r * stride + o] = bias[o] + sum over i of rows[r * depth + i] * weight[o * depth + i].
 *
 * Two rows by four outputs at a time: six loads feed eight products.  A depth that is a multiple
 * of AQ_DEPTH leaves no remainder to the vector loop.
 */
#define AQ_DEPTH 16

AQ_MULTIVERSION
static void aq_matmul(const int16_t *rows, ptrdiff_t row_count, const int16_t *weight,
        ptrdiff_t output_count, ptrdiff_t depth, const int32_t *bias, int32_t *acc,
        ptrdiff_t stride)
{
    ptrdiff_t r = 0;

    for (; r + 2 <= row_count; r += 2) {
        const int16_t *a0 = rows + (r * depth);
        const int16_t *a1 = a0 + depth;
        int32_t *y0 = acc + (r * stride);
        int32_t *y1 = y0 + stride;
        ptrdiff_t o = 0;

        for (; o + 4 <= output_count; o += 4) {
            const int16_t *b0 = weight + (o * depth);
            const int16_t *b1 = b0 + depth;
            const int16_t *b2 = b1 + depth;
            const int16_t *b3 = b2 + depth;
            int32_t s00 = 0;
            int32_t s01 = 0;
            int32_t s02 = 0;
            int32_t s03 = 0;
            int32_t s10 = 0;
            int32_t s11 = 0;
            int32_t s12 = 0;
            int32_t s13 = 0;

            for (ptrdiff_t i = 0; i < depth; i++) {
                s00 += (int32_t)a0[i] * b0[i];
                s01 += (int32_t)a0[i] * b1[i];
                s02 += (int32_t)a0[i] * b2[i];
                s03 += (int32_t)a0[i] * b3[i];
                s10 += (int32_t)a1[i] * b0[i];
                s11 += (int32_t)a1[i] * b1[i];
                s12 += (int32_t)a1[i] * b2[i];
                s13 += (int32_t)a1[i] * b3[i];
            }
            y0[o] = bias[o] + s00;
            y0[o + 1] = bias[o + 1] + s01;
            y0[o + 2] = bias[o + 2] + s02;
            y0[o + 3] = bias[o + 3] + s03;
            y1[o] = bias[o] + s10;
            y1[o + 1] = bias[o + 1] + s11;
            y1[o + 2] = bias[o + 2] + s12;
            y1[o + 3] = bias[o + 3] + s13;
        }
        for (; o < output_count; o++) {
            const int16_t *b = weight + (o * depth);
            int32_t s0 = 0;
            int32_t s1 = 0;

            for (ptrdiff_t i = 0; i < depth; i++) {
                s0 += (int32_t)a0[i] * b[i];
                s1 += (int32_t)a1[i] * b[i];
            }
            y0[o] = bias[o] + s0;
            y1[o] = bias[o] + s1;
        }
    }
    for (; r < row_count; r++) {
        const int16_t *a = rows + (r * depth);

        for (ptrdiff_t o = 0; o < output_count; o++) {
            const int16_t *b = weight + (o * depth);
            int32_t s = 0;

            for (ptrdiff_t i = 0; i < depth; i++) {
                s += (int32_t)a[i] * b[i];
            }
            acc[(r * stride) + o] = bias[o] + s;
        }
    }
}

#endif /* AQ_MATMUL_H */
