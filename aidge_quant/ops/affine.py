"""Operators that weight and sum: convolutions and matrix products."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError, ShapeError
from aidge_quant.ops.base import Operator, Shape, Trait, operator, require_rank
from aidge_quant.ops.windows import output_sizes, pad_spatial, sliding


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
        data = dtypes[0]
        if data is None:
            raise GraphError(f"{self.type}: its data input is missing")
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
        x, weight, bias = arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None
        assert x is not None and weight is not None
        outputs, window = self._outputs(x.shape, weight.shape), weight.shape[2:]
        padded = pad_spatial(exact(x), self.padding, 0)
        windows = sliding(padded, window, self.stride, self.dilation, outputs)
        kernel = exact(weight)
        batch, positions = x.shape[0], int(np.prod(outputs))
        per_group_in, per_group_out = weight.shape[1], weight.shape[0] // self.groups
        rank = len(outputs)
        result = np.empty((batch, weight.shape[0], positions), padded.dtype)
        if per_group_in == 1 and per_group_out == 1:
            letters = "hw"[:rank]
            taps = "jk"[:rank]
            formula = f"bc{letters}{taps},c{taps}->bc{letters}"
            result[:] = np.einsum(formula, windows, kernel[:, 0]).reshape(result.shape)
        else:
            # (batch, in, *outputs, *window) -> (batch, in, *window, *outputs)
            order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
            windows = windows.transpose(order)
            for group in range(self.groups):
                part = windows[:, group * per_group_in : (group + 1) * per_group_in]
                rows = kernel[group * per_group_out : (group + 1) * per_group_out]
                flat = rows.reshape(per_group_out, -1)
                for sample in range(batch):  # one image at a time bounds the memory
                    columns = part[sample].reshape(flat.shape[1], positions)
                    out = slice(group * per_group_out, (group + 1) * per_group_out)
                    np.matmul(flat, columns, out=result[sample, out])
        if bias is not None:
            result += exact(bias)[:, None]
        return as_accumulator(result.reshape(batch, weight.shape[0], *outputs), x)

    def _outputs(self, data: Shape, weight: Shape) -> tuple[int, ...]:
        return output_sizes(data[2:], weight[2:], self.stride, self.dilation, self.padding)


@operator
@dataclass(frozen=True, eq=False)
class FC(AffineOperator):
    """Fully connected: y = x @ weight.T + bias over the last axis.

    Inputs: data (..., in), weight (out, in), bias (out,). ONNX Gemm and MatMul with a constant second
    operand read as this.
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
        x, weight, bias = arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None
        assert x is not None and weight is not None
        result = exact(x) @ exact(weight).T
        if bias is not None:
            result = result + exact(bias)
        return as_accumulator(result, x)
