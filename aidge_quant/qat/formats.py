"""What the integers of a tensor are, as its quantizer for training says."""

from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Node
from aidge_quant.ops import CGPACT
from aidge_quant.ops.learned_quantization import round_half_away
from aidge_quant.ops.quantization import round_half_up
from aidge_quant.qat.weights import quantizer_step


@dataclass(frozen=True)
class Format:
    """The integers of a tensor: real value of one unit, the interval, and how reals were rounded.

    ``half_up``: as single shifts round; else half away from zero.
    """

    unit: float
    lower: int
    upper: int
    half_up: bool = False

    @property
    def element_type(self) -> dtype:
        """The smallest type that holds them."""
        kinds = (dtype.uint4, dtype.uint8) if self.lower >= 0 else (dtype.int4, dtype.int8)
        wide = dtype.uint16 if self.lower >= 0 else dtype.int16
        fits = (kind for kind in kinds if kind.min <= self.lower and self.upper <= kind.max)
        return next(fits, wide)


def format_of(quantizer: Node) -> Format:
    """Return the format that a quantizer of activations trained."""
    operator = quantizer.operator
    lower, upper = (0, operator.range) if isinstance(operator, CGPACT) else operator.range
    half_up = any(getattr(operator, name, False) for name in ("power_of_two", "half_up"))
    return Format(quantizer_step(quantizer), lower, upper, half_up)


def on_grid(bound: float | np.ndarray, found: Format) -> tuple[float | np.ndarray, bool]:
    """Return a bound in units, rounded as its quantizer rounds, and whether that changed it.

    Infinite bounds stay.
    """
    real = np.asarray(bound, np.float64)
    turn = round_half_up if found.half_up else round_half_away
    with np.errstate(invalid="ignore"):
        steps = np.where(np.isfinite(real), turn(real / found.unit), real)
        off = np.isfinite(real) & (np.abs(steps - real / found.unit) > 1e-6)
    return (steps if steps.ndim else float(steps)), bool(off.any())
