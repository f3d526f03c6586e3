"""Integer networks of more channels than `fast_networks` has, for kernels of whole vectors."""

import numpy as np
from fast_networks import FastBuilder
from small_networks import window_shape

from aidge_quant.dtypes import dtype
from aidge_quant.integer import layers as il
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import HALF_UP, Requantization


class VectorBuilder(FastBuilder):
    """Draws layers that fill vectors, and layers that do not."""

    def depthwise3(self, x: str) -> str:
        """Return 3 x 3 taps: large ones, small ones, or any."""
        tensor = self.tensors[[t.name for t in self.tensors].index(x)]
        height, width, channels = tensor.shape
        stride = (self.between(1, 3), self.between(1, 3)) if self.between(0, 1) else (1, 1)
        padding = (1, 1, 1, 1)
        if self.between(0, 1):
            padding = tuple(self.between(0, 3) for _ in range(4))
        size = window_shape((height, width), (3, 3), stride, (1, 1), padding)
        if min(size) < 1:
            padding = (1, 1, 1, 1)
            size = window_shape((height, width), (3, 3), stride, (1, 1), padding)
        fields = self.weights((3, 3, channels), channels, 9)
        size_of_taps = self.between(0, 2)
        if size_of_taps == 1:
            fields["weight"] = (fields["weight"] // 2).astype(np.int8)
        if size_of_taps == 2:
            fields["weight"] = np.where(fields["weight"] < 0, -127, 127).astype(np.int8)
        return self.add(
            il.DepthwiseConvolution, [x], (*size, channels), zero=self.zero(), stride=stride,
            dilation=(1, 1), padding=padding, pad_value=tensor.zero_point, **fields,
        )  # fmt: skip

    def convolution_same(
        self, x: str, kernel: tuple[int, int], residual: np.ndarray | None = None
    ) -> str:
        """Return a convolution with the shape of its input, which may be the residual too."""
        tensor = self.tensors[[t.name for t in self.tensors].index(x)]
        channels = tensor.shape[2]
        taps = kernel[0] * kernel[1] * channels
        fields = self.weights((channels, *kernel, channels), channels, taps)
        return self.add(
            il.Convolution, [x] if residual is None else [x, x], tensor.shape, stride=(1, 1),
            dilation=(1, 1), padding=(kernel[0] // 2,) * 4, groups=1, pad_value=tensor.zero_point,
            residual=residual, **fields,
        )  # fmt: skip

    def pool(self, x: str, window: tuple[int, int]) -> str:
        """Return a mean, or a sum and a shift."""
        tensor = self.tensors[[t.name for t in self.tensors].index(x)]
        stride = (self.between(1, 2), self.between(1, 2))
        size = window_shape(tensor.shape[:2], window, stride, (1, 1), (0, 0, 0, 0))
        mean = bool(self.between(0, 1))
        step = None if mean else self.step(window[0] * window[1], capped=False)
        return self.add(
            il.AveragePool, [x], (*size, tensor.shape[2]), zero=tensor.zero_point, window=window,
            stride=stride, padding=(0, 0, 0, 0), count_include_pad=False,
            zero_point=tensor.zero_point, bias=0 if mean else self.between(-50, 50),
            lower=self.between(-128, -1), upper=self.between(0, 127), requantization=step,
        )  # fmt: skip

    def to_int16(self, x: str, out: int) -> str:
        """Return a 1 x 1 convolution with an int16 output, sometimes with bounds by channel."""
        tensor = self.tensors[[t.name for t in self.tensors].index(x)]
        channels = tensor.shape[2]
        upper = self.random.integers(1, 9999, out).astype(np.int32) if self.between(0, 1) else 999
        step = Requantization(np.int8([4]), None, 0, -9999, upper, HALF_UP)
        fields = self.affine((out, 1, 1, channels), out, requantization=step)
        return self.add(
            il.Convolution, [x], (*tensor.shape[:2], out), dtype.int16, stride=(1, 1),
            dilation=(1, 1), padding=(0, 0, 0, 0), groups=1, pad_value=tensor.zero_point, **fields,
        )  # fmt: skip


def vector_network(seed: int) -> IntegerNetwork:
    b = VectorBuilder(1000 + seed)
    b_shape = (b.between(3, 12), b.between(3, 9), int(b.random.choice([1, 3, 8, 16, 20])))
    x = b.input(b_shape, zero=b.zero())
    out = int(b.random.choice([8, 15, 16, 17, 32, 40]))
    first = b.convolution(x, out, (b.between(1, 5), b.between(1, 3)))
    second = b.depthwise3(first)
    height, width, channels = b.tensors[-1].shape
    third = b.convolution(second, channels, (1, 1), residual=second)
    factors = (b.between(1, 32), b.between(-32, -1)) if b.between(0, 1) else (30000, 127)
    fields = {"bias": b.between(-50, 50), "requantization": b.step(factors[0])}
    shape = (height, width, channels)
    third = b.add(il.Add, [third, second], shape, multipliers=factors, **fields)
    height, width, channels = b.tensors[-1].shape
    window = (height, width) if b.between(0, 1) else (min(2, height), min(3, width))
    fourth = b.pool(third, window)
    shape = b.tensors[-1].shape
    outputs = [b.to_int16(fourth, b.between(1, 9))]
    inputs, out = int(np.prod(shape)), b.between(1, 40)
    outputs.append(
        b.add(il.FullyConnected, [fourth], (out,), **b.weights((out, inputs), out, inputs))
    )
    return b.network(*outputs, name=f"vector{seed}")


def own_residual_network(seed: int) -> IntegerNetwork:
    """Return a 3 x 3 convolution that adds its own input, between two others."""
    b = VectorBuilder(2000 + seed)
    first = b.input((6, 5, 8))
    second = b.convolution_same(first, (1, 1))
    third = b.convolution_same(second, (3, 3), residual=np.int32([17]))
    return b.network(b.convolution_same(third, (1, 1)), name=f"own{seed}")
