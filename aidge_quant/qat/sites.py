"""Where the integer network stores a tensor, so that a quantizer belongs there in training.

A tensor is stored behind every input, layer with weights, Add, Sub and average pool, after the
BatchNorm and the clips that the layer absorbs. A layer that only outputs of the network read keeps
its accumulator. Where an Add or a pool reads a tensor, it has ``joined_bits``; a layer that wants
fewer bits of it reads it through a second quantizer of its own. Tensors that a Concat joins share
one format. A Clip that reads a stored tensor, as behind a fork, has a quantizer of the same format:
its bounds are then rounded in training as they are in integers.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aidge_quant.errors import GraphError
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.ops import (
    Add,
    BatchNorm,
    Clip,
    Concat,
    Input,
    Operator,
    ReLU,
    Sub,
    TrainedQuantizer,
    Trait,
)
from aidge_quant.ptq.flow import has_trait, is_affine
from aidge_quant.qat.bits import LayerBits


@dataclass(frozen=True)
class Site:
    """A place for one activation quantizer.

    Attributes
    ----------
    port : Port
        What the quantizer reads.
    readers : tuple of (Node, int)
        The inputs that read the quantizer; empty where all readers of the port do.
    bits : int
    signed : bool
    name : str
        Of the layer that the quantizer belongs to, else of what makes the tensor.
    of_layer : bool
        Whether only layers read it.
    group : int
        Quantizers of one group share their step.
    is_input : bool
        Whether it quantizes an input of the network.
    """

    port: Port
    readers: tuple[tuple[Node, int], ...]
    bits: int
    signed: bool
    name: str
    of_layer: bool
    group: int
    is_input: bool = False


@dataclass
class _Tensor:
    """A tensor that is stored: what computes it, its end, and the inputs that read it."""

    driver: Node
    end: Node
    layers: list[tuple[Node, int]]
    joins: list[Node]
    concats: list[Node]
    clips: list[Node]


def find_sites(
    network: GraphView, bits: Mapping[Node, LayerBits], joined_bits: int, signed_input: bool
) -> list[Site]:
    """Return the places of the activation quantizers of a prepared float network, in order.

    Parameters
    ----------
    network : GraphView
    bits : mapping of LayerBits by affine node
    joined_bits : int
        Of tensors that an Add, a Sub or a pool reads.
    signed_input : bool
    """
    tensors = _tensors(network)
    sites: list[Site] = []
    for number, members in enumerate(_joined(tensors)):
        wanted = {bits[node].activation for t in members for node, _ in t.layers}
        joined = [joined_bits] if any(t.joins for t in members) or not wanted else []
        width = max([*wanted, *joined])
        signed = any(_is_signed(t, signed_input) for t in members)
        for tensor in members:
            port = _deepest(network, tensor)
            layer = bool(tensor.layers) and not tensor.joins
            name = tensor.layers[0][0].name if layer else tensor.end.name
            source = isinstance(tensor.driver.operator, Input)
            sites.append(Site(port, (), width, signed, name, layer, number, source))
    for tensor in tensors:
        wide = next(s for s in sites if s.port == _deepest(network, tensor))
        for clip in tensor.clips:
            same = dataclasses.replace(wide, port=Port(clip), name=clip.name)
            sites.append(dataclasses.replace(same, of_layer=False, is_input=False))
    groups = len(sites)
    for tensor in tensors:
        wide = next(s for s in sites if s.port == _deepest(network, tensor))
        narrow: dict[tuple[Port, int], list[tuple[Node, int]]] = {}
        for node, slot in tensor.layers:
            if bits[node].activation < wide.bits:
                key = (node.input(slot), bits[node].activation)
                narrow.setdefault(key, []).append((node, slot))
        for (port, count), readers in narrow.items():
            if any(s.port == port and s.readers == tuple(readers) for s in sites):
                continue  # behind a Concat the layer reads several tensors
            name = readers[0][0].name
            sites.append(Site(port, tuple(readers), count, wide.signed, name, True, groups))
            groups += 1
    return sites


def is_move(node: Node) -> bool:
    """Whether the node passes the integers of its one data input on."""
    return has_trait(node, Trait.MOVES) and not isinstance(node.operator, ReLU | Concat)


def _tensors(network: GraphView) -> list[_Tensor]:
    found = []
    for node in network.topological():
        stores = isinstance(node.operator, Input | Add | Sub) or has_trait(node, Trait.SUMS)
        if not (stores or is_affine(node)):
            continue
        end = node
        while not network.is_output(end):
            reader = network.sole_consumer(end)
            if reader is None or not isinstance(reader.operator, BatchNorm | ReLU | Clip):
                break
            end = reader
        tensor = _Tensor(node, end, [], [], [], [])
        _follow(network, end, tensor)
        if stores or tensor.layers or tensor.joins or tensor.concats:
            found.append(tensor)
    return found


def _follow(network: GraphView, node: Node, tensor: _Tensor) -> None:
    """Note what reads the tensor, through moves and Concats."""
    for use in network.uses(node):
        reader = use.node
        if is_affine(reader):
            tensor.layers.append((reader, use.slot))
        elif isinstance(reader.operator, Concat):
            if reader not in tensor.concats:
                tensor.concats.append(reader)
                _follow(network, reader, tensor)
        elif isinstance(reader.operator, Add | Sub) or has_trait(reader, Trait.SUMS):
            tensor.joins.append(reader)
        elif is_move(reader) or isinstance(reader.operator, ReLU | Clip):
            if isinstance(reader.operator, Clip) and reader not in tensor.clips:
                tensor.clips.append(reader)
            _follow(network, reader, tensor)
        else:
            raise GraphError(
                f"{reader.name} ({reader.type}) reads {node.name}, which is to be quantized; is "
                "the network prepared, and without quantizers?"
            )


def _joined(tensors: list[_Tensor]) -> list[list[_Tensor]]:
    """Return the tensors in groups: those that a Concat joins together."""
    groups: list[list[_Tensor]] = []
    for tensor in tensors:
        group = [tensor]
        for other in [g for g in groups if any(_share(t, tensor) for t in g)]:
            groups.remove(other)
            group = [*other, *group]
        groups.append(group)
    return groups


def _share(one: _Tensor, other: _Tensor) -> bool:
    return any(concat in other.concats for concat in one.concats)


def _deepest(network: GraphView, tensor: _Tensor) -> Port:
    """Return the port behind the moves that are the only readers of the tensor."""
    end = tensor.end
    while not network.is_output(end):
        reader = network.sole_consumer(end)
        if reader is None or not is_move(reader):
            break
        end = reader
    return Port(end)


def _is_signed(tensor: _Tensor, signed_input: bool) -> bool:
    """Whether the tensor may hold negative values."""
    if isinstance(tensor.driver.operator, Input):
        return signed_input
    node = tensor.end
    while node is not tensor.driver:
        operator = node.operator
        if isinstance(operator, ReLU) or (isinstance(operator, Clip) and operator.lower >= 0):
            return False
        node = node.input(0).node
    if has_trait(node, Trait.SUMS):
        return not _never_negative(node.input(0).node)
    return not (
        isinstance(node.operator, Add)
        and all(_never_negative(port.node) for port in node.inputs if port is not None)
    )


def _never_negative(node: Node) -> bool:
    operator = node.operator
    if isinstance(operator, ReLU) or (isinstance(operator, Clip) and operator.lower >= 0):
        return True
    if isinstance(operator, Add | Concat):
        return all(_never_negative(port.node) for port in node.inputs if port is not None)
    if is_move(node) or has_trait(node, Trait.SUMS):
        return _never_negative(node.input(0).node)
    return False


def place(
    network: GraphView, site: Site, operator: Operator, name: str, extra: Sequence[Node]
) -> Node:
    """Put, in place, a quantizer at a site and return its node; sites go in their order."""
    if not site.readers:
        return network.insert_after(site.port, operator, name, extra)
    node, slot = site.readers[0]
    added = network.add(operator, (node.input(slot), *extra), name)
    for reader, where in site.readers:
        network.set_input(reader, where, added)
    return added


def quantizer_of(port: Port) -> Node:
    """Return the quantizer for training whose format the tensor at ``port`` has.

    Raises
    ------
    GraphError
        If there is none.
    """
    node = port.node
    while not isinstance(node.operator, TrainedQuantizer):
        if not (is_move(node) or isinstance(node.operator, ReLU | Clip | Concat)):
            raise GraphError(f"{node.name} ({node.type}): no quantizer is on it")
        node = node.input(0).node
    return node
