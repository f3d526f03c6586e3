"""Checks of an integer network, made whenever one is made.

Names and order, types, shapes, ranges, and the proof that no accumulator leaves int32: what passes
here can be run, stored and printed as C without further questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import DataError, DtypeError, GraphError, ShapeError
from aidge_quant.integer import bounds, layers, parameters, shapes
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.tensors import IntegerTensor

if TYPE_CHECKING:
    from aidge_quant.integer.network import IntegerNetwork

_DATA = (dtype.int8, dtype.int16)
_ANY = (dtype.int8, dtype.int16, dtype.int32)


@dataclass(frozen=True)
class Rule:
    """How one class of layers is checked.

    Attributes
    ----------
    shape, parameters, bounds : functions
        From the modules of these names.
    inputs : range
        How many tensors are read.
    reads : tuple of dtype
        Types that the inputs, all of one type, may have.
    writes : tuple of dtype
        Types that the output may have; empty for that of the input.
    """

    shape: shapes.ShapeRule
    parameters: parameters.ParameterRule = parameters.nothing
    bounds: bounds.BoundRule = bounds.nothing
    inputs: range = range(1, 2)
    reads: tuple[dtype, ...] = _DATA
    writes: tuple[dtype, ...] = _ANY


_TWO = range(2, 3)
#: With a residual, or without.
_AFFINE = range(1, 3)

RULES: dict[type[Layer], Rule] = {
    layers.Convolution: Rule(shapes.convolution, parameters.padded, bounds.affine, _AFFINE),
    layers.DepthwiseConvolution: Rule(shapes.depthwise, parameters.padded, bounds.affine, _AFFINE),
    layers.TransposedConvolution: Rule(
        shapes.transposed, parameters.transposed, bounds.affine, _AFFINE
    ),
    layers.FullyConnected: Rule(shapes.fully_connected, parameters.affine, bounds.affine, _AFFINE),
    layers.Add: Rule(shapes.equal, parameters.add, bounds.add, _TWO),
    layers.Multiply: Rule(shapes.multiply, parameters.multiply, bounds.multiply, _TWO),
    layers.Rescale: Rule(shapes.equal, parameters.rescale, bounds.rescale),
    layers.AveragePool: Rule(shapes.pool, parameters.average, bounds.average),
    layers.MaxPool: Rule(shapes.pool, writes=()),
    layers.Clamp: Rule(shapes.equal, parameters.clamp, writes=()),
    layers.Lookup: Rule(shapes.lookup, parameters.lookup, reads=(dtype.int8,), writes=()),
    layers.Reshape: Rule(shapes.reshape, reads=_ANY, writes=()),
    layers.Transpose: Rule(shapes.transpose, reads=_ANY, writes=()),
    layers.Slice: Rule(shapes.slice_, reads=_ANY, writes=()),
    layers.Pad: Rule(shapes.pad, parameters.pad, reads=_ANY, writes=()),
    layers.Concat: Rule(shapes.concat, inputs=range(2, 2**31), reads=_ANY, writes=()),
    layers.Resize: Rule(shapes.resize, parameters.resize, reads=_ANY, writes=()),
    layers.ArgMax: Rule(shapes.argmax, reads=_ANY, writes=(dtype.int32,)),
}


def check_network(network: IntegerNetwork) -> None:
    """Raise unless the network is one of the contract.

    Parameters
    ----------
    network : IntegerNetwork

    Raises
    ------
    GraphError
        If names or the order do not match, or a number of a layer is not one of the contract.
    ShapeError, DtypeError, DataError
        If a shape, a type or the range of values of a tensor or a weight does not fit.
    OverflowProofError
        If an accumulator could leave int32.
    """
    _expect_unique("tensors", [tensor.name for tensor in network.tensors])
    _expect_unique("layers", [layer.name for layer in network.layers])
    _expect_unique("inputs", network.inputs)
    _check_ends(network)
    for tensor in network.tensors:
        check_tensor(tensor)
    by_name = {tensor.name: tensor for tensor in network.tensors}
    written = list(network.inputs)
    for layer in network.layers:
        for name in layer.inputs:
            if name not in written:
                raise GraphError(
                    f"{layer}: reads {name!r}, which nothing before it writes; put the layers in "
                    "order of execution"
                )
        if layer.output in written:
            raise GraphError(f"{layer}: writes {layer.output!r}, which is written before")
        if layer.output not in by_name:
            raise GraphError(f"{layer}: writes {layer.output!r}, which is not among the tensors")
        written.append(layer.output)
        _check_layer(layer, [by_name[name] for name in layer.inputs], by_name[layer.output])
    names = [tensor.name for tensor in network.tensors]
    if names != written:
        raise GraphError(
            f"network {network.name}: tensors are {names}, expected inputs first and then in the "
            f"order they are written: {written}"
        )
    for name in network.outputs:
        if name not in by_name:
            raise GraphError(f"network {network.name}: output {name!r} is not among the tensors")


def _expect_unique(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise GraphError(f"two {what} are named {name!r}, expected different names")
        seen.add(name)


def _check_ends(network: IntegerNetwork) -> None:
    for what, tensors, names in (
        ("input", network.inputs, network.input_names),
        ("output", network.outputs, network.output_names),
    ):
        if not tensors or len(tensors) != len(names):
            raise GraphError(
                f"network {network.name}: {len(tensors)} {what}s with {len(names)} {what} names, "
                "expected one name each, and at least one"
            )
        _expect_unique(f"{what} names", names)
    for tensor in network.tensors:
        if tensor.name in network.inputs and tensor.dtype not in _DATA:
            raise DtypeError(f"input {tensor.name} is {tensor.dtype.value}, expected int8 or int16")
        if tensor.name in network.inputs and np.ndim(tensor.scale) != 0:
            raise ShapeError(f"input {tensor.name} has a scale a channel, expected one scale")


def check_tensor(tensor: IntegerTensor) -> None:
    """Raise unless shape, type, scale, zero point and layout of a tensor go together."""
    name = f"tensor {tensor.name}"
    if tensor.dtype not in _ANY:
        raise DtypeError(f"{name} is {tensor.dtype.value}, expected int8, int16 or int32")
    sizes = (*tensor.shape, *tensor.onnx_shape)
    if any(size < 1 for size in sizes) or tensor.size != np.prod(tensor.onnx_shape, dtype=int):
        raise ShapeError(
            f"{name} has shape {tensor.shape} and in ONNX {tensor.onnx_shape}, expected as many "
            "values in both, and at least one"
        )
    if sorted(tensor.layout) != list(range(len(tensor.onnx_shape))):
        raise ShapeError(
            f"{name} has layout {tensor.layout}, expected each axis of {tensor.onnx_shape} once"
        )
    scale = np.asarray(tensor.scale)
    if scale.shape not in ((), (tensor.channels,)):
        raise ShapeError(
            f"{name} has a scale of shape {scale.shape}, expected one or ({tensor.channels},)"
        )
    if scale.dtype.kind != "f" or not np.isfinite(scale).all() or not (scale > 0).all():
        raise DataError(f"{name} has scale {tensor.scale}, expected finite and above 0")
    allowed = range(-128, 128) if tensor.dtype is dtype.int8 else range(1)
    if tensor.zero_point not in allowed:
        raise DataError(
            f"{name} ({tensor.dtype.value}) has zero point {tensor.zero_point}, expected "
            f"{allowed[0]} to {allowed[-1]}"
        )


def _check_layer(layer: Layer, inputs: Sequence[IntegerTensor], output: IntegerTensor) -> None:
    rule = RULES.get(type(layer))
    if rule is None:
        raise GraphError(f"{layer}: not a layer of the integer contract")
    if len(inputs) not in rule.inputs:
        least, most = rule.inputs[0], rule.inputs[-1]
        expected = f"{least}" if most == least else f"{least} or {'2' if most == 2 else 'more'}"
        raise GraphError(f"{layer}: reads {len(inputs)} tensors, expected {expected}")
    _check_types(layer, rule, inputs, output)
    expected_shape = rule.shape(layer, inputs, output)
    if output.shape != tuple(expected_shape):
        raise ShapeError(
            f"{layer}: output {output.name} has shape {output.shape}, expected "
            f"{tuple(map(int, expected_shape))}"
        )
    rule.parameters(layer, inputs, output)
    rule.bounds(layer, inputs)


def _check_types(
    layer: Layer, rule: Rule, inputs: Sequence[IntegerTensor], output: IntegerTensor
) -> None:
    first = inputs[0].dtype
    for tensor in inputs:
        if tensor.dtype not in rule.reads or tensor.dtype is not first:
            expected = first.value if first in rule.reads else _listed(rule.reads)
            raise DtypeError(
                f"{layer}: input {tensor.name} is {tensor.dtype.value}, expected {expected}"
            )
    writes = rule.writes or (first,)
    if output.dtype not in writes:
        raise DtypeError(
            f"{layer}: output {output.name} is {output.dtype.value}, expected {_listed(writes)}"
        )


def _listed(types: Sequence[dtype]) -> str:
    return " or ".join(each.value for each in types)
