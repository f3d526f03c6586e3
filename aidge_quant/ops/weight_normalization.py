"""What scale-adjusted training (SAT) does to weights: clamp, round to levels, adjust the scale."""

import enum
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.errors import DataError
from aidge_quant.ops.base import Gradients, Inputs, Operator, Outputs, Shape, operator, present
from aidge_quant.ops.learned_quantization import TRAINING_DOMAIN


class DoReFaMode(enum.Enum):
    """Which levels DoReFa rounds weights in [-1, 1] to.

    ``Default``: R + 1 levels, an even number of them for R = 2^N - 1, none of which is 0.
    ``Symmetric``: the multiples of 1 / R. ``FullRange``: as Default, the first and the last level
    as wide as the others. ``Asymmetric``: as Symmetric, with one more level below.
    """

    Default = 0
    Symmetric = 1
    FullRange = 2
    Asymmetric = 3


@operator
@dataclass(frozen=True, eq=False)
class DoReFa(Operator):
    """Weights rounded to levels in [-1, 1]; the gradient passes straight through.

    Attributes
    ----------
    range : int
        R.
    mode : DoReFaMode

    Notes
    -----
    Zhou et al. 2016, arXiv 1606.06160, ties to even:

    - Default: 2 round((x / 2 + 1 / 2) R) / R - 1
    - FullRange: the same of c x with c = 1 + 0.9998 / R
    - Symmetric: round(x R) / R
    - Asymmetric: the same of c x - 1 / (2 R) with c = 1 + 1 / (2 R)

    dx = g, times c in FullRange and Asymmetric.
    """

    range: int = 255
    mode: DoReFaMode = DoReFaMode.Default

    foldable: ClassVar[bool] = False
    onnx: ClassVar[tuple[str, ...] | None] = ("DoReFa",)
    onnx_domain: ClassVar[str] = TRAINING_DOMAIN

    def __post_init__(self) -> None:
        """Check the attributes.

        Raises
        ------
        DataError
            If the range is no whole number from 1, or the mode is none.
        """
        whole = isinstance(self.range, int | np.integer) and not isinstance(self.range, bool)
        if not whole or self.range < 1:
            raise DataError(f"DoReFa: range is {self.range!r}, expected a whole number from 1")
        if not isinstance(self.mode, DoReFaMode):
            raise DataError(f"DoReFa: mode is {self.mode!r}, expected a DoReFaMode")

    @property
    def slope(self) -> float:
        """What the data are multiplied with before they are rounded."""
        if self.mode is DoReFaMode.FullRange:
            return 1 + 0.9998 / self.range
        return 1 + 0.5 / self.range if self.mode is DoReFaMode.Asymmetric else 1.0

    @property
    def step(self) -> float:
        """Real value of one unit of ``integers``."""
        return 1 / self.range

    def integers(self, x: np.ndarray) -> np.ndarray:
        """Return the output in units of 1 / R: integers, as floats of the type of x."""
        kind = x.dtype.type
        scaled = x if self.slope == 1 else x * kind(self.slope)
        if self.mode in (DoReFaMode.Default, DoReFaMode.FullRange):
            # rint of the same expression as in the formula, so that ties fall alike
            return 2 * np.rint((scaled * kind(0.5) + kind(0.5)) * kind(self.range)) - kind(
                self.range
            )
        if self.mode is DoReFaMode.Asymmetric:
            scaled = scaled - kind(0.5 / self.range)
        return np.rint(scaled * kind(self.range))

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        return present(shapes, 1)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the levels in the type of x."""
        (x,) = present(arrays, 1)
        return self.integers(x) / x.dtype.type(self.range)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient, times the slope of the mode."""
        return (gradient if self.slope == 1 else gradient * gradient.dtype.type(self.slope),)


@dataclass(frozen=True, eq=False)
class Scaled(Operator):
    """Base: the first output is the data over a number, which is the second output (1,)."""

    foldable: ClassVar[bool] = False

    @property
    def output_count(self) -> int:
        """Two: the data and its divisor."""
        return 2

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data and that of the divisor."""
        return (*present(shapes, 1), (1,))


@operator
@dataclass(frozen=True, eq=False)
class TanhClamp(Scaled):
    """y = tanh(x) / max|tanh(x)|: weights in [-1, 1]; the second output is the maximum.

    Notes
    -----
    dx = g (1 - tanh(x)^2) / max: the maximum counts as a constant. Of zeros it is taken as 1.
    """

    onnx: ClassVar[tuple[str, ...] | None] = ("TanhClamp",)
    onnx_domain: ClassVar[str] = TRAINING_DOMAIN

    def forward(self, *arrays: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Return the clamped values and the divisor, in the type of x."""
        (x,) = present(arrays, 1)
        curve = np.tanh(x)
        divisor = _divisor(np.abs(curve).max(initial=0), x)
        return curve / divisor, divisor

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient of the data."""
        (x,) = present(inputs, 1)
        curve = np.tanh(x)
        divisor = _divisor(np.abs(curve).max(initial=0), x)
        return (gradient * (1 - curve * curve) / divisor,)


@operator
@dataclass(frozen=True, eq=False)
class ScaleAdjust(Scaled):
    """y = x / s with s = sqrt(n variance(x)), n = size / shape[0]; the second output is s.

    Notes
    -----
    The variance is the unbiased one of the whole tensor. dx = g / s: s counts as a constant. Where
    it is 0 or the tensor has one value only, it is taken as 1.
    """

    onnx: ClassVar[tuple[str, ...] | None] = ("ScaleAdjust",)
    onnx_domain: ClassVar[str] = TRAINING_DOMAIN

    def forward(self, *arrays: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Return the adjusted values and the divisor, in the type of x."""
        (x,) = present(arrays, 1)
        divisor = self._scaling(x)
        return x / divisor, divisor

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient of the data."""
        (x,) = present(inputs, 1)
        return (gradient / self._scaling(x),)

    def _scaling(self, x: np.ndarray) -> np.ndarray:
        if x.size < 2:
            return _divisor(0.0, x)
        fan = x.size / x.shape[0]
        return _divisor(math.sqrt(fan * float(np.var(x, dtype=np.float64, ddof=1))), x)


def _divisor(value: float, x: np.ndarray) -> np.ndarray:
    """Return the value as an array (1,) of the type of x; 1 in place of 0."""
    return np.asarray([value or 1], x.dtype)
