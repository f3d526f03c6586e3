"""Fold the quantizers of parameters into constants."""

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Annotation, GraphView
from aidge_quant.ops import Producer
from aidge_quant.ptq.flow import is_parameter_quantizer, is_plain_producer


def fold_producer_quantizers(graphview: GraphView) -> None:
    """Replace, in place, every quantized parameter by a constant that holds the result.

    Parameters
    ----------
    graphview : GraphView
        After ``quantize_network`` steps that complete the quantizers, cast or not.

    Notes
    -----
    The constant keeps the name and the precision of the parameter. Annotation.SCALE notes the real
    value of one of its integer units.
    """
    for node in graphview.topological():
        if not is_parameter_quantizer(node) or not is_plain_producer(node.input(0).node):
            continue
        parameter = node.input(0).node
        operator = node.operator
        value = operator.forward(parameter.operator.value)
        element_type = operator.element_type or dtype.of(value)
        folded = Producer(np.ascontiguousarray(value), element_type, constant=True)
        scale = 1 / np.asarray(operator.scale, np.float64)
        if len(graphview.uses(parameter)) == 1:
            parameter.operator = folded
            graphview.bypass(node)
        else:
            name = graphview.unique_name(f"{node.name}_Folded")
            annotations = dict(parameter.annotations)
            parameter = graphview.add(folded, (), name)
            parameter.annotations.update(annotations)
            graphview.replace_uses(node, parameter)
            graphview.remove(node)
        parameter.annotations[Annotation.SCALE] = scale if scale.ndim else float(scale)
