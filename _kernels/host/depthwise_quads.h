/* Depthwise convolution of int8 with products of four bytes; a part of steps.h.
 *
 * Rows are copied with their border, each once and with AQ_S8_SHIFTED added, to a ring of as many
 * as a window has and those of the next one, which are written before this one is read: what was
 * just written cannot be read at once at other places.  Rows of outputs are cut in chunks of
 * AQ_DEPTHWISE values; those of a phase have the same channels and weights.  Either each ends with
 * its pixel, or, for few channels, a row is cut whatever its pixels, and chunk n has the weights of
 * phase n modulo the number of phases; then the pixels of a row lie in as many planes as the stride
 * says, so that what one column of the window meets lies side by side for all outputs.
 *
 * Four rows of one column of the window, interleaved byte by byte, are what one instruction
 * multiplies: four vectors, the quarters.  Interleaving stays within 128 bits: of each 16 values,
 * quarter q holds those from 4 * q on; so do weights, biases and shifts.  Packing the quarters to
 * bytes gives the order of the values back.  An instruction set defines before
 *     AQ_QUAD_BYTES                   64, 32 or 16, bytes of a vector: so much of a chunk at a time
 *     aq_bytes, aq_words, aq_sums4    vectors of bytes, of int16, of int32
 *     aq_interleave(height, row, x, column)
 *                                     the quarters of one column of data, from row[0..3] + x; where
 *                                     the height is 3, any row for the fourth: its weights are 0
 *     AQ_DOT_QUADS(acc, x, w)         acc += sums of x * w of four bytes each
 *     aq_load_bytes(p), aq_load_sums4(p), aq_all_bytes(value), aq_all_words(value)
 *     aq_store_quarter(p, v)          four sums of each 128 bits, 16 from one to the next
 *     aq_shifted(v, n)                every sum shifted right by its n
 *     aq_packed(q, offset)            four quarters, each value plus the offset, as bytes
 *     aq_bounded(y, lower, upper), aq_store_bytes(p, y, count)
 * and, where it multiplies sums in registers, AQ_MULTIPLIERS, aq_multiplier, aq_multiplier_of,
 * aq_multiplied and aq_in_registers, as finish512.h has them.
 */
typedef struct aq_quarters {
    aq_sums4 q[4];
} aq_quarters;

/* Entries of a chunk that has the order of the quarters, for AQ_QUAD_BYTES of its values. */
static inline __attribute__((always_inline)) aq_quarters aq_load_quarters(const int32_t *p)
{
    aq_quarters x;

    AQ_UNROLL for (int i = 0; i < 4; i++) {
        x.q[i] = aq_load_sums4(p + (i * (AQ_DEPTHWISE / 4)));
    }
    return x;
}

static inline __attribute__((always_inline)) void aq_add_column(aq_quarters *sums,
        const aq_bytes column[4], const uint8_t *weight)
{
    AQ_UNROLL for (int i = 0; i < 4; i++) {
        const aq_bytes w = aq_load_bytes(weight + (AQ_DEPTHWISE * i));
        AQ_DOT_QUADS(sums->q[i], column[i], w);
    }
}

/* How sums are finished: in registers by shifts or multipliers, or by the loops for all forms. */
enum { AQ_BY_SHIFTS, AQ_BY_MULTIPLIERS, AQ_BY_LOOPS };

/* AQ_QUAD_BYTES values of the chunks of one phase in one row of outputs. */
typedef struct aq_strand {
    const aq_depthwise *layer;
    const uint8_t *residual;
    uint8_t *target;
    const uint8_t *rows[4]; /* of the ring */
    const uint8_t *weights;
    ptrdiff_t index;        /* of the row in the target, in values */
    ptrdiff_t limit;        /* values of a row */
    ptrdiff_t first;        /* value of the row, and entry of biases and requantizations */
    ptrdiff_t entry;        /* of those that have the order of the quarters */
    ptrdiff_t least;        /* values where each chunk ends with its pixel, else 0 */
} aq_strand;

/* What finishes sums in registers. */
typedef struct aq_finisher {
    aq_quarters shift;
#if defined(AQ_MULTIPLIERS)
    aq_multiplier multiplier[4];
#endif
    aq_words offset;
    aq_bytes lower, upper;
} aq_finisher;

static inline __attribute__((always_inline)) aq_finisher aq_finisher_of(const int form,
        const aq_strand *t)
{
    const aq_depthwise *s = t->layer;
    aq_finisher f;

    f.offset = aq_all_words((int16_t)s->finish.offset);
    f.lower = aq_all_bytes((int8_t)s->finish.lower);
    f.upper = aq_load_bytes(s->upper + t->first);
    f.shift = aq_load_quarters(s->shift + t->entry);
#if defined(AQ_MULTIPLIERS)
    if (form == AQ_BY_MULTIPLIERS) {
        AQ_UNROLL for (int i = 0; i < 4; i++) {
            const ptrdiff_t from = t->entry + (i * (AQ_DEPTHWISE / 4));
            f.multiplier[i] = aq_multiplier_of(s->multiplier + from, s->shift + from);
        }
    }
#endif
    (void)form;
    return f;
}

/* Sums that the loops finish together: what they prepare is done once for all of them. */
#define AQ_HELD 16

typedef struct aq_held {
    ptrdiff_t count;
    ptrdiff_t index, columns; /* of the first ones, and of each */
    int32_t acc[AQ_HELD * AQ_QUAD_BYTES] __attribute__((aligned(64)));
} aq_held;

static void aq_finish_held(const aq_strand *t, aq_held *held)
{
    if (held->count > 0) {
        AQ_FINISH_TILE(&t->layer->finish, t->first, held->count, held->columns, AQ_QUAD_BYTES,
                held->acc, t->residual, t->target, held->index, t->layer->pitch);
    }
    held->count = 0;
}

/* Finish the sums of the chunk whose part begins at value y of the row; chunks come in order. */
static inline __attribute__((always_inline)) void aq_finish_chunk(const int form,
        const aq_strand *t, const aq_finisher *f, aq_held *held, aq_quarters sums, ptrdiff_t y)
{
    const ptrdiff_t left = t->least ? t->least : (t->limit - y);
    const ptrdiff_t count = (left < AQ_QUAD_BYTES) ? left : AQ_QUAD_BYTES;

    if (form == AQ_BY_LOOPS) {
        if (held->count == AQ_HELD || held->columns != count) {
            aq_finish_held(t, held);
        }
        if (held->count == 0) {
            held->index = t->index + y;
            held->columns = count;
        }
        AQ_UNROLL for (int i = 0; i < 4; i++) {
            aq_store_quarter(held->acc + (held->count * AQ_QUAD_BYTES) + (4 * i), sums.q[i]);
        }
        held->count += 1;
        return;
    }
    AQ_UNROLL for (int i = 0; i < 4; i++) {
#if defined(AQ_MULTIPLIERS)
        if (form == AQ_BY_MULTIPLIERS) {
            sums.q[i] = aq_multiplied(sums.q[i], f->multiplier[i]);
            continue;
        }
#endif
        sums.q[i] = aq_shifted(sums.q[i], f->shift.q[i]);
    }
    aq_store_bytes(t->target + t->index + y,
            aq_bounded(aq_packed(sums.q, f->offset), f->lower, f->upper), count);
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

/* Windows of three by three.  `shared` columns of a chunk are the first ones of the next: they are
 * interleaved once.
 */
static inline __attribute__((always_inline)) void aq_three_columns(const int shared,
        const int form, const aq_strand *t)
{
    const aq_depthwise *s = t->layer;
    const aq_quarters bias = aq_load_quarters(s->bias + t->entry);
    const aq_finisher finisher = aq_finisher_of(form, t);
    const uint8_t *const rows[4] = {t->rows[0], t->rows[1], t->rows[2], t->rows[3]};
    const ptrdiff_t second = s->columns[1];
    const ptrdiff_t third = s->columns[2];
    ptrdiff_t x = t->first; /* in the copy */
    aq_bytes a[4];
    aq_bytes b[4];
    aq_bytes c[4];
    aq_held held;

    held.count = held.columns = 0;
    aq_interleave(3, rows, x, a);
    aq_interleave(3, rows, second + x, b);
    for (ptrdiff_t y = t->first; y < t->limit; y += s->pitch) {
        aq_quarters sums = bias;

        aq_interleave(3, rows, third + x, c);
        if (shared < 1 && y > t->first) {
            aq_interleave(3, rows, x, a);
        }
        if (shared < 2 && y > t->first) {
            aq_interleave(3, rows, second + x, b);
        }
        aq_add_column(&sums, a, t->weights);
        aq_add_column(&sums, b, t->weights + (4 * AQ_DEPTHWISE));
        aq_add_column(&sums, c, t->weights + (8 * AQ_DEPTHWISE));
        aq_finish_chunk(form, t, &finisher, &held, sums, y);
        AQ_UNROLL for (int i = 0; i < 4; i++) {
            a[i] = (shared == 2) ? b[i] : c[i];
            b[i] = c[i];
        }
        x += s->source_pitch;
    }
    if (form == AQ_BY_LOOPS) {
        aq_finish_held(t, &held);
    }
}

/* Windows of any size, which begin in row `slot` of the ring. */
static inline __attribute__((always_inline)) void aq_any_window(const int form, aq_strand *t,
        const uint8_t *ring, ptrdiff_t slot)
{
    const aq_depthwise *s = t->layer;
    const aq_quarters bias = aq_load_quarters(s->bias + t->entry);
    const aq_finisher finisher = aq_finisher_of(form, t);
    ptrdiff_t x = t->first; /* in the copy */
    aq_bytes column[4];
    aq_held held;

    held.count = held.columns = 0;
    for (ptrdiff_t y = t->first; y < t->limit; y += s->pitch) {
        const uint8_t *weight = t->weights;
        aq_quarters sums = bias;

        for (ptrdiff_t ky = 0; ky < s->kernel_height; ky += 4) {
            aq_point(t, ring, slot, ky);
            for (ptrdiff_t kx = 0; kx < s->kernel_width; kx++) {
                aq_interleave(4, t->rows, s->columns[kx] + x, column);
                aq_add_column(&sums, column, weight);
                weight += 4 * AQ_DEPTHWISE;
            }
        }
        aq_finish_chunk(form, t, &finisher, &held, sums, y);
        x += s->source_pitch;
    }
    if (form == AQ_BY_LOOPS) {
        aq_finish_held(t, &held);
    }
}

static inline __attribute__((always_inline)) void aq_run_strand(const int form, aq_strand *t,
        const uint8_t *ring, ptrdiff_t slot)
{
    const aq_depthwise *s = t->layer;

    if (s->kernel_height != 3 || s->kernel_width != 3) {
        aq_any_window(form, t, ring, slot);
    } else if (s->columns[1] == s->source_pitch && s->columns[2] == 2 * s->source_pitch) {
        aq_three_columns(2, form, t);
    } else if (s->columns[2] == s->source_pitch) {
        aq_three_columns(1, form, t);
    } else {
        aq_three_columns(0, form, t);
    }
}

static void aq_strand_of_form(aq_strand *t, const uint8_t *ring, ptrdiff_t slot)
{
    const aq_finish *f = &t->layer->finish;

    if (f->form == AQ_RIGHT_SHIFTS && f->output_size == 1 && f->residual_size == 0
            && aq_small_offset(f)) {
        aq_run_strand(AQ_BY_SHIFTS, t, ring, slot);
#if defined(AQ_MULTIPLIERS)
    } else if (f->residual_size == 0 && aq_in_registers(f)) {
        aq_run_strand(AQ_BY_MULTIPLIERS, t, ring, slot);
#endif
    } else {
        aq_run_strand(AQ_BY_LOOPS, t, ring, slot);
    }
}

/* --- The ring */

/* Copy `count` values at each of `pixels` places, `step` apart. */
static inline __attribute__((always_inline)) void aq_lift(const uint8_t *restrict x,
        ptrdiff_t step, ptrdiff_t count, ptrdiff_t pixels, uint8_t *restrict y)
{
    for (ptrdiff_t i = 0; i < pixels; i++) {
        for (ptrdiff_t j = 0; j < count; j++) {
            y[(i * count) + j] = (uint8_t)AQ_LIFTED(x[(i * step) + j]);
        }
    }
}

/* Write one row with its border to the ring; x is the row of the image, NULL for one outside. */
static void aq_ring_row(const aq_depthwise *s, const uint8_t *x, uint8_t *y)
{
    const aq_images *m = &s->images;
    const ptrdiff_t C = m->channels;
    const ptrdiff_t S = s->planes;
    const ptrdiff_t plane = (m->padded_width + S - 1) / S; /* pixels */
    const int value = (uint8_t)AQ_LIFTED(m->pad_value);

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

        memset(y, value, (size_t)(before * C));
        y += before * C;
        if (S == 1) {
            aq_lift(from, 0, inside * C, 1, y);
        } else if (C == 8) {
            aq_lift(from, S * 8, 8, inside, y);
        } else if (C == 16) {
            aq_lift(from, S * 16, 16, inside, y);
        } else if (C == 32) {
            aq_lift(from, S * 32, 32, inside, y);
        } else {
            aq_lift(from, S * C, C, inside, y);
        }
        y += inside * C;
        memset(y, value, (size_t)((plane - before - inside) * C));
        y += (plane - before - inside) * C;
    }
}

/* The rows [first_row, stop_row) of the outputs of one image; the strand knows where they begin. */
static void aq_depthwise_rows(aq_strand *t, const uint8_t *x, uint8_t *ring, ptrdiff_t first_row,
        ptrdiff_t stop_row)
{
    const aq_depthwise *s = t->layer;
    const aq_images *m = &s->images;
    const ptrdiff_t row_values = m->width * m->channels;
    const ptrdiff_t taps = (s->kernel_height + 3) / 4 * 4 * s->kernel_width;
    ptrdiff_t row = first_row * s->stride_y; /* the next one to be copied, with the border */
    ptrdiff_t slot = 0; /* of the ring, where the window begins */
    ptrdiff_t free = 0; /* of the ring, where the next row goes */

    for (ptrdiff_t y0 = row; y0 < stop_row * s->stride_y; y0 += s->stride_y) {
        for (; row < y0 + s->ring_rows; row++) {
            const ptrdiff_t from = row - m->top;

            if (row < m->padded_height) {
                const int inside = from >= 0 && from < m->height;
                aq_ring_row(s, inside ? (x + (from * row_values)) : NULL,
                        ring + (free * s->row_values));
            }
            free = (free + 1 < s->ring_rows) ? (free + 1) : 0;
        }
        aq_point(t, ring, slot, 0);
        for (ptrdiff_t first = 0; first < s->phases * AQ_DEPTHWISE; first += AQ_QUAD_BYTES) {
            const ptrdiff_t within = first % AQ_DEPTHWISE; /* its phase */

            t->first = first;
            t->entry = first - within + (within / 4);
            t->weights = (const uint8_t *)s->weight + ((first - within) * taps) + within;
            t->least = (s->pitch == m->channels) ? (m->channels - first) : 0;
            /* The row may be shorter than all phases, and a pixel end before its last chunk. */
            if (first < t->limit && (t->least > 0 || s->pitch != m->channels)) {
                aq_strand_of_form(t, ring, slot);
            }
        }
        t->index += t->limit;
        slot = (slot + s->stride_y) % s->ring_rows;
    }
}

static void aq_run_depthwise_s8(const void *step, const aq_workspace *w)
{
    const aq_depthwise *s = step;
    const aq_images *m = &s->images;
    const uint8_t *x = aq_tensor(w, s->source);
    aq_strand t = {.layer = s, .residual = aq_tensor(w, s->residual),
        .target = (uint8_t *)aq_tensor(w, s->target), .limit = s->width * m->channels};

    for (ptrdiff_t n = 0; n < w->batch; n++) {
        const ptrdiff_t first = aq_share(s->height, w->worker, w->workers);

        t.index = ((n * s->height) + first) * t.limit;
        aq_depthwise_rows(&t, x, w->scratch + (w->worker * s->ring_rows * s->row_values), first,
                aq_share(s->height, w->worker + 1, w->workers));
        x += m->height * m->width * m->channels;
    }
}
