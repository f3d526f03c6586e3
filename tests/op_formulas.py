"""What operators compute, as loops and numpy expressions written from their definitions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from aidge_quant import ops


def conv(
    stride: tuple[int, ...] = (1, 1),
    dilation: tuple[int, ...] = (1, 1),
    padding: tuple[int, ...] = (0, 0, 0, 0),
    groups: int = 1,
) -> ops.Conv:
    """Return a convolution; the defaults are those of a plain one."""
    return ops.Conv(stride, dilation, padding, groups)


def padded(x: np.ndarray, padding: tuple[int, ...], value: float = 0) -> np.ndarray:
    rank = x.ndim - 2
    pads = [(0, 0), (0, 0), *((padding[i], padding[rank + i]) for i in range(rank))]
    return np.pad(x, pads, constant_values=value)


def plain_conv(operator: ops.Conv) -> Callable[..., np.ndarray]:
    """Return the convolution as loops over outputs and taps."""

    def compute(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        x = padded(x, operator.padding)
        window = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], operator.dilation, strict=True)]
        sizes = [
            (n - k) // s + 1 for n, k, s in zip(x.shape[2:], window, operator.stride, strict=True)
        ]
        y = np.zeros((len(x), len(w), *sizes), x.dtype)
        per_in, per_out = w.shape[1], len(w) // operator.groups
        for out, *where in np.ndindex(*y.shape[1:]):
            first = out // per_out * per_in
            for channel, *tap in np.ndindex(*w.shape[1:]):
                terms = zip(where, operator.stride, tap, operator.dilation, strict=True)
                at = tuple(o * s + t * d for o, s, t, d in terms)
                y[(slice(None), out, *where)] += (
                    x[(slice(None), first + channel, *at)] * w[(out, channel, *tap)]
                )
        return y if b is None else y + b.reshape(-1, *(1,) * len(sizes))

    return compute


def plain_conv_transpose(operator: ops.ConvTranspose) -> Callable[..., np.ndarray]:
    """Return the transposed convolution as loops over inputs and taps."""

    def compute(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        rank, groups = x.ndim - 2, operator.groups
        reach = zip(x.shape[2:], operator.stride, operator.dilation, w.shape[2:], strict=True)
        full = [(n - 1) * s + (k - 1) * d + 1 for n, s, d, k in reach]
        full = [f + e for f, e in zip(full, operator.output_padding, strict=True)]
        per_in, per_out = x.shape[1] // groups, w.shape[1]
        y = np.zeros((len(x), per_out * groups, *full), x.dtype)
        for channel, *where in np.ndindex(*x.shape[1:]):
            for out, *tap in np.ndindex(*w.shape[1:]):
                terms = zip(where, operator.stride, tap, operator.dilation, strict=True)
                at = tuple(i * s + t * d for i, s, t, d in terms)
                target = channel // per_in * per_out + out
                y[(slice(None), target, *at)] += (
                    x[(slice(None), channel, *where)] * w[(channel, out, *tap)]
                )
        pads = operator.padding
        cut = tuple(slice(pads[i], full[i] - pads[rank + i]) for i in range(rank))
        y = y[(slice(None), slice(None), *cut)]
        return y if b is None else y + b.reshape(-1, *(1,) * rank)

    return compute


def plain_pool(operator: Any, combine: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Return a pool as a loop over outputs; ``combine`` sees the values that count."""

    def compute(x: np.ndarray) -> np.ndarray:
        (shape,) = operator.infer_shapes(x.shape)
        include = getattr(operator, "count_include_pad", False)
        known = padded(np.ones(x.shape, bool), operator.padding, include)
        values, y = padded(x, operator.padding), np.zeros(shape, x.dtype)
        for place in np.ndindex(*shape):
            index = []
            for axis, o in enumerate(place[2:]):
                span = range(operator.window[axis])
                steps = (o * operator.stride[axis] + t * operator.dilation[axis] for t in span)
                index.append([i for i in steps if i < values.shape[2 + axis]])
            region = np.ix_(*index)
            seen = values[place[:2]][region][known[place[:2]][region]]
            y[place] = combine(seen)
        return y

    return compute


def mean(values: np.ndarray) -> Any:
    """Return the mean, of integers rounded half up."""
    total = values.sum()
    if values.dtype.kind == "i":
        return math.floor((2 * int(total) + values.size) / (2 * values.size))
    return total / values.size


def half_away(x: np.ndarray) -> np.ndarray:
    """Return the nearest integers, ties away from zero."""
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


def power_of_two_steps(x: np.ndarray, s: np.ndarray) -> np.ndarray:
    step = 2.0 ** np.floor(np.log2(s) + 0.5)
    return step * np.clip(np.floor(x / step + 0.5), 0, 15)


def over(axes: tuple[int, ...], keep: bool, combine: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reduction as a loop over what stays."""

    def compute(x: np.ndarray) -> np.ndarray:
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        y = np.zeros(shape, x.dtype)
        for place in np.ndindex(*shape):
            index = tuple(slice(None) if axis in axes else i for axis, i in enumerate(place))
            y[place] = combine(x[index].ravel())
        return y if keep else y.squeeze(axes)

    return compute


def nearest(factor: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the repetition of every position."""
    return lambda x: x.repeat(factor, 2).repeat(factor, 3)


def depth_to_space(x: np.ndarray, b: int, columns_first: bool) -> np.ndarray:
    n, c, h, w = x.shape
    y = np.zeros((n, c // b**2, h * b, w * b), x.dtype)
    for depth, row, column in np.ndindex(c // b**2, b, b):
        crd = depth * b * b + row * b + column
        channel = crd if columns_first else (row * b + column) * (c // b**2) + depth
        y[:, depth, row::b, column::b] = x[:, channel]
    return y


def space_to_depth(x: np.ndarray, b: int) -> np.ndarray:
    return np.concatenate([x[:, :, i // b :: b, i % b :: b] for i in range(b * b)], axis=1)


def softmax(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum(axis=axes, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


def normalize(x: np.ndarray, *stats: np.ndarray) -> np.ndarray:
    scale, bias, average, variance = (s.reshape(-1, 1) for s in stats)
    return (x - average) / np.sqrt(variance + 1e-5) * scale + bias


def stored(steps: np.ndarray, kind: str) -> np.ndarray:
    """Return whole numbers saturated to an integer type."""
    limits = np.iinfo(kind)
    return np.clip(steps, limits.min, limits.max).astype(kind)


def requantized(
    total: np.ndarray, factor: np.ndarray, scale: np.ndarray, zero: np.ndarray
) -> np.ndarray:
    """Return what a quantized operator makes of an accumulator, as ONNX Runtime rounds it."""
    ratio = factor.astype(np.float32) / scale.astype(np.float32)
    return stored(np.rint(total.astype(np.float32) * ratio) + int(zero), zero.dtype.name)


def reals(q: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Return real values in float32."""
    return (q.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale


def steps(x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Return real values quantized, ties to even."""
    return stored(np.rint(x / scale).astype(np.float64) + int(zero), zero.dtype.name)


def less(q: np.ndarray, zero: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return integers less their zero points in int64."""
    return q.astype(np.int64) - column(zero.astype(np.int64), axis, q.ndim)


def column(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Return a row of values shaped to run along an axis."""
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape) if values.ndim else values


def dynamic(x: np.ndarray) -> tuple[np.ndarray, ...]:
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = np.float32((np.float32(high) - np.float32(low)) / np.float32(255))
    zero = stored(np.rint(np.asarray(np.float32(-low) / scale)), "uint8")
    return steps(x, scale, zero), np.asarray(scale), zero


GROUPED = conv(dilation=(2, 1), padding=(1, 1, 2, 0), groups=2)


def qlinear_conv(x, xs, xz, w, ws, wz, ys, yz, b=None) -> np.ndarray:  # type: ignore[no-untyped-def]
    total = plain_conv(GROUPED)(less(x, xz), less(w, wz), None if b is None else b.astype(int))
    return requantized(total, column(xs * ws, 1, 4), ys, yz)


def qgemm(a, sa, za, b, sb, zb, c, sy, zy) -> np.ndarray:  # type: ignore[no-untyped-def]
    return requantized(less(a, za) @ less(b, zb).T + c, sa * sb, sy, zy)


def between(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Return a function of two real tensors between dequantization and quantization."""

    def compute(*arrays: np.ndarray) -> np.ndarray:
        data = [reals(*arrays[i : i + 3]) for i in range(0, len(arrays) - 2, 3)]
        return steps(function(*data), *arrays[-2:])

    return compute


def one(kind: str) -> tuple[str, str, str]:
    return kind, "float32", kind
