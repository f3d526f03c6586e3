"""Functions of one value whose form in ONNX changed over time or has variants."""

import numpy as np

from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.onnx_io.builder import Value
from aidge_quant.onnx_io.converters.registry import converts
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.ops import Clip, Gelu, Identity, Softmax


@converts("Clip")
def clip(node: NodeReader) -> list[Value]:
    """Read bounds that are attributes (before opset 11) or constant inputs."""
    bounds = []
    for name, index, absent in (("min", 1, -np.inf), ("max", 2, np.inf)):
        bound = node.number(name, absent) if node.opset < 11 else absent
        if node.opset >= 11 and node.optional(index) is not None:
            array = node.constant(index, f"its bound {name}")
            if array.size != 1:
                raise GraphError(f"its bound {name} has shape {array.shape}, expected one number")
            bound = float(array.reshape(()))
        # the largest float stands for "no bound"
        bounds.append(absent if abs(bound) >= float(np.finfo(np.float32).max) else bound)
    if np.isnan(bounds).any():
        raise GraphError(f"its bounds are {bounds}, expected numbers")
    return node.add(Clip(*bounds), node.value(0))


@converts("Softmax")
def softmax(node: NodeReader) -> list[Value]:
    """Read with the meaning of its opset: before 13 all axes from ``axis`` on are one."""
    old = node.opset < 13
    axis = node.axis(node.integer("axis", 1 if old else -1))
    return node.add(Softmax(axis, flatten=old and axis < node.rank() - 1), node.value(0))


@converts("Dropout")
def dropout(node: NodeReader) -> list[Value]:
    """Read as Identity: inference drops nothing."""
    node.ignore("ratio", "seed", "is_test")
    training = node.optional(2)
    if training is not None and (training.array is None or training.array.any()):
        raise UnsupportedError("it is in training mode; export the model for inference")
    if node.uses_output(1):
        raise UnsupportedError("its output mask is used, which is not handled")
    return node.add(Identity(), node.value(0))


@converts("Gelu")
def gelu(node: NodeReader) -> list[Value]:
    """Read both formulas."""
    approximate = node.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise GraphError(f"approximate is {approximate!r}, expected none or tanh")
    return node.add(Gelu(approximate == "tanh"), node.value(0))
