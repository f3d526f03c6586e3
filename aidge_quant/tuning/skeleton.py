"""The skeleton: a float graph with a scaling node, a site, wherever the recipe chooses a scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aidge_quant.executor import infer_shapes
from aidge_quant.graph import Annotation, GraphView, Node
from aidge_quant.ops import (
    FC,
    Add,
    Clip,
    Concat,
    Conv,
    Flatten,
    Input,
    Mul,
    Producer,
    Quantizer,
    ReLU,
    Reshape,
    Squeeze,
    Sub,
    SumPool,
    Unsqueeze,
)
from aidge_quant.ops.pooling import as_sum
from aidge_quant.ptq import insert_scaling_nodes
from aidge_quant.ptq.flow import (
    activation_quantizers,
    data_slots,
    is_affine,
    is_function,
    is_merging,
    is_parameter_quantizer,
    is_product,
    source,
)

INPUT, AFFINE, ADD = "input", "affine", "add"
PRODUCT, FUNCTION, POOL = "product", "function", "pool"


@dataclass(frozen=True)
class Site:
    """One tensor that gets a scale of its own.

    Attributes
    ----------
    name : str
        Of its quantizer.
    kind : str
        What drives the quantizer: INPUT, AFFINE, ADD (two tensors), PRODUCT, FUNCTION or POOL.
    node : str
        The node that computes what the quantizer reads.
    sum : str
        The Add or Sub that takes the accumulator of ``node`` before the quantizer; "" without.
    observed : str
        The node whose values decide the range: the last clip behind the quantizer.
    sources : tuple of str
        Sites of the data operands; the last one is that of the residual where there is a ``sum``.
    signs : tuple of int
        Of the operands of an Add: -1 where it is subtracted.
    multipliers : tuple of str
        Producers of the integer factors, one an operand of an Add, or the one of a residual.
    group : str
        Sites of one group share scale and interval: the inputs of a Concat.
    count : int
        Positions that a pool sums.
    is_logits : bool
        Whether only outputs of the network read it, so that int32 can stay.
    feeds_table : bool
        Whether a function of one value reads or makes it: 8 bits then.
    """

    name: str
    kind: str
    node: str
    observed: str
    sources: tuple[str, ...]
    signs: tuple[int, ...] = ()
    multipliers: tuple[str, ...] = ()
    group: str = ""
    count: int = 1
    is_logits: bool = False
    feeds_table: bool = False
    sum: str = ""

    @property
    def total(self) -> str:
        """The node whose output the quantizer reads."""
        return self.sum or self.node


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A float graph that computes what the network computes, and its sites in topological order."""

    graph: GraphView
    sites: Mapping[str, Site]

    @property
    def affine(self) -> tuple[Site, ...]:
        """The sites behind layers with weights."""
        return tuple(site for site in self.sites.values() if site.kind == AFFINE)

    def weight(self, site: Site) -> Node:
        """Return the producer of the weight of an affine site."""
        return self.graph.node(site.node).input(1).node

    def bias(self, site: Site) -> Node:
        """Return the producer of the bias of an affine site."""
        return self.graph.node(site.node).input(2).node


def build_skeleton(prepared: GraphView, *, fuse: bool = False) -> Skeleton:
    """Return the skeleton of a prepared float network, which stays as it is.

    Parameters
    ----------
    prepared : GraphView
        After ``prepare_network``, equalized or not.
    fuse : bool
        Let an Add take the accumulator of the layer before it, without a quantizer between them.
        Of two such layers, the one that comes last.
    """
    graph = prepared.clone()
    insert_scaling_nodes(graph)
    for node in graph.topological():
        residual = node.annotations.get(Annotation.IS_RESIDUAL)
        if residual or is_parameter_quantizer(node):
            graph.bypass(node)
    for node in graph.inputs:
        _scale(graph, node, f"{node.name}_Scaling")
    _sum_pools(graph)
    _multiply_operands(graph)
    if fuse:
        _fuse_sums(graph)
    for node in graph.topological():
        if is_affine(node) and not node.has_input(2):
            channels = node.input(1).node.operator.value.shape[node.operator.output_axis]
            if node.operator.output_axis != 0:
                channels *= getattr(node.operator, "groups", 1)
            zeros = Producer(np.zeros(channels, np.float32))
            graph.set_input(node, 2, graph.add(zeros, (), graph.unique_name(f"{node.name}_bias")))
    return Skeleton(graph, _sites(graph))


def _scale(graph: GraphView, node: Node, name: str, scale: float = 1.0) -> Node:
    added = graph.insert_after(node, Quantizer(scale), graph.unique_name(name))
    added.annotations[Annotation.IS_ACTIVATION_QUANTIZER] = True
    return added


def _sum_pools(graph: GraphView) -> None:
    """Turn averages into sums whose 1/N is part of a scale, where that scale is free."""
    shapes = infer_shapes(graph)
    sizes = {n: shapes[n.input(0).node][n.input(0).index][2:] for n in graph.nodes if n.inputs}
    for node in graph.topological():
        window = as_sum(node.operator, sizes.get(node, ()))
        if window is None or _reaches_merge(graph, node):
            continue
        node.operator = window
        count = int(np.prod(window.window))
        added = _scale(graph, node, f"{node.name}_Scaling", 1 / count)
        added.annotations.pop(Annotation.PRECISION, None)


def _reaches_merge(graph: GraphView, node: Node) -> bool:
    """Whether a node that joins tensors of one scale reads the tensor before another scaling."""
    for reader in graph.consumers(node):
        if isinstance(reader.operator, Concat):
            return True
        passes = not (
            is_affine(reader)
            or is_merging(reader)
            or is_product(reader)
            or isinstance(reader.operator, Quantizer)
            or reader.type == "Dequantizer"
        )
        if passes and _reaches_merge(graph, reader):
            return True
    return False


def _multiply_operands(graph: GraphView) -> None:
    """Put an integer factor, 1 for now, on every tensor that an Add or Sub reads."""
    for node in graph.topological():
        if not is_merging(node) or isinstance(node.operator, Concat):
            continue
        for slot in data_slots(node):
            base = f"{node.name}_Multiplier{slot}"
            one = graph.add(Producer(np.ones((), np.float32)), (), graph.unique_name(base))
            added = graph.insert_before(node, slot, Mul(), graph.unique_name(f"{base}_Mul"), (one,))
            added.annotations[Annotation.IS_COMPENSATION] = True


def _fuse_sums(graph: GraphView) -> None:
    """Let every Add and Sub that can take the accumulator of a layer before it."""
    order = {node: place for place, node in enumerate(graph.topological())}
    for node in graph.topological():
        if not isinstance(node.operator, Add | Sub):
            continue
        slots = (0,) if isinstance(node.operator, Sub) else (0, 1)
        layers = {s: layer for s in slots if (layer := _layer_before(graph, node, s)) is not None}
        if layers:
            slot = max(layers, key=lambda s: order[layers[s]])
            multiplier = node.input(slot).node
            quantizer, one = multiplier.input(0).node, multiplier.input(1).node
            graph.bypass(multiplier)
            graph.bypass(quantizer)
            if one in graph:
                graph.remove(one)


def _layer_before(graph: GraphView, node: Node, slot: int) -> Node | None:
    """Return the layer whose quantized output only this operand of an Add is, if there is one."""
    quantizer = node.input(slot).node.input(0).node
    if not isinstance(quantizer.operator, Quantizer) or graph.sole_consumer(quantizer) is None:
        return None
    layer = quantizer.input(0).node
    other = node.input(1 - slot).node.input(0).node
    plain = isinstance(layer.operator, Conv | FC) and graph.sole_consumer(layer) is quantizer
    return layer if plain and other is not quantizer else None


def _sites(graph: GraphView) -> dict[str, Site]:
    groups = {node: node.name for node in activation_quantizers(graph)}
    for node in graph.topological():
        if isinstance(node.operator, Concat):
            joined = {groups[source(node.input(slot))] for slot in data_slots(node)}
            first = min(joined)
            groups.update({n: first for n, group in groups.items() if group in joined})
    return {node.name: _site(graph, node, group) for node, group in groups.items()}


def _site(graph: GraphView, node: Node, group: str) -> Site:
    total = node.input(0).node
    observed, tables = node, is_function(total)
    following = graph.sole_consumer(node)
    while following is not None and isinstance(following.operator, ReLU | Clip):
        observed, following = following, graph.sole_consumer(following)
    tables = tables or any(reader.type == "Dequantizer" for reader in graph.consumers(observed))
    common: dict[str, Any] = {"observed": observed.name, "group": group, "feeds_table": tables}
    if isinstance(total.operator, Input):
        return Site(node.name, INPUT, total.name, sources=(), **common)
    if isinstance(total.operator, SumPool):
        count = int(np.prod(total.operator.window))
        before = (source(total.input(0)).name,)
        return Site(node.name, POOL, total.name, sources=before, count=count, **common)
    if is_function(total):
        return Site(node.name, FUNCTION, total.name, sources=(), **common)
    if is_affine(total):
        before = (source(total.input(0)).name,)
        common["is_logits"] = _only_outputs(graph, observed)
        return Site(node.name, AFFINE, total.name, sources=before, **common)
    if any(is_affine(total.input(slot).node) for slot in data_slots(total)):
        return _fused_site(node, total, common)
    if is_product(total):
        both = tuple(source(total.input(slot)).name for slot in data_slots(total))
        return Site(node.name, PRODUCT, total.name, sources=both, **common)
    signs = (1, -1 if isinstance(total.operator, Sub) else 1)
    operands = [total.input(slot).node for slot in (0, 1)]
    return Site(
        node.name,
        ADD,
        total.name,
        sources=tuple(source(operand.input(0)).name for operand in operands),
        signs=signs,
        multipliers=tuple(operand.input(1).node.name for operand in operands),
        **common,
    )


def _fused_site(node: Node, total: Node, common: dict[str, Any]) -> Site:
    """Return the site of a layer whose accumulator the Add ``total`` takes."""
    operands = [total.input(slot).node for slot in data_slots(total)]
    layer = next(operand for operand in operands if is_affine(operand))
    multiplier = next(operand for operand in operands if operand is not layer)
    sources = (source(layer.input(0)).name, source(multiplier.input(0)).name)
    common |= {"multipliers": (multiplier.input(1).node.name,), "sum": total.name}
    return Site(node.name, AFFINE, layer.name, sources=sources, **common)


def _only_outputs(graph: GraphView, node: Node) -> bool:
    """Whether nothing but outputs reads the node, directly or under another shape."""
    if graph.is_output(node):
        return not graph.uses(node)
    readers = graph.consumers(node)
    moves = Flatten | Reshape | Squeeze | Unsqueeze
    return bool(readers) and all(
        isinstance(r.operator, moves) and _only_outputs(graph, r) for r in readers
    )
