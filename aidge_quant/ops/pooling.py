"""Pools over windows and over whole axes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.ops.base import (
    Gradients,
    Inputs,
    Operator,
    Outputs,
    Shape,
    Trait,
    operator,
    present,
    require_rank,
)
from aidge_quant.ops.windows import missing_at_end, output_sizes, pad_spatial, taps


def round_half_up_quotient(total: np.ndarray, count: np.ndarray | int) -> np.ndarray:
    """Return floor((2 * total + count) / (2 * count)) of integers: the mean, rounded half up."""
    return np.floor_divide(2 * total.astype(np.int64) + count, 2 * np.asarray(count, np.int64))


@dataclass(frozen=True, eq=False)
class WindowPool(Operator):
    """Base of MaxPool and AveragePool: data (batch, channels, *spatial).

    Attributes
    ----------
    window, stride, dilation : tuple of int, one a spatial axis
    padding : tuple of int, all begins, then all ends
    ceil : bool
        Round the output size up.
    """

    window: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    ceil: bool = False

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return (batch, channels, *spatial)."""
        data = require_rank(shapes[0], (len(self.window) + 2,), "data")
        return ((*data[:2], *self._outputs(data)),)

    def _outputs(self, data: Shape) -> tuple[int, ...]:
        return output_sizes(
            data[2:], self.window, self.stride, self.dilation, self.padding, ceil=self.ceil
        )

    def _reduce(self, x: np.ndarray, function: np.ufunc, value: float, beyond: float) -> np.ndarray:
        """Combine what every window sees; ``value`` in the padding, ``beyond`` after its end."""
        outputs = self._outputs(x.shape)
        arguments = (self.window, self.stride, self.dilation)
        extra = missing_at_end(x.shape[2:], *arguments, self.padding, outputs)
        padded = pad_spatial(x, self.padding, value)
        padded = pad_spatial(padded, (0,) * len(self.padding), beyond, extra)
        views = taps(padded, *arguments, outputs)
        result = next(views)[1].copy()
        for _, seen in views:
            function(result, seen, out=result)
        return result

    def _spread(self, gradient: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return, for every value of x, the sum of the gradients of the windows that see it."""
        padded, inner = self._room(x, 0, gradient.dtype)
        for _, target in taps(padded, self.window, self.stride, self.dilation, gradient.shape[2:]):
            target += gradient
        return padded[inner]

    def _room(
        self, x: np.ndarray, value: float, kind: np.dtype
    ) -> tuple[np.ndarray, tuple[slice, ...]]:
        """Return an array as large as x padded, and where x lies in it."""
        rank, outputs = x.ndim - 2, self._outputs(x.shape)
        arguments = (self.window, self.stride, self.dilation)
        extra = missing_at_end(x.shape[2:], *arguments, self.padding, outputs)
        begins, ends = self.padding[:rank], self.padding[rank:]
        sizes = [n + b + e + m for n, b, e, m in zip(x.shape[2:], begins, ends, extra, strict=True)]
        inner = [slice(b, b + n) for b, n in zip(begins, x.shape[2:], strict=True)]
        return np.full((*x.shape[:2], *sizes), value, kind), (slice(None), slice(None), *inner)


@operator
@dataclass(frozen=True, eq=False)
class MaxPool(WindowPool):
    """Largest value of each window; padding does not count."""

    traits: ClassVar[frozenset[str]] = frozenset(
        {Trait.MOVES, Trait.HOMOGENEOUS, Trait.KEEPS_CHANNELS}
    )
    onnx: ClassVar[tuple[str, ...] | None] = ("MaxPool",)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the maxima in the type of x."""
        (x,) = present(arrays, 1)
        least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
        return self._reduce(x, np.maximum, least, least)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient of each window at its first largest value."""
        (x,) = present(inputs, 1)
        values, inner = self._room(x, -np.inf, x.dtype)
        values[inner] = x
        result = np.zeros(values.shape, gradient.dtype)
        arguments = (self.window, self.stride, self.dilation, gradient.shape[2:])
        waiting = np.ones(gradient.shape, bool)
        for (_, seen), (_, target) in zip(
            taps(values, *arguments), taps(result, *arguments), strict=True
        ):
            found = waiting & (seen == outputs[0])
            target += gradient * found
            waiting &= ~found
        return (result[inner],)


@operator
@dataclass(frozen=True, eq=False)
class AveragePool(WindowPool):
    """Mean of each window; integers are rounded half up.

    Attributes
    ----------
    count_include_pad : bool
        Whether padding counts as zeros; the part of a ceil-mode window beyond it never counts.
    """

    count_include_pad: bool = False

    traits: ClassVar[frozenset[str]] = frozenset(
        {Trait.SUMS, Trait.HOMOGENEOUS, Trait.KEEPS_CHANNELS}
    )
    onnx: ClassVar[tuple[str, ...] | None] = ("AveragePool",)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the means in the type of x."""
        (x,) = present(arrays, 1)
        count = self._count(x)
        if x.dtype.kind in "iu":
            total = self._reduce(x.astype(np.int64), np.add, 0, 0)
            return round_half_up_quotient(total, count).astype(x.dtype)
        total = self._reduce(x, np.add, 0, 0)
        return (total / count.astype(x.dtype)).astype(x.dtype, copy=False)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient over the number of values, summed over the windows."""
        (x,) = present(inputs, 1)
        return (self._spread(gradient / self._count(x).astype(gradient.dtype), x),)

    def _count(self, x: np.ndarray) -> np.ndarray:
        """Return how many values each window averages, int64 (1, 1, *outputs)."""
        ones = np.ones((1, 1, *x.shape[2:]), np.int64)
        return self._reduce(ones, np.add, int(self.count_include_pad), 0)


@operator
@dataclass(frozen=True, eq=False)
class SumPool(WindowPool):
    """Sum of each window; padding counts as zeros.

    An average whose 1 / N is part of a scale: the quantizer behind it divides.
    """

    traits: ClassVar[frozenset[str]] = frozenset({Trait.HOMOGENEOUS, Trait.KEEPS_CHANNELS})
    onnx: ClassVar[tuple[str, ...] | None] = None
    onnx_reason: ClassVar[str] = "made by the recipe where an average precedes a quantizer"

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return int32 for integers, else the type of the data."""
        (found,) = present(dtypes, 1)
        return (dtype.int32 if found.is_integer else found,)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the sums: int32 of integers, else the type of x."""
        (x,) = present(arrays, 1)
        return self._reduce(x.astype(np.int32) if x.dtype.kind in "iu" else x, np.add, 0, 0)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient, summed over the windows."""
        (x,) = present(inputs, 1)
        return (self._spread(gradient, x),)


@operator
@dataclass(frozen=True, eq=False)
class GlobalAveragePool(Operator):
    """Mean over all spatial axes, which stay with size 1; integers are rounded half up."""

    traits: ClassVar[frozenset[str]] = frozenset(
        {Trait.SUMS, Trait.HOMOGENEOUS, Trait.KEEPS_CHANNELS}
    )
    onnx: ClassVar[tuple[str, ...] | None] = ("GlobalAveragePool",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return (batch, channels, 1, ...)."""
        data = require_rank(shapes[0], (3, 4, 5), "data")
        return ((*data[:2], *(1,) * (len(data) - 2)),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the means in the type of x."""
        (x,) = present(arrays, 1)
        axes = tuple(range(2, x.ndim))
        if x.dtype.kind in "iu":
            total = x.sum(axis=axes, keepdims=True, dtype=np.int64)
            return round_half_up_quotient(total, x[0, 0].size).astype(x.dtype)
        return x.mean(axis=axes, keepdims=True, dtype=x.dtype)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient over the number of positions, for each of them."""
        (x,) = present(inputs, 1)
        return (np.broadcast_to(gradient / gradient.dtype.type(x[0, 0].size), x.shape),)


def as_sum(operator: Operator, sizes: tuple[int, ...]) -> SumPool | None:
    """Return the sum that stands for an average whose windows all have the same count, or None.

    Parameters
    ----------
    sizes : tuple of int
        Spatial sizes of the data.
    """
    rank = len(sizes)
    if isinstance(operator, GlobalAveragePool):
        return SumPool(tuple(sizes), (1,) * rank, (1,) * rank, (0,) * (2 * rank))
    if not isinstance(operator, AveragePool):
        return None
    whole = operator.count_include_pad or not any(operator.padding)
    if operator.ceil or not whole or any(step != 1 for step in operator.dilation):
        return None
    return SumPool(operator.window, operator.stride, operator.dilation, operator.padding)


@operator
@dataclass(frozen=True, eq=False)
class GlobalMaxPool(Operator):
    """Largest value over all spatial axes, which stay with size 1."""

    traits: ClassVar[frozenset[str]] = frozenset(
        {Trait.MOVES, Trait.HOMOGENEOUS, Trait.KEEPS_CHANNELS}
    )
    onnx: ClassVar[tuple[str, ...] | None] = ("GlobalMaxPool",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return (batch, channels, 1, ...)."""
        data = require_rank(shapes[0], (3, 4, 5), "data")
        return ((*data[:2], *(1,) * (len(data) - 2)),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Return the maxima in the type of x."""
        (x,) = present(arrays, 1)
        return x.max(axis=tuple(range(2, x.ndim)), keepdims=True)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradient at the first largest value of each channel."""
        (x,) = present(inputs, 1)
        flat = x.reshape(*x.shape[:2], -1)
        result = np.zeros(flat.shape, gradient.dtype)
        first = flat.argmax(axis=2)[..., None]
        np.put_along_axis(result, first, gradient.reshape(*x.shape[:2], 1), axis=2)
        return (result.reshape(x.shape),)
