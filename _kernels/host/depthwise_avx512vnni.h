/* Depthwise convolution of int8 with AVX-512 VNNI: 64 values of a row of outputs at a time.
 *
 * Rows are copied with their border and 128 added, each once, to a ring of as many as a window
 * has and those of the next one, which are written before this one is read: what was just written
 * cannot be read at once at other places.  Chunks of a phase have the same channels and weights.  Either each ends with its pixel, or,
 * for few channels, a row of outputs is cut whatever its pixels, and chunk n has the weights of
 * phase n modulo the number of phases; then the pixels of a row lie in as many planes as the stride
 * says, so that what one column of the window meets lies side by side for all outputs.
 *
 * Four rows of one column of the window, interleaved byte by byte, are what one instruction
 * multiplies: a "column" is four vectors, the quarters.  Interleaving stays within 128 bits: lane e
 * of quarter q holds value (e / 4) * 16 + q * 4 + e % 4, and so do weights, sums and shifts.
 * Packing the quarters to bytes gives the order of the values back.
 */
typedef struct aq_quarters {
    __m512i q[4];
} aq_quarters;

/* From the order of the quarters to that of the values. */
static inline __attribute__((always_inline)) aq_quarters aq_in_order(aq_quarters x)
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

/* One column: 64 bytes at x of four rows; of three, the fourth has weights of 0. */
static inline __attribute__((always_inline)) aq_quarters aq_column(const int rows,
        const uint8_t *const row[4], ptrdiff_t x)
{
    const __m512i a = _mm512_loadu_si512(row[0] + x);
    const __m512i b = _mm512_loadu_si512(row[1] + x);
    const __m512i c = _mm512_loadu_si512(row[2] + x);
    const __m512i d = (rows == 3) ? a : _mm512_loadu_si512(row[3] + x);
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

/* The chunks of one phase in one row of outputs. */
typedef struct aq_strand {
    const aq_depthwise *layer;
    const uint8_t *residual;
    uint8_t *target;
    const uint8_t *rows[4]; /* of the ring */
    ptrdiff_t index;        /* of the row in the target, in values */
    ptrdiff_t phase;
    ptrdiff_t least;        /* values of each chunk where each ends with its pixel, else 0 */
} aq_strand;

/* How sums are finished: in registers by shifts or multipliers, or by the loops for all forms. */
enum { AQ_BY_SHIFTS, AQ_BY_MULTIPLIERS, AQ_BY_LOOPS };

/* What finishes the sums of a phase in registers. */
typedef struct aq_finisher {
    aq_quarters shift;
    aq_multiplier multiplier[4];
    __m512i offset, lower, upper;
} aq_finisher;

static inline __attribute__((always_inline)) aq_finisher aq_finisher_of(const int form,
        const aq_strand *t)
{
    const aq_depthwise *s = t->layer;
    const ptrdiff_t first = t->phase * AQ_DEPTHWISE;
    aq_finisher f = {.offset = _mm512_set1_epi16((short)s->finish.offset),
        .lower = _mm512_set1_epi8((char)s->finish.lower),
        .upper = _mm512_loadu_si512(s->upper + first)};

    if (form == AQ_BY_SHIFTS) {
        f.shift = aq_load_quarters(s->shift + first);
    } else {
        AQ_UNROLL for (int i = 0; i < 4; i++) {
            f.multiplier[i] = aq_multiplier_of(s->multiplier + first + (16 * i),
                    s->shift + first + (16 * i));
        }
    }
    return f;
}

/* Finish the sums of the chunk at value x of a row of `limit` values. */
static inline __attribute__((always_inline)) void aq_finish_chunk(const int form,
        const aq_strand *t, aq_finisher f, aq_quarters sums, ptrdiff_t x, ptrdiff_t limit)
{
    const ptrdiff_t count = t->least ? t->least : (limit - x);

    if (form != AQ_BY_LOOPS) {
        AQ_UNROLL for (int i = 0; i < 4; i++) {
            sums.q[i] = (form == AQ_BY_SHIFTS) ? _mm512_srav_epi32(sums.q[i], f.shift.q[i])
                    : aq_multiplied(sums.q[i], f.multiplier[i]);
        }
        const __m512i first = _mm512_adds_epi16(f.offset,
                _mm512_packs_epi32(sums.q[0], sums.q[1]));
        const __m512i second = _mm512_adds_epi16(f.offset,
                _mm512_packs_epi32(sums.q[2], sums.q[3]));
        const __m512i y = _mm512_min_epi8(f.upper,
                _mm512_max_epi8(f.lower, _mm512_packs_epi16(first, second)));

        if (count >= AQ_DEPTHWISE) {
            _mm512_storeu_si512(t->target + t->index + x, y);
        } else {
            _mm512_mask_storeu_epi8(t->target + t->index + x, (UINT64_C(1) << count) - 1, y);
        }
    } else {
        int32_t acc[AQ_DEPTHWISE] __attribute__((aligned(64)));

        sums = aq_in_order(sums);
        AQ_UNROLL for (int i = 0; i < 4; i++) {
            _mm512_store_si512(acc + (16 * i), sums.q[i]);
        }
        AQ_FINISH_TILE(&t->layer->finish, t->phase * AQ_DEPTHWISE, 1,
                (count < AQ_DEPTHWISE) ? count : AQ_DEPTHWISE, AQ_DEPTHWISE, acc, t->residual,
                t->target, t->index + x, 0);
    }
}

/* Point at the rows of a window from row ky on; the window begins in row `slot` of the ring. */
static inline void aq_point(aq_strand *t, const uint8_t *ring, ptrdiff_t slot, ptrdiff_t ky)
{
    const aq_depthwise *s = t->layer;

    for (ptrdiff_t r = 0; r < 4; r++) {
        /* A row that is not there has weights of 0. */
        const ptrdiff_t row = slot + ((ky + r < s->kernel_height) ? ((ky + r) * s->dilation_y) : 0);
        t->rows[r] = ring + (((row < s->ring_rows) ? row : (row - s->ring_rows)) * s->row_values);
    }
}

/* Windows of three columns and up to four rows.  `shared` columns of a chunk are the first ones of
 * the next: they are interleaved once.
 */
static inline __attribute__((always_inline)) void aq_three_columns(const int height,
        const int shared, const int form, const aq_strand *t, const uint8_t *weight, ptrdiff_t limit)
{
    const aq_depthwise *s = t->layer;
    const ptrdiff_t first = t->phase * AQ_DEPTHWISE;
    const aq_quarters bias = aq_load_quarters(s->bias + first);
    const aq_finisher finisher = aq_finisher_of(form, t);
    const uint8_t *const rows[4] = {t->rows[0], t->rows[1], t->rows[2], t->rows[3]};
    const ptrdiff_t second = s->columns[1];
    const ptrdiff_t third = s->columns[2];
    ptrdiff_t x = first; /* in the copy */
    aq_quarters a = aq_column(height, rows, x);
    aq_quarters b = aq_column(height, rows, second + x);

    for (ptrdiff_t y = first; y < limit; y += s->pitch) {
        const aq_quarters c = aq_column(height, rows, third + x);
        aq_quarters sums = bias;

        if (shared < 1 && y > first) {
            a = aq_column(height, rows, x);
        }
        if (shared < 2 && y > first) {
            b = aq_column(height, rows, second + x);
        }
        aq_add_column(&sums, a, weight);
        aq_add_column(&sums, b, weight + 256);
        aq_add_column(&sums, c, weight + 512);
        aq_finish_chunk(form, t, finisher, sums, y, limit);
        a = (shared == 2) ? b : c;
        b = c;
        x += s->source_pitch;
    }
}

static inline __attribute__((always_inline)) void aq_three_by_three(const int form,
        const aq_strand *t, const uint8_t *weight, ptrdiff_t limit)
{
    const aq_depthwise *s = t->layer;

    if (s->columns[1] == s->source_pitch && s->columns[2] == 2 * s->source_pitch) {
        aq_three_columns(3, 2, form, t, weight, limit);
    } else if (s->columns[2] == s->source_pitch) {
        aq_three_columns(3, 1, form, t, weight, limit);
    } else {
        aq_three_columns(3, 0, form, t, weight, limit);
    }
}

/* Windows of any size, which begin in row `slot` of the ring. */
static inline __attribute__((always_inline)) void aq_any_window(const int form, aq_strand *t,
        const uint8_t *weights, const uint8_t *ring, ptrdiff_t slot, ptrdiff_t limit)
{
    const aq_depthwise *s = t->layer;
    const aq_quarters bias = aq_load_quarters(s->bias + (t->phase * AQ_DEPTHWISE));
    const aq_finisher finisher = aq_finisher_of(form, t);
    ptrdiff_t x = t->phase * AQ_DEPTHWISE; /* in the copy */

    for (ptrdiff_t y = x; y < limit; y += s->pitch) {
        const uint8_t *weight = weights;
        aq_quarters sums = bias;

        for (ptrdiff_t ky = 0; ky < s->kernel_height; ky += 4) {
            aq_point(t, ring, slot, ky);
            for (ptrdiff_t kx = 0; kx < s->kernel_width; kx++) {
                aq_add_column(&sums, aq_column(4, t->rows, s->columns[kx] + x), weight);
                weight += 256;
            }
        }
        aq_finish_chunk(form, t, finisher, sums, y, limit);
        x += s->source_pitch;
    }
}

/* --- The ring */

/* Copy `count` values from x, each 128 more. */
static inline __attribute__((always_inline)) void aq_lift(const uint8_t *x, ptrdiff_t count,
        uint8_t *y)
{
    ptrdiff_t i = 0;

    for (; i + 64 <= count; i += 64) {
        _mm512_storeu_si512(y + i, _mm512_xor_si512(_mm512_loadu_si512(x + i),
                _mm512_set1_epi8(-128)));
    }
    for (; i + 16 <= count; i += 16) {
        _mm_storeu_si128((__m128i *)(y + i), _mm_xor_si128(_mm_set1_epi8(-128),
                _mm_loadu_si128((const __m128i *)(x + i))));
    }
    for (; i < count; i++) {
        y[i] = x[i] ^ 128;
    }
}

/* The same of `count` values at each of `pixels` places, `step` apart. */
static inline __attribute__((always_inline)) void aq_lift_pixels(const uint8_t *x, ptrdiff_t step,
        ptrdiff_t count, ptrdiff_t pixels, uint8_t *y)
{
    for (ptrdiff_t i = 0; i < pixels; i++) {
        aq_lift(x + (i * step), count, y + (i * count));
    }
}

static inline __attribute__((always_inline)) void aq_border(uint8_t *y, ptrdiff_t count,
        uint8_t value)
{
    const __m512i all = _mm512_set1_epi8((char)value);
    ptrdiff_t i = 0;

    for (; i + 64 <= count; i += 64) {
        _mm512_storeu_si512(y + i, all);
    }
    for (; i + 16 <= count; i += 16) {
        _mm_storeu_si128((__m128i *)(y + i), _mm512_castsi512_si128(all));
    }
    for (; i < count; i++) {
        y[i] = value;
    }
}

/* Write one row with its border to the ring; x is the row of the image, NULL for one outside. */
static void aq_ring_row(const aq_depthwise *s, const uint8_t *x, uint8_t *y)
{
    const aq_images *m = &s->images;
    const ptrdiff_t C = m->channels;
    const ptrdiff_t S = s->planes;
    const ptrdiff_t plane = (m->padded_width + S - 1) / S; /* pixels */
    const uint8_t value = (uint8_t)m->pad_value ^ 128;

    if (x == NULL) {
        memset(y, value, (size_t)s->row_values);
        return;
    }
    for (ptrdiff_t p = 0; p < S; p++) {
        /* Pixels of this plane that lie left of the image, and those within. */
        const ptrdiff_t before = (m->left > p) ? ((m->left - p + S - 1) / S) : 0;
        const ptrdiff_t start = (before * S) + p - m->left;
        const ptrdiff_t inside = (start < m->width) ? ((m->width - start + S - 1) / S) : 0;
        const uint8_t *from = x + (start * C);

        aq_border(y, before * C, value);
        y += before * C;
        if (S == 1) {
            aq_lift(from, inside * C, y);
        } else if (C == 8) {
            aq_lift_pixels(from, S * 8, 8, inside, y);
        } else if (C == 16) {
            aq_lift_pixels(from, S * 16, 16, inside, y);
        } else if (C == 32) {
            aq_lift_pixels(from, S * 32, 32, inside, y);
        } else {
            aq_lift_pixels(from, S * C, C, inside, y);
        }
        y += inside * C;
        aq_border(y, (plane - before - inside) * C, value);
        y += (plane - before - inside) * C;
    }
}

/* One phase of a row, whose window begins in row `slot` of the ring. */
static inline __attribute__((always_inline)) void aq_phase(const int form, aq_strand *t,
        const uint8_t *weight, const uint8_t *ring, ptrdiff_t slot, ptrdiff_t limit)
{
    if (t->layer->kernel_height == 3 && t->layer->kernel_width == 3) {
        aq_three_by_three(form, t, weight, limit);
    } else {
        aq_any_window(form, t, weight, ring, slot, limit);
    }
}

/* One image, the first index of whose outputs the strand knows. */
static void aq_depthwise_image(aq_strand *t, const uint8_t *x, uint8_t *ring)
{
    const aq_depthwise *s = t->layer;
    const aq_images *m = &s->images;
    const ptrdiff_t row_values = m->width * m->channels;
    const ptrdiff_t limit = s->width * m->channels; /* values of a row of outputs */
    const ptrdiff_t taps = (s->kernel_height + 3) / 4 * 4 * s->kernel_width;
    ptrdiff_t row = 0;  /* the next one to be copied, of those with a border */
    ptrdiff_t slot = 0; /* of the ring, where the window begins */
    ptrdiff_t free = 0; /* of the ring, where the next row goes */

    for (ptrdiff_t y0 = 0; y0 < s->height * s->stride_y; y0 += s->stride_y) {
        for (; row < y0 + s->ring_rows; row++) {
            const ptrdiff_t from = row - m->top;

            if (row >= y0 && row < m->padded_height) {
                aq_ring_row(s, (from >= 0 && from < m->height) ? (x + (from * row_values)) : NULL,
                        ring + (free * s->row_values));
            }
            free = (free + 1 < s->ring_rows) ? (free + 1) : 0;
        }
        aq_point(t, ring, slot, 0);
        /* Phases from `limit` on have no chunk in a row. */
        for (t->phase = 0; t->phase < s->phases && t->phase * AQ_DEPTHWISE < limit; t->phase++) {
            const ptrdiff_t first = t->phase * AQ_DEPTHWISE;
            const uint8_t *weight = (const uint8_t *)s->weight + (first * taps);

            t->least = (s->pitch == m->channels) ? (m->channels - first) : 0;
            if (!aq_in_registers(&s->finish) || s->finish.residual_size) {
                aq_phase(AQ_BY_LOOPS, t, weight, ring, slot, limit);
            } else if (s->finish.form == AQ_RIGHT_SHIFTS) {
                aq_phase(AQ_BY_SHIFTS, t, weight, ring, slot, limit);
            } else {
                aq_phase(AQ_BY_MULTIPLIERS, t, weight, ring, slot, limit);
            }
        }
        t->index += limit;
        slot = (slot + s->stride_y) % s->ring_rows;
    }
}

static void aq_run_depthwise_s8(const void *step, const aq_workspace *w)
{
    const aq_depthwise *s = step;
    const aq_images *m = &s->images;
    const uint8_t *x = aq_tensor(w, s->source);
    aq_strand t = {.layer = s, .residual = aq_tensor(w, s->residual),
        .target = (uint8_t *)aq_tensor(w, s->target)};

    for (ptrdiff_t n = 0; n < w->batch; n++) {
        aq_depthwise_image(&t, x, w->scratch);
        x += m->height * m->width * m->channels;
    }
}
