"""The integers of a weight behind its quantizers for training, their unit, and the bias beside."""

from dataclasses import dataclass

import numpy as np

from aidge_quant.errors import GraphError, UnsupportedError
from aidge_quant.graph import Node
from aidge_quant.ops import LSQ, BiasQuantizer, DoReFa, FixedQ, Producer, ScaleAdjust, TanhClamp


@dataclass(frozen=True, eq=False)
class IntegerWeight:
    """A quantized weight.

    Attributes
    ----------
    values : float64 array of integers
    unit : float
        Real value of 1.
    largest : int
        The largest integer that its quantizer allows.
    """

    values: np.ndarray
    unit: float
    largest: int


def integer_weight(layer: Node) -> IntegerWeight:
    """Return the weight of an affine node as integers.

    Raises
    ------
    UnsupportedError
        If no quantizer is on it.
    GraphError
        If its step was never set.
    """
    chain: list[Node] = []
    node = layer.input(1).node
    while not isinstance(node.operator, Producer):
        chain.append(node)
        node = node.input(0).node
    value = np.asarray(node.operator.value)
    found: IntegerWeight | None = None
    for step in reversed(chain):
        operator = step.operator
        if isinstance(operator, TanhClamp) and found is None:
            value = operator.forward(value)[0]
        elif isinstance(operator, DoReFa) and found is None:
            integers = operator.integers(value).astype(np.float64)
            found = IntegerWeight(integers, operator.step, operator.range)
            value = operator.forward(value)
        elif isinstance(operator, LSQ) and found is None:
            unit = quantizer_step(step)
            quantized = operator.forward(value, np.asarray(step.input(1).node.operator.value))
            integers = np.rint(quantized / value.dtype.type(unit))
            found = IntegerWeight(integers.astype(np.float64), unit, operator.range[1])
            value = quantized
        elif isinstance(operator, FixedQ) and found is None:
            value = operator.forward(value)
            integers = np.rint(value / value.dtype.type(operator.step)).astype(np.float64)
            found = IntegerWeight(integers, operator.step, operator.range[1])
        elif isinstance(operator, ScaleAdjust):
            value, divisor = operator.forward(value)
            if found is not None:
                unit = found.unit / float(divisor[0])
                found = IntegerWeight(found.values, unit, found.largest)
        else:
            raise UnsupportedError(
                f"{step.name} ({step.type}): expected quantizers of the weight of {layer.name} only"
            )
    if found is None:
        raise UnsupportedError(f"{layer.name} ({layer.type}): its weight has no quantizer")
    return found


def quantizer_step(node: Node) -> float:
    """Return the real value of one unit of an LSQ, CGPACT or FixedQ node.

    Raises
    ------
    GraphError
        If it is not set, or not positive.
    """
    operator = node.operator
    if isinstance(operator, FixedQ):
        return operator.step
    source = node.input(1).node
    value = np.asarray(source.operator.value, np.float32).reshape(-1)
    if value.size != 1 or not np.isfinite(value).all() or value[0] <= 0:
        raise GraphError(
            f"{source.name}: the step or bound of {node.name} is {value.tolist()}, expected one "
            "positive number; train, or call aidge_quant.training.initialize with a batch of data"
        )
    if isinstance(operator, LSQ):
        return float(operator.effective_step(value, value))
    return float(value[0]) / operator.range


def bias_of(node: Node) -> tuple[np.ndarray, bool]:
    """Return the bias of a layer, float64, and whether it was trained in the accumulator's unit."""
    source = node.input(2).node
    if not isinstance(source.operator, Producer | BiasQuantizer):
        raise UnsupportedError(
            f"{node.name}: its bias has a {source.type}, expected a BiasQuantizer or none; biases "
            "are rounded to the units of their accumulators"
        )
    if not isinstance(source.operator, BiasQuantizer):
        return np.asarray(source.operator.value, np.float64), False
    return np.asarray(source.input(0).node.operator.value, np.float64), True


def by_channel(node: Node, values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return a weight with each output channel multiplied."""
    axis = node.operator.output_axis
    if axis and getattr(node.operator, "groups", 1) > 1:
        raise GraphError(f"{node.name} ({node.type}): a BatchNorm behind groups; fold it before")
    shape = [1] * values.ndim
    shape[axis] = -1
    return values * factors.reshape(shape)
