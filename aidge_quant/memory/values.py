"""Values of a network: which bytes are written when, read when, and by which layers.

A value is a tensor that is no part of another one, with all that are parts of it (see `views`).
Layers may write it piece by piece, and read pieces of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from aidge_quant.integer.layers import (
    Add,
    Affine,
    AveragePool,
    Clamp,
    Layer,
    Lookup,
    MaxPool,
    Multiply,
    Rescale,
    Slice,
)
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs
from aidge_quant.memory.views import Part, find_moves, locate, nbytes


@dataclass(frozen=True)
class Access:
    """Bytes of a value that a layer reads or writes.

    Attributes
    ----------
    position : int
        Of the layer; -1 for the caller, who brings the inputs, and the number of layers for the
        caller who takes the outputs.
    start, end : int
        Bytes from the start of the value.
    distance : int or None
        Of a read: how many bytes behind the bytes that the layer writes they must start, at
        least, so that each is read before it is overwritten; None if they must stay.
    same : bool
        Of a read: they may also be overwritten by what starts where they start.
    """

    position: int
    start: int
    end: int
    distance: int | None = None
    same: bool = False


@dataclass(frozen=True)
class Value:
    """Bytes that layers write, or that the caller brings.

    Attributes
    ----------
    index : int
        Position in the list of `find_values`.
    tensors : mapping of str to int
        Names of the tensors in it, and where each begins, in bytes.
    size : int
        Bytes.
    writes, reads : tuple of Access, in order of execution
    inputs : tuple of int
        Positions among the network's inputs that it is.
    outputs : tuple of int
        Positions among the network's outputs that it is, whole.
    scratch_of : str
        Name of the layer that these bytes are working memory of; they hold no tensor.
    """

    index: int
    tensors: Mapping[str, int]
    size: int
    writes: tuple[Access, ...]
    reads: tuple[Access, ...]
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    scratch_of: str = ""

    @cached_property
    def birth(self) -> int:
        """Position of the layer that writes it first, -1 for an input."""
        return self.writes[0].position

    @cached_property
    def death(self) -> int:
        """Position of the layer that reads or writes it last."""
        return max(access.position for access in (*self.writes, *self.reads))


@dataclass
class _Draft:
    writes: list[Access] = field(default_factory=list)
    reads: list[Access] = field(default_factory=list)


def replaceable_inputs(layer: Layer, network: IntegerNetwork) -> tuple[str, ...]:
    """Return the inputs that the layer may overwrite while it reads them, from the front on."""
    output = network.tensor(layer.output)
    names: tuple[str, ...] = ()
    if isinstance(layer, Clamp | Lookup | Rescale):
        names = layer.inputs
    elif isinstance(layer, Affine):
        names = tuple(n for n in layer.inputs[1:] if n != layer.inputs[0])  # a residual
    elif isinstance(layer, Add | Multiply):
        # A factor for every channel is read again at every position.
        names = tuple(n for n in layer.inputs if network.tensor(n).size == output.size)
    elif isinstance(layer, MaxPool | AveragePool):
        # Without padding before it a window never begins behind the place of its output.
        shape = network.tensor(layer.inputs[0]).shape
        fits = output.shape[0] <= shape[0] and output.shape[1] <= shape[1]
        names = layer.inputs if fits and layer.padding[:2] == (0, 0) else ()
    elif isinstance(layer, Slice):
        names = layer.inputs if all(step > 0 for step in layer.steps) else ()
    return tuple(n for n in names if network.tensor(n).dtype is output.dtype)


def find_values(
    network: IntegerNetwork, parts: Mapping[str, Part], needs: Mapping[str, Needs] | None = None
) -> tuple[Value, ...]:
    """Return the values of ``network`` in the order they are first written, inputs first.

    Parameters
    ----------
    parts : mapping of tensor name to Part
        Tensors that lie in others, from `find_parts`.
    needs : mapping of layer name to Needs, optional
        Of the layers whose kernels ask for something else than the portable ones. Their working
        memories come last.
    """
    needs = needs or {}
    end = len(network.layers)
    drafts: dict[str, _Draft] = {}

    def place(name: str) -> tuple[str, int, int]:
        """Return the value that a tensor is in, and its first and last bytes there."""
        found = locate(name, parts)
        return found.whole, found.offset, found.offset + nbytes(name, network)

    for name in network.inputs:
        drafts.setdefault(name, _Draft([Access(-1, 0, nbytes(name, network))]))
    for position, layer in enumerate(network.layers):
        moves = find_moves(layer, network, parts)
        front = dict.fromkeys(replaceable_inputs(layer, network), 0)
        asked = needs.get(layer.name, Needs(behind=front))
        wholes = [place(name)[0] for name in moves.reads]
        residuals = {place(name)[0] for name in asked.same}
        for name in moves.reads:
            whole, first, last = place(name)
            distance, same = asked.behind.get(name), name in asked.same
            if wholes.count(whole) > 1 and whole in residuals:
                # Read as input and as residual: not in the same order, so it stays, or coincides
                # where it could start there as either.
                same, distance = same and (distance or 0) <= 0, None
            drafts[whole].reads.append(Access(position, first, last, distance, same))
        whole, first, _ = place(layer.output)
        for start, stop in moves.writes:
            write = Access(position, first + start, first + stop)
            drafts.setdefault(whole, _Draft()).writes.append(write)
    for name in network.outputs:
        whole, first, last = place(name)
        drafts[whole].reads.append(Access(end, first, last))

    tensors: dict[str, dict[str, int]] = {whole: {whole: 0} for whole in drafts}
    for name in (tensor.name for tensor in network.tensors):
        found = locate(name, parts)
        tensors[found.whole][name] = found.offset
    values = []
    for index, (whole, draft) in enumerate(drafts.items()):
        size = nbytes(whole, network)
        outputs = (i for i, n in enumerate(network.outputs) if place(n) == (whole, 0, size))
        inputs = tuple(i for i, n in enumerate(network.inputs) if n == whole)
        values.append(
            Value(
                *(index, tensors[whole], size, tuple(draft.writes), tuple(draft.reads)),
                *(inputs, tuple(outputs)),
            )
        )
    for position, layer in enumerate(network.layers):
        size = needs[layer.name].scratch if layer.name in needs else 0
        if size > 0:
            whole_time = (Access(position, 0, size),)
            values.append(
                Value(len(values), {}, size, whole_time, whole_time, scratch_of=layer.name)
            )
    return tuple(values)
