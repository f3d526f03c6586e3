"""One random layer of each class, added to a network under construction.

Structure (sizes, strides, forms) is drawn by hypothesis, so that failures shrink; weights come from
a generator whose seed is drawn. Every layer passes the overflow proof by construction.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from aidge_quant.dtypes import dtype
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.requantization import HALF_EVEN, HALF_UP, Requantization
from aidge_quant.integer.tensors import IntegerTensor

SCALES = (0.5, 1 / 127, 0.0236, 3.0)
DATA = (dtype.int8, dtype.int16)
STORED = (dtype.int8, dtype.int8, dtype.int8, dtype.int16, dtype.int32)
# Accumulators are drawn below half of the limit, so that biases fit on top.
ROOM = 1 << 30


class Builder:
    """Tensors and layers of a network under construction, and the draws that make them."""

    def __init__(self, draw: Callable) -> None:
        self.draw = draw
        self.tensors: dict[str, IntegerTensor] = {}
        self.layers: list[Layer] = []
        self.inputs: list[str] = []
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def one_of(self, values):
        return self.draw(st.sampled_from(list(values)))

    def between(self, lower: int, upper: int) -> int:
        return self.draw(st.integers(lower, upper))

    def chance(self, out_of: int) -> bool:
        return self.between(1, out_of) == out_of

    def tensor(self, shape, kind: dtype, like: IntegerTensor | None = None) -> IntegerTensor:
        """Add a tensor; scale and zero point are those of ``like``, else drawn."""
        name = f"t{len(self.tensors)}"
        shape = tuple(int(size) for size in shape)
        onnx_shape, layout = shape, tuple(range(len(shape)))
        if len(shape) == 3:
            height, width, channels = shape
            onnx_shape, layout = (channels, height, width), (1, 2, 0)
            if height == 1 and self.chance(2):
                onnx_shape, layout = (channels, width), (1, 0)
        if like is None:
            scale = self.one_of(SCALES)
            zero = self.one_of((0, -128, 127, self.between(-128, 127)))
            zero = zero if kind is dtype.int8 else 0
        else:
            scale, zero = like.scale, like.zero_point
        tensor = IntegerTensor(name, shape, kind, scale, zero, onnx_shape, layout)
        self.tensors[name] = tensor
        return tensor

    def input(self, shape, kind: dtype | None = None) -> IntegerTensor:
        """Add a network input."""
        if self.layers:  # inputs come first: remember the layers' tensors, put them behind
            later = {n: t for n, t in self.tensors.items() if n not in self.inputs}
            tensor = self.tensor(shape, kind or self.one_of(DATA))
            kept = {n: self.tensors[n] for n in self.inputs}
            self.tensors = {**kept, tensor.name: tensor, **later}
        else:
            tensor = self.tensor(shape, kind or self.one_of(DATA))
        self.inputs.append(tensor.name)
        return tensor

    def image_shape(self) -> tuple[int, int, int]:
        return self.between(1, 6), self.between(1, 6), self.between(1, 6)

    def pick(self, accept: Callable[[IntegerTensor], bool], kind: dtype | None = None):
        """Return a tensor that is accepted, or a new image as network input."""
        candidates = [t for t in reversed(self.tensors.values()) if accept(t)]
        return self.one_of(candidates) if candidates else self.input(self.image_shape(), kind)

    def any(self) -> IntegerTensor:
        return self.pick(lambda t: True)

    def data(self) -> IntegerTensor:
        return self.pick(lambda t: t.dtype in DATA)

    def image(self) -> IntegerTensor:
        return self.pick(lambda t: t.dtype in DATA and len(t.shape) == 3)

    def add(self, cls: type[Layer], inputs, output: IntegerTensor, **fields) -> None:
        name = f"{cls.__name__.lower()}_{len(self.layers)}"
        names = tuple(tensor.name for tensor in inputs)
        self.layers.append(cls(name, names, output.name, (name,), **fields))

    # -- what layers with arithmetic end in ------------------------------------------------

    def capped(self, step: Requantization, channels: int, output: IntegerTensor):
        """Return the requantization, now and then with an upper bound for every channel."""
        if not self.chance(4):
            return step
        caps = self.rng.integers(step.lower, output.dtype.max, channels, endpoint=True)
        return dataclasses.replace(step, upper=caps.astype(np.int32))

    def finish(self, bound: int, channels: int, output: IntegerTensor):
        """Return constants to add to the bias (channels,) and a requantization."""
        count = channels if channels > 1 and self.chance(2) else 1
        rounding = self.one_of((HALF_UP, HALF_UP, HALF_EVEN))
        lower, upper = self.clip(output)
        usual = max(0, int(bound).bit_length() - output.dtype.bits - 1)
        if self.chance(3):
            centre = max(1, min(62, 30 + usual + self.between(-3, 3)))
            centre = self.between(1, 62) if self.chance(4) else centre
            shift = np.clip(centre + self.rng.integers(-2, 3, count), 1, 62).astype(np.int8)
            multiplier = self.rng.integers(1 << 30, 1 << 31, count).astype(np.int32)
            if self.chance(3):
                multiplier[:] = 1 << 30  # a power of two: ties come up
            step = Requantization(shift, multiplier, output.zero_point, lower, upper, rounding)
            return np.zeros(channels, np.int64), step
        least = min(0, max(-8, int(bound).bit_length() - 29))  # lower, and int32 is left
        centre = self.one_of(
            (usual + self.between(-2, 2), self.between(least, 24), self.between(least, 0))
        )
        spread = self.rng.integers(-2, 3, count) if count > 1 else np.zeros(1, int)
        shift = np.clip(centre + spread, least, 24).astype(np.int8)
        wide = np.broadcast_to(shift, channels).astype(np.int64)
        if rounding == HALF_EVEN or shift.min() < 0:
            extra = np.zeros(channels, np.int64)
            if rounding == HALF_UP:
                extra += np.where(wide > 0, 1 << np.maximum(wide - 1, 0), 0)
            offset = output.zero_point
        else:
            extra = np.where(wide > 0, 1 << np.maximum(wide - 1, 0), 0)
            zero = output.zero_point << wide
            extra += np.where(np.abs(zero) < ROOM // 4, zero, 0)
            offset = 0
        return extra, Requantization(shift, None, offset, lower, upper, rounding)

    def clip(self, output: IntegerTensor) -> tuple[int, int]:
        kind, zero = output.dtype, output.zero_point
        some = sorted((self.between(kind.min, kind.max), self.between(kind.min, kind.max)))
        return self.one_of(
            ((kind.min, kind.max), (kind.min, kind.max), (zero, kind.max), tuple(some))
        )


def reach(tensor: IntegerTensor, zero: int = 0) -> int:
    return max(abs(tensor.dtype.min - zero), abs(tensor.dtype.max - zero))


def add_affine(b: Builder, cls, source, size, shape, axis: int, zero: int = 0, **fields) -> None:
    """Add a layer with a weight of this shape, outputs along axis, and now and then a residual.

    ``size`` is the shape of the output.
    """
    kind = b.one_of((dtype.int8, dtype.int8, dtype.int4, dtype.int16))
    out = shape[axis]
    taps = int(np.prod(shape)) // out
    most = max(1, min(kind.max, ROOM // 2 // reach(source, zero) // taps))
    if b.chance(2):
        most = min(most, 3)  # room for left shifts
    weight = b.rng.integers(-most, most + 1, shape).astype(kind.numpy)
    bound = most * taps * reach(source, zero)
    inputs, factors = [source], None
    if b.chance(3):
        inputs.append(partner(b, source, [tuple(size)]))
        largest = b.one_of((1, 300, max(1, ROOM // 4 // reach(inputs[1]))))
        factors = b.rng.integers(1, largest + 1, b.one_of((1, out))).astype(np.int32)
        factors *= b.one_of((1, 1, -1))
        bound += int(np.abs(factors).max()) * reach(inputs[1])
    output = b.tensor(size, b.one_of(STORED))
    bias = b.rng.integers(-bound // 4 - 1, bound // 4 + 2, out)
    extra, step = b.finish(bound + bound // 4 + 1, out, output)
    fields |= {
        "weight": weight,
        "weight_dtype": kind,
        "bias": (bias + extra).astype(np.int32),
        "requantization": b.capped(step, out, output),
        "residual": factors,
    }
    b.add(cls, inputs, output, **fields)


def kernel_axis(b: Builder, size: int) -> tuple[int, int, int, int, int]:
    """Return window, stride, dilation and both paddings that leave a window room."""
    window, stride, dilation = b.between(1, 3), b.between(1, 3), b.between(1, 2)
    before, after = b.between(0, 2), b.between(0, 2)
    if size + before + after < dilation * (window - 1) + 1:
        window = 1
    return window, stride, dilation, before, after


def geometry(b: Builder, source: IntegerTensor):
    """Return the kernel's size, the fields of both axes, and the output's size."""
    rows, columns = (kernel_axis(b, size) for size in source.shape[:2])
    window, stride, dilation, before, after = zip(rows, columns, strict=True)
    size = tuple(
        (source.shape[i] + before[i] + after[i] - dilation[i] * (window[i] - 1) - 1) // stride[i]
        + 1
        for i in range(2)
    )
    fields = {
        "stride": stride,
        "dilation": dilation,
        "padding": (before[0], before[1], after[0], after[1]),
    }
    return window, fields, size


def convolution(b: Builder) -> None:
    source = b.image()
    channels = source.shape[2]
    groups = b.one_of([g for g in range(1, channels + 1) if channels % g == 0])
    out = groups * b.between(1, 5)
    window, fields, size = geometry(b, source)
    fields |= {"groups": groups, "pad_value": source.zero_point}
    shape = (out, *window, channels // groups)
    add_affine(b, layers.Convolution, source, (*size, out), shape, 0, **fields)


def depthwise(b: Builder) -> None:
    source = b.image()
    window, fields, size = geometry(b, source)
    fields |= {"pad_value": source.zero_point}
    shape, size = (*window, source.shape[2]), (*size, source.shape[2])
    add_affine(b, layers.DepthwiseConvolution, source, size, shape, 2, **fields)


def transposed(b: Builder) -> None:
    source = b.image()
    channels = source.shape[2]
    groups = b.one_of([g for g in range(1, channels + 1) if channels % g == 0])
    out = groups * b.between(1, 3)
    window, stride, dilation, padding, size = [], [], [], [], []
    for length in source.shape[:2]:
        k, s, d = b.between(1, 3), b.between(1, 3), b.between(1, 2)
        before, after = b.between(0, 2), b.between(1 - s, 2)
        full = (length - 1) * s + d * (k - 1) + 1
        if full - before - after < 1:
            before = after = 0
        for values, value in zip(
            (window, stride, dilation, padding, size),
            (k, s, d, (before, after), full - before - after),
            strict=True,
        ):
            values.append(value)
    shape = (out, *window, channels // groups)
    fields = {
        "stride": tuple(stride),
        "dilation": tuple(dilation),
        "padding": (padding[0][0], padding[1][0], padding[0][1], padding[1][1]),
        "groups": groups,
        "input_zero_point": source.zero_point,
    }
    zero = source.zero_point
    add_affine(b, layers.TransposedConvolution, source, (*size, out), shape, 0, zero, **fields)


def fully_connected(b: Builder) -> None:
    source = b.data()
    depth = b.one_of((source.size, source.channels))
    rows, out = source.size // depth, b.between(1, 9)
    size = (out,) if rows == 1 else (rows, out)
    add_affine(b, layers.FullyConnected, source, size, (out, depth), 0)


def partner(b: Builder, first: IntegerTensor, shapes) -> IntegerTensor:
    """Return a second operand of the type of the first in one of the shapes."""
    fits = [t for t in b.tensors.values() if t.shape in shapes and t.dtype is first.dtype]
    if fits and not b.chance(3):
        return b.one_of(fits)
    return b.input(b.one_of(shapes), first.dtype)


def bias_and_step(b: Builder, bound: int, output: IntegerTensor):
    extra, step = b.finish(bound + bound // 4 + 1, 1, output)
    bias = int(b.rng.integers(-bound // 4 - 1, bound // 4 + 2)) + int(extra[0])
    return {"bias": bias, "requantization": step}


def add(b: Builder) -> None:
    first = b.data()
    second = partner(b, first, [first.shape])
    most = b.one_of((1, 4, 127, min(32767, ROOM // 4 // reach(first))))
    signs = b.one_of(((1, 1), (1, -1), (-1, 1)))
    multipliers = tuple(sign * b.between(1, most) for sign in signs)
    output = b.tensor(first.shape, b.one_of(STORED))
    bound = sum(abs(m) * reach(first) for m in multipliers)
    fields = bias_and_step(b, bound, output)
    b.add(layers.Add, [first, second], output, multipliers=multipliers, **fields)


def multiply(b: Builder) -> None:
    first = b.data()
    channels = first.channels
    second = partner(b, first, [first.shape, (1, 1, channels), (channels,)])
    zeros = (first.zero_point, second.zero_point)
    bound = reach(first, zeros[0]) * reach(second, zeros[1])
    multiplier = b.between(1, b.one_of((1, 127, 32767)))
    multiplier = max(1, min(multiplier, ROOM // 2 // bound))
    output = b.tensor(first.shape, b.one_of(STORED))
    fields = bias_and_step(b, multiplier * bound, output)
    fields |= {"multiplier": multiplier, "zero_points": zeros}
    b.add(layers.Multiply, [first, second], output, **fields)


def rescale(b: Builder) -> None:
    source = b.data()
    multiplier = b.between(1, b.one_of((3, 127, min(32767, ROOM // 2 // reach(source)))))
    output = b.tensor(source.shape, b.one_of(STORED))
    fields = bias_and_step(b, multiplier * reach(source), output)
    b.add(layers.Rescale, [source], output, multiplier=multiplier, **fields)


def pool_axis(b: Builder, size: int, dilation: int) -> tuple[int, int, int, int]:
    """Return window, stride and both paddings that leave no window wholly outside."""
    window = b.between(1, 3)
    if size < dilation * (window - 1) + 1:
        window = 1
    most = 0 if window == 1 or size == 1 else (window - 1 if dilation == 1 else 1)
    return window, b.between(1, 3), b.between(0, most), b.between(0, most)


def pool_geometry(b: Builder, source: IntegerTensor, dilation=(1, 1)):
    axes = [pool_axis(b, source.shape[i], dilation[i]) for i in range(2)]
    window, stride, before, after = zip(*axes, strict=True)
    size = tuple(
        (source.shape[i] + before[i] + after[i] - dilation[i] * (window[i] - 1) - 1) // stride[i]
        + 1
        for i in range(2)
    )
    padding = (before[0], before[1], after[0], after[1])
    return {"window": window, "stride": stride, "padding": padding}, size


def average_pool(b: Builder) -> None:
    source = b.image()
    fields, size = pool_geometry(b, source)
    fields |= {"count_include_pad": b.chance(2), "zero_point": source.zero_point}
    if b.chance(2):
        output = b.tensor((*size, source.shape[2]), source.dtype, like=source)
        lower, upper = b.clip(output)
        fields |= {"bias": 0, "lower": lower, "upper": upper, "requantization": None}
    else:
        output = b.tensor((*size, source.shape[2]), b.one_of(STORED))
        bound = fields["window"][0] * fields["window"][1] * reach(source)
        fields |= bias_and_step(b, bound, output)
        fields |= {"lower": output.dtype.min, "upper": output.dtype.max}
    b.add(layers.AveragePool, [source], output, **fields)


def max_pool(b: Builder) -> None:
    source = b.image()
    dilation = (b.between(1, 2), b.between(1, 2))
    fields, size = pool_geometry(b, source, dilation)
    output = b.tensor((*size, source.shape[2]), source.dtype, like=source)
    b.add(layers.MaxPool, [source], output, dilation=dilation, **fields)


def clamp(b: Builder) -> None:
    source = b.data()
    output = b.tensor(source.shape, source.dtype, like=source)
    lower, upper = b.clip(output)
    b.add(layers.Clamp, [source], output, lower=lower, upper=upper)


def lookup(b: Builder) -> None:
    source = b.pick(lambda t: t.dtype is dtype.int8, dtype.int8)
    rows = b.one_of((1, source.channels))
    table = b.rng.integers(-128, 128, (rows, 256)).astype(np.int8)
    b.add(layers.Lookup, [source], b.tensor(source.shape, dtype.int8), table=table)


def reshape(b: Builder) -> None:
    source = b.any()
    size = source.size
    divisor = b.one_of([d for d in range(1, size + 1) if size % d == 0])
    shape = b.one_of(((size,), (divisor, size // divisor), (1, divisor, size // divisor)))
    b.add(layers.Reshape, [source], b.tensor(shape, source.dtype, like=source))


def transpose(b: Builder) -> None:
    source = b.any()
    permutation = tuple(b.draw(st.permutations(range(len(source.shape)))))
    shape = [source.shape[axis] for axis in permutation]
    output = b.tensor(shape, source.dtype, like=source)
    b.add(layers.Transpose, [source], output, permutation=permutation)


def slice_(b: Builder) -> None:
    source = b.any()
    starts, steps, shape = [], [], []
    for size in source.shape:
        start, step = b.between(0, size - 1), b.one_of((1, 1, 2, 3, -1, -2))
        room = (size - 1 - start if step > 0 else start) // abs(step) + 1
        starts.append(start)
        steps.append(step)
        shape.append(b.between(1, room))
    output = b.tensor(shape, source.dtype, like=source)
    b.add(layers.Slice, [source], output, starts=tuple(starts), steps=tuple(steps))


def pad(b: Builder) -> None:
    source = b.any()
    before = tuple(b.between(0, 2) for _ in source.shape)
    after = tuple(b.between(0, 2) for _ in source.shape)
    shape = [sum(sizes) for sizes in zip(before, source.shape, after, strict=True)]
    output = b.tensor(shape, source.dtype, like=source)
    value = b.one_of((source.zero_point, b.between(source.dtype.min, source.dtype.max)))
    b.add(layers.Pad, [source], output, before=before, after=after, value=value)


def concat(b: Builder) -> None:
    first = b.any()
    axis = b.between(0, len(first.shape) - 1)

    def rest(tensor: IntegerTensor):
        return tensor.dtype, (*tensor.shape[:axis], 0, *tensor.shape[axis + 1 :])

    fits = [t for t in b.tensors.values() if rest(t) == rest(first)]
    inputs = [first, *(b.one_of(fits) for _ in range(b.between(1, 2)))]
    if first.dtype in DATA and b.chance(2):
        shape = (*first.shape[:axis], b.between(1, 3), *first.shape[axis + 1 :])
        inputs.append(b.input(shape, first.dtype))
    total = sum(tensor.shape[axis] for tensor in inputs)
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    b.add(layers.Concat, inputs, b.tensor(shape, first.dtype, like=first), axis=axis)


def resize(b: Builder) -> None:
    source = b.pick(lambda t: len(t.shape) == 3)
    rows, columns = (
        np.sort(b.rng.integers(0, size, b.between(1, 2 * size))).astype(np.int32)
        for size in source.shape[:2]
    )
    shape = (rows.size, columns.size, source.shape[2])
    output = b.tensor(shape, source.dtype, like=source)
    b.add(layers.Resize, [source], output, rows=rows, columns=columns)


def argmax(b: Builder) -> None:
    source = b.any()
    output = b.tensor((*source.shape[:-1], 1), dtype.int32)
    output = dataclasses.replace(output, scale=1.0)
    b.tensors[output.name] = output
    b.add(layers.ArgMax, [source], output)


#: How a layer of each class is added.
RANDOM: dict[type[Layer], Callable[[Builder], None]] = {
    layers.Convolution: convolution,
    layers.DepthwiseConvolution: depthwise,
    layers.TransposedConvolution: transposed,
    layers.FullyConnected: fully_connected,
    layers.Add: add,
    layers.Multiply: multiply,
    layers.Rescale: rescale,
    layers.AveragePool: average_pool,
    layers.MaxPool: max_pool,
    layers.Clamp: clamp,
    layers.Lookup: lookup,
    layers.Reshape: reshape,
    layers.Transpose: transpose,
    layers.Slice: slice_,
    layers.Pad: pad,
    layers.Concat: concat,
    layers.Resize: resize,
    layers.ArgMax: argmax,
}
