"""Operators on quantized tensors of ONNX Runtime's own domain, com.microsoft.

ONNX Runtime adds the zero point before it rounds in QLinearAdd, QLinearMul and QLinearAveragePool;
this differs from the other operators at exact ties with an odd zero point only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.ops.activation import LeakyReLU, Sigmoid, Softmax
from aidge_quant.ops.base import Shape, operator, optional
from aidge_quant.ops.elementwise import Add, Mul
from aidge_quant.ops.integers import less_zero_point
from aidge_quant.ops.matmul import Gemm
from aidge_quant.ops.pooling import AveragePool, GlobalAveragePool
from aidge_quant.ops.quantized import (
    Operand,
    QLinearMatMul,
    QuantizedOperator,
    integers_and_scale,
)
from aidge_quant.ops.shape import Concat

CONTRIB_DOMAIN = "com.microsoft"


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
        (a, a_scale), (b, b_scale) = (integers_and_scale(arrays, o) for o in (first, second))
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
