"""Prepare a float network for training with quantizers."""

from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import GraphView
from aidge_quant.ops import (
    Add,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Input,
    Operator,
    Pad,
    Producer,
    ReLU,
    Sub,
    Trait,
)
from aidge_quant.ops.pooling import as_sum
from aidge_quant.ptq.flow import is_affine
from aidge_quant.ptq.prepare import RECIPES
from aidge_quant.recipes import fold_batch_norm

#: What is on a graph that trains with quantizers.
_QUANTIZERS = (
    "LSQ",
    "BiasQuantizer",
    "CGPACT",
    "FixedQ",
    "DoReFa",
    "TanhClamp",
    "ScaleAdjust",
)


def prepare_training(network: GraphView, fold_batch_norms: bool) -> None:
    """Apply, in place, the recipes that leave what can train and become integers.

    Parameters
    ----------
    network : GraphView
        Float network. A trailing Softmax is removed.
    fold_batch_norms : bool
        Whether BatchNorm becomes part of the weights now, and not at the end.

    Raises
    ------
    UnsupportedError
        If nodes remain that have no integer form here; the message lists all of them.
    """
    network.check()
    for recipe in RECIPES:
        if recipe is not fold_batch_norm or fold_batch_norms:
            recipe(network)
    network.remove_dead_nodes()
    network.check()
    require_trainable(network)


def require_trainable(network: GraphView) -> None:
    """Raise an UnsupportedError that lists every node without an integer form."""
    faults = []
    for node in network.topological():
        if isinstance(node.operator, BatchNorm):
            layer = node.input(0).node
            if not is_affine(layer) or network.sole_consumer(layer) is not node:
                faults.append(
                    f"{node.name} (BatchNorm): no layer with weights of its own is before it; "
                    "set fold_batch_norms"
                )
        elif isinstance(node.operator, Pad) and node.operator.value:
            faults.append(f"{node.name} (Pad): its value is not 0")
        elif isinstance(node.operator, AveragePool) and as_sum(node.operator, ()) is None:
            faults.append(
                f"{node.name} (AveragePool): its windows are cut or dilated, so that the integer "
                "network rounds twice; pad before it, or set count_include_pad"
            )
        elif not _has_integers(node.operator):
            faults.append(f"{node.name} ({node.type}): it has no integer form after training")
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise UnsupportedError(
            f"{len(faults)} nodes of {network.name} cannot be trained for integers:\n{listed}"
        )


def _has_integers(operator: Operator) -> bool:
    traits = operator.traits
    kinds = Input | Producer | Add | Sub | Concat | ReLU | Clip
    return (
        isinstance(operator, kinds)
        or bool(traits & {Trait.AFFINE, Trait.MOVES, Trait.SUMS})
        or operator.type in _QUANTIZERS
    )
