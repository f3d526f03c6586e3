"""Kernels with checked arguments; batch first.

Integers: images (batch, height, width, channels). Floats (fold, unfold): (batch, channels, ...).
"""

from aidge_quant.kernels.affine import (
    conv_s8,
    conv_s16,
    conv_transpose_s8,
    conv_transpose_s16,
    depthwise_conv_s8,
    depthwise_conv_s16,
    fc_s8,
    fc_s16,
)
from aidge_quant.kernels.elementwise import (
    add_s8,
    add_s16,
    clamp_s8,
    clamp_s16,
    lookup_s8,
    mul_s8,
    mul_s16,
    rescale_s8,
    rescale_s16,
)
from aidge_quant.kernels.movement import argmax, concat, pad, reshape, resize, slice_, transpose
from aidge_quant.kernels.pooling import avg_pool_s8, avg_pool_s16, max_pool_s8, max_pool_s16
from aidge_quant.kernels.unfolding import fold, unfold

__all__ = [
    "add_s8",
    "add_s16",
    "argmax",
    "avg_pool_s8",
    "avg_pool_s16",
    "clamp_s8",
    "clamp_s16",
    "concat",
    "conv_s8",
    "conv_s16",
    "conv_transpose_s8",
    "conv_transpose_s16",
    "depthwise_conv_s8",
    "depthwise_conv_s16",
    "fc_s8",
    "fc_s16",
    "fold",
    "lookup_s8",
    "max_pool_s8",
    "max_pool_s16",
    "mul_s8",
    "mul_s16",
    "pad",
    "rescale_s8",
    "rescale_s16",
    "reshape",
    "resize",
    "slice_",
    "transpose",
    "unfold",
]
