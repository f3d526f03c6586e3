"""from_qdq: a QDQ graph as a quantized graph of this package."""

from collections.abc import Callable, Mapping

import numpy as np

from aidge_quant.errors import AidgeQuantError, GraphError, UnsupportedError
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.interchange.arguments import expect_graph
from aidge_quant.interchange.importing.affine_rules import import_affine
from aidge_quant.interchange.importing.agreement import agree_on_zero_points, join_tables
from aidge_quant.interchange.importing.arithmetic_rules import (
    import_add,
    import_average,
    import_mul,
)
from aidge_quant.interchange.importing.constants import Constants
from aidge_quant.interchange.importing.hoisting import (
    constant_bounds_on_integers,
    hoist_quantizers,
    is_bound,
    moves_values,
)
from aidge_quant.interchange.importing.importer import Importer
from aidge_quant.interchange.importing.rules import (
    import_bound,
    import_cast,
    import_concat,
    import_dequantize,
    import_function,
    import_index,
    import_move,
    import_pad,
    import_quantize,
    import_table,
    keep_accumulator,
)
from aidge_quant.interchange.importing.values import ACCUMULATOR, INDEX, STORED
from aidge_quant.ops import DequantizeLinear, Input, QuantizedOperator, QuantizeLinear, Trait
from aidge_quant.recipes import (
    constant_bounds,
    join_gates,
    reductions_to_pools,
    remove_identities,
    remove_trailing_softmax,
    split_to_slices,
)

Rule = Callable[[Importer, Node], None]

RULES: Mapping[str, Rule] = {
    "QuantizeLinear": import_quantize,
    "DequantizeLinear": import_dequantize,
    "Conv": import_affine,
    "ConvTranspose": import_affine,
    "FC": import_affine,
    "Gemm": import_affine,
    "MatMul": import_affine,
    "Add": import_add,
    "Sub": import_add,
    "Mul": import_mul,
    "Concat": import_concat,
    "AveragePool": import_average,
    "GlobalAveragePool": import_average,
    "ArgMax": import_index,
    "Cast": import_cast,
    "LookupTable": import_table,
    "Pad": import_pad,
}

#: Why an operator that has no rule stops the import, and what helps.
REASONS: Mapping[str, str] = {
    "DynamicQuantizeLinear": "its scale is measured while the network runs; quantize the model "
    "statically, with calibration data",
    "ConvInteger": "the scale of its result is not part of it; use QLinearConv or the QDQ form",
    "MatMulInteger": "the scale of its result is not part of it; use QLinearMatMul or the QDQ form",
    "BatchNorm": "it is in float; fold it into the convolution before quantizing the model",
}


def from_qdq(graph_view: GraphView) -> None:
    """Turn, in place, a graph in ONNX's QDQ form into a quantized graph that ``lower`` takes.

    Parameters
    ----------
    graph_view : GraphView
        As `load_onnx` reads a model with QuantizeLinear and DequantizeLinear nodes, one scale for
        an activation, one scale or one an output channel for a weight.

    Raises
    ------
    GraphError
        If the graph holds no QuantizeLinear, or is malformed.
    UnsupportedError
        If a node has no integer form; the message lists all of them. The graph stays as it was.

    Notes
    -----
    A layer's factor is the float32 number that ONNX Runtime multiplies its accumulator with,
    ``s_x * s_w / s_y``; it becomes one shift where it is a power of two. Rounding is to the
    nearest, ties to even. Models of ``set_to_qdq`` carry their exact factors and rounding, which
    are used where they agree with the scales.

    Inputs of the quantized graph are real numbers, also where those of the model are integers; they
    are quantized as ``quantize_input`` does it, rounding half up, where ONNX rounds ties to even.
    A Softmax at the end is removed with a notice; the output of a last layer without QuantizeLinear
    stays its int32 accumulator.
    """
    expect_graph(graph_view)
    graph = graph_view.clone()
    graph.check()
    if not any(isinstance(node.operator, QuantizeLinear) for node in graph.nodes):
        raise GraphError(
            f"graph {graph.name} holds no QuantizeLinear, expected a model in QDQ form; "
            "from_qop takes QLinear operators, quantize_network a float network"
        )
    for recipe in (
        remove_identities,
        bare_trailing_softmax,
        remove_trailing_softmax,
        split_to_slices,
        reductions_to_pools,
        constant_bounds,
        join_gates,
    ):
        recipe(graph)
    constants = Constants(graph)
    join_tables(graph, constants)
    agree_on_zero_points(graph)
    constant_bounds_on_integers(graph, Constants(graph))
    hoist_quantizers(graph)
    graph.remove_dead_nodes()
    importer = Importer(graph, Constants(graph))
    _walk(importer)
    graph_view.become(importer.graph)


def bare_trailing_softmax(graph: GraphView) -> None:
    """Remove, in place, the quantization of the result of a Softmax that is an output."""
    for output in graph.outputs:
        last = output.port.node
        if not isinstance(last.operator, DequantizeLinear):
            continue
        before = last.input(0).node
        if isinstance(before.operator, QuantizeLinear) and before.input(0).node.type == "Softmax":
            graph.replace_uses(last, before.input(0))
    graph.remove_dead_nodes()


def _walk(importer: Importer) -> None:
    faults: list[AidgeQuantError] = []
    blocked: set[Node] = set()
    for node in importer.source.topological():
        if importer.constants.holds(node):
            continue
        if any(port is not None and port.node in blocked for port in node.inputs):
            blocked.add(node)
            continue
        try:
            _import(importer, node)
        except UnsupportedError as error:
            faults.append(error)
            blocked.add(node)
    for output in importer.source.outputs:
        if output.port.node in blocked:
            continue
        try:
            importer.graph.add_output(_output(importer, output.port), output.name)
        except UnsupportedError as error:
            faults.append(error)
    if faults:
        listed = "\n".join(f"  {error}" for error in faults)
        name = importer.source.name
        raise UnsupportedError(f"{len(faults)} nodes of {name} cannot be imported:\n{listed}")
    importer.graph.remove_dead_nodes()
    importer.graph.check()


def _import(importer: Importer, node: Node) -> None:
    if isinstance(node.operator, Input):
        importer.network_input(node)
    elif node.type in RULES:
        RULES[node.type](importer, node)
    elif is_bound(node):
        import_bound(importer, node)
    elif moves_values(node):
        import_move(importer, node)
    elif Trait.POINTWISE in node.operator.traits:
        import_function(importer, node)
    elif isinstance(node.operator, QuantizedOperator):
        raise importer.refuse(node, "it is in QOperator form", "call from_qop, which expands it")
    else:
        reason = REASONS.get(node.type, "the operator has no integer form; cut the model before it")
        raise importer.refuse(node, reason)


def _output(importer: Importer, port: Port) -> Port:
    """Return the integers of an output of the graph."""
    node = port.node
    if not importer.known(port):
        raise importer.refuse(node, "an output of the graph is constant")
    value = importer.output(port)
    if value.kind == ACCUMULATOR:
        return keep_accumulator(importer, node, value)
    if value.kind == INDEX:
        return value.port
    if value.kind != STORED:
        raise importer.refuse(
            node,
            f"the output of the graph is in float ({value.kind})",
            "quantize it, or cut the model behind the last DequantizeLinear",
        )
    if np.isfinite(value.bounds).any():
        assert value.grid is not None
        return importer.clipped(value, value.grid).port
    return value.port
