"""The idioms of QDQ models: functions that add one to a model, and return its result."""

import numpy as np
from onnx import numpy_helper

IN = (0.02137, 130, "uint8")
A = (0.04719, 115, "uint8")
B = (0.03323, 140, "uint8")
POSITIVE = (0.03011, 0, "uint8")
SIGNED = (0.05077, 3, "int8")
SHAPE = (4, 6, 6)

MODELS = {}


def model(function):
    MODELS[function.__name__] = function
    return function


def conv(m, x, out=5, scale=0.004, bias=None, name="conv", shape=None, **given):
    weight = m.weight(shape or (out, 4, 3, 3), scale)
    inputs = [x, weight] + ([] if bias is None else [bias])
    given = {"pads": [1, 1, 1, 1], **given}
    return m.node("Conv", *inputs, name=name, **given)


@model
def conv_with_bias_and_relu(m, x):
    y = conv(m, x, bias=m.bias(5, IN[0] * 0.004))
    return m.through(m.node("Relu", y), POSITIVE)


@model
def conv_per_channel_with_a_bias_a_channel(m, x):
    scales = np.array([0.004, 0.002, 0.006, 0.001, 0.003], np.float32)
    bias = m.bias(5, np.float32(IN[0]) * scales)
    return m.through(conv(m, x, scale=scales, bias=bias), A)


@model
def conv_with_a_float_bias(m, x):
    bias = m.constant(m.rng.normal(0, 1, 5).astype(np.float32))
    return m.through(conv(m, x, bias=bias), SIGNED)


@model
def conv_and_clip_with_another_zero_point(m, x):
    bounds = (m.constant(np.float32(0)), m.constant(np.float32(4)))
    return m.through(m.node("Clip", conv(m, x), *bounds), SIGNED)


@model
def relu_between_pairs(m, x):
    y = m.through(conv(m, x), SIGNED)
    return m.through(m.node("Relu", y), SIGNED)


@model
def relu_between_pairs_of_two_scales(m, x):
    y = m.through(conv(m, x), SIGNED)
    return m.through(m.node("Relu", y), POSITIVE)


@model
def weights_quantized_in_the_model(m, x):
    weight = m.constant(m.rng.normal(0, 0.2, (5, 4, 3, 3)).astype(np.float32))
    zeros = m.constant(np.zeros(5, np.int8))
    scales = m.constant(np.linspace(0.004, 0.008, 5).astype(np.float32))
    q = m.node("QuantizeLinear", weight, scales, zeros, axis=0)
    w = m.node("DequantizeLinear", q, scales, zeros, axis=0)
    return m.through(m.node("Conv", x, w), SIGNED)


@model
def unsigned_weights_that_fit(m, x):
    weight = m.weight((5, 4, 3, 3), 0.002, kind="uint8", zero=128)
    return m.through(m.node("Conv", x, weight), A)


@model
def unsigned_weights_that_need_sixteen_bits(m, x):
    weight = m.weight((5, 4, 3, 3), 0.002, kind="uint8", zero=17)
    return m.through(m.node("Conv", x, weight), A)


@model
def no_zero_points(m, x):
    scale = m.constant(np.float32(0.05))
    q = m.node("QuantizeLinear", conv(m, x), scale)
    return m.node("DequantizeLinear", q, scale)


@model
def depthwise_dilated_strided(m, x):
    weight = m.weight((4, 1, 3, 3), 0.01)
    given = {"group": 4, "strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 2, 3]}
    return m.through(m.node("Conv", x, weight, **given), A)


@model
def transposed_conv_per_channel_in_groups(m, x):
    scales = np.array([0.004, 0.007, 0.002], np.float32)
    weight = m.weight((4, 3, 2, 2), scales, axis=1)
    y = m.node("ConvTranspose", x, weight, group=2, strides=[2, 2], pads=[0, 1, 1, 0])
    return m.through(y, A)


@model
def add_of_two_scales_and_a_shared_tensor(m, x):
    y = m.through(conv(m, x, out=4), A)
    return m.through(m.node("Add", y, x), B)


@model
def sub_of_two_scales(m, x):
    y = m.through(conv(m, x, out=4), A)
    return m.through(m.node("Relu", m.node("Sub", y, x)), POSITIVE)


@model
def add_to_itself(m, x):
    return m.through(m.node("Add", x, x), A)


@model
def add_a_quantized_constant(m, x):
    bias = m.weight((4, 1, 1), 0.03, kind="uint8", zero=99)
    return m.through(m.node("Add", x, bias), A)


@model
def subtract_from_a_float_constant(m, x):
    value = m.constant(np.float32(1.5))
    return m.through(m.node("Sub", value, x), A)


@model
def residual_in_the_accumulator(m, x):
    # scale of x is 500 times that of the accumulator: 1 / 0.002
    y = conv(m, x, out=4, scale=np.float32(0.002))
    return m.through(m.node("Relu", m.node("Add", y, x)), POSITIVE)


@model
def multiply_two_tensors(m, x):
    y = m.through(conv(m, x, out=4), A)
    return m.through(m.node("Mul", y, x), SIGNED)


@model
def multiply_by_a_gate_a_channel(m, x):
    gate = m.through(m.node("GlobalAveragePool", x), (0.004, 90, "uint8"))
    gate = m.through(m.node("Sigmoid", gate), (1 / 256, 0, "uint8"))
    return m.through(m.node("Mul", x, gate), A)


@model
def multiply_by_a_constant(m, x):
    return m.through(m.node("Mul", x, m.weight((4, 1, 1), 0.01)), A)


@model
def concat_of_three_scales(m, x):
    y, z = m.through(conv(m, x), A), conv(m, x, out=3, name="other")
    return m.through(m.node("Concat", x, y, z, axis=1), B)


@model
def max_pool_on_one_scale(m, x):
    return m.through(m.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), IN)


@model
def max_pool_of_an_accumulator(m, x):
    y = m.node("Relu", conv(m, x))
    y = m.node("MaxPool", y, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return m.through(m.node("Flatten", y), POSITIVE)


@model
def average_pool_on_one_scale(m, x):
    return m.through(m.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), IN)


@model
def average_pool_of_two_scales(m, x):
    given = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}
    return m.through(m.node("AveragePool", x, **given), (0.011, 120, "uint8"))


@model
def mean_over_positions(m, x):
    y = m.node("ReduceMean", x, axes=[2, 3], keepdims=0)
    y = m.through(y, (0.005, 128, "uint8"))
    return m.through(m.node("Gemm", y, m.weight((4, 7), 0.01)), A)


@model
def global_average_and_flatten(m, x):
    y = m.through(m.node("GlobalAveragePool", x), (0.005, 128, "uint8"))
    y = m.through(m.node("Flatten", y), (0.005, 128, "uint8"))
    y = m.node("Gemm", y, m.weight((7, 4), 0.01), m.bias(7, 0.005 * 0.01), transB=1)
    return m.through(y, A)


@model
def gemm_with_alpha_and_beta(m, x):
    y = m.node("Flatten", x)
    bias = m.constant(m.rng.normal(0, 1, 7).astype(np.float32))
    y = m.node("Gemm", y, m.weight((144, 7), 0.002), bias, alpha=0.5, beta=2.0)
    return m.through(y, A)


@model
def matmul_a_column_and_bias(m, x):
    y = m.node("Reshape", x, m.constant(np.array([0, 24, 6])))
    scales = np.array([0.01, 0.02, 0.005], np.float32)
    y = m.node("MatMul", y, m.weight((6, 3), scales, axis=1))
    bias = m.constant(m.rng.normal(0, 1, 3).astype(np.float32))
    return m.through(m.node("Add", y, bias), A)


@model
def matmul_by_a_transposed_weight(m, x):
    weight = m.node("Transpose", m.weight((7, 144), 0.002), perm=[1, 0])
    return m.through(m.node("MatMul", m.node("Flatten", x), weight), A)


@model
def moves_in_pairs(m, x):
    y = m.through(m.node("Transpose", x, perm=[0, 2, 3, 1]), IN)
    ends = [m.constant(np.array(v)) for v in ([1], [5], [1], [2])]
    y = m.through(m.node("Slice", y, *ends), IN)
    pads = m.constant(np.array([0, 1, 0, 0, 0, 0, 2, 0]))
    return m.through(m.node("Pad", y, pads), IN)


@model
def pad_with_a_quantized_value(m, x):
    value = m.weight((), IN[0], kind="uint8", zero=130)
    m.constants[-3] = onnx_scalar(m, m.constants[-3].name, 130)
    pads = m.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    return m.through(m.node("Pad", x, pads, value), A)


@model
def resize_and_unsqueeze(m, x):
    scales = m.constant(np.array([1, 1, 2, 3], np.float32))
    y = m.node("Resize", x, "", scales, mode="nearest", nearest_mode="floor")
    y = m.through(y, IN)
    y = m.node("Unsqueeze", y, m.constant(np.array([1])))
    return m.through(m.node("Squeeze", y, m.constant(np.array([1]))), IN)


@model
def split_in_two(m, x):
    a, b = m.node("Split", x, m.constant(np.array([2, 2])), outputs=2, axis=1)
    return m.through(m.node("Add", m.through(a, IN), m.through(b, IN)), A)


@model
def bounds_on_the_integers(m, x):
    q = m.quantize(conv(m, x), SIGNED)
    q = m.node("Max", q, m.constant(np.int8(3)))
    return m.dequantize(q, SIGNED)


@model
def one_signal(m, x):
    y = m.node("Reshape", x, m.constant(np.array([0, 4, 36])))
    y = m.node("Conv", y, m.weight((3, 4, 5), 0.004), strides=[2], pads=[2, 1])
    return m.through(y, A)


def function(op, grid, **given):
    def build(m, x):
        return m.through(m.node(op, x, **given), grid)

    build.__name__ = f"function_{op}"
    return model(build)


function("Sigmoid", (1 / 256, 0, "uint8"))
function("Tanh", (1 / 128, 0, "int8"))
function("LeakyRelu", (0.02, 17, "uint8"), alpha=0.1)
function("HardSwish", (0.013, 40, "uint8"))
function("HardSigmoid", (1 / 255, 0, "uint8"))
function("Elu", (0.015, 66, "uint8"))
function("Softplus", (0.012, 0, "uint8"))


@model
def prelu_a_channel(m, x):
    slope = m.weight((4, 1, 1), 0.002)
    return m.through(m.node("PRelu", x, slope), A)


@model
def bounds_around_a_function(m, x):
    y = m.node("Tanh", m.node("Relu", x))
    bounds = (m.constant(np.float32(0.2)), m.constant(np.float32(0.7)))
    return m.through(m.node("Clip", y, *bounds), (1 / 128, 0, "int8"))


@model
def bound_beyond_the_range(m, x):
    bounds = (m.constant(np.float32(-90)), m.constant(np.float32(77.7)))
    return m.through(conv(m, m.node("Clip", x, *bounds)), A)


@model
def shared_input_of_two_pairs(m, x):
    other = m.through("x", IN)
    return m.through(m.node("Add", conv(m, x, out=4, scale=np.float32(0.002)), other), A)


@model
def swish_of_one_pair(m, x):
    return m.through(m.node("Mul", x, m.node("Sigmoid", x)), (0.013, 22, "uint8"))


def onnx_scalar(m, name, value):
    return numpy_helper.from_array(np.asarray(value, np.uint8), name)


def on_grid(shape, count=20, grid=IN):
    """Return samples that the grid holds exactly, so that no rounding of the input differs."""
    limits = np.iinfo(grid[2])
    steps = np.random.default_rng(3).integers(limits.min, limits.max + 1, (count, *shape))
    return ((steps - grid[1]) * np.float32(grid[0])).astype(np.float32)


@model
def pad_of_a_computed_value(m, x):
    pads = m.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    return m.through(m.node("Pad", conv(m, x), pads), SIGNED)


@model
def pad_behind_a_clip(m, x):
    bounds = (m.constant(np.float32(SIGNED[0] * 20)), m.constant(np.float32(SIGNED[0] * 90)))
    y = m.node("Clip", m.through(conv(m, x), SIGNED), *bounds)
    pads = m.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    return m.through(m.node("Pad", y, pads), SIGNED)


@model
def relu_on_the_input(m, x):
    return m.through(m.node("Relu", x), IN)


@model
def relu_and_mean_of_the_input(m, x):
    y = m.node("AveragePool", m.node("Relu", x), kernel_shape=[3, 3], strides=[3, 3])
    return m.through(y, POSITIVE)


@model
def product_of_a_relu_and_a_constant(m, x):
    return m.through(m.node("Mul", m.node("Relu", conv(m, x)), m.constant(np.float32(0.5))), A)


@model
def product_of_a_clip_and_a_constant(m, x):
    bounds = (m.constant(np.float32(-1)), m.constant(np.float32(4)))
    clipped = m.node("Clip", conv(m, x), *bounds)
    return m.through(m.node("Mul", clipped, m.constant(np.float32(0.5))), SIGNED)
