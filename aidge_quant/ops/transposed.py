"""Transposed convolution."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.errors import ShapeError
from aidge_quant.ops.affine import AffineOperator, Conv, as_accumulator, bias_gradient, exact
from aidge_quant.ops.base import (
    Gradients,
    Inputs,
    Outputs,
    Shape,
    operator,
    optional,
    present,
    require_rank,
)


@operator
@dataclass(frozen=True, eq=False)
class ConvTranspose(AffineOperator):
    """Transposed convolution over one or two spatial axes: each input value adds a scaled window.

    Inputs: data (batch, in, *spatial), weight (in, out / groups, *window), bias (out,). Group g
    reads the rows of the weight from g * in / groups on and makes the outputs from
    g * out / groups on.

    Attributes
    ----------
    stride, dilation : tuple of int, one a spatial axis
    padding : tuple of int, all begins, then all ends
        How much of the result is cut off.
    output_padding : tuple of int, one a spatial axis
        Positions added at the end of the result.
    groups : int
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int = 1

    output_axis: ClassVar[int] = 1
    onnx: ClassVar[tuple[str, ...] | None] = ("ConvTranspose",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return (batch, out, *spatial)."""
        data = require_rank(shapes[0], (3, 4), "data")
        weight = require_rank(shapes[1], (len(data),), "weight")
        if data[1] != weight[0] or weight[0] % self.groups:
            raise ShapeError(
                f"weight has shape {weight} and {self.groups} groups, expected "
                f"(in, out / groups, *window) for {data[1]} input channels"
            )
        full = self._full(data, weight)
        rank = len(full)
        outputs = tuple(full[i] - self.padding[i] - self.padding[rank + i] for i in range(rank))
        if min(outputs) < 1:
            raise ShapeError(f"pads {self.padding} leave nothing of {full} positions")
        return ((data[0], weight[1] * self.groups, *outputs),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Add up the windows; integers give the exact int32 accumulator."""
        (x, weight), bias = present(arrays, 2), optional(arrays, 2)
        (shape,) = self.infer_shapes(x.shape, weight.shape)
        values, kernel = exact(x), exact(weight)
        full, rank = self._full(x.shape, weight.shape), x.ndim - 2
        batch, groups = x.shape[0], self.groups
        per_in, per_out = weight.shape[0] // groups, weight.shape[1]
        result = np.zeros((batch, groups, per_out, *full), values.dtype)
        columns = values.reshape(batch, groups, per_in, -1)
        for tap in np.ndindex(*weight.shape[2:]):
            # (groups, out, in) @ (batch, groups, in, positions)
            matrix = (
                kernel[(slice(None), slice(None), *tap)]
                .reshape(groups, per_in, per_out)
                .transpose(0, 2, 1)
            )
            part = np.matmul(matrix, columns).reshape(batch, groups, per_out, *x.shape[2:])
            place = tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, self.dilation, x.shape[2:], self.stride, strict=True)
            )
            result[(slice(None),) * 3 + place] += part
        cut = tuple(slice(self.padding[i], full[i] - self.padding[rank + i]) for i in range(rank))
        result = result[(slice(None),) * 3 + cut].reshape(shape)
        if bias is not None:
            result = result + exact(bias).reshape(-1, *(1,) * rank)
        return as_accumulator(result, x)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradients of data, weight and bias: those of the convolution it undoes."""
        (x, weight), bias = present(inputs, 2), optional(inputs, 2)
        twin = Conv(self.stride, self.dilation, self.padding, self.groups)
        # Conv reads the weight as (out = in of this, in / groups = out / groups of this, *window).
        found = (twin.forward(gradient, weight), twin.backward(x, (gradient, weight), ())[1])
        return found if bias is None else (*found, bias_gradient(gradient, 1))

    def _full(self, data: Shape, weight: Shape) -> tuple[int, ...]:
        """Return the spatial sizes before the pads are cut off."""
        axes = zip(
            data[2:], weight[2:], self.stride, self.dilation, self.output_padding, strict=True
        )
        return tuple(s * (n - 1) + (w - 1) * d + 1 + extra for n, w, s, d, extra in axes)
