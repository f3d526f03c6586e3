"""The QDQ form: float operators between DequantizeLinear and QuantizeLinear.

The scales are those with which the float operator computes what the layer computes, up to ties:
``s_w = s_y * factor / s_in`` for weights, ``s_in * s_w`` for the bias, ``s_y * factor * multiplier``
for the inputs of a sum, where ``factor`` is the layer's 2**-k or m * 2**-n.

An engine rounds ties to even, the contract half up. Where a layer has one shift and weights of at
most 6 bits, it is written with doubled weights and an odd bias (2 w, 2 b + 1, k + 1): its
accumulator is then odd, never a tie, and every engine gives the integers of the contract.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aidge_quant.dtypes import dtype
from aidge_quant.errors import UnsupportedError
from aidge_quant.graph import GraphView, Port
from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.requantization import HALF_UP, Requantization
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.interchange.geometry import onnx_weight, per_channel, weight_sums
from aidge_quant.interchange.metadata import REQUANTIZATION, describe
from aidge_quant.interchange.moves import MOVES, clamped, ends
from aidge_quant.interchange.sheet import Sheet, View, own, plain
from aidge_quant.ops import (
    FC,
    Add,
    AveragePool,
    Cast,
    Clip,
    Conv,
    ConvTranspose,
    DequantizeLinear,
    Input,
    MaxPool,
    Mul,
    Operator,
    Pad,
    QuantizeLinear,
    Sub,
)

REAL = "real"
POWER_OF_TWO = "power_of_two"
#: Largest weight that is doubled: 2 * 63 is an int8.
DOUBLED = 63
INT32 = 2**31 - 1


@dataclass(frozen=True)
class QdqOptions:
    """Choices of the QDQ form.

    Attributes
    ----------
    scales : {"real", "power_of_two"}
        Whether a tensor inside the network is dequantized with its real scale, or with the nearest
        power of two: engines then round alike, with float32 everywhere exact, and only the ends of
        the network are in real units.
    unsigned : bool
        Whether 8-bit activations are uint8, 128 higher.
    odd_accumulators : bool
        Whether layers whose weights fit in 6 bits are written so that no accumulator is a tie.
    """

    scales: str = REAL
    unsigned: bool = False
    odd_accumulators: bool = True


def qdq_graph(network: IntegerNetwork, options: QdqOptions) -> GraphView:
    """Return a QDQ graph of ``network``, with float inputs and outputs under their names.

    Raises
    ------
    UnsupportedError
        If a layer has an offset or a bias that the form cannot say.
    """
    sheet = QdqSheet(network, options)
    for name, tensor_name in zip(network.input_names, network.inputs, strict=True):
        tensor = network.tensor(tensor_name)
        node = sheet.graph.add_input(Input((1, *tensor.onnx_shape)), name)
        sheet.store(tensor, Port(node), tensor.scale, own(tensor))
    for layer in network.layers:
        RULES[type(layer)](sheet, layer)
    for name, tensor_name in zip(network.output_names, network.outputs, strict=True):
        tensor = network.tensor(tensor_name)
        port = sheet.real(tensor, np.asarray(tensor.scale), own(tensor))
        sheet.graph.add_output(port, name)
    steps = json.dumps(sheet.steps, sort_keys=True, separators=(",", ":"))
    sheet.graph.metadata = describe(network, "qdq") | {REQUANTIZATION: steps}
    sheet.graph.remove_dead_nodes()
    return sheet.graph


class QdqSheet(Sheet):
    """A sheet whose int8 and int16 tensors are stored, and whose int32 tensors are real values."""

    def __init__(self, network: IntegerNetwork, options: QdqOptions) -> None:
        super().__init__(network, unsigned=options.unsigned)
        self.options = options
        #: By name of the QuantizeLinear node: the exact numbers of the layer's end.
        self.steps: dict[str, dict[str, Any]] = {}
        self._units: dict[str, np.ndarray] = {}
        self._dequantized: dict[tuple[Port, bytes, int], Port] = {}

    def unit(self, tensor: IntegerTensor) -> np.ndarray:
        """Return the scale, float64 () or (channels,), that a tensor has inside the network."""
        scale = np.asarray(tensor.scale, np.float64)
        if self.options.scales == POWER_OF_TWO:
            return np.exp2(np.rint(np.log2(scale)))
        return scale

    def real(self, tensor: IntegerTensor, unit: np.ndarray, view: View | None = None) -> Port:
        """Return the real values of a tensor, one unit of its integers being ``unit``."""
        port = self.port(tensor.name, view)
        if tensor.dtype is dtype.int32:
            return self._scaled(tensor, port, unit, view)
        axis = self._channel_axis(tensor, view)
        scales = np.atleast_1d(unit).astype(np.float32)
        scales = scales if scales.size > 1 else scales.reshape(())
        key = (port, scales.tobytes(), axis)
        if key not in self._dequantized:
            operator = DequantizeLinear(axis if scales.ndim else 1)
            held = self.held(tensor)
            zero = np.full(scales.shape, tensor.zero_point + self.offset(tensor), held.numpy)
            self._dequantized[key] = Port(
                self.add(
                    operator,
                    port,
                    self.constant(scales, f"{tensor.name}_scale"),
                    self.constant(zero, f"{tensor.name}_zero_point", held),
                    name=f"{tensor.name}_dequantized",
                )
            )
        return self._dequantized[key]

    def _scaled(
        self, tensor: IntegerTensor, port: Port, unit: np.ndarray, view: View | None
    ) -> Port:
        ratio = np.asarray(unit, np.float64) / self._units.get(tensor.name, self.unit(tensor))
        if np.all(ratio == 1):
            return port
        axis = self._channel_axis(tensor, view)
        behind = len((view or own(tensor)).shape) - axis
        values = np.atleast_1d(ratio).astype(np.float32)
        shaped = values.reshape(-1, *(1,) * behind) if values.size > 1 else values.reshape(())
        constant = self.constant(shaped, f"{tensor.name}_ratio")
        return Port(self.add(Mul(), port, constant, name=f"{tensor.name}_scaled"))

    def _channel_axis(self, tensor: IntegerTensor, view: View | None) -> int:
        """Return the axis, batch counted, of the channels in a view."""
        if view is None:
            return 1 if len(tensor.shape) == 3 else len(tensor.shape)
        return view.layout[-1] + 1

    def pass_on(self, source: IntegerTensor, target: IntegerTensor) -> None:
        """Say that real values of an int32 tensor moved on to another one."""
        if source.dtype is dtype.int32 and target.dtype is dtype.int32:
            self._units[target.name] = self._units.get(source.name, self.unit(source))

    def store(
        self,
        tensor: IntegerTensor,
        port: Port,
        unit: np.ndarray | float,
        view: View | None = None,
        zero_point: int | None = None,
    ) -> str:
        """Quantize real values and bind the tensor; return the name of the quantizer.

        ``zero_point``, of the tensor unless given, is what is added to the rounded quotient.
        """
        axis = self._channel_axis(tensor, view)
        scales = np.atleast_1d(unit).astype(np.float32)
        scales = scales if scales.size > 1 else scales.reshape(())
        held = self.held(tensor)
        added = tensor.zero_point if zero_point is None else zero_point
        zero = np.full(scales.shape, added + self.offset(tensor), held.numpy)
        node = self.add(
            QuantizeLinear(axis if scales.ndim else 1),
            port,
            self.constant(scales, f"{tensor.name}_scale"),
            self.constant(zero, f"{tensor.name}_zero_point", held),
            name=tensor.name,
        )
        self.bind(tensor.name, Port(node), view)
        return node.name


# -- the ends of layers --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class End:
    """The end of a layer in real terms.

    Attributes
    ----------
    factor : float64 array () or (channels,)
        From the accumulator to the output's integers, exact.
    constant : int64 array () or (channels,)
        What is left of the bias without rounding and zero points, in units of the accumulator.
    extra : int
        What is added to the output's integers beside its zero point.
    """

    factor: np.ndarray
    constant: np.ndarray
    extra: int


def end_of(layer: Any, form: Requantization, target: IntegerTensor, bias: np.ndarray) -> End:
    """Return factor and constant of a layer whose bias is ``bias`` without input zero points."""
    shift = form.shift.astype(np.int64)
    extra = form.offset - target.zero_point
    constant = np.asarray(bias, np.int64)
    if form.multiplier is None:
        factor = np.exp2(-shift.astype(np.float64))
        if form.rounding == HALF_UP:
            constant = constant - np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0)
        if form.offset == 0 and (shift >= 0).all():
            constant = constant + (extra << shift)
            extra = 0
    else:
        factor = np.ldexp(form.multiplier.astype(np.float64), -shift)
    if constant.size == 1 and factor.size == 1:
        factor, constant = factor.reshape(()), constant.reshape(())
    if np.abs(constant).max() > INT32:
        raise UnsupportedError(f"{layer}: its bias without rounding constants leaves int32")
    return End(factor, constant, extra)


def _finish(
    sheet: QdqSheet,
    layer: Any,
    port: Port,
    end: End,
    view: View | None = None,
    **numbers: Any,
) -> None:
    """Quantize the real output of a layer, keep it within its bounds, and note exact numbers."""
    form, target = layer.requantization, sheet.network.tensor(layer.output)
    rows = view is not None or len(target.shape) != 3
    upper = per_channel(np.asarray(form.upper), rows)
    bounds = (np.asarray(form.lower), upper)
    exact = {"factor": end.factor.tolist(), "rounding": form.rounding, **numbers}
    exact["shift"] = form.multiplier is None
    zero_point = target.zero_point + end.extra
    if target.dtype is dtype.int32:
        port = _plus(sheet, port, np.asarray(end.extra), sheet.unit(target), layer.name)
    elif not target.dtype.min <= zero_point <= target.dtype.max:
        raise UnsupportedError(
            f"{layer}: it adds {zero_point} to its output, expected a {target.dtype.value} number"
        )
    if target.dtype is not dtype.int8:
        port = _clipped(sheet, layer, port, bounds)
    if target.dtype is dtype.int32:
        sheet.steps[layer.name] = exact
        sheet.bind(target.name, port, view)
        return
    name = sheet.store(target, port, sheet.unit(target), view, zero_point)
    sheet.steps[name] = exact
    if target.dtype is dtype.int8:
        kept = clamped(sheet, sheet.port(target.name, view), target, bounds, layer.name)
        sheet.bind(target.name, kept, view)


def _clipped(
    sheet: QdqSheet, layer: Layer, port: Port, bounds: tuple[np.ndarray, np.ndarray]
) -> Port:
    """Return real values within the bounds of a 16 or 32-bit output."""
    target = sheet.network.tensor(layer.output)
    lower, upper = (np.asarray(bound, np.int64) for bound in bounds)
    if (lower <= target.dtype.min).all() and (upper >= target.dtype.max).all():
        return port
    unit = sheet.unit(target)
    if unit.ndim or upper.ndim:
        raise UnsupportedError(
            f"{layer}: it has bounds and scales by channel at a {target.dtype.value} output; "
            "use an int8 output"
        )
    low = -np.inf if lower <= target.dtype.min else float(unit * lower)
    high = np.inf if upper >= target.dtype.max else float(unit * upper)
    return Port(sheet.add(Clip(low, high), port, name=f"{layer.name}_clip"))


def _plus(sheet: QdqSheet, port: Port, constant: np.ndarray, unit: np.ndarray, name: str) -> Port:
    """Return real values with a constant of the accumulator added."""
    if not np.any(constant):
        return port
    value = np.asarray(constant * unit, np.float32)
    node = sheet.constant(per_channel(value, rows=False), f"{name}_constant")
    return Port(sheet.add(Add(), port, node, name=f"{name}_constant_added"))


# -- layers with weights -------------------------------------------------------------------------


def _doubled(sheet: QdqSheet, layer: layers.Affine, end: End) -> tuple[np.ndarray, End, bool]:
    """Return weight and end of a layer, doubled with an odd bias where that is possible."""
    weight, form = layer.weight, layer.requantization
    possible = (
        sheet.options.odd_accumulators
        and form.multiplier is None
        and form.rounding == HALF_UP
        and (form.shift >= 1).all()
        and np.abs(weight).max(initial=0) <= DOUBLED
        and _reach(sheet, layer) < 2**30
    )
    if not possible:
        return weight, end, False
    return 2 * weight, End(end.factor / 2, 2 * end.constant + 1, end.extra), True


def _reach(sheet: QdqSheet, layer: layers.Affine) -> int:
    """Return a bound of the accumulator without zero points."""
    sums = weight_sums(replace(layer, weight=np.abs(layer.weight.astype(np.int64))))
    reach = 65535 if sheet.network.tensor(layer.inputs[0]).dtype is dtype.int16 else 255
    total = int(sums.max()) * reach + int(np.abs(layer.bias.astype(np.int64)).max()) * 2
    if layer.residual is not None:
        total += int(np.abs(layer.residual).max()) * 255
    return total


def _draw_affine(
    sheet: QdqSheet,
    layer: Any,
    operator: Operator,
    port: Callable[[np.ndarray], Port],
    bias: np.ndarray,
    rows: bool = False,
) -> None:
    """Draw a layer with weights.

    Parameters
    ----------
    operator : Operator
    port : callable
        Returns the real input for the unit of its integers.
    bias : int64 array (out,)
        The layer's without what the zero point of the input added.
    rows : bool
        Whether the output keeps the stored order.
    """
    source, target = ends(sheet, layer)
    view = plain(target.shape) if rows else None
    numbers: dict[str, Any] = {}
    if layer.residual is not None:
        other = sheet.network.tensor(layer.inputs[1])
        bias = bias + layer.residual.astype(np.int64) * other.zero_point
    end = end_of(layer, layer.requantization, target, bias)
    weight, end, odd = _doubled(sheet, layer, end)
    unit_in, unit_out = sheet.unit(source), sheet.unit(target)
    unit_acc = np.asarray(unit_out * end.factor)
    unit_weight = np.asarray(unit_acc / unit_in)
    weights = _dequantized_weight(sheet, layer, operator, weight, unit_weight, odd)
    inputs = [port(unit_in), weights]
    if np.any(end.constant):
        constant = np.broadcast_to(end.constant, bias.shape).astype(np.int32)
        inputs.append(_dequantized_bias(sheet, layer, constant, unit_in, unit_weight))
    found = Port(sheet.add(operator, *inputs, name=layer.name))
    if rows:
        found = _shaped(sheet, layer, found, target.shape)
    if layer.residual is not None:
        factors = layer.residual.astype(np.int64) * (2 if odd else 1)
        numbers["residual"] = factors.tolist() if factors.size > 1 else int(factors[0])
        added = _units(unit_acc * factors)
        residual = sheet.real(other, added, view)
        found = Port(sheet.add(Add(), found, residual, name=f"{layer.name}_with_residual"))
    _finish(sheet, layer, found, end, view, **numbers)


def _units(values: np.ndarray) -> np.ndarray:
    """Return one value where all are equal but for the rounding of float64."""
    flat = np.atleast_1d(values)
    if np.all(np.abs(flat - flat[0]) <= 1e-12 * np.abs(flat[0])):
        return flat[0].reshape(())
    return flat


def _shaped(sheet: QdqSheet, layer: Any, port: Port, now: tuple[int, ...]) -> Port:
    source, _ = ends(sheet, layer)
    inputs, outputs = layer.weight.shape[1], layer.weight.shape[0]
    rows = source.size // inputs
    made = (outputs,) if rows == 1 else (*source.shape[:-1], outputs)
    return sheet.reshaped(port, made, now, layer.name)


def _dequantized_weight(
    sheet: QdqSheet, layer: Any, operator: Operator, weight: np.ndarray, unit: np.ndarray, odd: bool
) -> Port:
    kind = dtype.int8 if odd else layer.weight_dtype
    values = onnx_weight(replace(layer, weight=weight)).astype(kind.numpy)
    axis = 1 if isinstance(operator, ConvTranspose) else 0
    if unit.size > 1 and isinstance(operator, ConvTranspose) and operator.groups > 1:
        raise UnsupportedError(
            f"{layer}: a grouped transposed convolution has scales by channel, which "
            "DequantizeLinear cannot say; quantize it tensor by tensor"
        )
    scales = np.atleast_1d(unit).astype(np.float32)
    scales = scales if scales.size > 1 else scales.reshape(())
    name = f"{layer.name}_weight"
    return Port(
        sheet.add(
            DequantizeLinear(axis if scales.ndim else 1),
            sheet.constant(values, name, kind),
            sheet.constant(scales, f"{name}_scale"),
            sheet.constant(np.zeros(scales.shape, kind.numpy), f"{name}_zero_point", kind),
            name=f"{name}_dequantized",
        )
    )


def _dequantized_bias(
    sheet: QdqSheet, layer: Any, constant: np.ndarray, unit_in: np.ndarray, unit_weight: np.ndarray
) -> Port:
    """Return the bias on the scale that an engine expects: float32(s_in) * float32(s_w)."""
    scales = np.float32(unit_in) * np.atleast_1d(unit_weight).astype(np.float32)
    scales = scales if scales.size > 1 else scales.reshape(())
    name = f"{layer.name}_bias"
    return Port(
        sheet.add(
            DequantizeLinear(0 if scales.ndim else 1),
            sheet.constant(constant, name, dtype.int32),
            sheet.constant(scales, f"{name}_scale"),
            name=f"{name}_dequantized",
        )
    )


def _draw_windows(sheet: QdqSheet, layer: Any) -> None:
    """Draw a convolution, depthwise or not."""
    source, _ = ends(sheet, layer)
    groups = layer.groups if isinstance(layer, layers.Convolution) else source.channels
    operator = Conv(layer.stride, layer.dilation, layer.padding, groups)
    bias = layer.bias.astype(np.int64) + layer.pad_value * weight_sums(layer)
    _draw_affine(sheet, layer, operator, lambda unit: sheet.real(source, unit), bias)


def draw_transposed(sheet: QdqSheet, layer: layers.TransposedConvolution) -> None:
    """ConvTranspose; a negative pad at the end is ONNX's output_padding."""
    source, _ = ends(sheet, layer)
    top, left, bottom, right = layer.padding
    padding = (top, left, max(bottom, 0), max(right, 0))
    extra = (max(-bottom, 0), max(-right, 0))
    operator = ConvTranspose(layer.stride, layer.dilation, padding, extra, layer.groups)
    bias = layer.bias.astype(np.int64)
    _draw_affine(sheet, layer, operator, lambda unit: sheet.real(source, unit), bias)


def draw_fully_connected(sheet: QdqSheet, layer: layers.FullyConnected) -> None:
    """Gemm over a row, MatMul over rows of the stored order."""
    source, _ = ends(sheet, layer)
    inputs = layer.weight.shape[1]
    rows = source.size // inputs
    view = plain(source.shape)
    wanted = (inputs,) if rows == 1 else (*source.shape[:-1], inputs)

    def port(unit: np.ndarray) -> Port:
        return sheet.reshaped(sheet.real(source, unit, view), source.shape, wanted, layer.name)

    bias = layer.bias.astype(np.int64) + source.zero_point * weight_sums(layer)
    _draw_affine(sheet, layer, FC(), port, bias, rows=True)


# -- element by element --------------------------------------------------------------------------


def draw_add(sheet: QdqSheet, layer: layers.Add) -> None:
    """A sum, or a difference, of inputs dequantized to the units of the accumulator."""
    tensors = [sheet.network.tensor(name) for name in layer.inputs]
    target = sheet.network.tensor(layer.output)
    products = zip(layer.multipliers, tensors, strict=True)
    bias = layer.bias + sum(factor * tensor.zero_point for factor, tensor in products)
    end = end_of(layer, layer.requantization, target, np.asarray(bias))
    unit = np.asarray(sheet.unit(target) * end.factor)
    parts = [
        (factor, sheet.real(tensor, np.asarray(unit * abs(factor))))
        for factor, tensor in zip(layer.multipliers, tensors, strict=True)
    ]
    if parts[0][0] < 0:
        parts.reverse()
    if parts[0][0] < 0:
        raise UnsupportedError(f"{layer}: both its inputs are subtracted")
    operator = Sub() if parts[1][0] < 0 else Add()
    found = Port(sheet.add(operator, parts[0][1], parts[1][1], name=layer.name))
    found = _plus(sheet, found, end.constant, unit, layer.name)
    _finish(sheet, layer, found, end, inputs=[abs(factor) for factor, _ in parts])


def draw_multiply(sheet: QdqSheet, layer: layers.Multiply) -> None:
    """A product; the second input carries what is left of the scale."""
    first, second = (sheet.network.tensor(name) for name in layer.inputs)
    target = sheet.network.tensor(layer.output)
    end = end_of(layer, layer.requantization, target, np.asarray(layer.bias))
    unit = np.asarray(sheet.unit(target) * end.factor)
    left = sheet.unit(first)
    right = np.asarray(unit * layer.multiplier / left)
    view = None
    port = sheet.real(second, right, view)
    if second.shape != first.shape and len(first.shape) == 3 and len(second.shape) == 1:
        port = sheet.reshaped(port, second.shape, (second.channels, 1, 1), second.name)
    found = Port(sheet.add(Mul(), sheet.real(first, left), port, name=layer.name))
    found = _plus(sheet, found, end.constant, unit, layer.name)
    _finish(sheet, layer, found, end, inputs=[layer.multiplier])


def draw_rescale(sheet: QdqSheet, layer: layers.Rescale) -> None:
    """DequantizeLinear and QuantizeLinear with two scales."""
    source, target = ends(sheet, layer)
    bias = np.asarray(layer.bias + layer.multiplier * source.zero_point)
    end = end_of(layer, layer.requantization, target, bias)
    unit = np.asarray(sheet.unit(target) * end.factor)
    found = sheet.real(source, np.asarray(unit * layer.multiplier))
    found = _plus(sheet, found, end.constant, unit, layer.name)
    _finish(sheet, layer, found, end, inputs=[layer.multiplier])


def draw_average(sheet: QdqSheet, layer: layers.AveragePool) -> None:
    """AveragePool of real values; 1 / N is part of the scales where the layer sums."""
    source, target = ends(sheet, layer)
    operator = AveragePool(
        layer.window, layer.stride, (1, 1), layer.padding, False, layer.count_include_pad
    )
    if layer.requantization is None:
        unit = sheet.unit(target)
        found = Port(sheet.add(operator, sheet.real(source, unit), name=layer.name))
        name = sheet.store(target, found, unit)
        sheet.steps[name] = {"average": True, "rounding": HALF_UP}
        bounds = (np.asarray(layer.lower), np.asarray(layer.upper))
        sheet.bind(target.name, clamped(sheet, sheet.port(target.name), target, bounds, layer.name))
        return
    count = layer.window[0] * layer.window[1]
    bias = np.asarray(layer.bias + count * layer.zero_point)
    end = end_of(layer, layer.requantization, target, bias)
    unit = np.asarray(sheet.unit(target) * end.factor)
    operator = replace(operator, count_include_pad=True)
    found = Port(
        sheet.add(operator, sheet.real(source, np.asarray(unit * count)), name=layer.name)
    )
    found = _plus(sheet, found, end.constant, unit, layer.name)
    _finish(sheet, layer, found, end, inputs=[1])


# -- moves of values that are not 8 bits ---------------------------------------------------------


def _moved(draw: Callable[[Sheet, Any], None]) -> Callable[[QdqSheet, Any], None]:
    """Return a rule that moves stored integers, and real values of int32 tensors."""

    def rule(sheet: QdqSheet, layer: Layer) -> None:
        draw(sheet, layer)
        sheet.pass_on(*ends(sheet, layer))

    return rule


def _through_real(
    draw: Callable[[Sheet, Any], None], operator: Callable[[Any, IntegerTensor, float], Operator]
) -> Callable[[QdqSheet, Any], None]:
    """Return a rule that works on int8 as stored, on other types as real values."""

    def rule(sheet: QdqSheet, layer: Layer) -> None:
        source, target = ends(sheet, layer)
        if source.dtype is dtype.int8:
            draw(sheet, layer)
            return
        sheet.pass_on(source, target)
        unit = sheet._units.get(target.name, sheet.unit(target))
        if unit.ndim:
            raise UnsupportedError(f"{layer}: {source.dtype.value} values with scales by channel")
        made = operator(layer, source, float(unit))
        found = Port(sheet.add(made, sheet.real(source, unit), name=layer.name))
        if target.dtype is dtype.int32:
            sheet.bind(target.name, found)
        else:
            sheet.store(target, found, unit)

    return rule


def _real_pad(layer: layers.Pad, source: IntegerTensor, unit: float) -> Operator:
    from aidge_quant.interchange.geometry import canonical_axes

    before = canonical_axes(source, layer.before, 0)
    after = canonical_axes(source, layer.after, 0)
    return Pad(before, after, unit * (layer.value - source.zero_point))


def _real_clip(layer: layers.Clamp, source: IntegerTensor, unit: float) -> Operator:
    return Clip(unit * (layer.lower - source.zero_point), unit * (layer.upper - source.zero_point))


def _real_pool(layer: layers.MaxPool, source: IntegerTensor, unit: float) -> Operator:
    return MaxPool(layer.window, layer.stride, layer.dilation, layer.padding)


def draw_argmax(sheet: QdqSheet, layer: layers.ArgMax) -> None:
    """Index of the first largest value, as a real number."""
    MOVES[layers.ArgMax](sheet, layer)
    index = sheet.add(Cast(dtype.float32), sheet.port(layer.output), name=f"{layer.name}_real")
    sheet.bind(layer.output, index)
    sheet._units[layer.output] = np.asarray(1.0)


RULES: Mapping[type[Layer], Callable[[QdqSheet, Any], None]] = {
    **{kind: _moved(draw) for kind, draw in MOVES.items()},
    layers.Pad: _through_real(MOVES[layers.Pad], _real_pad),
    layers.Clamp: _through_real(MOVES[layers.Clamp], _real_clip),
    layers.MaxPool: _through_real(MOVES[layers.MaxPool], _real_pool),
    layers.ArgMax: draw_argmax,
    layers.Convolution: _draw_windows,
    layers.DepthwiseConvolution: _draw_windows,
    layers.TransposedConvolution: draw_transposed,
    layers.FullyConnected: draw_fully_connected,
    layers.Add: draw_add,
    layers.Multiply: draw_multiply,
    layers.Rescale: draw_rescale,
    layers.AveragePool: draw_average,
}
