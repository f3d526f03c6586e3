"""What a layer with weights reads: one row of taps for every output position."""

import numpy as np

from aidge_quant.graph import Node
from aidge_quant.ops import FC, Conv


def tap_views(node: Node, x: np.ndarray) -> np.ndarray:
    """Return a view (batch, groups, *positions, taps...) of what the node's outputs read.

    Parameters
    ----------
    node : Node
        A Conv, or an FC, which reads rows.
    x : array (batch, *ONNX shape), zero points left out
    """
    operator = node.operator
    if isinstance(operator, FC):
        taps = node.input(1).node.operator.value.shape[1]
        return x.reshape(-1, 1, taps)
    assert isinstance(operator, Conv)
    rank = len(operator.stride)
    pads = [(0, 0), (0, 0), *zip(operator.padding[:rank], operator.padding[rank:], strict=True)]
    x = np.pad(x, pads)
    window = node.input(1).node.operator.value.shape[2:]
    reach = [(k - 1) * d + 1 for k, d in zip(window, operator.dilation, strict=True)]
    axes = tuple(range(2, 2 + rank))
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=axes)
    strides = (1, 1, *operator.stride, *operator.dilation)
    seen = seen[tuple(slice(None, None, step) for step in strides)]
    groups = operator.groups
    seen = seen.reshape(seen.shape[0], groups, seen.shape[1] // groups, *seen.shape[2:])
    # (batch, groups, in / groups, *positions, *window) -> (batch, groups, *positions, in, *window)
    return np.moveaxis(seen, 2, 2 + rank)


def by_group(node: Node, weight: np.ndarray) -> np.ndarray:
    """Return the weight of a layer (groups, out / groups, taps)."""
    groups = getattr(node.operator, "groups", 1)
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def tap_means(node: Node, x: np.ndarray) -> np.ndarray:
    """Return the mean of every tap over samples and positions: float64 (groups, taps)."""
    if isinstance(node.operator, FC):
        return tap_views(node, x).mean(axis=0, dtype=np.float64)
    # The mean over samples first: windows of one image instead of all.
    seen = tap_views(node, x.mean(axis=0, dtype=np.float64, keepdims=True))
    rank = len(node.operator.stride)
    axes = (0, *range(2, 2 + rank))
    return seen.mean(axis=axes).reshape(seen.shape[1], -1)


def tap_rows(node: Node, x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return at most ``count`` rows of taps, drawn at random: float64 (groups, rows, taps)."""
    seen = tap_views(node, x)
    if isinstance(node.operator, FC):
        rows = seen[:, 0]
        if len(rows) > count:
            rows = rows[np.sort(rng.choice(len(rows), count, replace=False))]
        return rows[None].astype(np.float64)
    rank = len(node.operator.stride)
    shape = (seen.shape[0], *seen.shape[2 : 2 + rank])
    total = int(np.prod(shape))
    chosen = np.arange(total)
    if total > count:
        chosen = np.sort(rng.choice(total, count, replace=False))
    batch, *positions = np.unravel_index(chosen, shape)
    # Two index arrays around a slice: the rows come first, then groups, then taps.
    rows = np.moveaxis(seen, 1, 1 + rank)[(batch, *positions)]
    return rows.reshape(len(chosen), seen.shape[1], -1).transpose(1, 0, 2).astype(np.float64)


def tap_moments(node: Node, x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the centered second moments of the taps: float64 (groups, taps, taps)."""
    rows = tap_rows(node, x, count, rng)
    rows = (rows - rows.mean(axis=1, keepdims=True)).astype(np.float32)
    return (rows.transpose(0, 2, 1) @ rows).astype(np.float64) / rows.shape[1]
