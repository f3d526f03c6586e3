"""One row or more for every operator class: the operator, shapes of its inputs, a plain formula.

The formulas are loops and numpy expressions written from the definition; on integers they compute
in int64, and the operators must equal them exactly.
"""

import math
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from op_formulas import (
    GROUPED,
    between,
    conv,
    depth_to_space,
    dynamic,
    erf,
    half_away,
    less,
    mean,
    nearest,
    normalize,
    one,
    over,
    plain_conv,
    plain_conv_transpose,
    plain_pool,
    power_of_two_steps,
    qgemm,
    qlinear_conv,
    reals,
    requantized,
    sigmoid,
    softmax,
    space_to_depth,
    steps,
)

from aidge_quant import ops
from aidge_quant.dtypes import dtype


class Case(NamedTuple):
    """An operator, the shapes of its inputs, and what it computes."""

    operator: ops.Operator
    shapes: tuple[tuple[int, ...], ...]
    expected: Callable[..., Any]
    integers: bool = False  #: also takes int8 data, on which ``expected`` is exact
    positive: bool = False  #: the data must be above 0
    #: The type of each input, where they differ; float32 ones are scales: positive.
    types: tuple[str, ...] = ()

    def __str__(self) -> str:
        sizes = "_".join("x".join(map(str, shape)) or "scalar" for shape in self.shapes)
        kinds = "-" + "_".join(self.types) if self.types else ""
        return f"{self.operator.type}-{sizes}{kinds}"


_D = (2, 4, 6, 5)  # most rows: batch, channels, height, width
_FLAT = (3, 7)

_DEPTHWISE = conv((2, 1), padding=(1, 0, 0, 2), groups=4)
_STRIDED = conv((2, 2), padding=(0, 0, 1, 1))
_LINE = conv((2,), (2,), (3, 1))
_UP = ops.ConvTranspose((2, 2), (1, 1), (1, 0, 0, 1), (1, 0))
_UP_GROUPED = ops.ConvTranspose((1, 2), (2, 1), (0, 0, 0, 0), (0, 0), 2)
_UP_LINE = ops.ConvTranspose((3,), (1,), (1, 1), (0,))
_MAX = ops.MaxPool((3, 2), (2, 2), (1, 1), (1, 0, 1, 1), True)
_MAX_DILATED = ops.MaxPool((2, 2), (1, 1), (2, 2), (0, 0, 0, 0))
_AVERAGE = ops.AveragePool((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), True)
_AVERAGE_PADDED = ops.AveragePool((3, 3), (3, 3), (1, 1), (1, 1, 1, 1), True, True)
_SUM = ops.SumPool((2, 3), (2, 2), (1, 1), (1, 0, 0, 1))
_AVERAGE_LINE = ops.AveragePool((4,), (3,), (1,), (0, 0))

_TABLE = np.random.default_rng(5).integers(-128, 128, (1, 256))
_TABLES = np.random.default_rng(6).integers(0, 256, (4, 256))

CASES: list[Case] = [
    Case(conv(), (_D, (3, 4, 3, 3), (3,)), plain_conv(conv()), True),
    Case(_STRIDED, (_D, (3, 4, 2, 3)), plain_conv(_STRIDED), True),
    Case(_DEPTHWISE, (_D, (4, 1, 3, 3), (4,)), plain_conv(_DEPTHWISE), True),
    Case(_DEPTHWISE, (_D, (8, 1, 3, 2)), plain_conv(_DEPTHWISE), True),
    Case(GROUPED, (_D, (6, 2, 3, 2), (6,)), plain_conv(GROUPED), True),
    Case(_LINE, ((2, 3, 9), (2, 3, 3), (2,)), plain_conv(_LINE), True),
    Case(_UP, (_D, (4, 3, 3, 2), (3,)), plain_conv_transpose(_UP), True),
    Case(_UP_GROUPED, (_D, (4, 3, 2, 3)), plain_conv_transpose(_UP_GROUPED), True),
    Case(_UP_LINE, ((2, 3, 5), (3, 2, 4), (2,)), plain_conv_transpose(_UP_LINE), True),
    Case(ops.FC(), (_FLAT, (5, 7), (5,)), lambda x, w, b: x @ w.T + b, True),
    Case(ops.FC(), ((2, 3, 7), (5, 7)), lambda x, w: x @ w.T, True),
    Case(ops.MatMul(), ((2, 3, 4), (4, 5)), lambda a, b: a @ b, True),
    Case(ops.MatMul(), ((2, 1, 3, 4), (6, 4, 5)), lambda a, b: a @ b, True),
    Case(ops.Gemm(), (_FLAT, (7, 5), (1, 5)), lambda a, b, c: a @ b + c, True),
    Case(
        ops.Gemm(0.5, 2.0, True, True),
        ((7, 3), (5, 7), (3, 1)),
        lambda a, b, c: 0.5 * (a.T @ b.T) + 2 * c,
    ),
    Case(ops.Add(), (_D, (4, 1, 1)), np.add, True),
    Case(ops.Sub(), (_D, _D), np.subtract, True),
    Case(ops.Mul(), (_D, (1, 4, 1, 5)), np.multiply, True),
    Case(ops.Div(), (_FLAT, (7,)), np.divide, positive=True),
    Case(ops.Max(), (_FLAT, (7,)), np.maximum, True),
    Case(ops.Min(), (_FLAT, _FLAT), np.minimum, True),
    Case(_MAX, (_D,), plain_pool(_MAX, np.max), True),
    Case(_MAX_DILATED, (_D,), plain_pool(_MAX_DILATED, np.max), True),
    Case(_AVERAGE, (_D,), plain_pool(_AVERAGE, mean), True),
    Case(_AVERAGE_PADDED, ((1, 3, 2, 2),), plain_pool(_AVERAGE_PADDED, mean), True),
    Case(_AVERAGE_LINE, ((2, 3, 11),), plain_pool(_AVERAGE_LINE, mean), True),
    Case(_SUM, (_D,), plain_pool(_SUM, np.sum)),
    Case(ops.GlobalAveragePool(), (_D,), over((2, 3), True, mean), True),
    Case(ops.GlobalMaxPool(), (_D,), over((2, 3), True, np.max), True),
    Case(ops.ReduceMean((1, 2), False), (_D,), over((1, 2), False, mean), True),
    Case(ops.ReduceMean((3,)), (_D,), over((3,), True, mean), True),
    Case(ops.ReduceMax((1,), False), (_D,), over((1,), False, np.max), True),
    Case(ops.ArgMax(1), (_D,), lambda x: x.argmax(1, keepdims=True), True),
    Case(
        ops.ArgMax(-1, keep_axis=False, last=True),
        (_D,),
        lambda x: x.shape[-1] - 1 - x[..., ::-1].argmax(-1),
        True,
    ),
    Case(ops.Flatten(), (_D,), lambda x: x.reshape(2, 120), True),
    Case(ops.Flatten(-1), (_D,), lambda x: x.reshape(48, 5), True),
    Case(ops.Reshape((0, -1, 5)), (_D,), lambda x: x.reshape(2, 24, 5), True),
    Case(ops.Transpose((0, 2, 3, 1)), (_D,), lambda x: np.moveaxis(x, 1, -1), True),
    Case(ops.Concat(1), (_D, (2, 1, 6, 5)), lambda a, b: np.hstack([a, b]), True),
    Case(ops.Slice((5, -1), (-100, 100), (2, 1), (-2, 1)), (_D,), lambda x: x[:, -1:, ::-2], True),
    Case(
        ops.Pad((0, 0, 1, -1), (0, 2, 0, 1), 3.0),
        (_D,),
        lambda x: np.pad(
            x[..., 1:], [(0, 0), (0, 2), (1, 0), (0, 1)], constant_values=np.array(3, x.dtype)
        ),
        True,
    ),
    Case(ops.Squeeze((1, 3)), ((2, 1, 3, 1),), lambda x: x[:, 0, :, 0], True),
    Case(ops.Unsqueeze((1, 3)), ((2, 5),), lambda x: x[:, None, :, None], True),
    Case(ops.Split(1, (1, 3)), (_D,), lambda x: (x[:, :1], x[:, 1:]), True),
    Case(ops.Identity(), (_D,), lambda x: x, True),
    Case(ops.DepthToSpace(2), ((1, 8, 2, 3),), lambda x: depth_to_space(x, 2, False), True),
    Case(ops.DepthToSpace(2, True), ((1, 8, 2, 3),), lambda x: depth_to_space(x, 2, True), True),
    Case(ops.SpaceToDepth(2), ((1, 3, 4, 6),), lambda x: space_to_depth(x, 2), True),
    Case(ops.Resize((1.0, 1.0, 2.0, 2.0), (), "asymmetric", "floor"), (_D,), nearest(2), True),
    Case(ops.Resize((), (0, 4, 18, 15)), (_D,), nearest(3), True),
    Case(ops.BatchNorm(), ((2, 3, 4), (3,), (3,), (3,), (3,)), normalize, positive=True),
    Case(ops.Softmax(-1), (_D,), lambda x: softmax(x, (3,))),
    Case(ops.Softmax(1, flatten=True), (_D,), lambda x: softmax(x, (1, 2, 3))),
    Case(ops.ReLU(), (_D,), lambda x: x * (x > 0), True),
    Case(ops.Clip(-1.0, 2.0), (_D,), lambda x: np.clip(x, -1, 2), True),
    Case(ops.Clip(0.0), (_D,), lambda x: np.clip(x, 0, None), True),
    Case(ops.LeakyReLU(0.1), (_D,), lambda x: np.where(x < 0, 0.1 * x, x)),
    Case(ops.PReLU(), (_D, (4, 1, 1)), lambda x, s: np.where(x < 0, s * x, x)),
    Case(ops.Sigmoid(), (_D,), sigmoid),
    Case(ops.Tanh(), (_D,), np.tanh),
    Case(ops.HardSigmoid(), (_D,), lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    Case(ops.HardSwish(), (_D,), lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    Case(ops.Abs(), (_D,), np.abs),
    Case(ops.Neg(), (_D,), lambda x: 0 - x),
    Case(ops.Exp(), (_D,), np.exp),
    Case(ops.Log(), (_D,), np.log, positive=True),
    Case(ops.Sqrt(), (_D,), np.sqrt, positive=True),
    Case(ops.Reciprocal(), (_D,), lambda x: 1 / x, positive=True),
    Case(ops.Pow(1.5), (_D,), lambda x: x**1.5, positive=True),
    Case(ops.Erf(), (_D,), erf),
    Case(ops.Softplus(), (_D,), lambda x: np.log(1 + np.exp(x))),
    Case(ops.Softsign(), (_D,), lambda x: x / (1 + np.abs(x))),
    Case(ops.Mish(), (_D,), lambda x: x * np.tanh(np.log(1 + np.exp(x)))),
    Case(ops.Elu(0.5), (_D,), lambda x: np.where(x < 0, 0.5 * (np.exp(x) - 1), x)),
    Case(ops.Celu(2.0), (_D,), lambda x: np.where(x < 0, 2 * (np.exp(x / 2) - 1), x)),
    Case(ops.Selu(1.6, 1.1), (_D,), lambda x: 1.1 * np.where(x < 0, 1.6 * (np.exp(x) - 1), x)),
    Case(ops.ThresholdedReLU(0.7), (_D,), lambda x: np.where(x > 0.7, x, 0)),
    Case(ops.Swish(0.5), (_D,), lambda x: x * sigmoid(0.5 * x)),
    Case(ops.Gelu(), (_D,), lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2)))),
    Case(
        ops.Gelu(approximate=True),
        (_D,),
        lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    Case(
        ops.Quantizer(16.0, (-128, 127), "half_up", None, 1, dtype.int8),
        (_D,),
        lambda x: np.clip(np.floor(x * 16 + 0.5), -128, 127).astype(np.int8),
    ),
    Case(
        ops.Quantizer(0.25, (-100, 100), "half_up", np.array(2), 1, dtype.int8),
        (_D,),
        lambda x: np.clip(np.floor(x / 4 + 0.5), -100, 100).astype(np.int8),
        True,
    ),
    Case(ops.LSQ((-8, 7)), (_D, ()), lambda x, s: s * np.clip(half_away(x / s), -8, 7)),
    Case(ops.LSQ((0, 15), True), (_D, (1,)), power_of_two_steps, positive=True),
    Case(
        ops.BiasQuantizer(),
        ((30,), (), (1,)),
        lambda x, a, b: a * b * np.floor(x / (a * b) + 0.5),
        positive=True,
    ),
    Case(ops.CGPACT(15), (_D, ()), lambda x, a: a / 15 * half_away(15 * np.clip(x / a, 0, 1))),
    Case(ops.FixedQ(4, 2.0), (_D,), lambda x: np.clip(half_away(x * 4), -8, 7) / 4),
    Case(ops.FixedQ(3, 2.0, True), (_D,), lambda x: np.clip(half_away(x * 4), 0, 7) / 4),
    Case(
        ops.FixedQ(4, 2.0, half_up=True),
        (_D,),
        lambda x: np.clip(np.floor(x * 4 + 0.5), -8, 7) / 4,
    ),
    Case(ops.DoReFa(15), (_D,), lambda x: 2 * np.rint((x / 2 + 0.5) * 15) / 15 - 1),
    Case(ops.DoReFa(7, ops.DoReFaMode.Symmetric), (_D,), lambda x: np.rint(x * 7) / 7),
    Case(
        ops.TanhClamp(),
        (_D,),
        lambda x: (np.tanh(x) / np.tanh(np.abs(x).max()), np.tanh([np.abs(x).max()])),
    ),
    Case(
        ops.ScaleAdjust(),
        (_D,),
        lambda x: (x / np.sqrt(120 * x.var(ddof=1)), np.sqrt([120 * x.var(ddof=1)])),
    ),
    Case(ops.Dequantizer(0.5), (_D,), lambda x: (x * 0.5).astype(np.float32), True),
    Case(ops.QuantizeLinear(), (_D, (), ()), steps, types=("float32", "float32", "int8")),
    Case(
        ops.QuantizeLinear(1),
        (_D, (4,), (4,)),
        lambda x, s, z: np.stack([steps(x[:, i], s[i], z[i]) for i in range(4)], 1),
        types=("float32", "float32", "uint16"),
    ),
    Case(ops.DequantizeLinear(), (_D, (), ()), reals, types=one("uint8")),
    Case(
        ops.DequantizeLinear(-1),
        (_FLAT, (7,), (7,)),
        reals,
        types=one("int16"),
    ),
    Case(ops.DynamicQuantizeLinear(), (_D,), dynamic, types=("float32",)),
    Case(
        ops.ConvInteger(GROUPED.stride, GROUPED.dilation, GROUPED.padding, 2),
        (_D, (6, 2, 3, 2), (), (6,)),
        lambda x, w, xz, wz: plain_conv(GROUPED)(less(x, xz), less(w, wz)).astype(np.int32),
        types=("uint8", "int8", "uint8", "int8"),
    ),
    Case(
        ops.MatMulInteger(),
        (_FLAT, (7, 5), (3,), (5,)),
        lambda a, b, za, zb: (less(a, za) @ less(b, zb, 1)).astype(np.int32),
        types=("int8", "uint8", "int8", "uint8"),
    ),
    Case(
        ops.QLinearConv(GROUPED.stride, GROUPED.dilation, GROUPED.padding, 2),
        (_D, (), (), (6, 2, 3, 2), (6,), (6,), (), (), (6,)),
        qlinear_conv,
        types=(*one("uint8"), *one("int8"), "float32", "uint8", "int32"),
    ),
    Case(
        ops.QLinearMatMul(),
        (_FLAT, (), (), (7, 5), (5,), (5,), (), ()),
        lambda a, sa, za, b, sb, zb, sy, zy: requantized(
            less(a, za) @ less(b, zb, 1), sa * sb, sy, zy
        ),
        types=(*one("int8"), *one("int8"), "float32", "int8"),
    ),
    Case(
        ops.QGemm(transpose_b=True),
        (_FLAT, (), (), (5, 7), (5,), (5,), (5,), (), ()),
        qgemm,
        types=(*one("uint8"), *one("int8"), "int32", "float32", "uint8"),
    ),
    Case(
        ops.QLinearAdd(),
        (_D, (), (), (4, 1, 1), (), (), (), ()),
        between(np.add),
        types=(*one("uint8"), *one("uint8"), "float32", "uint8"),
    ),
    Case(
        ops.QLinearMul(),
        (_D, (), (), _D, (), (), (), ()),
        between(np.multiply),
        types=(*one("int8"), *one("int8"), "float32", "int8"),
    ),
    Case(
        ops.QLinearAveragePool((3, 3), (2, 2), (1, 1, 1, 1), True),
        (_D, (), (), (), ()),
        between(ops.AveragePool((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), True).forward),
        types=(*one("uint8"), "float32", "uint8"),
    ),
    Case(
        ops.QLinearGlobalAveragePool(),
        (_D, (), (), (), ()),
        between(lambda x: x.mean(axis=(2, 3), keepdims=True)),
        types=(*one("int8"), "float32", "int8"),
    ),
    Case(
        ops.QLinearConcat(1),
        ((), (), _D, (), (), _D, (), ()),
        lambda s, z, *arrays: between(lambda a, b: np.concatenate([a, b], 1))(*arrays, s, z),
        types=("float32", "int8", *one("int8"), *one("int8")),
    ),
    Case(
        ops.QLinearSigmoid(),
        (_D, (), (), (), ()),
        between(sigmoid),
        types=(*one("int8"), "float32", "int8"),
    ),
    Case(
        ops.QLinearSoftmax(1),
        (_D, (), (), (), ()),
        between(lambda x: softmax(x, (1,))),
        types=(*one("int8"), "float32", "int8"),
    ),
    Case(
        ops.Cast(dtype.uint8),
        (_D,),
        lambda x: (x.astype(np.int64) % 256).astype(np.uint8),
        types=("int32",),
    ),
    Case(
        ops.Gather(1),
        (_D, (2, 3)),
        lambda x, i: np.stack([np.stack([x[:, k] for k in row], 1) for row in i % 4], 1),
        types=("float32", "gather4"),
    ),
    Case(
        ops.LookupTable(_TABLE, -128),
        (_D,),
        lambda x: np.vectorize(lambda v: _TABLE[0, int(v) + 128])(x).astype(np.int8),
        types=("int8",),
    ),
    Case(
        ops.LookupTable(_TABLES, 0, dtype.uint8),
        (_D,),
        lambda x: np.stack(
            [np.vectorize(lambda v, c=c: _TABLES[c, v])(x[:, c]) for c in range(4)], 1
        ).astype(np.uint8),
        types=("uint8",),
    ),
    Case(
        ops.Div(),
        (_D, _D),
        lambda a, b: np.trunc(a / b).astype(np.int32),
        types=("int32", "divisor"),
    ),
    Case(
        ops.QLinearLeakyRelu(0.25),
        (_D, (), (), (), ()),
        between(lambda x: np.where(x < 0, np.float32(0.25) * x, x)),
        types=(*one("int8"), "float32", "int8"),
    ),
]

#: Classes without inputs: they compute nothing.
SOURCES = {"Input", "Producer"}


def draw(case: Case, kind: str) -> list[np.ndarray]:
    """Return inputs of float32 or int8, seeded by the case."""
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    if case.types:
        return [draw_typed(rng, *pair) for pair in zip(case.shapes, case.types, strict=True)]
    if kind == "int8":
        return [rng.integers(-127, 128, shape).astype(np.int8) for shape in case.shapes]
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in case.shapes]
    return [np.abs(a) + np.float32(0.1) for a in arrays] if case.positive else arrays


def draw_typed(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Return integers over the whole type (some thousands of int32), positive scales, places."""
    if kind == "gather4":
        return rng.integers(-4, 4, shape)
    if kind == "divisor":
        return (rng.integers(1, 300, shape) * rng.choice((-1, 1), shape)).astype(np.int32)
    if kind == "float32" and len(shape) > 1:
        return rng.standard_normal(shape).astype(np.float32)
    if kind == "float32":
        return np.asarray(rng.uniform(0.004, 0.008, shape)).astype(np.float32)
    limits = np.iinfo(kind if kind != "int32" else "int16")
    return np.asarray(rng.integers(limits.min, limits.max + 1, shape)).astype(kind)
