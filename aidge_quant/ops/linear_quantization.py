"""ONNX's nodes between real values and integers: real = scale * (integer - zero point)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DtypeError, ShapeError
from aidge_quant.ops.base import Operator, Shape, operator, optional, present


def along(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Return one value or a row of values shaped so that it runs along ``axis`` of ``rank`` axes.

    Raises
    ------
    ShapeError
        If there is no such axis.
    """
    if values.size == 1:
        return values.reshape(())
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} does not exist in data of {rank} axes")
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def saturated(values: np.ndarray, element_type: dtype) -> np.ndarray:
    """Return whole float or integer values, clipped to the range of an integer type."""
    return np.clip(values, element_type.min, element_type.max).astype(element_type.numpy)


def quantized(
    x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None, element_type: dtype
) -> np.ndarray:
    """Return saturate(rint(x / scale) + zero_point); ties go to the even integer.

    Parameters
    ----------
    x : float array
    scale : float array that broadcasts to x
    zero_point : integer array that broadcasts to x, or None
    element_type : dtype
    """
    steps = np.rint(x / scale).astype(np.float64)
    return saturated(steps if zero_point is None else steps + zero_point, element_type)


def dequantized(q: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None) -> np.ndarray:
    """Return (q - zero_point) * scale in the type of the scale; arguments as for `quantized`."""
    steps = q.astype(np.int64)
    steps = steps if zero_point is None else steps - zero_point
    return np.asarray(steps.astype(scale.dtype) * scale)


@dataclass(frozen=True, eq=False)
class LinearQuantization(Operator):
    """Base: data, scale and, optionally, a zero point.

    Attributes
    ----------
    axis : int
        Axis of the data that a row of scales belongs to; without meaning for one scale.
    """

    axis: int = 1

    roles: ClassVar[tuple[str, ...]] = ("data", "constant", "constant")
    optional: ClassVar[int] = 1
    foldable: ClassVar[bool] = False

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        data, scale = present(shapes, 2)
        if len(scale) > 1:
            raise ShapeError(
                f"scale has shape {scale}, expected one number or one for each index of an axis; "
                "blocks of scales are not handled"
            )
        size = scale[0] if scale else 1
        if size != 1:
            along(np.ones(size), self.axis, len(data))
            if data[self.axis] != size:
                raise ShapeError(
                    f"scale has {size} values, expected 1 or {data[self.axis]}, the size of axis "
                    f"{self.axis} of data {data}"
                )
        zero_point = optional(shapes, 2)
        if zero_point is not None and (zero_point or (1,)) != (scale or (1,)):
            raise ShapeError(
                f"zero point has shape {zero_point}, expected {scale}, that of the scale"
            )
        return (data,)


@operator
@dataclass(frozen=True, eq=False)
class QuantizeLinear(LinearQuantization):
    """y = saturate(rint(x / scale) + zero_point), ties to even.

    Inputs: data, scale () or (n,), zero point of the scale's shape.

    Attributes
    ----------
    element_type : dtype or None
        Type of the output; None for that of the zero point, and uint8 without one.
    """

    element_type: dtype | None = None

    onnx: ClassVar[tuple[str, ...] | None] = ("QuantizeLinear",)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return the declared type, else that of the zero point, else uint8."""
        present(dtypes, 2)
        zero_point = optional(dtypes, 2)
        found = self.element_type or zero_point or dtype.uint8
        if zero_point is not None and zero_point.numpy != found.numpy:
            raise DtypeError(f"zero point is {zero_point.value}, expected {found.value}")
        return (found,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Divide, round and clip."""
        (x, scale), zero_point = present(arrays, 2), optional(arrays, 2)
        stored = None if zero_point is None else dtype.of(zero_point)
        found = self.element_type or stored or dtype.uint8
        factor = along(scale, self.axis, x.ndim)
        zero = None if zero_point is None else along(zero_point, self.axis, x.ndim)
        with np.errstate(all="ignore"):
            return quantized(x, factor, zero, found)


@operator
@dataclass(frozen=True, eq=False)
class DequantizeLinear(LinearQuantization):
    """y = (q - zero_point) * scale, in the type of the scale.

    Inputs: integer data, scale () or (n,), zero point of the scale's shape.
    """

    onnx: ClassVar[tuple[str, ...] | None] = ("DequantizeLinear",)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return the type of the scale."""
        data, scale = present(dtypes, 2)
        zero_point = optional(dtypes, 2)
        if zero_point is not None and zero_point is not data:
            raise DtypeError(
                f"zero point is {zero_point.value}, expected {data.value}, the type of the data"
            )
        return (scale,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the real values."""
        (q, scale), zero_point = present(arrays, 2), optional(arrays, 2)
        zero = None if zero_point is None else along(zero_point, self.axis, q.ndim)
        return dequantized(q, along(scale, self.axis, q.ndim), zero)


@operator
@dataclass(frozen=True, eq=False)
class DynamicQuantizeLinear(Operator):
    """Quantization to uint8 by the range of the data itself.

    Outputs: integers, scale (), zero point (); scale = (max(x, 0) - min(x, 0)) / 255.
    """

    #: The range is that of the whole batch.
    axes: ClassVar[tuple[int, ...]] = (0,)
    onnx: ClassVar[tuple[str, ...] | None] = ("DynamicQuantizeLinear",)

    @property
    def output_count(self) -> int:
        """Three."""
        return 3

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data and those of two numbers."""
        (data,) = present(shapes, 1)
        return data, (), ()

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return uint8, float32, uint8."""
        present(dtypes, 1)
        return dtype.uint8, dtype.float32, dtype.uint8

    def forward(self, *arrays: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Measure and quantize."""
        (x,) = present(arrays, 1)
        low = np.minimum(np.float32(x.min()), np.float32(0))
        high = np.maximum(np.float32(x.max()), np.float32(0))
        scale = np.asarray((high - low) / np.float32(255), np.float32)
        if scale == 0:
            scale = np.ones((), np.float32)
        zero_point = saturated(np.rint(np.asarray(-low / scale)), dtype.uint8)
        return quantized(x, scale, zero_point, dtype.uint8), scale, zero_point
