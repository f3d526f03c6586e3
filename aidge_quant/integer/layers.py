"""Layers of an integer network: what each computes, in integers, exactly.

The arithmetic stated in these docstrings is the contract (version 1). It is implemented three times
on purpose: by the Cython kernels, the C templates, and ``tests/oracle.py`` in Python integers.

Names in the formulas: ``x`` stored input, ``y`` stored output, ``acc`` int32 accumulator. Division
by powers of two is the arithmetic right shift ``>>`` (towards minus infinity).

Layers with arithmetic read int8 or int16, all inputs of one type, and write int8, int16 or int32;
the others write the type that they read.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.integer.requantization import Requantization


@dataclass(frozen=True, eq=False)
class Layer:
    """Base of all layers.

    Attributes
    ----------
    name : str
        Unique in the network.
    inputs : tuple of str
        Names of the tensors read.
    output : str
        Name of the tensor written.
    source : tuple of str
        Names of the graph nodes that this layer stands for, in order.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    source: tuple[str, ...]

    #: Name of the kernel in ``templates/kernels`` and in ``kernels``; there with the suffix _s8 or
    #: _s16 of the data it reads, unless it only moves or compares values of any type.
    kernel: ClassVar[str] = ""

    @property
    def kind(self) -> str:
        """Name of the class."""
        return type(self).__name__

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"


@dataclass(frozen=True, eq=False)
class Affine(Layer):
    """Base of the layers with weights.

    Attributes
    ----------
    weight : int8 or int16 array
        Symmetric: [-127, 127], [-7, 7] for int4, [-32767, 32767].
    weight_dtype : dtype
        int4, int8 or int16.
    bias : int32 array (out channels,)
        In accumulator units; holds the rounding constants, the output's zero point (see
        ``Requantization.offset``), ``-zero_point_in * sum(weight)`` and ``-residual *
        zero_point_residual``.
    requantization : Requantization
    residual : int32 array (1,) or (out channels,), or None
        A second input r of the output's shape, in the type of the first, is added to the
        accumulator: ``acc + residual[o] * r``, one factor for all channels or one each; the
        residual Add of a network without a rounding of its own. None without.
    """

    weight: np.ndarray
    weight_dtype: dtype
    bias: np.ndarray
    requantization: Requantization
    residual: np.ndarray | None = field(default=None, kw_only=True)


@dataclass(frozen=True, eq=False)
class Convolution(Affine):
    """2-D convolution, grouped and dilated as asked; 1-D signals have height 1.

    acc[y, x, o] = bias[o] + sum(weight[o, ky, kx, i] * input[y * sy + ky * dy - top,
    x * sx + kx * dx - left, g * in / groups + i]), g the group of o; positions outside read
    ``pad_value``.

    Attributes
    ----------
    weight : array (out, kernel height, kernel width, in / groups)
    stride, dilation : (int, int), height then width
    padding : (int, int, int, int), top, left, bottom, right
    groups : int
    pad_value : int
        Zero point of the input.
    """

    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    groups: int
    pad_value: int

    kernel: ClassVar[str] = "conv"


@dataclass(frozen=True, eq=False)
class DepthwiseConvolution(Affine):
    """Depthwise convolution: one filter a channel, as many outputs as inputs.

    acc[y, x, c] = bias[c] + sum(weight[ky, kx, c] * input[y * sy + ky * dy - top,
    x * sx + kx * dx - left, c]); positions outside read ``pad_value``.

    Attributes
    ----------
    weight : array (kernel height, kernel width, channels)
    """

    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    pad_value: int

    kernel: ClassVar[str] = "depthwise_conv"


@dataclass(frozen=True, eq=False)
class TransposedConvolution(Affine):
    """2-D transposed convolution.

    acc[y, x, o] = bias[o] + sum(weight[o, ky, kx, i] * (input[iy, ix, g * in / groups + i] -
    input_zero_point)) over the taps with iy * sy = y + top - ky * dy and ix * sx = x + left -
    kx * dx for an input position (iy, ix). The zero point is subtracted here and is not part of the
    bias, because the number of taps differs between outputs.

    The output is (height - 1) * sy + dy * (kernel height - 1) + 1 - top - bottom high; the width
    likewise.

    Attributes
    ----------
    weight : array (out, kernel height, kernel width, in / groups)
    padding : (int, int, int, int), top, left, bottom, right of the output that is cut off; negative
        where the output is larger (output padding)
    """

    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    groups: int
    input_zero_point: int

    kernel: ClassVar[str] = "conv_transpose"


@dataclass(frozen=True, eq=False)
class FullyConnected(Affine):
    """acc[r, o] = bias[o] + sum(weight[o, i] * input[r, i]).

    The input is read as rows of ``in`` values, whatever its shape; the last axis of the output is
    ``out``.

    Attributes
    ----------
    weight : array (out, in)
    """

    kernel: ClassVar[str] = "fc"


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """acc = multipliers[0] * a + multipliers[1] * b + bias, element by element.

    Attributes
    ----------
    multipliers : (int, int)
        Each -32767 to 32767, not 0; negative for a subtraction.
    bias : int
        int32; zero points and rounding constant.
    requantization : Requantization
        Per tensor.
    """

    multipliers: tuple[int, int]
    bias: int
    requantization: Requantization

    kernel: ClassVar[str] = "add"


@dataclass(frozen=True, eq=False)
class Multiply(Layer):
    """acc = multiplier * (a - zero_points[0]) * (b - zero_points[1]) + bias.

    ``b`` has the shape of ``a``, or is one value a channel: (1, 1, channels) or (channels,). The
    zero points are those of the inputs; the multiplier is 1 to 32767.
    """

    multiplier: int
    zero_points: tuple[int, int]
    bias: int
    requantization: Requantization

    kernel: ClassVar[str] = "mul"


@dataclass(frozen=True, eq=False)
class Rescale(Layer):
    """acc = multiplier * x + bias, element by element; multiplier 1 to 32767."""

    multiplier: int
    bias: int
    requantization: Requantization

    kernel: ClassVar[str] = "rescale"


@dataclass(frozen=True, eq=False)
class AveragePool(Layer):
    """Average over a window.

    With a requantization (1 / N is part of the output's scale): acc = bias + sum(x) over the
    window, positions outside reading ``zero_point``.

    Without: ``t = floor((2 * sum(x - zero_point) + N) / (2 * N))`` (round half up),
    ``y = clip(t + zero_point, lower, upper)``; the sum is over the positions inside, N counts
    these, or the whole window if ``count_include_pad``. The output then has the input's type.

    Attributes
    ----------
    window, stride : (int, int)
    padding : (int, int, int, int), top, left, bottom, right; no window is wholly outside
    requantization : Requantization or None
    bias : int
        0 without a requantization.
    zero_point : int
        Of the input and, without requantization, of the output.
    lower, upper : int
        Used without requantization only.
    """

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    count_include_pad: bool
    zero_point: int
    bias: int
    lower: int
    upper: int
    requantization: Requantization | None

    kernel: ClassVar[str] = "avg_pool"


@dataclass(frozen=True, eq=False)
class MaxPool(Layer):
    """Largest value of the window; positions outside do not count. No window is wholly outside."""

    window: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]

    kernel: ClassVar[str] = "max_pool"


@dataclass(frozen=True, eq=False)
class Clamp(Layer):
    """y = clip(x, lower, upper)."""

    lower: int
    upper: int

    kernel: ClassVar[str] = "clamp"


@dataclass(frozen=True, eq=False)
class Lookup(Layer):
    """y = table[c, x + 128] for int8 x; one row for all channels, or one row a channel.

    Attributes
    ----------
    table : int8 array (1, 256) or (channels, 256)
    """

    table: np.ndarray

    kernel: ClassVar[str] = "lookup"


@dataclass(frozen=True, eq=False)
class Reshape(Layer):
    """The same values in the same stored order under another shape."""

    kernel: ClassVar[str] = "reshape"


@dataclass(frozen=True, eq=False)
class Transpose(Layer):
    """Stored axes in another order: output axis j is input axis ``permutation[j]``."""

    permutation: tuple[int, ...]

    kernel: ClassVar[str] = "transpose"


@dataclass(frozen=True, eq=False)
class Slice(Layer):
    """output[i, j, ...] = input[starts[0] + i * steps[0], starts[1] + j * steps[1], ...].

    The output's shape says how many; one start and one step (not 0) for every stored axis.
    """

    starts: tuple[int, ...]
    steps: tuple[int, ...]

    kernel: ClassVar[str] = "slice"


@dataclass(frozen=True, eq=False)
class Pad(Layer):
    """The input with ``before`` and ``after`` positions of ``value`` added on each stored axis."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: int

    kernel: ClassVar[str] = "pad"


@dataclass(frozen=True, eq=False)
class Concat(Layer):
    """The inputs one after the other along stored axis ``axis``; two inputs or more."""

    axis: int

    kernel: ClassVar[str] = "concat"


@dataclass(frozen=True, eq=False)
class Resize(Layer):
    """Nearest neighbour: output[y, x] = input[rows[y], columns[x]] on (height, width, channels).

    Attributes
    ----------
    rows : int32 array (output height,)
    columns : int32 array (output width,)
    """

    rows: np.ndarray
    columns: np.ndarray

    kernel: ClassVar[str] = "resize"


@dataclass(frozen=True, eq=False)
class ArgMax(Layer):
    """Index, int32, of the first largest value of the last stored axis, which becomes size 1."""

    kernel: ClassVar[str] = "argmax"


LAYERS: tuple[type[Layer], ...] = (
    Convolution,
    DepthwiseConvolution,
    TransposedConvolution,
    FullyConnected,
    Add,
    Multiply,
    Rescale,
    AveragePool,
    MaxPool,
    Clamp,
    Lookup,
    Reshape,
    Transpose,
    Slice,
    Pad,
    Concat,
    Resize,
    ArgMax,
)
