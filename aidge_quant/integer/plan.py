"""How the golden model runs: layers as steps of the engine, tensors at places of one arena.

A plan is made once for a network. Layers that the engine does not know run between the steps by
the functions of `aidge_quant.integer.run`, on arrays that are views of the same arena.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aidge_quant.integer import layers
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.steps import STEPS, Site, becomes_step
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.kernels.engine import SLACK, Engine, put, take

if TYPE_CHECKING:
    from aidge_quant.integer.network import IntegerNetwork

#: Tensors begin at multiples of this many bytes.
_ALIGNMENT = 64
#: The images of a batch that run together have this many bytes of tensors at most, so that they
#: stay in a core's own cache; and there are so many of them at most.
_CACHE = 600 * 1024
_ROOM = 16
#: Workspaces that are kept for the next runs.
_KEPT = 8
#: A thread gets products of this number at least: fewer are computed before it has begun.
_LEAST_PRODUCTS = 50_000_000

#: Runs a layer by itself: from layer, inputs (batch, *stored shape) and output to its values.
LayerFunction = Callable[[Layer, Sequence[np.ndarray], IntegerTensor], np.ndarray]


@dataclass(frozen=True)
class _End:
    """An input or output of the network: what it takes to copy it quickly."""

    tensor: IntegerTensor
    begin: int  # bytes from the start of an arena for one image
    dtype: np.dtype
    shape: tuple[int, ...]  # of an image in ONNX order
    turned: tuple[int, int]  # axes of that order which are swapped when it is stored
    converted: bool  # whether the stored order is yet another, which the tensor knows to make

    @classmethod
    def of(cls, tensor: IntegerTensor, begin: int) -> _End:
        """Return the end that a tensor is."""
        axes = tuple(range(len(tensor.layout)))
        last = tensor.layout == (*axes[1:], 0)  # channels
        rows = tensor.onnx_shape[0] if last else 1
        turned = (rows, tensor.size // rows)
        converted = not last and tensor.layout != axes
        return cls(tensor, begin, tensor.dtype.numpy, tensor.onnx_shape, turned, converted)

    def takes(self, array: np.ndarray) -> bool:
        """Return whether an array is a batch of the end."""
        fits = array.dtype == self.dtype and array.shape[1:] == self.shape
        return fits and len(array) > 0

    def stored(self, array: np.ndarray) -> np.ndarray:
        """Return a batch as ``write`` takes it."""
        return np.ascontiguousarray(self.tensor.from_onnx(array) if self.converted else array)

    def write(
        self, stored: np.ndarray, first: int, arena: np.ndarray, room: int, batch: int
    ) -> None:
        """Write images of a batch, from the given one on, to the arena."""
        put(stored, first, arena, self.begin * room, batch, *self.turned, self.dtype.itemsize)

    def read(
        self, result: np.ndarray, first: int, arena: np.ndarray, room: int, batch: int
    ) -> None:
        """Write what is in the arena to images of an array (batch, *ONNX shape), in place."""
        begin, (columns, rows), size = self.begin * room, self.turned, self.dtype.itemsize
        if not self.converted:
            take(result, first, arena, begin, batch, rows, columns, size)
            return
        values = arena[begin : begin + batch * _bytes(self.tensor)].view(self.dtype)
        images = self.tensor.to_onnx(values.reshape(batch, *self.tensor.shape))
        result[first : first + batch] = images


def _most_steps(network: IntegerNetwork) -> int:
    return sum(max(len(layer.inputs), 1) for layer in network.layers)


def _products(network: IntegerNetwork) -> int:
    """Return the products of weights and values for one image."""
    total = 0
    for layer in network.layers:
        size = network.tensor(layer.output).size
        if isinstance(layer, layers.DepthwiseConvolution):
            total += size * layer.weight[..., 0].size
        elif isinstance(layer, layers.Affine):
            total += size * layer.weight[0].size
    return total


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
        self._parts: list[range | tuple[Layer, Site]] = []
        for layer in network.layers:
            tensors = tuple(network.tensor(name) for name in layer.inputs)
            ends = tuple(places[name] for name in (*layer.inputs, layer.output))
            site = Site(tensors, network.tensor(layer.output), ends)
            if becomes_step(layer, site):
                first = len(self._engine)
                if self._parts and isinstance(self._parts[-1], range):
                    first = self._parts[-1].start
                    del self._parts[-1]
                STEPS[type(layer)](self._engine, layer, site)
                self._parts.append(range(first, len(self._engine)))
            else:
                self._parts.append((layer, site))
        self._products = _products(network)
        #: Most images that run together.
        self.room = min(max(_CACHE // (self._arena + self._engine.scratch), 1), _ROOM)
        self._free: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_KEPT)

    @property
    def isa(self) -> str:
        """The instruction set of the steps."""
        return self._engine.isa

    def takes(self, q: np.ndarray) -> bool:
        """Return whether an array is a batch of the only input."""
        return len(self._inputs) == 1 and self._inputs[0].takes(q)

    def run(self, arrays: Sequence[np.ndarray], threads: int) -> list[np.ndarray]:
        """Return the outputs of a batch.

        Parameters
        ----------
        arrays : sequence of integer arrays (batch, *ONNX shape), checked
        threads : int, at least 1
            The images of the batch are shared out among so many, or every layer where there are
            fewer images; among fewer threads where there is little to compute.

        Returns
        -------
        list of arrays (batch, *ONNX shape)
        """
        batch = len(arrays[0])
        results = [np.empty((batch, *end.shape), end.dtype) for end in self._outputs]
        stored = [end.stored(array) for end, array in zip(self._inputs, arrays, strict=True)]
        if threads > 1:
            threads = max(min(threads, batch * self._products // _LEAST_PRODUCTS), 1)
        if threads == 1 and batch <= self.room:  # the quickest way for what is called most
            self._run_batches(range(0, batch, batch), batch, stored, results, 1)
            return results
        side_by_side = min(threads, batch)
        rounds = -(-batch // (self.room * side_by_side))
        share = -(-batch // (rounds * side_by_side))  # images of a workspace
        workers = 1 if side_by_side == threads else threads
        if workers > 1:
            side_by_side, share = 1, min(batch, self.room)
        for first in range(0, batch, share * side_by_side):
            stop = min(first + share * side_by_side, batch)
            starts = range(first, stop, share)
            self._run_batches(starts, stop, stored, results, workers)
        return results

    def _run_batches(
        self,
        starts: range,
        stop: int,
        stored: list[np.ndarray],
        results: list[np.ndarray],
        workers: int,
    ) -> None:
        """Run some images of a batch, and write their outputs, in place.

        Parameters
        ----------
        starts : range
            The first images of as many workspaces, each with a thread.
        stop : int
            The end of the last one.
        workers : int
            Above 1 so many threads share the only workspace.
        """
        workspaces = [
            (*self._workspace(workers), min(first + starts.step, stop) - first) for first in starts
        ]
        for first, (arena, _, count) in zip(starts, workspaces, strict=True):
            for end, array in zip(self._inputs, stored, strict=True):
                end.write(array, first, arena, self.room, count)
        for part in self._parts:
            if isinstance(part, range):
                self._engine.run(part, workspaces, self.room, workers)
            else:
                for arena, _, count in workspaces:
                    self._run_layer(*part, arena, count)
        for first, (arena, scratch, count) in zip(starts, workspaces, strict=True):
            for end, result in zip(self._outputs, results, strict=True):
                end.read(result, first, arena, self.room, count)
            self._free.append((arena, scratch))

    def _workspace(self, workers: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an arena, and scratch space for the room or for as many workers."""
        try:
            arena, scratch = self._free.pop()
        except IndexError:
            arena, scratch = _aligned(self.room * self._arena + SLACK), np.empty(0, np.uint8)
        size = max(self.room, workers) * self._engine.scratch + SLACK
        return arena, scratch if len(scratch) >= size else _aligned(size)

    def _run_layer(self, layer: Layer, site: Site, arena: np.ndarray, batch: int) -> None:
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
