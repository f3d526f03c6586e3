"""What the integers of each tensor can be, and which real values they stand for."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aidge_quant.integer.layers import ArgMax, AveragePool, Clamp, Layer, Lookup, Pad
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.tensors import IntegerTensor


@dataclass(frozen=True)
class Interval:
    """The integers from ``lower`` to ``upper``, both included."""

    lower: int
    upper: int

    @property
    def width(self) -> int:
        """Distance of the bounds."""
        return self.upper - self.lower


@dataclass(frozen=True, eq=False)
class Grid:
    """The real values that a tensor can hold, on the scale of the float network.

    Attributes
    ----------
    tensor : IntegerTensor
    interval : Interval
    unit : float64 array (1, *stored shape)
        Real value of one integer unit: real = unit * (q - zero_point).
    """

    tensor: IntegerTensor
    interval: Interval
    unit: np.ndarray

    def real(self, q: np.ndarray) -> np.ndarray:
        """Return the float64 values of integers (batch, *stored shape)."""
        return self.unit * (q.astype(np.float64) - self.tensor.zero_point)

    def steps(self, values: np.ndarray) -> np.ndarray:
        """Return float values (batch, *stored shape) in units of the integers, not rounded."""
        steps: np.ndarray = values / self.unit + self.tensor.zero_point
        return steps

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """Return the stored integers nearest to float values (batch, *stored shape)."""
        rounded = np.floor(self.steps(values) + 0.5)
        clipped = np.clip(rounded, self.interval.lower, self.interval.upper)
        return clipped.astype(self.tensor.dtype.numpy)


def tensor_intervals(network: IntegerNetwork) -> dict[str, Interval]:
    """Return the interval of every tensor, by name."""
    found = {}
    for name in network.inputs:
        found[name] = _whole(network, name)
    for layer in network.layers:
        found[layer.output] = _interval(network, layer, found)
    return found


def _interval(network: IntegerNetwork, layer: Layer, found: Mapping[str, Interval]) -> Interval:
    step = getattr(layer, "requantization", None)
    if step is not None:
        return Interval(*step.bounds)
    if isinstance(layer, AveragePool | Clamp):
        return Interval(int(layer.lower), int(layer.upper))
    if isinstance(layer, Lookup):
        return Interval(int(layer.table.min()), int(layer.table.max()))
    if isinstance(layer, ArgMax):
        return _whole(network, layer.output)
    # Layers that move or compare: what their inputs hold, and the value that pads.
    lower = min(found[name].lower for name in layer.inputs)
    upper = max(found[name].upper for name in layer.inputs)
    if isinstance(layer, Pad):
        lower, upper = min(lower, layer.value), max(upper, layer.value)
    return Interval(lower, upper)


def _whole(network: IntegerNetwork, name: str) -> Interval:
    element_type = network.tensor(name).dtype
    return Interval(element_type.min, element_type.max)
