"""Graphs of one operator, and what runtimes make of a written model."""

import numpy as np
import onnx
import pytest
from onnx import checker, shape_inference
from onnx.reference import ReferenceEvaluator

from aidge_quant.dtypes import dtype
from aidge_quant.graph import GraphView, Port
from aidge_quant.onnx_io import to_model
from aidge_quant.onnx_io.definitions import newest_opset
from aidge_quant.ops import Identity, Input, Operator, producer

ort = pytest.importorskip("onnxruntime")


def single(operator: Operator, arrays: list[np.ndarray], *, data: bool = False) -> GraphView:
    """Return a graph of one node; ``data``: all its data inputs are inputs of the graph."""
    graph, sources = GraphView("single"), []
    roles = [operator.role(slot) for slot in range(len(arrays))]
    first = roles.index("data")
    for slot, array in enumerate(arrays):
        if slot == first or (data and roles[slot] == "data"):
            source = graph.add_input(Input(array.shape, dtype.of(array)), f"x{slot}")
        else:
            source = graph.add(producer(array), (), f"p{slot}")
        sources.append(source)
    node = graph.add(operator, sources, "node")
    for index in range(operator.output_count):
        graph.add_output(Port(node, index), f"y{index}")
    return graph


def feeds_of(graph: GraphView, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays that are inputs of a graph made by ``single``."""
    return {node.name: arrays[int(node.name[1:])] for node in graph.inputs}


def check(model: onnx.ModelProto) -> None:
    """Let onnx judge the model."""
    checker.check_model(model, full_check=True)
    shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def session(model: onnx.ModelProto | str):
    """Return an ONNX Runtime session without optimizations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    source = model if isinstance(model, str) else model.SerializeToString()
    return ort.InferenceSession(source, options)


def outcome(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the outputs by ONNX Runtime or, where it has no kernel, by onnx's reference."""
    try:
        return session(model).run(None, feeds)
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error):
            raise
        return ReferenceEvaluator(model).run(None, feeds)


def newest_of_runtime() -> int:
    """Return the newest opset that both the writer and the installed ONNX Runtime take."""
    graph = single(Identity(), [np.zeros((1, 2), np.float32)])
    for opset in range(newest_opset(), 13, -1):
        try:
            session(to_model(graph, opset=opset))
        except Exception:  # noqa: BLE001 - the runtime has many kinds
            continue
        return opset
    return 13
