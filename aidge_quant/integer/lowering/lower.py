"""lower: from a quantized graph to the integer network."""

from collections.abc import Callable, Mapping

from aidge_quant._version import __version__
from aidge_quant.dtypes import dtype
from aidge_quant.errors import AidgeQuantError, GraphError, UnsupportedError
from aidge_quant.executor import infer_shapes
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.integer.layers import Clamp
from aidge_quant.integer.lowering.affine import lower_affine
from aidge_quant.integer.lowering.builder import Builder, View
from aidge_quant.integer.lowering.elementwise import (
    lower_add,
    lower_clip,
    lower_dequantizer,
    lower_mul,
    lower_quantizer,
    lower_table,
)
from aidge_quant.integer.lowering.movement import (
    lower_concat,
    lower_depth_to_space,
    lower_identity,
    lower_pad,
    lower_resize,
    lower_slice,
    lower_space_to_depth,
    lower_transpose,
    lower_view,
)
from aidge_quant.integer.lowering.pooling import (
    lower_argmax,
    lower_average_pool,
    lower_global_average_pool,
    lower_global_max_pool,
    lower_max_pool,
    lower_sum_pool,
)
from aidge_quant.integer.lowering.requantize import Tail, quantizer_tail
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import HALF_EVEN, HALF_UP
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.ops import (
    DequantizeLinear,
    Input,
    QuantizedOperator,
    QuantizeLinear,
    Quantizer,
)

#: The rule of each operator, by its name.
RULES: Mapping[str, Callable[[Builder, Node], None]] = {
    "Conv": lower_affine,
    "ConvTranspose": lower_affine,
    "FC": lower_affine,
    "Add": lower_add,
    "Sub": lower_add,
    "Mul": lower_mul,
    "Quantizer": lower_quantizer,
    "Dequantizer": lower_dequantizer,
    "LookupTable": lower_table,
    "ReLU": lower_clip,
    "Clip": lower_clip,
    "MaxPool": lower_max_pool,
    "AveragePool": lower_average_pool,
    "SumPool": lower_sum_pool,
    "GlobalAveragePool": lower_global_average_pool,
    "GlobalMaxPool": lower_global_max_pool,
    "ArgMax": lower_argmax,
    "Flatten": lower_view,
    "Reshape": lower_view,
    "Squeeze": lower_view,
    "Unsqueeze": lower_view,
    "Identity": lower_identity,
    "Transpose": lower_transpose,
    "Slice": lower_slice,
    "Pad": lower_pad,
    "Concat": lower_concat,
    "Resize": lower_resize,
    "DepthToSpace": lower_depth_to_space,
    "SpaceToDepth": lower_space_to_depth,
}


def lower(graph: GraphView, *, rounding: str | None = None) -> IntegerNetwork:
    """Return the integer network of a quantized graph; the graph stays as it is.

    Every affine, merging or pointwise node is fused with the quantizer and the clips behind it into
    one layer. Values that the graph keeps as ``v`` are stored as ``v + zero_point``, the zero point
    following from the quantizer's interval.

    Parameters
    ----------
    graph : GraphView
        As ``quantize_network`` or ``quantize`` leaves it, folded or not, cast or fake.
    rounding : {"half_up", "half_even"}, optional
        How accumulators are rounded; by default as the quantizers of the graph say. "half_even" is
        ONNX's rounding: with it the network equals its QDQ form with power-of-two scales in every
        integer, at the cost of a longer epilogue in C. Means that keep the scale of their input are
        rounded half up in any case.

    Returns
    -------
    IntegerNetwork

    Raises
    ------
    UnsupportedError
        If nodes cannot be integers; the message lists all of them.
    OverflowProofError
        If an accumulator or a bias could leave int32.
    GraphError
        If the graph is malformed, or ``rounding`` is no rounding.
    """
    if rounding not in (None, HALF_UP, HALF_EVEN):
        raise GraphError(f"rounding is {rounding!r}, expected {HALF_UP!r} or {HALF_EVEN!r}")
    graph.check()
    builder = Builder(graph, infer_shapes(graph), rounding)
    faults: list[AidgeQuantError] = []
    blocked: set[Node] = set()
    for node in graph.topological():
        if node in builder.fused or builder.is_constant(node):
            continue
        if any(port is not None and port.node in blocked for port in node.inputs):
            blocked.add(node)
            if node.type in RULES:
                continue  # its own inputs are the fault, and they are reported
        before = set(builder.fused)
        try:
            _lower_node(builder, node)
        except UnsupportedError as error:
            faults.append(error)
            blocked.add(node)
            blocked |= builder.fused - before
    if faults:
        listed = "\n".join(f"  {error}" for error in faults)
        raise UnsupportedError(f"{len(faults)} nodes of {graph.name} cannot be lowered:\n{listed}")
    outputs = tuple(builder.tensor(output.port).name for output in graph.outputs)
    return _network(graph, builder, outputs)


def _lower_node(builder: Builder, node: Node) -> None:
    if isinstance(node.operator, Input):
        _lower_input(builder, node)
    elif node.type in RULES:
        RULES[node.type](builder, node)
    else:
        remedy = ""
        if isinstance(node.operator, QuantizeLinear | DequantizeLinear | QuantizedOperator):
            remedy = "call from_qdq or from_qop before lower"
        raise builder.refuse(node, "the operator has no integer form", remedy)


def _lower_input(builder: Builder, node: Node) -> None:
    """Bind the input's integers: its own, or those of the quantizer that takes float input."""
    operator: Input = node.operator
    noted = Annotation.SCALE in node.annotations
    consumer = builder.graph.sole_consumer(node)
    if not noted and consumer is not None and isinstance(consumer.operator, Quantizer):
        tail = quantizer_tail(builder, consumer)
        tensor = builder.output(
            consumer,
            element_type=tail.element_type,
            scale=tail.scale,
            zero_point=tail.zero_point,
        )
        _bind_input(builder, node, tail, tensor)
    elif noted:
        declared = operator.element_type if operator.element_type.is_integer else dtype.int8
        scale = node.annotations[Annotation.SCALE]
        tensor = builder.output(node, element_type=declared, scale=scale)
        builder.bind(node, View(tensor, builder.shape(node), declared.min, declared.max))
    else:
        remedy = "call quantize_network or quantize before lower"
        raise builder.refuse(node, "it is not quantized", remedy)
    builder.inputs[node] = tensor


def _bind_input(builder: Builder, node: Node, tail: Tail, tensor: IntegerTensor) -> None:
    """Bind the integers of an input, behind a Clamp where clips follow its quantizer."""
    found, last = tensor, tail.last
    if tail.bounds != tail.quantizer.clip:
        found = builder.output(last, like=tensor)
        bounds = (bound + tensor.zero_point for bound in tail.bounds)
        names = tuple(clip.name for clip in tail.nodes[1:])
        builder.emit(Clamp(last.name, (tensor.name,), found.name, names, *bounds))
    builder.bind(last, View(found, builder.shape(node), *tail.bounds))


def _network(graph: GraphView, builder: Builder, outputs: tuple[str, ...]) -> IntegerNetwork:
    written = {layer.output for layer in builder.layers}
    inputs = [builder.inputs[node] for node in graph.inputs]
    tensors = [*inputs, *(tensor for tensor in builder.tensors if tensor.name in written)]
    return IntegerNetwork(
        name=graph.name,
        tensors=tuple(tensors),
        layers=tuple(builder.layers),
        inputs=tuple(tensor.name for tensor in inputs),
        outputs=outputs,
        input_names=tuple(node.name for node in graph.inputs),
        output_names=tuple(output.name for output in graph.outputs),
        metadata={**graph.metadata, "producer": f"aidge_quant {__version__}"},
    )
