/* Kernels that digits uses; include from digits.c only.
 *
 * Written by aidge_quant 0.1.0 from the network "digits"; edit the model, not this file.
 */
#ifndef DIGITS_KERNELS_H
#define DIGITS_KERNELS_H

#include <limits.h>
#include <stdint.h>

/* C99 has no _Static_assert: a negative array size stops the compiler instead. */
#define DIGITS_STATIC_ASSERT(condition, reason) \
    typedef char digits_assert_##reason[(condition) ? 1 : -1]

DIGITS_STATIC_ASSERT(CHAR_BIT == 8, bytes_have_8_bits);
DIGITS_STATIC_ASSERT((-1 >> 1) == -1, right_shift_keeps_the_sign);
DIGITS_STATIC_ASSERT((-7 / 2) == -3, division_rounds_towards_zero);

/* From the accumulator to the stored value, the same for all channels. */
typedef struct {
    int32_t shift;
    int32_t offset;
    int32_t lower;
    int32_t upper;
} digits_scaling_t;

/* From the accumulator to the stored value, a shift for every channel. */
typedef struct {
    const int8_t *shift;
    int32_t offset;
    int32_t lower;
    int32_t upper;
} digits_channel_scaling_t;

static inline int32_t digits_clip(int32_t value, int32_t lower, int32_t upper)
{
    int32_t clipped = value;

    if (value < lower) {
        clipped = lower;
    } else if (value > upper) {
        clipped = upper;
    } else {
        /* in range */
    }
    return clipped;
}

/* The first tap of a window that starts at `start` and is not before the input. */
static inline int32_t digits_first_tap(int32_t start, int32_t dilation)
{
    return (start < 0) ? ((dilation - 1 - start) / dilation) : 0;
}

/* One more than the last of `taps` taps that is not behind an input of `size` positions. */
static inline int32_t digits_end_tap(int32_t start, int32_t dilation, int32_t size, int32_t taps)
{
    const int32_t inside = (start < size) ? ((size - 1 - start) / dilation) + 1 : 0;

    return (inside < taps) ? inside : taps;
}

/* acc / 2^shift; the rounding constant is part of the bias. */
static inline int32_t digits_requantize(int32_t acc, int32_t shift, int32_t lower, int32_t upper)
{
    return digits_clip(acc >> shift, lower, upper);
}

/* Which instructions there are: those of Thumb-1 (Cortex-M0, M0+, M1, M23), those of Thumb-2 (from
 * Cortex-M3 on), among these those that multiply and add two pairs of 16 bits at once (from
 * Cortex-M4 on). Plain C elsewhere.
 */
#if defined(__GNUC__) && defined(__thumb2__) && !defined(__ARM_BIG_ENDIAN) \
        && (defined(__ARM_FEATURE_UNALIGNED) || defined(__clang__))
#define DIGITS_THUMB 2
#elif defined(__GNUC__) && defined(__thumb__) && !defined(__thumb2__) \
        && !defined(__ARM_BIG_ENDIAN)
#define DIGITS_THUMB 1
#else
#define DIGITS_THUMB 0
#endif
#if (DIGITS_THUMB == 2) && defined(__ARM_FEATURE_DSP)
#define DIGITS_DSP 1
#else
#define DIGITS_DSP 0
#endif
#if defined(__GNUC__)
#define DIGITS_INLINE static inline __attribute__((always_inline))
#else
#define DIGITS_INLINE static inline
#endif

#if DIGITS_THUMB != 0
/* Lines without instructions. A compiler takes a line of assembly for 4 bytes and does not see that
 * lines are repeated: so many as are added then keep what it places behind them within reach.
 */
#define DIGITS_LINES_32 \
    "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n" \
    "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
#define DIGITS_LINES_128 \
    DIGITS_LINES_32 DIGITS_LINES_32 DIGITS_LINES_32 DIGITS_LINES_32
#define DIGITS_LINES_256 DIGITS_LINES_128 DIGITS_LINES_128
#endif

DIGITS_STATIC_ASSERT((int32_t)UINT32_MAX == -1, conversion_to_signed_wraps);

#if DIGITS_THUMB == 2

/* A word at any address, whatever is stored there. */
typedef uint32_t __attribute__((may_alias, aligned(1))) digits_word_t;

DIGITS_INLINE uint32_t digits_load4(const int8_t *p)
{
    return *(const digits_word_t *)p;
}

DIGITS_INLINE void digits_store4(int8_t *p, uint32_t word)
{
    *(digits_word_t *)p = word;
}

/* The nearest value that int8 has. */
DIGITS_INLINE int32_t digits_ssat(int32_t value)
{
    int32_t near;

    __asm__("ssat %0, #8, %1" : "=r"(near) : "r"(value));
    return near;
}

/* The nearest value of 0 to 127. */
DIGITS_INLINE int32_t digits_usat(int32_t value)
{
    int32_t near;

    __asm__("usat %0, #7, %1" : "=r"(near) : "r"(value));
    return near;
}

#else

/* The nearest value that int8 has. */
DIGITS_INLINE int32_t digits_ssat(int32_t value)
{
    return (value < -128) ? -128 : ((value > 127) ? 127 : value);
}

/* The nearest value of 0 to 127. */
DIGITS_INLINE int32_t digits_usat(int32_t value)
{
    return (value < 0) ? 0 : ((value > 127) ? 127 : value);
}

#endif
#if DIGITS_DSP

/* Words of two values of 16 bits, the first in the low half. */
DIGITS_INLINE uint32_t digits_load2(const int16_t *p)
{
    return *(const digits_word_t *)p;
}

/* The low halves of two words, and the high halves. */
DIGITS_INLINE uint32_t digits_lows(uint32_t first, uint32_t second)
{
    return (first & 0xFFFFu) | (second << 16);
}

DIGITS_INLINE uint32_t digits_highs(uint32_t first, uint32_t second)
{
    return (first >> 16) | (second & 0xFFFF0000u);
}

/* acc + a.low * b.low + a.high * b.high, modulo 2^32. */
DIGITS_INLINE int32_t digits_smlad(uint32_t a, uint32_t b, int32_t acc)
{
    int32_t sum;

    __asm__("smlad %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(acc));
    return sum;
}

/* Bytes 0 and 2, their signs extended. */
DIGITS_INLINE uint32_t digits_sxtb16(uint32_t bytes)
{
    uint32_t pair;

    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(bytes));
    return pair;
}

/* Bytes 1 and 3, their signs extended. */
DIGITS_INLINE uint32_t digits_sxtb16_8(uint32_t bytes)
{
    uint32_t pair;

    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(bytes));
    return pair;
}

#endif
/* Widen `rows` rows of 4 * `quads` values, `gap` values apart, to 16 bits for one of four columns:
 * of each 4 values, first the pair of the first and the third, then that of the others, each
 * beside the pairs of the other columns. Skip `to_gap` values of the columns behind each row.
 */
static void digits_dsp_widen(const int8_t *from, int32_t rows, int32_t quads, int32_t gap,
        int16_t *to, int32_t to_gap)
{
#if DIGITS_THUMB == 2
    /* A turn of the unrolled loop has so many bytes. */
    const int32_t turn = DIGITS_DSP ? 20 : 32;
    register const int8_t *source __asm__("r0") = from;
    register int16_t *target __asm__("r1") = to;
    register int32_t left __asm__("r2") = rows;
    register int32_t more __asm__("r3") = gap;
    register int32_t skip __asm__("r4") = turn * (-quads & 3);
    register int32_t length __asm__("r5") = 4 * quads;
    register int32_t behind __asm__("r6") = 2 * to_gap;

    /* The first turn of a row begins in the midst of the unrolled ones. */
    __asm__ volatile(
                "1:\n"
                "add r10, r0, r5\n"
                "add pc, r4\n"
                "nop\n"
                "2:\n"
                ".rept 4\n"
#if DIGITS_DSP
                "ldr r8, [r0], #4\n"
                "sxtb16 r9, r8\n"
                "sxtb16 r8, r8, ror #8\n"
                "str r9, [r1], #16\n"
                "str r8, [r1], #16\n"
#else
                "ldrsb r8, [r0, #1]\n"
                "ldrsb r9, [r0, #2]\n"
                "strh r8, [r1, #16]\n"
                "strh r9, [r1, #2]\n"
                "ldrsb r8, [r0, #3]\n"
                "ldrsb r9, [r0], #4\n"
                "strh r8, [r1, #18]\n"
                "strh r9, [r1], #32\n"
#endif
                ".endr\n"
                DIGITS_LINES_32
                "cmp r0, r10\n"
                "bne 2b\n"
                "add r0, r0, r3\n"
                "add r1, r1, r6\n"
                "subs r2, r2, #1\n"
                "bne 1b\n"
            : "+r"(source), "+r"(target), "+r"(left)
            : "r"(more), "r"(skip), "r"(length), "r"(behind)
            : "r8", "r9", "r10", "cc", "memory");
#else
    for (int32_t row = 0; row < rows; row++) {
        for (int32_t i = 0; i < quads; i++) {
            to[0] = from[0];
            to[1] = from[2];
            to[8] = from[1];
            to[9] = from[3];
            from += 4;
            to += 16;
        }
        from += gap;
        to += to_gap;
    }
#endif
}

/* Whether one window is multiplied with the weights of eight channels at once. */
#define DIGITS_EIGHT ((DIGITS_THUMB == 2) && (DIGITS_DSP == 0))

/* Turns of the unrolled loops over four windows, a power of two, and bytes of a turn of all loops:
 * their first turn begins in the midst of the unrolled ones.
 */
#if DIGITS_DSP
#define DIGITS_TURNS 16
#define DIGITS_STEP 48
#define DIGITS_STEP_WIDE 52
#define DIGITS_STEP_INT4 116
#define DIGITS_QUAD 68
#define DIGITS_QUAD_WIDE 84
#define DIGITS_QUAD_INT4 108
#define DIGITS_QUAD_WIDE_X16 92
#define DIGITS_QUAD_INT4_X16 116
#else
#define DIGITS_TURNS 4
#define DIGITS_STEP 112
#define DIGITS_STEP_WIDE 112
#define DIGITS_STEP_INT4 240
#define DIGITS_QUAD 144
#define DIGITS_QUAD_WIDE 144
#define DIGITS_QUAD_INT4 152
#define DIGITS_QUAD_WIDE_X16 144
#define DIGITS_QUAD_INT4_X16 152
#endif

#if DIGITS_THUMB == 0
/* A half of the words: all of it, which is 256 times the second weight plus the first, and either
 * byte of it.
 */
#if defined(__GNUC__) && defined(__BYTE_ORDER__) && (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
typedef int16_t __attribute__((may_alias)) digits_half_t;

DIGITS_INLINE int32_t digits_joined(const int32_t *words, int32_t half)
{
    return ((const digits_half_t *)words)[half];
}

DIGITS_INLINE int32_t digits_first(const int32_t *words, int32_t half)
{
    return ((const int8_t *)words)[2 * half];
}

DIGITS_INLINE int32_t digits_second(const int32_t *words, int32_t half)
{
    return ((const int8_t *)words)[(2 * half) + 1];
}
#else
DIGITS_INLINE int32_t digits_joined(const int32_t *words, int32_t half)
{
    return (int16_t)((uint32_t)words[half / 2] >> (16 * (half % 2)));
}

DIGITS_INLINE int32_t digits_first(const int32_t *words, int32_t half)
{
    return (int8_t)digits_joined(words, half);
}

DIGITS_INLINE int32_t digits_second(const int32_t *words, int32_t half)
{
    return digits_joined(words, half) >> 8;
}
#endif
#endif

/* 256 * second + first, and what is left of such a sum without the first, both modulo 2^32. */
DIGITS_INLINE int32_t digits_join(int32_t second, int32_t first)
{
    return (int32_t)(((uint32_t)second * 256u) + (uint32_t)first);
}

DIGITS_INLINE int32_t digits_difference(int32_t joined, int32_t first)
{
    return (int32_t)((uint32_t)joined - (uint32_t)first);
}

/* sums[j] and sums[4 + j] += column j times the weights of the first and of the second channel.
 *
 * A step is 4 pairs of inputs, one a column, and a word of weights for a pair: each half is the
 * weight of the first channel plus 256 times that of the second. What is added to the second sum
 * is so 256 times its own plus that of the first, modulo 2^32.
 */
DIGITS_INLINE void digits_dot4(const int16_t *columns,
        const int32_t *weight, int32_t steps, int32_t *sums)
{
#if DIGITS_THUMB == 2
    /* All registers but the stack pointer are in use: r7, which may be the frame pointer, is saved
     * by hand. The steps are unrolled, and the first turn begins in the midst of them.
     */
    register int32_t a0 __asm__("r4") = sums[0];
    register int32_t a1 __asm__("r5") = sums[1];
    register int32_t a2 __asm__("r6") = sums[2];
    register int32_t a3 __asm__("r8") = sums[3];
    register int32_t b0 __asm__("r9") = sums[4];
    register int32_t b1 __asm__("r10") = sums[5];
    register int32_t b2 __asm__("r11") = sums[6];
    register int32_t b3 __asm__("r12") = sums[7];
    register const int16_t *from __asm__("r0") = columns;
    register const int32_t *words __asm__("r1") = weight;
    register int32_t skip __asm__("r2") = DIGITS_STEP * (-steps & (DIGITS_TURNS - 1));
    register const int16_t *end __asm__("r3") = &columns[8 * steps];

    __asm__ volatile(
                "push {r3, r7}\n"
                "add pc, r2\n"
                "nop\n"
                "1:\n"
#if DIGITS_DSP
                ".rept 16\n"
                "ldr r2, [r1], #4\n"
                "ldrd r7, lr, [r0], #8\n"
                "sxtb16 r3, r2\n"
                "smlad r4, r7, r3, r4\n"
                "smlad r9, r7, r2, r9\n"
                "smlad r5, lr, r3, r5\n"
                "smlad r10, lr, r2, r10\n"
                "ldrd r7, lr, [r0], #8\n"
                "smlad r6, r7, r3, r6\n"
                "smlad r11, r7, r2, r11\n"
                "smlad r8, lr, r3, r8\n"
                "smlad r12, lr, r2, r12\n"
#else
                ".rept 4\n"
                "ldrsh r3, [r1, #2]\n"
                "ldrsb r2, [r1, #2]\n"
                "ldrsh r7, [r0, #14]\n"
                "ldrsh lr, [r0, #10]\n"
                "mla r8, r7, r2, r8\n"
                "mla r12, r7, r3, r12\n"
                "mla r6, lr, r2, r6\n"
                "mla r11, lr, r3, r11\n"
                "ldrsh r7, [r0, #6]\n"
                "ldrsh lr, [r0, #2]\n"
                "mla r5, r7, r2, r5\n"
                "mla r10, r7, r3, r10\n"
                "mla r4, lr, r2, r4\n"
                "mla r9, lr, r3, r9\n"
                "ldrsh r3, [r1, #0]\n"
                "ldrsb r2, [r1], #4\n"
                "ldrsh r7, [r0, #12]\n"
                "ldrsh lr, [r0, #8]\n"
                "mla r8, r7, r2, r8\n"
                "mla r12, r7, r3, r12\n"
                "mla r6, lr, r2, r6\n"
                "mla r11, lr, r3, r11\n"
                "ldrsh r7, [r0, #4]\n"
                "ldrsh lr, [r0], #16\n"
                "mla r5, r7, r2, r5\n"
                "mla r10, r7, r3, r10\n"
                "mla r4, lr, r2, r4\n"
                "mla r9, lr, r3, r9\n"
#endif
                ".endr\n"
                DIGITS_LINES_256
                "ldr r2, [sp]\n"
                "cmp r0, r2\n"
                "bne 1b\n"
                "pop {r3, r7}\n"
            : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3), "+r"(b0), "+r"(b1), "+r"(b2), "+r"(b3),
              "+r"(from), "+r"(words), "+r"(skip), "+r"(end)
            :
            : "lr", "cc", "memory");
    sums[0] = a0;
    sums[1] = a1;
    sums[2] = a2;
    sums[3] = a3;
    sums[4] = b0;
    sums[5] = b1;
    sums[6] = b2;
    sums[7] = b3;
#elif DIGITS_THUMB == 1
    register const int16_t *from __asm__("r0") = columns;
    register const int32_t *words __asm__("r1") = weight;
    register int32_t *results __asm__("r2") = sums;
    register const int16_t *end __asm__("r3") = &columns[8 * steps];

    /* Six of the sums are in the high registers, which can be added to but not multiplied. r7 may
     * be the frame pointer.
     */
    __asm__ volatile(
                ".syntax unified\n"
                "push {r2, r3, r7}\n"
                "ldmia r2!, {r4, r5, r6, r7}\n"
                "mov r8, r5\n"
                "mov r9, r6\n"
                "mov r10, r7\n"
                "movs r6, r4\n"
                "ldmia r2!, {r3, r4, r5, r7}\n"
                "mov r11, r4\n"
                "mov r12, r5\n"
                "mov lr, r7\n"
                "movs r7, r3\n"
                "1:\n"
                ".rept 2\n"
                "ldr r3, [r1]\n"
                "sxtb r2, r3\n"
                "sxth r3, r3\n"
                "ldr r4, [r0, #0]\n"
                "sxth r4, r4\n"
                "movs r5, r4\n"
                "muls r5, r2, r5\n"
                "add r6, r6, r5\n"
                "muls r4, r3, r4\n"
                "add r7, r7, r4\n"
                "ldr r4, [r0, #4]\n"
                "sxth r4, r4\n"
                "movs r5, r4\n"
                "muls r5, r2, r5\n"
                "add r8, r8, r5\n"
                "muls r4, r3, r4\n"
                "add r11, r11, r4\n"
                "ldr r4, [r0, #8]\n"
                "sxth r4, r4\n"
                "movs r5, r4\n"
                "muls r5, r2, r5\n"
                "add r9, r9, r5\n"
                "muls r4, r3, r4\n"
                "add r12, r12, r4\n"
                "ldr r4, [r0, #12]\n"
                "sxth r4, r4\n"
                "movs r5, r4\n"
                "muls r5, r2, r5\n"
                "add r10, r10, r5\n"
                "muls r4, r3, r4\n"
                "add lr, lr, r4\n"
                "ldmia r1!, {r3}\n"
                "asrs r3, r3, #16\n"
                "sxtb r2, r3\n"
                "ldmia r0!, {r4}\n"
                "asrs r4, r4, #16\n"
                "movs r5, r4\n"
                "muls r5, r2, r5\n"
                "add r6, r6, r5\n"
                "muls r4, r3, r4\n"
                "add r7, r7, r4\n"
                "ldmia r0!, {r4}\n"
                "asrs r4, r4, #16\n"
                "movs r5, r4\n"
                "muls r5, r2, r5\n"
                "add r8, r8, r5\n"
                "muls r4, r3, r4\n"
                "add r11, r11, r4\n"
                "ldmia r0!, {r4}\n"
                "asrs r4, r4, #16\n"
                "movs r5, r4\n"
                "muls r5, r2, r5\n"
                "add r9, r9, r5\n"
                "muls r4, r3, r4\n"
                "add r12, r12, r4\n"
                "ldmia r0!, {r4}\n"
                "asrs r4, r4, #16\n"
                "movs r5, r4\n"
                "muls r5, r2, r5\n"
                "add r10, r10, r5\n"
                "muls r4, r3, r4\n"
                "add lr, lr, r4\n"

                ".endr\n"
                DIGITS_LINES_128
                "ldr r4, [sp, #4]\n"
                "cmp r0, r4\n"
                "beq 2f\n"
                "b 1b\n"
                "2:\n"
                "pop {r2, r3}\n"
                "str r6, [r2]\n"
                "mov r4, r8\n"
                "str r4, [r2, #4]\n"
                "mov r4, r9\n"
                "str r4, [r2, #8]\n"
                "mov r4, r10\n"
                "str r4, [r2, #12]\n"
                "str r7, [r2, #16]\n"
                "mov r4, r11\n"
                "str r4, [r2, #20]\n"
                "mov r4, r12\n"
                "str r4, [r2, #24]\n"
                "mov r4, lr\n"
                "str r4, [r2, #28]\n"
                "pop {r7}\n"
            : "+r"(from), "+r"(words), "+r"(results), "+r"(end)
            :
            : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
#else
    const int16_t *const end = &columns[8 * steps];
    uint32_t a0 = (uint32_t)sums[0];
    uint32_t a1 = (uint32_t)sums[1];
    uint32_t a2 = (uint32_t)sums[2];
    uint32_t a3 = (uint32_t)sums[3];
    uint32_t b0 = (uint32_t)sums[4];
    uint32_t b1 = (uint32_t)sums[5];
    uint32_t b2 = (uint32_t)sums[6];
    uint32_t b3 = (uint32_t)sums[7];

    while (columns != end) {
        const int32_t first0 = digits_first(weight, 0);
        const int32_t second0 = digits_joined(weight, 0);
        const int32_t first1 = digits_first(weight, 1);
        const int32_t second1 = digits_joined(weight, 1);

        a0 += (uint32_t)(columns[0] * first0);
        b0 += (uint32_t)(columns[0] * second0);
        a1 += (uint32_t)(columns[2] * first0);
        b1 += (uint32_t)(columns[2] * second0);
        a2 += (uint32_t)(columns[4] * first0);
        b2 += (uint32_t)(columns[4] * second0);
        a3 += (uint32_t)(columns[6] * first0);
        b3 += (uint32_t)(columns[6] * second0);
        a0 += (uint32_t)(columns[1] * first1);
        b0 += (uint32_t)(columns[1] * second1);
        a1 += (uint32_t)(columns[3] * first1);
        b1 += (uint32_t)(columns[3] * second1);
        a2 += (uint32_t)(columns[5] * first1);
        b2 += (uint32_t)(columns[5] * second1);
        a3 += (uint32_t)(columns[7] * first1);
        b3 += (uint32_t)(columns[7] * second1);
        columns += 8;
        weight++;
    }
    sums[0] = (int32_t)a0;
    sums[1] = (int32_t)a1;
    sums[2] = (int32_t)a2;
    sums[3] = (int32_t)a3;
    sums[4] = (int32_t)b0;
    sums[5] = (int32_t)b1;
    sums[6] = (int32_t)b2;
    sums[7] = (int32_t)b3;
#endif
}

/* sums[0] and sums[1] += the window times the weights of two channels, sums[2] and sums[3] += the
 * window times those of two others, in the same words as above. The window is not widened.
 */
DIGITS_INLINE void digits_dot1(const int8_t *window, const int32_t *weight,
        const int32_t *others, int32_t steps, int32_t *sums)
{
#if DIGITS_THUMB == 2
    register int32_t a0 __asm__("r4") = sums[0];
    register int32_t a1 __asm__("r5") = sums[1];
    register int32_t a2 __asm__("r6") = sums[2];
    register int32_t a3 __asm__("r8") = sums[3];
    register const int8_t *from __asm__("r0") = window;
    register const int32_t *words __asm__("r1") = weight;
    register const int32_t *more __asm__("r2") = others;
    register const int8_t *end __asm__("r3") = &window[2 * steps];
    register int32_t skip __asm__("r9") = DIGITS_QUAD * (-(steps / 2) & 3);

    __asm__ volatile(
                "add pc, r9\n"
                "nop\n"
                "1:\n"
                ".rept 4\n"
#if DIGITS_DSP
                "ldr lr, [r0], #4\n"
                "sxtb16 r12, lr\n"
                "sxtb16 lr, lr, ror #8\n"
                "ldrd r9, r10, [r1], #8\n"
                "sxtb16 r11, r9\n"
                "smlad r4, r12, r11, r4\n"
                "smlad r5, r12, r9, r5\n"
                "sxtb16 r11, r10\n"
                "smlad r4, lr, r11, r4\n"
                "smlad r5, lr, r10, r5\n"
                "ldrd r9, r10, [r2], #8\n"
                "sxtb16 r11, r9\n"
                "smlad r6, r12, r11, r6\n"
                "smlad r8, r12, r9, r8\n"
                "sxtb16 r11, r10\n"
                "smlad r6, lr, r11, r6\n"
                "smlad r8, lr, r10, r8\n"
#else
                "ldrsb lr, [r0, #3]\n"
                "ldrsh r10, [r1, #6]\n"
                "ldrsb r9, [r1, #6]\n"
                "mla r4, lr, r9, r4\n"
                "mla r5, lr, r10, r5\n"
                "ldrsh r12, [r2, #6]\n"
                "ldrsb r11, [r2, #6]\n"
                "mla r6, lr, r11, r6\n"
                "mla r8, lr, r12, r8\n"
                "ldrsb lr, [r0, #2]\n"
                "ldrsh r10, [r1, #2]\n"
                "ldrsb r9, [r1, #2]\n"
                "mla r4, lr, r9, r4\n"
                "mla r5, lr, r10, r5\n"
                "ldrsh r12, [r2, #2]\n"
                "ldrsb r11, [r2, #2]\n"
                "mla r6, lr, r11, r6\n"
                "mla r8, lr, r12, r8\n"
                "ldrsb lr, [r0, #1]\n"
                "ldrsh r10, [r1, #4]\n"
                "ldrsb r9, [r1, #4]\n"
                "mla r4, lr, r9, r4\n"
                "mla r5, lr, r10, r5\n"
                "ldrsh r12, [r2, #4]\n"
                "ldrsb r11, [r2, #4]\n"
                "mla r6, lr, r11, r6\n"
                "mla r8, lr, r12, r8\n"
                "ldrsb lr, [r0], #4\n"
                "ldrsh r10, [r1, #0]\n"
                "ldrsb r9, [r1], #8\n"
                "mla r4, lr, r9, r4\n"
                "mla r5, lr, r10, r5\n"
                "ldrsh r12, [r2, #0]\n"
                "ldrsb r11, [r2], #8\n"
                "mla r6, lr, r11, r6\n"
                "mla r8, lr, r12, r8\n"
#endif
                ".endr\n"
                DIGITS_LINES_128
                "cmp r0, r3\n"
                "bne 1b\n"
            : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3), "+r"(from), "+r"(words), "+r"(more),
              "+r"(skip)
            : "r"(end)
            : "r10", "r11", "r12", "lr", "cc", "memory");
    sums[0] = a0;
    sums[1] = a1;
    sums[2] = a2;
    sums[3] = a3;
#elif DIGITS_THUMB == 1
    register int32_t a0 __asm__("r8") = sums[0];
    register int32_t a1 __asm__("r9") = sums[1];
    register int32_t a2 __asm__("r10") = sums[2];
    register int32_t a3 __asm__("r11") = sums[3];
    register const int8_t *from __asm__("r0") = window;
    register const int32_t *words __asm__("r1") = weight;
    register const int32_t *more __asm__("r2") = others;
    register const int8_t *end __asm__("r12") = &window[2 * steps];

    __asm__ volatile(
                ".syntax unified\n"
                "1:\n"
                "ldrb r4, [r0, #0]\n"
                "sxtb r4, r4\n"
                "ldrb r6, [r0, #2]\n"
                "sxtb r6, r6\n"
                "ldmia r1!, {r3}\n"
                "sxtb r5, r3\n"
                "muls r5, r4, r5\n"
                "add r8, r8, r5\n"
                "sxth r5, r3\n"
                "muls r5, r4, r5\n"
                "add r9, r9, r5\n"
                "asrs r3, r3, #16\n"
                "sxtb r5, r3\n"
                "muls r5, r6, r5\n"
                "add r8, r8, r5\n"
                "muls r3, r6, r3\n"
                "add r9, r9, r3\n"
                "ldmia r2!, {r3}\n"
                "sxtb r5, r3\n"
                "muls r5, r4, r5\n"
                "add r10, r10, r5\n"
                "sxth r5, r3\n"
                "muls r5, r4, r5\n"
                "add r11, r11, r5\n"
                "asrs r3, r3, #16\n"
                "sxtb r5, r3\n"
                "muls r5, r6, r5\n"
                "add r10, r10, r5\n"
                "muls r3, r6, r3\n"
                "add r11, r11, r3\n"
                "ldrb r4, [r0, #1]\n"
                "sxtb r4, r4\n"
                "ldrb r6, [r0, #3]\n"
                "sxtb r6, r6\n"
                "ldmia r1!, {r3}\n"
                "sxtb r5, r3\n"
                "muls r5, r4, r5\n"
                "add r8, r8, r5\n"
                "sxth r5, r3\n"
                "muls r5, r4, r5\n"
                "add r9, r9, r5\n"
                "asrs r3, r3, #16\n"
                "sxtb r5, r3\n"
                "muls r5, r6, r5\n"
                "add r8, r8, r5\n"
                "muls r3, r6, r3\n"
                "add r9, r9, r3\n"
                "ldmia r2!, {r3}\n"
                "sxtb r5, r3\n"
                "muls r5, r4, r5\n"
                "add r10, r10, r5\n"
                "sxth r5, r3\n"
                "muls r5, r4, r5\n"
                "add r11, r11, r5\n"
                "asrs r3, r3, #16\n"
                "sxtb r5, r3\n"
                "muls r5, r6, r5\n"
                "add r10, r10, r5\n"
                "muls r3, r6, r3\n"
                "add r11, r11, r3\n"
                "adds r0, r0, #4\n"
                "cmp r0, r12\n"
                "bne 1b\n"
            : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3), "+r"(from), "+r"(words), "+r"(more)
            : "r"(end)
            : "r3", "r4", "r5", "r6", "cc", "memory");
    sums[0] = a0;
    sums[1] = a1;
    sums[2] = a2;
    sums[3] = a3;
#else
    uint32_t a0 = (uint32_t)sums[0];
    uint32_t a1 = (uint32_t)sums[1];
    uint32_t a2 = (uint32_t)sums[2];
    uint32_t a3 = (uint32_t)sums[3];
    const int8_t *const end = &window[2 * steps];

    while (window != end) {
        /* The halves are those of the taps 0, 2, 1 and 3. */
        a0 += (uint32_t)(window[0] * digits_first(weight, 0));
        a1 += (uint32_t)(window[0] * digits_joined(weight, 0));
        a2 += (uint32_t)(window[0] * digits_first(others, 0));
        a3 += (uint32_t)(window[0] * digits_joined(others, 0));
        a0 += (uint32_t)(window[2] * digits_first(weight, 1));
        a1 += (uint32_t)(window[2] * digits_joined(weight, 1));
        a2 += (uint32_t)(window[2] * digits_first(others, 1));
        a3 += (uint32_t)(window[2] * digits_joined(others, 1));
        a0 += (uint32_t)(window[1] * digits_first(weight, 2));
        a1 += (uint32_t)(window[1] * digits_joined(weight, 2));
        a2 += (uint32_t)(window[1] * digits_first(others, 2));
        a3 += (uint32_t)(window[1] * digits_joined(others, 2));
        a0 += (uint32_t)(window[3] * digits_first(weight, 3));
        a1 += (uint32_t)(window[3] * digits_joined(weight, 3));
        a2 += (uint32_t)(window[3] * digits_first(others, 3));
        a3 += (uint32_t)(window[3] * digits_joined(others, 3));
        window += 4;
        weight += 2;
        others += 2;
    }
    sums[0] = (int32_t)a0;
    sums[1] = (int32_t)a1;
    sums[2] = (int32_t)a2;
    sums[3] = (int32_t)a3;
#endif
}

#if DIGITS_EIGHT
/* The same for eight channels, the words of two being `steps` behind those of the two before. */
DIGITS_INLINE void digits_dot1_eight(const int8_t *window,
        const int32_t *weight, int32_t steps, int32_t *sums)
{
    register int32_t a0 __asm__("r4") = sums[0];
    register int32_t a1 __asm__("r5") = sums[1];
    register int32_t a2 __asm__("r6") = sums[2];
    register int32_t a3 __asm__("r8") = sums[3];
    register int32_t a4 __asm__("r9") = sums[4];
    register int32_t a5 __asm__("r10") = sums[5];
    register int32_t a6 __asm__("r11") = sums[6];
    register int32_t a7 __asm__("r12") = sums[7];
    register const int8_t *from __asm__("r0") = window;
    register const int32_t *words __asm__("r1") = weight;
    register int32_t stride __asm__("r2") = 4 * steps;
    register const int8_t *end __asm__("r3") = &window[2 * steps];
    register int32_t skip __asm__("lr") = 272 * ((steps / 2) & 1);

    __asm__ volatile(
                "push {r3, r7}\n"
                "add r3, r2, r2, lsl #1\n"
                "add pc, lr\n"
                "nop\n"
                "1:\n"
                ".rept 2\n"
                "ldrsb lr, [r0], #4\n"
                "ldrsb.w r7, [r1, r2]\n"
                "mla r6, lr, r7, r6\n"
                "ldrsh.w r7, [r1, r2]\n"
                "mla r8, lr, r7, r8\n"
                "ldrsb.w r7, [r1, r2, lsl #1]\n"
                "mla r9, lr, r7, r9\n"
                "ldrsh.w r7, [r1, r2, lsl #1]\n"
                "mla r10, lr, r7, r10\n"
                "ldrsb.w r7, [r1, r3]\n"
                "mla r11, lr, r7, r11\n"
                "ldrsh.w r7, [r1, r3]\n"
                "mla r12, lr, r7, r12\n"
                "ldrsb r7, [r1]\n"
                "mla r4, lr, r7, r4\n"
                "ldrsh r7, [r1], #2\n"
                "mla r5, lr, r7, r5\n"
                "ldrsb lr, [r0, #-2]\n"
                "ldrsb.w r7, [r1, r2]\n"
                "mla r6, lr, r7, r6\n"
                "ldrsh.w r7, [r1, r2]\n"
                "mla r8, lr, r7, r8\n"
                "ldrsb.w r7, [r1, r2, lsl #1]\n"
                "mla r9, lr, r7, r9\n"
                "ldrsh.w r7, [r1, r2, lsl #1]\n"
                "mla r10, lr, r7, r10\n"
                "ldrsb.w r7, [r1, r3]\n"
                "mla r11, lr, r7, r11\n"
                "ldrsh.w r7, [r1, r3]\n"
                "mla r12, lr, r7, r12\n"
                "ldrsb r7, [r1]\n"
                "mla r4, lr, r7, r4\n"
                "ldrsh r7, [r1], #2\n"
                "mla r5, lr, r7, r5\n"
                "ldrsb lr, [r0, #-3]\n"
                "ldrsb.w r7, [r1, r2]\n"
                "mla r6, lr, r7, r6\n"
                "ldrsh.w r7, [r1, r2]\n"
                "mla r8, lr, r7, r8\n"
                "ldrsb.w r7, [r1, r2, lsl #1]\n"
                "mla r9, lr, r7, r9\n"
                "ldrsh.w r7, [r1, r2, lsl #1]\n"
                "mla r10, lr, r7, r10\n"
                "ldrsb.w r7, [r1, r3]\n"
                "mla r11, lr, r7, r11\n"
                "ldrsh.w r7, [r1, r3]\n"
                "mla r12, lr, r7, r12\n"
                "ldrsb r7, [r1]\n"
                "mla r4, lr, r7, r4\n"
                "ldrsh r7, [r1], #2\n"
                "mla r5, lr, r7, r5\n"
                "ldrsb lr, [r0, #-1]\n"
                "ldrsb.w r7, [r1, r2]\n"
                "mla r6, lr, r7, r6\n"
                "ldrsh.w r7, [r1, r2]\n"
                "mla r8, lr, r7, r8\n"
                "ldrsb.w r7, [r1, r2, lsl #1]\n"
                "mla r9, lr, r7, r9\n"
                "ldrsh.w r7, [r1, r2, lsl #1]\n"
                "mla r10, lr, r7, r10\n"
                "ldrsb.w r7, [r1, r3]\n"
                "mla r11, lr, r7, r11\n"
                "ldrsh.w r7, [r1, r3]\n"
                "mla r12, lr, r7, r12\n"
                "ldrsb r7, [r1]\n"
                "mla r4, lr, r7, r4\n"
                "ldrsh r7, [r1], #2\n"
                "mla r5, lr, r7, r5\n"

                ".endr\n"
                DIGITS_LINES_128
                "ldr r7, [sp]\n"
                "cmp r0, r7\n"
                "bne 1b\n"
                "pop {r3, r7}\n"
            : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3), "+r"(a4), "+r"(a5), "+r"(a6), "+r"(a7),
              "+r"(from), "+r"(words), "+r"(stride), "+r"(end), "+r"(skip)
            :
            : "cc", "memory");
    sums[0] = a0;
    sums[1] = a1;
    sums[2] = a2;
    sums[3] = a3;
    sums[4] = a4;
    sums[5] = a5;
    sums[6] = a6;
    sums[7] = a7;
}
#endif

/* A convolution, with a kernel of one value also a fully connected layer. */
typedef struct {
    int32_t in_height;
    int32_t in_width;
    int32_t channels;
    int32_t out_height;
    int32_t out_width;
    int32_t kernel_height;
    int32_t kernel_width;
    int32_t stride_y;
    int32_t stride_x;
    int32_t out;
    int32_t dilation_y;
    int32_t top;
    int32_t left;
    int32_t pad_value;
    int32_t run; /* values in a row of the kernel, neighbours in the input */
    int32_t row; /* the same with what is between two rows of weights: values whose weights are 0 */
    int32_t steps; /* pairs of values in a window, an even number; the last may have weights of 0 */
    int32_t gap; /* values from the end of such a row to the next, in the input */
    int32_t last_y; /* windows that start up to here and are not cut are read where they are */
    int32_t last_x;
    int32_t last;
    int32_t plain; /* 1: a window is one value of each channel, a multiple of 4; else 0 */
} digits_dsp_conv_t;

/* Copy `count` values. */
static int8_t *digits_dsp_copy(int8_t *to, const int8_t *from, int32_t count)
{
    int32_t i = 0;

#if DIGITS_THUMB == 2
    while ((i + 4) <= count) {
        digits_store4(&to[i], digits_load4(&from[i]));
        i += 4;
    }
#endif
    while (i < count) {
        to[i] = from[i];
        i++;
    }
    return &to[count];
}

/* Put `count` times the same value. */
static int8_t *digits_dsp_fill(int8_t *to, int32_t value, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = (int8_t)value;
    }
    return &to[count];
}

/* Gather the window that starts at (iy, ix), padded, one row of the kernel after the other. */
static void digits_dsp_gather(const digits_dsp_conv_t *c, const int8_t *x, int32_t iy,
        int32_t ix, int8_t *to)
{
    const int32_t before = (ix < 0) ? -ix : 0;
    const int32_t behind = (ix + c->kernel_width) - c->in_width;
    const int32_t outside = before + ((behind > 0) ? behind : 0);
    const int32_t inside = (outside < c->kernel_width) ? (c->kernel_width - outside) : 0;
    const int32_t left = ((inside > 0) ? before : 0) * c->channels;
    const int32_t middle = inside * c->channels;
    int8_t *const end = &to[2 * c->steps];

    for (int32_t ky = 0; ky < c->kernel_height; ky++) {
        const int32_t row = iy + (ky * c->dilation_y);
        int8_t *const next = &to[c->row];

        if ((row < 0) || (row >= c->in_height) || (middle == 0)) {
            to = digits_dsp_fill(to, c->pad_value, c->run);
        } else {
            const int32_t at = ((row * c->in_width) + ix + before) * c->channels;

            to = digits_dsp_fill(to, c->pad_value, left);
            to = digits_dsp_copy(to, &x[at], middle);
            to = digits_dsp_fill(to, c->pad_value, c->run - left - middle);
        }
        to = digits_dsp_fill(to, 0, (int32_t)(next - to));
    }
    (void)digits_dsp_fill(to, 0, (int32_t)(end - to));
}

/* The window that starts at (iy, ix), widened; `window` is working memory for one window. */
static void digits_dsp_column(const digits_dsp_conv_t *c, const int8_t *x, int32_t iy,
        int32_t ix, int8_t *window, int16_t *to)
{
    const int32_t at = ((iy * c->in_width) + ix) * c->channels;

    /* What is read between two rows must be the input's too. */
    if ((iy >= 0) && (ix >= 0) && (at >= 0) && (iy <= c->last_y) && (ix <= c->last_x)
            && (at <= c->last)) {
        digits_dsp_widen(&x[at], c->kernel_height, c->row / 4, c->gap, to, 0);
    } else {
        digits_dsp_gather(c, x, iy, ix, window);
        digits_dsp_widen(window, 1, c->steps / 2, 0, to, 0);
    }
}

/* Four windows and the channels, as the loop over the channels reads them. */
typedef struct {
    int32_t skip; /* bytes of the unrolled steps that the first turn leaves out */
    const int16_t *end;
    const int16_t *columns;
    const int32_t *bias;
    int8_t *y;
    int32_t out;
    const int8_t *y_end;
    int32_t shift;
    int32_t second_shift; /* of the channels whose sums are times 256 */
    const int8_t *shifts; /* if they differ */
} digits_dsp_channels_t;

/* Four neighbouring outputs, all channels. */
static void digits_dsp_conv_s8_channel_four(
        const digits_dsp_conv_t *c, const int16_t *columns, const int32_t *weight,
        const int32_t *bias,
        const digits_channel_scaling_t *scaling, int8_t *y)
{
    const digits_channel_scaling_t s = *scaling;
#if DIGITS_THUMB == 2
    const int32_t skip = DIGITS_STEP * (-c->steps & (DIGITS_TURNS - 1));
    const digits_dsp_channels_t channels = {
        skip, &columns[8 * c->steps], columns, bias, y, c->out, &y[c->out],
        0, 0, s.shift
    };
    register const int32_t *words __asm__("r1") = weight;
    register const digits_dsp_channels_t *from __asm__("r2") = &channels;

    /* What finds no register is on the stack, with r7, which may be the frame pointer: skip 0; end
     * 4; columns 8; bias 12; y 16; out 20; end of y 24; shifts 28, 32, 36.
     */
    __asm__ volatile(
                "push {r7}\n"
                "ldm r2, {r3, r4, r5, r6, r7, r8, r9, r10, r11, r12}\n"
                "push {r3, r4, r5, r6, r7, r8, r9, r10, r11, r12}\n"
                "1:\n"
                "ldr r3, [sp, #12]\n"
                "ldrd r4, r9, [r3], #8\n"
                "str r3, [sp, #12]\n"
                "add r9, r4, r9, lsl #8\n"
                "mov r5, r4\n"
                "mov r10, r9\n"
                "mov r6, r4\n"
                "mov r11, r9\n"
                "mov r8, r4\n"
                "mov r12, r9\n"
                "ldr r2, [sp]\n"
                "ldr r0, [sp, #8]\n"
                "add pc, r2\n"
                "nop\n"
                "2:\n"
#if DIGITS_DSP
                ".rept 16\n"
                "ldr r2, [r1], #4\n"
                "ldrd r7, lr, [r0], #8\n"
                "sxtb16 r3, r2\n"
                "smlad r4, r7, r3, r4\n"
                "smlad r9, r7, r2, r9\n"
                "smlad r5, lr, r3, r5\n"
                "smlad r10, lr, r2, r10\n"
                "ldrd r7, lr, [r0], #8\n"
                "smlad r6, r7, r3, r6\n"
                "smlad r11, r7, r2, r11\n"
                "smlad r8, lr, r3, r8\n"
                "smlad r12, lr, r2, r12\n"
#else
                ".rept 4\n"
                "ldrsh r3, [r1, #2]\n"
                "ldrsb r2, [r1, #2]\n"
                "ldrsh r7, [r0, #14]\n"
                "ldrsh lr, [r0, #10]\n"
                "mla r8, r7, r2, r8\n"
                "mla r12, r7, r3, r12\n"
                "mla r6, lr, r2, r6\n"
                "mla r11, lr, r3, r11\n"
                "ldrsh r7, [r0, #6]\n"
                "ldrsh lr, [r0, #2]\n"
                "mla r5, r7, r2, r5\n"
                "mla r10, r7, r3, r10\n"
                "mla r4, lr, r2, r4\n"
                "mla r9, lr, r3, r9\n"
                "ldrsh r3, [r1, #0]\n"
                "ldrsb r2, [r1], #4\n"
                "ldrsh r7, [r0, #12]\n"
                "ldrsh lr, [r0, #8]\n"
                "mla r8, r7, r2, r8\n"
                "mla r12, r7, r3, r12\n"
                "mla r6, lr, r2, r6\n"
                "mla r11, lr, r3, r11\n"
                "ldrsh r7, [r0, #4]\n"
                "ldrsh lr, [r0], #16\n"
                "mla r5, r7, r2, r5\n"
                "mla r10, r7, r3, r10\n"
                "mla r4, lr, r2, r4\n"
                "mla r9, lr, r3, r9\n"
#endif
                ".endr\n"
                DIGITS_LINES_256
                "ldr r2, [sp, #4]\n"
                "cmp r0, r2\n"
                "bne 2b\n"
                "ldr r0, [sp, #36]\n"
                "ldrsb r3, [r0, #1]\n"
                "ldrsb r2, [r0], #2\n"
                "str r0, [sp, #36]\n"
                "add r3, r3, #8\n"
                "sub r9, r9, r4\n"
                "asr r4, r4, r2\n"
                "asr r9, r9, r3\n"
                "ssat r4, #8, r4\n"
                "ssat r9, #8, r9\n"
                "sub r10, r10, r5\n"
                "asr r5, r5, r2\n"
                "asr r10, r10, r3\n"
                "ssat r5, #8, r5\n"
                "ssat r10, #8, r10\n"
                "sub r11, r11, r6\n"
                "asr r6, r6, r2\n"
                "asr r11, r11, r3\n"
                "ssat r6, #8, r6\n"
                "ssat r11, #8, r11\n"
                "sub r12, r12, r8\n"
                "asr r8, r8, r2\n"
                "asr r12, r12, r3\n"
                "ssat r8, #8, r8\n"
                "ssat r12, #8, r12\n"
                "ldrd r0, r2, [sp, #16]\n"
                "add r3, r2, r2, lsl #1\n"
                "strb r4, [r0]\n"
                "strb r5, [r0, r2]\n"
                "strb r6, [r0, r2, lsl #1]\n"
                "strb r8, [r0, r3]\n"
                "add r0, r0, #1\n"
                "strb r9, [r0]\n"
                "strb r10, [r0, r2]\n"
                "strb r11, [r0, r2, lsl #1]\n"
                "strb r12, [r0, r3]\n"
                "add r0, r0, #1\n"
                "str r0, [sp, #16]\n"
                "ldr r2, [sp, #24]\n"
                "cmp r0, r2\n"
                "bne 1b\n"
                "add sp, sp, #40\n"
                "pop {r7}\n"
            : "+r"(words), "+r"(from)
            :
            : "r0", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
#else
    const int32_t steps = c->steps;
    const int32_t out = c->out;

    for (int32_t o = 0; o < out; o += 2) {
        /* A last channel without a second is its own. */
        const int32_t p = o + 1;
        const int32_t first_shift = s.shift[o];
        const int32_t second_shift = s.shift[p] + 8;
        int32_t sums[8];

        sums[0] = bias[o];
        sums[4] = bias[p];
        sums[4] = digits_join(sums[4], sums[0]);
        sums[1] = bias[o];
        sums[5] = bias[p];
        sums[5] = digits_join(sums[5], sums[1]);
        sums[2] = bias[o];
        sums[6] = bias[p];
        sums[6] = digits_join(sums[6], sums[2]);
        sums[3] = bias[o];
        sums[7] = bias[p];
        sums[7] = digits_join(sums[7], sums[3]);
        digits_dot4(columns, weight, steps, sums);
        weight += steps;
        sums[4] = digits_difference(sums[4], sums[0]);
        sums[5] = digits_difference(sums[5], sums[1]);
        sums[6] = digits_difference(sums[6], sums[2]);
        sums[7] = digits_difference(sums[7], sums[3]);
        y[o] = (int8_t)digits_ssat(sums[0] >> first_shift);
        y[o + out] = (int8_t)digits_ssat(sums[1] >> first_shift);
        y[o + (2 * out)] = (int8_t)digits_ssat(sums[2] >> first_shift);
        y[o + (3 * out)] = (int8_t)digits_ssat(sums[3] >> first_shift);
        y[p] = (int8_t)digits_ssat(sums[4] >> second_shift);
        y[p + out] = (int8_t)digits_ssat(sums[5] >> second_shift);
        y[p + (2 * out)] = (int8_t)digits_ssat(sums[6] >> second_shift);
        y[p + (3 * out)] = (int8_t)digits_ssat(sums[7] >> second_shift);
    }
#endif
}

/* Weights: the words of all steps for channels 0 and 1, then for 2 and 3, and so on. `columns` is
 * working memory: four widened columns if there are so many outputs, then one window.
 */
static void digits_dsp_conv_s8_channel(
        const digits_dsp_conv_t *c, const int8_t *x, const int32_t *weight,
        const int32_t *bias, int16_t *columns,
        const digits_channel_scaling_t *scaling, int8_t *y)
{
    const int32_t pixels = c->out_height * c->out_width;
    const int32_t fours = pixels - (pixels % 4);
    int8_t *const gathered = (int8_t *)&columns[(fours > 0) ? (8 * c->steps) : 0];
    int32_t iy = -c->top;
    int32_t ix = -c->left;
    int32_t ox = 0;

    for (int32_t pixel = 0; pixel < fours; pixel += 4) {
        const int32_t at = pixel * c->out;

        if (c->plain != 0) {
            digits_dsp_widen(&x[pixel * c->run], 4, c->run / 4, 0, columns, 2 - (4 * c->run));
        }
        for (int32_t j = 0; (j < 4) && (c->plain == 0); j++) {
            digits_dsp_column(c, x, iy, ix, gathered, &columns[2 * j]);
            ox++;
            ix += c->stride_x;
            if (ox == c->out_width) {
                ox = 0;
                ix = -c->left;
                iy += c->stride_y;
            }
        }
        digits_dsp_conv_s8_channel_four(c, columns, weight, bias,
                scaling, &y[at]);
    }
}

/* Four neighbouring outputs, all channels. */
static void digits_dsp_conv_s8_residual_by_channel_channel_four(
        const digits_dsp_conv_t *c, const int16_t *columns, const int32_t *weight,
        const int32_t *bias,
        const int8_t *r, const int32_t *factor,
        const digits_channel_scaling_t *scaling, int8_t *y)
{
    const digits_channel_scaling_t s = *scaling;
    const int32_t steps = c->steps;
    const int32_t out = c->out;

    for (int32_t o = 0; o < out; o += 2) {
        /* A last channel without a second is its own. */
        const int32_t p = o + 1;
        const int32_t first_shift = s.shift[o];
        const int32_t second_shift = s.shift[p] + 8;
        int32_t sums[8];

        sums[0] = bias[o] + (factor[o] * (int32_t)r[o]);
        sums[4] = bias[p] + (factor[p] * (int32_t)r[p]);
        sums[4] = digits_join(sums[4], sums[0]);
        sums[1] = bias[o] + (factor[o] * (int32_t)r[o + out]);
        sums[5] = bias[p] + (factor[p] * (int32_t)r[p + out]);
        sums[5] = digits_join(sums[5], sums[1]);
        sums[2] = bias[o] + (factor[o] * (int32_t)r[o + (2 * out)]);
        sums[6] = bias[p] + (factor[p] * (int32_t)r[p + (2 * out)]);
        sums[6] = digits_join(sums[6], sums[2]);
        sums[3] = bias[o] + (factor[o] * (int32_t)r[o + (3 * out)]);
        sums[7] = bias[p] + (factor[p] * (int32_t)r[p + (3 * out)]);
        sums[7] = digits_join(sums[7], sums[3]);
        digits_dot4(columns, weight, steps, sums);
        weight += steps;
        sums[4] = digits_difference(sums[4], sums[0]);
        sums[5] = digits_difference(sums[5], sums[1]);
        sums[6] = digits_difference(sums[6], sums[2]);
        sums[7] = digits_difference(sums[7], sums[3]);
        y[o] = (int8_t)digits_ssat(sums[0] >> first_shift);
        y[o + out] = (int8_t)digits_ssat(sums[1] >> first_shift);
        y[o + (2 * out)] = (int8_t)digits_ssat(sums[2] >> first_shift);
        y[o + (3 * out)] = (int8_t)digits_ssat(sums[3] >> first_shift);
        y[p] = (int8_t)digits_ssat(sums[4] >> second_shift);
        y[p + out] = (int8_t)digits_ssat(sums[5] >> second_shift);
        y[p + (2 * out)] = (int8_t)digits_ssat(sums[6] >> second_shift);
        y[p + (3 * out)] = (int8_t)digits_ssat(sums[7] >> second_shift);
    }
}

/* Weights: the words of all steps for channels 0 and 1, then for 2 and 3, and so on. `columns` is
 * working memory: four widened columns if there are so many outputs, then one window.
 */
static void digits_dsp_conv_s8_residual_by_channel_channel(
        const digits_dsp_conv_t *c, const int8_t *x, const int32_t *weight,
        const int32_t *bias, int16_t *columns,
        const int8_t *r, const int32_t *factor,
        const digits_channel_scaling_t *scaling, int8_t *y)
{
    const int32_t pixels = c->out_height * c->out_width;
    const int32_t fours = pixels - (pixels % 4);
    int8_t *const gathered = (int8_t *)&columns[(fours > 0) ? (8 * c->steps) : 0];
    int32_t iy = -c->top;
    int32_t ix = -c->left;
    int32_t ox = 0;

    for (int32_t pixel = 0; pixel < fours; pixel += 4) {
        const int32_t at = pixel * c->out;

        for (int32_t j = 0; j < 4; j++) {
            digits_dsp_column(c, x, iy, ix, gathered, &columns[2 * j]);
            ox++;
            ix += c->stride_x;
            if (ox == c->out_width) {
                ox = 0;
                ix = -c->left;
                iy += c->stride_y;
            }
        }
        digits_dsp_conv_s8_residual_by_channel_channel_four(c, columns, weight, bias,
                &r[at], factor, scaling, &y[at]);
    }
}

/* One output, all channels. */
static void digits_dsp_conv_s8_s32_channel_clip_one(
        const digits_dsp_conv_t *c, const int8_t *window, const int32_t *weight,
        const int32_t *bias,
        const digits_channel_scaling_t *scaling, int32_t *y)
{
    const digits_channel_scaling_t s = *scaling;
    const int32_t steps = c->steps;
    const int32_t out = c->out;
    int32_t o = 0;

#if DIGITS_EIGHT
    while ((o + 8) <= out) {
        int32_t sums[8];

        sums[0] = bias[o];
        sums[1] = bias[o + 1];
        sums[1] = digits_join(sums[1], sums[0]);
        sums[2] = bias[o + 2];
        sums[3] = bias[o + 3];
        sums[3] = digits_join(sums[3], sums[2]);
        sums[4] = bias[o + 4];
        sums[5] = bias[o + 5];
        sums[5] = digits_join(sums[5], sums[4]);
        sums[6] = bias[o + 6];
        sums[7] = bias[o + 7];
        sums[7] = digits_join(sums[7], sums[6]);
        digits_dot1_eight(window, weight, steps, sums);
        weight += 4 * steps;
        sums[1] = digits_difference(sums[1], sums[0]);
        sums[3] = digits_difference(sums[3], sums[2]);
        sums[5] = digits_difference(sums[5], sums[4]);
        sums[7] = digits_difference(sums[7], sums[6]);
        y[o] = (int32_t)digits_requantize(sums[0], s.shift[o], s.lower, s.upper);
        y[o + 1] = (int32_t)digits_requantize(sums[1], s.shift[o + 1] + 8, s.lower, s.upper);
        y[o + 2] = (int32_t)digits_requantize(sums[2], s.shift[o + 2], s.lower, s.upper);
        y[o + 3] = (int32_t)digits_requantize(sums[3], s.shift[o + 3] + 8, s.lower, s.upper);
        y[o + 4] = (int32_t)digits_requantize(sums[4], s.shift[o + 4], s.lower, s.upper);
        y[o + 5] = (int32_t)digits_requantize(sums[5], s.shift[o + 5] + 8, s.lower, s.upper);
        y[o + 6] = (int32_t)digits_requantize(sums[6], s.shift[o + 6], s.lower, s.upper);
        y[o + 7] = (int32_t)digits_requantize(sums[7], s.shift[o + 7] + 8, s.lower, s.upper);
        o += 8;
    }
#endif
    while (o < out) {
        /* Where channels are missing at the end others are computed again. */
        const int32_t p = o + 1;
        const int32_t q = ((o + 2) < out) ? (o + 2) : o;
        const int32_t t = q + 1;
        int32_t sums[4];

        sums[0] = bias[o];
        sums[1] = bias[p];
        sums[2] = bias[q];
        sums[3] = bias[t];
        sums[1] = digits_join(sums[1], sums[0]);
        sums[3] = digits_join(sums[3], sums[2]);
        digits_dot1(window, weight, &weight[((q - o) / 2) * steps], steps, sums);
        weight += 2 * steps;
        sums[1] = digits_difference(sums[1], sums[0]);
        sums[3] = digits_difference(sums[3], sums[2]);
        y[o] = (int32_t)digits_requantize(sums[0], s.shift[o], s.lower, s.upper);
        y[p] = (int32_t)digits_requantize(sums[1], (s.shift[p] + 8), s.lower, s.upper);
        y[q] = (int32_t)digits_requantize(sums[2], s.shift[q], s.lower, s.upper);
        y[t] = (int32_t)digits_requantize(sums[3], (s.shift[t] + 8), s.lower, s.upper);
        o += 4;
    }
}

/* Weights: the words of all steps for channels 0 and 1, then for 2 and 3, and so on. `columns` is
 * working memory: four widened columns if there are so many outputs, then one window.
 */
static void digits_dsp_conv_s8_s32_channel_clip(
        const digits_dsp_conv_t *c, const int8_t *x, const int32_t *weight,
        const int32_t *bias, int16_t *columns,
        const digits_channel_scaling_t *scaling, int32_t *y)
{
    const int32_t pixels = c->out_height * c->out_width;
    const int32_t fours = pixels - (pixels % 4);

    (void)columns;

    for (int32_t pixel = fours; pixel < pixels; pixel++) {
        const int32_t at = pixel * c->out;
        const int8_t *window = &x[pixel * c->run];

        digits_dsp_conv_s8_s32_channel_clip_one(c, window, weight, bias,
                scaling, &y[at]);
    }
}

/* A depthwise convolution. Its planes are walked along rows or columns, whichever wastes less: a
 * plane is `lines` times `length` values, and so are the taps.
 */
typedef struct {
    int32_t channels;
    int32_t in_lines;
    int32_t in_length;
    int32_t in_line_step;
    int32_t in_step;
    int32_t out_lines;
    int32_t out_length;
    int32_t out_line_step;
    int32_t out_step;
    int32_t tap_lines;
    int32_t tap_length;
    int32_t line_stride;
    int32_t stride;
    int32_t lines_before; /* lines and values of padding */
    int32_t before;
    int32_t width; /* values of a line of the padded plane, an even number */
    int32_t height;
    int32_t pad_value;
} digits_dsp_depthwise_conv_t;

/* Copy and widen one channel into the middle of the padded plane. */
static void digits_dsp_plane(const digits_dsp_depthwise_conv_t *c, const int8_t *x,
        int16_t *plane)
{
    int16_t *const middle = &plane[(c->lines_before * c->width) + c->before];
#if DIGITS_THUMB == 2
    register const int8_t *from __asm__("r0") = x;
    register int16_t *to __asm__("r1") = middle;
    register int32_t step __asm__("r2") = c->in_step;
    register int32_t lines __asm__("r3") = c->in_lines;
    register int32_t skip __asm__("r4") = 20 * (-(c->in_length / 2) & 3);
    register int32_t length __asm__("r5") = 4 * (c->in_length / 2);
    register int32_t odd __asm__("r6") = c->in_length % 2;
    register int32_t gap __asm__("r8") = c->in_line_step - (c->in_length * c->in_step);
    register int32_t to_gap __asm__("r9") = 2 * (c->width - c->in_length);

    /* Two values at a time; the first turn of a line begins in the midst of the unrolled ones. */
    __asm__ volatile(
                "1:\n"
                "add r10, r1, r5\n"
                "cmp r1, r10\n"
                "beq 3f\n"
                "add pc, r4\n"
                "nop\n"
                "2:\n"
                ".rept 4\n"
                "ldrsb r11, [r0]\n"
                "ldrsb r12, [r0, r2]\n"
                "add r0, r0, r2, lsl #1\n"
                "strh r11, [r1], #2\n"
                "strh r12, [r1], #2\n"
                ".endr\n"
                DIGITS_LINES_32
                "cmp r1, r10\n"
                "bne 2b\n"
                "3:\n"
                "cbz r6, 4f\n"
                "ldrsb r11, [r0]\n"
                "add r0, r0, r2\n"
                "strh r11, [r1], #2\n"
                "4:\n"
                "add r0, r0, r8\n"
                "add r1, r1, r9\n"
                "subs r3, r3, #1\n"
                "bne 1b\n"
            : "+r"(from), "+r"(to), "+r"(lines)
            : "r"(step), "r"(skip), "r"(length), "r"(odd), "r"(gap), "r"(to_gap)
            : "r10", "r11", "r12", "cc", "memory");
#else
    const int32_t step = c->in_step;
    const int32_t gap = c->in_line_step - (c->in_length * step);
    const int32_t to_gap = c->width - c->in_length;
    int16_t *to = middle;

    for (int32_t i = 0; i < c->in_lines; i++) {
        const int16_t *const end = &to[c->in_length];

        while (to != end) {
            *to = *x;
            to++;
            x += step;
        }
        x += gap;
        to += to_gap;
    }
#endif
}

/* One channel, as the loop over its outputs reads it. */
typedef struct {
    int32_t taps[6]; /* of each of 3 lines: words of taps 0 and 1, 1 and 2; or taps 0 and 1 */
    int32_t bias;
    int32_t again; /* the same: two accumulators start with it */
    int32_t shift;
    int32_t step; /* bytes between two outputs */
    int32_t lines;
    int32_t length; /* bytes of the plane from the first output of a line to behind its last */
    int32_t skip; /* bytes from there to the next line */
    int32_t out_skip; /* bytes from the last output of a line to the next line */
    int32_t end; /* for the loop's own use */
    int32_t high; /* the bounds, of bytes those of two at once */
    int32_t low;
    int32_t last[3]; /* taps 2 of each line */
    int32_t lower;
    int32_t upper;
} digits_dsp_channel_t;

/* Put the taps where the loop reads them. Always inline: of a call GCC 12 may think that nothing
 * reads what it stores, as only assembly does.
 */
DIGITS_INLINE void digits_dsp_set_taps(digits_dsp_channel_t *channel, const int8_t *weight)
{
    for (int32_t i = 0; i < 3; i++) {
        const int32_t first = weight[3 * i];
        const int32_t middle = weight[(3 * i) + 1];
        const int32_t last = weight[(3 * i) + 2];

#if DIGITS_DSP
        channel->taps[2 * i] = (int32_t)digits_lows((uint32_t)first, (uint32_t)middle);
        channel->taps[(2 * i) + 1] = (int32_t)digits_lows((uint32_t)middle, (uint32_t)last);
#else
        channel->taps[2 * i] = first;
        channel->taps[(2 * i) + 1] = middle;
#endif
        channel->last[i] = last;
    }
}

/* One output before it is stored. */
static inline int32_t digits_dsp_taps(const digits_dsp_channel_t *channel, const int16_t *plane,
        int32_t width)
{
    int32_t sum = channel->bias;

    for (int32_t i = 0; i < 3; i++) {
        const int16_t *const row = &plane[i * width];

#if DIGITS_DSP
        sum = digits_smlad(digits_load2(row), (uint32_t)channel->taps[2 * i], sum);
#else
        sum += (row[0] * channel->taps[2 * i]) + (row[1] * channel->taps[(2 * i) + 1]);
#endif
        sum += row[2] * channel->last[i];
    }
    return sum >> channel->shift;
}

/* All lines of one channel, of each the first `count` outputs. */
static void digits_dsp_depthwise_conv_s8_channel_stride2_lines(
        const int16_t *plane, int32_t width, digits_dsp_channel_t *channel, int32_t count,
        int8_t *y)
{
#if DIGITS_THUMB == 2
    register const int16_t *row0 __asm__("r0") = plane;
    register const int16_t *row1 __asm__("r1") = &plane[width];
    register const int16_t *row2 __asm__("r2") = &plane[2 * width];
    register int8_t *to __asm__("r3") = y;
    register const digits_dsp_channel_t *from __asm__("r4") = channel;

    (void)count;
    /* The taps stay in registers; what finds none is on the stack, with r7, which may be the frame
     * pointer: bias 0, 4; shift 8; step 12; lines 16; length 20; skips 24, 28; end 32; bounds 36,
     * 40; last taps 44, 48, 52.
     */
    __asm__ volatile(
                "push {r7}\n"
                "add r12, r4, #56\n"
                "ldm r12, {r5, r6, r7, r8, r9, r10}\n"
                "push {r5, r6, r7, r8, r9, r10}\n"
                "add r12, r4, #24\n"
                "ldm r12, {r5, r6, r7, r8, r9, r10, r11, r12}\n"
                "push {r5, r6, r7, r8, r9, r10, r11, r12}\n"
                "ldm r4, {r4, r5, r6, r8, r9, r10}\n"
                "1:\n"
                "ldr lr, [sp, #20]\n"
                "add lr, lr, r0\n"
                "str lr, [sp, #32]\n"
                "2:\n"
                "ldr r11, [sp]\n"
#if DIGITS_DSP
                "ldrd lr, r7, [r0], #4\n"
                "smlad r11, lr, r4, r11\n"
                "smlabt r11, r7, r5, r11\n"
                "ldrd lr, r7, [r1], #4\n"
                "smlad r11, lr, r6, r11\n"
                "smlabt r11, r7, r8, r11\n"
                "ldrd lr, r7, [r2], #4\n"
                "smlad r11, lr, r9, r11\n"
                "smlabt r11, r7, r10, r11\n"
#else
                "ldrsh lr, [r0, #2]\n"
                "ldrsh r7, [r0], #4\n"
                "mla r11, lr, r5, r11\n"
                "mla r11, r7, r4, r11\n"
                "ldrsh lr, [r0]\n"
                "ldr r7, [sp, #44]\n"
                "mla r11, lr, r7, r11\n"
                "ldrsh lr, [r1, #2]\n"
                "ldrsh r7, [r1], #4\n"
                "mla r11, lr, r8, r11\n"
                "mla r11, r7, r6, r11\n"
                "ldrsh lr, [r1]\n"
                "ldr r7, [sp, #48]\n"
                "mla r11, lr, r7, r11\n"
                "ldrsh lr, [r2, #2]\n"
                "ldrsh r7, [r2], #4\n"
                "mla r11, lr, r10, r11\n"
                "mla r11, r7, r9, r11\n"
                "ldrsh lr, [r2]\n"
                "ldr r7, [sp, #52]\n"
                "mla r11, lr, r7, r11\n"
#endif
                "ldrd lr, r7, [sp, #8]\n"
                "asr r11, r11, lr\n"
                "ssat r11, #8, r11\n"
                "strb r11, [r3]\n"
                "add r3, r3, r7\n"
                "ldr lr, [sp, #32]\n"
                "cmp r0, lr\n"
                "bne 2b\n"
                "ldrd lr, r7, [sp, #24]\n"
                "add r0, r0, lr\n"
                "add r1, r1, lr\n"
                "add r2, r2, lr\n"
                "add r3, r3, r7\n"
                "ldr lr, [sp, #16]\n"
                "subs lr, lr, #1\n"
                "str lr, [sp, #16]\n"
                "bne 1b\n"
                "add sp, sp, #56\n"
                "pop {r7}\n"
            : "+r"(row0), "+r"(row1), "+r"(row2), "+r"(to), "+r"(from)
            :
            : "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
#else
    const int32_t tap0 = channel->taps[0];
    const int32_t tap1 = channel->taps[1];
    const int32_t tap2 = channel->last[0];
    const int32_t tap3 = channel->taps[2];
    const int32_t tap4 = channel->taps[3];
    const int32_t tap5 = channel->last[1];
    const int32_t tap6 = channel->taps[4];
    const int32_t tap7 = channel->taps[5];
    const int32_t tap8 = channel->last[2];
    const int32_t lower = channel->lower;
    const int32_t upper = channel->upper;
    const int32_t shift = channel->shift;
    const int32_t step = channel->step;
    int32_t lines = channel->lines;

    while (lines > 0) {
        const int16_t *row0 = plane;
        const int16_t *row1 = &plane[width];
        const int16_t *row2 = &plane[2 * width];
        const int16_t *const end = &plane[channel->length / 2];

        while (row0 != end) {
            int32_t a = channel->bias;

            a += (row0[0] * tap0) + (row0[1] * tap1) + (row0[2] * tap2);
            row0 += 2;
            a += (row1[0] * tap3) + (row1[1] * tap4) + (row1[2] * tap5);
            row1 += 2;
            a += (row2[0] * tap6) + (row2[1] * tap7) + (row2[2] * tap8);
            row2 += 2;
            *y = (int8_t)digits_clip(a >> shift, lower, upper);
            y += step;
        }
        plane += (channel->length + channel->skip) / 2;
        y += channel->out_skip;
        lines--;
    }
    (void)count;
#endif
}

/* Weights: channels x lines x taps of a line. `plane` is working memory; y may be x. */
static void digits_dsp_depthwise_conv_s8_channel_stride2(
        const digits_dsp_depthwise_conv_t *c, const int8_t *x, const int8_t *weight,
        const int32_t *bias, int16_t *plane,
        const digits_channel_scaling_t *scaling, int8_t *y)
{
    const digits_channel_scaling_t s = *scaling;
    const int32_t count = c->out_length;
    digits_dsp_channel_t channel;

    for (int32_t i = 0; i < (c->height * c->width); i++) {
        plane[i] = (int16_t)c->pad_value;
    }
    channel.step = c->out_step;
    channel.lines = c->out_lines;
    channel.length = 4 * count;
    channel.skip = (2 * c->line_stride * c->width) - channel.length;
    channel.out_skip = c->out_line_step - (count * c->out_step);
    channel.end = 0;
    channel.lower = s.lower;
    channel.upper = s.upper;
    for (int32_t o = 0; o < c->channels; o++) {
        channel.bias = bias[o];
        channel.again = bias[o];
        channel.shift = s.shift[o];
        channel.high = DIGITS_DSP ? ((channel.upper & 0xFF) * 0x10001) : channel.upper;
        channel.low = DIGITS_DSP ? ((channel.lower & 0xFF) * 0x10001) : channel.lower;
        digits_dsp_set_taps(&channel, &weight[9 * o]);
        digits_dsp_plane(c, &x[o], plane);
        if (count > 0) {
            digits_dsp_depthwise_conv_s8_channel_stride2_lines(
                    plane, c->width, &channel, count, &y[o]);
        }
    }
}

/* An average pool. */
typedef struct {
    int32_t in_height;
    int32_t in_width;
    int32_t channels;
    int32_t out_height;
    int32_t out_width;
    int32_t kernel_height;
    int32_t kernel_width;
    int32_t stride_y;
    int32_t stride_x;
    int32_t top;
    int32_t left;
    int32_t zero_point;
} digits_avg_pool_t;

/* The sum and a bias, rescaled; y may be x if nothing is padded before it. */
static void digits_avg_pool_s8(const digits_avg_pool_t *c, const int8_t *x, int32_t bias,
        const digits_scaling_t *scaling, int8_t *y)
{
    const int32_t window = c->kernel_height * c->kernel_width;
    const digits_scaling_t s = *scaling;
    int32_t at = 0;

    for (int32_t oy = 0; oy < c->out_height; oy++) {
        const int32_t iy = (oy * c->stride_y) - c->top;
        const int32_t ky0 = digits_first_tap(iy, 1);
        const int32_t ky1 = digits_end_tap(iy, 1, c->in_height, c->kernel_height);

        for (int32_t ox = 0; ox < c->out_width; ox++) {
            const int32_t ix = (ox * c->stride_x) - c->left;
            const int32_t kx0 = digits_first_tap(ix, 1);
            const int32_t kx1 = digits_end_tap(ix, 1, c->in_width, c->kernel_width);
            const int32_t inside = (ky1 - ky0) * (kx1 - kx0);

            for (int32_t o = 0; o < c->channels; o++) {
                int32_t acc = bias + ((window - inside) * c->zero_point);

                for (int32_t ky = ky0; ky < ky1; ky++) {
                    int32_t xi = ((((iy + ky) * c->in_width) + ix + kx0) * c->channels) + o;

                    for (int32_t kx = kx0; kx < kx1; kx++) {
                        acc += (int32_t)x[xi];
                        xi += c->channels;
                    }
                }
                y[at] = (int8_t)digits_requantize(acc, s.shift, s.lower, s.upper);
                at++;
            }
        }
    }
}

#endif /* DIGITS_KERNELS_H */
