"""load_onnx: from an ONNX file to a graph of float operators."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import onnx

from aidge_quant.errors import AidgeQuantError, FileError, GraphError, UnsupportedError
from aidge_quant.graph import GraphView
from aidge_quant.graph.names import free_name
from aidge_quant.onnx_io.builder import Builder, Value, constant_value
from aidge_quant.onnx_io.checks import check_node
from aidge_quant.onnx_io.constants import fold
from aidge_quant.onnx_io.converters import CONVERTERS, DOMAINS, Converter
from aidge_quant.onnx_io.files import load_model
from aidge_quant.onnx_io.inputs import read_inputs
from aidge_quant.onnx_io.node import NodeReader
from aidge_quant.onnx_io.opsets import STANDARD_DOMAINS, inline_functions, standard_version
from aidge_quant.onnx_io.order import names_read, ordered_nodes, subgraphs
from aidge_quant.onnx_io.problems import Problems
from aidge_quant.onnx_io.tensors import array_of, element_type
from aidge_quant.onnx_io.training import take_constants

Shapes = Mapping[str, Sequence[int]]

#: Beginning of the keys of a file's metadata that the graph keeps.
METADATA_PREFIX = "aidge_quant."


def load_onnx(path: str | PathLike[str], *, input_shapes: Shapes | None = None) -> GraphView:
    """Return the network stored in an ONNX file.

    Names of nodes, inputs and outputs are those of the file; a node without a name is called after
    its first output. Constants are folded. Axis 0 of an input is the batch and stays free.
    Metadata of the file whose keys begin with ``aidge_quant.`` become those of the graph.

    Parameters
    ----------
    path : path of a file
        External data is read only from its folder.
    input_shapes : mapping of shapes by input name, optional
        Sizes of inputs, batch first, for models that leave other axes open.

    Returns
    -------
    GraphView

    Raises
    ------
    FileError
        If the file is missing, no ONNX model, or cut off.
    UnsupportedError
        If operators, attributes or types are not handled; the message lists all of them.
    ShapeError
        If an axis other than the batch has no size.
    GraphError, DataError
        If the model is malformed, or has parameters that are NaN or infinite.
    """
    return read_model(load_model(path), source=Path(path).name, input_shapes=input_shapes)


def read_model(
    model: onnx.ModelProto, *, source: str = "model", input_shapes: Shapes | None = None
) -> GraphView:
    """Return the network of a parsed model; see `load_onnx`."""
    try:
        return _Reader(model, source, input_shapes or {}).read()
    except UnicodeDecodeError as error:
        raise FileError(f"{source} is damaged: a name in it is not text") from error


class _Reader:
    """The state of one reading: what is known of each tensor, and the problems so far."""

    def __init__(self, model: onnx.ModelProto, source: str, input_shapes: Shapes) -> None:
        self.source = source
        self.input_shapes = input_shapes
        self.opset = standard_version(model)
        self.model = inline_functions(model)
        self.problems = Problems()
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        #: None for a tensor that could not be read.
        self.values: dict[str, Value | None] = {}

    def read(self) -> GraphView:
        """Read everything, then raise all problems or return the graph."""
        graph = self.model.graph
        view = GraphView(graph.name or "graph")
        view.metadata = {k: v for k, v in self.metadata.items() if k.startswith(METADATA_PREFIX)}
        stored = {tensor.name: tensor for tensor in graph.initializer}
        if len(stored) < len(graph.initializer):
            raise GraphError(f"{self.source}: two initializers have the same name")
        if graph.sparse_initializer:
            error = UnsupportedError("sparse tensors are not handled; store them dense")
            self.problems.add(graph.sparse_initializer[0].values.name, "initializer", error)
        inputs = [info for info in graph.input if info.name not in stored]
        sparse = {tensor.values.name for tensor in graph.sparse_initializer}
        nodes = ordered_nodes(graph, {info.name for info in inputs} | set(stored) | sparse)
        names = _unique_names([info.name for info in inputs], nodes)
        builder = Builder(view, [info.name for info in inputs] + names)
        used = {name for node in nodes for name in names_read(node)}
        used |= {output.name for output in graph.output}
        self.values.update(dict.fromkeys(sparse))
        self.values.update(read_inputs(view, inputs, self.input_shapes, self.problems))
        self._read_initializers(stored, used)
        for node, name in zip(nodes, names, strict=True):
            self._read_node(node, name, builder, used)
        self._read_outputs(builder)
        self.problems.raise_any(self.source)
        view.remove_dead_nodes()
        take_constants(view)
        view.check()
        return view

    def _read_initializers(self, stored: Mapping[str, onnx.TensorProto], used: set[str]) -> None:
        for name, tensor in stored.items():
            if name not in used:
                continue
            self.values[name] = None
            try:
                array = array_of(tensor)
                self.values[name] = constant_value(name, array, element_type(tensor.data_type))
            except AidgeQuantError as error:
                self.problems.add(name, "initializer", error)

    def _read_node(
        self, proto: onnx.NodeProto, name: str, builder: Builder, used: set[str]
    ) -> None:
        """Convert one node, or note why not; nodes behind an unreadable one are only looked up."""
        self.values.update(dict.fromkeys(filter(None, proto.output)))
        try:
            converter = self._converter(proto)
        except UnsupportedError as error:
            self.problems.add(name, proto.op_type, error)
            self._read_subgraphs(proto, name)
            return
        inputs = [self.values[i] if i else None for i in proto.input]
        if any(i and self.values[i] is None for i in proto.input):
            return
        while inputs and inputs[-1] is None:
            inputs.pop()
        outputs = [bool(output) and output in used for output in proto.output]
        node = NodeReader(proto, name, self.opset, builder, inputs, outputs)
        try:
            check_node(proto, self.model)
            results = fold(node)
            results = converter(node) if results is None else results
            if node.unread():
                raise UnsupportedError(f"its attributes {node.unread()} are not handled")
            if len(results) < sum(outputs):
                raise GraphError(f"it has {len(proto.output)} outputs, expected {len(results)}")
        except AidgeQuantError as error:
            self.problems.add(name, proto.op_type, error)
            return
        except (ValueError, TypeError, IndexError, OverflowError, ArithmeticError) as error:
            self.problems.add(name, proto.op_type, GraphError(f"it is malformed: {error}"))
            return
        for output, value in zip(proto.output, results, strict=False):
            if output:
                self.values[output] = value
                if value.array is not None and value.port is None:
                    value.name = output

    def _converter(self, proto: onnx.NodeProto) -> Converter:
        if proto.domain not in DOMAINS.get(proto.op_type, STANDARD_DOMAINS):
            raise UnsupportedError(
                f"operators of domain {proto.domain!r} are not handled; export the model with "
                "standard ONNX operators"
            )
        if proto.op_type not in CONVERTERS:
            raise UnsupportedError(
                "this operator is not handled; replace it in the model, or cut the model before it"
            )
        return CONVERTERS[proto.op_type]

    def _read_subgraphs(self, proto: onnx.NodeProto, name: str) -> None:
        """Note what in the branches of an unreadable node is not handled either."""
        for label, graph in subgraphs(proto):
            for child in graph.node:
                inner = f"{name}/{label}/{child.name or next(iter(child.output), '')}"
                try:
                    self._converter(child)
                except UnsupportedError as error:
                    self.problems.add(inner, child.op_type, error)
                    self._read_subgraphs(child, inner)

    def _read_outputs(self, builder: Builder) -> None:
        for output in self.model.graph.output:
            value = self.values[output.name]
            if value is None:
                continue
            try:
                builder.graph.add_output(builder.port(value), output.name)
            except AidgeQuantError as error:
                self.problems.add(output.name, "output", error)


def _unique_names(inputs: list[str], nodes: list[onnx.NodeProto]) -> list[str]:
    """Return a name for every node: its own, else its first output's; numbered where taken."""
    if len(set(inputs)) < len(inputs):
        raise GraphError(f"the inputs are called {inputs}, expected every name once")
    taken, names = set(inputs), []
    for node in nodes:
        base = node.name or next(filter(None, node.output), "") or node.op_type
        name = free_name(base, taken)
        taken.add(name)
        names.append(name)
    return names
