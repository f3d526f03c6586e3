"""Which node of the float network each tensor of an integer network stands for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.executor import infer_shapes
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.integer.layers import Layer, Rescale, Reshape, Transpose
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.integer.tensors import IntegerTensor
from aidge_quant.ops import Producer


@dataclass(frozen=True, eq=False)
class Twin:
    """The float side of an integer tensor.

    Attributes
    ----------
    node : Node
        Node of the prepared float graph whose first output the tensor stands for.
    chain : tuple of Node
        Float nodes that the layer computes, in order; none where it passes its input on.
    factor : float64 array (1, *stored shape)
        Real value on the float network = factor * scale * (q - zero_point).
    """

    node: Node
    chain: tuple[Node, ...]
    factor: np.ndarray


class Twins:
    """Pairs the tensors of an integer network with values of the float network.

    Parameters
    ----------
    graph : GraphView
        The float graph, prepared.
    network : IntegerNetwork
    factors : mapping of float array (channels,) by node name
        Annotation.CHANNEL_FACTORS of the quantized graph, along axis 1 of the node's output.

    Raises
    ------
    GraphError
        If the integer network does not come from this graph.
    """

    def __init__(
        self, graph: GraphView, network: IntegerNetwork, factors: Mapping[str, np.ndarray]
    ) -> None:
        self.graph = graph
        self.network = network
        self._shapes = infer_shapes(graph)
        self._nodes = {node.name: node for node in graph.nodes}
        self._factors = factors
        self._twins: dict[str, Twin] = {}
        for tensor, name in zip(network.inputs, network.input_names, strict=True):
            ones = np.ones((1, *network.tensor(tensor).shape))
            self._twins[tensor] = Twin(self._node(name), (), ones)
        for layer in network.layers:
            self._twins[layer.output] = self._twin(layer)

    def __getitem__(self, tensor: str) -> Twin:
        return self._twins[tensor]

    @property
    def wanted(self) -> set[Node]:
        """The float nodes whose values ``stored`` reads."""
        return {twin.node for twin in self._twins.values()}

    def stored(self, values: Mapping[Node, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the float value of every tensor in its stored layout.

        Parameters
        ----------
        values : mapping of float array (batch, *ONNX shape) by node of ``wanted``

        Returns
        -------
        dict of float array (batch, *stored shape) by tensor name
        """
        network = self.network
        found = {}
        for name in network.inputs:
            found[name] = network.tensor(name).from_onnx(values[self[name].node])
        for layer in network.layers:
            output, twin = network.tensor(layer.output), self[layer.output]
            if _moves(layer):
                found[layer.output] = _moved(layer, found[layer.inputs[0]], output)
            elif not twin.chain:
                found[layer.output] = found[layer.inputs[0]]
            else:
                array = values[twin.node]
                array = array.reshape(array.shape[0], *output.onnx_shape)
                found[layer.output] = output.from_onnx(array)
        return found

    def compute(self, layer: Layer, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Return what the float network computes where ``layer`` stands.

        Parameters
        ----------
        layer : Layer
        inputs : sequence of float array (batch, *stored shape)
            Values in place of the layer's inputs.

        Returns
        -------
        float array (batch, *stored shape)
        """
        twin, output = self[layer.output], self.network.tensor(layer.output)
        if not twin.chain:
            return inputs[0]
        values: dict[Node, np.ndarray] = {}
        sources = _Sources(layer.inputs, inputs)
        for node in twin.chain:
            operands = [
                None if port is None else self._operand(layer, port, values, sources)
                for port in node.inputs
            ]
            result = node.operator.forward(*operands)
            values[node] = result[0] if isinstance(result, tuple) else result
        found = values[twin.node]
        return output.from_onnx(found.reshape(found.shape[0], *output.onnx_shape))

    def _operand(
        self,
        layer: Layer,
        port: Port,
        values: Mapping[Node, np.ndarray],
        sources: "_Sources",
    ) -> np.ndarray:
        """Return the value of a port: computed before, a constant, or an input of the layer."""
        if port.node in values:
            return values[port.node]
        if isinstance(port.node.operator, Producer):
            value: np.ndarray = port.node.operator.value
            return value
        node = port.node
        while True:
            found = sources.take([self[name].node is node for name in layer.inputs])
            if found is not None:
                name, array = found
                onnx = self.network.tensor(name).to_onnx(array)
                return onnx.reshape(onnx.shape[0], *self._shapes[port.node][port.index][1:])
            if not node.inputs:
                raise self._stranger(layer)
            node = node.input(0).node  # a view: it has no tensor of its own

    def _twin(self, layer: Layer) -> Twin:
        output = self.network.tensor(layer.output)
        chain = tuple(self._nodes[name] for name in layer.source if name in self._nodes)
        before = self[layer.inputs[0]]
        if _moves(layer):
            node = chain[-1] if chain else before.node
            return Twin(node, chain, _moved(layer, before.factor, output))
        if not chain:
            if not isinstance(layer, Rescale):
                raise self._stranger(layer)
            return Twin(before.node, (), before.factor)
        shape = self._shapes[chain[-1]][0]
        if int(np.prod(shape[1:])) != output.size:
            raise self._stranger(layer)
        factor = np.ones((1, *output.onnx_shape))
        noted = self._factors.get(chain[-1].name)
        if noted is not None:
            spread = np.reshape(noted, (1, -1, *(1,) * (len(shape) - 2)))
            factor = np.broadcast_to(spread, (1, *shape[1:])).reshape(factor.shape)
        return Twin(chain[-1], chain, output.from_onnx(factor))

    def _node(self, name: str) -> Node:
        if name not in self._nodes:
            raise GraphError(
                f"graph {self.graph.name} has no input {name!r}, which network "
                f"{self.network.name} reads; pass the float graph that was quantized"
            )
        return self._nodes[name]

    def _stranger(self, layer: Layer) -> GraphError:
        return GraphError(
            f"{layer}: stands for {', '.join(layer.source)}, expected nodes of graph "
            f"{self.graph.name} that compute the same; pass the float graph that was quantized"
        )


class _Sources:
    """The inputs of a layer, each handed out once before one is handed out again."""

    def __init__(self, names: Sequence[str], arrays: Sequence[np.ndarray]) -> None:
        self._pairs = list(zip(names, arrays, strict=True))
        self._taken: set[int] = set()

    def take(self, fits: Sequence[bool]) -> tuple[str, np.ndarray] | None:
        """Return the first input that fits, one not taken yet if there is one."""
        found = [index for index, fit in enumerate(fits) if fit]
        if not found:
            return None
        index = next((i for i in found if i not in self._taken), found[0])
        self._taken.add(index)
        return self._pairs[index]


def _moves(layer: Layer) -> bool:
    return isinstance(layer, Reshape | Transpose)


def _moved(layer: Layer, array: np.ndarray, output: IntegerTensor) -> np.ndarray:
    """Return a stored float array as ``layer`` moves the integers."""
    if isinstance(layer, Transpose):
        array = array.transpose((0, *(axis + 1 for axis in layer.permutation)))
    return array.reshape(array.shape[0], *output.shape)
