"""export_onnx: any graph or integer network as an ONNX file."""

import dataclasses
from os import PathLike

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DtypeError, GraphError, UnsupportedError
from aidge_quant.graph import GraphView
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.interchange.fuse import fuse_qdq
from aidge_quant.interchange.integer.form import integer_graph
from aidge_quant.interchange.metadata import FORM
from aidge_quant.interchange.qdq.form import qdq_graph
from aidge_quant.interchange.qdq.sheet import POWER_OF_TWO
from aidge_quant.interchange.set_to import has_qdq, has_quantizers, network_of, qdq_options
from aidge_quant.onnx_io.writer import write_onnx
from aidge_quant.ops import Producer

#: Version of the operator set of each form where none is asked for.
DEFAULT_OPSETS = {"float": 17, "qdq": 21, "qop": 17, "integer": 13}

#: Version from which ONNX stores 4-bit integers.
INT4_OPSET = 21


def export_onnx(
    network: GraphView | IntegerNetwork,
    path: str | PathLike[str],
    *,
    opset: int | None = None,
    form: str | None = None,
    scales: str = POWER_OF_TWO,
    activations: dtype = dtype.int8,
    odd_accumulators: bool = True,
    contrib: bool = False,
    keep_training: bool = False,
) -> None:
    """Write a network as an ONNX file; equal networks give equal bytes.

    The file is valid under ``onnx.checker`` with full checks and keeps the names of inputs, outputs
    and layers. That of a quantized network says in its metadata which version wrote it, the version
    of the integer contract, and scale and zero point of every tensor. An existing file is replaced
    at once.

    Parameters
    ----------
    network : GraphView or IntegerNetwork
        Float, quantized, or in one of ONNX's quantized forms already.
    path : path of a file
        Parameters of more than 1.5 GB go to ``<file name>.data`` beside it.
    opset : int, optional
        Version of the standard operators: 17 for float graphs and the form "qop", 21 for "qdq", 13
        for "integer" by default.
    form : {"qdq", "qop", "integer"}, optional
        How a quantized network is written; "qdq" by default. A graph that was set to a form is
        written as it is.

        - "qdq": float operators between QuantizeLinear and DequantizeLinear, float ends.
        - "qop": QLinearConv and QLinearMatMul where there are, the rest as in "qdq".
        - "integer": standard integer operators only, integer ends. Every conforming runtime gives
          the integers of the golden model, bit for bit.
    scales, activations, odd_accumulators
        As of `set_to_qdq`; for the forms "qdq" and "qop".
    contrib : bool
        As of `set_to_qop`.
    keep_training : bool
        Of a graph with quantizers for training: write them as operators of the domain
        ``aidge_quant.training``, which `load_onnx` reads back so that training goes on, and no
        runtime runs. Else they are standard operators, which any runtime runs and we do not read.

    Raises
    ------
    UnsupportedError
        If nodes have no ONNX form, or need a newer opset; the message lists all of them.
    GraphError
        If a form is asked for and the graph is not quantized.
    FileError
        If the file cannot be written.
    """
    options = qdq_options(scales, activations, odd_accumulators)
    if opset is not None and (isinstance(opset, bool) or not isinstance(opset, int)):
        raise DtypeError(f"opset is {opset!r}, expected a whole number")
    if not isinstance(path, str | PathLike):
        raise DtypeError(f"path is {path!r}, expected the path of a file")
    if not isinstance(network, GraphView | IntegerNetwork):
        raise DtypeError(
            f"network is a {type(network).__name__}, expected a GraphView or an IntegerNetwork"
        )
    if form is not None and form not in ("qdq", "qop", "integer"):
        raise UnsupportedError(f"form is {form!r}, expected 'qdq', 'qop' or 'integer'")
    written: GraphView
    if isinstance(network, GraphView) and not has_quantizers(network):
        _expect_form(network, form)
        written = network.clone()
        if form == "qop":
            fuse_qdq(written, contrib=contrib)
            written.metadata[FORM] = "qop"
        default = _form_of(written)
    else:
        default = form or "qdq"
        integers = network_of(network)
        options = dataclasses.replace(options, integer_products=form == "qop")
        written = integer_graph(integers) if form == "integer" else qdq_graph(integers, options)
        if form == "qop":
            fuse_qdq(written, contrib=contrib)
            written.metadata[FORM] = "qop"
    version = DEFAULT_OPSETS[default] if opset is None else opset
    if version < INT4_OPSET:
        _widen_int4(written)
    write_onnx(written, path, opset=version, keep_training=keep_training)


def _expect_form(graph: GraphView, form: str | None) -> None:
    """Refuse a form that a graph without quantizers is not in and cannot get."""
    now = _form_of(graph)
    if form is None or form == now or (form == "qop" and now == "qdq"):
        return
    remedy = "call quantize_network or quantize first, or leave form out"
    if now != "float":
        remedy = "call from_qop, which takes both of ONNX's forms, first"
    raise GraphError(
        f"graph {graph.name} cannot be written in the form {form!r}: it has no Quantizer nodes, "
        f"and is in the form {now!r}; {remedy}"
    )


def _form_of(graph: GraphView) -> str:
    if any(node.type.startswith("QLinear") for node in graph.nodes):
        return "qop"
    return "qdq" if has_qdq(graph) else "float"


def _widen_int4(graph: GraphView) -> None:
    """Store 4-bit integers as 8-bit ones, for versions of ONNX that have no 4 bits."""
    wider = {dtype.int4: dtype.int8, dtype.uint4: dtype.uint8}
    for node in graph.nodes:
        operator = node.operator
        if isinstance(operator, Producer) and operator.element_type in wider:
            kind = wider[operator.element_type]
            node.operator = dataclasses.replace(operator, element_type=kind)
