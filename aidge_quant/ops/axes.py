"""Operators that drop, add or divide axes, and the one that does nothing."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

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
from aidge_quant.ops.shape import MOVES


@operator
@dataclass(frozen=True, eq=False)
class Identity(Operator):
    """The data as it is; ONNX Identity, Dropout and Cast to the same type read as this."""

    traits: ClassVar[frozenset[str]] = MOVES | {Trait.KEEPS_CHANNELS}
    onnx: ClassVar[tuple[str, ...] | None] = ("Identity", "Dropout", "Cast", "Expand")

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        return present(shapes, 1)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return x itself."""
        (x,) = present(arrays, 1)
        return x

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient."""
        return (gradient,)


@operator
@dataclass(frozen=True, eq=False)
class Squeeze(Operator):
    """The data without some axes of size 1.

    Attributes
    ----------
    axes : tuple of int, each from 0, ascending
    """

    axes: tuple[int, ...]

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("Squeeze",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the sizes of the axes that stay."""
        (data,) = present(shapes, 1)
        if any(axis >= len(data) or data[axis] != 1 for axis in self.axes):
            raise ShapeError(f"data {data} has axes {self.axes} not all of size 1")
        return (tuple(size for axis, size in enumerate(data) if axis not in self.axes),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return a view of x."""
        (x,) = present(arrays, 1)
        return x.reshape(self.infer_shapes(x.shape)[0])

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient under the shape of the data."""
        (x,) = present(inputs, 1)
        return (gradient.reshape(x.shape),)


@operator
@dataclass(frozen=True, eq=False)
class Unsqueeze(Operator):
    """The data with more axes of size 1.

    Attributes
    ----------
    axes : tuple of int, each from 0, ascending
        Where the new axes stand in the output.
    """

    axes: tuple[int, ...]

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("Unsqueeze",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the sizes with the new axes."""
        (data,) = present(shapes, 1)
        rank = len(data) + len(self.axes)
        if len(set(self.axes)) < len(self.axes) or any(axis >= rank for axis in self.axes):
            raise ShapeError(f"axes {self.axes} cannot be added to data {data}")
        old = iter(data)
        return (tuple(1 if axis in self.axes else next(old) for axis in range(rank)),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return a view of x."""
        (x,) = present(arrays, 1)
        return x.reshape(self.infer_shapes(x.shape)[0])

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient under the shape of the data."""
        (x,) = present(inputs, 1)
        return (gradient.reshape(x.shape),)


@operator
@dataclass(frozen=True, eq=False)
class Split(Operator):
    """The data cut along an axis; output i has ``sizes[i]`` positions of it.

    Attributes
    ----------
    axis : int
    sizes : tuple of int, which add up to the size of the axis
    """

    axis: int
    sizes: tuple[int, ...]

    traits: ClassVar[frozenset[str]] = MOVES
    onnx: ClassVar[tuple[str, ...] | None] = ("Split",)

    @property
    def output_count(self) -> int:
        """How many parts there are."""
        return len(self.sizes)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the sizes of the parts."""
        (data,) = present(shapes, 1)
        if not -len(data) <= self.axis < len(data) or sum(self.sizes) != data[self.axis]:
            raise ShapeError(f"data {data} cannot be cut into {self.sizes} along axis {self.axis}")
        axis = self.axis % len(data)
        return tuple((*data[:axis], size, *data[axis + 1 :]) for size in self.sizes)

    def forward(self, *arrays: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Return views of x."""
        (x,) = present(arrays, 1)
        return tuple(np.split(x, np.cumsum(self.sizes)[:-1], axis=self.axis))
