"""Give a quantized network its integer types."""

import dataclasses

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import GraphError
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import Quantizer
from aidge_quant.ops.quantization import as_shift
from aidge_quant.ptq.compensation import coefficient
from aidge_quant.ptq.flow import (
    activation_quantizers,
    driver,
    is_function,
    is_parameter_quantizer,
    logger,
    precision,
)

UNSIGNED = {dtype.int4: dtype.uint4, dtype.int8: dtype.uint8, dtype.int16: dtype.uint16}


def cast_quantized_network(network: GraphView, single_shift: bool, dequantize: bool) -> None:
    """Cast, in place, a network of floats that hold integers to the types it is annotated with.

    Parameters
    ----------
    network : GraphView
        After ``quantize_normalized_network`` and what follows it.
    single_shift : bool
        Replace the scales of the activation quantizers, powers of two then, by shifts.
    dequantize : bool
        Whether the network ends in multiplications to real values, which stay float.

    Raises
    ------
    GraphError
        If a scale is no power of two though ``single_shift`` is set, or ``dequantize`` is set and
        the network has no dequantizer.

    Notes
    -----
    The inputs become integers too, unless a quantizer of their own follows (``rescale_inputs``). A
    network quantized with ``no_quant`` holds no integers; it stays float, with a notice.
    """
    quantizers = activation_quantizers(network)
    if dequantize and not any(n.annotations.get(Annotation.IS_DEQUANTIZER) for n in network.nodes):
        raise GraphError(
            f"graph {network.name}: dequantize is set but no output is dequantized; "
            "call perform_dequantization first"
        )
    if any(q.operator.rounding is None for q in quantizers):
        logger.info("graph %s is not rounded and stays in float", network.name)
        return
    shifts = {q: _shift(q) for q in quantizers if single_shift and _is_integer_input(q)}
    for node in network.topological():
        if is_parameter_quantizer(node):
            node.operator = dataclasses.replace(node.operator, element_type=precision(node))
    for node in quantizers:
        element_type = precision(node)
        if node.operator.clip[0] >= 0:
            element_type = UNSIGNED[element_type]
        node.operator = dataclasses.replace(
            node.operator,
            scale=node.operator.scale if node in shifts else _fixed_point(node),
            element_type=element_type,
            shift=shifts.get(node),
        )
        constant = coefficient(node)
        if constant is not None:
            value = constant.operator.value.astype(np.int32)
            constant.operator = dataclasses.replace(
                constant.operator, value=value, element_type=dtype.int32
            )
    for node in network.inputs:
        readers = network.consumers(node)
        if not (readers and all(is_input_quantizer(reader) for reader in readers)):
            node.operator = dataclasses.replace(node.operator, element_type=precision(node))


def is_input_quantizer(node: Node) -> bool:
    """Whether the node turns the real values of a network input into integers."""
    return (
        bool(node.annotations.get(Annotation.IS_ACTIVATION_QUANTIZER))
        and not node.annotations.get(Annotation.IS_RESIDUAL)
        and driver(node).type == "Input"
    )


def _is_integer_input(quantizer: Node) -> bool:
    return not (is_function(driver(quantizer)) or is_input_quantizer(quantizer))


def _fixed_point(node: Node) -> float | np.ndarray:
    """Return the scale as the integer network has it: 31 bits, 2**-32 or more.

    Scales of network inputs and behind functions of real values multiply real values and stay.
    """
    scale = np.asarray(node.operator.scale, np.float64)
    if not _is_integer_input(node):
        return node.operator.scale
    mantissa, exponent = np.frexp(scale)
    rounded = np.ldexp(np.floor(mantissa * 2.0**31 + 0.5), exponent - 31)
    rounded = np.maximum(rounded, 2.0**-32)
    return rounded if rounded.ndim else float(rounded)


def _shift(node: Node) -> np.ndarray:
    operator: Quantizer = node.operator
    shift = as_shift(operator.scale)
    if shift is None:
        raise GraphError(
            f"{node.name}: its scale is no power of two from 2**-30 to 2**30; call "
            "perform_single_shift_approximation first, or set single_shift=False"
        )
    return shift
