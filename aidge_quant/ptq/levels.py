"""Which integers an activation takes: the ends of its type, and what stands for 1.0.

========================  ==================  =============
activation                integers            1.0
========================  ==================  =============
int8 (int4 likewise)      -128 to 127         127
int8, see below           -128 to 127         126
unsigned 8 bits           0 to 255            254
int16, input of network   -32768 to 32767     32767
int16, others             -32768 to 32767     16383
int32, outputs only       those of the type   free
========================  ==================  =============

254 is twice 127: the same shifts and weights as with a sign, and twice the resolution, so that the
choice of a sign never costs a layer a bit of its weights. Where an unsigned branch joins signed
ones without a layer of its own, 126 keeps the step between the two units from being one half, which
would round every second value up and add a bias to the sum. An inner int16 activation keeps a
factor of two for values beyond those of the calibration set: saturating one output is worse than
half of a resolution that is 256 times that of int8.
"""

import dataclasses

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import ArgMax, GlobalMaxPool, Input, MaxPool, Trait
from aidge_quant.ptq.flow import (
    driver,
    has_trait,
    is_affine,
    is_merging,
    merged_groups,
    parameter,
    parameter_quantizers,
    precision,
    scale_sources,
)
from aidge_quant.ptq.signs import unsigned_quantizers

#: Largest magnitude of a clipped int32 that float32 holds exactly.
LARGEST_INT32 = 2**31 - 128


@dataclasses.dataclass(frozen=True)
class Levels:
    """The integers of an activation: ``top`` stands for 1.0 of the normalized value."""

    lower: int
    upper: int
    top: float

    @property
    def largest(self) -> int:
        """The largest magnitude."""
        return max(-self.lower, self.upper)


def weight_levels(quantizer: Node) -> Levels:
    """Return the integers of the weight of the affine node before an activation quantizer.

    Raises
    ------
    UnsupportedError
        If it is to have more than 16 bits.
    """
    weight = parameter_quantizers(driver(quantizer))[0]
    found = precision(weight)
    if found.bits > 16:
        raise UnsupportedError(
            f"{parameter(weight).name}: weight precision {found.value} is not handled, expected "
            "int4, int8 or int16"
        )
    return _symmetric(found)


def bias_levels(bias: Node) -> Levels:
    """Return the integers of a bias: those of the accumulator, int32.

    Raises
    ------
    UnsupportedError
        If it is to have another type, which could not hold it in units of the accumulator.
    """
    found = precision(bias)
    if found is not dtype.int32:
        raise UnsupportedError(
            f"{parameter(bias).name}: bias precision {found.value} is not handled, expected int32, "
            "the type of the accumulator"
        )
    return Levels(-LARGEST_INT32, LARGEST_INT32, 1)


def _symmetric(element_type: dtype) -> Levels:
    if element_type.bits > 16:
        return Levels(-LARGEST_INT32, LARGEST_INT32, 1)
    return Levels(element_type.min, element_type.max, element_type.max)


def activation_levels(
    network: GraphView, sources: list[Node], optimize_signs: bool
) -> dict[Node, Levels]:
    """Return the integers of the given graph inputs and activation quantizers.

    Parameters
    ----------
    network : GraphView
    sources : list of Node
    optimize_signs : bool
        Whether activations that are never negative take unsigned integers.

    Raises
    ------
    UnsupportedError
        If the inputs of a merging node have different precisions, or an activation is int32 that
        the network computes with.
    """
    types = {node: precision(node) for node in sources}
    for group in merged_groups(network):
        if len({types[node] for node in group}) > 1:
            listed = ", ".join(f"{node.name} {types[node].value}" for node in group)
            raise UnsupportedError(
                f"inputs of one merging node have different precisions ({listed}); "
                "give them the same"
            )
    unsigned = unsigned_quantizers(network) if optimize_signs else set()
    levels = {}
    for node, found in types.items():
        levels[node] = _symmetric(found)
        if found.bits > 16:
            _require_output(network, node, found)
        elif found.bits > 8:
            if not isinstance(node.operator, Input):
                levels[node] = dataclasses.replace(levels[node], top=found.max >> 1)
        elif node in unsigned:
            levels[node] = Levels(0, 2 * found.max + 1, 2 * found.max)
    for group in merged_groups(network):
        if any(_halves(node, levels) for node in group):
            for node in group:
                levels[node] = dataclasses.replace(levels[node], top=levels[node].top - 1)
    return levels


def _halves(node: Node, levels: dict[Node, Levels]) -> bool:
    """Whether the residual quantizer turns unsigned integers into signed ones."""
    if not node.annotations.get(Annotation.IS_RESIDUAL):
        return False
    return levels[node].lower < 0 <= levels[scale_sources(node)[0]].lower


def _require_output(network: GraphView, node: Node, found: dtype) -> None:
    """Raise unless the network only returns the tensor, and an affine node computes it."""
    if found is not dtype.int32 or isinstance(node.operator, Input) or not is_affine(driver(node)):
        raise UnsupportedError(
            f"{node.name}: its precision is {found.value}, which only what a convolution or a "
            "fully connected layer returns as an output can have; give it int8 or int16"
        )
    reached = [node]
    for tensor in reached:
        for reader in network.consumers(tensor):
            if isinstance(reader.operator, ArgMax):
                continue
            pools = isinstance(reader.operator, MaxPool | GlobalMaxPool)
            if pools or not has_trait(reader, Trait.MOVES) or is_merging(reader):
                raise UnsupportedError(
                    f"{node.name}: its precision is {found.value}, but {reader.name} "
                    f"({reader.type}) computes with it; only outputs of the network can be "
                    "int32: give it int8 or int16"
                )
            reached.append(reader)
