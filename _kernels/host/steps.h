/* The steps, for one instruction set: the last thing that its isa_NAME.c includes.
 *
 * Before come the tiles for int8 data (s8_tiles, where AQ_S8_OPERAND is int8_t) and for int16 data
 * (s16_tiles), AQ_LANES, AQ_VECTORS and AQ_ROWS(V), most rows of a tile with V vectors.
 */
#include <string.h>

#include "finish.h"

/* Packed weights up to this size stay in the cache while the pixels pass by. */
#define AQ_WEIGHTS_IN_CACHE (384 * 1024)

static inline const uint8_t *aq_tensor(const aq_workspace *w, ptrdiff_t offset)
{
    return w->arena + (offset * w->room);
}

/* --- Copies of images with a border */

static void aq_fill8(int8_t *y, ptrdiff_t count, int32_t value)
{
    memset(y, (uint8_t)value, (size_t)count);
}

static void aq_fill16(int16_t *y, ptrdiff_t count, int32_t value)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        y[i] = (int16_t)value;
    }
}

static void aq_copy_8_8(const void *x, ptrdiff_t count, int8_t *y)
{
    memcpy(y, x, (size_t)count);
}

static void aq_copy_8_16(const void *x, ptrdiff_t count, int16_t *restrict y)
{
    const int8_t *restrict from = x;

    for (ptrdiff_t i = 0; i < count; i++) {
        y[i] = from[i];
    }
}

static void aq_copy_16_16(const void *x, ptrdiff_t count, int16_t *y)
{
    memcpy(y, x, (size_t)count * 2);
}

#define AQ_BORDERED(name, type, fill, copy) \
static void name(const aq_images *s, const uint8_t *x, ptrdiff_t batch, type *y) \
{ \
    const ptrdiff_t row = s->width * s->channels; \
    const ptrdiff_t left = s->left * s->channels; \
    const ptrdiff_t wide = s->padded_width * s->channels; \
    \
    for (ptrdiff_t n = 0; n < batch; n++) { \
        fill(y, s->top * wide, s->pad_value); \
        y += s->top * wide; \
        for (ptrdiff_t i = 0; i < s->height; i++) { \
            fill(y, left, s->pad_value); \
            copy(x, row, y + left); \
            fill(y + left + row, wide - left - row, s->pad_value); \
            x += row * s->size; \
            y += wide; \
        } \
        fill(y, (s->padded_height - s->top - s->height) * wide, s->pad_value); \
        y += (s->padded_height - s->top - s->height) * wide; \
    } \
}
AQ_BORDERED(aq_bordered_8_8, int8_t, aq_fill8, aq_copy_8_8)
AQ_BORDERED(aq_bordered_8_16, int16_t, aq_fill16, aq_copy_8_16)
AQ_BORDERED(aq_bordered_16_16, int16_t, aq_fill16, aq_copy_16_16)

/* Return where the values of the images lie that the products read. */
static const uint8_t *aq_operands(const aq_images *s, const uint8_t *x, const aq_workspace *w)
{
    if (!s->copied) {
        return x;
    }
    if (s->operand_size == 1) {
        aq_bordered_8_8(s, x, w->batch, (int8_t *)w->scratch);
    } else if (s->size == 1) {
        aq_bordered_8_16(s, x, w->batch, (int16_t *)w->scratch);
    } else {
        aq_bordered_16_16(s, x, w->batch, (int16_t *)w->scratch);
    }
    return w->scratch;
}

/* --- Convolution and fully connected layer */

/* What the tiles of one call share. */
typedef struct aq_tiling {
    const aq_affine *layer;
    const uint8_t *x;
    const uint8_t *residual;
    uint8_t *target;
    ptrdiff_t group;
} aq_tiling;

/* Vectors of the block of output channels that begins at vector `first` and ends before `stop`. */
static ptrdiff_t aq_block_vectors(ptrdiff_t first, ptrdiff_t stop)
{
    return (stop - first < AQ_VECTORS) ? (stop - first) : AQ_VECTORS;
}

/* Point at the windows of the output pixels [begin, end) of all images. */
static void aq_windows(const aq_tiling *t, ptrdiff_t begin, ptrdiff_t end,
        const void *rows[AQ_TILE_ROWS])
{
    const aq_affine *s = t->layer;
    const ptrdiff_t size = s->images.operand_size;
    const ptrdiff_t image = (ptrdiff_t)((uint64_t)begin / (uint64_t)s->pixel_count);
    const uint8_t *x = t->x
            + (((t->group * s->group_channels) + (image * s->image_values)) * size);
    ptrdiff_t pixel = begin - (image * s->pixel_count);

    for (ptrdiff_t i = 0; i < end - begin; i++) {
        rows[i] = x + (s->pixels[pixel] * size);
        if (++pixel == s->pixel_count) {
            pixel = 0;
            x += s->image_values * size;
        }
    }
}

/* Compute `count` pixels from `begin`, and the channels of V vectors from vector v. */
static void aq_tile(const aq_tiling *t, const void *const *rows, ptrdiff_t begin,
        ptrdiff_t count, ptrdiff_t v, ptrdiff_t V)
{
    const aq_affine *s = t->layer;
    const ptrdiff_t vectors = (s->group_outputs + AQ_LANES - 1) / AQ_LANES;
    const ptrdiff_t channel = v * AQ_LANES;
    const ptrdiff_t left = s->group_outputs - channel;
    const ptrdiff_t step = AQ_LANES * 4; /* bytes of a vector of weights of one step */
    const uint8_t *weight = (const uint8_t *)s->weight
            + (((t->group * vectors) + v) * s->steps * step);
    const ptrdiff_t place = (t->group * vectors * AQ_LANES) + channel;
    const ptrdiff_t outputs = s->groups * s->group_outputs;
    int32_t acc[AQ_TILE_SIZE] __attribute__((aligned(64)));

#if AQ_S8_DIRECT
    if (s->images.operand_size == 1) {
        s8_tiles[V][count]((const int8_t *const *)rows, s->offsets, s->steps, weight,
                s->bias + place, acc);
    } else
#endif
    {
        s16_tiles[V][count]((const int16_t *const *)rows, s->offsets, s->steps, weight,
                s->bias + place, acc);
    }
    AQ_FINISH_TILE(&s->finish, place, count, (left < V * AQ_LANES) ? left : (V * AQ_LANES),
            V * AQ_LANES, acc, t->residual, t->target,
            (begin * outputs) + (t->group * s->group_outputs) + channel, outputs);
}

static void aq_run_affine(const void *step, const aq_workspace *w)
{
    const aq_affine *s = step;
    const ptrdiff_t pixels = w->batch * s->pixel_count;
    const ptrdiff_t vectors = (s->group_outputs + AQ_LANES - 1) / AQ_LANES;
    const int cached = (vectors * s->steps * AQ_LANES * 4) <= AQ_WEIGHTS_IN_CACHE;
    /* The outer loop: over all blocks of channels at once, or one after the other. */
    const ptrdiff_t span = cached ? vectors : AQ_VECTORS;
    const void *rows[AQ_TILE_ROWS];
    aq_tiling t = {s, aq_operands(&s->images, aq_tensor(w, s->source), w),
        aq_tensor(w, s->residual), (uint8_t *)aq_tensor(w, s->target), 0};

    for (; t.group < s->groups; t.group++) {
        for (ptrdiff_t outer = 0; outer < vectors; outer += span) {
            const ptrdiff_t stop = (outer + span < vectors) ? (outer + span) : vectors;
            const ptrdiff_t most = AQ_ROWS(aq_block_vectors(outer, stop));
            const ptrdiff_t tiles = (pixels + most - 1) / most;
            /* All tiles have `least` pixels or one more, those first. */
            const ptrdiff_t least = pixels / tiles;
            const ptrdiff_t larger = pixels % tiles;
            ptrdiff_t begin = 0;
            for (ptrdiff_t i = 0; i < tiles; i++) {
                const ptrdiff_t count = least + ((i < larger) ? 1 : 0);
                aq_windows(&t, begin, begin + count, rows);
                for (ptrdiff_t v = outer; v < stop; v += AQ_VECTORS) {
                    aq_tile(&t, rows, begin, count, v, aq_block_vectors(v, stop));
                }
                begin += count;
            }
        }
    }
}

/* --- Depthwise convolution: 64 channels at a time, products of int16 */

static void aq_run_depthwise(const void *step, const aq_workspace *w)
{
    const aq_depthwise *s = step;
    const aq_images *m = &s->images;
    const int16_t *x = (const int16_t *)aq_operands(m, aq_tensor(w, s->source), w);
    const ptrdiff_t taps = s->kernel_height * s->kernel_width;
    int32_t acc[AQ_DEPTHWISE] __attribute__((aligned(64)));

    for (ptrdiff_t n = 0; n < w->batch; n++) {
        for (ptrdiff_t c = 0; c < m->channels; c += AQ_DEPTHWISE) {
            const ptrdiff_t left = m->channels - c;
            const ptrdiff_t count = (left < AQ_DEPTHWISE) ? left : AQ_DEPTHWISE;
            for (ptrdiff_t i = 0; i < s->height * s->width; i++) {
                const ptrdiff_t y0 = (i / s->width) * s->stride_y;
                const ptrdiff_t x0 = (i % s->width) * s->stride_x;
                const int16_t *weight = (const int16_t *)s->weight + (c * taps);
                memcpy(acc, s->bias + c, sizeof acc);
                for (ptrdiff_t k = 0; k < taps; k++) {
                    const ptrdiff_t row = y0 + ((k / s->kernel_width) * s->dilation_y);
                    const ptrdiff_t column = x0 + ((k % s->kernel_width) * s->dilation_x);
                    const int16_t *restrict from =
                            x + (((row * m->padded_width) + column) * m->channels) + c;
                    if (count == AQ_DEPTHWISE) {
                        for (ptrdiff_t j = 0; j < AQ_DEPTHWISE; j++) {
                            acc[j] += from[j] * weight[j];
                        }
                    } else {
                        for (ptrdiff_t j = 0; j < count; j++) {
                            acc[j] += from[j] * weight[j];
                        }
                    }
                    weight += AQ_DEPTHWISE;
                }
                AQ_FINISH_TILE(&s->finish, c, 1, count, AQ_DEPTHWISE, acc,
                        aq_tensor(w, s->residual), (uint8_t *)aq_tensor(w, s->target),
                        (((n * s->height * s->width) + i) * m->channels) + c, 0);
            }
        }
        x += m->padded_height * m->padded_width * m->channels;
    }
}

#if AQ_S8_DIRECT
#define AQ_DEPTHWISE_S8 aq_run_depthwise_s8
#include AQ_DEPTHWISE_HEADER
#else
#define AQ_DEPTHWISE_S8 NULL
#endif

/* --- Add and Rescale */

#define AQ_SUMS(type) \
static void aq_sums_##type(const aq_elementwise *s, const type *restrict a, \
        const type *restrict b, ptrdiff_t count, int32_t *restrict acc) \
{ \
    if (b == NULL) { \
        for (ptrdiff_t i = 0; i < count; i++) { \
            acc[i] = s->bias + (a[i] * s->factors[0]); \
        } \
    } else { \
        for (ptrdiff_t i = 0; i < count; i++) { \
            acc[i] = s->bias + (a[i] * s->factors[0]) + (b[i] * s->factors[1]); \
        } \
    } \
}
AQ_SUMS(int8_t)
AQ_SUMS(int16_t)

static void aq_run_elementwise(const void *step, const aq_workspace *w)
{
    const aq_elementwise *s = step;
    const uint8_t *a = aq_tensor(w, s->sources[0]);
    const uint8_t *b = s->binary ? aq_tensor(w, s->sources[1]) : NULL;
    uint8_t *y = (uint8_t *)aq_tensor(w, s->target);
    const ptrdiff_t total = s->count * w->batch;
    int32_t acc[AQ_BLOCK] __attribute__((aligned(64)));

    for (ptrdiff_t i = 0; i < total; i += AQ_BLOCK) {
        const ptrdiff_t count = (total - i < AQ_BLOCK) ? (total - i) : AQ_BLOCK;
        const uint8_t *second = b ? (b + (i * s->size)) : NULL;
        if (s->size == 1) {
            aq_sums_int8_t(s, (const int8_t *)a + i, (const int8_t *)second, count, acc);
        } else {
            aq_sums_int16_t(s, (const int16_t *)a + i, (const int16_t *)second, count, acc);
        }
        AQ_FINISH_TILE(&s->finish, 0, 1, count, AQ_BLOCK, acc, NULL, y, i, 0);
    }
}

/* --- Pools */

#define AQ_POOL_LOOPS(type) \
static void aq_total_##type(const type *restrict x, ptrdiff_t count, int32_t *restrict acc) \
{ \
    for (ptrdiff_t c = 0; c < count; c++) { \
        acc[c] += x[c]; \
    } \
} \
static void aq_largest_##type(const type *restrict x, ptrdiff_t count, type *restrict y) \
{ \
    for (ptrdiff_t c = 0; c < count; c++) { \
        y[c] = (x[c] > y[c]) ? x[c] : y[c]; \
    } \
} \
static void aq_max_pool_##type(const aq_pool *s, const aq_workspace *w) \
{ \
    const type *x = (const type *)aq_tensor(w, s->source); \
    type *y = (type *)aq_tensor(w, s->target); \
    const ptrdiff_t C = s->channels; \
    \
    for (ptrdiff_t n = 0; n < w->batch; n++) { \
        for (ptrdiff_t i = 0; i < s->height * s->width; i++) { \
            const ptrdiff_t y0 = ((i / s->width) * s->stride_y) - s->top; \
            const ptrdiff_t x0 = ((i % s->width) * s->stride_x) - s->left; \
            int first = 1; \
            for (ptrdiff_t ky = 0; ky < s->window_height; ky++) { \
                const ptrdiff_t row = y0 + (ky * s->dilation_y); \
                for (ptrdiff_t kx = 0; kx < s->window_width; kx++) { \
                    const ptrdiff_t column = x0 + (kx * s->dilation_x); \
                    const type *from = x + (((row * s->in_width) + column) * C); \
                    if (row < 0 || column < 0 || row >= s->in_height || column >= s->in_width) { \
                        continue; \
                    } \
                    if (first) { \
                        memcpy(y, from, (size_t)C * sizeof(type)); \
                        first = 0; \
                    } else { \
                        aq_largest_##type(from, C, y); \
                    } \
                } \
            } \
            y += C; \
        } \
        x += s->in_height * s->in_width * C; \
    } \
}
AQ_POOL_LOOPS(int8_t)
AQ_POOL_LOOPS(int16_t)

static void aq_run_max_pool(const void *step, const aq_workspace *w)
{
    const aq_pool *s = step;

    if (s->size == 1) {
        aq_max_pool_int8_t(s, w);
    } else {
        aq_max_pool_int16_t(s, w);
    }
}

/* Write clip(floor(acc / n + 1/2) + zero point); |2 * acc| + n < 2**31, by the overflow proof. */
static void aq_divide(const aq_pool *s, const int32_t *acc, ptrdiff_t count, int32_t n,
        uint8_t *y)
{
    for (ptrdiff_t c = 0; c < count; c++) {
        const int32_t numerator = (2 * acc[c]) + n;
        const int32_t quotient = numerator / (2 * n); /* towards 0 */
        int32_t t = quotient - ((numerator < quotient * 2 * n) ? 1 : 0) + s->zero_point;

        t = (t < s->lower) ? s->lower : ((t > s->upper) ? s->upper : t);
        if (s->size == 1) {
            ((int8_t *)y)[c] = (int8_t)t;
        } else {
            ((int16_t *)y)[c] = (int16_t)t;
        }
    }
}

static inline ptrdiff_t aq_max(ptrdiff_t a, ptrdiff_t b)
{
    return (a > b) ? a : b;
}

static inline ptrdiff_t aq_min(ptrdiff_t a, ptrdiff_t b)
{
    return (a < b) ? a : b;
}

/* The sums of windows, requantized or divided.  What lies outside counts as the zero point. */
static void aq_run_average_pool(const void *step, const aq_workspace *w)
{
    const aq_pool *s = step;
    const ptrdiff_t C = s->channels;
    const ptrdiff_t written = (s->counts == NULL) ? s->finish.output_size : s->size;
    const uint8_t *x = aq_tensor(w, s->source);
    uint8_t *y = (uint8_t *)aq_tensor(w, s->target);
    int32_t acc[AQ_BLOCK] __attribute__((aligned(64)));

    for (ptrdiff_t n = 0; n < w->batch; n++) {
        for (ptrdiff_t i = 0; i < s->height * s->width; i++) {
            const ptrdiff_t y0 = ((i / s->width) * s->stride_y) - s->top;
            const ptrdiff_t x0 = ((i % s->width) * s->stride_x) - s->left;
            const ptrdiff_t first_row = aq_max(y0, 0);
            const ptrdiff_t stop_row = aq_min(y0 + s->window_height, s->in_height);
            const ptrdiff_t first_column = aq_max(x0, 0);
            const ptrdiff_t stop_column = aq_min(x0 + s->window_width, s->in_width);
            const int32_t inside =
                    (int32_t)((stop_row - first_row) * (stop_column - first_column));
            const int32_t outside =
                    (int32_t)(s->window_height * s->window_width) - inside;
            /* A division takes the zero point from what is inside; a sum adds it for the rest. */
            const int32_t start = (s->counts == NULL) ? (s->bias + (outside * s->zero_point))
                    : -(inside * s->zero_point);

            for (ptrdiff_t c = 0; c < C; c += AQ_BLOCK) {
                const ptrdiff_t count = (C - c < AQ_BLOCK) ? (C - c) : AQ_BLOCK;
                for (ptrdiff_t j = 0; j < count; j++) {
                    acc[j] = start;
                }
                for (ptrdiff_t row = first_row; row < stop_row; row++) {
                    for (ptrdiff_t column = first_column; column < stop_column; column++) {
                        const uint8_t *from =
                                x + ((((row * s->in_width) + column) * C) + c) * s->size;
                        if (s->size == 1) {
                            aq_total_int8_t((const int8_t *)from, count, acc);
                        } else {
                            aq_total_int16_t((const int16_t *)from, count, acc);
                        }
                    }
                }
                if (s->counts == NULL) {
                    AQ_FINISH_TILE(&s->finish, 0, 1, count, AQ_BLOCK, acc, NULL, y, c, 0);
                } else {
                    aq_divide(s, acc, count, s->counts[i], y + (c * s->size));
                }
            }
            y += C * written;
        }
        x += s->in_height * s->in_width * C * s->size;
    }
}

/* --- Moves: Reshape, Slice, Pad, Concat */

static void aq_fill(uint8_t *y, ptrdiff_t bytes, int32_t size, int32_t value)
{
    if (size == 1) {
        memset(y, (uint8_t)value, (size_t)bytes);
    } else {
        for (ptrdiff_t i = 0; i < bytes; i += size) {
            if (size == 2) {
                const int16_t narrow = (int16_t)value;
                memcpy(y + i, &narrow, sizeof narrow);
            } else {
                memcpy(y + i, &value, sizeof value);
            }
        }
    }
}

static inline void aq_copy_row(const aq_move *s, const uint8_t *x, uint8_t *y)
{
    if (s->source_steps[3] == s->size && s->target_steps[3] == s->size) {
        memcpy(y, x, (size_t)(s->shape[3] * s->size));
        return;
    }
    for (ptrdiff_t i = 0; i < s->shape[3]; i++) {
        memcpy(y + (i * s->target_steps[3]), x + (i * s->source_steps[3]), (size_t)s->size);
    }
}

static void aq_run_move(const void *step, const aq_workspace *w)
{
    const aq_move *s = step;
    const ptrdiff_t *a = s->source_steps;
    const ptrdiff_t *b = s->target_steps;

    for (ptrdiff_t n = 0; n < w->batch; n++) {
        const uint8_t *x = aq_tensor(w, s->source) + (n * s->source_bytes) + s->source_first;
        uint8_t *y = (uint8_t *)aq_tensor(w, s->target) + (n * s->target_bytes);
        if (s->filled) {
            aq_fill(y, s->target_bytes, s->size, s->value);
        }
        y += s->target_first;
        for (ptrdiff_t i = 0; i < s->shape[0]; i++) {
            for (ptrdiff_t j = 0; j < s->shape[1]; j++) {
                for (ptrdiff_t k = 0; k < s->shape[2]; k++) {
                    aq_copy_row(s, x + (i * a[0]) + (j * a[1]) + (k * a[2]),
                            y + (i * b[0]) + (j * b[1]) + (k * b[2]));
                }
            }
        }
    }
}

const aq_isa AQ_ISA = {
    .name = AQ_ISA_NAME,
    .available = aq_isa_available,
    .lanes = AQ_LANES,
    .vectors = AQ_VECTORS,
    .operand_size = {AQ_S8_DIRECT ? 1 : 2, 2},
    .shifted = {AQ_S8_DIRECT ? AQ_S8_SHIFTED : 0, 0},
    .affine = aq_run_affine,
    .depthwise = aq_run_depthwise,
    .depthwise_s8 = AQ_DEPTHWISE_S8,
    .elementwise = aq_run_elementwise,
    .average_pool = aq_run_average_pool,
    .max_pool = aq_run_max_pool,
    .move = aq_run_move,
};
