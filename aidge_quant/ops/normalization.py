"""Batch normalization."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.ops.base import Operator, Shape, Trait, operator, present


@operator
@dataclass(frozen=True, eq=False)
class BatchNorm(Operator):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias along axis 1, with stored statistics.

    Inputs: data (batch, channels, ...), then scale, bias, mean and variance (channels,).
    """

    epsilon: float = 1e-5

    roles: ClassVar[tuple[str, ...]] = ("data", "constant", "constant", "constant", "constant")
    traits: ClassVar[frozenset[str]] = frozenset({Trait.KEEPS_CHANNELS})
    onnx: ClassVar[tuple[str, ...] | None] = ("BatchNormalization",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return the shape of the data."""
        return present(shapes, 1)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the normalized float values."""
        x, scale, bias, mean, variance = present(arrays, 5)
        factor = scale / np.sqrt(variance + np.float32(self.epsilon))
        shape = (1, -1) + (1,) * (x.ndim - 2)
        term = bias - mean * factor
        return (x * factor.reshape(shape) + term.reshape(shape)).astype(x.dtype, copy=False)
