"""Networks of one layer whose sizes lie on both sides of every tile and block of the engine."""

import itertools

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.integer import layers
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import Requantization
from aidge_quant.integer.tensors import IntegerTensor


def around_tiles(form, depthwise, kind):
    """Yield networks of all sizes, three of each, and a seed for their inputs."""
    rng = np.random.default_rng(5)
    kernels = itertools.cycle([(1, 1), (3, 1), (3, 2), (5, 1), (2, 2), (4, 3), (2, 4)])
    for index, channels in enumerate(SIZES):
        out = channels if depthwise else SIZES[-1 - index]
        for _ in range(3):
            case = (channels, out, *next(kernels), form, depthwise)
            yield convolution(rng, case, kind), index


# Input types with weights: extremes for int8, small ones for int16, whose sums stay within int32.
WEIGHTS = {dtype.int8: (-127, 127, 1, 0, 64, -5), dtype.int16: (-4, 4, 1, 0, 3, -2)}


def image(name, shape, kind=dtype.int8, zero_point=0):
    height, width, channels = shape
    onnx_shape = (channels, height, width)
    return IntegerTensor(name, shape, kind, 0.5, zero_point, onnx_shape, (1, 2, 0))


def requantization(rng, channels, form):
    if form == "large multiplier":
        multiplier = rng.integers(1 << 30, (1 << 31) - 1, channels, dtype=np.int32)
        shift = rng.integers(31, 36, channels).astype(np.int8)
        return Requantization(shift, multiplier, -5, -120, 127)
    if form == "large offset":  # no zero point; a network that was made by hand may have one
        offset = int(rng.choice([-(10**6), -65000, -32700, -300, 300, 40000, 10**6]))
        if rng.integers(2):
            return Requantization(
                rng.integers(6, 12, channels).astype(np.int8), None, offset, -128, 127
            )
        multiplier = rng.integers(1 << 30, (1 << 31) - 1, channels, dtype=np.int32)
        shift = rng.integers(31, 40, channels).astype(np.int8)
        return Requantization(shift, multiplier, offset, -128, 127)
    if form == "huge sums":
        multiplier = rng.integers((1 << 31) - 1000, (1 << 31) - 1, channels, dtype=np.int32)
        shift = rng.choice([31, 32, 33, 34, 40, 52, 55, 60], channels).astype(np.int8)
        return Requantization(shift, multiplier, 1, -128, 127)
    if form == "small shift":  # of a multiplier: sums leave 32 bits in between
        multiplier = rng.integers(1 << 30, (1 << 31) - 1, channels, dtype=np.int32)
        shift = rng.integers(25, 32, channels).astype(np.int8)
        return Requantization(shift, multiplier, 7, -128, 120)
    if form == "multiplier":
        multiplier = rng.integers(1 << 30, (1 << 31) - 1, channels, dtype=np.int32)
        shift = rng.integers(38, 42, channels).astype(np.int8)
        return Requantization(shift, multiplier, 3, -128, 127)
    shift = rng.integers(6, 12, channels).astype(np.int8)
    upper = 127 if form == "shift" else rng.integers(0, 128, channels, dtype=np.int32)
    return Requantization(shift, None, 0, -100, upper)


def convolution(rng, case, kind=dtype.int8):
    """Return a network of one layer with weights, its data and weights often at their extremes."""
    channels, out, kernel, stride, form, depthwise = case
    shape = (rng.integers(kernel, 14), rng.integers(kernel, 14), channels)
    shape = tuple(int(size) for size in shape)
    before, after = (int(p) for p in rng.integers(0, kernel, 2))
    size = [(s + before + after - kernel) // stride + 1 for s in shape[:2]]
    pad_value = int(rng.integers(-128, 128)) if kind is dtype.int8 else 0
    source = image("x", shape, kind, pad_value)
    target = image("y", (*size, out))
    taps = (kernel, kernel, channels) if depthwise else (out, kernel, kernel, channels)
    weight = rng.choice(WEIGHTS[kind], taps).astype(np.int8)
    bias = rng.integers(-(1 << 16), 1 << 16, out, dtype=np.int32)
    if form == "huge sums":  # with those of weights and data close to what 32 bits hold
        left = 1 << (26 if kind is dtype.int8 else 29)
        bias = rng.choice([-1, 1], out).astype(np.int32) * np.int32((1 << 31) - left)
    step, padding = requantization(rng, out, form), (before, before, after, after)
    begin = (weight, dtype.int8, bias, step, (stride, stride), (1, 1), padding)
    tensors, inputs, factor = [source], ("x",), None
    if form == "residual":
        tensors.append(image("r", (*size, out), kind, 2 if kind is dtype.int8 else 0))
        inputs, factor = ("x", "r"), rng.choice([-300, -1, 7, 300], out).astype(np.int32)
    if depthwise:
        layer = layers.DepthwiseConvolution(
            "l", inputs, "y", (), *begin, pad_value, residual=factor
        )
    else:
        layer = layers.Convolution("l", inputs, "y", (), *begin, 1, pad_value, residual=factor)
    return IntegerNetwork("one", (*tensors, target), (layer,), inputs, ("y",), inputs, ("y",))


def sums():
    """Yield sums and multiples of all sizes around a vector and a block, and a seed."""
    rng = np.random.default_rng(6)
    kinds = itertools.cycle(
        ["shift", "multiplier", "large multiplier", "small shift", "large offset"]
    )
    factors = itertools.cycle([(1, 1), (32767, -32767), (-7, 5), (-32767, 32767)])
    for index, size in enumerate((1, 63, 64, 65, 255, 256, 257, 700)):
        for binary in (False, True, True):
            a, b = next(factors)
            step = requantization(rng, 1, next(kinds))
            target = image("y", (1, 1, size))
            bias = int(rng.integers(-1000, 1000))
            if binary:
                inputs = ("x", "r")
                layer = layers.Add("l", inputs, "y", (), (a, b), bias, step)
            else:
                inputs = ("x",)
                layer = layers.Rescale("l", inputs, "y", (), abs(a), bias, step)
            tensors = (*(image(name, (1, 1, size)) for name in inputs), target)
            yield IntegerNetwork("one", tensors, (layer,), inputs, ("y",), inputs, ("y",)), index


FORMS = (
    "shift",
    "capped",
    "multiplier",
    "large multiplier",
    "small shift",
    "huge sums",
    "large offset",
    "residual",
)
SIZES = (1, 3, 4, 8, 15, 16, 17, 24, 32, 40, 48, 64, 65, 96, 130, 160)
