"""LSQ: training with learned step sizes, and the integer network of the result."""

from aidge_quant.lsq.freezing import align_batch_norms, freeze_batch_norms
from aidge_quant.lsq.setup import setup_quantizers
from aidge_quant.lsq.transform import post_training_transform

__all__ = ["align_batch_norms", "freeze_batch_norms", "post_training_transform", "setup_quantizers"]
