"""Our own quantization recipe: the most accurate integer network for the same format."""

from aidge_quant.tuning.ladder import Ladder, Rung
from aidge_quant.tuning.proposal import LayerChoice, Proposal
from aidge_quant.tuning.recipe import quantize
from aidge_quant.tuning.result import QuantizationResult

__all__ = ["Ladder", "LayerChoice", "Proposal", "QuantizationResult", "Rung", "quantize"]
