"""Operators that have a gradient, with the shapes of their inputs, and values for them."""

import zlib

import numpy as np

from aidge_quant import ops

DATA = (2, 4, 6, 5)


def conv(stride=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0), groups=1):
    return ops.Conv(stride, dilation, padding, groups)


CASES = [
    (conv(), DATA, (3, 4, 3, 2), (3,)),
    (conv(padding=(1, 1, 1, 1)), DATA, (3, 4, 3, 3)),
    (conv((2, 2), (1, 1), (0, 1, 1, 0)), DATA, (3, 4, 3, 3), (3,)),
    (conv((2, 1), (2, 1), (1, 0, 2, 1)), DATA, (3, 4, 2, 3), (3,)),
    (conv((2, 2)), DATA, (5, 4, 1, 1), (5,)),
    (conv((2, 2), (1, 1), (1, 1, 1, 1), 2), DATA, (6, 2, 3, 3), (6,)),
    (conv((1, 2), (1, 2), (1, 1, 1, 1), 4), DATA, (4, 1, 3, 2), (4,)),
    (conv((1, 1), (1, 1), (1, 1, 0, 0), 4), DATA, (8, 1, 2, 2), (8,)),
    (ops.Conv((2,), (1,), (1, 2), 1), (2, 3, 8), (4, 3, 3), (4,)),
    (ops.Conv((1,), (2,), (2, 0), 3), (2, 3, 8), (3, 1, 3), (3,)),
    (ops.ConvTranspose((2, 2), (1, 1), (1, 0, 0, 1), (1, 0), 1), DATA, (4, 3, 3, 2), (3,)),
    (ops.ConvTranspose((2, 1), (1, 2), (0, 0, 1, 0), (0, 0), 2), DATA, (4, 3, 3, 2), (6,)),
    (ops.FC(), (3, 5), (4, 5), (4,)),
    (ops.FC(), (2, 3, 5), (4, 5)),
    (ops.MatMul(), (2, 3, 4), (4, 5)),
    (ops.MatMul(), (3, 4), (2, 4, 5)),
    (ops.MatMul(), (4,), (2, 4, 5)),
    (ops.MatMul(), (2, 3, 4), (4,)),
    (ops.MatMul(), (4,), (4,)),
    (ops.Gemm(0.5, 2.0, True, True), (4, 3), (5, 4), (5,)),
    (ops.Gemm(), (3, 4), (4, 5), (3, 1)),
    (ops.Gemm(), (3, 4), (4, 5)),
    (ops.BatchNorm(), DATA, (4,), (4,), (4,), (4,)),
    (ops.ReLU(), DATA),
    (ops.Clip(-0.5, 0.7), DATA),
    (ops.Clip(0.0, np.array([0.5, 1.0, 0.1, np.inf])), DATA),
    (ops.LeakyReLU(0.1), DATA),
    (ops.Sigmoid(), DATA),
    (ops.Tanh(), DATA),
    (ops.Softmax(-1), DATA),
    (ops.Softmax(1, flatten=True), DATA),
    (ops.Add(), DATA, DATA),
    (ops.Add(), DATA, (4, 1, 1)),
    (ops.Sub(), (4, 1, 5), DATA),
    (ops.Mul(), DATA, (2, 4, 1, 1)),
    (ops.Div(), DATA, (4, 1, 1)),
    (ops.Concat(1), DATA, (2, 1, 6, 5), (2, 2, 6, 5)),
    (ops.MaxPool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)), DATA),
    (ops.MaxPool((3, 3), (2, 1), (1, 2), (1, 1, 1, 1), True), DATA),
    (ops.MaxPool((3,), (2,), (1,), (1, 0)), (2, 3, 8)),
    (ops.AveragePool((3, 2), (2, 2), (1, 1), (1, 1, 0, 0)), DATA),
    (ops.AveragePool((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), True, True), DATA),
    (ops.SumPool((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)), DATA),
    (ops.GlobalAveragePool(), DATA),
    (ops.GlobalMaxPool(), DATA),
    (ops.ReduceMean((2, 3), False), DATA),
    (ops.ReduceMean((1,)), DATA),
    (ops.Flatten(), DATA),
    (ops.Reshape((0, -1, 5)), DATA),
    (ops.Transpose((0, 2, 3, 1)), DATA),
    (ops.Slice((5, -1), (-100, 100), (2, 1), (-2, 1)), DATA),
    (ops.Pad((0, 0, 1, -1), (0, 2, 0, 1), 3.0), DATA),
    (ops.Pad((0, 1, 0, 2), (0, 0, 0, 0)), DATA),
    (ops.Identity(), DATA),
    (ops.Squeeze((1, 3)), (2, 1, 3, 1)),
    (ops.Unsqueeze((1, 3)), (2, 5)),
    (ops.TanhClamp(), DATA),
    (ops.ScaleAdjust(), DATA),
]


def name(case):
    """Return what a test is called after."""
    return f"{case[0].type}-" + "_".join("x".join(map(str, shape)) for shape in case[1:])


def draw(case):
    """Return float64 inputs of a case, and the generator that drew them."""
    rng = np.random.default_rng(zlib.crc32(name(case).encode()))
    arrays = [rng.normal(size=shape) for shape in case[1:]]
    if isinstance(case[0], ops.BatchNorm):
        arrays[4] = np.abs(arrays[4]) + 0.5
    if isinstance(case[0], ops.Div):
        arrays[1] = np.abs(arrays[1]) + 0.5
    return arrays, rng
