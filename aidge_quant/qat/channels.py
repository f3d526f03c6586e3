"""Weights of each output channel in a unit of their own, behind one step of the layer."""

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.executor import infer_shapes
from aidge_quant.graph import GraphView, Node
from aidge_quant.ops import FC, BatchNorm, Producer
from aidge_quant.ops.learned_quantization import initial_step, nearest_power_of_two
from aidge_quant.training.parameters import set_value

#: With a variance of 1 - epsilon, which float32 holds, their sum is 1 and changes no bit.
FACTOR = BatchNorm(2.0**-17)


def separate_channels(network: GraphView, layer: Node, largest: int, power_of_two: bool) -> None:
    """Divide, in place, the channels of a weight so that one step suits them all.

    A BatchNorm with constants behind the layer multiplies each by what it was divided by.

    Parameters
    ----------
    network : GraphView
    layer : Node
        Whose weight and bias are producers.
    largest : int
        The largest integer of the weight.
    power_of_two : bool
        Divide by powers of two, which changes no bit of what the layer computes.

    Raises
    ------
    GraphError
        If the weight is no producer, as where a quantizer is on it.

    Notes
    -----
    The factor of a channel is its step (``initial_step``) over the median one; 1 where all weights
    are 0. Layers whose output has its channels elsewhere than on axis 1 stay as they are.
    """
    source, axis = layer.input(1).node.operator, layer.operator.output_axis
    if not isinstance(source, Producer):
        raise GraphError(
            f"{layer.name} ({layer.type}): its weight comes from a {source.type}, expected a "
            "constant; insert quantizers once"
        )
    behind_last = isinstance(layer.operator, FC) and len(infer_shapes(network)[layer][0]) > 2
    if behind_last or (axis and getattr(layer.operator, "groups", 1) > 1):
        return
    weight = np.asarray(source.value)
    channels = np.moveaxis(weight, axis, 0)
    found = np.array([initial_step(channel, largest) for channel in channels])
    alive = found > 0
    if not alive.any():
        return
    ratios = np.where(alive, found, 1) / np.median(found[alive])
    factors = np.where(alive, ratios, 1)
    if power_of_two:
        factors = np.array([nearest_power_of_two(factor) for factor in factors])
    factors = factors.astype(np.float32)
    shape = [1] * weight.ndim
    shape[axis] = -1
    _divide(layer.input(1).node, factors.reshape(shape))
    if layer.has_input(2):
        _divide(layer.input(2).node, factors)
    name = network.unique_name(f"{layer.name}_channels")
    constants = factor_constants(network, name, factors, np.zeros_like(factors))
    network.insert_after(layer, FACTOR, name, constants)


def factor_constants(
    network: GraphView, name: str, factor: np.ndarray, term: np.ndarray
) -> list[Node]:
    """Add, in place, and return the producers with which ``FACTOR`` is factor * x + term.

    Parameters
    ----------
    name : str
        What the names of the producers begin with.
    factor, term : float array (channels,)
    """
    ones = np.ones_like(factor)
    parts = {"factor": factor, "bias": term, "mean": 0 * ones, "variance": ones - FACTOR.epsilon}
    return [
        network.add(
            Producer(value.astype(np.float32), constant=True),
            (),
            network.unique_name(f"{name}_{part}"),
        )
        for part, value in parts.items()
    ]


def _divide(source: Node, factors: np.ndarray) -> None:
    value = source.operator.value
    set_value(source, (value / factors).astype(value.dtype))
