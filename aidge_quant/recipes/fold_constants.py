"""Recipe: compute what depends on constants only."""

import numpy as np

from aidge_quant.graph import GraphView
from aidge_quant.ops import Producer, producer


def fold_constants(network: GraphView) -> None:
    """Replace, in place, every node whose inputs are all constants by a constant of its name.

    QuantizeLinear and DequantizeLinear stay: they say how a parameter is quantized.
    """
    for node in network.topological():
        ports = [port for port in node.inputs if port is not None]
        if not ports or node.operator.output_count != 1 or not node.operator.foldable:
            continue
        if all(isinstance(port.node.operator, Producer) for port in ports):
            values = [None if p is None else p.node.operator.value for p in node.inputs]
            node.operator = producer(np.asarray(node.operator.forward(*values)))
            network.set_inputs(node, ())
