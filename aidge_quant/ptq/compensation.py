"""Compensation of quantizers that have no weights to absorb a power-of-two scale."""

import dataclasses

import numpy as np

from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import Input, Mul, producer
from aidge_quant.ptq.flow import (
    activation_quantizers,
    driver,
    is_affine,
    is_function,
    is_product,
    scale_sources,
)
from aidge_quant.ptq.flow import precision as precision_of
from aidge_quant.ptq.parameters import multiplied

#: Coefficient of signed 8-bit activations, that of the published pipeline, and a finer one for the
#: types that it does not know as integers: unsigned and 16-bit ones.
COEFFICIENT, WIDE_COEFFICIENT = 127, 2**13 - 1


def insert_compensation_nodes(graphview: GraphView) -> None:
    """Multiply, in place, by a constant before every quantizer that has no affine node before it.

    Parameters
    ----------
    graphview : GraphView
        After ``quantize_normalized_network``.

    Raises
    ------
    UnsupportedError
        If the product of two 16-bit activations leaves no room for a coefficient.

    Notes
    -----
    The constant is 127 and the scale of the quantizer is divided by it, so that nothing changes;
    ``perform_single_shift_approximation`` then lowers the constant to correct the power of two.
    8191 serves where an unsigned or a 16-bit activation goes in or out: twice 2**15 * 8191 and
    255**2 * 8191 are below 2**31. Quantizers behind functions of real values become tables and need
    none.
    """
    found = [q for q in activation_quantizers(graphview) if needs_compensation(q)]
    for quantizer in found:
        if is_product(driver(quantizer)) and _bits(scale_sources(quantizer)[0]) > 8:
            raise UnsupportedError(
                f"{driver(quantizer).name}: the product of two 16-bit activations leaves no room "
                "in int32 for a single shift; use single_shift=False or 8-bit activations"
            )
    for quantizer in found:
        value = WIDE_COEFFICIENT if _is_wide(quantizer) else COEFFICIENT
        name = graphview.unique_name(f"{quantizer.name}_Compensation")
        constant = graphview.add(
            producer(np.full((), value, np.float32), constant=True),
            (),
            graphview.unique_name(f"{quantizer.name}_Coefficient"),
        )
        node = graphview.insert_before(quantizer, 0, Mul(), name, (constant,))
        node.annotations[Annotation.IS_COMPENSATION] = True
        quantizer.operator = multiplied(quantizer.operator, 1 / value)


def needs_compensation(quantizer: Node) -> bool:
    """Whether the quantizer scales integers without weights before it."""
    origin = driver(quantizer)
    residual = bool(quantizer.annotations.get(Annotation.IS_RESIDUAL))
    return residual or not (
        is_affine(origin) or is_function(origin) or isinstance(origin.operator, Input)
    )


def coefficient(quantizer: Node) -> Node | None:
    """Return the producer of the compensation coefficient, or None."""
    node = quantizer.input(0).node
    return node.input(1).node if node.annotations.get(Annotation.IS_COMPENSATION) else None


def set_coefficient(node: Node, value: float) -> None:
    """Give the producer of a coefficient another value."""
    array = np.full_like(node.operator.value, value)
    node.operator = dataclasses.replace(node.operator, value=array)


def _is_wide(quantizer: Node) -> bool:
    tensors = (quantizer, *scale_sources(quantizer))
    return any(_bits(node) > 8 or _is_unsigned(node) for node in tensors)


def _is_unsigned(node: Node) -> bool:
    clip = getattr(node.operator, "clip", None)
    return clip is not None and clip[0] >= 0


def _bits(node: Node) -> int:
    return precision_of(node).bits
