"""Weights seen by output channel and by input channel, whatever the affine operator."""

import numpy as np

from aidge_quant.graph import Node


def output_rows(node: Node, weight: np.ndarray) -> np.ndarray:
    """Return a view of ``weight`` as (out, ...), one row for every output channel."""
    if node.operator.output_axis == 0:
        return weight
    # ConvTranspose: (in, out / groups, *window) -> (groups, out / groups, in / groups, *window)
    grouped = _grouped(node, weight).swapaxes(1, 2)
    return grouped.reshape(grouped.shape[0] * grouped.shape[1], *grouped.shape[2:])


def input_rows(node: Node, weight: np.ndarray) -> np.ndarray:
    """Return a view of ``weight`` as (in, ...), one row for every input channel.

    An affine node with groups reads channel i of group g by the rows of that group only, so the
    view is (groups, out / groups, in / groups, ...) with the middle axes swapped and the first two
    joined.
    """
    if node.operator.output_axis != 0:
        return weight
    swapped = _grouped(node, weight).swapaxes(1, 2)
    return swapped.reshape(swapped.shape[0] * swapped.shape[1], *swapped.shape[2:])


def scale_output_channels(node: Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return ``weight`` with output channel i multiplied by ``factor[i]``."""
    if node.operator.output_axis == 0:
        return weight * _column(factor, weight.ndim)
    grouped = _grouped(node, weight)
    shape = (grouped.shape[0], 1, grouped.shape[2], *(1,) * (grouped.ndim - 3))
    return (grouped * factor.reshape(shape)).reshape(weight.shape)


def scale_input_channels(node: Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return ``weight`` with input channel i multiplied by ``factor[i]``."""
    if node.operator.output_axis != 0:
        return weight * _column(factor, weight.ndim)
    grouped = _grouped(node, weight)
    shape = (grouped.shape[0], 1, grouped.shape[2], *(1,) * (grouped.ndim - 3))
    return (grouped * factor.reshape(shape)).reshape(weight.shape)


def row_maxima(rows: np.ndarray) -> np.ndarray:
    """Return max|.| of every row."""
    return np.abs(rows).reshape(rows.shape[0], -1).max(axis=1)


def _grouped(node: Node, weight: np.ndarray) -> np.ndarray:
    groups = getattr(node.operator, "groups", 1)
    return weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])


def _column(factor: np.ndarray, rank: int) -> np.ndarray:
    return factor.reshape(-1, *(1,) * (rank - 1))
