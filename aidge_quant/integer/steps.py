"""Layers as steps of the engine, each with its tensors and their places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.kernels.engine import MOVED_AXES, Engine
from aidge_quant.kernels.geometry import Part, Window

#: Values of an image up to which the engine has convolutions: it counts offsets in 32 bits, and the
#: pixels of a strip of tiles may lie in 96 images.
MOST_VALUES = 1 << 24


@dataclass(frozen=True)
class Site:
    """A layer with its tensors and their places."""

    inputs: tuple[IntegerTensor, ...]
    output: IntegerTensor
    places: tuple[int, ...]  # of the inputs, then of the output

    @property
    def kind(self) -> np.dtype:
        """Type of the data."""
        return self.inputs[0].dtype.numpy

    @property
    def affine_places(self) -> tuple[int, int, int]:
        """Of input, residual and output."""
        return self.places[0], self.places[1], self.places[-1]


def _conv(engine: Engine, layer: layers.Convolution, site: Site) -> None:
    engine.conv(
        (site.inputs[0].shape, site.kind),
        *(layer.weight, layer.bias, layer.requantization),
        site.affine_places,
        window=Window(layer.weight.shape[1:3], layer.stride, layer.dilation, layer.padding),
        groups=layer.groups,
        pad_value=layer.pad_value,
        dtype=site.output.dtype.numpy,
        residual=layer.residual,
    )


def _depthwise(engine: Engine, layer: layers.DepthwiseConvolution, site: Site) -> None:
    engine.depthwise_conv(
        (site.inputs[0].shape, site.kind),
        *(layer.weight, layer.bias, layer.requantization),
        site.affine_places,
        window=Window(layer.weight.shape[:2], layer.stride, layer.dilation, layer.padding),
        pad_value=layer.pad_value,
        dtype=site.output.dtype.numpy,
        residual=layer.residual,
    )


def _fc(engine: Engine, layer: layers.FullyConnected, site: Site) -> None:
    depth = layer.weight.shape[1]
    engine.fc(
        ((site.inputs[0].size // depth, depth), site.kind),
        layer.weight,
        layer.bias,
        layer.requantization,
        site.affine_places,
        dtype=site.output.dtype.numpy,
        residual=layer.residual,
    )


def _add(engine: Engine, layer: layers.Add | layers.Rescale, site: Site) -> None:
    factors = (layer.multiplier,) if isinstance(layer, layers.Rescale) else layer.multipliers
    engine.add(
        site.output.size,
        site.kind,
        layer.requantization,
        site.places,
        multipliers=factors,
        bias=layer.bias,
        dtype=site.output.dtype.numpy,
    )


def _average_pool(engine: Engine, layer: layers.AveragePool, site: Site) -> None:
    engine.average_pool(
        (site.inputs[0].shape, site.kind),
        layer.requantization,
        site.places,
        window=Window(layer.window, layer.stride, (1, 1), layer.padding),
        count_include_pad=layer.count_include_pad,
        zero_point=layer.zero_point,
        bias=layer.bias,
        lower=layer.lower,
        upper=layer.upper,
        dtype=site.output.dtype.numpy,
    )


def _max_pool(engine: Engine, layer: layers.MaxPool, site: Site) -> None:
    engine.max_pool(
        (site.inputs[0].shape, site.kind),
        site.places,
        Window(layer.window, layer.stride, layer.dilation, layer.padding),
    )


def _reshape(engine: Engine, _: layers.Reshape, site: Site) -> None:
    whole = Part.whole((site.output.size,))
    engine.move(whole.shape, whole, whole, site.kind, site.places)


def _slice(engine: Engine, layer: layers.Slice, site: Site) -> None:
    source = Part(site.inputs[0].shape, layer.starts, layer.steps)
    target = Part.whole(site.output.shape)
    engine.move(target.shape, source, target, site.kind, site.places)


def _pad(engine: Engine, layer: layers.Pad, site: Site) -> None:
    source = Part.whole(site.inputs[0].shape)
    target = Part(site.output.shape, layer.before, source.steps)
    engine.move(source.shape, source, target, site.kind, site.places, layer.value)


def _concat(engine: Engine, layer: layers.Concat, site: Site) -> None:
    start, target = 0, site.places[-1]
    for tensor, place in zip(site.inputs, site.places[:-1], strict=True):
        source = Part.whole(tensor.shape)
        starts = tuple(start if axis == layer.axis else 0 for axis in range(len(tensor.shape)))
        part = Part(site.output.shape, starts, source.steps)
        engine.move(tensor.shape, source, part, site.kind, (place, target))
        start += tensor.shape[layer.axis]


#: Layers that become steps.
STEPS: dict[type[Layer], Callable] = {
    layers.Convolution: _conv,
    layers.DepthwiseConvolution: _depthwise,
    layers.FullyConnected: _fc,
    layers.Add: _add,
    layers.Rescale: _add,
    layers.AveragePool: _average_pool,
    layers.MaxPool: _max_pool,
    layers.Reshape: _reshape,
    layers.Slice: _slice,
    layers.Pad: _pad,
    layers.Concat: _concat,
}


def becomes_step(layer: Layer, site: Site) -> bool:
    """Return whether the engine has a step for a layer and its tensors."""
    if isinstance(layer, layers.Convolution):
        top, left, bottom, right = layer.padding
        height, width, channels = site.inputs[0].shape
        if (top + height + bottom) * (left + width + right) * channels > MOST_VALUES:
            return False
    if isinstance(layer, layers.FullyConnected) and site.inputs[0].size > MOST_VALUES:
        return False
    if isinstance(layer, layers.Slice | layers.Pad | layers.Concat):
        return len(site.output.shape) <= MOVED_AXES
    return type(layer) in STEPS
