"""from_qop: a graph in QOperator form as a quantized graph of this package, or as a QDQ graph."""

from collections.abc import Sequence

from aidge_quant.graph import GraphView
from aidge_quant.interchange.arguments import expect_graph, expect_names
from aidge_quant.interchange.expand import expand_qop
from aidge_quant.interchange.from_qdq import from_qdq


def from_qop(
    graph_view: GraphView,
    qops_to_expand: Sequence[str] = [],
    to_qdq: bool = False,
) -> None:
    """Turn, in place, a graph in ONNX's QOperator form into a quantized graph that ``lower`` takes.

    Parameters
    ----------
    graph_view : GraphView
        As `load_onnx` reads a model with QLinearConv, QLinearMatMul and their like, ONNX Runtime's
        QLinearAdd, QGemm... included; parts of it may be in QDQ form.
    qops_to_expand : sequence of str
        Operators to expand; all of them if empty. A quantized graph has none of them left.
    to_qdq : bool
        Stop at the QDQ form: float operators between DequantizeLinear and QuantizeLinear nodes.

    Raises
    ------
    UnsupportedError
        If a name in ``qops_to_expand`` is no such operator, or a node has no integer form. The
        graph stays as it was.

    Notes
    -----
    The bias of QLinearConv and QGemm is in units of the accumulator and gets its scale from the
    data and the weight. What follows is `from_qdq`.
    """
    expect_graph(graph_view)
    expect_names(qops_to_expand, "qops_to_expand")
    graph = graph_view.clone()
    expand_qop(graph, qops_to_expand)
    if not to_qdq:
        from_qdq(graph)
    graph_view.become(graph)
