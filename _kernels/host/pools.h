/* Average and largest value of windows; a part of steps.h. */
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
    const ptrdiff_t C = s->channels; \
    const ptrdiff_t pixels = s->height * s->width; \
    const ptrdiff_t begin = aq_share(pixels, w->worker, w->workers); \
    const ptrdiff_t stop = aq_share(pixels, w->worker + 1, w->workers); \
    \
    for (ptrdiff_t n = 0; n < w->batch; n++) { \
        type *y = (type *)aq_tensor(w, s->target) + (((n * pixels) + begin) * C); \
        for (ptrdiff_t i = begin; i < stop; i++) { \
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
    const ptrdiff_t pixels = s->height * s->width;
    const ptrdiff_t begin = aq_share(pixels, w->worker, w->workers);
    const ptrdiff_t stop = aq_share(pixels, w->worker + 1, w->workers);
    int32_t acc[AQ_BLOCK] __attribute__((aligned(64)));

    for (ptrdiff_t n = 0; n < w->batch; n++) {
        uint8_t *y = (uint8_t *)aq_tensor(w, s->target) + (((n * pixels) + begin) * C * written);
        for (ptrdiff_t i = begin; i < stop; i++) {
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
