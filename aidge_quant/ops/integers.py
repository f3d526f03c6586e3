"""Weighted sums of integers with their zero points, to int32: ONNX's integer operators."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DtypeError, ShapeError
from aidge_quant.ops.affine import Conv
from aidge_quant.ops.base import Operator, Shape, operator, optional, present
from aidge_quant.ops.matmul import MatMul


def less_zero_point(q: np.ndarray, zero_point: np.ndarray | None, axis: int) -> np.ndarray:
    """Return q - zero_point as int32; a row of zero points runs along ``axis``."""
    wide = q.astype(np.int32)
    if zero_point is None:
        return wide
    zeros = zero_point.astype(np.int32)
    if zeros.size == 1:
        return np.asarray(wide - zeros.reshape(()))
    if zeros.ndim == 1:
        shape = [1] * q.ndim
        shape[axis] = -1
        zeros = zeros.reshape(shape)
    return np.asarray(wide - zeros)


def expect_zero_point(
    what: str, zero_point: Shape | None, data: Shape, axis: int, *, one: bool = False
) -> None:
    """Raise a ShapeError unless zero points are one number or a row along ``axis`` of the data."""
    if zero_point is None or zero_point in ((), (1,)):
        return
    keeps = tuple(n if i == axis % len(data) else 1 for i, n in enumerate(data))
    batched = (*data[:-2], *keeps[-2:]) if len(data) > 2 else keeps
    if one or zero_point not in ((data[axis],), keeps, batched):
        expected = "one number" if one else f"one number or {data[axis]}"
        raise ShapeError(f"{what} has shape {zero_point}, expected {expected}")


def expect_integers(dtypes: tuple[dtype | None, ...], pairs: dict[int, int]) -> None:
    """Raise a DtypeError unless data is 8-bit and its zero point of the same type.

    Parameters
    ----------
    dtypes : tuple of dtype or None
    pairs : dict of int
        Input that is data, to the input that is its zero point.
    """
    for data, zero_point in pairs.items():
        found, zero = optional(dtypes, data), optional(dtypes, zero_point)
        if found is not None and not found.is_integer:
            raise DtypeError(f"input {data} is {found.value}, expected an integer type")
        if zero is not None and zero is not found:
            came = "missing" if found is None else found.value
            raise DtypeError(f"zero point {zero_point} is {zero.value}, expected {came}")


@operator
@dataclass(frozen=True, eq=False)
class ConvInteger(Operator):
    """Convolution of integers less their zero points, in int32; padding is the zero point.

    Inputs: x (batch, in, *spatial), w (out, in / groups, *window), zero point of x, zero point of w
    () or (out,). The attributes are those of ``Conv``.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int = 1

    roles: ClassVar[tuple[str, ...]] = ("data", "weight", "constant", "constant")
    optional: ClassVar[int] = 2
    onnx: ClassVar[tuple[str, ...] | None] = ("ConvInteger",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return (batch, out, *spatial)."""
        x, w = present(shapes, 2)
        found = self._conv().infer_shapes(x, w)
        expect_zero_point("zero point of x", optional(shapes, 2), x, 1, one=True)
        expect_zero_point("zero point of w", optional(shapes, 3), w, 0)
        return found

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return int32."""
        present(dtypes, 2)
        expect_integers(dtypes, {0: 2, 1: 3})
        return (dtype.int32,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Convolve."""
        x, w = present(arrays, 2)
        data = less_zero_point(x, optional(arrays, 2), 1)
        return self._conv().forward(data, less_zero_point(w, optional(arrays, 3), 0))

    def _conv(self) -> Conv:
        return Conv(self.stride, self.dilation, self.padding, self.groups)


@operator
@dataclass(frozen=True, eq=False)
class MatMulInteger(Operator):
    """Product of integers less their zero points, in int32.

    Inputs: a, b, zero point of a () or one a row, zero point of b () or one a column.
    """

    roles: ClassVar[tuple[str, ...]] = ("data", "data", "constant", "constant")
    optional: ClassVar[int] = 2
    onnx: ClassVar[tuple[str, ...] | None] = ("MatMulInteger",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the product."""
        a, b = present(shapes, 2)
        found = MatMul().infer_shapes(a, b)
        expect_zero_point("zero point of a", optional(shapes, 2), a, -2 if len(a) > 1 else -1)
        expect_zero_point("zero point of b", optional(shapes, 3), b, -1)
        return found

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return int32."""
        present(dtypes, 2)
        expect_integers(dtypes, {0: 2, 1: 3})
        return (dtype.int32,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Multiply."""
        a, b = present(arrays, 2)
        rows = less_zero_point(a, optional(arrays, 2), -2 if a.ndim > 1 else -1)
        return MatMul().forward(rows, less_zero_point(b, optional(arrays, 3), -1))
