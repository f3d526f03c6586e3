/* The instruction sets that this build knows, best first. */
#include <sched.h>

#include "engine.h"

extern const aq_isa aq_portable;
#if defined(AQ_X86)
extern const aq_isa aq_avx2;
extern const aq_isa aq_avx512vnni;
extern const aq_isa aq_avx512vnni256;
#endif
#if defined(AQ_AVXVNNI)
extern const aq_isa aq_avxvnni;
#endif
#if defined(AQ_AARCH64)
extern const aq_isa aq_neon;
#endif
#if defined(AQ_NEONDOT)
extern const aq_isa aq_neondot;
#endif

const aq_isa *const aq_isas[] = {
#if defined(AQ_X86)
    &aq_avx512vnni,
    &aq_avx512vnni256,
#if defined(AQ_AVXVNNI)
    &aq_avxvnni,
#endif
    &aq_avx2,
#endif
#if defined(AQ_NEONDOT)
    &aq_neondot,
#endif
#if defined(AQ_AARCH64)
    &aq_neon,
#endif
    &aq_portable,
    NULL
};

/* Steps are short: a worker that has waited for so many rounds lets other threads run. */
#define AQ_PATIENCE 2000

int aq_meet(const aq_workspace *workspace)
{
    aq_barrier *b = workspace->barrier;

    if (workspace->workers > 1) {
        const int round = atomic_load(&b->round);

        if (atomic_fetch_add(&b->waiting, 1) + 1 == workspace->workers) {
            atomic_store(&b->waiting, 0);
            atomic_fetch_add(&b->round, 1);
        }
        for (int i = 0; atomic_load(&b->round) == round; i++) {
            if (atomic_load(&b->left)) {
                return 0;
            }
            if (i >= AQ_PATIENCE) {
                sched_yield();
            }
        }
    }
    return 1;
}

void aq_leave(aq_barrier *barrier)
{
    atomic_store(&barrier->left, 1);
}

#define AQ_SWAP(type) \
static void aq_swap_##type(const type *restrict x, ptrdiff_t rows, ptrdiff_t columns, \
        type *restrict y) \
{ \
    if (rows == 3) { \
        for (ptrdiff_t c = 0; c < columns; c++) { \
            y[3 * c] = x[c]; \
            y[(3 * c) + 1] = x[columns + c]; \
            y[(3 * c) + 2] = x[(2 * columns) + c]; \
        } \
        return; \
    } \
    /* Blocks of 16 columns: what is read and what is written both stay in the cache. */ \
    for (ptrdiff_t first = 0; first < columns; first += 16) { \
        const ptrdiff_t stop = (columns - first < 16) ? columns : (first + 16); \
        for (ptrdiff_t r = 0; r < rows; r++) { \
            for (ptrdiff_t c = first; c < stop; c++) { \
                y[(c * rows) + r] = x[(r * columns) + c]; \
            } \
        } \
    } \
}
AQ_SWAP(int8_t)
AQ_SWAP(int16_t)
AQ_SWAP(int32_t)

void aq_swap_axes(const void *x, ptrdiff_t rows, ptrdiff_t columns, int32_t size, void *y)
{
    if (size == 1) {
        aq_swap_int8_t(x, rows, columns, y);
    } else if (size == 2) {
        aq_swap_int16_t(x, rows, columns, y);
    } else {
        aq_swap_int32_t(x, rows, columns, y);
    }
}
