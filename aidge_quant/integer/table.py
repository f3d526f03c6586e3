"""An integer network as text: one line a layer, totals, and the formats of both ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from aidge_quant.integer.counts import layer_macs, parameter_bytes
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.requantization import Requantization
from aidge_quant.integer.tensors import IntegerTensor

if TYPE_CHECKING:
    from aidge_quant.integer.network import IntegerNetwork

_HEADER = ("layer", "kind", "output", "type", "MACs", "bytes", "shift")
_RIGHT = ("MACs", "bytes")


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1"


def _shift(layer: Layer) -> str:
    step: Requantization | None = getattr(layer, "requantization", None)
    if step is None:
        return ""
    least, most = int(step.shift.min()), int(step.shift.max())
    text = str(least) if least == most else f"{least} to {most}"
    if step.multiplier is not None:
        text += " with multiplier"
    return text if step.rounding == "half_up" else f"{text}, half even"


def _number(value: float) -> str:
    return f"{value:.6g}"


def _format(tensor: IntegerTensor, name: str) -> str:
    scale = np.asarray(tensor.scale)
    text = (
        _number(float(scale))
        if scale.ndim == 0
        else (f"{_number(float(scale.min()))} to {_number(float(scale.max()))} by channel")
    )
    return (
        f"{name}: {tensor.dtype.value} {_shape(tensor.onnx_shape)}, scale {text}, "
        f"zero point {tensor.zero_point}"
    )


def to_text(network: IntegerNetwork) -> str:
    """Return the table of the network.

    Parameters
    ----------
    network : IntegerNetwork

    Returns
    -------
    str
        Lines without an end of line after the last. Shapes of layers are as stored, those of
        inputs and outputs as in ONNX.
    """
    rows = [_HEADER]
    for layer in network.layers:
        output = network.tensor(layer.output)
        macs = layer_macs(network, layer)
        rows.append(
            (
                layer.name,
                layer.kind,
                _shape(output.shape),
                output.dtype.value,
                f"{macs:,}" if macs else "",
                f"{parameter_bytes(layer):,}" if parameter_bytes(layer) else "",
                _shift(layer),
            )
        )
    macs = sum(layer_macs(network, layer) for layer in network.layers)
    parameters = sum(map(parameter_bytes, network.layers))
    rows.append(("total", "", "", "", f"{macs:,}", f"{parameters:,}", ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"integer network {network.name}, contract {network.contract}"]
    for what, tensors, names in (
        ("input", network.inputs, network.input_names),
        ("output", network.outputs, network.output_names),
    ):
        for tensor, name in zip(tensors, names, strict=True):
            lines.append(f"{what} {_format(network.tensor(tensor), name)}")
    for row in rows:
        cells = (
            cell.rjust(width) if title in _RIGHT else cell.ljust(width)
            for title, cell, width in zip(_HEADER, row, widths, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
