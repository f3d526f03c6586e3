"""qdq_graph: an integer network as float operators between Q and DQ.

The scales are those with which the float operator computes what the layer computes:
``s_w = s_y * factor / s_in`` for weights, ``s_in * s_w`` for the bias, and ``s_y * factor *
multiplier`` for the inputs of a sum, where ``factor`` is the layer's 2**-k or m * 2**-n.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aidge_quant.graph import GraphView, Port
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import HALF_UP
from aidge_quant.interchange.metadata import REQUANTIZATION, describe
from aidge_quant.interchange.moves import MOVES
from aidge_quant.interchange.qdq.affine import draw_fully_connected, draw_transposed, draw_windows
from aidge_quant.interchange.qdq.elements import (
    draw_add,
    draw_average,
    draw_multiply,
    draw_rescale,
)
from aidge_quant.interchange.qdq.moves import (
    draw_argmax,
    draw_lookup,
    moved,
    real_clip,
    real_pad,
    real_pool,
    through_real,
)
from aidge_quant.interchange.qdq.sheet import QdqOptions, QdqSheet
from aidge_quant.interchange.sheet import own
from aidge_quant.ops import Input

RULES: Mapping[type[Layer], Callable[[QdqSheet, Any], None]] = {
    **{kind: moved(draw) for kind, draw in MOVES.items()},
    layers.Pad: through_real(MOVES[layers.Pad], real_pad),
    layers.Clamp: through_real(MOVES[layers.Clamp], real_clip),
    layers.MaxPool: through_real(MOVES[layers.MaxPool], real_pool),
    layers.ArgMax: draw_argmax,
    layers.Lookup: draw_lookup,
    layers.Convolution: draw_windows,
    layers.DepthwiseConvolution: draw_windows,
    layers.TransposedConvolution: draw_transposed,
    layers.FullyConnected: draw_fully_connected,
    layers.Add: draw_add,
    layers.Multiply: draw_multiply,
    layers.Rescale: draw_rescale,
    layers.AveragePool: draw_average,
}


def qdq_graph(network: IntegerNetwork, options: QdqOptions) -> GraphView:
    """Return a QDQ graph of ``network``.

    Parameters
    ----------
    network : IntegerNetwork
    options : QdqOptions

    Returns
    -------
    GraphView
        Float inputs and outputs under the network's names, in real units.

    Raises
    ------
    UnsupportedError
        If a layer has a bias or bounds that the form cannot say.
    """
    sheet = drawn(network, options)
    for name, tensor_name in zip(network.output_names, network.outputs, strict=True):
        tensor = network.tensor(tensor_name)
        sheet.graph.add_output(sheet.real(tensor, np.asarray(tensor.scale), own(tensor)), name)
    steps = json.dumps(sheet.steps, sort_keys=True, separators=(",", ":"))
    sheet.graph.metadata = describe(network, "qdq") | {REQUANTIZATION: steps}
    sheet.graph.remove_dead_nodes()
    return sheet.graph


def drawn(network: IntegerNetwork, options: QdqOptions) -> QdqSheet:
    """Return the sheet with all inputs and layers drawn, and no output yet."""
    sheet = QdqSheet(network, options)
    for name, tensor_name in zip(network.input_names, network.inputs, strict=True):
        tensor = network.tensor(tensor_name)
        node = sheet.graph.add_input(Input((1, *tensor.onnx_shape)), name)
        stored = sheet.store(tensor, Port(node), tensor.scale, own(tensor))
        exact = {"factor": 1.0, "rounding": HALF_UP, "shift": True}
        sheet.steps[stored] = exact | sheet.described(tensor, np.asarray(tensor.scale))
    for layer in network.layers:
        RULES[type(layer)](sheet, layer)
    return sheet
