"""Where values come from and go to: the questions that several passes ask about a graph."""

import logging
from collections.abc import Iterator

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.graph import Annotation, GraphView, Node, Port
from aidge_quant.ops import Clip, Concat, Dequantizer, Input, Mul, Producer, Quantizer, Trait

logger = logging.getLogger("aidge_quant")


def has_trait(node: Node, trait: str) -> bool:
    """Whether the node's operator has a trait of :class:`aidge_quant.ops.Trait`."""
    return trait in node.operator.traits


def is_affine(node: Node) -> bool:
    """Whether the node is a weighted sum with a weight and an optional bias."""
    return has_trait(node, Trait.AFFINE)


def is_merging(node: Node) -> bool:
    """Whether the node joins several activations that must share one scale."""
    return has_trait(node, Trait.MERGING)


def is_product(node: Node) -> bool:
    """Whether the node multiplies two activations."""
    return isinstance(node.operator, Mul) and not node.annotations.get(Annotation.IS_COMPENSATION)


def is_function(node: Node) -> bool:
    """Whether the node is a function of one value that needs real values, not integers."""
    return has_trait(node, Trait.POINTWISE)


def is_passing(node: Node) -> bool:
    """Whether the node's output has the unit of its data input: moves, pools, ReLU, Clip."""
    passing = {Trait.MOVES, Trait.SUMS} & node.operator.traits or isinstance(node.operator, Clip)
    return bool(passing) and not is_merging(node)


def needs_scaling(node: Node) -> bool:
    """Whether the node's output gets a unit of its own: a quantizer belongs behind it."""
    merging = is_merging(node) and not isinstance(node.operator, Concat)
    return merging or is_affine(node) or is_product(node) or is_function(node)


def is_activation_quantizer(node: Node) -> bool:
    """Whether the node is a quantizer of activations, residual ones included."""
    return bool(node.annotations.get(Annotation.IS_ACTIVATION_QUANTIZER))


def is_parameter_quantizer(node: Node) -> bool:
    """Whether the node is the quantizer of a weight or bias."""
    return bool(node.annotations.get(Annotation.IS_PRODUCER_QUANTIZER))


def activation_quantizers(network: GraphView) -> list[Node]:
    """Return the quantizers of activations in topological order."""
    return [node for node in network.topological() if is_activation_quantizer(node)]


def data_slots(node: Node) -> list[int]:
    """Return the input slots that receive activations."""
    operator = node.operator
    return [s for s in range(len(node.inputs)) if node.has_input(s) and operator.role(s) == "data"]


def source(port: Port) -> Node:
    """Return the quantizer or graph input whose unit the tensor at ``port`` has.

    Behind a Concat, whose inputs share one unit, it is that of its first input.

    Raises
    ------
    GraphError
        If there is none because no scaling node was inserted yet.
    """
    node = port.node
    while not (isinstance(node.operator, Input) or is_activation_quantizer(node)):
        if not (is_passing(node) or isinstance(node.operator, Concat)):
            raise GraphError(
                f"{node.name} ({node.type}): expected a scaling node behind it, found none; "
                "call insert_scaling_nodes first"
            )
        node = node.input(0).node
    return node


def has_unit(port: Port) -> bool:
    """Whether the tensor at ``port`` is an activation, with a source before it."""
    node = port.node
    while is_passing(node) or isinstance(node.operator, Concat):
        node = node.input(0).node
    return isinstance(node.operator, Input) or is_activation_quantizer(node)


def merged_sources(node: Node) -> list[Node]:
    """Return the sources of all inputs of a merging node, through the Concats before it."""
    found: dict[Node, None] = {}
    for slot in data_slots(node):
        inner = node.input(slot).node
        while is_passing(inner):
            inner = inner.input(0).node
        if isinstance(inner.operator, Concat):
            found.update(dict.fromkeys(merged_sources(inner)))
        else:
            found[source(Port(inner))] = None
    return list(found)


def merged_groups(network: GraphView) -> list[list[Node]]:
    """Return the sets of sources that must share one unit, in topological order."""
    groups: list[list[Node]] = []
    for node in network.topological():
        if is_merging(node):
            group = merged_sources(node)
            for other in [g for g in groups if set(g) & set(group)]:
                groups.remove(other)
                group = list(dict.fromkeys([*other, *group]))
            groups.append(group)
    return groups


def driver(quantizer: Node) -> Node:
    """Return the node whose output the quantizer scales, looking through a compensation."""
    node = quantizer.input(0).node
    if node.annotations.get(Annotation.IS_COMPENSATION):
        node = node.input(0).node
    return node


def dequantizer_of(function: Node) -> Node:
    """Return the dequantizer at the start of a chain of functions of real values."""
    node = function
    while is_function(node):
        node = node.input(0).node
    if not isinstance(node.operator, Dequantizer):
        raise GraphError(
            f"{function.name} ({function.type}): expected a dequantizer before it, found "
            f"{node.name}; "
            "call insert_scaling_nodes first"
        )
    return node


def scale_sources(quantizer: Node) -> list[Node]:
    """Return the sources whose units multiply to the unit of what the quantizer scales.

    None for a function of real values; both operands of a product; else one.
    """
    origin = driver(quantizer)
    if quantizer.annotations.get(Annotation.IS_RESIDUAL) or isinstance(origin.operator, Input):
        return [source(Port(origin))]
    if is_function(origin):
        return []
    slots = data_slots(origin) if is_product(origin) else data_slots(origin)[:1]
    return [source(origin.input(slot)) for slot in slots]


def parameter_quantizers(affine: Node) -> tuple[Node, Node | None]:
    """Return the quantizers of the weight and of the bias (None without bias).

    Raises
    ------
    GraphError
        If a parameter has no quantizer.
    """
    found = []
    for slot in (1, 2):
        node = affine.input(slot).node if affine.has_input(slot) else None
        if node is not None and not is_parameter_quantizer(node):
            raise GraphError(
                f"{affine.name} ({affine.type}): expected a scaling node on parameter {node.name}, "
                "found none; call insert_scaling_nodes first"
            )
        found.append(node)
    weight, bias = found
    if weight is None:
        raise GraphError(f"{affine.name} ({affine.type}): its weight is missing")
    return weight, bias


def parameter(node: Node) -> Node:
    """Return the producer behind a parameter quantizer, or ``node`` if it is the producer."""
    while isinstance(node.operator, Quantizer):
        node = node.input(0).node
    return node


def precision(node: Node) -> dtype:
    """Return the element type that the node is to have, from its annotation.

    Raises
    ------
    GraphError
        If the node has no annotation.
    UnsupportedError
        If the type is not a signed integer type.
    """
    found = node.annotations.get(Annotation.PRECISION)
    if found is None:
        raise GraphError(
            f"{node.name} ({node.type}): expected a precision, found none; "
            "call auto_assign_node_precision first"
        )
    if not (found.is_integer and found.is_signed):
        raise UnsupportedError(
            f"{node.name} ({node.type}): precision {found.value} is not handled, expected a signed "
            "integer type; optimize_signs makes activations unsigned where they can be"
        )
    return found


def unscaled_constants(network: GraphView) -> Iterator[Node]:
    """Yield the nodes that hold constants in units of the data: Clip bounds and Pad values."""
    for node in network.topological():
        if node.type in ("Clip", "Pad"):
            yield node


def is_plain_producer(node: Node) -> bool:
    """Whether the node is a parameter or constant."""
    return isinstance(node.operator, Producer)
