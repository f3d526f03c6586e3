"""Quantizers for training: they round in the forward pass, and gradients pass through them."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.errors import DataError, DtypeError, ShapeError
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
from aidge_quant.ops.quantization import round_half_up

#: ONNX domain of the operators for training. No runtime knows it: it keeps what can train.
TRAINING_DOMAIN = "aidge_quant.training"


def round_half_away(x: np.ndarray) -> np.ndarray:
    """Return the nearest integers of finite floats, ties away from zero."""
    whole = np.trunc(x)
    # x - whole and its double are exact, which floor(|x| + 0.5) is not just below one half.
    rest = x - whole
    return whole + np.trunc(rest + rest)


def initial_step(x: np.ndarray, largest: int) -> float:
    """Return the step that LSQ starts with: 2 mean|x| / sqrt(largest).

    Parameters
    ----------
    x : float array
    largest : int, positive
        The largest integer of the quantizer.
    """
    return float(2 * np.mean(np.abs(x), dtype=np.float64) / math.sqrt(largest))


@dataclass(frozen=True, eq=False)
class TrainedQuantizer(Operator):
    """Base: the output has the shape of the data and holds rounded values in its type."""

    traits: ClassVar[frozenset[str]] = frozenset({Trait.KEEPS_CHANNELS})
    foldable: ClassVar[bool] = False

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        return present(shapes, 1)


@operator
@dataclass(frozen=True, eq=False)
class LSQ(TrainedQuantizer):
    """y = s clip(round(x / s), lower, upper), with a learned step s.

    Inputs: data, and the step, one value. A step of 0 is not set yet: the operator then computes
    with 2 mean|x| / sqrt(upper) of its data, and training sets it so at its first forward.

    Attributes
    ----------
    range : (int, int)
        Lower and upper; (0, 2^N - 1) behind a ReLU, (-2^(N-1), 2^(N-1) - 1) for signed values.
    power_of_two : bool
        Compute with the power of two nearest to the step (in the logarithm), and round ties up, as
        the shifts of an integer network do; else ties round away from zero.

    Notes
    -----
    Esser et al. 2020, arXiv 1902.08153. dx = g where lower < x / s < upper; ds = sum of g times
    (lower | upper outside, round(x / s) - x / s inside), divided by sqrt(N upper) with N the number
    of values. With ``power_of_two`` the gradient passes the rounding of log2(s) straight through.
    """

    range: tuple[int, int] = (0, 255)
    power_of_two: bool = False

    roles: ClassVar[tuple[str, ...]] = ("data", "constant")
    onnx: ClassVar[tuple[str, ...] | None] = ("LSQ",)
    onnx_domain: ClassVar[str] = TRAINING_DOMAIN

    def __post_init__(self) -> None:
        """Check the attributes.

        Raises
        ------
        DataError
            If the range is no pair of whole numbers around 0, the upper one above it.
        """
        bounds = self.range
        pair = isinstance(bounds, tuple) and len(bounds) == 2 and all(map(_is_whole, bounds))
        if not pair or not bounds[0] <= 0 < bounds[1]:
            raise DataError(
                f"LSQ: range is {bounds!r}, expected the least integer, 0 or below, and the "
                "largest, 1 or above"
            )
        _require_flag("LSQ", "power_of_two", self.power_of_two)

    def effective_step(self, x: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return the step, array () of the type of x, that the operator computes with."""
        value = _one_value(step, "the step")
        if value == 0:
            value = initial_step(x, self.range[1])
        return np.asarray(nearest_power_of_two(value) if self.power_of_two else value, x.dtype)

    def least_error_step(self, x: np.ndarray) -> float:
        """Return the step with the least squared error, of 49 from 1/16 to 4 times the initial one.

        Parameters
        ----------
        x : float array
            Of more than a million values every n-th counts.

        Returns
        -------
        float
            A power of two with ``power_of_two``; 0 where x holds nothing but zeros.
        """
        first = initial_step(_floats(x), self.range[1])
        x = x.reshape(-1)[:: max(-(-x.size // 2**20), 1)]
        steps = first * np.exp2(np.arange(-32, 17) / 8)
        if self.power_of_two and first:
            steps = np.unique([nearest_power_of_two(step) for step in steps])

        def error(step: float) -> float:
            y = self.forward(x, np.array([step], x.dtype))
            return float(np.sum(np.square(y - x, dtype=np.float64)))

        return float(min(steps, key=error)) if first else 0.0

    def _round(self, ratio: np.ndarray) -> np.ndarray:
        return round_half_up(ratio) if self.power_of_two else round_half_away(ratio)

    def _ratio(self, x: np.ndarray, step: np.ndarray) -> np.ndarray:
        return x / step if step else np.zeros_like(x)  # no data but zeros: nothing to round

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return multiples of the step in the type of x."""
        x, step = present(arrays, 2)
        used = self.effective_step(_floats(x), step)
        return self._round(np.clip(self._ratio(x, used), *self.range)) * used

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradients of data and step."""
        x, step = present(inputs, 2)
        used, (lower, upper) = self.effective_step(x, step), self.range
        ratio = self._ratio(x, used)
        inside = (ratio > lower) & (ratio < upper)
        total = 0.0
        if used:
            slope = np.where(inside, outputs[0] - x, outputs[0])  # in units of the step
            total = float(np.sum(gradient * slope, dtype=np.float64)) / float(used)
            total /= math.sqrt(x.size * upper)
        if self.power_of_two and step.reshape(()) > 0:
            total *= float(used) / float(step.reshape(()))
        return gradient * inside, np.full(step.shape, total, step.dtype)


@operator
@dataclass(frozen=True, eq=False)
class CGPACT(TrainedQuantizer):
    """y = alpha round(clip(x / alpha, 0, 1) R) / R, with a learned alpha; ties away from zero.

    Inputs: data, and alpha, one value.

    Attributes
    ----------
    range : int
        R, the largest integer: 2^N - 1.

    Notes
    -----
    Jin et al. 2020, arXiv 1912.10207, after PACT, arXiv 1805.06085. dx = g for 0 < x <= alpha;
    dalpha = sum of g times (1 where x >= alpha, else round(c R) / R - c with c = clip(x / alpha,
    0, 1)). An alpha of 0 gives zeros.
    """

    range: int = 255

    roles: ClassVar[tuple[str, ...]] = ("data", "constant")
    onnx: ClassVar[tuple[str, ...] | None] = ("CGPACT",)
    onnx_domain: ClassVar[str] = TRAINING_DOMAIN

    def __post_init__(self) -> None:
        """Check the attribute.

        Raises
        ------
        DataError
            If the range is no whole number from 1.
        """
        if not _is_whole(self.range) or self.range < 1:
            raise DataError(f"CGPACT: range is {self.range!r}, expected a whole number from 1")

    def _parts(self, x: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return alpha as an array () of the type of x, and clip(x / alpha, 0, 1)."""
        value = np.asarray(_one_value(alpha, "alpha"), x.dtype)
        if not value:
            return value, (x > 0).astype(x.dtype)
        return value, np.clip(x / value, 0, 1)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return multiples of alpha / R in the type of x."""
        x, alpha = present(arrays, 2)
        value, part = self._parts(_floats(x), alpha)
        return round_half_away(part * x.dtype.type(self.range)) * (value / x.dtype.type(self.range))

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradients of data and alpha."""
        x, alpha = present(inputs, 2)
        value, part = self._parts(x, alpha)
        levels = x.dtype.type(self.range)
        slope = np.where(x >= value, 1, round_half_away(part * levels) / levels - part)
        total = np.sum(gradient * slope, dtype=np.float64)
        passed = gradient * ((x > 0) & (x <= value))
        return passed, np.full(alpha.shape, total, alpha.dtype)


@operator
@dataclass(frozen=True, eq=False)
class FixedQ(TrainedQuantizer):
    """Fixed-point quantization with a step that follows from bits and span.

    Signed: step span / 2^(bits - 1), integers -2^(bits-1) to 2^(bits-1) - 1. Unsigned: step
    span / 2^bits, integers 0 to 2^bits - 1. With a span that is a power of two the step is one too.

    Attributes
    ----------
    nb_bits : int, 1 to 32
    span : float, positive
    is_output_unsigned : bool
    half_up : bool
        Round ties up, as the shifts of an integer network do; else away from zero.

    Notes
    -----
    The gradient passes straight through, outside of the span too.
    """

    nb_bits: int = 8
    span: float = 4.0
    is_output_unsigned: bool = False
    half_up: bool = False

    onnx: ClassVar[tuple[str, ...] | None] = ("FixedQ",)
    onnx_domain: ClassVar[str] = TRAINING_DOMAIN

    def __post_init__(self) -> None:
        """Check the attributes.

        Raises
        ------
        DataError
            If the number of bits is no whole number from 1 to 32, or the span not positive.
        """
        if not _is_whole(self.nb_bits) or not 1 <= self.nb_bits <= 32:
            raise DataError(
                f"FixedQ: nb_bits is {self.nb_bits!r}, expected a whole number from 1 to 32"
            )
        number = isinstance(self.span, int | float | np.number) and math.isfinite(self.span)
        if not number or self.span <= 0:
            raise DataError(f"FixedQ: span is {self.span!r}, expected a number above 0")
        _require_flag("FixedQ", "is_output_unsigned", self.is_output_unsigned)
        _require_flag("FixedQ", "half_up", self.half_up)

    @property
    def range(self) -> tuple[int, int]:
        """The least and the largest integer."""
        if self.is_output_unsigned:
            return 0, 2**self.nb_bits - 1
        return -(2 ** (self.nb_bits - 1)), 2 ** (self.nb_bits - 1) - 1

    @property
    def step(self) -> float:
        """Real value of one integer unit."""
        return self.span / 2 ** (self.nb_bits - (not self.is_output_unsigned))

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return multiples of the step in the type of x."""
        (x,) = present(arrays, 1)
        step = _floats(x).dtype.type(self.step)
        turn = round_half_up if self.half_up else round_half_away
        lower, upper = (x.dtype.type(bound) for bound in self.range)
        return turn(np.clip(x / step, lower, upper)) * step

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient as it is."""
        return (gradient,)


@operator
@dataclass(frozen=True, eq=False)
class BiasQuantizer(TrainedQuantizer):
    """y = u round(x / u) with u the product of two steps: a bias in units of its accumulator.

    Inputs: bias, the step of the data and that of the weight, one value each. Ties round up. Where
    a step is 0, which means not set, the bias stays as it is.

    Attributes
    ----------
    power_of_two : bool
        Whether the steps count as the powers of two nearest to them, as in ``LSQ``.

    Notes
    -----
    The gradient passes straight through; the steps get none.
    """

    power_of_two: bool = False

    roles: ClassVar[tuple[str, ...]] = ("data", "constant", "constant")
    onnx: ClassVar[tuple[str, ...] | None] = ("BiasQuantizer",)
    onnx_domain: ClassVar[str] = TRAINING_DOMAIN

    def __post_init__(self) -> None:
        """Raise a DataError if ``power_of_two`` is neither True nor False."""
        _require_flag("BiasQuantizer", "power_of_two", self.power_of_two)

    def unit(self, *steps: np.ndarray) -> float:
        """Return the product of two steps."""
        values = [_one_value(step, "the step") for step in steps]
        return math.prod(map(nearest_power_of_two, values) if self.power_of_two else values)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return multiples of the unit in the type of x."""
        x, *steps = present(arrays, 3)
        unit = self.unit(*steps)
        if unit == 0:
            return x
        # In float64, as the integer network rounds: its biases have up to 32 bits.
        return (round_half_up(_floats(x).astype(np.float64) / unit) * unit).astype(x.dtype)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient as it is."""
        return gradient, None, None


def nearest_power_of_two(value: float) -> float:
    """Return the power of two nearest to a positive value, in the logarithm; others as they are."""
    return 2.0 ** math.floor(math.log2(value) + 0.5) if value > 0 else value


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _require_flag(operator: str, name: str, value: object) -> None:
    if not isinstance(value, bool | np.bool_):
        raise DataError(f"{operator}: {name} is {value!r}, expected True or False")


def _one_value(array: np.ndarray, what: str) -> float:
    if array.size != 1:
        raise ShapeError(f"{what} has shape {array.shape}, expected one value")
    return float(array.reshape(()))


def _floats(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind != "f":
        raise DtypeError(f"the data has type {x.dtype}, expected floats")
    return x
