/* The steps, for one instruction set: the last thing that its isa_NAME.c includes.
 *
 * Before come the tiles for int16 data (s16_strips) and, with AQ_S8_DIRECT, for int8 data that are
 * multiplied as they are (s8_strips) and for copies with AQ_S8_SHIFTED added, where that is not 0
 * (u8_strips); AQ_LANES, AQ_VECTORS and AQ_ROWS(V), most rows of a tile with V vectors.
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

/* What is added to int8 values that are multiplied as they are, 0 or 128. */
#define AQ_LIFTED(value) (int8_t)((uint8_t)(value) ^ AQ_S8_SHIFTED)

static void aq_fill_int8_t(int8_t *y, ptrdiff_t count, int32_t value)
{
    memset(y, (uint8_t)AQ_LIFTED(value), (size_t)count);
}

static void aq_fill_int16_t(int16_t *y, ptrdiff_t count, int32_t value)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        y[i] = (int16_t)value;
    }
}

static void aq_copy_8_8(const void *x, ptrdiff_t count, int8_t *restrict y)
{
    const int8_t *restrict from = x;

    for (ptrdiff_t i = 0; i < count; i++) {
        y[i] = AQ_LIFTED(from[i]);
    }
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

/* What lies between two rows is filled at once. */
#define AQ_BORDERED(name, type, copy) \
static void name(const aq_images *s, const uint8_t *x, ptrdiff_t batch, type *y) \
{ \
    const ptrdiff_t row = s->width * s->channels; \
    const ptrdiff_t wide = s->padded_width * s->channels; \
    const ptrdiff_t first = (s->top * wide) + (s->left * s->channels); \
    const ptrdiff_t last = (s->padded_height * wide) - first - ((s->height - 1) * wide) - row; \
    \
    for (ptrdiff_t n = 0; n < batch; n++) { \
        aq_fill_##type(y, first, s->pad_value); \
        y += first; \
        for (ptrdiff_t i = 0; i < s->height; i++) { \
            copy(x, row, y); \
            x += row * s->size; \
            y += row; \
            if (i + 1 < s->height) { \
                aq_fill_##type(y, wide - row, s->pad_value); \
                y += wide - row; \
            } \
        } \
        aq_fill_##type(y, last, s->pad_value); \
        y += last; \
    } \
}
AQ_BORDERED(aq_bordered_8_8, int8_t, aq_copy_8_8)
AQ_BORDERED(aq_bordered_8_16, int16_t, aq_copy_8_16)
AQ_BORDERED(aq_bordered_16_16, int16_t, aq_copy_16_16)

/* Return where the values of the images lie that the products read, for all workers. */
static const uint8_t *aq_operands(const aq_images *s, const uint8_t *x, const aq_workspace *w)
{
    if (!s->copied) {
        return x;
    }
    if (w->worker > 0) {
        (void)aq_meet(w);
        return w->scratch;
    }
    if (s->operand_size == 1) {
        aq_bordered_8_8(s, x, w->batch, (int8_t *)w->scratch);
    } else if (s->size == 1) {
        aq_bordered_8_16(s, x, w->batch, (int16_t *)w->scratch);
    } else {
        aq_bordered_16_16(s, x, w->batch, (int16_t *)w->scratch);
    }
    (void)aq_meet(w);
    return w->scratch;
}

/* --- Convolution and fully connected layer */

/* Vectors of the block of output channels that begins at vector `first` and ends before `stop`. */
static ptrdiff_t aq_block_vectors(const aq_affine *s, ptrdiff_t first, ptrdiff_t stop)
{
    return (stop - first < s->block) ? (stop - first) : s->block;
}

/* Return where the windows of `count` pixels begin, from pixel `first` of an image on.  Where they
 * go on in the next images they are written to `found`.
 */
static const int32_t *aq_windows(const aq_affine *s, ptrdiff_t first, ptrdiff_t count,
        int32_t found[AQ_STRIP * AQ_TILE_ROWS])
{
    int32_t begin = 0;

    if (first + count <= s->pixel_count) {
        return s->pixels + first;
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        found[i] = begin + s->pixels[first];
        if (++first == s->pixel_count) {
            first = 0;
            begin += (int32_t)s->image_values;
        }
    }
    return found;
}

/* Compute `tiles` tiles of `count` pixels, and the channels of V vectors from vector v of a group;
 * the sink knows the group and the pixels.
 */
static void aq_strip(const aq_affine *s, const uint8_t *x, const int32_t *pixels, ptrdiff_t tiles,
        ptrdiff_t count, ptrdiff_t v, ptrdiff_t V, aq_sink sink)
{
    const ptrdiff_t channel = v * AQ_LANES;
    const ptrdiff_t left = s->group_outputs - channel;
    const uint8_t *weights = (const uint8_t *)s->weight
            + ((sink.first + channel) * s->steps * 4); /* a step reads 4 bytes for each channel */
    const int32_t *bias = s->bias + sink.first + channel;

    sink.first += channel;
    sink.index += channel;
    sink.columns = (left < V * AQ_LANES) ? left : (V * AQ_LANES);
#if AQ_S8_DIRECT && AQ_S8_SHIFTED
    if (s->images.operand_size == 1 && s->images.copied) {
        u8_strips[V][count](x, pixels, tiles, s->offsets, s->steps, weights, bias, sink);
        return;
    }
#endif
#if AQ_S8_DIRECT
    if (s->images.operand_size == 1) {
        s8_strips[V][count]((const int8_t *)x, pixels, tiles, s->offsets, s->steps, weights, bias,
                sink);
        return;
    }
#endif
    s16_strips[V][count]((const int16_t *)x, pixels, tiles, s->offsets, s->steps, weights, bias,
            sink);
}

/* The output channels of one group from vector `outer` to before vector `stop`, of the pixels of a
 * worker.
 */
static void aq_strips(const aq_affine *s, const uint8_t *x, const aq_workspace *w,
        ptrdiff_t outer, ptrdiff_t stop, aq_sink sink)
{
    const ptrdiff_t pixels = w->batch * s->pixel_count;
    const ptrdiff_t most = AQ_ROWS(aq_block_vectors(s, outer, stop));
    const ptrdiff_t tiles = (pixels + most - 1) / most;
    /* All tiles have `least` pixels or one more, those first. */
    const ptrdiff_t least = pixels / tiles;
    const ptrdiff_t larger = pixels % tiles;
    const ptrdiff_t last = aq_share(tiles, w->worker + 1, w->workers);
    ptrdiff_t done = aq_share(tiles, w->worker, w->workers);
    ptrdiff_t first = (done * least) + ((done < larger) ? done : larger);
    int32_t found[AQ_STRIP * AQ_TILE_ROWS];

    sink.index += first * sink.stride;
    x += (first / s->pixel_count) * s->image_values * s->images.operand_size;
    first %= s->pixel_count;
    while (done < last) {
        const ptrdiff_t stop_tile = (done < larger && larger < last) ? larger : last;
        const ptrdiff_t n = (stop_tile - done < AQ_STRIP) ? (stop_tile - done) : AQ_STRIP;
        const ptrdiff_t count = least + ((done < larger) ? 1 : 0);
        const int32_t *windows = aq_windows(s, first, n * count, found);

        for (ptrdiff_t v = outer; v < stop; v += s->block) {
            aq_strip(s, x, windows, n, count, v, aq_block_vectors(s, v, stop), sink);
        }
        done += n;
        sink.index += n * count * sink.stride;
        for (first += n * count; first >= s->pixel_count; first -= s->pixel_count) {
            x += s->image_values * s->images.operand_size;
        }
    }
}

static void aq_run_affine(const void *step, const aq_workspace *w)
{
    const aq_affine *s = step;
    const ptrdiff_t vectors = (s->group_outputs + AQ_LANES - 1) / AQ_LANES;
    const int cached = (vectors * s->steps * AQ_LANES * 4) <= AQ_WEIGHTS_IN_CACHE;
    /* The outer loop: over all blocks of channels at once, or one after the other. */
    const ptrdiff_t span = cached ? vectors : s->block;
    const uint8_t *x = aq_operands(&s->images, aq_tensor(w, s->source), w);
    aq_sink sink = {.finish = &s->finish, .residual = aq_tensor(w, s->residual),
        .target = (uint8_t *)aq_tensor(w, s->target), .stride = s->groups * s->group_outputs};

    for (ptrdiff_t group = 0; group < s->groups; group++) {
        for (ptrdiff_t outer = 0; outer < vectors; outer += span) {
            aq_strips(s, x, w, outer, (outer + span < vectors) ? (outer + span) : vectors,
                    sink);
        }
        x += s->group_channels * s->images.operand_size;
        sink.first += vectors * AQ_LANES;
        sink.index += s->group_outputs;
    }
}

/* --- Depthwise convolution: 64 channels at a time, products of int16 */

static void aq_run_depthwise(const void *step, const aq_workspace *w)
{
    const aq_depthwise *s = step;
    const aq_images *m = &s->images;
    const int16_t *x = (const int16_t *)aq_operands(m, aq_tensor(w, s->source), w);
    const ptrdiff_t taps = s->kernel_height * s->kernel_width;
    const ptrdiff_t begin = aq_share(s->height * s->width, w->worker, w->workers);
    const ptrdiff_t stop = aq_share(s->height * s->width, w->worker + 1, w->workers);
    int32_t acc[AQ_DEPTHWISE] __attribute__((aligned(64)));

    for (ptrdiff_t n = 0; n < w->batch; n++) {
        for (ptrdiff_t c = 0; c < m->channels; c += AQ_DEPTHWISE) {
            const ptrdiff_t left = m->channels - c;
            const ptrdiff_t count = (left < AQ_DEPTHWISE) ? left : AQ_DEPTHWISE;
            for (ptrdiff_t i = begin; i < stop; i++) {
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

#if defined(AQ_QUAD_BYTES)
#define AQ_DEPTHWISE_S8 aq_run_depthwise_s8
#include "depthwise_quads.h"
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
    const ptrdiff_t total = aq_share(s->count * w->batch, w->worker + 1, w->workers);
    int32_t acc[AQ_BLOCK] __attribute__((aligned(64)));
    ptrdiff_t i = aq_share(s->count * w->batch, w->worker, w->workers);

#if defined(AQ_SUM_BYTES)
    i = AQ_SUM_BYTES(s, a, b, i, total, y);
#endif
    for (; i < total; i += AQ_BLOCK) {
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
