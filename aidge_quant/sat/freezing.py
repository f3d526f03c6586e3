"""After training: BatchNorm as a factor, and biases in accumulator units."""

import numpy as np

from aidge_quant.graph import GraphView, Node
from aidge_quant.ops.quantization import round_half_up
from aidge_quant.qat.freezing import freeze
from aidge_quant.qat.sites import quantizer_of
from aidge_quant.qat.weights import integer_weight, quantizer_step
from aidge_quant.training.parameters import set_value


def freeze_batch_norms(network: GraphView) -> None:
    """Let, in place, every BatchNorm be a factor, and round biases as the integer network does.

    What ``post_training_transform`` then makes computes what this network does, so that its
    accuracy can be measured here. Call it last: the grid of the biases follows from weights and
    bounds, which further training would move. A failure leaves the network as it was.

    Parameters
    ----------
    network : GraphView
        Trained with the quantizers of weights and activations.

    Raises
    ------
    GraphError, UnsupportedError
        If a weight has no quantizer or a bound is not positive.
    """
    twin = network.clone()
    freeze(twin, _round)
    network.become(twin)


def _round(network: GraphView, layer: Node) -> None:
    unit = quantizer_step(quantizer_of(layer.input(0))) * integer_weight(layer).unit
    source = layer.input(2).node
    value = round_half_up(np.asarray(source.operator.value, np.float64) / unit) * unit
    set_value(source, value.astype(np.float32))
