"""ONNX's operators on quantized tensors: each operand with its scale and its zero point.

Rounding is that of QuantizeLinear: to the nearest, ties to the even integer before the zero point
is added. ONNX Runtime adds the zero point first in QLinearAdd, QLinearMul and QLinearAveragePool;
this differs at exact ties with an odd zero point only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError, ShapeError
from aidge_quant.ops.activation import LeakyReLU, Sigmoid, Softmax
from aidge_quant.ops.affine import Conv
from aidge_quant.ops.base import Operator, Shape, operator, optional
from aidge_quant.ops.elementwise import Add, Mul
from aidge_quant.ops.integers import expect_integers, expect_zero_point, less_zero_point
from aidge_quant.ops.linear_quantization import dequantized, quantized
from aidge_quant.ops.matmul import Gemm, MatMul
from aidge_quant.ops.pooling import AveragePool, GlobalAveragePool
from aidge_quant.ops.shape import Concat

CONTRIB_DOMAIN = "com.microsoft"


class Operand(NamedTuple):
    """Which inputs are a tensor, its scale and its zero point.

    ``axis`` is that of the tensor along which a row of scales may run; None where there is one.
    """

    data: int
    scale: int
    zero_point: int
    axis: int | None = None


@dataclass(frozen=True, eq=False)
class QuantizedOperator(Operator):
    """Base: dequantize the operands, compute in float, quantize the result."""

    #: The operands in the order of the float operator.
    operands: ClassVar[tuple[Operand, ...]] = (Operand(0, 1, 2), Operand(3, 4, 5))
    #: Inputs that are the scale and the zero point of the result.
    result: ClassVar[tuple[int, int]] = (6, 7)
    #: Input that is an int32 bias in units of the accumulator.
    bias: ClassVar[int | None] = None

    def float_operator(self) -> Operator:
        """Return the operator on real values that this one stands for."""
        raise NotImplementedError

    def operands_of(self, count: int) -> tuple[Operand, ...]:
        """Return the operands of a node with ``count`` inputs."""
        return self.operands

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the float operator's result."""
        data = []
        for number, operand in enumerate(self.operands_of(len(shapes))):
            shape, scale = optional(shapes, operand.data), optional(shapes, operand.scale)
            if shape is None or scale is None:
                raise GraphError(
                    f"operand {number} is missing, expected its data (input {operand.data}) and "
                    f"its scale (input {operand.scale})"
                )
            _expect_along(f"scale of operand {number}", scale, shape, operand.axis)
            zero_point = optional(shapes, operand.zero_point)
            _expect_along(f"zero point of operand {number}", zero_point, shape, operand.axis)
            data.append(shape)
        for what, slot in zip(("scale", "zero point"), self.result, strict=True):
            found = optional(shapes, slot)
            if found not in ((), (1,), None):
                raise ShapeError(f"{what} of the result has shape {found}, expected one number")
        bias = None if self.bias is None else optional(shapes, self.bias)
        return self._result_shape(data, bias)

    def _result_shape(self, data: list[Shape], bias: Shape | None) -> tuple[Shape, ...]:
        return self.float_operator().infer_shapes(*data)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return the type of the result's zero point, else that of the data."""
        operands = self.operands_of(len(dtypes))
        expect_integers(dtypes, {operand.data: operand.zero_point for operand in operands})
        first = optional(dtypes, operands[0].data) if operands else None
        found = optional(dtypes, self.result[1]) or first
        if found is None:
            raise GraphError("its data is missing, expected integers")
        return (found,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Compute in float32 between dequantization and quantization."""
        operands = self.operands_of(len(arrays))
        reals = [self._real(arrays, operand) for operand in operands]
        first = optional(arrays, operands[0].data)
        assert first is not None
        result = self.float_operator().forward(*reals)
        assert isinstance(result, np.ndarray)
        return self._rounded(arrays, result, None, first)

    def _real(self, arrays: tuple[np.ndarray | None, ...], operand: Operand) -> np.ndarray:
        q, scale = _integers_and_scale(arrays, operand)
        steps = less_zero_point(q, optional(arrays, operand.zero_point), operand.axis or 0)
        return dequantized(steps, _row(scale, q.ndim, operand.axis), None)

    def _rounded(
        self,
        arrays: tuple[np.ndarray | None, ...],
        values: np.ndarray,
        factor: np.ndarray | None,
        first: np.ndarray,
    ) -> np.ndarray:
        """Return values * (factor / scale of the result), rounded, with its zero point, clipped.

        Without a factor the values are real ones and divided by the scale.
        """
        scale = optional(arrays, self.result[0])
        if scale is None:
            raise GraphError(f"input {self.result[0]} is missing, expected the result's scale")
        zero_point = optional(arrays, self.result[1])
        found = dtype.of(first if zero_point is None else zero_point)
        zero = None if zero_point is None else zero_point.reshape(())
        if factor is None:
            return quantized(values, scale.reshape(()), zero, found)
        product = values.astype(np.float32) * (factor / scale.reshape(()))
        return quantized(product, np.ones((), np.float32), zero, found)


def _integers_and_scale(
    arrays: tuple[np.ndarray | None, ...], operand: Operand
) -> tuple[np.ndarray, np.ndarray]:
    q, scale = optional(arrays, operand.data), optional(arrays, operand.scale)
    if q is None or scale is None:
        raise GraphError(
            f"inputs {operand.data} and {operand.scale} are missing, expected integers and a scale"
        )
    return q, scale


def _row(values: np.ndarray, rank: int, axis: int | None) -> np.ndarray:
    """Return a scale so that it broadcasts to data of ``rank`` axes."""
    if values.size == 1:
        return values.reshape(())
    if values.ndim > 1:
        return values
    shape = [1] * rank
    shape[axis or 0] = -1
    return values.reshape(shape)


def _expect_along(what: str, found: Shape | None, data: Shape, axis: int | None) -> None:
    expect_zero_point(what, found, data, axis or 0, one=axis is None)


@operator
@dataclass(frozen=True, eq=False)
class QLinearConv(QuantizedOperator):
    """Convolution: x, its scale and zero point, w (one scale or one an output), y's; int32 bias.

    The attributes are those of ``Conv``. y = saturate(rint(acc * s) + y_zero_point) with
    s = x_scale * w_scale / y_scale in float32.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int = 1

    roles: ClassVar[tuple[str, ...]] = (
        *("data", "constant", "constant"),
        *("weight", "constant", "constant"),
        *("constant", "constant", "bias"),
    )
    optional: ClassVar[int] = 1
    operands: ClassVar[tuple[Operand, ...]] = (Operand(0, 1, 2), Operand(3, 4, 5, 0))
    bias: ClassVar[int | None] = 8
    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearConv",)

    def float_operator(self) -> Conv:
        """Return the convolution."""
        return Conv(self.stride, self.dilation, self.padding, self.groups)

    def _result_shape(self, data: list[Shape], bias: Shape | None) -> tuple[Shape, ...]:
        if bias is not None and bias != data[1][:1]:
            raise ShapeError(f"bias has shape {bias}, expected {data[1][:1]}")
        return self.float_operator().infer_shapes(*data)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Convolve the integers and requantize."""
        (x, x_scale), (w, w_scale) = (_integers_and_scale(arrays, o) for o in self.operands)
        data = less_zero_point(x, optional(arrays, 2), 1)
        weight = less_zero_point(w, optional(arrays, 5), 0)
        total = self.float_operator().forward(data, weight, optional(arrays, 8))
        factor = x_scale.reshape(()) * w_scale.reshape(-1)
        return self._rounded(arrays, total, factor.reshape(-1, *(1,) * (x.ndim - 2)), x)


@operator
@dataclass(frozen=True, eq=False)
class QLinearMatMul(QuantizedOperator):
    """Product of a (one scale or one a row) and b (one or one a column), and the scale of y."""

    roles: ClassVar[tuple[str, ...]] = (
        *("data", "constant", "constant", "data", "constant", "constant"),
        *("constant", "constant"),
    )
    operands: ClassVar[tuple[Operand, ...]] = (Operand(0, 1, 2, -2), Operand(3, 4, 5, -1))
    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearMatMul",)

    def float_operator(self) -> MatMul:
        """Return the product."""
        return MatMul()

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Multiply the integers and requantize."""
        (a, a_scale), (b, b_scale) = (_integers_and_scale(arrays, o) for o in self.operands)
        rows = less_zero_point(a, optional(arrays, 2), -2 if a.ndim > 1 else 0)
        total = MatMul().forward(rows, less_zero_point(b, optional(arrays, 5), -1))
        factor = _row(a_scale, a.ndim, -2) * _row(b_scale, b.ndim, -1)
        return self._rounded(arrays, total, factor, a)


@operator
@dataclass(frozen=True, eq=False)
class QGemm(QuantizedOperator):
    """alpha * A' @ B' + C, C int32 in units of the accumulator; real values without y's scale.

    Inputs: A, its scale and zero point, B (one scale or one a column), C, y's scale and zero point.
    """

    alpha: float = 1.0
    transpose_a: bool = False
    transpose_b: bool = False

    roles: ClassVar[tuple[str, ...]] = (
        *("data", "constant", "constant", "data", "constant", "constant"),
        *("bias", "constant", "constant"),
    )
    optional: ClassVar[int] = 3
    result: ClassVar[tuple[int, int]] = (7, 8)
    bias: ClassVar[int | None] = 6
    onnx: ClassVar[tuple[str, ...] | None] = ("QGemm",)
    onnx_domain: ClassVar[str] = CONTRIB_DOMAIN

    def float_operator(self) -> Gemm:
        """Return the product; what is added to it is in other units."""
        return Gemm(self.alpha, 1.0, self.transpose_a, self.transpose_b)

    def operands_of(self, count: int) -> tuple[Operand, ...]:
        """Return A and B, whose columns may have scales of their own."""
        return Operand(0, 1, 2), Operand(3, 4, 5, 0 if self.transpose_b else 1)

    def _result_shape(self, data: list[Shape], bias: Shape | None) -> tuple[Shape, ...]:
        return self.float_operator().infer_shapes(*data, bias)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return float32 where the result has no scale."""
        found = super().infer_dtype(*dtypes)
        return found if optional(dtypes, self.result[0]) is not None else (dtype.float32,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Multiply the integers and requantize."""
        first, second = self.operands_of(len(arrays))
        (a, a_scale), (b, b_scale) = (_integers_and_scale(arrays, o) for o in (first, second))
        rows = less_zero_point(a, optional(arrays, 2), 0)
        columns = less_zero_point(b, optional(arrays, 5), second.axis or 0)
        gemm = Gemm(1.0, 1.0, self.transpose_a, self.transpose_b)
        total = gemm.forward(rows, columns, optional(arrays, 6))
        factor = np.float32(self.alpha) * a_scale.reshape(()) * b_scale.reshape(-1)
        if optional(arrays, self.result[0]) is None:
            return np.asarray(total.astype(np.float32) * factor)
        return self._rounded(arrays, total, factor, a)


@dataclass(frozen=True, eq=False)
class ContribBinary(QuantizedOperator):
    """Base: A, its scale and zero point, B's, and the scale and zero point of the result."""

    roles: ClassVar[tuple[str, ...]] = QLinearMatMul.roles
    optional: ClassVar[int] = 1
    onnx_domain: ClassVar[str] = CONTRIB_DOMAIN


@operator
@dataclass(frozen=True, eq=False)
class QLinearAdd(ContribBinary):
    """A + B with numpy's broadcasting."""

    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearAdd",)

    def float_operator(self) -> Add:
        """Return the sum."""
        return Add()


@operator
@dataclass(frozen=True, eq=False)
class QLinearMul(ContribBinary):
    """A * B with numpy's broadcasting."""

    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearMul",)

    def float_operator(self) -> Mul:
        """Return the product."""
        return Mul()


@dataclass(frozen=True, eq=False)
class ContribUnary(QuantizedOperator):
    """Base: X, its scale and zero point, and the scale and zero point of the result."""

    roles: ClassVar[tuple[str, ...]] = ("data", *("constant",) * 4)
    optional: ClassVar[int] = 1
    operands: ClassVar[tuple[Operand, ...]] = (Operand(0, 1, 2),)
    result: ClassVar[tuple[int, int]] = (3, 4)
    onnx_domain: ClassVar[str] = CONTRIB_DOMAIN


@operator
@dataclass(frozen=True, eq=False)
class QLinearAveragePool(ContribUnary):
    """Mean of each window; the attributes are those of ``AveragePool``."""

    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil: bool = False
    count_include_pad: bool = False

    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearAveragePool",)

    def float_operator(self) -> AveragePool:
        """Return the pool."""
        ones = (1,) * len(self.window)
        return AveragePool(
            self.window, self.stride, ones, self.padding, self.ceil, self.count_include_pad
        )


@operator
@dataclass(frozen=True, eq=False)
class QLinearGlobalAveragePool(ContribUnary):
    """Mean over all spatial axes."""

    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearGlobalAveragePool",)

    def float_operator(self) -> GlobalAveragePool:
        """Return the pool."""
        return GlobalAveragePool()


@operator
@dataclass(frozen=True, eq=False)
class QLinearSigmoid(ContribUnary):
    """1 / (1 + exp(-X))."""

    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearSigmoid",)

    def float_operator(self) -> Sigmoid:
        """Return the function."""
        return Sigmoid()


@operator
@dataclass(frozen=True, eq=False)
class QLinearLeakyRelu(ContribUnary):
    """X for X >= 0, alpha * X below."""

    alpha: float = 0.01

    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearLeakyRelu",)
    onnx_attributes: ClassVar[Mapping[str, str]] = {"alpha": "alpha"}

    def float_operator(self) -> LeakyReLU:
        """Return the function."""
        return LeakyReLU(self.alpha)


@operator
@dataclass(frozen=True, eq=False)
class QLinearSoftmax(ContribUnary):
    """exp(X) over its sum along an axis; the attributes are those of ``Softmax``."""

    axis: int = -1
    flatten: bool = False

    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearSoftmax",)

    def float_operator(self) -> Softmax:
        """Return the function."""
        return Softmax(self.axis, flatten=self.flatten)


@operator
@dataclass(frozen=True, eq=False)
class QLinearConcat(QuantizedOperator):
    """The operands one after the other along an axis, on the scale of the result.

    Inputs: scale and zero point of the result, then data, scale and zero point of each operand.
    """

    axis: int = 1

    roles: ClassVar[tuple[str, ...]] = ("constant", "constant", "data", "constant", "constant")
    variadic: ClassVar[bool] = True
    result: ClassVar[tuple[int, int]] = (0, 1)
    onnx: ClassVar[tuple[str, ...] | None] = ("QLinearConcat",)
    onnx_domain: ClassVar[str] = CONTRIB_DOMAIN

    def float_operator(self) -> Concat:
        """Return the concatenation."""
        return Concat(self.axis)

    def operands_of(self, count: int) -> tuple[Operand, ...]:
        """Return one operand for every three inputs behind the first two."""
        return tuple(Operand(i, i + 1, i + 2) for i in range(2, max(count, 5), 3))

    def role(self, slot: int) -> str:
        """Return the role of input ``slot``: the last three repeat."""
        return self.roles[slot if slot < 5 else 2 + (slot - 2) % 3]
