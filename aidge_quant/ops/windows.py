"""Sliding windows over the spatial axes: shared by convolutions and pools of any spatial rank."""

from collections.abc import Iterator

import numpy as np

from aidge_quant.errors import ShapeError

Sizes = tuple[int, ...]


def output_sizes(
    sizes: Sizes,
    window: Sizes,
    stride: Sizes,
    dilation: Sizes,
    padding: Sizes,
    *,
    ceil: bool = False,
) -> Sizes:
    """Return the spatial sizes of the output.

    out = floor_or_ceil((size + begin + end - dilation * (window - 1) - 1) / stride) + 1, and with
    ``ceil`` a last window that would start in the end padding is left out (as ONNX and its
    runtimes do).

    Parameters
    ----------
    padding : tuple of int
        All begins, then all ends.

    Raises
    ------
    ShapeError
        If the window does not fit into the padded input.
    """
    rank, found = len(sizes), []
    for axis in range(rank):
        begin, end = padding[axis], padding[rank + axis]
        room = sizes[axis] + begin + end - dilation[axis] * (window[axis] - 1) - 1
        if room < 0:
            raise ShapeError(
                f"a window of {window} with dilation {dilation} does not fit into {sizes} "
                f"padded by {padding}"
            )
        steps = -(-room // stride[axis]) if ceil else room // stride[axis]
        if ceil and steps * stride[axis] >= sizes[axis] + begin:
            steps -= 1
        found.append(steps + 1)
    return tuple(found)


def pad_spatial(
    x: np.ndarray, padding: Sizes, value: float, extra: Sizes | None = None
) -> np.ndarray:
    """Return x (batch, channels, *spatial) padded with ``value``; ``extra`` widens the ends."""
    rank = x.ndim - 2
    extra = extra or (0,) * rank
    widths = [(0, 0), (0, 0)]
    widths += [(padding[i], padding[rank + i] + extra[i]) for i in range(rank)]
    if not any(b or e for b, e in widths):
        return x
    return np.pad(x, widths, constant_values=value)


def taps(
    padded: np.ndarray, window: Sizes, stride: Sizes, dilation: Sizes, outputs: Sizes
) -> Iterator[tuple[Sizes, np.ndarray]]:
    """Yield each position of the window with a view (batch, channels, *outputs) of what it sees."""
    for tap in np.ndindex(*window):
        places = (
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, outputs, stride, strict=True)
        )
        yield tap, padded[(slice(None), slice(None), *places)]


def missing_at_end(
    sizes: Sizes, window: Sizes, stride: Sizes, dilation: Sizes, padding: Sizes, outputs: Sizes
) -> Sizes:
    """Return how far the last window reaches beyond the padded input, per axis (ceil mode)."""
    rank = len(sizes)
    reach = ((outputs[i] - 1) * stride[i] + dilation[i] * (window[i] - 1) + 1 for i in range(rank))
    return tuple(
        max(0, need - sizes[i] - padding[i] - padding[rank + i]) for i, need in enumerate(reach)
    )
