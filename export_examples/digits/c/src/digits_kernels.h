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

/* A convolution: input and output are height x width x channels. */
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
    int32_t dilation_y;
    int32_t dilation_x;
    int32_t top;
    int32_t left;
    int32_t groups;
    int32_t group_in;
    int32_t group_out;
    int32_t pad_value;
    int32_t dense; /* 1: the taps of a kernel row are neighbours in the input; else 0 */
} digits_conv_t;

/* Sum of the weights of output `o` whose taps are outside the input. */
static int32_t digits_conv_s8_channel_outside(const digits_conv_t *c, const int8_t *weight,
        int32_t o, int32_t ky0, int32_t ky1, int32_t kx0, int32_t kx1)
{
    int32_t at = o * c->kernel_height * c->kernel_width * c->group_in;
    int32_t sum = 0;

    for (int32_t ky = 0; ky < c->kernel_height; ky++) {
        for (int32_t kx = 0; kx < c->kernel_width; kx++) {
            if ((ky < ky0) || (ky >= ky1) || (kx < kx0) || (kx >= kx1)) {
                for (int32_t i = 0; i < c->group_in; i++) {
                    sum += (int32_t)weight[at + i];
                }
            }
            at += c->group_in;
        }
    }
    return sum;
}

/* Weights: out x kernel height x kernel width x in / groups. */
static void digits_conv_s8_channel(const digits_conv_t *c, const int8_t *restrict x,
        const int8_t *restrict weight, const int32_t *restrict bias,
        const digits_channel_scaling_t *scaling, int8_t *restrict y)
{
    const digits_channel_scaling_t s = *scaling;
    int32_t at = 0;

    for (int32_t oy = 0; oy < c->out_height; oy++) {
        const int32_t iy = (oy * c->stride_y) - c->top;
        const int32_t ky0 = digits_first_tap(iy, c->dilation_y);
        const int32_t ky1 = digits_end_tap(iy, c->dilation_y, c->in_height, c->kernel_height);

        for (int32_t ox = 0; ox < c->out_width; ox++) {
            const int32_t ix = (ox * c->stride_x) - c->left;
            const int32_t kx0 = digits_first_tap(ix, c->dilation_x);
            const int32_t kx1 = digits_end_tap(ix, c->dilation_x, c->in_width, c->kernel_width);
            /* A row of taps is one run of values if the layer is dense, else one run a tap. */
            const int32_t taps = (kx1 > kx0) ? (kx1 - kx0) : 0;
            const int32_t runs = (c->dense != 0) ? 1 : taps;
            const int32_t length = (c->dense != 0) ? (taps * c->group_in) : c->group_in;
            const int32_t clipped = ((ky0 > 0) || (ky1 < c->kernel_height)
                    || (kx0 > 0) || (kx1 < c->kernel_width)) ? 1 : 0;
            int32_t o = 0;

            for (int32_t group = 0; group < c->groups; group++) {
                for (int32_t n = 0; n < c->group_out; n++) {
                    int32_t acc = bias[o];

                    for (int32_t ky = ky0; ky < ky1; ky++) {
                        const int32_t row = iy + (ky * c->dilation_y);
                        const int32_t column = ix + (kx0 * c->dilation_x);
                        int32_t xi = (((row * c->in_width) + column) * c->channels)
                                + (group * c->group_in);
                        int32_t wi = ((((o * c->kernel_height) + ky) * c->kernel_width) + kx0)
                                * c->group_in;

                        for (int32_t run = 0; run < runs; run++) {
                            for (int32_t i = 0; i < length; i++) {
                                acc += (int32_t)x[xi + i] * (int32_t)weight[wi + i];
                            }
                            xi += c->dilation_x * c->channels;
                            wi += c->group_in;
                        }
                    }
                    if ((clipped != 0) && (c->pad_value != 0)) {
                        acc += c->pad_value * digits_conv_s8_channel_outside(c, weight, o,
                                ky0, ky1, kx0, kx1);
                    }
                    y[at] = (int8_t)digits_requantize(acc, s.shift[o], s.lower, s.upper);
                    at++;
                    o++;
                }
            }
        }
    }
}

/* Sum of the weights of output `o` whose taps are outside the input. */
static int32_t digits_conv_s8_residual_by_channel_channel_outside(const digits_conv_t *c, const int8_t *weight,
        int32_t o, int32_t ky0, int32_t ky1, int32_t kx0, int32_t kx1)
{
    int32_t at = o * c->kernel_height * c->kernel_width * c->group_in;
    int32_t sum = 0;

    for (int32_t ky = 0; ky < c->kernel_height; ky++) {
        for (int32_t kx = 0; kx < c->kernel_width; kx++) {
            if ((ky < ky0) || (ky >= ky1) || (kx < kx0) || (kx >= kx1)) {
                for (int32_t i = 0; i < c->group_in; i++) {
                    sum += (int32_t)weight[at + i];
                }
            }
            at += c->group_in;
        }
    }
    return sum;
}

/* Weights: out x kernel height x kernel width x in / groups. */
static void digits_conv_s8_residual_by_channel_channel(const digits_conv_t *c, const int8_t *restrict x,
        const int8_t *restrict weight, const int32_t *restrict bias,
        const int8_t *r, const int32_t *factor, 
const digits_channel_scaling_t *scaling, int8_t *y)
{
    const digits_channel_scaling_t s = *scaling;
    int32_t at = 0;

    for (int32_t oy = 0; oy < c->out_height; oy++) {
        const int32_t iy = (oy * c->stride_y) - c->top;
        const int32_t ky0 = digits_first_tap(iy, c->dilation_y);
        const int32_t ky1 = digits_end_tap(iy, c->dilation_y, c->in_height, c->kernel_height);

        for (int32_t ox = 0; ox < c->out_width; ox++) {
            const int32_t ix = (ox * c->stride_x) - c->left;
            const int32_t kx0 = digits_first_tap(ix, c->dilation_x);
            const int32_t kx1 = digits_end_tap(ix, c->dilation_x, c->in_width, c->kernel_width);
            /* A row of taps is one run of values if the layer is dense, else one run a tap. */
            const int32_t taps = (kx1 > kx0) ? (kx1 - kx0) : 0;
            const int32_t runs = (c->dense != 0) ? 1 : taps;
            const int32_t length = (c->dense != 0) ? (taps * c->group_in) : c->group_in;
            const int32_t clipped = ((ky0 > 0) || (ky1 < c->kernel_height)
                    || (kx0 > 0) || (kx1 < c->kernel_width)) ? 1 : 0;
            int32_t o = 0;

            for (int32_t group = 0; group < c->groups; group++) {
                for (int32_t n = 0; n < c->group_out; n++) {
                    int32_t acc = bias[o] + (factor[o] * (int32_t)r[at]);

                    for (int32_t ky = ky0; ky < ky1; ky++) {
                        const int32_t row = iy + (ky * c->dilation_y);
                        const int32_t column = ix + (kx0 * c->dilation_x);
                        int32_t xi = (((row * c->in_width) + column) * c->channels)
                                + (group * c->group_in);
                        int32_t wi = ((((o * c->kernel_height) + ky) * c->kernel_width) + kx0)
                                * c->group_in;

                        for (int32_t run = 0; run < runs; run++) {
                            for (int32_t i = 0; i < length; i++) {
                                acc += (int32_t)x[xi + i] * (int32_t)weight[wi + i];
                            }
                            xi += c->dilation_x * c->channels;
                            wi += c->group_in;
                        }
                    }
                    if ((clipped != 0) && (c->pad_value != 0)) {
                        acc += c->pad_value * digits_conv_s8_residual_by_channel_channel_outside(c, weight, o,
                                ky0, ky1, kx0, kx1);
                    }
                    y[at] = (int8_t)digits_requantize(acc, s.shift[o], s.lower, s.upper);
                    at++;
                    o++;
                }
            }
        }
    }
}

/* A depthwise convolution: one filter a channel. */
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
    int32_t dilation_y;
    int32_t dilation_x;
    int32_t top;
    int32_t left;
    int32_t pad_value;
} digits_depthwise_conv_t;

/* Sum of the weights of channel `o` whose taps are outside the input. */
static int32_t digits_depthwise_conv_s8_channel_outside(const digits_depthwise_conv_t *c,
        const int8_t *weight, int32_t o, int32_t ky0, int32_t ky1, int32_t kx0, int32_t kx1)
{
    int32_t at = o;
    int32_t sum = 0;

    for (int32_t ky = 0; ky < c->kernel_height; ky++) {
        for (int32_t kx = 0; kx < c->kernel_width; kx++) {
            if ((ky < ky0) || (ky >= ky1) || (kx < kx0) || (kx >= kx1)) {
                sum += (int32_t)weight[at];
            }
            at += c->channels;
        }
    }
    return sum;
}

/* Weights: kernel height x kernel width x channels. */
static void digits_depthwise_conv_s8_channel(const digits_depthwise_conv_t *c, const int8_t *restrict x,
        const int8_t *restrict weight, const int32_t *restrict bias,
        const digits_channel_scaling_t *scaling, int8_t *restrict y)
{
    const digits_channel_scaling_t s = *scaling;
    int32_t at = 0;

    for (int32_t oy = 0; oy < c->out_height; oy++) {
        const int32_t iy = (oy * c->stride_y) - c->top;
        const int32_t ky0 = digits_first_tap(iy, c->dilation_y);
        const int32_t ky1 = digits_end_tap(iy, c->dilation_y, c->in_height, c->kernel_height);

        for (int32_t ox = 0; ox < c->out_width; ox++) {
            const int32_t ix = (ox * c->stride_x) - c->left;
            const int32_t kx0 = digits_first_tap(ix, c->dilation_x);
            const int32_t kx1 = digits_end_tap(ix, c->dilation_x, c->in_width, c->kernel_width);
            const int32_t clipped = ((ky0 > 0) || (ky1 < c->kernel_height)
                    || (kx0 > 0) || (kx1 < c->kernel_width)) ? 1 : 0;

            for (int32_t o = 0; o < c->channels; o++) {
                int32_t acc = bias[o];

                for (int32_t ky = ky0; ky < ky1; ky++) {
                    const int32_t row = (iy + (ky * c->dilation_y)) * c->in_width;
                    int32_t xi = ((row + ix + (kx0 * c->dilation_x)) * c->channels) + o;
                    int32_t wi = (((ky * c->kernel_width) + kx0) * c->channels) + o;

                    for (int32_t kx = kx0; kx < kx1; kx++) {
                        acc += (int32_t)x[xi] * (int32_t)weight[wi];
                        xi += c->dilation_x * c->channels;
                        wi += c->channels;
                    }
                }
                if ((clipped != 0) && (c->pad_value != 0)) {
                    acc += c->pad_value
                            * digits_depthwise_conv_s8_channel_outside(c, weight, o, ky0, ky1, kx0, kx1);
                }
                y[at] = (int8_t)digits_requantize(acc, s.shift[o], s.lower, s.upper);
                at++;
            }
        }
    }
}

/* Fully connected, for every row of the input; weights: out x in. */
static void digits_fc_s8_s32_channel(int32_t rows, int32_t in, int32_t out, const int8_t *restrict x,
        const int8_t *restrict weight, const int32_t *restrict bias,
        const digits_channel_scaling_t *scaling, int32_t *restrict y)
{
    const digits_channel_scaling_t s = *scaling;

    for (int32_t row = 0; row < rows; row++) {
        const int32_t xi = row * in;

        for (int32_t o = 0; o < out; o++) {
            const int32_t wi = o * in;
            int32_t acc = bias[o];

            for (int32_t i = 0; i < in; i++) {
                acc += (int32_t)x[xi + i] * (int32_t)weight[wi + i];
            }
            y[(row * out) + o] = (int32_t)digits_requantize(acc, s.shift[o], s.lower, s.upper);
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
