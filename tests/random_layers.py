"""One random layer of each class, added to a network under construction.

Structure (sizes, strides, forms) is drawn by hypothesis, so that failures shrink; weights come from
a generator whose seed is drawn. Every layer passes the overflow proof by construction.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from random_builder import DATA, ROOM, STORED, Builder, reach

from aidge_quant.dtypes import dtype
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.tensors import IntegerTensor


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
