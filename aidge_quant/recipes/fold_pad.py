"""Recipe: Pad as the padding of the convolution or pool behind it."""

import dataclasses

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import AveragePool, Conv, Pad


def fold_pad(network: GraphView) -> None:
    """Move, in place, zeros around the spatial axes into the Conv or AveragePool behind them.

    An AveragePool takes them only where its own padding counts as zeros too, or where it has none.
    """
    for node in network.topological():
        reader = network.sole_consumer(node)
        if (
            not isinstance(node.operator, Pad)
            or reader is None
            or not _is_zero_frame(node.operator)
        ):
            continue
        if not isinstance(reader.operator, Conv | AveragePool) or reader.input(0).node is not node:
            continue
        own = reader.operator.padding
        before, after = node.operator.before[2:], node.operator.after[2:]
        padding = tuple(a + b for a, b in zip(own, (*before, *after), strict=True))
        if isinstance(reader.operator, Conv):
            reader.operator = dataclasses.replace(reader.operator, padding=padding)
        elif _counts_zeros(reader):
            reader.operator = dataclasses.replace(
                reader.operator, padding=padding, count_include_pad=True
            )
        else:
            continue
        network.bypass(node)


def _is_zero_frame(operator: Pad) -> bool:
    widths = (*operator.before, *operator.after)
    batch_and_channels = (*operator.before[:2], *operator.after[:2])
    return operator.value == 0 and min(widths) >= 0 and not any(batch_and_channels)


def _counts_zeros(node: Node) -> bool:
    operator = node.operator
    if operator.ceil:
        return False
    return operator.count_include_pad or not any(operator.padding)
