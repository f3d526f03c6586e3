"""Post-training quantization: the steps of the published pipeline, each under its name."""

from aidge_quant.ptq.activations import normalize_activations
from aidge_quant.ptq.architecture import (
    QuantizabilityReport,
    ReportRow,
    check_architecture,
    quantizability_report,
)
from aidge_quant.ptq.casting import cast_quantized_network
from aidge_quant.ptq.clipping import Clipping, adjust_ranges
from aidge_quant.ptq.compensation import insert_compensation_nodes
from aidge_quant.ptq.dequantization import perform_dequantization
from aidge_quant.ptq.equalization import cross_layer_equalization
from aidge_quant.ptq.folding import fold_producer_quantizers
from aidge_quant.ptq.parameters import normalize_parameters
from aidge_quant.ptq.pipeline import quantize_network
from aidge_quant.ptq.precision import auto_assign_node_precision
from aidge_quant.ptq.prepare import prepare_network
from aidge_quant.ptq.quantization import quantize_normalized_network
from aidge_quant.ptq.ranges import compute_ranges
from aidge_quant.ptq.scaling import insert_scaling_nodes
from aidge_quant.ptq.single_shift import perform_single_shift_approximation

__all__ = [
    "Clipping",
    "QuantizabilityReport",
    "ReportRow",
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
]
