"""Which channels must be scaled together: every channel followed through the whole network."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from aidge_quant.executor import infer_shapes
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import (
    FC,
    Add,
    Clip,
    Concat,
    DepthToSpace,
    Flatten,
    Identity,
    Max,
    Min,
    Pad,
    Producer,
    ReLU,
    Reshape,
    Resize,
    Slice,
    SpaceToDepth,
    Squeeze,
    Sub,
    Trait,
    Transpose,
    Unsqueeze,
)
from aidge_quant.ptq.flow import has_trait, is_affine

#: Unit of channels that are zero whatever their factor, and of those whose factor must be 1.
ZERO, FIXED = 0, 1

#: Operators of one data input whose every output value is one input value or zero.
MOVERS = (
    DepthToSpace,
    Flatten,
    Identity,
    ReLU,
    Reshape,
    Resize,
    Slice,
    SpaceToDepth,
    Squeeze,
    Transpose,
    Unsqueeze,
)


@dataclass(frozen=True, eq=False)
class AffineChannels:
    """The units of one affine node with constant parameters of its own.

    Attributes
    ----------
    node : Node
    inputs : int64 array (in,)
    outputs : int64 array (out,)
    """

    node: Node
    inputs: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True, eq=False)
class ChannelGroups:
    """The channels of a network in units, and the units in groups.

    A unit holds all channels that must have the same factor: those joined by an Add, a pool or
    any other node through which a factor passes. A group holds the units that meet in a tensor
    which an affine node reads or writes.

    Attributes
    ----------
    count : int
        Number of units; 0 is ``ZERO`` and 1 is ``FIXED``.
    units : dict of int64 array (channels,) by node
        Unit of every channel, along axis 1 of the node's output; without nodes of less than 2 axes
        or of several outputs.
    affine : tuple of AffineChannels, in topological order
    groups : tuple of int64 array, each ascending
        Units that may be scaled, in order of their first producers.
    """

    count: int
    units: dict[Node, np.ndarray]
    affine: tuple[AffineChannels, ...]
    groups: tuple[np.ndarray, ...]


def channel_groups(network: GraphView, *, clip_arrays: bool = False) -> ChannelGroups:
    """Return the units and groups of channels of a float network.

    Parameters
    ----------
    network : GraphView
        Prepared: parameters are producers. It is not changed.
    clip_arrays : bool
        Whether the upper bound of a Clip may become one value a channel.

    Notes
    -----
    A positive factor passes ReLU, PReLU and other homogeneous functions, pools, sums and
    differences, nodes that move values, and Clip with a lower bound of 0 or none; with a finite
    upper bound, only where ``clip_arrays`` is set and a layer with weights is right before it:
    only such a layer ends in a bound for every channel. ``FIXED`` are: inputs and outputs of the
    network, constants, what other functions, products and nodes without a rule read or write, and
    both sides of an affine node that shares a parameter or works on other axes than channels.

    Nodes that move values are run on the units themselves, so Slice, Pad, Concat, Flatten or
    Transpose are exact for every channel; zeros that a Pad adds belong to ``ZERO``.
    """
    walk = _Walk(network, clip_arrays)
    for node in network.topological():
        walk.visit(node)
    for output in network.outputs:
        walk.fix(output.port)
    return walk.finish()


class _Ties:
    """Union-find over integers; the smallest member stands for its set."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def add(self, count: int) -> np.ndarray:
        """Return new members, each a set of its own."""
        first = len(self._parents)
        self._parents += range(first, first + count)
        return np.arange(first, first + count)

    def join(self, left: np.ndarray, right: np.ndarray) -> None:
        """Join the members of two arrays of one shape, pair by pair; ``ZERO`` joins nothing."""
        different = (left != ZERO) & (right != ZERO) & (left != right)
        size = len(self._parents)
        for pair in np.unique(left[different] * size + right[different]).tolist():
            low, high = sorted((self.find(pair // size), self.find(pair % size)))
            self._parents[high] = low

    def find(self, member: int) -> int:
        """Return the member that stands for the set."""
        while self._parents[member] != member:
            self._parents[member] = self._parents[self._parents[member]]
            member = self._parents[member]
        return member

    def all(self) -> np.ndarray:
        """Return what ``find`` returns for every member."""
        return np.array([self.find(member) for member in range(len(self._parents))])


class _Walk:
    """Units of the tensors met so far, by node."""

    def __init__(self, network: GraphView, clip_arrays: bool) -> None:
        self.network = network
        self.clip_arrays = clip_arrays
        self.shapes = infer_shapes(network)
        self.ties = _Ties(FIXED + 1)
        self.units: dict[Node, np.ndarray] = {}
        self.affine: list[AffineChannels] = []

    def visit(self, node: Node) -> None:
        """Note the units of the node's output."""
        if node.operator.output_count > 1 or len(self.shapes[node][0]) < 2:
            self._fix_inputs(node)
            return
        if is_affine(node):
            self.units[node] = self._affine(node)
            return
        passed = self._pass(node) if node.inputs else None
        if passed is None:
            self._fix_inputs(node)
            passed = np.full(self.shapes[node][0], FIXED)
        self.units[node] = self._by_channel(passed)

    def fix(self, port: Port) -> None:
        """Let the factors of a tensor be 1."""
        units = self._spread(port)
        self.ties.join(units, np.full_like(units, FIXED))

    def finish(self) -> ChannelGroups:
        """Return what was found, with units numbered without gaps."""
        roots, number = np.unique(self.ties.all(), return_inverse=True)
        units = {node: number[found] for node, found in self.units.items()}
        affine = tuple(
            AffineChannels(a.node, number[a.inputs], number[a.outputs]) for a in self.affine
        )
        meets = _Ties(roots.size)
        for side in (side for a in affine for side in (a.inputs, a.outputs)):
            scaled = side[side > FIXED]
            meets.join(scaled[:-1], scaled[1:])
        group_of = meets.all()
        groups = [np.flatnonzero(group_of == first) for first in np.unique(group_of[FIXED + 1 :])]
        return ChannelGroups(roots.size, units, affine, tuple(groups))

    def _pass(self, node: Node) -> np.ndarray | None:
        """Return the units of the output, in its shape; None where no factor passes."""
        operator, shape = node.operator, self.shapes[node][0]
        if isinstance(operator, Add | Sub | Max | Min):
            left, right = np.broadcast_arrays(*(self._spread(node.input(i)) for i in (0, 1)))
            self.ties.join(left, right)
            return np.where(left == ZERO, right, left)
        if isinstance(operator, Concat):
            return operator.forward(*(self._spread(node.input(i)) for i in range(len(node.inputs))))
        others = [port for port in node.inputs[1:] if port is not None]
        if any(not isinstance(port.node.operator, Producer) for port in others):
            return None
        if isinstance(operator, Clip):
            capped = self.clip_arrays and is_affine(node.input(0).node)
            bounded = not capped and np.isfinite(operator.upper).any()
            passes = operator.lower in (0, -np.inf) and not bounded
            return self._spread(node.input(0)) if passes else None
        if isinstance(operator, Pad):
            added = ZERO if operator.value == 0 else FIXED
            return dataclasses.replace(operator, value=added).forward(self._spread(node.input(0)))
        if isinstance(operator, MOVERS):
            return operator.forward(self._spread(node.input(0)))
        if has_trait(node, Trait.HOMOGENEOUS) and has_trait(node, Trait.KEEPS_CHANNELS):
            return _along_channels(self._by_channel(self._spread(node.input(0))), shape)
        return None

    def _affine(self, node: Node) -> np.ndarray:
        """Note an affine node and return the units of its outputs."""
        shape = self.shapes[node][0]
        others = isinstance(node.operator, FC) and len(shape) != 2
        if others or not _owns_parameters(self.network, node):
            self._fix_inputs(node)
            return np.full(shape[1], FIXED)
        inputs = self._by_channel(self._spread(node.input(0)))
        self.affine.append(AffineChannels(node, inputs, self.ties.add(shape[1])))
        return self.affine[-1].outputs

    def _fix_inputs(self, node: Node) -> None:
        for port in node.inputs:
            if port is not None:
                self.fix(port)

    def _spread(self, port: Port) -> np.ndarray:
        """Return the units of a tensor, in its shape."""
        shape = self.shapes[port.node][port.index]
        if isinstance(port.node.operator, Producer):
            return np.where(port.node.operator.value == 0, ZERO, FIXED)
        if port.node not in self.units:
            return np.full(shape, FIXED)
        return _along_channels(self.units[port.node], shape)

    def _by_channel(self, units: np.ndarray) -> np.ndarray:
        """Join what stands on the same place of axis 1, and return one unit a channel."""
        kept = tuple(slice(0, 1) if step == 0 else slice(None) for step in units.strides)
        rows = np.moveaxis(np.broadcast_to(units[kept], units[kept].shape), 1, 0)
        rows = rows.reshape(rows.shape[0], -1)
        first = np.take_along_axis(rows, np.argmax(rows != ZERO, axis=1)[:, None], axis=1)
        self.ties.join(np.broadcast_to(first, rows.shape), rows)
        return np.broadcast_to(first[:, 0], units.shape[1:2]).copy()


def _along_channels(units: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a view of ``units`` (channels,) along axis 1 of ``shape``."""
    return np.broadcast_to(units.reshape(-1, *(1,) * (len(shape) - 2)), shape)


def _owns_parameters(network: GraphView, node: Node) -> bool:
    """Whether weight and bias are constants that nothing else reads."""
    parameters = [node.input(slot).node for slot in (1, 2) if node.has_input(slot)]
    return all(
        isinstance(p.operator, Producer) and network.sole_consumer(p) is node for p in parameters
    )
