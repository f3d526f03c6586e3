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

#if defined(AQ_DEPTHWISE_HEADER)
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

#include "pools.h"
#include "moves.h"

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
