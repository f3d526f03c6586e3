/* What the instruction sets with VNNI share, whatever the size of their vectors: tiles, and all but
 * the stores of depthwise_quads.h.  Before come
 *     AQ_VEC                    a vector of any kind, and AQ_LOAD
 *     AQ_MM(name)               the intrinsic of that name for such vectors
 *     AQ_DOT4, AQ_DOT2          products of four bytes, and of two int16
 *     aq_spread(value)          32 bits in every lane
 *     aq_128_more(x)            each byte 128 more
 */

/* --- Tiles */

/* The four bytes at p, each 128 more, in every lane. */
static inline AQ_VEC aq_splat4(const int8_t *p)
{
    int32_t quad;

    memcpy(&quad, p, sizeof quad);
    return aq_128_more(aq_spread(quad));
}

/* The same of a copy that has them added. */
static inline AQ_VEC aq_splat_lifted(const uint8_t *p)
{
    int32_t quad;

    memcpy(&quad, p, sizeof quad);
    return aq_spread(quad);
}

static inline AQ_VEC aq_splat2(const int16_t *p)
{
    int32_t pair;

    memcpy(&pair, p, sizeof pair);
    return aq_spread(pair);
}

#define AQ_NAME(x) s8_##x
#define AQ_OPERAND int8_t
#define AQ_SPLAT(p) aq_splat4(p)
#define AQ_DOT AQ_DOT4
#include "tiles.h"
#undef AQ_NAME
#undef AQ_OPERAND
#undef AQ_SPLAT

#define AQ_NAME(x) u8_##x
#define AQ_OPERAND uint8_t
#define AQ_SPLAT(p) aq_splat_lifted(p)
#include "tiles.h"
#undef AQ_NAME
#undef AQ_OPERAND
#undef AQ_SPLAT
#undef AQ_DOT
#undef AQ_FINISH_SUMS /* sums of int16 are finished through memory */

#define AQ_NAME(x) s16_##x
#define AQ_OPERAND int16_t
#define AQ_SPLAT(p) aq_splat2(p)
#define AQ_DOT AQ_DOT2
#include "tiles.h"

/* --- For depthwise_quads.h */

#define AQ_DOT_QUADS AQ_DOT4

typedef AQ_VEC aq_bytes;
typedef AQ_VEC aq_words;
typedef AQ_VEC aq_sums4;

static inline AQ_VEC aq_load_bytes(const void *p)
{
    return AQ_LOAD(p);
}

static inline AQ_VEC aq_load_sums4(const int32_t *p)
{
    return AQ_LOAD(p);
}

static inline AQ_VEC aq_all_bytes(int8_t value)
{
    return AQ_MM(set1_epi8)(value);
}

static inline AQ_VEC aq_all_words(int16_t value)
{
    return AQ_MM(set1_epi16)(value);
}

static inline __attribute__((always_inline)) void aq_interleave(const int height,
        const uint8_t *const row[4], ptrdiff_t x, AQ_VEC column[4])
{
    const AQ_VEC a = AQ_LOAD(row[0] + x);
    const AQ_VEC b = AQ_LOAD(row[1] + x);
    const AQ_VEC c = AQ_LOAD(row[2] + x);
    const AQ_VEC d = (height == 3) ? a : AQ_LOAD(row[3] + x);
    const AQ_VEC low = AQ_MM(unpacklo_epi8)(a, b);
    const AQ_VEC high = AQ_MM(unpackhi_epi8)(a, b);
    const AQ_VEC low_next = AQ_MM(unpacklo_epi8)(c, d);
    const AQ_VEC high_next = AQ_MM(unpackhi_epi8)(c, d);

    column[0] = AQ_MM(unpacklo_epi16)(low, low_next);
    column[1] = AQ_MM(unpackhi_epi16)(low, low_next);
    column[2] = AQ_MM(unpacklo_epi16)(high, high_next);
    column[3] = AQ_MM(unpackhi_epi16)(high, high_next);
}

static inline AQ_VEC aq_shifted(AQ_VEC sums, AQ_VEC shift)
{
    return AQ_MM(srav_epi32)(sums, shift);
}

static inline __attribute__((always_inline)) AQ_VEC aq_packed(const AQ_VEC q[4], AQ_VEC offset)
{
    return AQ_MM(packs_epi16)(AQ_MM(adds_epi16)(offset, AQ_MM(packs_epi32)(q[0], q[1])),
            AQ_MM(adds_epi16)(offset, AQ_MM(packs_epi32)(q[2], q[3])));
}

static inline AQ_VEC aq_bounded(AQ_VEC y, AQ_VEC lower, AQ_VEC upper)
{
    return AQ_MM(min_epi8)(upper, AQ_MM(max_epi8)(lower, y));
}
