"""The first layers of a network in horizontal stripes, so that no tensor between them is whole.

A stripe is some rows of the last of these layers and all that they are computed from. Rows that two
stripes need are computed twice. The network computes the same.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from aidge_quant.integer.layers import (
    AveragePool,
    Clamp,
    Concat,
    Convolution,
    DepthwiseConvolution,
    Layer,
    Lookup,
    MaxPool,
    Rescale,
    Slice,
)
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.tensors import IntegerTensor

_WINDOWS = (Convolution, DepthwiseConvolution, AveragePool, MaxPool)
_ELEMENTS = (Clamp, Lookup, Rescale)


def stripe_chain(network: IntegerNetwork) -> tuple[Layer, ...]:
    """Return the layers that may be computed in stripes: a chain that begins at the input.

    Each reads only what the one before it writes, which nothing else reads, and computes a row of
    (height, width, channels) from some rows.
    """
    chain: list[Layer] = []
    if len(network.inputs) != 1:
        return ()
    tensor = network.inputs[0]
    while tensor not in network.outputs:
        readers = [layer for layer in network.layers if tensor in layer.inputs]
        if len(readers) != 1 or readers[0].inputs != (tensor,):
            break
        layer = readers[0]
        rank = len(network.tensor(layer.output).shape)
        if not isinstance(layer, _WINDOWS + _ELEMENTS) or rank != 3:
            break
        chain.append(layer)
        tensor = layer.output
    return tuple(chain)


def in_stripes(network: IntegerNetwork, layers: int, ends: Sequence[int]) -> IntegerNetwork:
    """Return a network that computes the same, the first ``layers`` layers in stripes.

    Parameters
    ----------
    layers : int
        1 to the length of `stripe_chain`.
    ends : sequence of int
        Where each stripe ends: rows of the last of these layers, rising to its height. A stripe
        that would be computed from padding alone becomes part of the next one.
    """
    chain = stripe_chain(network)[:layers]
    last = chain[-1]
    ends = _with_content(network, chain, ends)
    if len(ends) == 1:
        return network
    made: list[Layer] = []
    pieces: list[str] = []
    tensors: list[IntegerTensor] = []
    for start, end in itertools.pairwise((0, *ends)):
        stripe = _Stripe(network, chain, start, end)
        made += stripe.layers
        tensors += stripe.tensors
        pieces.append(stripe.layers[-1].output)
    made.append(Concat(f"{last.name}, joined", tuple(pieces), last.output, last.source, axis=0))
    inside = {layer.name for layer in chain}
    gone = {layer.output for layer in chain[:-1]}
    rest = [layer for layer in network.layers if layer.name not in inside]
    kept = [tensor for tensor in network.tensors if tensor.name not in gone]
    inputs = len(network.inputs)
    return dataclasses.replace(
        network,
        layers=(*made, *rest),
        tensors=(*kept[:inputs], *tensors, *kept[inputs:]),
    )


class _Stripe:
    """The layers of one stripe: rows ``start`` to ``end`` of the last layer of a chain."""

    def __init__(
        self, network: IntegerNetwork, chain: Sequence[Layer], start: int, end: int
    ) -> None:
        self.layers: list[Layer] = []
        self.tensors: list[IntegerTensor] = []
        self._network = network
        # Two stripes may need the same rows: the names say whose they are.
        self._name = f"{start}-{end - 1}"
        rows = _rows(network, chain, start, end)
        self._add_slice(chain[0].inputs[0], *rows[0])
        for layer, (first, stop) in zip(chain, rows[1:], strict=True):
            self._add(layer, first, stop)

    def _tensor(self, name: str, first: int, stop: int) -> str:
        tensor = self._network.tensor(name)
        named = f"{name}[{first}:{stop}] for {self._name}"
        shape = (stop - first, *tensor.shape[1:])
        self.tensors.append(
            dataclasses.replace(tensor, name=named, shape=shape, onnx_shape=shape, layout=(0, 1, 2))
        )
        return named

    def _add_slice(self, name: str, first: int, stop: int) -> None:
        piece = self._tensor(name, first, stop)
        starts, steps = (first, 0, 0), (1, 1, 1)
        self.layers.append(Slice(piece, (name,), piece, (), starts=starts, steps=steps))

    def _add(self, layer: Layer, first: int, stop: int) -> None:
        fields: dict[str, Any] = {
            "name": f"{layer.name}[{first}:{stop}] for {self._name}",
            "inputs": (self.layers[-1].output,),
            "output": self._tensor(layer.output, first, stop),
        }
        if isinstance(layer, _WINDOWS):
            height = self._network.tensor(layer.inputs[0]).shape[0]
            low, high = _rows_read(layer, first, stop)
            _, left, _, right = layer.padding
            fields["padding"] = (max(0, -low), left, max(0, high - height), right)
        self.layers.append(dataclasses.replace(layer, **fields))


def _with_content(
    network: IntegerNetwork, chain: Sequence[Layer], ends: Sequence[int]
) -> list[int]:
    """Return ``ends`` without those of stripes that read no row of some tensor."""
    kept: list[int] = []
    for end in ends:
        start = kept[-1] if kept else 0
        if all(first < stop for first, stop in _rows(network, chain, start, end)):
            kept.append(end)
    return [*kept[:-1], ends[-1]]


def _rows(
    network: IntegerNetwork, chain: Sequence[Layer], start: int, end: int
) -> list[tuple[int, int]]:
    """Return the rows of the input and of every layer's output that some rows of the last need."""
    rows = [(start, end)]
    for layer in reversed(chain):
        first, stop = _rows_read(layer, *rows[0])
        rows.insert(0, (max(0, first), min(network.tensor(layer.inputs[0]).shape[0], stop)))
    return rows


def _rows_read(layer: Layer, start: int, end: int) -> tuple[int, int]:
    """Return the rows of the input, with those outside, that some rows of the output need."""
    if isinstance(layer, Convolution):
        size, step = (layer.weight.shape[1] - 1) * layer.dilation[0] + 1, layer.stride[0]
    elif isinstance(layer, DepthwiseConvolution):
        size, step = (layer.weight.shape[0] - 1) * layer.dilation[0] + 1, layer.stride[0]
    elif isinstance(layer, MaxPool):
        size, step = (layer.window[0] - 1) * layer.dilation[0] + 1, layer.stride[0]
    elif isinstance(layer, AveragePool):
        size, step = layer.window[0], layer.stride[0]
    else:
        return start, end
    top = layer.padding[0]
    return start * step - top, (end - 1) * step - top + size
