"""Functions of one value, and what passes need to know of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

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


@dataclass(frozen=True, eq=False)
class Pointwise(Operator):
    """Base: the output has the shape of the first input."""

    traits: ClassVar[frozenset[str]] = frozenset({Trait.POINTWISE, Trait.KEEPS_CHANNELS})

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        return present(shapes, 1)


@operator
@dataclass(frozen=True, eq=False)
class ReLU(Pointwise):
    """max(x, 0); exact on integers."""

    traits: ClassVar[frozenset[str]] = frozenset(
        {Trait.HOMOGENEOUS, Trait.MOVES, Trait.KEEPS_CHANNELS}
    )
    onnx: ClassVar[tuple[str, ...] | None] = ("Relu",)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return max(x, 0) in the type of x."""
        (x,) = present(arrays, 1)
        return np.maximum(x, x.dtype.type(0))

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient where x is above 0."""
        return (gradient * (outputs[0] > 0),)


@operator
@dataclass(frozen=True, eq=False)
class Clip(Pointwise):
    """min(max(x, lower), upper); ReLU6 is Clip(0, 6).

    Attributes
    ----------
    lower : float
    upper : float, or float64 array (channels,) along axis 1
        In units of the data: passes that scale the data scale these too. Infinite where absent.
        Equalization that scales the channels of a ReLU6 makes the array; no other pass does.
    """

    lower: float = -np.inf
    upper: float | np.ndarray = np.inf

    traits: ClassVar[frozenset[str]] = frozenset({Trait.KEEPS_CHANNELS})
    onnx: ClassVar[tuple[str, ...] | None] = ("Clip",)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the clipped values in the type of x."""
        (x,) = present(arrays, 1)
        upper = self._upper(x)
        if x.dtype.kind in "iu":
            bounds = np.iinfo(x.dtype)
            lower = int(max(self.lower, bounds.min))
            return np.clip(x, lower, np.minimum(upper, bounds.max).astype(x.dtype))
        return np.minimum(np.maximum(x, x.dtype.type(self.lower)), np.asarray(upper, x.dtype))

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient where x is strictly between the bounds."""
        (x,) = present(inputs, 1)
        return (gradient * ((x > self.lower) & (x < self._upper(x))),)

    def _upper(self, x: np.ndarray) -> float | np.ndarray:
        if isinstance(self.upper, np.ndarray):
            return self.upper.reshape(-1, *(1,) * (x.ndim - 2))
        return self.upper


@operator
@dataclass(frozen=True, eq=False)
class LeakyReLU(Pointwise):
    """x for x >= 0, alpha * x below."""

    alpha: float = 0.01

    traits: ClassVar[frozenset[str]] = Pointwise.traits | {Trait.HOMOGENEOUS}
    onnx: ClassVar[tuple[str, ...] | None] = ("LeakyRelu",)
    onnx_attributes: ClassVar[Mapping[str, str]] = {"alpha": "alpha"}

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the function of float values."""
        (x,) = present(arrays, 1)
        return np.where(x >= 0, x, x * x.dtype.type(self.alpha))

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient, times alpha where x is negative."""
        (x,) = present(inputs, 1)
        return (np.where(x >= 0, gradient, gradient * gradient.dtype.type(self.alpha)),)


@operator
@dataclass(frozen=True, eq=False)
class PReLU(Pointwise):
    """x for x >= 0, slope * x below; the slope is a parameter that broadcasts to the data."""

    roles: ClassVar[tuple[str, ...]] = ("data", "constant")
    traits: ClassVar[frozenset[str]] = Pointwise.traits | {Trait.HOMOGENEOUS}
    onnx: ClassVar[tuple[str, ...] | None] = ("PRelu",)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the function of float values."""
        x, slope = present(arrays, 2)
        return np.where(x >= 0, x, x * slope.astype(x.dtype))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    half = x.dtype.type(0.5)
    return half * (np.tanh(half * x) + x.dtype.type(1))  # no overflow for large |x|


@dataclass(frozen=True, eq=False)
class FloatFunction(Pointwise):
    """Base of the parameterless float functions; ``function`` is the whole class."""

    function: ClassVar[Callable[..., np.ndarray]]

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the function of float values."""
        (x,) = present(arrays, 1)
        return type(self).function(x).astype(x.dtype, copy=False)


@operator
@dataclass(frozen=True, eq=False)
class Sigmoid(FloatFunction):
    """1 / (1 + exp(-x))."""

    function = staticmethod(_sigmoid)
    onnx: ClassVar[tuple[str, ...] | None] = ("Sigmoid",)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient times y (1 - y)."""
        return (gradient * outputs[0] * (1 - outputs[0]),)


@operator
@dataclass(frozen=True, eq=False)
class Tanh(FloatFunction):
    """Hyperbolic tangent."""

    function = staticmethod(np.tanh)
    onnx: ClassVar[tuple[str, ...] | None] = ("Tanh",)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient times 1 - y^2."""
        return (gradient * (1 - outputs[0] * outputs[0]),)


@operator
@dataclass(frozen=True, eq=False)
class HardSigmoid(Pointwise):
    """max(0, min(1, alpha * x + beta))."""

    alpha: float = 0.2
    beta: float = 0.5

    onnx: ClassVar[tuple[str, ...] | None] = ("HardSigmoid",)
    onnx_attributes: ClassVar[Mapping[str, str]] = {"alpha": "alpha", "beta": "beta"}

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the function of float values."""
        (x,) = present(arrays, 1)
        kind = x.dtype.type
        return np.clip(x * kind(self.alpha) + kind(self.beta), kind(0), kind(1))


@operator
@dataclass(frozen=True, eq=False)
class HardSwish(FloatFunction):
    """x * max(0, min(1, x / 6 + 0.5))."""

    function = staticmethod(lambda x: x * np.clip(x / x.dtype.type(6) + x.dtype.type(0.5), 0, 1))
    onnx: ClassVar[tuple[str, ...] | None] = ("HardSwish",)


@operator
@dataclass(frozen=True, eq=False)
class Softmax(Operator):
    """exp(x) / sum(exp(x)) along an axis.

    Attributes
    ----------
    axis : int
    flatten : bool
        The meaning before opset 13: the axes from ``axis`` on are one.
    """

    axis: int = -1
    flatten: bool = False

    onnx: ClassVar[tuple[str, ...] | None] = ("Softmax",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        return present(shapes, 1)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the probabilities."""
        (x,) = present(arrays, 1)
        axes = self._axes(x)
        shifted = np.exp(x - x.max(axis=axes, keepdims=True))
        return shifted / shifted.sum(axis=axes, keepdims=True)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return y (g - sum(g y))."""
        y = outputs[0]
        return (y * (gradient - (gradient * y).sum(axis=self._axes(y), keepdims=True)),)

    def _axes(self, x: np.ndarray) -> tuple[int, ...]:
        axis = self.axis % x.ndim
        return tuple(range(axis, x.ndim)) if self.flatten else (axis,)
