"""SAT: scale-adjusted training, and the integer network of the result."""

from aidge_quant.sat.activations import insert_activ_quantizers
from aidge_quant.sat.freezing import freeze_batch_norms
from aidge_quant.sat.parameters import (
    insert_param_clamping,
    insert_param_quantizers,
    insert_param_scaling_adjust,
    insert_sat_nodes,
)
from aidge_quant.sat.transform import post_training_transform

__all__ = [
    "freeze_batch_norms",
    "insert_activ_quantizers",
    "insert_param_clamping",
    "insert_param_quantizers",
    "insert_param_scaling_adjust",
    "insert_sat_nodes",
    "post_training_transform",
]
