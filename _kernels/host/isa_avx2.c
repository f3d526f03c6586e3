/* AVX2: 8 sums of two products of int16 in one instruction, for int8 data too.
 *
 * The instruction that multiplies bytes saturates their sums: it cannot be used.
 */
#include <immintrin.h>
#include <string.h>

#include "engine.h"
#include "tile_rows.h"

#include "finish256.h"

#define AQ_ISA aq_avx2
#define AQ_ISA_NAME "avx2"
#define AQ_LANES 8
#define AQ_VECTORS 2
#define AQ_S8_DIRECT 0
#define AQ_S8_SHIFTED 0
#define AQ_ROWS(V) (((V) == 2) ? 6 : 8)
#define AQ_EACH_TILE(X) AQ_ROWS_8(X, 1) AQ_ROWS_6(X, 2)

static int aq_isa_available(void)
{
    return __builtin_cpu_supports("avx2");
}

#define AQ_VEC __m256i
#define AQ_W __m256i
#define AQ_SPLATTED __m256i
#define AQ_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define AQ_STORE(p, v) _mm256_storeu_si256((__m256i *)(p), (v))
#define AQ_LOAD_W(p) _mm256_loadu_si256((const __m256i *)(p))

static inline __m256i aq_splat2(const int16_t *p)
{
    int32_t pair;

    memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
}

#define AQ_NAME(x) s16_##x
#define AQ_OPERAND int16_t
#define AQ_SPLAT(p) aq_splat2(p)
#define AQ_DOT(acc, a, w) ((acc) = _mm256_add_epi32((acc), _mm256_madd_epi16((a), (w))))
#include "tiles.h"
#include "steps.h"
