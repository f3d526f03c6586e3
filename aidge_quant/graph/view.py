"""GraphView: owner of the nodes, and the only place where edges change."""

import copy
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from aidge_quant.errors import GraphError
from aidge_quant.graph.dump import to_mermaid, to_text
from aidge_quant.graph.names import free_name
from aidge_quant.graph.node import Node, Port


class GraphOutput(NamedTuple):
    """A named output of the graph."""

    name: str
    port: Port


@dataclass(frozen=True)
class Use:
    """One edge, seen from its source: the consumer and the slot it enters."""

    node: Node
    slot: int
    index: int


class GraphView:
    """A graph of nodes with unique names, ordered inputs and ordered outputs.

    Nodes keep the order in which they were added; among nodes that are ready at the same time,
    ``topological`` follows it, so that equal histories give equal results.
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.metadata: dict[str, str] = {}
        self._nodes: dict[str, Node] = {}
        self._inputs: list[Node] = []
        self._outputs: list[GraphOutput] = []
        self._uses: dict[Node, list[Use]] | None = None

    # -- reading ---------------------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The input nodes, in order."""
        return tuple(self._inputs)

    @property
    def outputs(self) -> tuple[GraphOutput, ...]:
        """The outputs, in order."""
        return tuple(self._outputs)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes in the order they were added."""
        return tuple(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        """Iterate over the nodes in topological order."""
        return iter(self.topological())

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Node) and self._nodes.get(node.name) is node

    def node(self, name: str) -> Node:
        """Return the node called ``name``; a GraphError if there is none."""
        try:
            return self._nodes[name]
        except KeyError:
            raise GraphError(f"graph {self.name} has no node named {name!r}") from None

    def uses(self, node: Node) -> tuple[Use, ...]:
        """Return the edges that leave ``node``, in the order of the consumers."""
        if self._uses is None:
            self._uses = {n: [] for n in self._nodes.values()}
            for consumer in self._nodes.values():
                for slot, port in enumerate(consumer.inputs):
                    if port is not None:
                        self._uses[port.node].append(Use(consumer, slot, port.index))
        return tuple(self._uses[self._own(node)])

    def consumers(self, node: Node) -> tuple[Node, ...]:
        """Return the nodes that read an output of ``node``, each once."""
        return tuple(dict.fromkeys(use.node for use in self.uses(node)))

    def is_output(self, node: Node) -> bool:
        """Whether an output of the graph comes from ``node``."""
        return any(output.port.node is node for output in self._outputs)

    def sole_consumer(self, node: Node) -> Node | None:
        """Return the only consumer of ``node``; None if it has several, none, or is an output."""
        uses = self.uses(node)
        return uses[0].node if len(uses) == 1 and not self.is_output(node) else None

    def topological(self) -> list[Node]:
        """Return the nodes so that each comes after its inputs; deterministic.

        Raises
        ------
        GraphError
            If the graph has a cycle; the message names its nodes.
        """
        position = {node: i for i, node in enumerate(self._nodes.values())}
        waiting = {n: len({p.node for p in n.inputs if p is not None}) for n in position}
        ready = [position[n] for n, count in waiting.items() if count == 0]
        heapq.heapify(ready)
        by_position = list(position)
        order: list[Node] = []
        while ready:
            node = by_position[heapq.heappop(ready)]
            order.append(node)
            for consumer in self.consumers(node):
                waiting[consumer] -= 1
                if waiting[consumer] == 0:
                    heapq.heappush(ready, position[consumer])
        if len(order) < len(position):
            stuck = ", ".join(n.name for n in position if waiting[n] > 0)
            raise GraphError(f"graph {self.name} has a cycle among: {stuck}")
        return order

    # -- building --------------------------------------------------------------------------------

    def unique_name(self, base: str) -> str:
        """Return ``base``, or ``base_1``, ``base_2``... whichever is free first."""
        return free_name(base, self._nodes)

    def add(self, operator: Any, inputs: Iterable[Port | Node | None] = (), name: str = "") -> Node:
        """Add a node and return it; without a name it is called after its operator.

        Raises
        ------
        GraphError
            If the name is taken or an input belongs to another graph.
        """
        name = name or self.unique_name(operator.type)
        if name in self._nodes:
            raise GraphError(f"graph {self.name} already has a node named {name!r}")
        node = Node(name, operator, tuple(self._port(i) for i in inputs))
        self._nodes[name] = node
        self._uses = None
        return node

    def add_input(self, operator: Any, name: str) -> Node:
        """Add an input node and return it."""
        node = self.add(operator, (), name)
        self._inputs.append(node)
        return node

    def add_output(self, port: Port | Node, name: str) -> None:
        """Declare an output of the graph; the name is unique among the outputs."""
        if any(output.name == name for output in self._outputs):
            raise GraphError(f"graph {self.name} already has an output named {name!r}")
        found = self._port(port)
        assert found is not None
        self._outputs.append(GraphOutput(name, found))

    def set_input(self, node: Node, slot: int, port: Port | Node | None) -> None:
        """Connect input ``slot`` of ``node``, growing its list of inputs where needed."""
        inputs = list(self._own(node).inputs)
        inputs += [None] * (slot + 1 - len(inputs))
        inputs[slot] = self._port(port)
        self._rewire(node, inputs)

    def set_inputs(self, node: Node, inputs: Iterable[Port | Node | None]) -> None:
        """Replace all inputs of ``node``."""
        self._rewire(self._own(node), [self._port(i) for i in inputs])

    def replace_uses(self, old: Port | Node, new: Port | Node, *, but: Iterable[Node] = ()) -> None:
        """Let every consumer of ``old``, and the outputs, read ``new``; nodes in ``but`` do not."""
        source, target = self._port(old), self._port(new)
        assert source is not None
        assert target is not None
        kept = set(but)
        for use in self.uses(source.node):
            if use.index == source.index and use.node not in kept:
                self.set_input(use.node, use.slot, target)
        self._outputs = [
            GraphOutput(o.name, target) if o.port == source else o for o in self._outputs
        ]

    def insert_after(
        self, port: Port | Node, operator: Any, name: str = "", extra: Iterable[Port | Node] = ()
    ) -> Node:
        """Put a node behind ``port``: it reads the port, and all that read the port read it."""
        source = self._port(port)
        assert source is not None
        node = self.add(operator, (source, *extra), name)
        self.replace_uses(source, node, but=(node,))
        return node

    def insert_before(
        self,
        node: Node,
        slot: int,
        operator: Any,
        name: str = "",
        extra: Iterable[Port | Node] = (),
    ) -> Node:
        """Put a node on the edge that enters ``slot`` of ``node``."""
        added = self.add(operator, (self._own(node).input(slot), *extra), name)
        self.set_input(node, slot, added)
        return added

    def remove(self, node: Node) -> None:
        """Remove a node that nothing reads.

        Raises
        ------
        GraphError
            If something still reads the node.
        """
        readers = [use.node.name for use in self.uses(node)]
        readers += [o.name for o in self._outputs if o.port.node is node]
        if readers:
            raise GraphError(f"cannot remove {node.name}: still read by {', '.join(readers)}")
        del self._nodes[node.name]
        if node in self._inputs:
            self._inputs.remove(node)
        self._uses = None

    def bypass(self, node: Node, slot: int = 0) -> None:
        """Remove ``node``; its consumers read what its input ``slot`` read."""
        self.replace_uses(node, node.input(slot))
        self.remove(node)

    def remove_dead_nodes(self) -> int:
        """Remove every node that no output depends on, inputs excepted; return how many."""
        alive: set[Node] = set()
        stack = [output.port.node for output in self._outputs]
        while stack:
            node = stack.pop()
            if node not in alive:
                alive.add(node)
                stack += [port.node for port in node.inputs if port is not None]
        dead = [n for n in self._nodes.values() if n not in alive and n not in self._inputs]
        for node in dead:
            del self._nodes[node.name]
        self._uses = None
        return len(dead)

    def rename(self, node: Node, name: str) -> None:
        """Give ``node`` another unique name; its place in the order stays."""
        if name == self._own(node).name:
            return
        if name in self._nodes:
            raise GraphError(f"graph {self.name} already has a node named {name!r}")
        old = node.name
        node._name = name
        self._nodes = {(name if key == old else key): n for key, n in self._nodes.items()}

    def clone(self) -> "GraphView":
        """Return an independent copy; operators are immutable and shared."""
        other = GraphView(self.name)
        other.metadata = dict(self.metadata)
        twin: dict[Node, Node] = {}
        for node in self._nodes.values():
            twin[node] = Node(node.name, node.operator)
            twin[node].annotations = copy.deepcopy(node.annotations)
        for node, copied in twin.items():
            copied._inputs = tuple(
                None if p is None else Port(twin[p.node], p.index) for p in node.inputs
            )
        other._nodes = {node.name: node for node in twin.values()}
        other._inputs = [twin[node] for node in self._inputs]
        other._outputs = [
            GraphOutput(o.name, Port(twin[o.port.node], o.port.index)) for o in self._outputs
        ]
        return other

    def become(self, other: "GraphView") -> None:
        """Take over the content of ``other``, which must not be used afterwards.

        A pass that may fail half way works on a clone and calls this at the end.
        """
        self.name, self.metadata = other.name, other.metadata
        self._nodes, self._inputs, self._outputs = other._nodes, other._inputs, other._outputs
        self._uses = None

    # -- checking and showing --------------------------------------------------------------------

    def check(self) -> None:
        """Raise a GraphError that lists every broken invariant of the graph."""
        faults = []
        for name, node in self._nodes.items():
            if node.name != name:
                faults.append(f"node {node.name!r} is filed under {name!r}")
            for slot, port in enumerate(node.inputs):
                if port is None:
                    continue
                if port.node not in self:
                    faults.append(f"{name} input {slot}: {port.node.name} is not in the graph")
                elif not 0 <= port.index < port.node.operator.output_count:
                    missing = f"{port.node.name} has no output {port.index}"
                    faults.append(f"{name} input {slot}: {missing}")
        for output in self._outputs:
            if output.port.node not in self:
                faults.append(f"output {output.name}: {output.port.node.name} is not in the graph")
        if not self._outputs:
            faults.append("there is no output")
        if not faults:
            self.topological()
            return
        raise GraphError(f"graph {self.name} is malformed: " + "; ".join(faults))

    def __str__(self) -> str:
        return to_text(self)

    def __repr__(self) -> str:
        return f"<GraphView {self.name}: {len(self._nodes)} nodes>"

    def mermaid(self) -> str:
        """Return the graph as a mermaid flowchart."""
        return to_mermaid(self)

    # -- private ---------------------------------------------------------------------------------

    def _own(self, node: Node) -> Node:
        if node not in self:
            raise GraphError(f"{node.name} is not a node of graph {self.name}")
        return node

    def _port(self, source: Port | Node | None) -> Port | None:
        if source is None:
            return None
        port = source if isinstance(source, Port) else Port(source)
        self._own(port.node)
        return port

    def _rewire(self, node: Node, inputs: list[Port | None]) -> None:
        node._inputs = tuple(inputs)
        self._uses = None
