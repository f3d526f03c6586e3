"""BatchNorm in training with quantizers: powers of two as factors, and at the end no statistics."""

from collections.abc import Callable

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import BatchNorm, Producer
from aidge_quant.ops.learned_quantization import nearest_power_of_two
from aidge_quant.ptq.flow import is_affine
from aidge_quant.qat.channels import FACTOR, factor_constants
from aidge_quant.qat.weights import by_channel
from aidge_quant.recipes.fold_batch_norm import batch_norm_affine
from aidge_quant.training.parameters import set_value

#: Factors below it pass nothing of their channel.
SMALLEST_FACTOR = 1e-6


def freeze(
    network: GraphView,
    round_bias: Callable[[GraphView, Node], None],
    power_of_two: Callable[[Node], bool] = lambda layer: False,
) -> None:
    """Let, in place, every BatchNorm be a factor, and round the bias of every layer.

    ``f (w x + b - mean) + bias`` with ``f = scale / sqrt(variance + epsilon)`` becomes
    ``f (w x + b')`` with ``b' = b - mean + bias / f``. Where f is 0, only the bias stays.

    Parameters
    ----------
    network : GraphView
    round_bias : callable
        Called with the network and each layer that has a bias then.
    power_of_two : callable
        Whether f behind a layer becomes the nearest power of two (in the logarithm) first.
    """
    for layer in [node for node in network.topological() if is_affine(node)]:
        reader = network.sole_consumer(layer)
        if reader is not None and isinstance(reader.operator, BatchNorm):
            _to_factor(network, layer, reader, power_of_two(layer))
        if layer.has_input(2):
            round_bias(network, layer)
    network.remove_dead_nodes()
    network.check()


def _to_factor(network: GraphView, layer: Node, normalization: Node, power_of_two: bool) -> None:
    factor = _factor(normalization)
    dead = np.abs(factor) < SMALLEST_FACTOR
    if power_of_two:
        factor = np.where(factor < 0, -1, 1) * _powers_of_two(factor)
    term, mean = (_value(normalization.input(slot).node) for slot in (2, 3))
    bias = _value(layer.input(2).node) if layer.has_input(2) else np.zeros_like(term)
    moved = np.where(dead, 0, bias - mean + term / np.where(dead, 1, factor))
    name = network.unique_name(f"{layer.name}_bias")
    network.set_input(layer, 2, network.add(Producer(moved.astype(np.float32)), (), name))
    rest = (np.where(dead, 0, factor), np.where(dead, term, 0))
    constants = factor_constants(network, normalization.name, *rest)
    normalization.operator = FACTOR
    network.set_inputs(normalization, (normalization.input(0), *constants))


def align(network: GraphView) -> None:
    """Scale, in place, weights and statistics so that every BatchNorm's factor is a power of two.

    The nearest one (in the logarithm); signs stay, and but for the rounding of the weights what the
    network computes. BatchNorm goes on to train.
    """
    for node in network.topological():
        if not isinstance(node.operator, BatchNorm):
            continue
        factor = _factor(node)
        dead = np.abs(factor) < SMALLEST_FACTOR
        rest = np.where(dead, 1, np.abs(factor) / np.where(dead, 1, _powers_of_two(factor)))
        layer, epsilon = node.input(0).node, node.operator.epsilon
        weight, mean, variance = layer.input(1).node.input(0), node.input(3), node.input(4)
        _replace(weight.node, by_channel(layer, _value(weight.node), rest))
        if layer.has_input(2):
            _replace(layer.input(2).node, _value(layer.input(2).node) * rest)
        _replace(mean.node, _value(mean.node) * rest)
        scaled = (_value(variance.node) + epsilon) * rest**2 - epsilon
        _replace(variance.node, np.maximum(scaled, 0))


def _factor(normalization: Node) -> np.ndarray:
    found = batch_norm_affine(normalization)
    if found is None:
        raise GraphError(f"{normalization.name} (BatchNorm): its parameters are not constants")
    return found[0]


def _powers_of_two(factor: np.ndarray) -> np.ndarray:
    return np.array([nearest_power_of_two(value) for value in np.abs(factor)])


def _value(source: Node) -> np.ndarray:
    return np.asarray(source.operator.value, np.float64)


def _replace(source: Node, value: np.ndarray) -> None:
    set_value(source, value.astype(source.operator.value.dtype))
