"""Quantize a trained network, run it on integers, and export it as C that gives the same bits.

The names of the published quantization API are here, with what this package adds::

    import aidge_quant as aq

    graph = aq.load_onnx("model.onnx")
    aq.auto_assign_node_precision(graph, aq.dtype.int8, aq.dtype.int8, aq.dtype.int32)
    aq.quantize_network(graph, calibration, single_shift=True)
    network = aq.lower(graph)
    aq.export_c(network, "build/model", name="model")
"""

from aidge_quant import fixed_point, lsq, sat, training
from aidge_quant._version import __version__
from aidge_quant.dtypes import dtype
from aidge_quant.errors import (
    AidgeQuantError,
    DataError,
    DtypeError,
    ExportError,
    FileError,
    GraphError,
    OverflowProofError,
    ShapeError,
    UnsupportedError,
)
from aidge_quant.executor import run
from aidge_quant.export import Verification, export_c, verify_c
from aidge_quant.graph import GraphView, Node
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.store import load_network
from aidge_quant.interchange import (
    PowerOfTwoFit,
    export_onnx,
    fit_power_of_two,
    from_qdq,
    from_qop,
    set_to_qdq,
    set_to_qop,
)
from aidge_quant.onnx_io import load_onnx
from aidge_quant.ops import DoReFaMode
from aidge_quant.ptq import (
    Clipping,
    adjust_ranges,
    auto_assign_node_precision,
    cast_quantized_network,
    check_architecture,
    compute_ranges,
    cross_layer_equalization,
    fold_producer_quantizers,
    insert_compensation_nodes,
    insert_scaling_nodes,
    normalize_activations,
    normalize_parameters,
    perform_dequantization,
    perform_single_shift_approximation,
    prepare_network,
    quantizability_report,
    quantize_network,
    quantize_normalized_network,
)
from aidge_quant.qat import CGPACT, LSQ, DoReFa, FixedQ, LayerBits, ScaleAdjust, TanhClamp
from aidge_quant.report import Analysis, analyze
from aidge_quant.tensor import Tensor
from aidge_quant.tuning import Ladder, Proposal, QuantizationResult, quantize

__all__ = [
    "__version__",
    # graph core
    "GraphView",
    "Node",
    "Tensor",
    "dtype",
    # models in, float execution
    "load_onnx",
    "run",
    # post-training quantization
    "Clipping",
    "adjust_ranges",
    "auto_assign_node_precision",
    "cast_quantized_network",
    "check_architecture",
    "compute_ranges",
    "cross_layer_equalization",
    "fold_producer_quantizers",
    "insert_compensation_nodes",
    "insert_scaling_nodes",
    "normalize_activations",
    "normalize_parameters",
    "perform_dequantization",
    "perform_single_shift_approximation",
    "prepare_network",
    "quantizability_report",
    "quantize_network",
    "quantize_normalized_network",
    # quantization-aware training
    "CGPACT",
    "DoReFa",
    "DoReFaMode",
    "FixedQ",
    "LSQ",
    "LayerBits",
    "ScaleAdjust",
    "TanhClamp",
    "fixed_point",
    "lsq",
    "sat",
    "training",
    # our own recipe
    "Ladder",
    "Proposal",
    "QuantizationResult",
    "quantize",
    # the integer network and its C
    "IntegerNetwork",
    "Verification",
    "export_c",
    "load_network",
    "lower",
    "verify_c",
    # quantized ONNX models, out and in
    "PowerOfTwoFit",
    "export_onnx",
    "fit_power_of_two",
    "from_qdq",
    "from_qop",
    "set_to_qdq",
    "set_to_qop",
    # where it loses precision
    "Analysis",
    "analyze",
    # errors
    "AidgeQuantError",
    "DataError",
    "DtypeError",
    "ExportError",
    "FileError",
    "GraphError",
    "OverflowProofError",
    "ShapeError",
    "UnsupportedError",
]
