"""Batch normalization."""

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

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradients of data, scale and bias; the stored statistics have none."""
        x, scale, _, mean, variance = present(inputs, 5)
        deviation = np.sqrt(variance + self.epsilon).astype(x.dtype)
        shape, axes = _along(x)
        normalized = (x - mean.reshape(shape)) / deviation.reshape(shape)
        data = gradient * (scale / deviation).reshape(shape)
        return data, (gradient * normalized).sum(axis=axes), gradient.sum(axis=axes), None, None

    def batch_forward(
        self, *arrays: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Normalize with the statistics of the batch; return them too, (channels,) each.

        The variance is that over n, with which the batch is normalized.
        """
        x, scale, bias = present(arrays, 3)
        axes = _along(x)[1]
        mean = x.mean(axis=axes, dtype=np.float64)
        variance = x.var(axis=axes, dtype=np.float64)
        mean, variance = mean.astype(x.dtype), variance.astype(x.dtype)
        return self.forward(x, scale, bias, mean, variance), mean, variance

    def batch_backward(
        self, gradient: np.ndarray, inputs: Inputs, mean: np.ndarray, variance: np.ndarray
    ) -> Gradients:
        """Return the gradients through ``batch_forward``, its statistics included."""
        x, scale, bias = present(inputs, 3)
        data, of_scale, of_bias, *_ = self.backward(gradient, (x, scale, bias, mean, variance), ())
        assert data is not None
        assert of_scale is not None
        assert of_bias is not None
        shape, _ = _along(x)
        deviation = np.sqrt(variance + self.epsilon).astype(x.dtype)
        normalized = (x - mean.reshape(shape)) / deviation.reshape(shape)
        count = x.dtype.type(x.size / x.shape[1])
        factor = (scale / deviation).reshape(shape) / count
        data = data - factor * (of_bias.reshape(shape) + normalized * of_scale.reshape(shape))
        return data, of_scale, of_bias, None, None


def _along(x: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape in which channels broadcast to x, and all axes but that of the channels."""
    return (1, -1) + (1,) * (x.ndim - 2), (0, *range(2, x.ndim))
