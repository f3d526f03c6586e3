/* digits: a quantized network of 7 layers. The only header to include.
 *
 * Written by aidge_quant 0.1.0 from the network "digits"; edit the model, not this file.
 */
#ifndef DIGITS_H
#define DIGITS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Usage:
 *
 *     static digits_t net;
 *
 *     digits_init(&net);
 *     digits_run(&net, input, output);
 *
 * A stored integer q means the real number SCALE * (q - ZERO_POINT).
 */

/* Input "input": 8x8x1: height, width, channels. */
#define DIGITS_INPUT_SIZE 64 /* values of type int8_t */
#define DIGITS_INPUT_SHAPE { 8, 8, 1 }
#define DIGITS_INPUT_SCALE 0.00392156862745098
#define DIGITS_INPUT_ZERO_POINT (-128)

/* Output "output": 10, in the model's order. */
#define DIGITS_OUTPUT_SIZE 10 /* values of type int32_t */
#define DIGITS_OUTPUT_SHAPE { 10 }
#define DIGITS_OUTPUT_SCALE 9.043928296138419e-05
#define DIGITS_OUTPUT_ZERO_POINT 0

#define DIGITS_LAYERS 7 /* positions of the hooks: 0 to 6 */

/* Bytes of working memory: sizeof(digits_t). */
#define DIGITS_ARENA_SIZE 2712

/* Working memory of one inference. Nothing in it is kept from one run to the next, so networks that
 * take turns can share it in a union. One for every thread that runs the network.
 */
typedef struct {
    union {
        int8_t s8[DIGITS_ARENA_SIZE];
        int16_t s16[DIGITS_ARENA_SIZE / 2];
        int32_t s32[DIGITS_ARENA_SIZE / 4];
    } arena;
} digits_t;

/* Clear the working memory. Call once before the first run. */
void digits_init(digits_t *net);

/* Run one inference. The arrays are the caller's; none may overlap another or `net`. */
void digits_run(digits_t *net,
        const int8_t input[DIGITS_INPUT_SIZE],
        int32_t output[DIGITS_OUTPUT_SIZE]);

/* From real numbers and back; the network itself has no floating point.
 * Define DIGITS_WITH_FLOAT before including this header to have them.
 */
#ifdef DIGITS_WITH_FLOAT

/* The integer that means `real`, rounded half up, bounded by the type. */
static inline int8_t digits_quantize_input(double real)
{
    const double scaled = (real * (1.0 / DIGITS_INPUT_SCALE)) + 0.5;
    const double lowest = (double)(-128 - DIGITS_INPUT_ZERO_POINT);
    const double highest = (double)(127 - DIGITS_INPUT_ZERO_POINT);
    int32_t q = -128;

    if (scaled >= (highest + 1.0)) {
        q = 127;
    } else if (scaled >= lowest) {
        q = (int32_t)scaled;
        if ((double)q > scaled) {
            q--;
        }
        q += DIGITS_INPUT_ZERO_POINT;
    } else {
        /* too small, or not a number */
    }
    return (int8_t)q;
}

/* The real number that `q` means. */
static inline double digits_dequantize_output(int32_t q)
{
    return DIGITS_OUTPUT_SCALE * ((double)q - (double)DIGITS_OUTPUT_ZERO_POINT);
}

#endif /* DIGITS_WITH_FLOAT */

#ifdef __cplusplus
}
#endif

#endif /* DIGITS_H */
