"""Which tensors are parts of others: nothing is computed, nothing is copied.

A Reshape is its input. A Slice of whole rows lies in its input; the inputs of a Concat of whole
rows, and that of a Pad by whole rows, can be written where they are needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aidge_quant.integer.layers import Concat, Layer, Pad, Reshape, Slice, Transpose
from aidge_quant.integer.network import IntegerNetwork


@dataclass(frozen=True)
class Part:
    """A tensor as a part of another one.

    Attributes
    ----------
    whole : str
        Name of the other tensor.
    offset : int
        Bytes from its start.
    """

    whole: str
    offset: int


def is_view(layer: Layer, network: IntegerNetwork) -> bool:
    """Whether the layer's output is its input, byte for byte: nothing to compute."""
    if isinstance(layer, Reshape):
        return True
    if isinstance(layer, Transpose):
        shape = network.tensor(layer.inputs[0]).shape
        moved = [axis for axis in layer.permutation if shape[axis] != 1]
        return moved == sorted(moved)
    return False


def find_parts(network: IntegerNetwork, join: bool = True) -> Mapping[str, Part]:
    """Return the tensors that are parts of others.

    Parameters
    ----------
    join : bool
        Whether what a Concat or a Pad reads may be a part of what it writes.
    """
    parts: dict[str, Part] = {}
    for layer in network.layers:
        if is_view(layer, network):
            parts[layer.output] = Part(layer.inputs[0], 0)
        elif isinstance(layer, Slice) and layer.output not in network.outputs:
            offset = _slice_offset(layer, network)
            if offset is not None:
                parts[layer.output] = Part(layer.inputs[0], offset)
    if join:
        # The caller says where these are.
        fixed = {locate(name, parts).whole for name in (*network.inputs, *network.outputs)}
        for layer in network.layers:
            for name, offset in _joined(layer, network):
                found = locate(name, parts)
                same = nbytes(found.whole, network) == nbytes(name, network)
                if same and found.whole not in fixed and layer.inputs.count(name) == 1:
                    parts[found.whole] = Part(layer.output, offset)
    return parts


def locate(name: str, parts: Mapping[str, Part]) -> Part:
    """Return the tensor that is no part of another one and holds ``name``, and where in it."""
    offset = 0
    while name in parts:
        offset += parts[name].offset
        name = parts[name].whole
    return Part(name, offset)


def _row_bytes(name: str, axis: int, network: IntegerNetwork) -> int | None:
    """Return the bytes of one position on an axis, if they and its neighbours are contiguous."""
    tensor = network.tensor(name)
    if any(size != 1 for size in tensor.shape[:axis]):
        return None
    row = int(np.prod(tensor.shape[axis + 1 :], dtype=np.int64))
    return row * tensor.dtype.numpy.itemsize


def _slice_offset(layer: Slice, network: IntegerNetwork) -> int | None:
    """Return where a Slice begins in its input, in bytes, if it is one piece of it."""
    shape, cut = network.tensor(layer.inputs[0]).shape, network.tensor(layer.output).shape
    changed = [axis for axis, size in enumerate(shape) if size != cut[axis]]
    if len(changed) > 1:
        return None
    axis = changed[0] if changed else 0
    row = _row_bytes(layer.inputs[0], axis, network)
    whole = all(layer.steps[i] == 1 or cut[i] == 1 for i in range(len(cut))) and all(
        layer.starts[i] == 0 for i in range(len(cut)) if i != axis
    )
    return None if row is None or not whole else row * layer.starts[axis]


def _joined(layer: Layer, network: IntegerNetwork) -> list[tuple[str, int]]:
    """Return the inputs of a Concat or a Pad that lie in its output in one piece, and where."""
    if isinstance(layer, Pad):
        padded = [
            axis
            for axis, sizes in enumerate(zip(layer.before, layer.after, strict=True))
            if any(sizes)
        ]
        if len(padded) != 1:
            return []
        row = _row_bytes(layer.output, padded[0], network)
        return [] if row is None else [(layer.inputs[0], row * layer.before[padded[0]])]
    if not isinstance(layer, Concat):
        return []
    row = _row_bytes(layer.output, layer.axis, network)
    if row is None:
        return []
    found, start = [], 0
    for name in layer.inputs:
        found.append((name, row * start))
        start += network.tensor(name).shape[layer.axis]
    return found


@dataclass(frozen=True)
class Moves:
    """What a layer reads and writes, once its parts are where they are needed.

    Attributes
    ----------
    reads : tuple of str
        Tensors.
    writes : tuple of (int, int)
        First and end of the bytes written of the output.
    """

    reads: tuple[str, ...]
    writes: tuple[tuple[int, int], ...]


def find_moves(layer: Layer, network: IntegerNetwork, parts: Mapping[str, Part]) -> Moves:
    """Return what ``layer`` has to read and to write."""
    size = nbytes(layer.output, network)
    if is_view(layer, network):
        return Moves((), ())
    if isinstance(layer, Slice):
        offset = _slice_offset(layer, network)
        if offset is not None and _lies(layer.output, layer.inputs[0], offset, parts):
            return Moves((), ())
    joined = _joined(layer, network)
    if isinstance(layer, Pad) and joined:
        ((name, start),) = joined
        if _lies(name, layer.output, start, parts):
            end = start + nbytes(name, network)
            return Moves((), tuple((a, b) for a, b in ((0, start), (end, size)) if a < b))
    if isinstance(layer, Concat) and joined:
        left = [(n, at) for n, at in joined if not _lies(n, layer.output, at, parts)]
        writes = tuple((at, at + nbytes(name, network)) for name, at in left)
        return Moves(tuple(name for name, _ in left), writes)
    return Moves(layer.inputs, ((0, size),))


def nbytes(name: str, network: IntegerNetwork) -> int:
    """Return the bytes of a tensor."""
    tensor = network.tensor(name)
    return tensor.size * tensor.dtype.numpy.itemsize


def _lies(name: str, whole: str, offset: int, parts: Mapping[str, Part]) -> bool:
    """Whether a tensor lies in another one at an offset."""
    inner, outer = locate(name, parts), locate(whole, parts)
    return inner == Part(outer.whole, outer.offset + offset)
