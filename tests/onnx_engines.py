"""The engines that exported models are run in, with one call for all of them."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from aidge_quant.graph import GraphView
from aidge_quant.integer.network import IntegerNetwork
from aidge_quant.onnx_io import to_model

Feeds = Mapping[str, np.ndarray]
Outputs = dict[str, np.ndarray]
Engine = Callable[[onnx.ModelProto, Feeds], Outputs]


def _onnxruntime(
    level: str, *, precise: bool = False
) -> Callable[[onnx.ModelProto, Feeds], Outputs]:
    def run(model: onnx.ModelProto, feeds: Feeds) -> Outputs:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        if precise:
            # Sums of uint8 and int8 saturate on x86 without dot-product instructions otherwise.
            options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run


def _reference(model: onnx.ModelProto, feeds: Feeds) -> Outputs:
    names = [output.name for output in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(names, dict(feeds)), strict=True))


ENGINES: dict[str, Engine] = {
    "onnxruntime": _onnxruntime("ORT_DISABLE_ALL"),
    "onnxruntime optimized": _onnxruntime("ORT_ENABLE_ALL", precise=True),
    "onnx.reference": _reference,
}


#: Operators on int8 have no kernel with the option that keeps sums of uint8 and int8 exact.
ON_INT8 = {
    "onnxruntime": ENGINES["onnxruntime"],
    "onnxruntime optimized": _onnxruntime("ORT_ENABLE_ALL"),
}


def checked_model(graph: GraphView, opset: int) -> onnx.ModelProto:
    """Return the model of a graph, valid under full checks and strict shape inference."""
    model = to_model(graph, opset=opset)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    return model


def by_name(names, arrays) -> Outputs:
    """Return one array, or a mapping of several, as a mapping."""
    return dict(arrays) if isinstance(arrays, Mapping) else {names[0]: arrays}


def golden(network: IntegerNetwork, q) -> Outputs:
    """Return the outputs of the golden model by name."""
    return by_name(network.output_names, network.run(q))


def real_inputs(network: IntegerNetwork, q) -> Outputs:
    """Return the float32 inputs that stand for integers: scale * (q - zero_point)."""
    found = {}
    for (name, values), tensor_name in zip(
        by_name(network.input_names, q).items(), network.inputs, strict=True
    ):
        tensor = network.tensor(tensor_name)
        found[name] = (tensor.scale * (values.astype(np.float64) - tensor.zero_point)).astype(
            np.float32
        )
    return found


def integers_of(network: IntegerNetwork, real: Outputs) -> Outputs:
    """Return the integers that real outputs stand for."""
    found = {}
    for name, tensor_name in zip(network.output_names, network.outputs, strict=True):
        tensor = network.tensor(tensor_name)
        scale = np.asarray(tensor.scale, np.float64)
        if scale.ndim:
            shape = [1] * real[name].ndim
            shape[1 + tensor.layout[-1]] = -1
            scale = scale.reshape(shape)
        found[name] = np.rint(real[name] / scale).astype(np.int64) + tensor.zero_point
    return found
