/* aarch64 with the products of ARMv8.2: four sums of four products of int8 in one instruction. */
#if defined(__APPLE__)
#include <sys/types.h>

#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#endif

#define AQ_ISA aq_neondot
#define AQ_ISA_NAME "neondot"
#define AQ_S8_DIRECT 1
#define AQ_S8_SHIFTED 0
/* 24 sums, 4 weights and data in 32 registers. */
#define AQ_ROWS(V) (((V) == 2) ? 6 : 12)
#define AQ_EACH_TILE(X) AQ_ROWS_12(X, 1) AQ_ROWS_6(X, 2)

#if defined(__linux__)
/* HWCAP_ASIMDDP of asm/hwcap.h, which old headers lack. */
#define AQ_HWCAP_ASIMDDP (1UL << 20)
#endif

static int aq_isa_available(void)
{
#if defined(__APPLE__)
    int there = 0;
    size_t size = sizeof there;

    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &there, &size, NULL, 0) == 0 && there != 0;
#elif defined(__linux__)
    return (getauxval(AT_HWCAP) & AQ_HWCAP_ASIMDDP) != 0;
#else
    return 0;
#endif
}

#include "neon.h"

/* Weights of 8 channels for four steps. */
typedef struct aq_quads {
    int8x16_t low, high;
} aq_quads;

static inline __attribute__((always_inline)) aq_quads aq_load_quads(const uint8_t *p)
{
    return (aq_quads){vreinterpretq_s8_u8(vld1q_u8(p)), vreinterpretq_s8_u8(vld1q_u8(p + 16))};
}

static inline __attribute__((always_inline)) aq_sums aq_dot4(aq_sums sums, int8x8_t a, aq_quads w)
{
    sums.low = vdotq_lane_s32(sums.low, w.low, a, 0);
    sums.high = vdotq_lane_s32(sums.high, w.high, a, 0);
    return sums;
}

#define AQ_NAME(x) s8_##x
#define AQ_OPERAND int8_t
#define AQ_W aq_quads
#define AQ_LOAD_W(p) aq_load_quads(p)
#define AQ_SPLATTED int8x8_t
#define AQ_SPLAT(p) vreinterpret_s8_u32(aq_load_quad(p))
#define AQ_DOT(acc, a, w) ((acc) = aq_dot4((acc), (a), (w)))
#include "tiles.h"

/* --- For depthwise_quads.h */

#define AQ_QUAD_BYTES 16
#define AQ_DOT_QUADS(acc, x, w) ((acc) = vdotq_s32((acc), (x), (w)))

typedef int8x16_t aq_bytes;
typedef int16x8_t aq_words;
typedef int32x4_t aq_sums4;

static inline int8x16_t aq_load_bytes(const void *p)
{
    return vld1q_s8(p);
}

static inline int8x16_t aq_all_bytes(int8_t value)
{
    return vdupq_n_s8(value);
}

static inline int16x8_t aq_all_words(int16_t value)
{
    return vdupq_n_s16(value);
}

static inline int32x4_t aq_load_sums4(const int32_t *p)
{
    return vld1q_s32(p);
}

static inline void aq_store_quarter(int32_t *p, int32x4_t sums)
{
    vst1q_s32(p, sums);
}

static inline __attribute__((always_inline)) void aq_interleave(const int height,
        const uint8_t *const row[4], ptrdiff_t x, int8x16_t column[4])
{
    const int8x16_t a = aq_load_bytes(row[0] + x);
    const int8x16_t b = aq_load_bytes(row[1] + x);
    const int8x16_t c = aq_load_bytes(row[2] + x);
    const int8x16_t d = (height == 3) ? a : aq_load_bytes(row[3] + x);
    const int16x8_t low = vreinterpretq_s16_s8(vzip1q_s8(a, b));
    const int16x8_t high = vreinterpretq_s16_s8(vzip2q_s8(a, b));
    const int16x8_t low_next = vreinterpretq_s16_s8(vzip1q_s8(c, d));
    const int16x8_t high_next = vreinterpretq_s16_s8(vzip2q_s8(c, d));

    column[0] = vreinterpretq_s8_s16(vzip1q_s16(low, low_next));
    column[1] = vreinterpretq_s8_s16(vzip2q_s16(low, low_next));
    column[2] = vreinterpretq_s8_s16(vzip1q_s16(high, high_next));
    column[3] = vreinterpretq_s8_s16(vzip2q_s16(high, high_next));
}

static inline int32x4_t aq_shifted(int32x4_t sums, int32x4_t shift)
{
    return vshlq_s32(sums, vnegq_s32(shift));
}

static inline __attribute__((always_inline)) int8x16_t aq_packed(const int32x4_t q[4],
        int16x8_t offset)
{
    const int16x8_t low = vqaddq_s16(offset, vqmovn_high_s32(vqmovn_s32(q[0]), q[1]));
    const int16x8_t high = vqaddq_s16(offset, vqmovn_high_s32(vqmovn_s32(q[2]), q[3]));

    return vqmovn_high_s16(vqmovn_s16(low), high);
}

static inline int8x16_t aq_bounded(int8x16_t y, int8x16_t lower, int8x16_t upper)
{
    return vminq_s8(upper, vmaxq_s8(lower, y));
}

static inline __attribute__((always_inline)) void aq_store_bytes(uint8_t *p, int8x16_t y,
        ptrdiff_t count)
{
    const uint64x2_t halves = vreinterpretq_u64_s8(y);
    uint64_t left = vgetq_lane_u64(halves, 0);

    if (count == 16) {
        vst1q_u8(p, vreinterpretq_u8_s8(y));
        return;
    }
    if (count & 8) {
        memcpy(p, &left, 8);
        left = vgetq_lane_u64(halves, 1);
        p += 8;
    }
    for (ptrdiff_t i = 0; i < (count & 7); i++) {
        p[i] = (uint8_t)(left >> (8 * i));
    }
}

#include "steps.h"
