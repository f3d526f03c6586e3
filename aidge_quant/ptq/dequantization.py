"""Turn the outputs of a quantized network into real values."""

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.ops import Dequantizer
from aidge_quant.ptq.flow import has_unit, logger, source


def perform_dequantization(network: GraphView) -> None:
    """Multiply, in place, every output by its scale, so that the network returns real values.

    Parameters
    ----------
    network : GraphView
        After ``quantize_normalized_network``.

    Raises
    ------
    GraphError
        If the scale of an output is not known.

    Notes
    -----
    ``X_DeQuant``: float = integer * scale, on the scale of the float network. Outputs that are no
    activations (the indices of an ArgMax) stay as they are.
    """
    found = []
    for output in network.outputs:
        if not has_unit(output.port):
            logger.info("output %s is not an activation and stays as it is", output.name)
            continue
        scale = source(output.port).annotations.get(Annotation.SCALE)
        if scale is None:
            raise GraphError(
                f"output {output.name}: its scale is not known; "
                "call quantize_normalized_network first"
            )
        found.append((output.port, scale))
    for port, scale in dict(found).items():
        name = network.unique_name(f"{port.node.name}_DeQuant")
        readers = network.consumers(port.node)
        operator = Dequantizer(scale if np.ndim(scale) else float(scale))
        node = network.add(operator, (port,), name)
        network.replace_uses(port, node, but=(*readers, node))
        node.annotations[Annotation.IS_DEQUANTIZER] = True
