"""Fixed-point formats: training with FixedQ, and the integer network of the result."""

from aidge_quant.fixed_point.setup import setup_quantizers
from aidge_quant.fixed_point.transform import post_training_transform

__all__ = ["post_training_transform", "setup_quantizers"]
