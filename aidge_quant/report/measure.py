"""Sums over batches from which the figures of one layer follow."""

from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.report.grid import Grid

#: Share of the values, in the middle of the histogram, that ``tail_bits`` looks at.
BULK = 0.999


class Signal:
    """Energy of a float signal and of its error, over any number of batches."""

    def __init__(self) -> None:
        self.energy = 0.0
        self.noise = 0.0

    def add(self, wanted: np.ndarray, found: np.ndarray) -> None:
        """Count one batch: what the float network gives, and what came in its place."""
        wanted = wanted.astype(np.float64)
        self.energy += float(np.square(wanted).sum())
        self.noise += float(np.square(wanted - found).sum())

    @property
    def decibels(self) -> float:
        """10 log10(sum(y**2) / sum((y - found)**2)); infinite where there is no error."""
        if self.noise == 0:
            return float("inf")
        return 10 * float(np.log10(self.energy / self.noise)) if self.energy else -float("inf")


@dataclass(frozen=True)
class Spread:
    """How much of its integer interval a tensor uses; all None for int32.

    Attributes
    ----------
    unused : float or None, 0 to 1
    unused_bits, tail_bits : float or None, 0 or more
    """

    unused: float | None = None
    unused_bits: float | None = None
    tail_bits: float | None = None


class LayerMeasure:
    """What is counted at the output of one layer.

    Attributes
    ----------
    grid : Grid
        Of the output.
    alone, accumulated : Signal
    rounding : float
        Energy of the error that rounding the output to the nearest integer makes by itself, where
        ``alone`` was counted: unit**2 / 12 for every value within the bounds.
    float_constant : bool
        Whether the float network gave one value only.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.alone = Signal()
        self.accumulated = Signal()
        self.rounding = 0.0
        self.float_constant = True
        self._first: float | None = None
        self._cut = 0
        self._count = 0
        kind = grid.tensor.dtype
        self._histogram = None if kind is dtype.int32 else np.zeros(1 << kind.bits, np.int64)
        self._least, self._most = kind.max, kind.min

    def add_run(self, q: np.ndarray, wanted: np.ndarray) -> None:
        """Count one batch of the run of the whole network.

        Parameters
        ----------
        q : integer array (batch, *stored shape)
        wanted : float array of the same shape, from the float network
        """
        self.accumulated.add(wanted, self.grid.real(q))
        steps = self.grid.steps(wanted)
        high, low = self.grid.interval.upper, self.grid.interval.lower
        cut = ((q >= high) & (steps > high + 0.5)) | ((q <= low) & (steps < low - 0.5))
        self._cut += int(np.count_nonzero(cut))
        self._count += q.size
        self._least, self._most = min(self._least, int(q.min())), max(self._most, int(q.max()))
        if self._histogram is not None:
            indices = q.ravel().astype(np.int64) - self.grid.tensor.dtype.min
            self._histogram += np.bincount(indices, minlength=self._histogram.size)
        self._first = float(wanted.flat[0]) if self._first is None else self._first
        self.float_constant &= bool((wanted == self._first).all())

    def add_alone(self, q: np.ndarray, wanted: np.ndarray) -> None:
        """Count one batch of the layer by itself; arguments as for ``add_run``."""
        self.alone.add(wanted, self.grid.real(q))
        inside = (q > self.grid.interval.lower) & (q < self.grid.interval.upper)
        self.rounding += float(np.square(self.grid.unit * inside).sum()) / 12

    @property
    def saturation(self) -> float:
        """Share of the values that were cut off, 0 to 1."""
        return self._cut / self._count

    @property
    def constant(self) -> bool:
        """Whether the layer gave one integer only."""
        return self._least == self._most

    @property
    def one_sided(self) -> bool:
        """Whether its values have one sign, but its interval has both."""
        zero, interval = self.grid.tensor.zero_point, self.grid.interval
        both = interval.lower < zero < interval.upper
        return both and (self._least >= zero or self._most <= zero)

    @property
    def spread(self) -> Spread:
        """How much of the interval was used."""
        if self._histogram is None or self.grid.interval.width == 0:
            return Spread()
        levels, used = self.grid.interval.width + 1, self._most - self._least
        below = np.cumsum(self._histogram)
        tail = (1 - BULK) / 2 * self._count
        start = int(np.searchsorted(below, tail, side="right"))
        end = int(np.searchsorted(below, self._count - tail, side="left"))
        return Spread(
            1 - used / self.grid.interval.width,
            float(np.log2(levels / (used + 1))),
            float(np.log2(levels / (end - start + 1))),
        )
