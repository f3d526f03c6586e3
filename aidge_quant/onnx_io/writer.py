"""The ONNX writer: from a graph to a file that any runtime reads."""

import json
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path

import onnx
from onnx import checker, helper

from aidge_quant._version import __version__
from aidge_quant.errors import AidgeQuantError, DtypeError, GraphError, UnsupportedError
from aidge_quant.executor import infer_types
from aidge_quant.graph import GraphView, Node, Port
from aidge_quant.onnx_io.definitions import ir_version, newest_opset
from aidge_quant.onnx_io.dimensions import declared_shapes
from aidge_quant.onnx_io.files import EXTERNAL_DATA_THRESHOLD, LARGEST_MESSAGE, save_model
from aidge_quant.onnx_io.node_writer import NodeWriter, Scope, Wire
from aidge_quant.onnx_io.opsets import OLDEST
from aidge_quant.onnx_io.problems import Problems
from aidge_quant.onnx_io.tensors import TYPE_NUMBERS, tensor_of
from aidge_quant.onnx_io.training import CONSTANTS
from aidge_quant.onnx_io.writers import keep, writer_of
from aidge_quant.ops import Input, Producer
from aidge_quant.ops.learned_quantization import TRAINING_DOMAIN

#: Version of the operator set where none is asked for; every runtime of today has it.
DEFAULT_OPSET = 17

#: Version of the operator sets of other domains: com.microsoft has no other.
DOMAIN_VERSION = 1


def write_onnx(
    graph: GraphView,
    path: str | PathLike[str],
    *,
    opset: int | None = None,
    metadata: Mapping[str, str] | None = None,
    external_data_threshold: int = EXTERNAL_DATA_THRESHOLD,
    keep_training: bool = False,
) -> None:
    """Write a graph as an ONNX file; equal graphs give equal bytes.

    Names of nodes, inputs, outputs and parameters are those of the graph; axis 0 of the inputs is
    ``batch`` where the graph leaves it free. An existing file is replaced at once or not at all.

    Parameters
    ----------
    graph : GraphView
    path : path of a file
    opset : int, optional
        Version of the standard operators, 7 to the newest that the installed onnx defines; 17 by
        default. Functions that came later are written as several operators.
    metadata : mapping of str to str, optional
        Written beside the graph's own, which it overrides.
    external_data_threshold : int
        Where the parameters have more bytes than this, they are written to ``<file name>.data``
        beside the file.
    keep_training : bool
        Write quantizers for training as operators of our domain, which ``load_onnx`` reads back,
        and note which parameters are constant. Else they become standard operators.

    Raises
    ------
    UnsupportedError
        If nodes have no ONNX form or need a newer opset; the message lists all of them.
    FileError
        If the file cannot be written.
    GraphError, ShapeError, DtypeError, DataError
        If the graph is malformed.
    """
    model = to_model(graph, opset=opset, metadata=metadata, keep_training=keep_training)
    save_model(model, Path(path), external_data_threshold=external_data_threshold)


def to_model(
    graph: GraphView,
    *,
    opset: int | None = None,
    metadata: Mapping[str, str] | None = None,
    keep_training: bool = False,
) -> onnx.ModelProto:
    """Return a graph as a checked ONNX model; see `write_onnx`."""
    opset, newest = DEFAULT_OPSET if opset is None else opset, newest_opset()
    if not OLDEST <= opset <= newest:
        raise UnsupportedError(f"opset is {opset}, expected {OLDEST} to {newest}")
    graph.check()
    entries = {**graph.metadata, **(metadata or {})}
    wrong = [key for key, value in entries.items() if not isinstance(value, str)]
    if wrong:
        raise DtypeError(f"metadata {wrong} of graph {graph.name} is not text; convert it with str")
    try:
        model = _Writer(graph, opset, keep_training).write(entries)
    except UnicodeEncodeError as error:
        raise GraphError(f"a name in graph {graph.name} is not valid text: {error}") from error
    _check(model, graph.name)
    return model


class _Writer:
    """The state of one writing: the tensors of each node, and the problems so far."""

    def __init__(self, graph: GraphView, opset: int, keep_training: bool) -> None:
        self.graph = graph
        self.keep_training = keep_training
        self.opset = opset
        self.shapes = declared_shapes(graph)
        self.types = infer_types(graph)
        self.problems = Problems("write")
        self.needed = opset
        inputs = {node.name for node in graph.inputs}
        for output in graph.outputs:
            if output.name in inputs and output.port.node.name != output.name:
                raise GraphError(
                    f"graph {graph.name} has an input and another output named {output.name!r}; "
                    "rename one of them"
                )
        alive = _alive(graph)
        self.nodes = [node for node in graph.topological() if node in alive]
        self.wires = self._named()

    def write(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """Write everything, then raise all problems or return the model."""
        protos, inner = [], []
        for node in self.nodes:
            if isinstance(node.operator, Input | Producer):
                continue
            try:
                written = self._written(node, self.opset, self.scope)
            except AidgeQuantError as error:
                self.problems.add(node.name, node.type, self._with_needed(node, error))
                continue
            protos += written.protos
            inner += [*written.helpers, *written.outputs]
        needed = f"pass opset={self.needed}" if self.needed > self.opset else ""
        self.problems.raise_any(f"{self.graph.name} as ONNX opset {self.opset}", needed)
        protos += self._copies()
        outputs = [self._wire(output.port, output.name) for output in self.graph.outputs]
        ends = {wire.name for wire in outputs}
        proto = helper.make_graph(
            protos,
            self.graph.name,
            [_info(self.wires[Port(node)]) for node in self.graph.inputs],
            [_info(wire) for wire in outputs],
            initializer=self._initializers(protos),
            value_info=[_info(wire) for wire in inner if wire.name not in ends],
        )
        domains = sorted({node.domain for node in protos} - {""})
        model = helper.make_model(
            proto,
            producer_name="aidge_quant",
            producer_version=__version__,
            ir_version=ir_version(self.opset),
            opset_imports=[
                helper.make_opsetid("", self.opset),
                *(helper.make_opsetid(name, DOMAIN_VERSION) for name in domains),
            ],
        )
        entries = {**metadata, **self._constants()}
        helper.set_model_props(model, {key: entries[key] for key in sorted(entries)})
        return model

    def _named(self) -> dict[Port, Wire]:
        """Return every tensor of the graph; outputs have the names of the graph's outputs."""
        graph = self.graph
        self.scope = Scope({node.name for node in graph.nodes})
        named: dict[Port, str] = {}
        for output in graph.outputs:
            if not isinstance(output.port.node.operator, Input | Producer):
                named.setdefault(output.port, output.name)
        ends = {output.name for output in graph.outputs}
        inputs = {node.name for node in graph.inputs}
        self.scope.taken |= ends
        for node in self.nodes:
            if node.name not in ends or node.name in inputs:
                named.setdefault(Port(node), node.name)
        wires = {}
        for node in self.nodes:
            rows = zip(self.shapes[node], self.types[node], strict=True)
            for index, (shape, stored) in enumerate(rows):
                port = Port(node, index)
                base = f"{node.name}_{index}" if index else node.name
                name = named[port] if port in named else self.scope.free_name(base)
                wires[port] = Wire(name, shape, stored)
        return wires

    def _written(self, node: Node, opset: int, scope: Scope) -> NodeWriter:
        inputs = [None if port is None else self.wires[port] for port in node.inputs]
        outputs = [self.wires[Port(node, i)] for i in range(node.operator.output_count)]
        written = NodeWriter(node, opset, inputs, outputs, scope)
        kept = self.keep_training and node.operator.onnx_domain == TRAINING_DOMAIN
        (keep if kept else writer_of(node.operator))(written)
        return written

    def _with_needed(self, node: Node, error: AidgeQuantError) -> AidgeQuantError:
        """Return the error of a node, with the oldest opset in which it can be written."""
        for opset in range(self.opset + 1, newest_opset() + 1):
            try:
                self._written(node, opset, self.scope.fork())
            except AidgeQuantError:
                continue
            self.needed = max(self.needed, opset)
            return UnsupportedError(f"it needs opset {opset}: {error}")
        return error

    def _copies(self) -> Iterator[onnx.NodeProto]:
        """Yield an Identity for each output that no node makes under its name."""
        for output in self.graph.outputs:
            source = self.wires[output.port].name
            if source != output.name:
                name = self.scope.free_name(f"{output.name}_copy")
                yield helper.make_node("Identity", [source], [output.name], name)

    def _wire(self, port: Port, name: str) -> Wire:
        return self.wires[port]._replace(name=name)

    def _constants(self) -> dict[str, str]:
        """Return the entry that says which parameters do not train, where that is to be kept."""
        if not self.keep_training:
            return {}
        fixed = [
            self.wires[Port(node)].name
            for node in self.nodes
            if isinstance(node.operator, Producer) and node.operator.constant
        ]
        return {CONSTANTS: json.dumps(fixed)} if fixed else {}

    def _initializers(self, protos: list[onnx.NodeProto]) -> list[onnx.TensorProto]:
        """Return the constants that are read: the graph's in its order, then the others."""
        found = [
            (self.wires[Port(node)].name, node.operator.value, node.operator.element_type)
            for node in self.nodes
            if isinstance(node.operator, Producer)
        ]
        found += [(name, *constant) for name, constant in self.scope.constants.items()]
        read = {name for proto in protos for name in proto.input}
        return [tensor_of(name, array, kind) for name, array, kind in found if name in read]


def _alive(graph: GraphView) -> set[Node]:
    """Return the inputs and the nodes that the outputs depend on."""
    alive, waiting = set(graph.inputs), [output.port.node for output in graph.outputs]
    while waiting:
        node = waiting.pop()
        if node not in alive:
            alive.add(node)
            waiting += [port.node for port in node.inputs if port is not None]
    return alive


def _info(wire: Wire) -> onnx.ValueInfoProto:
    number = TYPE_NUMBERS[wire.element_type]
    return helper.make_tensor_value_info(wire.name, number, wire.shape)


def _check(model: onnx.ModelProto, name: str) -> None:
    """Raise a GraphError if the model does not follow the definition of ONNX."""
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > LARGEST_MESSAGE:
        return  # the checker takes one message, which may not be larger
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise GraphError(f"graph {name} does not become a valid ONNX model: {reason}") from error
