"""ONNX's operators on quantized tensors: each operand with its scale and its zero point.

Rounding is that of QuantizeLinear: to the nearest, ties to the even integer before the zero point
is added.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError, ShapeError
from aidge_quant.ops.affine import Conv
from aidge_quant.ops.base import Operator, Shape, operator, optional
from aidge_quant.ops.integers import expect_integers, expect_zero_point, less_zero_point
from aidge_quant.ops.linear_quantization import dequantized, quantized
from aidge_quant.ops.matmul import MatMul


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
        q, scale = integers_and_scale(arrays, operand)
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


def integers_and_scale(
    arrays: tuple[np.ndarray | None, ...], operand: Operand
) -> tuple[np.ndarray, np.ndarray]:
    """Return the integers of an operand, and its scale as a float32 array () or (n,)."""
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
        (x, x_scale), (w, w_scale) = (integers_and_scale(arrays, o) for o in self.operands)
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
        (a, a_scale), (b, b_scale) = (integers_and_scale(arrays, o) for o in self.operands)
        rows = less_zero_point(a, optional(arrays, 2), -2 if a.ndim > 1 else 0)
        total = MatMul().forward(rows, less_zero_point(b, optional(arrays, 5), -1))
        factor = _row(a_scale, a.ndim, -2) * _row(b_scale, b.ndim, -1)
        return self._rounded(arrays, total, factor, a)
