/* Reshape, Slice, Pad and the parts of Concat; a part of steps.h. */
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

    if (w->worker > 0) { /* little to share */
        return;
    }
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
