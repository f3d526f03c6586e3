"""One small integer network a layer kind and form: the cases of the tests of the exported C.

Each function takes a generator and returns a network; `SMALL_NETWORKS` lists all by name.
"""

from collections.abc import Callable

import numpy as np
from small_builder import Builder, Shape, window_shape

from aidge_quant.dtypes import dtype
from aidge_quant.integer import layers as il
from aidge_quant.integer.network import IntegerNetwork


def convolution(
    seed: int,
    *,
    shape: Shape = (7, 6, 4),
    out: int = 6,
    kernel: Shape = (3, 3),
    stride: Shape = (1, 1),
    dilation: Shape = (1, 1),
    padding: Shape = (1, 1, 1, 1),
    groups: int = 1,
    zero: int = 0,
    data: dtype = dtype.int8,
    weights: dtype = dtype.int8,
    result: dtype | None = None,
    channelwise: bool = False,
    depthwise: bool = False,
    **form: object,
) -> IntegerNetwork:
    b = Builder(seed)
    result = result or data
    x = b.input(shape, data, zero)
    size = window_shape(shape, kernel, stride, dilation, padding)
    out = shape[2] if depthwise else out
    requantization = b.requantization(out if channelwise else 1, type_=result, **form)
    if depthwise:
        fields = b.affine((*kernel, out), out, weights=weights, requantization=requantization)
        y = b.add(
            il.DepthwiseConvolution, [x], (*size, out), result, stride=stride,
            dilation=dilation, padding=padding, pad_value=zero, **fields,
        )  # fmt: skip
    else:
        fields = b.affine(
            (out, *kernel, shape[2] // groups), out, weights=weights,
            requantization=requantization,
        )  # fmt: skip
        y = b.add(
            il.Convolution, [x], (*size, out), result, stride=stride, dilation=dilation,
            padding=padding, groups=groups, pad_value=zero, **fields,
        )  # fmt: skip
    return b.network(y)


def transposed(
    seed: int,
    *,
    stride: Shape = (2, 2),
    dilation: Shape = (1, 1),
    padding: Shape = (0, 0, 0, 0),
    groups: int = 1,
    zero: int = 0,
    weights: dtype = dtype.int8,
    **form: object,
) -> IntegerNetwork:
    b = Builder(seed)
    shape, kernel, out = (4, 5, 4), (3, 2), 6
    x = b.input(shape, zero=zero)
    size = tuple(
        (shape[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - padding[i] - padding[i + 2]
        for i in range(2)
    )
    fields = b.affine(
        (out, *kernel, shape[2] // groups), out, weights=weights,
        requantization=b.requantization(out, **form),
    )  # fmt: skip
    y = b.add(
        il.TransposedConvolution, [x], (*size, out), stride=stride, dilation=dilation,
        padding=padding, groups=groups, input_zero_point=zero, **fields,
    )  # fmt: skip
    return b.network(y)


def fully_connected(
    seed: int,
    *,
    rows: int = 1,
    data: dtype = dtype.int8,
    weights: dtype = dtype.int8,
    result: dtype = dtype.int8,
    channelwise: bool = False,
    raw: bool = False,
    **form: object,
) -> IntegerNetwork:
    b = Builder(seed)
    x = b.input((rows, 13) if rows > 1 else (13,), data)
    requantization = b.requantization(9 if channelwise else 1, type_=result, **form)
    if raw:
        requantization = b.requantization(shift=(0, 0), type_=result)
    fields = b.affine((9, 13), 9, weights=weights, requantization=requantization)
    y = b.add(il.FullyConnected, [x], (rows, 9) if rows > 1 else (9,), result, **fields)
    return b.network(y)


def add(
    seed: int, multipliers: tuple[int, int] = (3, -5), data: dtype = dtype.int8, **form: object
) -> IntegerNetwork:
    b = Builder(seed)
    first, second = b.input((3, 4, 5), data), b.input((3, 4, 5), data)
    form = {"shift": (2, 4)} | form
    y = b.add(
        il.Add, [first, second], (3, 4, 5), data, multipliers=multipliers, bias=37,
        requantization=b.requantization(type_=data, **form),
    )  # fmt: skip
    return b.network(y)


def multiply(seed: int, second: Shape = (3, 4, 5), **form: object) -> IntegerNetwork:
    b = Builder(seed)
    x, factor = b.input((3, 4, 5), zero=-7), b.input(second, zero=9)
    y = b.add(
        il.Multiply, [x, factor], (3, 4, 5), multiplier=3, zero_points=(-7, 9), bias=64,
        requantization=b.requantization(shift=(6, 7), **form),
    )  # fmt: skip
    return b.network(y)


def rescale(
    seed: int, data: dtype = dtype.int8, result: dtype = dtype.int8, **form: object
) -> IntegerNetwork:
    b = Builder(seed)
    x = b.input((3, 4, 5), data)
    form = {"shift": (3, 3)} | form
    y = b.add(
        il.Rescale, [x], (3, 4, 5), result, multiplier=11, bias=4,
        requantization=b.requantization(type_=result, **form),
    )  # fmt: skip
    return b.network(y)


def average_pool(
    seed: int,
    *,
    divide: bool = False,
    window: Shape = (3, 2),
    stride: Shape = (2, 1),
    padding: Shape = (1, 1, 1, 0),
    zero: int = -5,
    whole: bool = False,
    data: dtype = dtype.int8,
    **form: object,
) -> IntegerNetwork:
    b = Builder(seed)
    shape = (7, 6, 5)
    zero = 0 if data is dtype.int16 else zero
    x = b.input(shape, data, zero)
    size = window_shape(shape, window, stride, (1, 1), padding)
    requantization = None if divide else b.requantization(shift=(2, 3), type_=data, **form)
    y = b.add(
        il.AveragePool, [x], (*size, 5), data, zero, window=window, stride=stride,
        padding=padding, count_include_pad=whole, zero_point=zero, bias=0 if divide else 3,
        lower=data.min + 9, upper=data.max - 9, requantization=requantization,
    )  # fmt: skip
    return b.network(y)


def max_pool(
    seed: int,
    *,
    padding: Shape = (1, 0, 1, 1),
    dilation: Shape = (1, 1),
    data: dtype = dtype.int8,
) -> IntegerNetwork:
    b = Builder(seed)
    shape, window, stride = (7, 6, 5), (2, 3), (2, 1)
    size = window_shape(shape, window, stride, dilation, padding)
    y = b.add(
        il.MaxPool, [b.input(shape, data)], (*size, 5), data, window=window, stride=stride,
        dilation=dilation, padding=padding,
    )  # fmt: skip
    return b.network(y)


def clamp(seed: int, data: dtype = dtype.int8) -> IntegerNetwork:
    b = Builder(seed)
    x = b.input((3, 4, 5), data)
    return b.network(
        b.add(il.Clamp, [x], (3, 4, 5), data, lower=data.min // 2, upper=data.max // 3)
    )


def lookup(seed: int, rows: int = 1) -> IntegerNetwork:
    b = Builder(seed)
    x = b.input((3, 4, 5))
    table = b.random.integers(-128, 128, (rows, 256)).astype(np.int8)
    return b.network(b.add(il.Lookup, [x], (3, 4, 5), table=table))


def reshape(seed: int) -> IntegerNetwork:
    b = Builder(seed)
    x = b.input((3, 4, 5))
    y = b.add(il.Clamp, [x], (3, 4, 5), lower=-100, upper=90)
    z = b.add(il.Reshape, [y], (60,))
    return b.network(b.add(il.Clamp, [z], (60,), lower=-90, upper=100))


def transpose(
    seed: int,
    shape: Shape = (3, 4, 5),
    permutation: Shape = (2, 0, 1),
    data: dtype = dtype.int8,
) -> IntegerNetwork:
    b = Builder(seed)
    x = b.input(shape, data)
    out = tuple(shape[axis] for axis in permutation)
    return b.network(b.add(il.Transpose, [x], out, data, permutation=permutation))


def slices(seed: int, starts: Shape, steps: Shape, out: Shape) -> IntegerNetwork:
    b = Builder(seed)
    x = b.input((7, 6, 5))
    y = b.add(il.Clamp, [x], (7, 6, 5), lower=-100, upper=100)
    z = b.add(il.Slice, [y], out, starts=starts, steps=steps)
    return b.network(b.add(il.Clamp, [z], out, lower=-90, upper=90))


def pad(seed: int, data: dtype = dtype.int8) -> IntegerNetwork:
    b = Builder(seed)
    x = b.input((3, 4, 5), data)
    return b.network(
        b.add(il.Pad, [x], (6, 5, 8), data, before=(1, 0, 3), after=(2, 1, 0), value=-17)
    )


def concat(seed: int, axis: int = 2, data: dtype = dtype.int8) -> IntegerNetwork:
    b = Builder(seed)
    shapes = [tuple(size + i * (j == axis) for j, size in enumerate((3, 4, 2))) for i in range(3)]
    inputs = [b.input(shape, data) for shape in shapes]
    out = tuple(sum(s[j] for s in shapes) if j == axis else shapes[0][j] for j in range(3))
    return b.network(b.add(il.Concat, inputs, out, data, axis=axis))


def resize(seed: int) -> IntegerNetwork:
    b = Builder(seed)
    x = b.input((3, 4, 5))
    rows = np.array([0, 0, 1, 2, 2, 2], np.int32)
    columns = np.array([3, 2, 2, 0, 1], np.int32)
    return b.network(b.add(il.Resize, [x], (6, 5, 5), rows=rows, columns=columns))


def argmax(seed: int, data: dtype = dtype.int8) -> IntegerNetwork:
    b = Builder(seed)
    x = b.input((3, 2, 7), data)
    y = b.add(il.Clamp, [x], (3, 2, 7), data, lower=data.min // 2, upper=data.max // 2)
    return b.network(b.add(il.ArgMax, [y], (3, 2, 1), dtype.int32))


def residual(seed: int, **form: object) -> IntegerNetwork:
    """Return a chain with a residual Add, a pool in place and two outputs, one read again."""
    b = Builder(seed)
    x = b.input((8, 8, 3), zero=-3)
    conv = {"stride": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1), "groups": 1}
    shape = (8, 8, 6)
    y = b.add(
        il.Convolution, [x], shape, **conv, pad_value=-3,
        **b.affine((6, 3, 3, 3), 6, requantization=b.requantization(6, (9, 10), **form)),
    )  # fmt: skip
    z = b.add(
        il.Convolution, [y], shape, **conv, pad_value=0,
        **b.affine((6, 3, 3, 6), 6, requantization=b.requantization(6, (9, 10), **form)),
    )  # fmt: skip
    s = b.add(
        il.Add, [z, y], shape, multipliers=(1, 2), bias=2,
        requantization=b.requantization(shift=(1, 1)),
    )  # fmt: skip
    c = b.add(il.Clamp, [s], shape, lower=0, upper=100)
    p = b.add(
        il.MaxPool, [c], (4, 4, 6), window=(2, 2), stride=(2, 2), dilation=(1, 1),
        padding=(0, 0, 0, 0),
    )  # fmt: skip
    f = b.add(il.Reshape, [p], (96,))
    logits = b.add(
        il.FullyConnected, [f], (5,), dtype.int32,
        **b.affine((5, 96), 5, requantization=b.requantization(shift=(0, 0), type_=dtype.int32)),
    )  # fmt: skip
    return b.network(p, logits)


def ends(seed: int) -> IntegerNetwork:
    """Return a network whose outputs are an input, one tensor twice, and a tensor read again."""
    b = Builder(seed)
    x = b.input((3, 4, 5))
    y = b.add(il.Clamp, [x], (3, 4, 5), lower=-90, upper=90)
    z = b.add(il.Clamp, [y], (3, 4, 5), lower=-70, upper=80)
    r = b.add(il.Reshape, [z], (60,))
    i = b.add(il.Reshape, [x], (5, 12))
    return b.network(x, y, y, z, r, i)


INT4, INT8, INT16, INT32 = dtype.int4, dtype.int8, dtype.int16, dtype.int32

SMALL_NETWORKS: dict[str, Callable[[int], IntegerNetwork]] = {
    "conv": lambda s: convolution(s),
    "conv_zero_point": lambda s: convolution(s, zero=-128, padding=(2, 1, 0, 1), shift=(10, 12)),
    "conv_stride": lambda s: convolution(s, stride=(2, 3), kernel=(3, 2), channelwise=True),
    "conv_dilated": lambda s: convolution(s, dilation=(2, 2), padding=(2, 1, 2, 3), zero=11),
    "conv_grouped": lambda s: convolution(s, groups=2, zero=5),
    "conv_1x1": lambda s: convolution(s, kernel=(1, 1), padding=(0, 0, 0, 0)),
    "conv_1d": lambda s: convolution(s, shape=(1, 17, 3), kernel=(1, 5), padding=(0, 2, 0, 2)),
    "conv_int4": lambda s: convolution(s, weights=INT4, shape=(5, 5, 3), shift=(4, 6), zero=7),
    "conv_int16": lambda s: convolution(s, data=INT16, weights=INT8, shift=(9, 11)),
    "conv_int16_to_8": lambda s: convolution(s, data=INT16, result=INT8, shift=(17, 19)),
    "conv_weights16": lambda s: convolution(s, weights=INT16, shift=(13, 16), channelwise=True),
    "conv_far_padding": lambda s: convolution(s, shape=(3, 3, 2), padding=(4, 5, 4, 3), zero=-9),
    "conv_left": lambda s: convolution(s, weights=INT4, shift=(-2, 2), offset=3, channelwise=True),
    "conv_even": lambda s: convolution(s, even=True, shift=(-1, 11), offset=-4, channelwise=True),
    "conv_scale": lambda s: convolution(s, multiplier=True, offset=5, zero=-20),
    "conv_scale_even": lambda s: convolution(s, multiplier=True, even=True, channelwise=True),
    "conv_int32": lambda s: convolution(s, result=INT32, shift=(2, 2)),
    "depthwise": lambda s: convolution(s, depthwise=True, channelwise=True),
    "depthwise_zero_point": lambda s: convolution(
        s, depthwise=True, zero=-128, stride=(2, 2), kernel=(5, 4)
    ),
    "depthwise_dilated": lambda s: convolution(
        s, depthwise=True, zero=3, dilation=(2, 1), padding=(0, 1, 3, 0), weights=INT4, shift=(3, 5)
    ),
    "depthwise_scale": lambda s: convolution(s, depthwise=True, multiplier=True, offset=-128),
    "transposed": lambda s: transposed(s),
    "transposed_padded": lambda s: transposed(s, padding=(1, 0, 2, 1), zero=-12, groups=2),
    "transposed_stride": lambda s: transposed(s, stride=(3, 1), dilation=(1, 2), zero=4),
    "transposed_int4": lambda s: transposed(s, weights=INT4, shift=(3, 5)),
    "transposed_grown": lambda s: transposed(s, padding=(0, 0, -1, -1), zero=-128),
    "fc": lambda s: fully_connected(s),
    "fc_rows": lambda s: fully_connected(s, rows=3, channelwise=True),
    "fc_logits": lambda s: fully_connected(s, result=INT32, raw=True),
    "fc_int4": lambda s: fully_connected(s, weights=INT4, shift=(4, 5)),
    "fc_int16": lambda s: fully_connected(s, data=INT16, result=INT16, shift=(9, 10)),
    "fc_even": lambda s: fully_connected(s, even=True, shift=(8, 10), offset=-3),
    "fc_scale": lambda s: fully_connected(s, multiplier=True, channelwise=True, offset=7),
    "add": lambda s: add(s),
    "add_left": lambda s: add(s, (1, 1), shift=(-1, -1), offset=3),
    "add_int16": lambda s: add(s, data=INT16),
    "add_scale": lambda s: add(s, (1, -1), multiplier=True, offset=-9),
    "add_even": lambda s: add(s, (1, 1), even=True, shift=(1, 1)),
    "multiply": lambda s: multiply(s),
    "multiply_channel": lambda s: multiply(s, (5,)),
    "multiply_channel_map": lambda s: multiply(s, (1, 1, 5), even=True),
    "rescale": lambda s: rescale(s),
    "rescale_widen": lambda s: rescale(s, result=INT16, shift=(-3, -3)),
    "rescale_narrow": lambda s: rescale(s, data=INT16, shift=(12, 12), even=True),
    "average": lambda s: average_pool(s),
    "average_int16": lambda s: average_pool(s, data=INT16, padding=(0, 0, 0, 0)),
    "average_scale": lambda s: average_pool(s, multiplier=True),
    "average_divide": lambda s: average_pool(s, divide=True),
    "average_divide_whole": lambda s: average_pool(s, divide=True, whole=True, zero=100),
    "average_divide_int16": lambda s: average_pool(s, divide=True, data=INT16, window=(4, 3)),
    "max_pool": lambda s: max_pool(s),
    "max_pool_dilated": lambda s: max_pool(s, dilation=(2, 2), padding=(0, 0, 1, 0), data=INT16),
    "clamp": lambda s: clamp(s),
    "clamp_int16": lambda s: clamp(s, INT16),
    "lookup": lambda s: lookup(s),
    "lookup_channels": lambda s: lookup(s, 5),
    "reshape": lambda s: reshape(s),
    "transpose": lambda s: transpose(s),
    "transpose_4d": lambda s: transpose(s, (2, 3, 4, 5), (3, 1, 0, 2)),
    "transpose_5d": lambda s: transpose(s, (2, 3, 2, 3, 2), (0, 3, 1, 4, 2), INT16),
    "transpose_view": lambda s: transpose(s, (1, 4, 5), (1, 0, 2)),
    "slice": lambda s: slices(s, (1, 0, 1), (2, 1, 3), (3, 5, 2)),
    "slice_backwards": lambda s: slices(s, (6, 5, 1), (-2, -1, 2), (4, 6, 2)),
    "pad": lambda s: pad(s),
    "pad_int16": lambda s: pad(s, INT16),
    "concat": lambda s: concat(s),
    "concat_rows": lambda s: concat(s, 0, INT16),
    "resize": lambda s: resize(s),
    "argmax": lambda s: argmax(s),
    "argmax_int16": lambda s: argmax(s, INT16),
    "residual": lambda s: residual(s),
    "residual_scale": lambda s: residual(s, multiplier=True, offset=-10),
    "ends": lambda s: ends(s),
}  # fmt: skip


def small_network(name: str) -> IntegerNetwork:
    """Return the network called ``name``, the same at every call."""
    return SMALL_NETWORKS[name](list(SMALL_NETWORKS).index(name))
