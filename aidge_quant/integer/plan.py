"""How the golden model runs: layers as steps of the engine, tensors at places of one arena.

A plan is made once for a network. Layers that the engine does not know run between the steps by
the functions of `aidge_quant.integer.run`, on arrays that are views of the same arena.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.kernels.engine import MOVED_AXES, SLACK, Engine, Part, swapped

if TYPE_CHECKING:
    from aidge_quant.integer.network import IntegerNetwork

#: Tensors begin at multiples of this many bytes.
_ALIGNMENT = 64
#: The images of a batch that run together have this many bytes of tensors at most, so that they
#: stay in a core's own cache; and there are so many of them at most.
_CACHE = 512 * 1024
_ROOM = 16

_SAME, _TURNED, _OTHER = "same", "channels last instead of first", "other"

#: Runs a layer by itself: from layer, inputs (batch, *stored shape) and output to its values.
LayerFunction = Callable[[Layer, Sequence[np.ndarray], IntegerTensor], np.ndarray]


@dataclass(frozen=True)
class _End:
    """An input or output of the network: what it takes to copy it quickly."""

    tensor: IntegerTensor
    begin: int  # bytes from the start of an arena for one image
    size: int  # bytes of one image
    dtype: np.dtype
    order: str  # how the stored order differs from that of ONNX: _SAME, _TURNED or _OTHER

    @classmethod
    def of(cls, tensor: IntegerTensor, begin: int) -> _End:
        """Return the end that a tensor is."""
        axes, order = tuple(range(len(tensor.layout))), _OTHER
        if tensor.layout == axes:
            order = _SAME
        elif tensor.layout == (*axes[1:], 0):
            order = _TURNED
        return cls(tensor, begin, _bytes(tensor), tensor.dtype.numpy, order)

    def write(self, array: np.ndarray, arena: np.ndarray, room: int) -> None:
        """Store a batch (batch, *ONNX shape) in the arena."""
        if self.order is _TURNED:
            rows = self.tensor.onnx_shape[0]
            stored = swapped(np.ascontiguousarray(array), rows, array[0].size // rows)
        elif self.order is _SAME:
            stored = np.ascontiguousarray(array)
        else:
            stored = self.tensor.from_onnx(array)
        begin = self.begin * room
        arena[begin : begin + len(array) * self.size] = stored.reshape(-1).view(np.uint8)

    def read(self, arena: np.ndarray, room: int, result: np.ndarray) -> None:
        """Write the batch in the arena to an array (batch, *ONNX shape), in place."""
        begin = self.begin * room
        values = arena[begin : begin + len(result) * self.size].view(self.dtype)
        if self.order is _TURNED:
            channels = self.tensor.onnx_shape[0]
            values = swapped(values.reshape(len(result), -1), result[0].size // channels, channels)
        elif self.order is _OTHER:
            values = self.tensor.to_onnx(values.reshape(len(result), *self.tensor.shape))
        result[:] = values.reshape(result.shape)


@dataclass(frozen=True)
class _Site:
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


def _conv(engine: Engine, layer: layers.Convolution, site: _Site) -> None:
    engine.conv(
        (site.inputs[0].shape, site.kind),
        layer.weight,
        layer.bias,
        layer.requantization,
        site.affine_places,
        stride=layer.stride,
        dilation=layer.dilation,
        padding=layer.padding,
        groups=layer.groups,
        pad_value=layer.pad_value,
        dtype=site.output.dtype.numpy,
        residual=layer.residual,
    )


def _depthwise(engine: Engine, layer: layers.DepthwiseConvolution, site: _Site) -> None:
    engine.depthwise_conv(
        (site.inputs[0].shape, site.kind),
        layer.weight,
        layer.bias,
        layer.requantization,
        site.affine_places,
        stride=layer.stride,
        dilation=layer.dilation,
        padding=layer.padding,
        pad_value=layer.pad_value,
        dtype=site.output.dtype.numpy,
        residual=layer.residual,
    )


def _fc(engine: Engine, layer: layers.FullyConnected, site: _Site) -> None:
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


def _add(engine: Engine, layer: layers.Add | layers.Rescale, site: _Site) -> None:
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


def _average_pool(engine: Engine, layer: layers.AveragePool, site: _Site) -> None:
    engine.average_pool(
        (site.inputs[0].shape, site.kind),
        layer.requantization,
        site.places,
        window=layer.window,
        stride=layer.stride,
        padding=layer.padding,
        count_include_pad=layer.count_include_pad,
        zero_point=layer.zero_point,
        bias=layer.bias,
        lower=layer.lower,
        upper=layer.upper,
        dtype=site.output.dtype.numpy,
    )


def _max_pool(engine: Engine, layer: layers.MaxPool, site: _Site) -> None:
    engine.max_pool(
        (site.inputs[0].shape, site.kind),
        site.places,
        window=layer.window,
        stride=layer.stride,
        dilation=layer.dilation,
        padding=layer.padding,
    )


def _reshape(engine: Engine, _: layers.Reshape, site: _Site) -> None:
    whole = Part.whole((site.output.size,))
    engine.move(whole.shape, whole, whole, site.kind, site.places)


def _slice(engine: Engine, layer: layers.Slice, site: _Site) -> None:
    source = Part(site.inputs[0].shape, layer.starts, layer.steps)
    target = Part.whole(site.output.shape)
    engine.move(target.shape, source, target, site.kind, site.places)


def _pad(engine: Engine, layer: layers.Pad, site: _Site) -> None:
    source = Part.whole(site.inputs[0].shape)
    target = Part(site.output.shape, layer.before, source.steps)
    engine.move(source.shape, source, target, site.kind, site.places, layer.value)


def _concat(engine: Engine, layer: layers.Concat, site: _Site) -> None:
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


def _becomes_step(layer: Layer, site: _Site) -> bool:
    if isinstance(layer, layers.Slice | layers.Pad | layers.Concat):
        return len(site.output.shape) <= MOVED_AXES
    return type(layer) in STEPS


def _most_steps(network: IntegerNetwork) -> int:
    return sum(max(len(layer.inputs), 1) for layer in network.layers)


def _bytes(tensor: IntegerTensor) -> int:
    return tensor.size * tensor.dtype.numpy.itemsize


def _places(network: IntegerNetwork) -> tuple[dict[str, int], int]:
    """Return where each tensor lies in an arena for one image, and the bytes of that arena.

    A tensor keeps its place from its writer to its last reader; inputs and outputs throughout.
    First fit, in the order of the layers.
    """
    last = {name: index for index, layer in enumerate(network.layers) for name in layer.inputs}
    kept = {*network.inputs, *network.outputs}
    places: dict[str, int] = {}
    taken: list[tuple[int, int, str]] = []  # begin, end, tensor; in the order of places
    total = 0

    def put(name: str) -> None:
        nonlocal total
        room = -(-_bytes(network.tensor(name)) // _ALIGNMENT) * _ALIGNMENT
        begin = 0
        for other_begin, other_end, _ in taken:
            if other_begin - begin >= room:
                break
            begin = max(begin, other_end)
        places[name] = begin
        taken.append((begin, begin + room, name))
        taken.sort()
        total = max(total, begin + room)

    for name in dict.fromkeys((*network.inputs, *network.outputs)):
        put(name)
    for index, layer in enumerate(network.layers):
        if layer.output not in places:
            put(layer.output)
        for name in {*layer.inputs, layer.output}:
            if last.get(name, index) == index and name not in kept:
                taken[:] = [entry for entry in taken if entry[2] != name]
    return places, total


class Plan:
    """The steps of a network, the places of its tensors, and workspaces that are used again.

    It holds nothing that changes while it runs but the free workspaces: several threads may run
    it at once.

    Parameters
    ----------
    network : IntegerNetwork
    function : LayerFunction
        Of the layers that do not become steps.
    engine : Engine, optional
        An empty one that takes the steps, instead of one for the chosen instruction set.
    """

    def __init__(
        self, network: IntegerNetwork, function: LayerFunction, engine: Engine | None = None
    ) -> None:
        self._function = function
        places, self._arena = _places(network)
        self._inputs, self._outputs = (
            tuple(_End.of(network.tensor(name), places[name]) for name in names)
            for names in (network.inputs, network.outputs)
        )
        self._engine = Engine(_most_steps(network)) if engine is None else engine
        #: Ranges of steps, and layers between them with their tensors.
        self._parts: list[range | tuple[Layer, _Site]] = []
        for layer in network.layers:
            tensors = tuple(network.tensor(name) for name in layer.inputs)
            ends = tuple(places[name] for name in (*layer.inputs, layer.output))
            site = _Site(tensors, network.tensor(layer.output), ends)
            if _becomes_step(layer, site):
                first = len(self._engine)
                if self._parts and isinstance(self._parts[-1], range):
                    first = self._parts[-1].start
                    del self._parts[-1]
                STEPS[type(layer)](self._engine, layer, site)
                self._parts.append(range(first, len(self._engine)))
            else:
                self._parts.append((layer, site))
        #: Most images that run together.
        self.room = min(max(_CACHE // (self._arena + self._engine.scratch), 1), _ROOM)
        self._free: deque[tuple[np.ndarray, np.ndarray]] = deque()

    @property
    def isa(self) -> str:
        """The instruction set of the steps."""
        return self._engine.isa

    def run(self, arrays: Sequence[np.ndarray], threads: int) -> list[np.ndarray]:
        """Return the outputs of a batch.

        Parameters
        ----------
        arrays : sequence of integer arrays (batch, *ONNX shape), checked
        threads : int, at least 1
            The images of the batch are shared out among them.

        Returns
        -------
        list of arrays (batch, *ONNX shape)
        """
        batch = len(arrays[0]) if arrays else 1
        results = [np.empty((batch, *e.tensor.onnx_shape), e.dtype) for e in self._outputs]
        room = min(self.room, -(-batch // threads))
        parts = [slice(i, min(i + room, batch)) for i in range(0, batch, room)]
        threads = min(threads, len(parts))
        if threads == 1:
            self._run_parts(parts, arrays, results)
        else:
            with ThreadPoolExecutor(threads) as executor:
                shares = [parts[i::threads] for i in range(threads)]
                done = [executor.submit(self._run_parts, s, arrays, results) for s in shares]
            for each in done:
                each.result()
        return results

    def _run_parts(
        self, parts: list[slice], arrays: Sequence[np.ndarray], results: list[np.ndarray]
    ) -> None:
        """Run parts of a batch in one workspace and write their outputs, in place."""
        try:
            arena, scratch = self._free.pop()
        except IndexError:
            arena, scratch = (
                _aligned(self.room * size + SLACK) for size in (self._arena, self._engine.scratch)
            )
        for part in parts:
            batch = part.stop - part.start
            for end, array in zip(self._inputs, arrays, strict=True):
                end.write(array[part], arena, self.room)
            for each in self._parts:
                if isinstance(each, range):
                    self._engine.run(each, arena, scratch, self.room, batch)
                else:
                    self._run_layer(*each, arena, batch)
            for end, result in zip(self._outputs, results, strict=True):
                end.read(arena, self.room, result[part])
        self._free.append((arena, scratch))

    def _run_layer(self, layer: Layer, site: _Site, arena: np.ndarray, batch: int) -> None:
        *inputs, output = (
            self._view(arena, place, tensor, batch)
            for place, tensor in zip(site.places, (*site.inputs, site.output), strict=True)
        )
        output[:] = self._function(layer, inputs, site.output)

    def _view(self, arena: np.ndarray, place: int, tensor: IntegerTensor, batch: int) -> np.ndarray:
        """Return a tensor of a batch as an array (batch, *stored shape) in the arena."""
        begin = place * self.room
        values = arena[begin : begin + batch * _bytes(tensor)].view(tensor.dtype.numpy)
        return values.reshape(batch, *tensor.shape)


def _aligned(size: int) -> np.ndarray:
    """Return a uint8 array that begins at a multiple of the alignment."""
    whole = np.empty(size + _ALIGNMENT, np.uint8)
    first = -whole.ctypes.data % _ALIGNMENT
    return whole[first : first + size]
