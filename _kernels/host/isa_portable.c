/* What every machine has: plain C, and on x86-64 the four sums of SSE2. */
#include <string.h>

#include "engine.h"
#include "tile_rows.h"

#define AQ_ISA aq_portable
#define AQ_ISA_NAME "portable"
#define AQ_LANES 4
#define AQ_VECTORS 2
#define AQ_S8_DIRECT 0
#define AQ_S8_SHIFTED 0
#define AQ_ROWS(V) (((V) == 2) ? 4 : 6)
#define AQ_EACH_TILE(X) AQ_ROWS_6(X, 1) AQ_ROWS_4(X, 2)

static int aq_isa_available(void)
{
    return 1;
}

#if defined(__SSE2__)
#include <emmintrin.h>

#define AQ_VEC __m128i
#define AQ_W __m128i
#define AQ_SPLATTED __m128i
#define AQ_LOAD(p) _mm_loadu_si128((const __m128i *)(p))
#define AQ_STORE(p, v) _mm_storeu_si128((__m128i *)(p), (v))
#define AQ_LOAD_W(p) _mm_loadu_si128((const __m128i *)(p))
#define AQ_DOT(acc, a, w) ((acc) = _mm_add_epi32((acc), _mm_madd_epi16((a), (w))))

static inline __m128i aq_splat2(const int16_t *p)
{
    int32_t pair;

    memcpy(&pair, p, sizeof pair);
    return _mm_set1_epi32(pair);
}
#define AQ_SPLAT(p) aq_splat2(p)

#else

typedef struct aq_sums {
    int32_t lane[4];
} aq_sums;

typedef struct aq_pairs {
    int16_t value[8];
} aq_pairs;

static inline aq_sums aq_load(const int32_t *p)
{
    aq_sums sums;

    memcpy(&sums, p, sizeof sums);
    return sums;
}

static inline aq_pairs aq_load_pairs(const uint8_t *p)
{
    aq_pairs pairs;

    memcpy(&pairs, p, sizeof pairs);
    return pairs;
}

static inline aq_sums aq_dot(aq_sums sums, const int16_t *a, aq_pairs w)
{
    for (int i = 0; i < 4; i++) {
        sums.lane[i] += (a[0] * w.value[2 * i]) + (a[1] * w.value[(2 * i) + 1]);
    }
    return sums;
}

#define AQ_VEC aq_sums
#define AQ_W aq_pairs
#define AQ_SPLATTED int16_t *const
#define AQ_LOAD(p) aq_load(p)
#define AQ_STORE(p, v) memcpy((p), &(v), sizeof(v))
#define AQ_LOAD_W(p) aq_load_pairs(p)
#define AQ_SPLAT(p) (p)
#define AQ_DOT(acc, a, w) ((acc) = aq_dot((acc), (a), (w)))
#endif

#define AQ_NAME(x) s16_##x
#define AQ_OPERAND int16_t
#include "finish.h"
#include "tiles.h"
#include "steps.h"
