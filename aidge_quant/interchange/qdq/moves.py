"""Moves of values in the QDQ form: stored integers of 8 bits, real values of 32-bit tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import Port
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.requantization import HALF_UP
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.interchange.geometry import canonical_axes, canonical_axis
from aidge_quant.interchange.moves import MOVES, ends
from aidge_quant.interchange.qdq.sheet import QdqSheet
from aidge_quant.interchange.sheet import Sheet
from aidge_quant.ops import ArgMax, Cast, Clip, MaxPool, Operator, Pad

#: From a layer, the tensor it reads and its unit to the operator on real values.
OnReal = Callable[[Any, IntegerTensor, float], Operator]


def moved(draw: Callable[[Sheet, Any], None]) -> Callable[[QdqSheet, Any], None]:
    """Return a rule that moves values as they are held."""

    def rule(sheet: QdqSheet, layer: Layer) -> None:
        draw(sheet, layer)
        _pass_on(sheet, layer)

    return rule


def through_real(draw: Callable[[Sheet, Any], None], on_real: OnReal) -> Callable[..., None]:
    """Return a rule that works on int8 as stored, on other types as real values."""

    def rule(sheet: QdqSheet, layer: Layer) -> None:
        source, target = ends(sheet, layer)
        if source.dtype is dtype.int8:
            draw(sheet, layer)
            return
        _pass_on(sheet, layer)
        unit = sheet.unit(source)
        if unit.ndim:
            raise UnsupportedError(
                f"{layer}: it works on {source.dtype.value} values with scales by channel, "
                "expected one scale"
            )
        operator = on_real(layer, source, float(unit))
        found = sheet.add(operator, sheet.real(source, unit), name=layer.name)
        if target.dtype is dtype.int32:
            sheet.bind(target.name, found)
        else:
            sheet.store(target, Port(found), unit)

    return rule


def _pass_on(sheet: QdqSheet, layer: Layer) -> None:
    source, target = ends(sheet, layer)
    if source.dtype is target.dtype is dtype.int32:
        sheet.set_unit(target, sheet.unit(source))


def draw_lookup(sheet: QdqSheet, layer: layers.Lookup) -> None:
    """Draw a table of stored integers; the metadata says what those that come out mean."""
    MOVES[layers.Lookup](sheet, layer)
    target = sheet.network.tensor(layer.output)
    node = sheet.port(layer.output).node
    exact = {"factor": 1.0, "rounding": HALF_UP, "shift": True}
    sheet.steps[node.name] = exact | sheet.described(target, sheet.unit(target))


def draw_argmax(sheet: QdqSheet, layer: layers.ArgMax) -> None:
    """Draw the index of the first largest value, as a real number."""
    source, target = ends(sheet, layer)
    port = sheet.port(source.name)
    if source.dtype is dtype.int16:
        port = sheet.real(source, sheet.unit(source))
    operator = ArgMax(canonical_axis(source, len(source.shape) - 1))
    found = sheet.add(operator, port, name=layer.name)
    index = sheet.add(Cast(dtype.float32), found, name=f"{layer.name}_real")
    sheet.bind(layer.output, index)
    sheet.set_unit(target, np.asarray(1.0))


def real_pad(layer: layers.Pad, source: IntegerTensor, unit: float) -> Operator:
    """Return the pad of real values."""
    before = canonical_axes(source, layer.before, 0)
    after = canonical_axes(source, layer.after, 0)
    return Pad(before, after, unit * (layer.value - source.zero_point))


def real_clip(layer: layers.Clamp, source: IntegerTensor, unit: float) -> Operator:
    """Return the clip of real values."""
    bounds = (unit * (bound - source.zero_point) for bound in (layer.lower, layer.upper))
    return Clip(*bounds)


def real_pool(layer: layers.MaxPool, source: IntegerTensor, unit: float) -> Operator:
    """Return the pool of real values."""
    return MaxPool(layer.window, layer.stride, layer.dilation, layer.padding)
