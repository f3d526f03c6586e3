/* Depthwise convolution of int8 with AVX-512 VNNI: 64 channels of one output pixel at a time.
 *
 * Four rows of one column of the window, interleaved byte by byte, are what one instruction
 * multiplies: a "column" is four vectors, the quarters.  Interleaving stays within 128 bits: lane e
 * of quarter q holds channel (e / 4) * 16 + q * 4 + e % 4, and so do weights, sums and shifts.
 * Packing the quarters to bytes gives the order of the channels back.
 */
typedef struct aq_quarters {
    __m512i q[4];
} aq_quarters;

/* Between the order of the channels and that of the quarters, either way. */
static inline __attribute__((always_inline)) aq_quarters aq_reordered(aq_quarters x)
{
    const __m512i a = _mm512_shuffle_i32x4(x.q[0], x.q[1], 0x44);
    const __m512i b = _mm512_shuffle_i32x4(x.q[2], x.q[3], 0x44);
    const __m512i c = _mm512_shuffle_i32x4(x.q[0], x.q[1], 0xEE);
    const __m512i d = _mm512_shuffle_i32x4(x.q[2], x.q[3], 0xEE);

    x.q[0] = _mm512_shuffle_i32x4(a, b, 0x88);
    x.q[1] = _mm512_shuffle_i32x4(a, b, 0xDD);
    x.q[2] = _mm512_shuffle_i32x4(c, d, 0x88);
    x.q[3] = _mm512_shuffle_i32x4(c, d, 0xDD);
    return x;
}

static inline __attribute__((always_inline)) aq_quarters aq_load_quarters(const int32_t *p)
{
    aq_quarters x;

    AQ_UNROLL for (int i = 0; i < 4; i++) {
        x.q[i] = _mm512_loadu_si512(p + (16 * i));
    }
    return x;
}

/* One column: 64 bytes at x of four rows of a copy, whose values are 128 more. */
static inline __attribute__((always_inline)) aq_quarters aq_column(const int8_t *const row[4],
        ptrdiff_t x)
{
    const __m512i a = _mm512_loadu_si512(row[0] + x);
    const __m512i b = _mm512_loadu_si512(row[1] + x);
    const __m512i c = _mm512_loadu_si512(row[2] + x);
    const __m512i d = _mm512_loadu_si512(row[3] + x);
    const __m512i low = _mm512_unpacklo_epi8(a, b);
    const __m512i high = _mm512_unpackhi_epi8(a, b);
    const __m512i low_next = _mm512_unpacklo_epi8(c, d);
    const __m512i high_next = _mm512_unpackhi_epi8(c, d);

    return (aq_quarters){{
        _mm512_unpacklo_epi16(low, low_next),
        _mm512_unpackhi_epi16(low, low_next),
        _mm512_unpacklo_epi16(high, high_next),
        _mm512_unpackhi_epi16(high, high_next),
    }};
}

static inline __attribute__((always_inline)) void aq_add_column(aq_quarters *sums, aq_quarters x,
        const uint8_t *weight)
{
    AQ_UNROLL for (int i = 0; i < 4; i++) {
        const __m512i w = _mm512_loadu_si512(weight + (64 * i));
        AQ_DOT4(sums->q[i], x.q[i], w);
    }
}

/* What finishes the sums of one block of channels. */
typedef struct aq_block {
    const aq_depthwise *layer;
    const uint8_t *residual;
    uint8_t *target;
    aq_quarters shift;
    __m512i lower, upper;
    ptrdiff_t channel;
    ptrdiff_t count;
    int simple; /* right shifts to int8 and nothing else */
} aq_block;

static inline __attribute__((always_inline)) void aq_finish_block(const aq_block *b,
        aq_quarters sums, ptrdiff_t index)
{
    if (b->simple) {
        const __m512i first = _mm512_packs_epi32(_mm512_srav_epi32(sums.q[0], b->shift.q[0]),
                _mm512_srav_epi32(sums.q[1], b->shift.q[1]));
        const __m512i second = _mm512_packs_epi32(_mm512_srav_epi32(sums.q[2], b->shift.q[2]),
                _mm512_srav_epi32(sums.q[3], b->shift.q[3]));
        const __m512i y = _mm512_min_epi8(b->upper,
                _mm512_max_epi8(b->lower, _mm512_packs_epi16(first, second)));

        if (b->count == AQ_DEPTHWISE) {
            _mm512_storeu_si512(b->target + index, y);
        } else {
            _mm512_mask_storeu_epi8(b->target + index, (UINT64_C(1) << b->count) - 1, y);
        }
    } else {
        int32_t acc[AQ_DEPTHWISE] __attribute__((aligned(64)));

        sums = aq_reordered(sums);
        AQ_UNROLL for (int i = 0; i < 4; i++) {
            _mm512_store_si512(acc + (16 * i), sums.q[i]);
        }
        AQ_FINISH_TILE(&b->layer->finish, b->channel, 1, b->count, AQ_DEPTHWISE, acc, b->residual,
                b->target, index, 0);
    }
}

/* A row of outputs of a window of three columns, side by side and one step apart: each column is
 * interleaved once for three outputs.
 */
static void aq_three_columns(const aq_block *b, aq_quarters bias, const int8_t *const row[4],
        const uint8_t *weight, ptrdiff_t index)
{
    const ptrdiff_t C = b->layer->images.channels;
    aq_quarters first = aq_column(row, 0);
    aq_quarters second = aq_column(row, C);

    for (ptrdiff_t ox = 0; ox < b->layer->width; ox++) {
        const aq_quarters third = aq_column(row, (ox + 2) * C);
        aq_quarters sums = bias;

        aq_add_column(&sums, first, weight);
        aq_add_column(&sums, second, weight + 256);
        aq_add_column(&sums, third, weight + 512);
        aq_finish_block(b, sums, index + (ox * C));
        first = second;
        second = third;
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
    const int rolling = fours == 1 && s->kernel_width == 3 && s->stride_x == 1
            && s->dilation_x == 1;
    aq_block b = {.layer = s, .residual = aq_tensor(w, s->residual),
        .target = (uint8_t *)aq_tensor(w, s->target)};

    b.simple = f->form == AQ_RIGHT_SHIFTS && f->output_size == 1 && f->residual_size == 0
            && f->offset == 0;
    b.lower = _mm512_set1_epi8((char)f->lower);
    for (ptrdiff_t c = 0; c < C; c += AQ_DEPTHWISE) {
        const aq_quarters bias = aq_reordered(aq_load_quarters(s->bias + c));
        const aq_quarters upper = aq_reordered(aq_load_quarters(f->upper + c));
        const uint8_t *weights = (const uint8_t *)s->weight + (c * fours * s->kernel_width * 4);

        b.channel = c;
        b.count = (C - c < AQ_DEPTHWISE) ? (C - c) : AQ_DEPTHWISE;
        b.shift = aq_reordered(aq_load_quarters(f->shift + c));
        b.upper = _mm512_packs_epi16(_mm512_packs_epi32(upper.q[0], upper.q[1]),
                _mm512_packs_epi32(upper.q[2], upper.q[3]));
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
                aq_three_columns(&b, bias, rows, weights, index);
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
                        aq_add_column(&sums, aq_column(rows, kx * s->dilation_x * C), weight);
                        weight += 256;
                    }
                }
                aq_finish_block(&b, sums, index + (ox * C));
            }
        }
    }
}
