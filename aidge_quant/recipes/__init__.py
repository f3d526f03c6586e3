"""Recipes: rewrite a float graph into fewer kinds of nodes without changing what it computes."""

from aidge_quant.recipes.constant_bounds import constant_bounds
from aidge_quant.recipes.fold_batch_norm import fold_batch_norm
from aidge_quant.recipes.fold_constant_arithmetic import fold_constant_arithmetic
from aidge_quant.recipes.fold_constants import fold_constants
from aidge_quant.recipes.fold_pad import fold_pad
from aidge_quant.recipes.join_gates import join_gates
from aidge_quant.recipes.matmul_to_fc import matmul_to_fc
from aidge_quant.recipes.reductions_to_pools import reductions_to_pools
from aidge_quant.recipes.remove_identities import remove_identities
from aidge_quant.recipes.remove_trailing_softmax import remove_trailing_softmax
from aidge_quant.recipes.simplify_reshapes import simplify_reshapes
from aidge_quant.recipes.split_to_slices import split_to_slices
from aidge_quant.recipes.unshare_parameters import unshare_parameters

__all__ = [
    "constant_bounds",
    "fold_batch_norm",
    "fold_constant_arithmetic",
    "fold_constants",
    "fold_pad",
    "join_gates",
    "matmul_to_fc",
    "reductions_to_pools",
    "remove_identities",
    "remove_trailing_softmax",
    "simplify_reshapes",
    "split_to_slices",
    "unshare_parameters",
]
