"""At the end of training: BatchNorm as a factor, and biases in accumulator units."""

from collections.abc import Callable

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import BatchNorm, Producer
from aidge_quant.ptq.flow import is_affine
from aidge_quant.recipes.fold_batch_norm import batch_norm_affine

#: Factors below it pass nothing of their channel.
SMALLEST_FACTOR = 1e-6


def freeze(network: GraphView, round_bias: Callable[[GraphView, Node], None]) -> None:
    """Let, in place, every BatchNorm be a factor, and round the bias of every layer.

    ``f (w x + b - mean) + bias`` with ``f = scale / sqrt(variance + epsilon)`` becomes
    ``f (w x + b')`` with ``b' = b - mean + bias / f``. Where f is 0, only the bias stays.

    Parameters
    ----------
    network : GraphView
    round_bias : callable
        Called with the network and each layer that has a bias then.
    """
    for layer in [node for node in network.topological() if is_affine(node)]:
        reader = network.sole_consumer(layer)
        if reader is not None and isinstance(reader.operator, BatchNorm):
            _to_factor(network, layer, reader)
        if layer.has_input(2):
            round_bias(network, layer)
    network.remove_dead_nodes()
    network.check()


def _to_factor(network: GraphView, layer: Node, normalization: Node) -> None:
    found = batch_norm_affine(normalization)
    if found is None:
        raise GraphError(f"{normalization.name} (BatchNorm): its parameters are not constants")
    factor, term = found
    dead = np.abs(factor) < SMALLEST_FACTOR
    bias = np.zeros_like(term)
    if layer.has_input(2):
        bias = np.asarray(layer.input(2).node.operator.value, np.float64)
    moved = np.where(dead, 0, bias + term / np.where(dead, 1, factor))
    _set(network, layer, 2, moved, f"{layer.name}_bias", constant=False)
    # With variance 1 - epsilon the stored statistics change nothing.
    values = (
        np.where(dead, 0, factor),
        np.where(dead, term, 0),
        np.zeros_like(factor),
        np.full_like(factor, 1 - normalization.operator.epsilon),
    )
    names = ("factor", "bias", "mean", "variance")
    for slot, (value, name) in enumerate(zip(values, names, strict=True), start=1):
        _set(network, normalization, slot, value, f"{normalization.name}_{name}")


def _set(
    network: GraphView, node: Node, slot: int, value: np.ndarray, name: str, constant: bool = True
) -> None:
    operator = Producer(value.astype(np.float32), constant=constant)
    network.set_input(node, slot, network.add(operator, (), network.unique_name(name)))
