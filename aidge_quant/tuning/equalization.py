"""Cross-layer equalization on groups of channels: residual streams, depthwise triples, Concat.

The published pass on chains is ``aidge_quant.ptq.equalization``.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aidge_quant.errors import DataError, GraphError, ShapeError
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import Clip, Dequantizer, Quantizer
from aidge_quant.ptq.channels import (
    output_rows,
    scale_input_channels,
    scale_output_channels,
)
from aidge_quant.ptq.flow import logger
from aidge_quant.tuning.channel_groups import AffineChannels, ChannelGroups, channel_groups

MAX_SWEEPS = 100
TOLERANCE = 1e-3
#: A channel whose weights are below this part of the layer's largest is left alone.
DEAD = 1e-6
#: Factors stay between 1 / LIMIT and LIMIT.
LIMIT = 64.0


def equalize_channels(
    network: GraphView,
    *,
    activations: Mapping[Node, np.ndarray] | None = None,
    alpha: float = 0.5,
    strength: float = 1.0,
    clip_arrays: bool = False,
) -> dict[str, np.ndarray]:
    """Even out, in place, the ranges of channels by factors that cancel, and return the factors.

    The function of the network stays the same.

    Parameters
    ----------
    network : GraphView
        Float network after ``prepare_network``, before scaling nodes are inserted.
    activations : mapping of float array (channels,) by node, optional
        Size of the channels of the node's output, along axis 1, such as the mean over samples of
        the maximum of each. Where given, the ranges of activations and of the weights that read
        them are balanced instead of the ranges of weights; groups without a value stay as they are.
    alpha : float, 0 to 1
        How much of the range of activations moves into the weights; 0.5 shares it. Without
        ``activations`` it has no effect.
    strength : float, 0 to 1
        Power of the factors that balance weights. Below 1 the weights keep part of their spread,
        and the activations take on less.
    clip_arrays : bool
        Also scale the channels that pass a Clip with a finite upper bound (ReLU6), whose bound
        becomes an array (channels,) along axis 1 unless all are equal. Off, they keep a factor of
        1, so that the graph runs and lowers with scalar bounds.

    Returns
    -------
    dict of float64 array (channels,) by name of node
        What the channels of each changed output were divided by: value on the original network =
        value * factor. ``Annotation.CHANNEL_FACTORS`` of the nodes is multiplied by it.

    Raises
    ------
    GraphError
        If the network has scaling nodes, or ``activations`` names a node that it does not have.
    ShapeError, DataError
        If an array of ``activations`` does not fit its node or holds negative or no finite numbers,
        or if ``alpha`` or ``strength`` is out of range.

    Notes
    -----
    The channels that share a factor come from ``channel_groups``. For a unit c of a group let r1 be
    the largest max|W[c]| among the affine nodes that write it and r2 the largest max|W[:, c]| among
    those that read it. Then ``t = sqrt(r1 / r2)``, divided by its geometric mean over the group;
    writers take ``W[c] / t`` and ``b[c] / t``, readers ``W[:, c] * t``, and the upper bound of a
    Clip becomes ``upper / t``. Sweeps go over the groups until no t is further than ``TOLERANCE``
    from 1 (Nagel et al. 2019, arXiv 1906.04721, section 4.1, extended from pairs to groups). In a
    group that an affine node both reads and writes t is ``(r1 / r2) ** 0.25``, since there r1 and
    r2 move together: the full step can swap two weights forever.

    With ``activations`` a unit whose channels have the size ra gets ``ra**alpha / r2**(1 - alpha)``
    over its geometric mean, in one pass in topological order (Xiao et al. 2023, arXiv 2211.10438,
    equation 4).

    The geometric mean is a deviation: the optimum is then r1 / r2 equal within each group instead
    of 1. A factor common to a group changes no ratio within a tensor, thus no error of
    quantization, but would set channels that must keep a factor of 1 apart from the others, and use
    up the limit of the factors.

    Units with r1 or r2 below ``DEAD`` of the largest of every layer concerned keep a factor of 1;
    the other factors stay within ``LIMIT``.

    Biases do not take part in r1: counting part of |b| left the ranges of activations as wide.
    """
    for node in network.nodes:
        if isinstance(node.operator, Quantizer | Dequantizer):
            raise GraphError(
                f"{node.name} ({node.type}): expected a float network without scaling nodes; "
                "equalize before insert_scaling_nodes"
            )
    for name, value in (("alpha", alpha), ("strength", strength)):
        if not 0 <= value <= 1:
            raise DataError(f"{name} is {value}, expected a number from 0 to 1")
    channels = channel_groups(network, clip_arrays=clip_arrays)
    ranges = None if activations is None else _activation_ranges(network, channels, activations)
    groups = _scalable_groups(channels)
    factors = np.ones(channels.count)
    if ranges is not None:
        for group in groups:
            group.balance(factors, ranges, alpha)
    else:
        _sweep(groups, factors)
        factors **= strength
    for affine in channels.affine:
        _scale_parameters(affine, factors)
    return _note(network, channels, factors)


class _Layer:
    """The largest weights of one affine node between its channels, scaled by the factors."""

    def __init__(self, channels: AffineChannels) -> None:
        rows = np.abs(output_rows(channels.node, channels.node.input(1).node.operator.value))
        rows = rows.reshape(*rows.shape[:2], -1).max(axis=2).astype(np.float64)
        groups = channels.inputs.size // rows.shape[1]
        # (groups, out / groups, in / groups)
        self._maxima = rows.reshape(groups, -1, rows.shape[1])
        self._inputs = channels.inputs.reshape(groups, 1, -1)
        self._outputs = channels.outputs.reshape(groups, -1, 1)
        self.channels = channels

    def scaled(self, factors: np.ndarray) -> np.ndarray:
        return self._maxima * (factors[self._inputs] / factors[self._outputs])

    def written(self, factors: np.ndarray) -> np.ndarray:
        """Return max|W[c]| of every output channel."""
        return self.scaled(factors).max(axis=2).reshape(-1)

    def read(self, factors: np.ndarray) -> np.ndarray:
        """Return max|W[:, c]| of every input channel."""
        return self.scaled(factors).max(axis=1).reshape(-1)


@dataclass(frozen=True, eq=False)
class _Group:
    """Units that are scaled together, and the layers that write and read them."""

    units: np.ndarray
    writers: tuple[_Layer, ...]
    readers: tuple[_Layer, ...]

    def even_out(self, factors: np.ndarray) -> float:
        """Take one step towards equal r1 / r2, in place, and return the largest change."""
        exponent = 0.25 if set(self.writers) & set(self.readers) else 0.5
        r1, r2 = self._written(factors), self._read(factors)
        before = factors[self.units]
        factors[self.units] = _limited(before * (r1 / r2) ** exponent)
        return float(np.abs(factors[self.units] / before - 1).max())

    def balance(self, factors: np.ndarray, ranges: np.ndarray, alpha: float) -> None:
        """Balance, in place, activations of the given ranges against the weights that read them."""
        known = ranges[self.units] > 0
        units, r2 = self.units[known], self._read(factors)[known]
        if units.size:
            factors[units] = _limited(ranges[units] ** alpha / r2 ** (1 - alpha))

    def _written(self, factors: np.ndarray) -> np.ndarray:
        sides = [(layer.channels.outputs, layer.written(factors)) for layer in self.writers]
        return _largest(sides, factors.size)[self.units]

    def _read(self, factors: np.ndarray) -> np.ndarray:
        sides = [(layer.channels.inputs, layer.read(factors)) for layer in self.readers]
        return _largest(sides, factors.size)[self.units]


def _scalable_groups(channels: ChannelGroups) -> list[_Group]:
    """Return the groups without their dead units, in topological order."""
    layers = [_Layer(affine) for affine in channels.affine]
    ones = np.ones(channels.count)
    written = [(a.channels.outputs, _parts(a.written(ones))) for a in layers]
    read = [(a.channels.inputs, _parts(a.read(ones))) for a in layers]
    alive = (_largest(written, channels.count) >= DEAD) & (_largest(read, channels.count) >= DEAD)
    groups = []
    for members in channels.groups:
        units = members[alive[members]]
        writers = tuple(a for a in layers if np.isin(a.channels.outputs, members).any())
        readers = tuple(a for a in layers if np.isin(a.channels.inputs, members).any())
        if units.size:
            groups.append(_Group(units, writers, readers))
    return groups


def _sweep(groups: list[_Group], factors: np.ndarray) -> None:
    change = 0.0
    for sweep in range(1, MAX_SWEEPS + 1):
        change = max((group.even_out(factors) for group in groups), default=0.0)
        if change < TOLERANCE:
            logger.debug("equalization: %d groups, %d sweeps", len(groups), sweep)
            return
    logger.info("equalization: a factor still changed by %.2g in sweep %d", change, MAX_SWEEPS)


def _parts(maxima: np.ndarray) -> np.ndarray:
    """Return the maxima as parts of the largest."""
    return maxima / max(maxima.max(), np.finfo(np.float64).tiny)


def _largest(sides: list[tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """Return the largest value of each unit, from pairs of units and values."""
    found = np.zeros(count)
    for units, values in sides:
        np.maximum.at(found, units, values)
    return found


def _limited(factors: np.ndarray) -> np.ndarray:
    """Return the factors over their geometric mean, within the limits."""
    return np.clip(factors / np.exp(np.log(factors).mean()), 1 / LIMIT, LIMIT)


def _activation_ranges(
    network: GraphView, channels: ChannelGroups, activations: Mapping[Node, np.ndarray]
) -> np.ndarray:
    """Return the largest activation of every unit, 0 where none is known."""
    sides = []
    for node, values in activations.items():
        if node not in network:
            raise GraphError(f"activations: {node.name} is not a node of graph {network.name}")
        units, array = channels.units.get(node), np.asarray(values, np.float64)
        if units is None or array.shape != units.shape:
            expected = "no array, it has no channels" if units is None else units.shape
            raise ShapeError(
                f"activations of {node.name} ({node.type}): expected {expected}, "
                f"got shape {array.shape}"
            )
        if not (np.isfinite(array).all() and (array >= 0).all()):
            raise DataError(
                f"activations of {node.name} ({node.type}): expected finite numbers from 0, "
                f"got {array.min()} to {array.max()}"
            )
        sides.append((units, array))
    return _largest(sides, channels.count)


def _scale_parameters(affine: AffineChannels, factors: np.ndarray) -> None:
    """Scale, in place, the weight and the bias of an affine node, once and in float64."""
    node, inputs, outputs = affine.node, factors[affine.inputs], factors[affine.outputs]
    if (inputs == 1).all() and (outputs == 1).all():
        return
    weight = node.input(1).node.operator.value.astype(np.float64)
    weight = scale_output_channels(node, weight, 1 / outputs)
    _set(node.input(1).node, scale_input_channels(node, weight, inputs))
    if node.has_input(2):
        _set(node.input(2).node, node.input(2).node.operator.value / outputs)


def _set(node: Node, value: np.ndarray) -> None:
    array = np.ascontiguousarray(value, node.operator.value.dtype)
    node.operator = dataclasses.replace(node.operator, value=array)


def _note(
    network: GraphView, channels: ChannelGroups, factors: np.ndarray
) -> dict[str, np.ndarray]:
    """Annotate the nodes whose outputs changed, scale the bounds of Clips, return the factors."""
    noted = {}
    for node in network.topological():
        if node not in channels.units:
            continue
        factor = factors[channels.units[node]]
        if (factor == 1).all():
            continue
        noted[node.name] = factor
        before = node.annotations.get(Annotation.CHANNEL_FACTORS, 1.0)
        node.annotations[Annotation.CHANNEL_FACTORS] = before * factor
        if isinstance(node.operator, Clip):
            upper = node.operator.upper / factor
            bound = float(upper[0]) if (upper == upper[0]).all() else upper
            node.operator = dataclasses.replace(node.operator, upper=bound)
    return noted
