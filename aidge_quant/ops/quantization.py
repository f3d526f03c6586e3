"""Quantizer and Dequantizer: the nodes between real values and integers."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DtypeError, GraphError
from aidge_quant.ops.base import Operator, Shape, Trait, operator, present

HALF_UP = "half_up"
HALF_EVEN = "half_even"


def round_half_up(x: np.ndarray) -> np.ndarray:
    """Return floor(x + 0.5): the rounding of the integer contract, on floats."""
    return np.floor(x + x.dtype.type(0.5))


@operator
@dataclass(frozen=True, eq=False)
class Quantizer(Operator):
    """y = clip(round(x * scale), lower, upper), along an axis where the scale has many values.

    The one node of the whole quantization pipeline. Without ``clip`` and ``rounding`` it is a plain
    scaling node; the passes complete it step by step. Values are kept without zero point: an
    interval such as (0, 255) or (-100, 155) is a choice of ``clip``, and the zero point follows
    when the network is lowered (stored = value - lower - 128).

    Attributes
    ----------
    scale : float or float array (channels,)
        Factor of x; equal to ``2.0**-shift`` where there is a shift.
    clip : (int, int) or None
    rounding : {"half_up", "half_even"} or None
    shift : int array () or (channels,), or None
        Right shift that stands for the scale; negative shifts left.
    axis : int
        Axis of x that the channels of ``scale`` belong to.
    element_type : dtype or None
        Type of the output; None keeps the type of x (floats that hold integers).
    """

    scale: float | np.ndarray
    clip: tuple[int, int] | None = None
    rounding: str | None = None
    shift: np.ndarray | None = None
    axis: int = 1
    element_type: dtype | None = None

    traits: ClassVar[frozenset[str]] = frozenset({Trait.KEEPS_CHANNELS})
    onnx_reason: ClassVar[str] = "set_to_qdq or set_to_qop turns it into ONNX quantization nodes"

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        return present(shapes, 1)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return the declared type, else the type of the data."""
        found = self.element_type or dtypes[0]
        if found is None:
            raise GraphError("Quantizer: its data input is missing")
        return (found,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Scale, round and clip; exact for integers with shifts."""
        (x,) = present(arrays, 1)
        y = self._scaled(x)
        if self.clip is not None:
            # Bounds of the type of y: numpy before 2 widens float32 where they need 32 bits.
            y = np.clip(y, *(y.dtype.type(bound) for bound in self.clip))
        if self.element_type is not None:
            return y.astype(self.element_type.numpy)
        return y

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        if x.dtype.kind in "iu":
            if self.shift is not None and self.rounding is not None:
                return shift_right(x.astype(np.int64), self._along(self.shift, x), self.rounding)
            x = x.astype(np.float64)
        elif self.element_type is not None and self.element_type.is_integer:
            # As the integer network quantizes its input: float32 is too coarse for 16 bits.
            x = x.astype(np.float64)
        factor = np.asarray(self.scale, np.float64)
        y = x * self._along(factor, x).astype(x.dtype)
        if self.rounding == HALF_UP:
            y = round_half_up(y)
        elif self.rounding == HALF_EVEN:
            y = np.rint(y)
        elif self.element_type is not None and self.element_type.is_integer:
            raise DtypeError(
                f"Quantizer: the output type is {self.element_type.value} but nothing is rounded"
            )
        return y

    def _along(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        if np.ndim(values) == 0 or values.size == 1:
            return np.reshape(values, ())
        shape = [1] * x.ndim
        shape[self.axis] = -1
        return np.reshape(values, shape)


def as_shift(scale: np.ndarray | float) -> np.ndarray | None:
    """Return the right shift k that stands for a scale, int64 of its shape.

    None unless every value is 2**-k with k in -30 to 30, which the integer network can shift by.

    Parameters
    ----------
    scale : float64 array, positive
    """
    mantissa, exponent = np.frexp(np.asarray(scale, np.float64))
    shift = np.asarray(1 - exponent, np.int64)
    return shift if (mantissa == 0.5).all() and (np.abs(shift) <= 30).all() else None


def shift_right(x: np.ndarray, shift: np.ndarray, rounding: str) -> np.ndarray:
    """Return x * 2**-shift rounded, for int64 x; negative shifts multiply.

    Parameters
    ----------
    x : int64 array
    shift : int array, broadcasts to x
    rounding : {"half_up", "half_even"}
    """
    right = np.maximum(shift, 0).astype(np.int64)
    widened = x * (np.int64(1) << np.maximum(-shift, 0).astype(np.int64))
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    rounded = (widened + half) >> right
    if rounding == HALF_EVEN:
        tie = (right > 0) & ((rounded << right) - widened == half)
        rounded -= tie & (rounded & 1)
    return rounded


@operator
@dataclass(frozen=True, eq=False)
class Dequantizer(Operator):
    """y = x * scale in float32: from integers to real values, for a part that stays in float.

    Attributes
    ----------
    scale : float or float array (channels,)
    axis : int
    """

    scale: float | np.ndarray
    axis: int = 1

    traits: ClassVar[frozenset[str]] = frozenset({Trait.KEEPS_CHANNELS})
    onnx_reason: ClassVar[str] = Quantizer.onnx_reason

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        return present(shapes, 1)

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return float32."""
        return (dtype.float32,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the real values."""
        (x,) = present(arrays, 1)
        factor = np.asarray(self.scale, np.float64)
        if factor.size > 1:
            shape = [1] * x.ndim
            shape[self.axis] = -1
            factor = factor.reshape(shape)
        return (x.astype(np.float64) * factor).astype(np.float32)
