"""Write a scheme into a skeleton: the quantized graph, and the integer network of it."""

import dataclasses

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.integer.lowering.lower import lower
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.ops import Clip, Dequantizer, Mul, Pad, Producer
from aidge_quant.ops.quantization import HALF_UP, round_half_up
from aidge_quant.ptq.channels import scale_output_channels
from aidge_quant.ptq.flow import dequantizer_of, source, unscaled_constants
from aidge_quant.ptq.quantization import Levels, rounded_constants
from aidge_quant.tuning.numbers import INT32_LIMIT, Numbers, resolve
from aidge_quant.tuning.scheme import Scheme
from aidge_quant.tuning.skeleton import ADD, AFFINE, FUNCTION, INPUT, PRODUCT, Site, Skeleton

WEIGHT_TYPES = {4: dtype.int4, 8: dtype.int8, 16: dtype.int16}


def quantized_graph(skeleton: Skeleton, scheme: Scheme) -> GraphView:
    """Return the graph of integers that ``scheme`` describes, as ``quantize_network`` makes them.

    The graph takes real values: a quantizer follows each input.
    """
    graph = skeleton.graph.clone()
    numbers = resolve(skeleton, scheme)
    for site in skeleton.sites.values():
        _write(graph, skeleton, scheme, site, numbers)
    for node in unscaled_constants(graph):
        found = numbers[source(node.input(0)).name]
        node.operator = _in_units(node.operator, found)
    return graph


def integer_network(skeleton: Skeleton, scheme: Scheme) -> IntegerNetwork:
    """Return the integer network that ``scheme`` describes."""
    return lower(quantized_graph(skeleton, scheme))


def real_bias(skeleton: Skeleton, scheme: Scheme, site: Site) -> np.ndarray:
    """Return the float64 bias (out,) of an affine site."""
    value = scheme.biases.get(site.name)
    if value is None:
        value = np.asarray(skeleton.bias(site).operator.value, np.float64).ravel()
    return value


def float_weight(skeleton: Skeleton, site: Site) -> np.ndarray:
    """Return the float64 weight of an affine site in the layout of the graph."""
    return skeleton.weight(site).operator.value.astype(np.float64)


def scaled_weight(node: Node, value: np.ndarray, numbers: Numbers) -> np.ndarray:
    """Return a float64 weight of an affine node in integer units, not rounded."""
    if numbers.weight_scale.ndim == 0:
        return value / numbers.weight_scale
    return scale_output_channels(node, value, 1 / numbers.weight_scale)


def _write(
    graph: GraphView,
    skeleton: Skeleton,
    scheme: Scheme,
    site: Site,
    numbers: dict[str, Numbers],
) -> None:
    node, found = graph.node(site.name), numbers[site.name]
    clip = (found.lower, found.upper)
    element_type = _value_type(clip)
    node.annotations[Annotation.SCALE] = found.scale
    if site.kind in (INPUT, FUNCTION):
        node.operator = dataclasses.replace(
            node.operator,
            scale=1 / found.scale,
            clip=clip,
            rounding=HALF_UP,
            element_type=element_type,
        )
        if site.kind == FUNCTION:
            dequantizer = dequantizer_of(graph.node(site.node))
            unit = numbers[source(dequantizer.input(0)).name].scale
            dequantizer.operator = Dequantizer(unit)
        return
    node.operator = dataclasses.replace(
        node.operator,
        scale=np.exp2(-found.shift.astype(np.float64)),
        clip=clip,
        rounding=HALF_UP,
        shift=found.shift,
        element_type=element_type,
    )
    if site.kind == AFFINE:
        _write_parameters(graph, skeleton, scheme, site, numbers)
        if found.residual is not None:
            rank = np.ndim(skeleton.weight(site).operator.value)
            shape = (1, -1, *(1,) * (rank - 2)) if found.residual.ndim else ()
            factors = _integers(found.residual.reshape(shape), dtype.int32)
            graph.node(site.multipliers[0]).operator = factors
    elif site.kind == ADD:
        for name, factor in zip(site.multipliers, found.factors, strict=True):
            graph.node(name).operator = _integers(np.asarray(factor), dtype.int32)
    elif site.kind == PRODUCT:
        operator = _integers(np.asarray(found.factors[0]), dtype.int32)
        constant = graph.add(operator, (), graph.unique_name(f"{site.node}_Multiplier"))
        name = graph.unique_name(f"{constant.name}_Mul")
        added = graph.insert_before(node, 0, Mul(), name, (constant,))
        added.annotations[Annotation.IS_COMPENSATION] = True


def _write_parameters(
    graph: GraphView,
    skeleton: Skeleton,
    scheme: Scheme,
    site: Site,
    numbers: dict[str, Numbers],
) -> None:
    found, incoming = numbers[site.name], numbers[site.sources[0]].scale
    top = scheme.largest_weight(site.name)
    integers = scheme.weights.get(site.name)
    if integers is None:
        value = float_weight(skeleton, site)
        integers = round_half_up(scaled_weight(skeleton.graph.node(site.node), value, found))
    element_type = WEIGHT_TYPES[scheme.bits_of_weight(site.name)]
    _set(graph, skeleton.weight(site), np.clip(integers, -top, top), element_type)
    unit = found.weight_scale * incoming
    bias = round_half_up(real_bias(skeleton, scheme, site) / unit)
    _set(graph, skeleton.bias(site), np.clip(bias, -INT32_LIMIT, INT32_LIMIT), dtype.int32)
    graph.node(skeleton.weight(site).name).annotations[Annotation.SCALE] = _plain(
        found.weight_scale
    )
    graph.node(skeleton.bias(site).name).annotations[Annotation.SCALE] = _plain(unit)


def _plain(value: np.ndarray) -> float | np.ndarray:
    return value if np.ndim(value) else float(value)


def _set(graph: GraphView, twin: Node, values: np.ndarray, element_type: dtype) -> None:
    node = graph.node(twin.name)
    node.operator = _integers(values, element_type)
    node.annotations[Annotation.PRECISION] = element_type


def _integers(values: np.ndarray, element_type: dtype) -> Producer:
    array = np.ascontiguousarray(values).astype(element_type.numpy)
    return Producer(array.reshape(np.shape(values)), element_type, constant=True)


def _value_type(clip: tuple[int, int]) -> dtype:
    """Return the smallest type that holds the values of an interval, zero point left out."""
    for element_type in (dtype.int8, dtype.uint8, dtype.int16):
        if clip[0] >= element_type.min and clip[1] <= element_type.max:
            return element_type
    return dtype.int32


def _in_units(operator: Clip | Pad, found: Numbers) -> Clip | Pad:
    levels = Levels(found.lower, found.upper, 0)
    if isinstance(operator, Pad):
        scaled: Clip | Pad = dataclasses.replace(operator, value=operator.value / found.scale)
    else:
        scaled = dataclasses.replace(
            operator, lower=operator.lower / found.scale, upper=operator.upper / found.scale
        )
    return rounded_constants(scaled, levels)
