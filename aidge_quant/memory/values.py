"""Values of a network: which tensors are one and the same bytes, when they live, what may overlap.

A value is written once. A Reshape only gives it another name, so it holds several tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
    Reshape,
    Slice,
    Transpose,
)
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.memory.needs import Needs


@dataclass(frozen=True)
class Value:
    """The bytes that one layer writes, or that the caller brings.

    Attributes
    ----------
    index : int
        Position in the list of `find_values`.
    tensors : tuple of str
        Names of the tensors that are these bytes, the one written first.
    size : int
        Bytes.
    itemsize : int
        Bytes of one element.
    birth, death : int
        Position of the layer that writes it (-1 for an input of the network) and of the last that
        reads it (the number of layers for an output).
    inputs, outputs : tuple of int
        Positions among the network's inputs and outputs.
    may_replace : mapping of int to int
        Indices of the values that it may overlap although the same layer reads them: they die
        there, and no element is written before it was read, as long as they start at least so
        many bytes behind this value.
    may_coincide : tuple of int
        Likewise, as long as this value starts where they start.
    scratch_of : str
        Name of the layer that these bytes are working memory of; they hold no tensor.
    """

    index: int
    tensors: tuple[str, ...]
    size: int
    itemsize: int
    birth: int
    death: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    may_replace: Mapping[int, int]
    may_coincide: tuple[int, ...] = ()
    scratch_of: str = ""


def is_view(layer: Layer, network: IntegerNetwork) -> bool:
    """Whether the layer's output is its input, byte for byte: nothing to compute."""
    if isinstance(layer, Reshape):
        return True
    if isinstance(layer, Transpose):
        shape = network.tensor(layer.inputs[0]).shape
        moved = [axis for axis in layer.permutation if shape[axis] != 1]
        return moved == sorted(moved)
    return False


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
    network: IntegerNetwork, needs: Mapping[str, Needs] | None = None
) -> tuple[Value, ...]:
    """Return the values of ``network`` in the order they are written, inputs first.

    Parameters
    ----------
    needs : mapping of layer name to Needs, optional
        Of the layers whose kernels ask for something else than the portable ones. Their working
        memories come last.
    """
    needs = needs or {}
    end = len(network.layers)
    owner: dict[str, int] = {}
    groups: list[list[str]] = []
    births: list[int] = []
    deaths: list[int] = []
    overlaps: list[tuple[dict[int, int], list[int]]] = []

    def begin(name: str, birth: int, replaced: dict[int, int], coinciding: list[int]) -> None:
        owner[name] = len(groups)
        groups.append([name])
        births.append(birth)
        deaths.append(birth)
        overlaps.append((replaced, coinciding))

    for name in network.inputs:
        if name not in owner:
            begin(name, -1, {}, [])
    for position, layer in enumerate(network.layers):
        for name in layer.inputs:
            deaths[owner[name]] = position
        if is_view(layer, network):
            owner[layer.output] = owner[layer.inputs[0]]
            groups[owner[layer.output]].append(layer.output)
        else:
            front = dict.fromkeys(replaceable_inputs(layer, network), 0)
            asked = needs.get(layer.name, Needs(behind=front))
            # One value may be read twice under two names, as input and as residual.
            kept = {owner[n] for n in layer.inputs if n not in (*asked.behind, *asked.same)}
            coinciding = [owner[n] for n in asked.same if owner[n] not in kept]
            kept.update(coinciding)
            replaced = {owner[n]: d for n, d in asked.behind.items() if owner[n] not in kept}
            begin(layer.output, position, replaced, coinciding)
    for name in network.outputs:
        deaths[owner[name]] = end

    values = []
    for index, names in enumerate(groups):
        first = network.tensor(names[0])
        itemsize = first.dtype.numpy.itemsize
        replaced, coinciding = overlaps[index]
        dying = {found for found in (*replaced, *coinciding) if deaths[found] == births[index]}
        values.append(
            Value(
                index=index,
                tensors=tuple(names),
                size=first.size * itemsize,
                itemsize=itemsize,
                birth=births[index],
                death=deaths[index],
                inputs=tuple(i for i, n in enumerate(network.inputs) if owner[n] == index),
                outputs=tuple(i for i, n in enumerate(network.outputs) if owner[n] == index),
                may_replace={found: d for found, d in replaced.items() if found in dying},
                may_coincide=tuple(found for found in coinciding if found in dying),
            )
        )
    for position, layer in enumerate(network.layers):
        if layer.name in needs and needs[layer.name].scratch > 0:
            size = needs[layer.name].scratch
            values.append(
                Value(len(values), (), size, 4, position, position, (), (), {}, (), layer.name)
            )
    return tuple(values)
