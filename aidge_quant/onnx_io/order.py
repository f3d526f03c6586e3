"""The nodes of a model that matter, in an order in which they can be read."""

from collections.abc import Iterator

import onnx

from aidge_quant.errors import GraphError


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """Yield the graphs that a node holds as attributes (the branches of If, the body of Loop)."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        for index, graph in enumerate(attribute.graphs):
            yield f"{attribute.name}[{index}]", graph


def names_read(node: onnx.NodeProto) -> list[str]:
    """Return the tensors that a node reads, those that its subgraphs capture included."""
    found = [name for name in node.input if name]
    for _, graph in subgraphs(node):
        inner = {i.name for i in graph.input} | {i.name for i in graph.initializer}
        inner |= {name for child in graph.node for name in child.output}
        captured = [name for child in graph.node for name in names_read(child)]
        captured += [output.name for output in graph.output]
        found += [name for name in captured if name not in inner]
    return list(dict.fromkeys(found))


def ordered_nodes(graph: onnx.GraphProto, known: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes that the outputs depend on, each after those it reads, else as stored.

    Parameters
    ----------
    known : set of str
        Tensors that need no node: inputs and initializers.

    Raises
    ------
    GraphError
        If a tensor is made twice or by nothing, or if there is a cycle.
    """
    maker: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in maker or name in known:
                raise GraphError(f"tensor {name!r} is made twice, expected every name once")
            maker[name] = index
    alive = _alive(graph, maker, known)
    return [graph.node[index] for index in _sorted(graph, alive, maker, known)]


def _alive(graph: onnx.GraphProto, maker: dict[str, int], known: set[str]) -> list[int]:
    """Return the indices of the nodes that the outputs depend on, ascending."""
    alive: set[int] = set()
    waiting = [("the graph's outputs", output.name) for output in graph.output]
    while waiting:
        reader, name = waiting.pop()
        if name in known:
            continue
        if name not in maker:
            raise GraphError(
                f"tensor {name!r}, read by {reader}, is made by no node and is no input"
            )
        index = maker[name]
        if index not in alive:
            alive.add(index)
            node = graph.node[index]
            waiting += [(node.name or node.op_type, read) for read in names_read(node)]
    return sorted(alive)


def _sorted(
    graph: onnx.GraphProto, alive: list[int], maker: dict[str, int], known: set[str]
) -> list[int]:
    done, order, waiting = set(known), [], alive
    while waiting:
        later = []
        for index in waiting:
            node = graph.node[index]
            if all(name in done for name in names_read(node)):
                done.update(node.output)
                order.append(index)
            else:
                later.append(index)
        if len(later) == len(waiting):
            names = ", ".join(graph.node[i].name or graph.node[i].output[0] for i in later)
            raise GraphError(f"the nodes {names} form a cycle or depend on one")
        waiting = later
    return order
