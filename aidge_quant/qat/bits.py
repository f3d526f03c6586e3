"""How many bits the weights and the input of each layer have."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, GraphError
from aidge_quant.graph import GraphView, Node
from aidge_quant.ptq.flow import is_affine


@dataclass(frozen=True)
class LayerBits:
    """Bits of one layer.

    Attributes
    ----------
    weight, activation : int, 2 to 8
        Of the weight, and of the data that the layer reads.
    """

    weight: int
    activation: int

    def __post_init__(self) -> None:
        """Check the numbers."""
        require_bits(self.weight, "weight bits")
        require_bits(self.activation, "activation bits")


def require_bits(bits: int, name: str) -> None:
    """Refuse what is no number of bits of an integer network.

    Raises
    ------
    DataError
    """
    if not isinstance(bits, int | np.integer) or not 2 <= bits <= 8:
        raise DataError(f"{name}: {bits!r}, expected a whole number from 2 to 8")


def bits_of_layers(
    network: GraphView,
    default: LayerBits,
    layers: Mapping[str, LayerBits] | None = None,
    first: int | None = None,
    last: int | None = None,
) -> dict[Node, LayerBits]:
    """Return the bits of every affine node.

    Parameters
    ----------
    default : LayerBits
    layers : mapping by name, optional
        Has the last word.
    first, last : int, optional
        Of the weights and the input of the affine nodes that read the network's input, and of those
        that no affine node follows.

    Raises
    ------
    GraphError
        If a name is that of no affine node.
    """
    affine = [node for node in network.topological() if is_affine(node)]
    unknown = sorted(set(layers or ()) - {node.name for node in affine})
    if unknown:
        raise GraphError(f"layer bits name {unknown}, which are no layers with weights")
    before, after = _reached(network, affine)
    found = {}
    for node in affine:
        bits = default
        if first is not None and node not in before:
            bits = LayerBits(first, first)
        if last is not None and node not in after:
            bits = LayerBits(last, last)
        found[node] = (layers or {}).get(node.name, bits)
    return found


def inner_layers(network: GraphView) -> list[Node]:
    """Return the affine nodes that another one follows, in order."""
    affine = [node for node in network.topological() if is_affine(node)]
    followed = _reached(network, affine)[1]
    return [node for node in affine if node in followed]


def weight_range(bits: int) -> tuple[int, int]:
    """Return the integers of a weight: those of its bits that the type which stores it may hold.

    4 and 8 bits are stored as int4 and int8, whose least value the integer network does not use.
    """
    stored = weight_type(bits)
    return max(-(1 << (bits - 1)), -stored.max), (1 << (bits - 1)) - 1


def weight_type(bits: int) -> dtype:
    """Return the type that stores a weight."""
    return dtype.int4 if bits <= 4 else dtype.int8


def _reached(network: GraphView, affine: list[Node]) -> tuple[set[Node], set[Node]]:
    """Return the affine nodes with one before them, and those with one behind them."""
    behind: dict[Node, frozenset[Node]] = {}
    followed: set[Node] = set()
    for node in network.topological():
        sources: frozenset[Node] = frozenset()
        for port in node.inputs:
            if port is not None:
                sources |= behind[port.node]
        if node in affine:
            followed |= sources
            behind[node] = frozenset({node})
        else:
            behind[node] = sources
    before = {
        node
        for node in affine
        if any(behind[port.node] for port in node.inputs[:1] if port is not None)
    }
    return before, followed
