"""Between two phases of training: BatchNorm as a factor, and biases in accumulator units."""

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import LSQ, BatchNorm, BiasQuantizer, Producer
from aidge_quant.ptq.flow import is_affine
from aidge_quant.qat.sites import quantizer_of

#: Factors below it pass nothing of their channel.
SMALLEST_FACTOR = 1e-6


def freeze_batch_norms(network: GraphView) -> None:
    """Let, in place, every BatchNorm be a factor, and round biases as the integer network does.

    For networks that trained with BatchNorm: what ``post_training_transform`` then makes computes
    what this network does. A short second ``fit`` with ``batch_statistics=False`` makes up for the
    rounding. A failure leaves the network as it was.

    Parameters
    ----------
    network : GraphView
        After ``setup_quantizers(..., fold_batch_norms=False)`` and training.

    Raises
    ------
    GraphError
        If a layer has no LSQ quantizers, or is frozen already.

    Notes
    -----
    ``f (w x + b - mean) + bias`` with ``f = scale / sqrt(variance + epsilon)`` becomes
    ``f (w x + b')`` with ``b' = b - mean + bias / f``, rounded to multiples of s_in s_w. A channel
    whose factor is 0 becomes a constant: its weights are set to 0.
    """
    twin = network.clone()
    for layer in [node for node in twin.topological() if is_affine(node)]:
        step = layer.input(1).node
        if not isinstance(step.operator, LSQ):
            raise GraphError(
                f"{layer.name}: its weight has no LSQ quantizer; call setup_quantizers first"
            )
        if layer.has_input(2) and isinstance(layer.input(2).node.operator, BiasQuantizer):
            raise GraphError(f"{layer.name}: its bias is quantized already")
        reader = twin.sole_consumer(layer)
        if reader is not None and isinstance(reader.operator, BatchNorm):
            _to_factor(twin, layer, reader)
        if layer.has_input(2):
            both = (quantizer_of(layer.input(0)).input(1), step.input(1))
            name = twin.unique_name(f"{layer.name}_lsq_b")
            operator = BiasQuantizer(step.operator.power_of_two)
            twin.insert_before(layer, 2, operator, name, both)
    twin.remove_dead_nodes()
    twin.check()
    network.become(twin)


def _to_factor(network: GraphView, layer: Node, normalization: Node) -> None:
    scale, term, mean, variance = (
        np.asarray(normalization.input(slot).node.operator.value, np.float64)
        for slot in range(1, 5)
    )
    factor = scale / np.sqrt(variance + normalization.operator.epsilon)
    dead = np.abs(factor) < SMALLEST_FACTOR
    bias = np.zeros_like(mean)
    if layer.has_input(2):
        bias = np.asarray(layer.input(2).node.operator.value, np.float64)
    moved = np.where(dead, term, bias - mean + term / np.where(dead, 1, factor))
    if dead.any():
        _clear_channels(layer, dead)
    _set(network, layer, 2, moved, f"{layer.name}_bias", constant=False)
    _set(network, normalization, 1, np.where(dead, 1, factor), f"{normalization.name}_factor")
    # With variance 1 - epsilon the stored statistics change nothing.
    rest = (0.0, 0.0, 1 - normalization.operator.epsilon)
    for slot, value in zip((2, 3, 4), rest, strict=True):
        name = f"{normalization.name}_{('bias', 'mean', 'variance')[slot - 2]}"
        _set(network, normalization, slot, np.full_like(factor, value), name)


def _clear_channels(layer: Node, dead: np.ndarray) -> None:
    source = layer.input(1).node.input(0).node
    axis = layer.operator.output_axis
    if axis and getattr(layer.operator, "groups", 1) > 1:
        raise GraphError(f"{layer.name} ({layer.type}): a channel with groups passes nothing")
    kept = np.expand_dims(~dead, tuple(range(1, source.operator.value.ndim)))
    value = source.operator.value * np.swapaxes(kept, 0, axis)
    source.operator = Producer(value.astype(np.float32))


def _set(
    network: GraphView, node: Node, slot: int, value: np.ndarray, name: str, constant: bool = True
) -> None:
    operator = Producer(value.astype(np.float32), constant=constant)
    network.set_input(node, slot, network.add(operator, (), network.unique_name(name)))
