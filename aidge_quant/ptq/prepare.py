"""Prepare a float network for the quantization steps."""

from aidge_quant.graph import GraphView
from aidge_quant.recipes import (
    constant_bounds,
    fold_batch_norm,
    fold_constant_arithmetic,
    fold_constants,
    fold_pad,
    join_gates,
    matmul_to_fc,
    reductions_to_pools,
    remove_identities,
    remove_trailing_softmax,
    simplify_reshapes,
    split_to_slices,
    unshare_parameters,
)

#: In the order in which they are applied: constants first, since every other recipe looks for them.
RECIPES = (
    fold_constants,
    remove_identities,
    constant_bounds,
    split_to_slices,
    matmul_to_fc,
    reductions_to_pools,
    simplify_reshapes,
    join_gates,
    unshare_parameters,
    fold_batch_norm,
    fold_constant_arithmetic,
    fold_pad,
    remove_trailing_softmax,
)


def prepare_network(network: GraphView) -> None:
    """Apply, in place, the recipes that leave only what the quantization steps handle.

    Parameters
    ----------
    network : GraphView
        Float network. What it computes stays the same, but for a trailing Softmax, which is removed
        with a notice: the outputs become the logits.

    Notes
    -----
    The recipes are those of ``aidge_quant.recipes``, in the order of ``RECIPES``.
    """
    network.check()
    for recipe in RECIPES:
        recipe(network)
    network.remove_dead_nodes()
    network.check()
