/* aarch64 with the products of ARMv8.2: four sums of four products of int8 in one instruction. */
#if defined(__APPLE__)
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
#include "steps.h"
