"""More float functions of one value, each exactly as ONNX defines it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.ops.activation import FloatFunction, Pointwise
from aidge_quant.ops.base import Trait, operator, present

_erf = np.frompyfunc(math.erf, 1, 1)


def erf(x: np.ndarray) -> np.ndarray:
    """Return the error function of float values, computed in float64."""
    return np.asarray(_erf(x.astype(np.float64)), np.float64)


def softplus(x: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(x)) without overflow for large x."""
    return np.logaddexp(x, x.dtype.type(0))


@operator
@dataclass(frozen=True, eq=False)
class Abs(FloatFunction):
    """|x|."""

    function = staticmethod(np.abs)
    traits: ClassVar[frozenset[str]] = Pointwise.traits | {Trait.HOMOGENEOUS}
    onnx: ClassVar[tuple[str, ...] | None] = ("Abs",)


@operator
@dataclass(frozen=True, eq=False)
class Exp(FloatFunction):
    """exp(x)."""

    function = staticmethod(np.exp)
    onnx: ClassVar[tuple[str, ...] | None] = ("Exp",)


@operator
@dataclass(frozen=True, eq=False)
class Log(FloatFunction):
    """Natural logarithm; NaN below 0."""

    function = staticmethod(np.log)
    onnx: ClassVar[tuple[str, ...] | None] = ("Log",)


@operator
@dataclass(frozen=True, eq=False)
class Neg(FloatFunction):
    """-x."""

    function = staticmethod(np.negative)
    traits: ClassVar[frozenset[str]] = Pointwise.traits | {Trait.HOMOGENEOUS}
    onnx: ClassVar[tuple[str, ...] | None] = ("Neg",)


@operator
@dataclass(frozen=True, eq=False)
class Reciprocal(FloatFunction):
    """1 / x."""

    function = staticmethod(np.reciprocal)
    onnx: ClassVar[tuple[str, ...] | None] = ("Reciprocal",)


@operator
@dataclass(frozen=True, eq=False)
class Sqrt(FloatFunction):
    """Square root; NaN below 0."""

    function = staticmethod(np.sqrt)
    onnx: ClassVar[tuple[str, ...] | None] = ("Sqrt",)


@operator
@dataclass(frozen=True, eq=False)
class Erf(FloatFunction):
    """Error function."""

    function = staticmethod(erf)
    onnx: ClassVar[tuple[str, ...] | None] = ("Erf",)


@operator
@dataclass(frozen=True, eq=False)
class Softplus(FloatFunction):
    """log(1 + exp(x))."""

    function = staticmethod(softplus)
    onnx: ClassVar[tuple[str, ...] | None] = ("Softplus",)


@operator
@dataclass(frozen=True, eq=False)
class Softsign(FloatFunction):
    """x / (1 + |x|)."""

    function = staticmethod(lambda x: x / (1 + np.abs(x)))
    onnx: ClassVar[tuple[str, ...] | None] = ("Softsign",)


@operator
@dataclass(frozen=True, eq=False)
class Mish(FloatFunction):
    """x * tanh(log(1 + exp(x)))."""

    function = staticmethod(lambda x: x * np.tanh(softplus(x)))
    onnx: ClassVar[tuple[str, ...] | None] = ("Mish",)


@dataclass(frozen=True, eq=False)
class Parametrized(Pointwise):
    """Base of the functions with attributes; ``formula`` is computed in float64."""

    def formula(self, x: np.ndarray) -> np.ndarray:
        """Return the function of float64 values."""
        raise NotImplementedError

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the function in the type of x."""
        (x,) = present(arrays, 1)
        with np.errstate(all="ignore"):
            return np.asarray(self.formula(x.astype(np.float64)), x.dtype)


@operator
@dataclass(frozen=True, eq=False)
class Elu(Parametrized):
    """x for x >= 0, alpha * (exp(x) - 1) below."""

    alpha: float = 1.0

    onnx: ClassVar[tuple[str, ...] | None] = ("Elu",)
    onnx_attributes: ClassVar[Mapping[str, str]] = {"alpha": "alpha"}

    def formula(self, x: np.ndarray) -> np.ndarray:
        """Return the function of float64 values."""
        return np.where(x >= 0, x, self.alpha * np.expm1(np.minimum(x, 0)))


@operator
@dataclass(frozen=True, eq=False)
class Celu(Parametrized):
    """x for x >= 0, alpha * (exp(x / alpha) - 1) below."""

    alpha: float = 1.0

    onnx: ClassVar[tuple[str, ...] | None] = ("Celu",)
    onnx_attributes: ClassVar[Mapping[str, str]] = {"alpha": "alpha"}

    def formula(self, x: np.ndarray) -> np.ndarray:
        """Return the function of float64 values."""
        return np.where(x >= 0, x, self.alpha * np.expm1(np.minimum(x, 0) / self.alpha))


@operator
@dataclass(frozen=True, eq=False)
class Selu(Parametrized):
    """gamma * x for x > 0, gamma * alpha * (exp(x) - 1) below."""

    alpha: float = 1.6732631921768188
    gamma: float = 1.0507010221481323

    onnx: ClassVar[tuple[str, ...] | None] = ("Selu",)
    onnx_attributes: ClassVar[Mapping[str, str]] = {"alpha": "alpha", "gamma": "gamma"}

    def formula(self, x: np.ndarray) -> np.ndarray:
        """Return the function of float64 values."""
        return self.gamma * np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))


@operator
@dataclass(frozen=True, eq=False)
class ThresholdedReLU(Parametrized):
    """x for x > alpha, 0 below."""

    alpha: float = 1.0

    onnx: ClassVar[tuple[str, ...] | None] = ("ThresholdedRelu",)
    onnx_attributes: ClassVar[Mapping[str, str]] = {"alpha": "alpha"}

    def formula(self, x: np.ndarray) -> np.ndarray:
        """Return the function of float64 values."""
        return np.where(x > self.alpha, x, 0)


@operator
@dataclass(frozen=True, eq=False)
class Swish(Parametrized):
    """x / (1 + exp(-alpha * x))."""

    alpha: float = 1.0

    onnx: ClassVar[tuple[str, ...] | None] = ("Swish",)
    onnx_attributes: ClassVar[Mapping[str, str]] = {"alpha": "alpha"}

    def formula(self, x: np.ndarray) -> np.ndarray:
        """Return the function of float64 values."""
        return x * (0.5 + 0.5 * np.tanh(0.5 * self.alpha * x))


@operator
@dataclass(frozen=True, eq=False)
class Gelu(Parametrized):
    """x * Phi(x), with Phi the distribution function of the normal distribution.

    Attributes
    ----------
    approximate : bool
        The formula with tanh: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
    """

    approximate: bool = False

    onnx: ClassVar[tuple[str, ...] | None] = ("Gelu",)

    def formula(self, x: np.ndarray) -> np.ndarray:
        """Return the function of float64 values."""
        if self.approximate:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))


@operator
@dataclass(frozen=True, eq=False)
class Pow(Parametrized):
    """x to a constant power.

    Attributes
    ----------
    exponent : float
    """

    exponent: float

    onnx: ClassVar[tuple[str, ...] | None] = ("Pow",)

    def formula(self, x: np.ndarray) -> np.ndarray:
        """Return the function of float64 values."""
        return x**self.exponent
