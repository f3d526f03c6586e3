"""Operators that weight and sum: convolutions and matrix products."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError, ShapeError
from aidge_quant.ops.base import (
    Gradients,
    Inputs,
    Operator,
    Outputs,
    Shape,
    Trait,
    operator,
    optional,
    present,
    require_rank,
)
from aidge_quant.ops.unfolding import data_gradient, sum_windows, weight_gradient
from aidge_quant.ops.windows import output_sizes, pad_spatial, taps


def exact(array: np.ndarray) -> np.ndarray:
    """Return integers as float64, in which sums of products below 2**53 are exact; floats as is."""
    return array.astype(np.float64) if array.dtype.kind in "iu" else array


def as_accumulator(result: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return ``result`` as int32 where the first operand was an integer array.

    Raises
    ------
    GraphError
        If a value leaves int32.
    """
    if first.dtype.kind not in "iu":
        return result
    if result.size and np.abs(result).max() >= 2**31:
        raise GraphError("an accumulator leaves int32")
    return result.astype(np.int32)


@dataclass(frozen=True, eq=False)
class AffineOperator(Operator):
    """Base of the operators with a weight and, optionally, a bias."""

    roles: ClassVar[tuple[str, ...]] = ("data", "weight", "bias")
    optional: ClassVar[int] = 1
    traits: ClassVar[frozenset[str]] = frozenset({Trait.AFFINE})

    #: Axis of the weight that counts the outputs.
    output_axis: ClassVar[int] = 0

    def infer_dtype(self, *dtypes: dtype | None) -> tuple[dtype, ...]:
        """Return int32 for integer data, else the type of the data."""
        (data,) = present(dtypes, 1)
        return (dtype.int32 if data.is_integer else data,)


@operator
@dataclass(frozen=True, eq=False)
class Conv(AffineOperator):
    """Convolution over one or two spatial axes.

    Inputs: data (batch, in, *spatial), weight (out, in / groups, *window), bias (out,).

    Attributes
    ----------
    stride, dilation : tuple of int, one a spatial axis
    padding : tuple of int, all begins, then all ends
    groups : int
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int = 1

    onnx: ClassVar[tuple[str, ...] | None] = ("Conv",)

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return (batch, out, *spatial)."""
        data = require_rank(shapes[0], (3, 4), "data")
        weight = require_rank(shapes[1], (len(data),), "weight")
        if data[1] != weight[1] * self.groups or weight[0] % self.groups:
            raise ShapeError(
                f"weight has shape {weight} and {self.groups} groups, expected (out, in / groups, "
                f"*window) for {data[1]} input channels"
            )
        return ((data[0], weight[0], *self._outputs(data, weight)),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Convolve; integers give the exact int32 accumulator."""
        (x, weight), bias = present(arrays, 2), optional(arrays, 2)
        (shape,) = self.infer_shapes(x.shape, weight.shape)
        padded, kernel = pad_spatial(exact(x), self.padding, 0), exact(weight)
        single = weight.shape[1] == 1 and self.groups > 1
        if single:
            result = self._each_channel(padded, kernel, shape)
        else:
            arguments = (self.stride, self.dilation, shape[2:], self.groups)
            result = sum_windows(padded, kernel, *arguments)
        if bias is not None:
            result += exact(bias).reshape(-1, *(1,) * (x.ndim - 2))
        return as_accumulator(result, x)

    def backward(
        self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs, *, data: bool = True
    ) -> Gradients:
        """Return the gradients of data (None unless wanted), weight and bias."""
        (x, weight), bias = present(inputs, 2), optional(inputs, 2)
        geometry = (self.stride, self.dilation, self.padding)
        found = (
            data_gradient(gradient, weight, x.shape, geometry, self.groups) if data else None,
            weight_gradient(x, gradient, weight.shape, geometry, self.groups),
        )
        return found if bias is None else (*found, bias_gradient(gradient, 1))

    def _each_channel(self, padded: np.ndarray, kernel: np.ndarray, shape: Shape) -> np.ndarray:
        """Convolve groups of one input channel: one multiplication of arrays a tap."""
        outputs, multiple = shape[2:], shape[1] // self.groups
        result = np.zeros((shape[0], self.groups, multiple, *outputs), padded.dtype)
        ones = (1,) * len(outputs)
        arguments = (kernel.shape[2:], self.stride, self.dilation, outputs)
        filters = np.moveaxis(kernel[:, 0], 0, -1)  # (out, *window) -> (*window, out)
        for tap, seen in taps(padded, *arguments):
            factor = filters[tap].reshape(self.groups, multiple, *ones)
            result += seen[:, :, None] * factor
        return result.reshape(shape)

    def _outputs(self, data: Shape, weight: Shape) -> tuple[int, ...]:
        return output_sizes(data[2:], weight[2:], self.stride, self.dilation, self.padding)


@operator
@dataclass(frozen=True, eq=False)
class FC(AffineOperator):
    """Fully connected: y = x @ weight.T + bias over the last axis.

    Inputs: data (..., in), weight (out, in), bias (out,). ONNX Gemm and MatMul with a constant
    second operand read as this.
    """

    onnx: ClassVar[tuple[str, ...] | None] = ("Gemm", "MatMul")

    def infer_shapes(self, *shapes: Shape | None) -> tuple[Shape, ...]:
        """Return (..., out)."""
        data, weight = shapes[0], require_rank(shapes[1], (2,), "weight")
        if not data or data[-1] != weight[1]:
            raise ShapeError(f"data has shape {data}, expected a last axis of {weight[1]}")
        return ((*data[:-1], weight[0]),)

    def forward(self, *arrays: np.ndarray | None) -> np.ndarray:
        """Multiply; integers give the exact int32 accumulator."""
        (x, weight), bias = present(arrays, 2), optional(arrays, 2)
        result = exact(x) @ exact(weight).T
        if bias is not None:
            result = result + exact(bias)
        return as_accumulator(result, x)

    def backward(self, gradient: np.ndarray, inputs: Inputs, outputs: Outputs) -> Gradients:
        """Return the gradients of data, weight and bias."""
        (x, weight), bias = present(inputs, 2), optional(inputs, 2)
        rows = gradient.reshape(-1, gradient.shape[-1])
        found = (gradient @ weight, rows.T @ x.reshape(-1, x.shape[-1]))
        return found if bias is None else (*found, bias_gradient(gradient, -1))


def bias_gradient(gradient: np.ndarray, axis: int) -> np.ndarray:
    """Return the sum over all axes but that of the outputs."""
    return np.moveaxis(gradient, axis, 0).reshape(gradient.shape[axis], -1).sum(axis=1)
