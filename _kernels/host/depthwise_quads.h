/* Depthwise convolution of int8 with products of four bytes: AQ_QUAD_CHANNELS channels of one output
 * pixel at a time, in vectors of 256 or 128 bits.
 *
 * As in depthwise_avx512vnni.h, whose weights it takes: four rows of one column of the window,
 * interleaved byte by byte within 128 bits, are four vectors, the quarters.  Lane e of quarter q
 * holds channel (e / 4) * 16 + q * 4 + e % 4.  An instruction set defines before
 *     AQ_QUAD_CHANNELS                32 or 16, bytes of a vector
 *     aq_bytes, aq_fours              vectors of bytes, and of sums
 *     aq_quarters                     aq_fours q[4]
 *     aq_interleaved(row, x, column)  the four quarters of one column of data, from row[0..3] + x
 *     AQ_DOT_FOURS(acc, x, w)         acc += sums of x * w of four bytes each
 *     aq_load_bytes(p)                weights
 *     aq_load_fours(p), aq_store_fours(p, v)
 *                                     four sums for each 128 bits, 16 from one to the next
 *     aq_shifted(v, n)                every sum shifted right by its n
 *     aq_packed_bytes(quarters)       as bytes, held within int8, in the order of the channels
 *     aq_all_bytes(value), aq_bounded(y, lower, upper), aq_store_bytes(p, y, count)
 */
static inline __attribute__((always_inline)) aq_quarters aq_load_quarters(const int32_t *p)
{
    aq_quarters x;

    AQ_UNROLL for (int i = 0; i < 4; i++) {
        x.q[i] = aq_load_fours(p + (4 * i));
    }
    return x;
}

static inline __attribute__((always_inline)) void aq_add_column(aq_quarters *sums,
        const aq_bytes column[4], const uint8_t *weight)
{
    AQ_UNROLL for (int i = 0; i < 4; i++) {
        const aq_bytes w = aq_load_bytes(weight + (AQ_DEPTHWISE * i));
        AQ_DOT_FOURS(sums->q[i], column[i], w);
    }
}

static inline __attribute__((always_inline)) aq_quarters aq_shifted_quarters(aq_quarters sums,
        aq_quarters shift)
{
    AQ_UNROLL for (int i = 0; i < 4; i++) {
        sums.q[i] = aq_shifted(sums.q[i], shift.q[i]);
    }
    return sums;
}

/* What finishes the sums of some channels. */
typedef struct aq_block {
    const aq_depthwise *layer;
    const uint8_t *residual;
    uint8_t *target;
    aq_quarters shift;
    aq_bytes lower, upper;
    ptrdiff_t channel;
    ptrdiff_t count;
} aq_block;

/* Sums of pixels that are finished together: what that prepares is done once for all of them. */
#define AQ_HELD 16

typedef struct aq_held {
    ptrdiff_t count;
    ptrdiff_t index; /* of the first pixel */
    int32_t acc[AQ_HELD * AQ_QUAD_CHANNELS] __attribute__((aligned(64)));
} aq_held;

static inline __attribute__((always_inline)) void aq_finish_held(const aq_block *b, aq_held *held)
{
    AQ_FINISH_TILE(&b->layer->finish, b->channel, held->count, b->count, AQ_QUAD_CHANNELS,
            held->acc, b->residual, b->target, held->index, b->layer->images.channels);
    held->count = 0;
}

/* Pixels come in the order of the output.  Where right shifts to int8 are all there is, `simple`,
 * no sums are held.
 */
static inline __attribute__((always_inline)) void aq_finish_block(const int simple,
        const aq_block *b, aq_held *held, aq_quarters sums, ptrdiff_t index)
{
    if (simple) {
        aq_store_bytes(b->target + index,
                aq_bounded(aq_packed_bytes(aq_shifted_quarters(sums, b->shift)), b->lower,
                        b->upper), b->count);
    } else {
        if (held->count == 0) {
            held->index = index;
        }
        AQ_UNROLL for (int i = 0; i < 4; i++) {
            aq_store_fours(held->acc + (held->count * AQ_QUAD_CHANNELS) + (4 * i), sums.q[i]);
        }
        held->count += 1;
        if (held->count == AQ_HELD) {
            aq_finish_held(b, held);
        }
    }
}

/* A row of outputs of a window of three columns, side by side and one step apart: each column is
 * interleaved once for three outputs.
 */
static inline __attribute__((always_inline)) void aq_three_columns(const int simple,
        const aq_block *b, aq_held *held, aq_quarters bias, const int8_t *const row[4],
        const uint8_t *weight, ptrdiff_t index)
{
    const ptrdiff_t C = b->layer->images.channels;
    aq_bytes column[3][4];

    aq_interleaved(row, 0, column[0]);
    aq_interleaved(row, C, column[1]);
    for (ptrdiff_t ox = 0; ox < b->layer->width; ox++) {
        aq_quarters sums = bias;

        aq_interleaved(row, (ox + 2) * C, column[2]);
        AQ_UNROLL for (int k = 0; k < 3; k++) {
            aq_add_column(&sums, column[k], weight + (4 * AQ_DEPTHWISE * k));
        }
        aq_finish_block(simple, b, held, sums, index + (ox * C));
        AQ_UNROLL for (int i = 0; i < 4; i++) {
            column[0][i] = column[1][i];
            column[1][i] = column[2][i];
        }
    }
}

static void aq_run_depthwise_s8(const void *step, const aq_workspace *w)
{
    const aq_depthwise *s = step;
    const aq_images *m = &s->images;
    const aq_finish *f = &s->finish;
    const int8_t *x = (const int8_t *)aq_operands(m, aq_tensor(w, s->source), w);
    const ptrdiff_t C = m->channels;
    const ptrdiff_t fours = (s->kernel_height + 3) / 4;
    const ptrdiff_t block = fours * s->kernel_width * 4 * AQ_DEPTHWISE;
    const int rolling = fours == 1 && s->kernel_width == 3 && s->stride_x == 1
            && s->dilation_x == 1;
    const int simple = f->form == AQ_RIGHT_SHIFTS && f->output_size == 1 && f->residual_size == 0
            && f->offset == 0;
    aq_block b = {.layer = s, .residual = aq_tensor(w, s->residual),
        .target = (uint8_t *)aq_tensor(w, s->target)};
    aq_held held;

    held.count = 0;
    b.lower = aq_all_bytes((int8_t)f->lower);
    for (ptrdiff_t c = 0; c < C; c += AQ_QUAD_CHANNELS) {
        const aq_quarters bias = aq_load_quarters(s->bias + c);
        const uint8_t *weights = (const uint8_t *)s->weight + ((c / AQ_DEPTHWISE) * block)
                + (c % AQ_DEPTHWISE);

        b.channel = c;
        b.count = (C - c < AQ_QUAD_CHANNELS) ? (C - c) : AQ_QUAD_CHANNELS;
        b.shift = aq_load_quarters(f->shift + c);
        b.upper = aq_packed_bytes(aq_load_quarters(f->upper + c));
        for (ptrdiff_t i = 0; i < w->batch * s->height; i++) {
            const ptrdiff_t n = i / s->height;
            const ptrdiff_t y0 = (i % s->height) * s->stride_y;
            const int8_t *image = x + (n * m->padded_height * m->padded_width * C) + c;
            const ptrdiff_t index = (i * s->width * C) + c;
            const int8_t *rows[4];

            if (rolling) {
                for (ptrdiff_t r = 0; r < 4; r++) {
                    /* A row that is not there has weights of 0. */
                    const ptrdiff_t ky = (r < s->kernel_height) ? r : 0;
                    rows[r] = image + ((y0 + (ky * s->dilation_y)) * m->padded_width * C);
                }
                if (simple) { /* a loop without calls keeps its vectors in registers */
                    aq_three_columns(1, &b, &held, bias, rows, weights, index);
                } else {
                    aq_three_columns(0, &b, &held, bias, rows, weights, index);
                }
                continue;
            }
            for (ptrdiff_t ox = 0; ox < s->width; ox++) {
                const uint8_t *weight = weights;
                aq_quarters sums = bias;

                for (ptrdiff_t g = 0; g < fours; g++) {
                    for (ptrdiff_t r = 0; r < 4; r++) {
                        const ptrdiff_t ky = ((4 * g) + r < s->kernel_height) ? ((4 * g) + r) : 0;
                        rows[r] = image + ((((y0 + (ky * s->dilation_y)) * m->padded_width)
                                + (ox * s->stride_x)) * C);
                    }
                    for (ptrdiff_t kx = 0; kx < s->kernel_width; kx++) {
                        aq_bytes column[4];

                        aq_interleaved(rows, kx * s->dilation_x * C, column);
                        aq_add_column(&sums, column, weight);
                        weight += 4 * AQ_DEPTHWISE;
                    }
                }
                aq_finish_block(simple, &b, &held, sums, index + (ox * C));
            }
        }
        if (held.count > 0) {
            aq_finish_held(&b, &held);
        }
    }
}
