"""Are the integers of a transformed network those that training rounded to?

Tensor by tensor, in float64: the trained graph computes each tensor from the integers that the
integer graph has before it, so that no difference hides another. An integer may be the other one
of two only where the value lies on the edge between them, within what the integer network rounds
on purpose: multipliers of 31 bits, integer factors of the operands of an Add, and biases where
they did not train in accumulator units.
"""

import numpy as np

from aidge_quant import ops
from aidge_quant.executor import evaluate
from aidge_quant.ops import LSQ, BiasQuantizer, DoReFa, FixedQ, Producer, ScaleAdjust

QUANTIZERS = (ops.LSQ, ops.CGPACT, ops.FixedQ)

#: Values are a few hundred steps, and multipliers have 31 bits.
EDGE = 1e-5

#: Largest factor of an operand of an Add, 2^14, is halved at most to be a shift below.
FACTOR_ERROR = 2.0**-14


def check_integers(trained, integers, x, *, bias_error=0.0):
    """Compare every tensor; return how many values fell on the other side of an edge, of how many.

    Parameters
    ----------
    trained : GraphView
        With quantizers for training; frozen BatchNorm included.
    integers : GraphView
        What ``post_training_transform`` made of it, with true integers.
    x : float array (batch, *shape)
    bias_error : float
        How much of a step the rounding of a bias may be.
    """
    stored = {}
    (name,) = (node.name for node in integers.inputs)
    evaluate(integers, {name: x}, observe=lambda node, out: stored.update({node.name: out[0]}))
    values, computed, steps, slacks = {}, {}, {}, {}
    others = total = 0
    for node in trained.topological():
        operator = node.operator
        inputs = [None if p is None else p.node for p in node.inputs]
        if isinstance(operator, ops.Input):
            values[node], slacks[node] = x.astype(np.float64), 0.0
        elif not any(source in slacks for source in inputs):
            values[node], computed[node] = parameter(node, values, computed)
        elif isinstance(operator, QUANTIZERS):
            ratio = values[inputs[0]] / step_of(node)
            expected, clipped = rounded(operator, ratio)
            found = stored[stored_as(node, trained, integers)].astype(np.float64)
            edge = np.abs(np.abs(clipped - np.floor(clipped)) - 0.5)
            slack = EDGE + bias_error + slacks[inputs[0]] / step_of(node)
            other = found != expected
            assert (np.abs(found - expected) <= 1).all(), node.name
            assert (edge <= slack)[other].all(), (node.name, edge[other].max())
            others, total = others + int(other.sum()), total + other.size
            values[node], slacks[node] = found * step_of(node), 0.0
            steps[node] = step_of(node)
            continue
        else:
            arrays = [None if source is None else values[source] for source in inputs]
            values[node] = operator.forward(*arrays)
            slacks[node] = 0.0
            if isinstance(operator, ops.Add | ops.Sub):
                sizes = [steps[source] for source in inputs]
                counts = sum(
                    np.abs(values[s]) / size for s, size in zip(inputs, sizes, strict=True)
                )
                slacks[node] = counts * max(sizes) * FACTOR_ERROR
            elif isinstance(operator, ops.ReLU | ops.Clip) or ops.Trait.MOVES in operator.traits:
                slacks[node] = moved(operator, slacks[inputs[0]])
        known = [steps[source] for source in inputs if source in steps]
        if known:
            steps[node] = known[0]
    return others, total


def stored_as(node, trained, integers):
    """Return the name of the integer tensor: what the first reader of a quantizer reads."""
    use = trained.uses(node)[0]
    source = integers.node(use.node.name).input(use.slot).node
    while isinstance(source.operator, ops.Mul):  # the integer factor of an operand
        source = source.input(0).node
    return source.name


def moved(operator, slack):
    """Return the slack of each value where the operator puts it."""
    stays = np.ndim(slack) == 0 or isinstance(operator, ops.ReLU | ops.Clip | ops.Concat)
    return slack if stays else operator.forward(slack)


def parameter(node, values, computed):
    """Return the value of a parameter behind its quantizers, exact in float64, and as computed."""
    operator = node.operator
    arrays = [computed[p.node] for p in node.inputs if p is not None]
    if isinstance(operator, Producer):
        return np.asarray(operator.value, np.float64), operator.value
    result = operator.forward(*arrays)
    result = result[0] if isinstance(result, tuple) else result
    exact = result.astype(np.float64)
    if isinstance(operator, LSQ | FixedQ):
        exact = np.rint(exact / step_of(node)) * step_of(node)
    elif isinstance(operator, DoReFa):
        exact = np.rint(exact * operator.range) / operator.range
    elif isinstance(operator, ScaleAdjust):
        exact = values[node.inputs[0].node] / float(operator.forward(*arrays)[1][0])
    elif isinstance(operator, BiasQuantizer):
        unit = operator.unit(*arrays[1:])
        exact = np.floor(arrays[0].astype(np.float64) / unit + 0.5) * unit
    return exact, result


def step_of(node):
    """Return the real value of one integer of a quantizer, in float64."""
    operator = node.operator
    if isinstance(operator, ops.FixedQ):
        return operator.span / 2 ** (operator.nb_bits - (not operator.is_output_unsigned))
    value = float(np.asarray(node.input(1).node.operator.value).reshape(()))
    if isinstance(operator, ops.CGPACT):
        return value / operator.range
    return 2.0 ** np.floor(np.log2(value) + 0.5) if operator.power_of_two else value


def rounded(operator, ratio):
    """Return the integers that a quantizer rounds to, and what it rounds, in steps."""
    lower, upper = (0, operator.range) if isinstance(operator, ops.CGPACT) else operator.range
    clipped = np.clip(ratio, lower, upper)
    if getattr(operator, "power_of_two", False) or getattr(operator, "half_up", False):
        return np.floor(clipped + 0.5), clipped
    return np.copysign(np.floor(np.abs(clipped) + 0.5), clipped), clipped
