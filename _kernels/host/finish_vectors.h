/* The forms that int8 networks have, by aq_finish_vectors(multiplied, added, ...), which is defined
 * before; the loops of all instruction sets for the others.
 */
#ifndef AQ_FINISH_VECTORS_H
#define AQ_FINISH_VECTORS_H

#include "finish.h"

static void aq_finish_tile_vectors(const aq_finish *f, ptrdiff_t first, ptrdiff_t rows,
        ptrdiff_t columns, ptrdiff_t width, int32_t *acc, const uint8_t *residual,
        uint8_t *target, ptrdiff_t index, ptrdiff_t stride)
{
    int8_t *y = (int8_t *)target + index;
    const int8_t *r = f->residual_size ? ((const int8_t *)residual + index) : NULL;

    if (f->output_size != 1 || f->residual_size > 1 || !aq_small_offset(f)
            || (f->form != AQ_RIGHT_SHIFTS && f->form != AQ_MULTIPLIER_HALF_UP)) {
        aq_finish_tile_any(f, first, rows, columns, width, acc, residual, target, index, stride);
    } else if (f->form == AQ_RIGHT_SHIFTS && r == NULL) {
        aq_finish_vectors(0, 0, f, first, rows, columns, width, acc, r, y, stride);
    } else if (f->form == AQ_RIGHT_SHIFTS) {
        aq_finish_vectors(0, 1, f, first, rows, columns, width, acc, r, y, stride);
    } else if (r == NULL) {
        aq_finish_vectors(1, 0, f, first, rows, columns, width, acc, r, y, stride);
    } else {
        aq_finish_vectors(1, 1, f, first, rows, columns, width, acc, r, y, stride);
    }
}

#endif /* AQ_FINISH_VECTORS_H */
