"""Assign to every node the element type it is to have after quantization."""

from collections import Counter

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DtypeError, GraphError, UnsupportedError
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ptq.flow import (
    data_slots,
    dequantizer_of,
    driver,
    is_activation_quantizer,
    is_affine,
    is_function,
    is_merging,
    is_plain_producer,
    is_product,
    logger,
    merged_groups,
    precision,
    source,
)


def auto_assign_node_precision(
    graphview: GraphView, act_precision: dtype, weight_precision: dtype, bias_precision: dtype
) -> None:
    """Annotate every node of the graph, in place, with the types of the quantized network.

    Nodes that have a precision keep it. Weights get ``weight_precision``, biases
    ``bias_precision``; affine and merging nodes ``act_precision`` and, for their accumulator,
    ``bias_precision``; every other node ``act_precision``. Producers that are no weight or bias are
    not annotated.

    Parameters
    ----------
    graphview : GraphView
    act_precision, weight_precision, bias_precision : dtype
        Usually ``int8``, ``int8``, ``int32``. Activations and weights may be ``int4`` or ``int16``
        too, biases are ``int32``.

    Raises
    ------
    DtypeError
        If a precision is not a dtype.

    Notes
    -----
    Only annotations are written (``quantization.ptq.precision`` and
    ``quantization.ptq.accumulationprecision``). Call it before ``quantize_network``.

    Mixed precision: annotate a node before or after this call, ``node.annotations[
    Annotation.PRECISION] = dtype.int16``. On an input, an affine or a merging node, a product or a
    function it is the type of what the node writes; a ReLU, pool or move behind it writes the same
    type, whatever its own annotation. On the producer of a weight it is the type of the weight.
    ``int32`` on an affine node whose results the network returns keeps its accumulator.
    """
    for value in (act_precision, weight_precision, bias_precision):
        if not isinstance(value, dtype):
            raise DtypeError(f"precision: expected a dtype such as dtype.int8, got {value!r}")
    for node in graphview.topological():
        if is_plain_producer(node):
            continue
        _set(node, Annotation.PRECISION, act_precision)
        if is_merging(node):
            node.annotations[Annotation.IS_MERGING] = True
        if is_affine(node) or is_merging(node):
            _set(node, Annotation.ACCUMULATION_PRECISION, bias_precision)
        if is_affine(node):
            _set_parameters(node, weight_precision, bias_precision)


def complete_precision(network: GraphView) -> None:
    """Annotate, in place, the nodes that recipes added after the precisions were assigned.

    A new node takes what most annotated nodes of its kind have.

    Raises
    ------
    GraphError
        If no node has a precision.
    """
    activations: Counter[dtype] = Counter()
    weights: Counter[dtype] = Counter()
    accumulators: Counter[dtype] = Counter()
    for node in network.topological():
        found = node.annotations.get(Annotation.PRECISION)
        if found is not None and not is_plain_producer(node):
            activations[found] += 1
        accumulator = node.annotations.get(Annotation.ACCUMULATION_PRECISION)
        if accumulator is not None:
            accumulators[accumulator] += 1
        if is_affine(node) and node.has_input(1):
            weight = node.input(1).node.annotations.get(Annotation.PRECISION)
            if weight is not None:
                weights[weight] += 1
    if not activations:
        raise GraphError(
            f"graph {network.name}: expected a precision on its nodes, found none; "
            "call auto_assign_node_precision first"
        )
    activation = activations.most_common(1)[0][0]
    weight = weights.most_common(1)[0][0] if weights else activation
    bias = accumulators.most_common(1)[0][0] if accumulators else dtype.int32
    auto_assign_node_precision(network, activation, weight, bias)


def agree_on_precision(network: GraphView) -> None:
    """Give, in place, all operands of an Add, Sub, Concat or product the widest of their types.

    The integer layers that join activations read one type, so a type annotated to one operand
    counts for the others. Each change is logged.

    Parameters
    ----------
    network : GraphView
        With scaling nodes (``insert_scaling_nodes``).
    """
    groups = merged_groups(network)
    for node in network.topological():
        if is_product(node):
            groups.append([source(node.input(slot)) for slot in data_slots(node)])
    changed = True
    while changed:  # a tensor may be in several groups; types only grow
        changed = False
        for group in groups:
            types = [node.annotations.get(Annotation.PRECISION) for node in group]
            widest = max((t for t in types if t is not None), key=lambda t: t.bits, default=None)
            for node, found in zip(group, types, strict=True):
                if widest is not None and found is not None and found.bits < widest.bits:
                    logger.info(
                        "%s: %s instead of %s, as what it is joined with",
                        node.name,
                        widest.value,
                        found.value,
                    )
                    node.annotations[Annotation.PRECISION] = widest
                    changed = True


def require_table_types(network: GraphView) -> None:
    """Raise unless every function of one value reads and writes 8 bits: it becomes a table.

    Parameters
    ----------
    network : GraphView
        With scaling nodes and agreed precisions.

    Raises
    ------
    UnsupportedError
        With every tensor that has more bits.
    """
    wide = {}
    for node in network.topological():
        if is_activation_quantizer(node) and is_function(driver(node)):
            before = source(dequantizer_of(driver(node)).input(0))
            for tensor in (before, node):
                found = precision(tensor)
                if found.bits > 8:
                    wide[tensor.name] = f"{tensor.name} {found.value} at {driver(node).name}"
    if wide:
        raise UnsupportedError(
            "functions of one value become tables of int8, but their tensors are wider "
            f"({', '.join(wide.values())}); give the nodes before them and those that they are "
            "joined with the precision int8, or set fake_quantize=True"
        )


def _set(node: Node, key: str, value: dtype) -> None:
    if node.annotations.get(key) is None:
        node.annotations[key] = value


def _set_parameters(node: Node, weight: dtype, bias: dtype) -> None:
    accumulator = node.annotations[Annotation.ACCUMULATION_PRECISION]
    for slot, value in ((1, weight), (2, accumulator or bias)):
        if node.has_input(slot):
            _set(node.input(slot).node, Annotation.PRECISION, value)
