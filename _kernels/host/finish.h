/* The rounding of the integer contract (version 1) on rows of accumulators; see requant.pxd.
 *
 * Included by every instruction set; all functions are static.  One that has a faster way for some
 * forms defines AQ_FINISH_TILE as its own function before.
 */
#ifndef AQ_FINISH_H
#define AQ_FINISH_H

#include "engine.h"

/* Adding 2**62 and taking 2**62 >> n away again makes an unsigned shift of a signed one, which
 * more instruction sets have in vectors; |value| < 2**62.
 */
static inline int64_t aq_floor_shift64(int64_t value, int32_t n)
{
    const uint64_t lift = UINT64_C(1) << 62;

    return (int64_t)(((uint64_t)value + lift) >> n) - (int64_t)(lift >> n);
}

static inline int64_t aq_half_up(int64_t value, int32_t n)
{
    return aq_floor_shift64(value + (int64_t)((UINT64_C(1) << n) >> 1), n);
}

static inline int64_t aq_half_even(int64_t value, int32_t n)
{
    const int64_t odd = aq_floor_shift64(value, n) & 1;

    return aq_floor_shift64(value + (int64_t)((UINT64_C(1) << n) >> 1) - 1 + odd, n);
}

/* value * 2**-n for n < 0; it fits, by the overflow proof. */
static inline int32_t aq_any_shift(int32_t value, int32_t n)
{
    return (n >= 0) ? (value >> n) : (int32_t)((uint32_t)value << -n);
}

#define AQ_CLIP(type, t) (type)(((t) < lower) ? lower : (((t) > upper[c]) ? upper[c] : (t)))

#define AQ_FINISH_ROW(type) \
static void aq_finish_row_##type(const aq_finish *f, ptrdiff_t first, ptrdiff_t count, \
        const int32_t *restrict acc, type *restrict y) \
{ \
    const int32_t *restrict shift = f->shift + first; \
    const int32_t *restrict factor = f->multiplier + first; \
    const int32_t *restrict upper = f->upper + first; \
    const int32_t offset = f->offset; \
    const int32_t lower = f->lower; \
    \
    switch (f->form) { \
    case AQ_RIGHT_SHIFTS: \
        for (ptrdiff_t c = 0; c < count; c++) { \
            const int32_t t = (acc[c] >> shift[c]) + offset; \
            y[c] = AQ_CLIP(type, t); \
        } \
        break; \
    case AQ_SHIFT_HALF_UP: \
        for (ptrdiff_t c = 0; c < count; c++) { \
            const int32_t t = aq_any_shift(acc[c], shift[c]) + offset; \
            y[c] = AQ_CLIP(type, t); \
        } \
        break; \
    case AQ_SHIFT_HALF_EVEN: \
        for (ptrdiff_t c = 0; c < count; c++) { \
            const int64_t t = offset + ((shift[c] > 0) ? aq_half_even(acc[c], shift[c]) \
                    : (int64_t)aq_any_shift(acc[c], shift[c])); \
            y[c] = AQ_CLIP(type, t); \
        } \
        break; \
    case AQ_MULTIPLIER_HALF_UP: \
        for (ptrdiff_t c = 0; c < count; c++) { \
            const int64_t t = offset + aq_half_up((int64_t)acc[c] * factor[c], shift[c]); \
            y[c] = AQ_CLIP(type, t); \
        } \
        break; \
    default: \
        for (ptrdiff_t c = 0; c < count; c++) { \
            const int64_t t = offset + aq_half_even((int64_t)acc[c] * factor[c], shift[c]); \
            y[c] = AQ_CLIP(type, t); \
        } \
    } \
}

AQ_FINISH_ROW(int8_t)
AQ_FINISH_ROW(int16_t)
AQ_FINISH_ROW(int32_t)

/* Add factor * residual to the accumulators of one row; the sum fits, by the overflow proof. */
static void aq_add_residual(const aq_finish *f, ptrdiff_t first, ptrdiff_t count,
        const uint8_t *residual, int32_t *restrict acc)
{
    const int32_t *restrict factor = f->factor + first;

    if (f->residual_size == 1) {
        const int8_t *r = (const int8_t *)residual;
        for (ptrdiff_t c = 0; c < count; c++) {
            acc[c] += factor[c] * r[c];
        }
    } else {
        const int16_t *r = (const int16_t *)residual;
        for (ptrdiff_t c = 0; c < count; c++) {
            acc[c] += factor[c] * r[c];
        }
    }
}

static inline void aq_finish_row(const aq_finish *f, ptrdiff_t first, ptrdiff_t count,
        const int32_t *acc, uint8_t *y)
{
    if (f->output_size == 1) {
        aq_finish_row_int8_t(f, first, count, acc, (int8_t *)y);
    } else if (f->output_size == 2) {
        aq_finish_row_int16_t(f, first, count, acc, (int16_t *)y);
    } else {
        aq_finish_row_int32_t(f, first, count, acc, (int32_t *)y);
    }
}

/* Where the accumulators of a tile go: row i to value index + i * stride of the target. */
typedef struct aq_sink {
    const aq_finish *finish;
    const uint8_t *residual;
    uint8_t *target;
    ptrdiff_t first;   /* the channel that the first column is */
    ptrdiff_t columns; /* used ones */
    ptrdiff_t index, stride;
} aq_sink;

/* Finish `rows` rows of accumulators, `columns` of them used and `width` apart; row i goes to
 * value index + i * stride of the output, and reads the same place of the residual.
 */
static void aq_finish_tile_any(const aq_finish *f, ptrdiff_t first, ptrdiff_t rows,
        ptrdiff_t columns, ptrdiff_t width, int32_t *acc, const uint8_t *residual,
        uint8_t *target, ptrdiff_t index, ptrdiff_t stride)
{
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t place = index + (i * stride);
        if (f->residual_size) {
            aq_add_residual(f, first, columns, residual + (place * f->residual_size),
                    acc + (i * width));
        }
        aq_finish_row(f, first, columns, acc + (i * width), target + (place * f->output_size));
    }
}

/* Whether the offset is a zero point of int8, as those of networks are that were made here: vectors
 * add it in 16 bits.
 */
static inline int aq_small_offset(const aq_finish *f)
{
    return f->offset == (int8_t)f->offset;
}

#ifndef AQ_FINISH_TILE
#define AQ_FINISH_TILE aq_finish_tile_any
#endif

#endif /* AQ_FINISH_H */
