"""Where a quantized network loses precision, layer by layer, and what helps."""

from aidge_quant.report.analysis import Analysis, LayerRow, OutputRow
from aidge_quant.report.layer_errors import analyze

__all__ = ["Analysis", "LayerRow", "OutputRow", "analyze"]
