"""set_to_qdq, set_to_qop: a quantized graph becomes one of ONNX's quantized forms."""

from collections.abc import Sequence
from dataclasses import replace

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DtypeError, GraphError, UnsupportedError
from aidge_quant.graph import GraphView
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.interchange.arguments import expect_graph, expect_names
from aidge_quant.interchange.fuse import fuse_qdq
from aidge_quant.interchange.metadata import FORM
from aidge_quant.interchange.qdq.form import qdq_graph
from aidge_quant.interchange.qdq.sheet import POWER_OF_TWO, REAL, QdqOptions
from aidge_quant.ops import DequantizeLinear, QuantizedOperator, QuantizeLinear, Quantizer


def set_to_qdq(
    graph_view: GraphView,
    *,
    scales: str = POWER_OF_TWO,
    activations: dtype = dtype.int8,
    odd_accumulators: bool = True,
) -> None:
    """Replace, in place, a quantized graph by its QDQ form: float operators between Q and DQ.

    Parameters
    ----------
    graph_view : GraphView
        As ``quantize_network``, ``quantize`` or ``from_qdq`` leaves it: anything that ``lower``
        takes. The result has float inputs and outputs under the same names.
    scales : {"real", "power_of_two"}
        "power_of_two": inside the network scales are the nearest powers of two, so that float32 is
        exact in every engine, and only the ends are in real units. Networks of one shift a layer
        are then equal in all integers. "real": every tensor is dequantized to its real value.
    activations : {dtype.int8, dtype.uint8}
        How 8-bit activations are held.
    odd_accumulators : bool
        Whether single-shift layers with weights of at most 6 bits are written as 2 w, 2 b + 1,
        k + 1. No accumulator is then a tie, and every engine rounds it as the contract does.

    Raises
    ------
    UnsupportedError, GraphError
        If the graph cannot be lowered, or a layer has no such form. The graph stays as it was.

    Notes
    -----
    The formulas of the published API: an output quantizer of s_y s_w s_in, a bias quantizer of
    s_b / (s_w s_in), equal dequantizers before an Add. An engine rounds ties to even, the contract
    up; ``interchange.qdq.ends`` says what keeps them equal with power-of-two scales. With real
    scales, and with multipliers, single integers differ by 1 at ties or where float32 rounds.
    """
    options = qdq_options(scales, activations, odd_accumulators)
    expect_graph(graph_view)
    _set_to_qdq(graph_view, options)


def _set_to_qdq(graph: GraphView, options: QdqOptions) -> None:
    if is_quantized_onnx(graph):
        raise GraphError(
            f"graph {graph.name} is in one of ONNX's quantized forms already; leave it as it is, "
            "or call from_qdq or from_qop first"
        )
    if not has_quantizers(graph):
        raise GraphError(
            f"graph {graph.name} is not quantized: it has no Quantizer nodes; call "
            "quantize_network or quantize first"
        )
    graph.become(qdq_graph(lower(graph), options))


def set_to_qop(
    graph: GraphView,
    qops_selected: Sequence[str] = [],
    qdq_needed: bool = False,
    *,
    contrib: bool = False,
    scales: str = POWER_OF_TWO,
    activations: dtype = dtype.int8,
    odd_accumulators: bool = True,
) -> None:
    """Replace, in place, a quantized graph by its QOperator form: operators on 8-bit tensors.

    Parameters
    ----------
    graph : GraphView
        Quantized, or in QDQ form already.
    qops_selected : sequence of str
        Quantized operators to make (``"QLinearConv"``, ``"QLinearMatMul"``; with ``contrib`` also
        ``"QLinearAdd"``, ``"QGemm"``...); empty for all. What none of them stands for stays between
        DQ and Q: with the operators of the standard also products with a bias.
    qdq_needed : bool
        Demand a graph that still has to be set to QDQ; a QDQ graph is then an error. By default
        the graph may be either.
    contrib : bool
        Whether operators of ONNX Runtime (domain ``com.microsoft``) may be used: QLinearAdd,
        QLinearAveragePool, QLinearConcat, QGemm and others.
    scales, activations, odd_accumulators
        As of `set_to_qdq`; for graphs that are not in QDQ form yet.

    Raises
    ------
    UnsupportedError, GraphError
        If the graph cannot be brought into this form. The graph stays as it was.
    """
    options = replace(qdq_options(scales, activations, odd_accumulators), integer_products=True)
    expect_graph(graph)
    expect_names(qops_selected, "qops_selected")
    quantized = has_quantizers(graph)
    if not quantized and not has_qdq(graph):
        raise GraphError(
            f"graph {graph.name} is not quantized: it has neither Quantizer nor DequantizeLinear "
            "nodes; call quantize_network or quantize first"
        )
    if qdq_needed and not quantized:
        raise GraphError(f"graph {graph.name} is in QDQ form already; leave qdq_needed out")
    work = graph.clone()
    if quantized:
        _set_to_qdq(work, options)
    fuse_qdq(work, tuple(qops_selected), contrib=contrib)
    work.metadata[FORM] = "qop"
    graph.become(work)


def has_quantizers(graph: GraphView) -> bool:
    """Whether a graph is quantized in our own form."""
    return any(isinstance(node.operator, Quantizer) for node in graph.nodes)


def has_qdq(graph: GraphView) -> bool:
    """Whether a graph has DequantizeLinear nodes."""
    return any(isinstance(node.operator, DequantizeLinear) for node in graph.nodes)


def is_quantized_onnx(graph: GraphView) -> bool:
    """Whether a graph is in one of ONNX's quantized forms."""
    kinds = (DequantizeLinear, QuantizeLinear, QuantizedOperator)
    return any(isinstance(node.operator, kinds) for node in graph.nodes)


def qdq_options(scales: str, activations: dtype, odd_accumulators: bool) -> QdqOptions:
    """Return checked options.

    Raises
    ------
    UnsupportedError
        If ``scales`` is none of the words.
    DtypeError
        If activations are to be anything but int8 or uint8.
    """
    if scales not in (REAL, POWER_OF_TWO):
        raise UnsupportedError(f"scales is {scales!r}, expected {REAL!r} or {POWER_OF_TWO!r}")
    if activations not in (dtype.int8, dtype.uint8):
        raise DtypeError(f"activations is {activations!r}, expected dtype.int8 or dtype.uint8")
    return QdqOptions(scales, activations is dtype.uint8, odd_accumulators)


def network_of(source: GraphView | IntegerNetwork) -> IntegerNetwork:
    """Return the integer network of a quantized graph, or the network itself."""
    return source if isinstance(source, IntegerNetwork) else lower(source)
