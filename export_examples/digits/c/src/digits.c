/* digits: the layers in order of execution.
 *
 * Written by aidge_quant 0.1.0 from the network "digits"; edit the model, not this file.
 */
#include "digits.h"

#include "digits_kernels.h"
#include "digits_weights.h"

/* A hook before every layer with its position, and one in the end, for timing. */
#ifndef DIGITS_PROFILE
#define DIGITS_PROFILE(position) ((void)0)
#endif

/* A hook after every layer, for comparing: its position, what it wrote, and how much. */
#ifndef DIGITS_TRACE
#define DIGITS_TRACE(position, data, bytes) ((void)0)
#endif

DIGITS_STATIC_ASSERT(sizeof(digits_t) == DIGITS_ARENA_SIZE, arena_size_is_exact);

static const digits_dsp_conv_t digits_conv1_shape = {
    .in_height = 8,
    .in_width = 8,
    .channels = 1,
    .out_height = 8,
    .out_width = 8,
    .kernel_height = 3,
    .kernel_width = 3,
    .stride_y = 1,
    .stride_x = 1,
    .out = 16,
    .dilation_y = 1,
    .top = 1,
    .left = 1,
    .pad_value = -128,
    .run = 3,
    .row = 4,
    .steps = 6,
    .gap = 4,
    .last_y = 5,
    .last_x = 5,
    .last = 44,
    .plain = 0,
};

static const digits_channel_scaling_t digits_conv1_scaling = {
    .shift = digits_conv1_shift,
    .offset = 0,
    .lower = -128,
    .upper = 127,
};

static const digits_dsp_depthwise_conv_t digits_conv2_dw_shape = {
    .channels = 16,
    .in_lines = 8,
    .in_length = 8,
    .in_line_step = 128,
    .in_step = 16,
    .out_lines = 4,
    .out_length = 4,
    .out_line_step = 64,
    .out_step = 16,
    .tap_lines = 3,
    .tap_length = 3,
    .line_stride = 2,
    .stride = 2,
    .lines_before = 1,
    .before = 1,
    .width = 10,
    .height = 9,
    .pad_value = -128,
};

static const digits_channel_scaling_t digits_conv2_dw_scaling = {
    .shift = digits_conv2_dw_shift,
    .offset = 0,
    .lower = -128,
    .upper = 127,
};

static const digits_dsp_conv_t digits_conv2_pw_shape = {
    .in_height = 4,
    .in_width = 4,
    .channels = 16,
    .out_height = 4,
    .out_width = 4,
    .kernel_height = 1,
    .kernel_width = 1,
    .stride_y = 1,
    .stride_x = 1,
    .out = 24,
    .dilation_y = 1,
    .top = 0,
    .left = 0,
    .pad_value = -128,
    .run = 16,
    .row = 16,
    .steps = 8,
    .gap = 0,
    .last_y = 3,
    .last_x = 3,
    .last = 240,
    .plain = 1,
};

static const digits_channel_scaling_t digits_conv2_pw_scaling = {
    .shift = digits_conv2_pw_shift,
    .offset = 0,
    .lower = -128,
    .upper = 127,
};

static const digits_dsp_conv_t digits_conv3_shape = {
    .in_height = 4,
    .in_width = 4,
    .channels = 24,
    .out_height = 4,
    .out_width = 4,
    .kernel_height = 3,
    .kernel_width = 3,
    .stride_y = 1,
    .stride_x = 1,
    .out = 24,
    .dilation_y = 1,
    .top = 1,
    .left = 1,
    .pad_value = -128,
    .run = 72,
    .row = 72,
    .steps = 108,
    .gap = 24,
    .last_y = 1,
    .last_x = 1,
    .last = 120,
    .plain = 0,
};

static const digits_channel_scaling_t digits_conv3_scaling = {
    .shift = digits_conv3_shift,
    .offset = 0,
    .lower = -128,
    .upper = 127,
};

static const digits_channel_scaling_t digits_conv4_scaling = {
    .shift = digits_conv4_shift,
    .offset = 0,
    .lower = -128,
    .upper = 127,
};

static const digits_avg_pool_t digits_pool_shape = {
    .in_height = 4,
    .in_width = 4,
    .channels = 24,
    .out_height = 1,
    .out_width = 1,
    .kernel_height = 4,
    .kernel_width = 4,
    .stride_y = 1,
    .stride_x = 1,
    .top = 0,
    .left = 0,
    .zero_point = -128,
};

static const digits_scaling_t digits_pool_scaling = {
    .shift = 3,
    .offset = 0,
    .lower = -128,
    .upper = 127,
};

static const digits_dsp_conv_t digits_fc_shape = {
    .in_height = 1,
    .in_width = 1,
    .channels = 24,
    .out_height = 1,
    .out_width = 1,
    .kernel_height = 1,
    .kernel_width = 1,
    .stride_y = 1,
    .stride_x = 1,
    .out = 10,
    .dilation_y = 1,
    .top = 0,
    .left = 0,
    .pad_value = 0,
    .run = 24,
    .row = 24,
    .steps = 12,
    .gap = 0,
    .last_y = 0,
    .last_x = 0,
    .last = 0,
    .plain = 1,
};

static const digits_channel_scaling_t digits_fc_scaling = {
    .shift = digits_fc_shift,
    .offset = 0,
    .lower = -2147483520,
    .upper = 2147483520,
};

void digits_init(digits_t *net)
{
    for (int32_t i = 0; i < (DIGITS_ARENA_SIZE / 4); i++) {
        net->arena.s32[i] = 0;
    }
}

void digits_run(digits_t *net,
        const int8_t input[DIGITS_INPUT_SIZE],
        int32_t output[DIGITS_OUTPUT_SIZE])
{
    /* conv1 (Convolution): 8x8x1 to 8x8x16 */
    DIGITS_PROFILE(0);
    digits_dsp_conv_s8_channel(&digits_conv1_shape, input, digits_conv1_weight, digits_conv1_bias,
            &net->arena.s16[0], &digits_conv1_scaling, &net->arena.s8[768]);
    DIGITS_TRACE(0, &net->arena.s8[768], 1024);
    /* conv2_dw (DepthwiseConvolution): 8x8x16 to 4x4x16 */
    DIGITS_PROFILE(1);
    digits_dsp_depthwise_conv_s8_channel_stride2(&digits_conv2_dw_shape, &net->arena.s8[768],
            digits_conv2_dw_weight, digits_conv2_dw_bias, &net->arena.s16[128],
            &digits_conv2_dw_scaling, &net->arena.s8[0]);
    DIGITS_TRACE(1, &net->arena.s8[0], 256);
    /* conv2_pw (Convolution): 4x4x16 to 4x4x24 */
    DIGITS_PROFILE(2);
    digits_dsp_conv_s8_channel(&digits_conv2_pw_shape, &net->arena.s8[0], digits_conv2_pw_weight,
            digits_conv2_pw_bias, &net->arena.s16[128], &digits_conv2_pw_scaling,
            &net->arena.s8[384]);
    DIGITS_TRACE(2, &net->arena.s8[384], 384);
    /* conv3 (Convolution): 4x4x24 to 4x4x24 */
    DIGITS_PROFILE(3);
    digits_dsp_conv_s8_channel(&digits_conv3_shape, &net->arena.s8[384], digits_conv3_weight,
            digits_conv3_bias, &net->arena.s16[384], &digits_conv3_scaling, &net->arena.s8[0]);
    DIGITS_TRACE(3, &net->arena.s8[0], 384);
    /* conv4 (Convolution): 4x4x24 and 4x4x24 to 4x4x24 */
    DIGITS_PROFILE(4);
    digits_dsp_conv_s8_residual_by_channel_channel(&digits_conv3_shape, &net->arena.s8[0],
            digits_conv4_weight, digits_conv4_bias, &net->arena.s16[384], &net->arena.s8[384],
            digits_conv4_factor, &digits_conv4_scaling, &net->arena.s8[384]);
    DIGITS_TRACE(4, &net->arena.s8[384], 384);
    /* pool (AveragePool): 4x4x24 to 1x1x24 */
    DIGITS_PROFILE(5);
    digits_avg_pool_s8(&digits_pool_shape, &net->arena.s8[384], 1028, &digits_pool_scaling,
            &net->arena.s8[0]);
    DIGITS_TRACE(5, &net->arena.s8[0], 24);
    /* fc (FullyConnected): 1x1x24 to 10 */
    DIGITS_PROFILE(6);
    digits_dsp_conv_s8_s32_channel_clip(&digits_fc_shape, &net->arena.s8[0], digits_fc_weight,
            digits_fc_bias, &net->arena.s16[0], &digits_fc_scaling, output);
    DIGITS_TRACE(6, output, 40);
    DIGITS_PROFILE(7);
}
