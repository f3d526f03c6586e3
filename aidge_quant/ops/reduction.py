"""Operators that reduce whole axes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import ShapeError
from aidge_quant.ops.base import (
    Gradients,
    Inputs,
    Operator,
    Outputs,
    Shape,
    Trait,
    operator,
    present,
)
from aidge_quant.ops.pooling import round_half_up_quotient
from aidge_quant.ops.shape import MOVES


@dataclass(frozen=True, eq=False)
class Reduction(Operator):
    """Base: some axes become one value.

    Attributes
    ----------
    axes : tuple of int, each from 0, ascending
    keep_axes : bool
        Whether the reduced axes stay with size 1.
    """

    axes: tuple[int, ...]
    keep_axes: bool = True

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the sizes of the axes that stay."""
        (data,) = present(shapes, 1)
        if any(axis >= len(data) for axis in self.axes):
            raise ShapeError(f"data {data} has no axes {self.axes}")
        sizes = enumerate(data)
        if self.keep_axes:
            return (tuple(1 if axis in self.axes else size for axis, size in sizes),)
        return (tuple(size for axis, size in sizes if axis not in self.axes),)


@operator
@dataclass(frozen=True, eq=False)
class ReduceMean(Reduction):
    """Mean over some axes; integers are rounded half up.

    Over all spatial axes the reader makes a ``GlobalAveragePool`` of it.
    """

    traits: ClassVar[frozenset[str]] = frozenset({Trait.SUMS, Trait.HOMOGENEOUS})
    onnx: ClassVar[tuple[str, ...] | None] = ("ReduceMean",)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the means in the type of x."""
        (x,) = present(arrays, 1)
        if x.dtype.kind in "iu":
            total = np.asarray(x.sum(axis=self.axes, keepdims=self.keep_axes, dtype=np.int64))
            count = int(np.prod([x.shape[axis] for axis in self.axes]))
            return round_half_up_quotient(total, count).astype(x.dtype)
        return np.asarray(x.mean(axis=self.axes, keepdims=self.keep_axes, dtype=x.dtype))

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient over the number of values, for each of them."""
        (x,) = present(inputs, 1)
        sizes = [1 if axis in self.axes else size for axis, size in enumerate(x.shape)]
        part = gradient.reshape(sizes) / gradient.dtype.type(x.size / max(gradient.size, 1))
        return (np.broadcast_to(part, x.shape),)


@operator
@dataclass(frozen=True, eq=False)
class ReduceMax(Reduction):
    """Largest value over some axes."""

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("ReduceMax",)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the maxima in the type of x."""
        (x,) = present(arrays, 1)
        return np.asarray(x.max(axis=self.axes, keepdims=self.keep_axes))


@operator
@dataclass(frozen=True, eq=False)
class ArgMax(Operator):
    """Index of the largest value along an axis, int64.

    Attributes
    ----------
    axis : int
    keep_axis : bool
        Whether the axis stays with size 1.
    last : bool
        Which index is taken among equal values.
    """

    axis: int = 0
    keep_axis: bool = True
    last: bool = False

    onnx: ClassVar[tuple[str, ...] | None] = ("ArgMax",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the sizes of the axes that stay."""
        (data,) = present(shapes, 1)
        if not -len(data) <= self.axis < len(data):
            raise ShapeError(f"data {data} has no axis {self.axis}")
        axis = self.axis % len(data)
        return ((*data[:axis], *((1,) if self.keep_axis else ()), *data[axis + 1 :]),)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return int64."""
        return (dtype.int64,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the indices."""
        (x,) = present(arrays, 1)
        searched = np.flip(x, self.axis) if self.last else x
        found = np.argmax(searched, axis=self.axis, keepdims=self.keep_axis)
        return np.asarray(x.shape[self.axis] - 1 - found if self.last else found, np.int64)
