/* The instruction sets that this build knows, best first. */
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
