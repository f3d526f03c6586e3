"""Operators on two activations, element by element, with numpy's broadcasting."""

from collections.abc import Callable
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


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    magnitude = np.abs(a) // np.abs(b)
    return np.where((a < 0) != (b < 0), -magnitude, magnitude).astype(np.result_type(a, b))


def unbroadcast(gradient: np.ndarray, shape: Shape) -> np.ndarray:
    """Return the gradient of an operand of ``shape`` that was broadcast to the gradient's."""
    leading = gradient.ndim - len(shape)
    axes = tuple(
        axis
        for axis, size in enumerate(gradient.shape)
        if axis < leading or (size != 1 and shape[axis - leading] == 1)
    )
    return gradient.sum(axis=axes, keepdims=True).reshape(shape) if axes else gradient


@dataclass(frozen=True, eq=False)
class Binary(Operator):
    """Base: integers are widened to int32 before the operation."""

    roles: ClassVar[tuple[str, ...]] = ("data", "data")
    function: ClassVar[Callable[..., np.ndarray]]

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the broadcast shape."""
        a, b = present(shapes, 2)
        try:
            return (np.broadcast_shapes(a, b),)
        except ValueError:
            raise ShapeError(f"shapes {a} and {b} do not broadcast") from None

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return int32 for 8 and 16-bit integers, else the type of the first input."""
        (first,) = present(dtypes, 1)
        return (dtype.int32 if first.is_integer and first.bits < 32 else first,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the result in the accumulator's type."""
        a, b = present(arrays, 2)
        if a.dtype.kind in "iu" and a.dtype.itemsize < 4:
            a = a.astype(np.int32)
        if b.dtype.kind in "iu" and b.dtype.itemsize < 4:
            b = b.astype(np.int32)
        return type(self).function(a, b)


@operator
@dataclass(frozen=True, eq=False)
class Add(Binary):
    """a + b."""

    function = staticmethod(np.add)
    traits: ClassVar[frozenset[str]] = frozenset({Trait.MERGING, Trait.KEEPS_CHANNELS})
    onnx: ClassVar[tuple[str, ...] | None] = ("Add", "Sum")

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient for both."""
        a, b = present(inputs, 2)
        return unbroadcast(gradient, a.shape), unbroadcast(gradient, b.shape)


@operator
@dataclass(frozen=True, eq=False)
class Sub(Binary):
    """a - b."""

    function = staticmethod(np.subtract)
    traits: ClassVar[frozenset[str]] = frozenset({Trait.MERGING, Trait.KEEPS_CHANNELS})
    onnx: ClassVar[tuple[str, ...] | None] = ("Sub",)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient for a, and its negative for b."""
        a, b = present(inputs, 2)
        return unbroadcast(gradient, a.shape), unbroadcast(-gradient, b.shape)


@operator
@dataclass(frozen=True, eq=False)
class Mul(Binary):
    """a * b."""

    function = staticmethod(np.multiply)
    traits: ClassVar[frozenset[str]] = frozenset({Trait.KEEPS_CHANNELS})
    onnx: ClassVar[tuple[str, ...] | None] = ("Mul",)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient times the other operand."""
        a, b = present(inputs, 2)
        return unbroadcast(gradient * b, a.shape), unbroadcast(gradient * a, b.shape)


@operator
@dataclass(frozen=True, eq=False)
class Div(Binary):
    """a / b; the quotient of integers is cut towards zero, as ONNX does."""

    function = staticmethod(_quotient)
    traits: ClassVar[frozenset[str]] = frozenset({Trait.KEEPS_CHANNELS})
    onnx: ClassVar[tuple[str, ...] | None] = ("Div",)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return g / b and -g a / b^2."""
        a, b = present(inputs, 2)
        part = gradient / b
        return unbroadcast(part, a.shape), unbroadcast(-part * (a / b), b.shape)


@dataclass(frozen=True, eq=False)
class Selection(Binary):
    """Base: one of the two values, in their type."""

    traits: ClassVar[frozenset[str]] = frozenset({Trait.MERGING, Trait.KEEPS_CHANNELS})

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return the type of the first input."""
        return present(dtypes, 1)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the selected values."""
        return type(self).function(*present(arrays, 2))


@operator
@dataclass(frozen=True, eq=False)
class Max(Selection):
    """The larger of a and b."""

    function = staticmethod(np.maximum)
    onnx: ClassVar[tuple[str, ...] | None] = ("Max",)


@operator
@dataclass(frozen=True, eq=False)
class Min(Selection):
    """The smaller of a and b."""

    function = staticmethod(np.minimum)
    onnx: ClassVar[tuple[str, ...] | None] = ("Min",)
