"""Integer networks whose layers all fit the kernels for pairs of 16 bits, of many shapes.

Each is a chain: a convolution, a depthwise convolution, 1 x 1 convolutions, a residual, an Add, a
Rescale, a fully connected layer. Sizes, strides, paddings, zero points, bounds and shifts are
drawn.
"""

import numpy as np
from small_networks import Builder, window_shape

from aidge_quant.dtypes import dtype
from aidge_quant.integer import layers as il
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import HALF_UP, Requantization


class FastBuilder(Builder):
    """Draws layers that end in one right shift."""

    def between(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def step(self, taps: int, channels: int = 1, capped: bool = True) -> Requantization:
        """Return a shift that leaves most of the range of int8 to sums of ``taps`` products."""
        middle = max(1, round(np.log2(np.sqrt(taps) * 60)))
        by_channel = channels > 1 and self.between(0, 2) == 0
        shifts = self.random.integers(middle - 1, middle + 2, channels if by_channel else 1)
        lower, upper = (-128 if self.between(0, 2) else 0), 127
        if self.between(0, 2) == 0:
            lower, upper = self.between(-128, 0), self.between(1, 127)
            if capped and channels > 1 and self.between(0, 1) == 0:
                upper = self.random.integers(1, 128, channels).astype(np.int32)
        return Requantization(shifts.astype(np.int8), None, 0, lower, upper, HALF_UP)

    def weights(self, shape: tuple[int, ...], channels: int, taps: int) -> dict[str, object]:
        return self.affine(shape, channels, requantization=self.step(taps, channels))

    def zero(self) -> int:
        return int(self.random.choice([-128, 0, self.between(-128, 127)]))

    def convolution(self, x: str, out: int, kernel: tuple[int, int], residual: str = "") -> str:
        tensor = self.tensors[[t.name for t in self.tensors].index(x)]
        height, width, channels = tensor.shape
        stride = (1, 1) if residual else (self.between(1, 2), self.between(1, 3))
        dilation = (self.between(1, 2), self.between(1, 2) if kernel[1] == 1 else 1)
        padding = tuple(self.between(0, 2) if size > 1 else 0 for size in kernel + kernel)
        size = window_shape((height, width), kernel, stride, dilation, padding)
        if min(size) < 1:
            kernel, stride, padding, size = (1, 1), (1, 1), (0, 0, 0, 0), (height, width)
        fields = self.weights((out, *kernel, channels), out, kernel[0] * kernel[1] * channels)
        if residual:
            count = 1 if self.between(0, 1) else out
            fields["residual"] = self.random.integers(-90, 91, count).astype(np.int32)
        inputs = [x, residual] if residual else [x]
        return self.add(
            il.Convolution, inputs, (*size, out), zero=self.zero(), stride=stride,
            dilation=dilation, padding=padding, groups=1, pad_value=tensor.zero_point, **fields,
        )  # fmt: skip

    def depthwise(self, x: str) -> str:
        tensor = self.tensors[[t.name for t in self.tensors].index(x)]
        height, width, channels = tensor.shape
        kernel, stride = (3, 3), (self.between(1, 2),) * 2
        if self.between(0, 2) == 0:
            kernel = (self.between(1, 4), self.between(1, 5))
            stride = (self.between(1, 3), self.between(1, 2))
        padding = tuple(self.between(0, 2) for _ in range(4))
        size = window_shape((height, width), kernel, stride, (1, 1), padding)
        if min(size) < 1:
            kernel, padding = (3, 3), (1, 1, 1, 1)
            size = window_shape((height, width), kernel, stride, (1, 1), padding)
        return self.add(
            il.DepthwiseConvolution, [x], (*size, channels), zero=self.zero(),
            stride=stride, dilation=(1, 1), padding=padding, pad_value=tensor.zero_point,
            **self.weights((*kernel, channels), channels, kernel[0] * kernel[1]),
        )  # fmt: skip


def fast_network(seed: int) -> IntegerNetwork:
    b = FastBuilder(seed)
    shape = (b.between(1, 9), b.between(1, 11), b.between(1, 9))
    x = b.input(shape, zero=b.zero())
    kernel = (b.between(1, 4), b.between(1, 3))
    first = b.convolution(x, b.between(1, 10), kernel)
    second = b.depthwise(first)
    height, width, channels = b.tensors[-1].shape
    third = b.convolution(second, channels + b.between(-1, 3) or 1, (1, 1))
    if b.tensors[-1].shape == (height, width, channels):
        third = b.convolution(third, channels, (1, 1), residual=second)
        fields = {"bias": b.between(-50, 50), "requantization": b.step(1)}
        multipliers = (b.between(-99, 99) or 1, b.between(1, 99))
        third = b.add(
            il.Add, [third, second], (height, width, channels), multipliers=multipliers, **fields
        )
    shape = b.tensors[-1].shape
    fields = {"bias": b.between(-50, 50), "requantization": b.step(1)}
    fourth = b.add(il.Rescale, [third], shape, multiplier=b.between(1, 99), **fields)
    inputs, out = int(np.prod(shape)), b.between(1, 9)
    rows, kind = 1, dtype.int8
    if shape[2] > 1 and b.between(0, 1):
        inputs, rows = shape[2], inputs // shape[2]
    fields = b.weights((out, inputs), out, inputs)
    if b.between(0, 2) == 0:
        kind = dtype.int32
        fields["requantization"] = b.requantization(shift=(0, 0), type_=kind)
    y = b.add(il.FullyConnected, [fourth], (rows, out) if rows > 1 else (out,), kind, **fields)
    return b.network(y, name=f"fast{seed}")


def mixed_network(seed: int) -> IntegerNetwork:
    """Return layers with weights of 4 or 8 bits between tensors of 8 or 16 bits."""
    b = FastBuilder(seed)

    def draw(*choices: dtype) -> dtype:
        return choices[b.between(0, len(choices) - 1)]

    def zero(kind: dtype) -> int:
        return b.between(-20, 20) if kind is dtype.int8 else 0

    def fields(shape: tuple[int, ...], out: int, x: dtype, y: dtype) -> dict[str, object]:
        taps, kind = int(np.prod(shape)) // out, draw(dtype.int4, dtype.int4, dtype.int8)
        # What is left above the output's bits of sums of products of uniform values.
        spread = 2.0 ** (x.bits + kind.bits) / 12 * np.sqrt(taps) / 2.0 ** (y.bits - 2)
        if y is dtype.int32:
            step = b.requantization(shift=(0, 0), type_=y)
        else:
            shift = max(1, round(np.log2(spread)))
            channels = out if b.between(0, 1) else 1
            step = b.requantization(channels, shift=(shift, shift + 1), type_=y)
        return b.affine(shape, out, weights=kind, requantization=step)

    types = (dtype.int8, dtype.int16)
    kind = draw(*types)
    height, width, channels = b.between(1, 7), b.between(1, 9), b.between(1, 9)
    x = b.input((height, width, channels), kind, zero=zero(kind))
    kernel, padding = (b.between(1, 3), b.between(1, 3)), (1, 0, 1, 1)
    out, following = b.between(1, 9), draw(*types)
    size = window_shape((height, width), kernel, (1, 1), (1, 1), padding)
    if min(size) < 1:
        kernel, size = (1, 1), window_shape((height, width), (1, 1), (1, 1), (1, 1), padding)
    x = b.add(
        il.Convolution, [x], (*size, out), following, zero=zero(following), stride=(1, 1),
        dilation=(1, 1), padding=padding, groups=1, pad_value=b.tensors[-1].zero_point,
        **fields((out, *kernel, channels), out, kind, following),
    )  # fmt: skip
    kind, following, taps = following, draw(*types), (3, 3) if b.between(0, 2) else (2, 3)
    stride = (b.between(1, 2),) * 2
    size = window_shape(size, taps, stride, (1, 1), (2, 1, 1, 2))
    x = b.add(
        il.DepthwiseConvolution, [x], (*size, out), following, zero=zero(following), stride=stride,
        dilation=(1, 1), padding=(2, 1, 1, 2), pad_value=b.tensors[-1].zero_point,
        **fields((*taps, out), out, kind, following),
    )  # fmt: skip
    kind, channels, following = following, out, draw(*types)
    same = b.between(0, 1) and following is kind
    out = channels if same else b.between(1, 4) * 4
    more = fields((out, 1, 1, channels), out, kind, following)
    if same:
        more["residual"] = b.random.integers(1, 10, 1).astype(np.int32)
    x = b.add(
        il.Convolution, [x, x] if same else [x], (*size, out), following, zero=zero(following),
        stride=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0), groups=1,
        pad_value=b.tensors[-1].zero_point, **more,
    )  # fmt: skip
    kind, last = following, draw(*types, dtype.int32)
    inputs, rows = int(np.prod(size)) * out, 1
    if out > 1 and b.between(0, 1):
        inputs, rows = out, inputs // out
    out = b.between(1, 9)
    shape = (rows, out) if rows > 1 else (out,)
    y = b.add(il.FullyConnected, [x], shape, last, **fields((out, inputs), out, kind, last))
    return b.network(y, name=f"mixed{seed}")


def depthwise_network(seed: int) -> IntegerNetwork:
    """Return 3 x 3 depthwise layers with every kind of bounds and both strides in one file."""
    b = FastBuilder(seed)
    size, channels = (17, 15), 3
    x = b.input((*size, channels))
    for stride, bounds in ((1, (-128, 127)), (1, (0, 127)), (1, (-100, 90)), (2, (-128, 100))):
        padding, strides = (1, 1, 1, 1), (stride, stride)
        size = window_shape(size, (3, 3), strides, (1, 1), padding)
        step = Requantization(np.int8([8]), None, 0, *bounds, HALF_UP)
        fields = b.affine((3, 3, channels), channels, requantization=step)
        x = b.add(
            il.DepthwiseConvolution, [x], (*size, channels), stride=strides, dilation=(1, 1),
            padding=padding, pad_value=0, **fields,
        )  # fmt: skip
    return b.network(x, name=f"depthwise{seed}")


def heavy_network(seed: int) -> IntegerNetwork:
    """Return layers whose sums need more than 24 bits."""
    b = FastBuilder(seed)
    x = b.input((5, 4, 60), zero=-128)
    steps = [Requantization(np.int8([14]), None, 0, -128, 127, HALF_UP) for _ in range(2)]
    fields = b.affine((7, 3, 3, 60), 7, requantization=steps[0])
    fields["weight"] = np.where(fields["weight"] < 30, -127, 127).astype(np.int8)
    y = b.add(
        il.Convolution, [x], (5, 4, 7), stride=(1, 1), dilation=(1, 1), padding=(1, 1, 1, 1),
        groups=1, pad_value=-128, **fields,
    )  # fmt: skip
    fields = b.affine((5, 1200), 5, requantization=steps[1])
    fields["weight"] = np.where(fields["weight"] < 30, -127, 127).astype(np.int8)
    z = b.add(il.FullyConnected, [x], (5,), **fields)
    return b.network(y, z, name=f"heavy{seed}")
